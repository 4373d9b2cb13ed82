//! The thread that answers queries, so that no receiving thread of zenoh's waits for an answer to be made or sent.
//!
//! zenoh calls a queryable on the thread that reads the link. What stands still there holds up every other message of the
//! link, a stop included. So a callback puts what is left to do into a bounded queue, and one thread per session does it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Answers that wait at most; further queries go without.
const CAPACITY: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Does jobs in the order in which they come. Clones share one thread, which begins with the first job and ends with the
/// last clone.
#[derive(Clone)]
pub(super) struct ReplyThread {
    sender: Sender<Job>,
    /// Taken by the thread when it begins: with its end the queue ends.
    receiver: Arc<Mutex<Option<Receiver<Job>>>>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for ReplyThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyThread")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl Default for ReplyThread {
    fn default() -> Self {
        let (sender, receiver) = bounded(CAPACITY);
        Self {
            sender,
            receiver: Arc::new(Mutex::new(Some(receiver))),
            dropped: Arc::default(),
        }
    }
}

impl ReplyThread {
    /// Starts the thread if it does not run yet; to be called where starting a thread may take its time.
    pub(super) fn start(&self) -> std::io::Result<()> {
        let waiting = self
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(jobs) = waiting {
            std::thread::Builder::new()
                .name("replies".to_owned())
                .spawn(move || jobs.into_iter().for_each(|job| job()))?;
        }
        Ok(())
    }

    /// Has a job done, unless too many wait; never blocks. Says whether it will be done.
    pub(super) fn hand_over(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let taken = self.sender.try_send(Box::new(job)).is_ok();
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded as channel;

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let thread = ReplyThread::default();
        thread.start().unwrap();
        let (release, held) = channel::<()>();
        let (done, finished) = channel();
        assert!(thread.hand_over(move || {
            let _ = held.recv();
        }));
        let taken = (0..3 * CAPACITY).filter(|&at| {
            let done = done.clone();
            thread.hand_over(move || {
                let _ = done.send(at);
            })
        });
        let taken = taken.count();
        // The first may still wait itself.
        assert!((CAPACITY - 1..=CAPACITY).contains(&taken), "{taken}");
        assert_eq!(
            thread.dropped.load(Ordering::Relaxed),
            (3 * CAPACITY - taken) as u64
        );
        release.send(()).unwrap();
        drop(done);
        assert!(finished.iter().take(taken).eq(0..taken));
    }
}
