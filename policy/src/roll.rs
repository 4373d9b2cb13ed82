//! Counting consumed actions by time that really passed.

/// Turns the times of observations into numbers of consumed actions.
///
/// Actions lie on a grid of one period from the first observation on. Rounding to the nearest grid
/// point absorbs jitter below half a period; what was counted once is never counted again, and time
/// that jumps back counts nothing.
#[derive(Debug, Clone)]
pub struct ActionClock {
    period_ns: u64,
    start_ns: Option<u64>,
    consumed: u64,
}

/// Consumed actions beyond this count as this many: the plan is used up long before.
const MOST: u64 = 1 << 20;

impl ActionClock {
    /// Counts actions of `period_ns` nanoseconds each (at least 1).
    pub fn new(period_ns: u64) -> Self {
        Self {
            period_ns: period_ns.max(1),
            start_ns: None,
            consumed: 0,
        }
    }

    /// Begins anew with the next observation.
    pub fn reset(&mut self) {
        self.start_ns = None;
        self.consumed = 0;
    }

    /// Begins anew at `start_ns`: what comes earlier consumes nothing.
    pub fn start(&mut self, start_ns: u64) {
        self.start_ns = Some(start_ns);
        self.consumed = 0;
    }

    /// Actions consumed between the last observation and one at `now_ns`; 0 for the first.
    pub fn consumed(&mut self, now_ns: u64) -> usize {
        let start = *self.start_ns.get_or_insert(now_ns);
        let elapsed = now_ns.saturating_sub(start);
        let total = elapsed.saturating_add(self.period_ns / 2) / self.period_ns;
        let new = total.saturating_sub(self.consumed);
        self.consumed = self.consumed.max(total);
        new.min(MOST) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jitter_and_repetition_do_not_matter() {
        let mut roll = ActionClock::new(100);
        assert_eq!(roll.consumed(1000), 0);
        assert_eq!(roll.consumed(1093), 1);
        assert_eq!(roll.consumed(1093), 0);
        assert_eq!(roll.consumed(1207), 1);
        assert_eq!(roll.consumed(900), 0);
        assert_eq!(roll.consumed(1510), 3);
        roll.reset();
        assert_eq!(roll.consumed(9999), 0);
    }

    proptest! {
        #[test]
        fn what_is_counted_adds_up_to_the_time_that_passed(
            steps in prop::collection::vec(0_u64..1000, 1..50)
        ) {
            let mut roll = ActionClock::new(100);
            let mut now = 5;
            let mut total = roll.consumed(now) as u64;
            for step in steps {
                now += step;
                total += roll.consumed(now) as u64;
            }
            prop_assert_eq!(total, (now - 5 + 50) / 100);
        }
    }
}
