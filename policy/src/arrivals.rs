//! Which observations are news, and how many actions were consumed between them.
//!
//! Observations may come late, twice, out of order or not at all, and the sender's clock may step. What is not newer than
//! the newest is told apart and must not enter the history; every other one says by how many actions the plan rolls.

use crate::roll::Roll;

/// What an observation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Newer than all before it.
    News {
        /// Actions consumed since the one before.
        consumed: usize,
    },
    /// The newest once more.
    Repeated,
    /// Older than the newest.
    OutOfOrder,
}

/// The order of one stream's observations.
#[derive(Debug, Clone)]
pub struct Arrivals {
    roll: Roll,
    period_ns: u64,
    newest: Option<Stamp>,
}

#[derive(Debug, Clone, Copy)]
struct Stamp {
    sequence: u64,
    time_ns: u64,
}

impl Arrivals {
    /// Expects observations of a policy with `period_ns` nanoseconds per action.
    pub fn new(period_ns: u64) -> Self {
        Self {
            roll: Roll::new(period_ns),
            period_ns: period_ns.max(1),
            newest: None,
        }
    }

    /// Begins anew: the next observation is the first.
    pub fn reset(&mut self) {
        self.roll.reset();
        self.newest = None;
    }

    /// Takes in the sender's sequence number and its time in nanoseconds.
    ///
    /// An observation is old if neither its number nor its time is newer. A number that goes back
    /// while time goes on is a sender that was started again; a time that goes back by more than a
    /// period while the number goes on is a clock that stepped: it counts as one period, and time
    /// goes on from there.
    pub fn take(&mut self, sequence: u64, time_ns: u64) -> Arrival {
        let Some(newest) = self.newest else {
            self.newest = Some(Stamp { sequence, time_ns });
            return Arrival::News {
                consumed: self.roll.consumed(time_ns),
            };
        };
        if sequence <= newest.sequence && time_ns <= newest.time_ns {
            return if sequence == newest.sequence && time_ns == newest.time_ns {
                Arrival::Repeated
            } else {
                Arrival::OutOfOrder
            };
        }
        self.newest = Some(Stamp { sequence, time_ns });
        if newest.time_ns.saturating_sub(time_ns) > self.period_ns {
            self.roll.reset();
            self.roll.consumed(time_ns);
            return Arrival::News { consumed: 1 };
        }
        Arrival::News {
            consumed: self.roll.consumed(time_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn news(consumed: usize) -> Arrival {
        Arrival::News { consumed }
    }

    #[test]
    fn order_is_kept() {
        let mut arrivals = Arrivals::new(100);
        let found = [
            (1, 1000),
            (2, 1100),
            (2, 1100),
            (1, 1000),
            (4, 1300),
            (3, 1200),
            (5, 1404),
        ]
        .map(|(sequence, time)| arrivals.take(sequence, time));
        assert_eq!(
            found,
            [
                news(0),
                news(1),
                Arrival::Repeated,
                Arrival::OutOfOrder,
                news(2),
                Arrival::OutOfOrder,
                news(1)
            ]
        );
        arrivals.reset();
        assert_eq!(arrivals.take(1, 5), news(0));
    }

    #[test]
    fn a_sender_that_was_started_again_is_heard() {
        let mut arrivals = Arrivals::new(100);
        arrivals.take(700, 1000);
        assert_eq!(arrivals.take(1, 1300), news(3));
        assert_eq!(arrivals.take(2, 1400), news(1));
    }

    #[test]
    fn a_clock_that_steps_costs_one_roll() {
        let mut arrivals = Arrivals::new(100);
        arrivals.take(1, 1_000_000);
        assert_eq!(arrivals.take(2, 500), news(1));
        assert_eq!(arrivals.take(3, 600), news(1));
        assert_eq!(arrivals.take(4, 700), news(1));
        // Forward: the plan is used up, whatever the true time was.
        let Arrival::News { consumed } = arrivals.take(5, u64::MAX) else {
            panic!("not taken");
        };
        assert!(consumed > 1000);
    }

    proptest! {
        /// However observations are delayed, doubled and lost, no time is counted twice.
        #[test]
        fn consumed_actions_never_exceed_the_time_that_passed(
            order in prop::collection::vec(0_u64..60, 1..200)
        ) {
            let mut arrivals = Arrivals::new(100);
            let (mut first, mut last, mut total) = (u64::MAX, 0, 0);
            for at in order {
                if let Arrival::News { consumed } = arrivals.take(at, at * 100) {
                    first = first.min(at);
                    last = last.max(at);
                    total += consumed as u64;
                }
            }
            prop_assert_eq!(total, last - first);
        }
    }
}
