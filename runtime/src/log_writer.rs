//! A log that nobody waits for.
//!
//! A terminal that is held (Ctrl-S), a full pipe or a hung network drive lets a write to stderr stand still for as long as it
//! likes. A thread that logs must not stand still with it: the robot could not be stopped then. So lines go into a bounded
//! queue, one thread writes them, and what finds no room is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait at most.
const CAPACITY: usize = 1024;
/// Longest line, in bytes; the rest of it is left out.
const MAX_LINE: usize = 8192;
/// How long the end of the program waits for lines that are still to be written.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);

/// Writes lines to a sink on a thread of its own; its clones share that thread.
#[derive(Debug, Clone)]
pub struct LogWriter {
    lines: Sender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines taken, and of these those that were written.
    taken: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl LogWriter {
    /// A log to `sink`. Where no thread is to be had, every line is dropped.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = bounded(CAPACITY);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        // Without the thread the receiver is gone, and lines count as dropped.
        let _ = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&waiting, sink, &counted));
        Self { lines, counts }
    }

    /// Takes a line; never waits.
    pub fn line(&self, text: &[u8]) {
        let mut line = text[..text.len().min(MAX_LINE)].to_vec();
        if line.len() < text.len() {
            line.extend_from_slice(b"...\n");
        }
        self.counts.taken.fetch_add(1, Ordering::SeqCst);
        if self.lines.try_send(line).is_err() {
            self.counts.taken.fetch_sub(1, Ordering::SeqCst);
            self.counts.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until everything is written, but not long.
    pub fn flush(&self) {
        let begun = Instant::now();
        let pending = || {
            self.counts.taken.load(Ordering::SeqCst) > self.counts.written.load(Ordering::SeqCst)
        };
        while pending() && begun.elapsed() < FLUSH_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write_all(lines: &Receiver<Vec<u8>>, mut sink: impl Write, counts: &Counts) {
    let mut told = 0;
    for line in lines {
        // A sink that refuses is no reason to stop: it may take the next line.
        let _ = sink.write_all(&line);
        counts.written.fetch_add(1, Ordering::SeqCst);
        let dropped = counts.dropped.load(Ordering::SeqCst);
        if dropped > told {
            let _ = writeln!(
                sink,
                " WARN kinestream: {} lines of this log were dropped: they could not be written",
                dropped - told
            );
            told = dropped;
        }
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self)
    }
}

/// One event's way into the log.
pub struct LineWriter<'a>(&'a LogWriter);

impl Write for LineWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.line(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded as channel;
    use std::sync::Mutex;

    /// Stands still until it is let go, like a terminal.
    struct Terminal {
        held: Receiver<()>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Terminal {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.held.recv();
            self.text.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_held_terminal_holds_nobody_and_what_it_cost_is_told() {
        let (release, held) = channel::<()>();
        let text = Arc::new(Mutex::new(Vec::new()));
        let log = LogWriter::new(Terminal {
            held,
            text: Arc::clone(&text),
        });
        for number in 0..3 * CAPACITY {
            log.line(format!("line {number}\n").as_bytes());
        }
        let dropped = log.counts.dropped.load(Ordering::SeqCst);
        assert!(dropped >= (2 * CAPACITY - 1) as u64, "{dropped}");
        drop(release);
        while log.counts.written.load(Ordering::SeqCst) < log.counts.taken.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        log.line(b"last\n");
        while !String::from_utf8_lossy(&text.lock().unwrap()).contains("last\n") {
            std::thread::yield_now();
        }
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n"), "{text}");
        let told = format!("{dropped} lines of this log were dropped");
        assert_eq!(text.matches(&told).count(), 1, "{told}");
    }
}
