//! When each tick of a loop at a fixed rate is due. Clock-free.
//!
//! Deadlines are absolute: a late tick does not shift those after it. What happens when whole periods have passed is the
//! [`MissPolicy`]'s to say; those left out are counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a loop does when whole periods have passed without a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissPolicy {
    /// Leaves them out, counts them and goes on in phase.
    #[default]
    Skip,
    /// Runs their ticks, one right after the other, as long as they were due at most 100 ms ago ([`CATCH_UP_NS`]); leaves
    /// out and counts older ones. For commands that have to be complete, such as a trajectory that is counted off in steps.
    CatchUp,
    /// As skip; whoever ticks takes a missed period for a fault and brings the robot to rest.
    Fault,
}

/// How long ago a tick may have been due that [`MissPolicy::CatchUp`] still runs, in nanoseconds. A stall of any length is
/// followed by at most so much of the past: 50 ticks at 500 Hz, none below 10 Hz.
pub const CATCH_UP_NS: u64 = 100_000_000;

/// Which period comes next. Clock-free.
#[derive(Debug, Clone)]
pub struct Schedule {
    start_ns: u64,
    period_ns: u64,
    /// How many past periods are caught up at most.
    catch_up: u64,
    next: u64,
    missed: u64,
}

impl Schedule {
    /// Period 0 is due at `start_ns`, each next one `period_ns` (at least 1) later. Those that have passed are skipped.
    #[must_use]
    pub fn new(start_ns: u64, period_ns: u64) -> Self {
        Self {
            start_ns,
            period_ns: period_ns.max(1),
            catch_up: 0,
            next: 0,
            missed: 0,
        }
    }

    /// The same with another policy.
    #[must_use]
    pub fn on_miss(self, policy: MissPolicy) -> Self {
        let catch_up = match policy {
            MissPolicy::CatchUp => CATCH_UP_NS / self.period_ns,
            MissPolicy::Skip | MissPolicy::Fault => 0,
        };
        Self { catch_up, ..self }
    }

    /// Index and deadline of the period to wait for at `now_ns`: the one after the last, which may have begun already. If
    /// that has passed too, the running one, or the oldest that is still to be caught up.
    pub fn next(&mut self, now_ns: u64) -> (u64, u64) {
        let running = now_ns.saturating_sub(self.start_ns) / self.period_ns;
        let index = self.next.max(running.saturating_sub(self.catch_up));
        self.missed += index - self.next;
        self.next = index.saturating_add(1);
        let deadline_ns = self
            .start_ns
            .saturating_add(index.saturating_mul(self.period_ns));
        (index, deadline_ns)
    }

    /// Periods left out so far.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_keep_their_phase() {
        let mut schedule = Schedule::new(1000, 100);
        let found = [0, 1000, 1150, 1199, 1299, 1320, 1777, 1778].map(|now| schedule.next(now));
        let expected = [0, 1, 2, 3, 4, 5, 7, 8].map(|index| (index, 1000 + index * 100));
        assert_eq!(found, expected);
        assert_eq!(schedule.missed(), 1);
    }

    #[test]
    fn extreme_times_are_harmless() {
        for missed in [MissPolicy::Skip, MissPolicy::CatchUp, MissPolicy::Fault] {
            let mut schedule = Schedule::new(u64::MAX, 0).on_miss(missed);
            assert_eq!(schedule.next(0), (0, u64::MAX));
            assert_eq!(schedule.next(u64::MAX), (1, u64::MAX));
            let mut schedule = Schedule::new(0, 1).on_miss(missed);
            schedule.next(u64::MAX);
            schedule.next(5);
        }
    }

    #[test]
    fn nothing_slower_than_10_hz_is_caught_up() {
        let mut schedule = Schedule::new(0, 200_000_000).on_miss(MissPolicy::CatchUp);
        schedule.next(0);
        assert_eq!(schedule.next(900_000_000), (4, 800_000_000));
        assert_eq!(schedule.missed(), 3);
    }
}
