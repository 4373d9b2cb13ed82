//! The end of threads that may stand still in what is not ours: an evaluation, an actuator.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Waits until a thread has ended, but no longer than `limit`; whether it has.
pub(crate) fn ends_within<T>(thread: &JoinHandle<T>, limit: Duration) -> bool {
    let begun = Instant::now();
    while !thread.is_finished() {
        if begun.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
