//! Which observations are news, and how many actions were consumed between them.
//!
//! Observations may come late, twice, out of order or not at all, and the sender's clock may step. What is not newer than
//! the newest is told apart and must not enter the history; every other one says by how many actions the plan rolls.
//! Nothing that a sender says shuts its stream: it is heard again with the second observation of a new beginning.

use crate::roll::ActionClock;

/// Messages are under way for so long at most, in nanoseconds: what is older than that beside the newest is no late one.
const LONGEST_WAY_NS: u64 = 1_000_000_000;
/// The same in periods, for policies that take their time.
const LONGEST_WAY_PERIODS: u64 = 5;
/// The observation after a doubtful one has a number that is larger by so much at most: some may be lost.
const MOST_LOST: u64 = 16;

/// What an observation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Newer than all before it.
    News {
        /// Actions consumed since the one before.
        consumed: usize,
    },
    /// The second in a row from long before the newest: the sender was started again, its clock and its count with it.
    /// This one is the first of a new beginning.
    Anew,
    /// The newest once more.
    Repeated,
    /// Older than the newest.
    OutOfOrder,
}

/// The order of one stream's observations.
#[derive(Debug, Clone)]
pub struct ObservationOrder {
    roll: ActionClock,
    period_ns: u64,
    newest: Option<Stamp>,
    /// The one that was the newest before.
    before: Option<Stamp>,
    /// One from long before the newest, which the next may confirm.
    doubt: Option<Stamp>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Stamp {
    sequence: u64,
    time_ns: u64,
}

impl Stamp {
    /// Whether number and time are both larger than another's.
    fn is_after(self, other: Self) -> bool {
        self.sequence > other.sequence && self.time_ns > other.time_ns
    }
}

impl ObservationOrder {
    /// Expects observations of a policy with `period_ns` nanoseconds per action.
    pub fn new(period_ns: u64) -> Self {
        Self {
            roll: ActionClock::new(period_ns),
            period_ns: period_ns.max(1),
            newest: None,
            before: None,
            doubt: None,
        }
    }

    /// Begins anew: the next observation is the first.
    pub fn reset(&mut self) {
        *self = Self::new(self.period_ns);
    }

    /// Counts actions from `time_ns` of the sender's clock on: the first one is due then, and none was consumed before.
    pub fn count_from(&mut self, time_ns: u64) {
        self.roll.start(time_ns);
    }

    /// Takes in the sender's sequence number and its time in nanoseconds.
    ///
    /// An observation is old if neither its number nor its time is newer. A number that goes back
    /// while time goes on is a sender that was started again; a time that goes back by more than a
    /// period while the number goes on is a clock that stepped: it counts as one period, and time
    /// goes on from there.
    ///
    /// Where both go back farther than messages are late, it is a machine that was started again, or the newest was the odd
    /// one. One observation proves neither; the second in a row is taken, as [`Arrival::Anew`], or as news where the two
    /// follow those before the odd one.
    pub fn take(&mut self, sequence: u64, time_ns: u64) -> Arrival {
        let stamp = Stamp { sequence, time_ns };
        let Some(newest) = self.newest else {
            self.newest = Some(stamp);
            return Arrival::News {
                consumed: self.roll.consumed(time_ns),
            };
        };
        if sequence <= newest.sequence && time_ns <= newest.time_ns {
            return self.judge(newest, stamp);
        }
        let stepped = newest.time_ns.saturating_sub(time_ns) > self.period_ns;
        self.doubt = None;
        self.before = self.newest.replace(stamp);
        Arrival::News {
            consumed: if stepped {
                self.step(time_ns)
            } else {
                self.roll.consumed(time_ns)
            },
        }
    }

    /// What one is that is no newer than the newest.
    fn judge(&mut self, newest: Stamp, stamp: Stamp) -> Arrival {
        if stamp == newest {
            return Arrival::Repeated;
        }
        let most_ns = LONGEST_WAY_NS.max(LONGEST_WAY_PERIODS.saturating_mul(self.period_ns));
        if newest.time_ns - stamp.time_ns <= most_ns {
            return Arrival::OutOfOrder;
        }
        let confirmed = self.doubt.filter(|doubt| {
            stamp.is_after(*doubt)
                && stamp.sequence - doubt.sequence <= MOST_LOST
                && stamp.time_ns - doubt.time_ns <= most_ns
        });
        self.doubt = Some(stamp);
        let Some(first) = confirmed else {
            return Arrival::OutOfOrder;
        };
        if self.before.is_some_and(|before| first.is_after(before)) {
            self.doubt = None;
            self.before = None;
            self.newest = Some(stamp);
            let consumed = self.step(stamp.time_ns);
            return Arrival::News { consumed };
        }
        self.reset();
        self.newest = Some(stamp);
        self.roll.start(stamp.time_ns);
        Arrival::Anew
    }

    /// Counts on from another time: how much time has passed is not known, and counts as one period.
    fn step(&mut self, time_ns: u64) -> usize {
        self.roll.start(time_ns);
        1
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
        let mut arrivals = ObservationOrder::new(100);
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
        let mut arrivals = ObservationOrder::new(100);
        arrivals.take(700, 1000);
        assert_eq!(arrivals.take(1, 1300), news(3));
        assert_eq!(arrivals.take(2, 1400), news(1));
    }

