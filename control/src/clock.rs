//! The monotonic clock, and sleeping until a moment of it.
//!
//! Only shells use this; engines are given the time. [`Clock`] is a trait so that a loop can be driven in virtual time.

/// A clock in nanoseconds that does not go backwards.
pub trait Clock {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;

    /// Returns when the clock has reached `deadline_ns`, at once if it has already: the time that it saw then, so that
    /// whoever was woken need not ask again.
    fn sleep_until(&self, deadline_ns: u64) -> u64;
}

/// The operating system's monotonic clock (`CLOCK_MONOTONIC`). All threads and processes of a machine see the same one, up
/// to its next start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // Neither part is ever negative on this clock.
        now.tv_sec as u64 * NS_PER_SECOND + now.tv_nsec as u64
    }

    fn sleep_until(&self, deadline_ns: u64) -> u64 {
        loop {
            let now_ns = self.now_ns();
            if now_ns >= deadline_ns {
                return now_ns;
            }
            // May return early when a signal arrives.
            self.sleep_once(deadline_ns);
        }
    }
}

/// Asks that the calling thread be woken as soon as a sleep is over. Linux otherwise allows itself 50 microseconds to
/// gather wake-ups (the thread's timer slack); needs no permission. Does nothing elsewhere, or where it is refused.
pub fn wake_promptly() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

const NS_PER_SECOND: u64 = 1_000_000_000;

impl Monotonic {
    /// An absolute deadline, so that being interrupted or preempted on the way here does not add up.
    #[cfg(target_os = "linux")]
    fn sleep_once(self, deadline_ns: u64) {
        use rustix::thread::{ClockId, clock_nanosleep_absolute};
        let deadline = rustix::time::Timespec {
            tv_sec: (deadline_ns / NS_PER_SECOND) as _,
            tv_nsec: (deadline_ns % NS_PER_SECOND) as _,
        };
        match clock_nanosleep_absolute(ClockId::Monotonic, &deadline) {
            Ok(()) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => self.sleep_relative(deadline_ns),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn sleep_once(self, deadline_ns: u64) {
        self.sleep_relative(deadline_ns);
    }

    fn sleep_relative(self, deadline_ns: u64) {
        let left_ns = deadline_ns.saturating_sub(self.now_ns());
        std::thread::sleep(std::time::Duration::from_nanos(left_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_wakes_before_the_deadline() {
        for ahead_ns in [0, 1_000, 100_000, 3_000_000] {
            let deadline = Monotonic.now_ns() + ahead_ns;
            let woken = Monotonic.sleep_until(deadline);
            assert!(woken >= deadline && woken <= Monotonic.now_ns());
        }
    }

    #[test]
    fn a_deadline_in_the_past_returns() {
        Monotonic.sleep_until(0);
        Monotonic.sleep_until(Monotonic.now_ns().saturating_sub(1_000_000_000));
    }
}
