//! A recorder: one file, one thread that writes it, channels to send to it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::channel::{self, Definition, Entry, RealtimeChannel, RecordChannel, Shared};
use super::format::Format;
use super::gaps::GapCounts;
use super::storage::Storage;
use super::writer::Writer;
use crossbeam_channel::Sender;

/// Writes a recording on a thread of its own. [`Recorder::finish`] or dropping it completes the file.
#[derive(Debug)]
pub struct Recorder {
    queue: Sender<Entry>,
    shared: Arc<Shared>,
    channels: AtomicUsize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a recorder did so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderStatus {
    /// Messages written.
    pub messages: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Messages for which there was no room, or that came after the recorder had stopped.
    pub dropped: u64,
    /// Longest time that the disk took to confirm what was written.
    pub slowest_sync: Duration,
    /// Jumps of the senders' numbers, by topic, of those that have any. Messages that the recorder itself dropped are among
    /// those missing.
    pub gaps: BTreeMap<String, GapCounts>,
    /// Why the recorder has stopped writing, if it has, with everything else that went wrong. What was written before stays
    /// readable.
    pub fault: Option<String>,
}

impl RecorderStatus {
    /// Messages that senders have numbered and that never arrived, of all topics.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.gaps.values().map(|counts| counts.missing).sum()
    }
}

impl Recorder {
    /// Makes the file and starts the thread.
    ///
    /// # Errors
    /// [`RecordError`]: the file exists (nothing is ever overwritten), or it cannot be made or written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, RecordError> {
        let path = path.as_ref();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => RecordError::Exists {
                    path: path.to_path_buf(),
                },
                _ => RecordError::Create {
                    path: path.to_path_buf(),
                    source,
                },
            })?;
        Self::start(file, path).inspect_err(|_| {
            // An empty file would only stand in the way of the next attempt.
            let _ = std::fs::remove_file(path);
        })
    }

    /// Writes to `storage`, which errors call `path`.
    pub(super) fn start(storage: impl Storage + 'static, path: &Path) -> Result<Self, RecordError> {
        let failed = |source| RecordError::Create {
            path: path.to_path_buf(),
            source,
        };
        let (queue, entries) = channel::queue();
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(
            Box::new(storage),
            path.display().to_string(),
            entries,
            Arc::clone(&shared),
        )
        .map_err(failed)?;
        // The name of a new file survives a power cut only once its folder is on the disk. Some file systems refuse to
        // sync a folder; they keep names in other ways.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || writer.run())
            .map_err(failed)?;
        Ok(Self {
            queue,
            shared,
            channels: AtomicUsize::new(0),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A topic for ordinary threads.
    #[must_use]
    pub fn channel(&self, topic: &str, format: Format<'_>) -> RecordChannel {
        RecordChannel {
            index: self.open(topic, format, None),
            queue: self.queue.clone(),
            shared: Arc::clone(&self.shared),
            sequence: Arc::new(AtomicU32::new(0)),
        }
    }

    /// A topic for a control thread, with room for `slots` messages of at most `slot_bytes`. The writer thread looks every
    /// 10 ms, and every disk makes it wait at times: give room for a second or more.
    #[must_use]
    pub fn realtime_channel(
        &self,
        topic: &str,
        format: Format<'_>,
        slot_bytes: usize,
        slots: usize,
    ) -> RealtimeChannel {
        let (ring, consumer) = RealtimeChannel::ring(slot_bytes, slots);
        self.open(topic, format, Some(consumer));
        RealtimeChannel {
            ring,
            shared: Arc::clone(&self.shared),
            slot_bytes,
            sequence: 0,
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn status(&self) -> RecorderStatus {
        RecorderStatus {
            messages: self.shared.messages.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            dropped: self.shared.dropped(),
            slowest_sync: Duration::from_nanos(self.shared.slowest_sync_ns.load(Ordering::Relaxed)),
            gaps: self.shared.gaps(),
            fault: self.shared.fault(),
        }
    }

    /// Writes what has been sent, then index and footer; returns the totals. Messages sent from now on are dropped. A
    /// second call only returns the totals.
    pub fn finish(&self) -> RecorderStatus {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            self.shared.finishing.store(true, Ordering::Release);
            thread.thread().unpark();
            if thread.join().is_err() {
                self.shared
                    .add_fault("the recorder's thread panicked; please report this".to_owned());
            }
        }
        self.status()
    }

    fn open(&self, topic: &str, format: Format<'_>, ring: Option<rtrb::Consumer<u8>>) -> usize {
        let index = self.channels.fetch_add(1, Ordering::Relaxed);
        let definition = Definition {
            topic: topic.to_owned(),
            message_encoding: format.message_encoding.to_owned(),
            schema: format.schema.map(|schema| {
                (
                    schema.name.to_owned(),
                    schema.encoding.to_owned(),
                    schema.text.to_owned(),
                )
            }),
        };
        // Waits for room: without its topic no message could be written. It fails only if the thread has panicked, and then
        // messages are counted as dropped.
        let _ = self.queue.send(Entry::Open {
            index,
            definition,
            ring,
        });
        index
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Why a recording could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is such a file already.
    #[error("{} exists and is not overwritten; record under another name, or remove it first", path.display())]
    Exists {
        /// The path given.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot record to {}: {source}; the folder must exist, be writable and have free space", path.display())]
    Create {
        /// The path given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