    #[test]
    fn a_clock_that_steps_costs_one_roll() {
        let mut arrivals = ObservationOrder::new(100);
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

    const MS: u64 = 1_000_000;
    const PERIOD: u64 = 100 * MS;

    /// Observations 1 to `count`, one a period from `begun_ns` on.
    fn heard(count: u64, begun_ns: u64) -> ObservationOrder {
        let mut arrivals = ObservationOrder::new(PERIOD);
        for at in 0..count {
            assert!(matches!(
                arrivals.take(at + 1, begun_ns + at * PERIOD),
                Arrival::News { .. }
            ));
        }
        arrivals
    }

    #[test]
    fn a_machine_that_was_started_again_is_heard_with_its_second_observation() {
        let mut arrivals = heard(70, 900_000 * MS);
        assert_eq!(arrivals.take(1, 5_000 * MS), Arrival::OutOfOrder);
        assert_eq!(arrivals.take(1, 5_000 * MS), Arrival::OutOfOrder);
        assert_eq!(arrivals.take(3, 5_200 * MS), Arrival::Anew);
        assert_eq!(arrivals.take(3, 5_200 * MS), Arrival::Repeated);
        assert_eq!(arrivals.take(4, 5_300 * MS), news(1));
        assert_eq!(arrivals.take(2, 5_100 * MS), Arrival::OutOfOrder);
        assert_eq!(arrivals.take(6, 5_500 * MS), news(2));
    }

    #[test]
    fn what_is_shuffled_or_late_begins_nothing() {
        // Seven observations of the last half a second, in order, after a newer one, again and again.
        let mut arrivals = heard(40, 900_000 * MS);
        let newest_ns = 900_000 * MS + 39 * PERIOD;
        for _ in 0..3 {
            for ago in (1..8).rev() {
                let found = arrivals.take(40 - ago, newest_ns - ago * PERIOD);
                assert_eq!(found, Arrival::OutOfOrder);
            }
        }
        assert_eq!(arrivals.take(41, newest_ns + PERIOD), news(1));
        // An old one now and then between new ones confirms nothing.
        for at in 42..60 {
            let now = newest_ns + (at - 40) * PERIOD;
            assert_eq!(arrivals.take(at, now), news(1));
            assert_eq!(arrivals.take(at - 41, at * PERIOD), Arrival::OutOfOrder);
        }
    }

    #[test]
    fn no_number_and_no_time_shuts_a_stream() {
        let begun_ns = 900_000 * MS;
        for odd in [
            (u64::MAX, u64::MAX),
            (u64::MAX, begun_ns + 10 * PERIOD),
            (11, u64::MAX),
            (u64::MAX, 0),
        ] {
            for heard_before in [0, 10] {
                let mut arrivals = heard(heard_before, begun_ns);
                arrivals.take(odd.0, odd.1);
                let at = |at: u64| (at, begun_ns + at * PERIOD);
                let found: Vec<Arrival> = (12..17)
                    .map(|sequence| arrivals.take(at(sequence).0, at(sequence).1))
                    .collect();
                assert!(
                    found[2..].iter().all(|found| *found == news(1)),
                    "{odd:?} after {heard_before}: {found:?}"
                );
                if heard_before > 0 {
                    assert!(!found.contains(&Arrival::Anew), "{odd:?}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn ten_observations_a_period_count_every_action_once() {
        let mut arrivals = ObservationOrder::new(PERIOD);
        let mut total = 0;
        for at in 0..36_000_u64 {
            let Arrival::News { consumed } = arrivals.take(at, at * 10 * MS) else {
                panic!("not taken");
            };
            total += consumed as u64;
            assert!(consumed <= 1 && total.abs_diff(at / 10) <= 1);
        }
    }

    proptest! {
        /// Whatever a sender says, two observations in their order are heard after it.
        #[test]
        fn a_sender_is_always_heard_again(
            said in prop::collection::vec((any::<u64>(), any::<u64>()), 0..40),
            sequence in 0..u64::MAX - 3,
            time_ns in 0..u64::MAX - 3 * PERIOD,
        ) {
            let mut arrivals = ObservationOrder::new(PERIOD);
            for (sequence, time_ns) in said {
                arrivals.take(sequence, time_ns);
            }
            let newest_ns = arrivals.newest.map_or(0, |newest| newest.time_ns);
            // Not what could be a late message.
            prop_assume!(newest_ns < time_ns || newest_ns - time_ns > 2 * LONGEST_WAY_NS);
            let mut heard = |at: u64| arrivals.take(sequence + at, time_ns + at * PERIOD);
            let (_, second, third) = (heard(0), heard(1), heard(2));
            let is_heard = matches!(second, Arrival::Anew | Arrival::News { .. });
            prop_assert!(is_heard && third == news(1), "{:?}, {:?}", second, third);
        }

        /// However observations are delayed, doubled and lost, no time is counted twice.
        #[test]
        fn consumed_actions_never_exceed_the_time_that_passed(
            order in prop::collection::vec(0_u64..60, 1..200)
        ) {
            let mut arrivals = ObservationOrder::new(100);
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
