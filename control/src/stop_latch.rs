//! The emergency stop of one robot: the only place where a stop is kept between whoever asks for it and the control thread.
//!
//! [`StopLatch::stop`] is one atomic addition. It takes no lock, allocates nothing, writes nothing and waits for nobody, so it
//! may be called from a signal handler, a transport's receiving thread or a page. The control thread reads the latch once a
//! period. Everything that has to be told about a stop (logs, replies, health) is told afterwards, by other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Requests to stop and to leave the stop, counted, and the program's own end.
#[derive(Debug, Default)]
pub struct StopLatch {
    stops: AtomicU64,
    rearms: AtomicU64,
    /// Shared with the signal handlers of the process.
    shutdown: Arc<AtomicBool>,
}

/// The latch as the control thread reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StopRequests {
    /// Stops asked for since the start.
    pub stops: u64,
    /// Re-armings asked for since the start.
    pub rearms: u64,
    /// Whether the program is ending.
    pub shutdown: bool,
}

impl StopLatch {
    /// A latch that also brings the robot to rest once `shutdown` is true: the flag that signal handlers raise.
    #[must_use]
    pub fn new(shutdown: Arc<AtomicBool>) -> Self {
        Self {
            shutdown,
            ..Self::default()
        }
    }

    /// Asks for an emergency stop.
    pub fn stop(&self) {
        self.stops.fetch_add(1, Ordering::SeqCst);
    }

    /// Asks to leave a stop. A stop that is asked for in the same period wins.
    pub fn rearm(&self) {
        self.rearms.fetch_add(1, Ordering::SeqCst);
    }

    /// Asks to come to rest because the program ends.
    pub fn shut_down(&self) {
        self.shutdown.store(true, Ordering::SeqCst);
    }

    /// What was asked for so far.
    #[must_use]
    pub fn requests(&self) -> StopRequests {
        // Stops are read last: one that comes in between counts.
        let shutdown = self.shutdown.load(Ordering::SeqCst);
        let rearms = self.rearms.load(Ordering::SeqCst);
        StopRequests {
            stops: self.stops.load(Ordering::SeqCst),
            rearms,
            shutdown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_and_the_shutdown_flag_is_shared() {
        let shutdown = Arc::new(AtomicBool::new(false));
        let latch = StopLatch::new(Arc::clone(&shutdown));
        assert_eq!(latch.requests(), StopRequests::default());
        latch.stop();
        latch.stop();
        latch.rearm();
        let expected = StopRequests {
            stops: 2,
            rearms: 1,
            shutdown: false,
        };
        assert_eq!(latch.requests(), expected);
        shutdown.store(true, Ordering::SeqCst);
        assert!(latch.requests().shutdown);
    }
}
