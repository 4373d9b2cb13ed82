//! Whether evaluations are worth sharing, by how long they took.
//!
//! Promises: where sharing is slower on the whole, because a thread's processor does something else, all
//! but a few evaluations in a hundred are done alone; where it is faster, all but a few are shared. A
//! thread that is late now and then ends nothing that is worth it in spite of that. Clock-free.

use std::time::Duration;

/// Shared evaluations after which they are judged first, and what they may have lost afterwards, in
/// evaluations alone.
const TRIAL: u32 = 16;
/// Evaluations alone with which those are compared.
const ALONE: u32 = 8;
/// Shared evaluations after which some alone are measured again.
const LONG: u32 = 1024;
/// The most evaluations alone before sharing is tried again.
const LONGEST: u32 = 4096;

/// What evaluations took alone and shared, and which way the next one goes.
#[derive(Debug)]
pub(crate) struct ParallelismTuner {
    is_shared: bool,
    /// Evaluations of the present stretch to come.
    left: u32,
    stretch: Stretch,
    /// What an evaluation takes alone.
    alone: Duration,
    /// Evaluations alone after the next stretch that was lost.
    penalty: u32,
}

/// Evaluations done the same way, one after the other.
#[derive(Debug, Default)]
struct Stretch {
    count: u32,
    spent: Duration,
    slowest: Duration,
}

impl Stretch {
    /// The mean without the slowest, which was disturbed, or found nothing in the caches.
    fn mean(&self) -> Duration {
        (self.spent - self.slowest) / (self.count - 1).max(1)
    }
}

impl ParallelismTuner {
    /// Begins alone.
    pub(crate) fn new() -> Self {
        Self {
            is_shared: false,
            left: ALONE,
            stretch: Stretch::default(),
            alone: Duration::ZERO,
            penalty: ALONE,
        }
    }

    /// Whether the next evaluation is to be shared.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Takes down how long the evaluation took.
    pub(crate) fn record(&mut self, took: Duration) {
        self.stretch.count += 1;
        self.stretch.spent += took;
        self.stretch.slowest = self.stretch.slowest.max(took);
        self.left -= 1;
        if self.is_shared {
            let worth = match self.stretch.count {
                TRIAL => TRIAL,
                count => count + TRIAL,
            };
            if self.stretch.spent >= worth * self.alone {
                self.begin(false, self.penalty);
                self.penalty = (2 * self.penalty).min(LONGEST);
            } else if self.left == 0 {
                self.penalty = ALONE;
                self.begin(false, ALONE);
            }
        } else if self.left == 0 {
            self.alone = self.stretch.mean();
            self.begin(true, LONG);
        }
    }

    fn begin(&mut self, is_shared: bool, evaluations: u32) {
        self.is_shared = is_shared;
        self.left = evaluations;
        self.stretch = Stretch::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of 20,000 evaluations that were shared, where they take so many microseconds.
    fn shared(alone: impl Fn(u32) -> u64, together: impl Fn(u32) -> u64) -> f64 {
        let mut balance = ParallelismTuner::new();
        let mut count = 0;
        for at in 0..20_000 {
            let took = if balance.is_shared() {
                count += 1;
                together(at)
            } else {
                alone(at)
            };
            balance.record(Duration::from_micros(took));
        }
        f64::from(count) / 20_000.0
    }

    #[test]
    fn what_is_faster_is_done() {
        assert!(shared(|_| 100, |_| 60) > 0.98);
        assert!(shared(|_| 100, |_| 3000) < 0.01);
        assert!(shared(|_| 100, |_| 110) < 0.05);
    }

    #[test]
    fn being_late_now_and_then_is_borne_where_it_pays() {
        // One in fifty waits for 3 ms: worth it where an evaluation takes 10 ms, not where 0.1.
        let late = |usual: u64| move |at: u32| usual + if at.is_multiple_of(50) { 3000 } else { 0 };
        assert!(shared(|_| 10_000, late(6000)) > 0.98);
        assert!(shared(|_| 100, late(60)) < 0.1);
    }

    #[test]
    fn sharing_is_found_again_when_the_other_work_has_ended() {
        let together = |at| if at < 10_000 { 5000 } else { 60 };
        let found = shared(|_| 100, together);
        assert!((0.2..0.51).contains(&found), "{found}");
    }

    #[test]
    fn one_slow_evaluation_alone_misleads_nobody() {
        let alone = |at: u32| if at == 3 { 100_000 } else { 100 };
        assert!(shared(alone, |_| 110) < 0.05);
    }
}
