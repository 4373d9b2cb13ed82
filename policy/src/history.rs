//! The last few observations, as the network's condition: one action period apart, however often they come.
//!
//! A policy was trained on observations one period of its actions apart. A robot may send them ten times as often, and then
//! the newest few say nothing of how it moves. Row k of the condition is therefore the observation nearest to k periods
//! before the newest one. Of what arrives once a period, or more seldom, that is the last few.

use std::collections::VecDeque;

/// Observations nearer to each other than this part of a period need not all be kept.
const FINEST: i128 = 32;

/// Recent observations, already normalised, with their senders' times.
#[derive(Debug, Clone)]
pub struct ObservationHistory {
    steps: usize,
    period_ns: i128,
    /// Oldest first, each later than the one before.
    kept: VecDeque<Moment>,
}

#[derive(Debug, Clone)]
struct Moment {
    /// On the sender's clock, without its steps: wider than what it says, so that nothing overflows.
    time_ns: i128,
    observation: Vec<f32>,
}

impl ObservationHistory {
    /// An empty history: the condition has `steps` observations, `period_ns` nanoseconds (at least 1) apart.
    pub fn new(steps: usize, period_ns: u64) -> Self {
        Self {
            steps: steps.max(1),
            period_ns: i128::from(period_ns.max(1)),
            kept: VecDeque::with_capacity(steps + 2),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// Whether nothing was observed yet.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Observations that are kept: those that a condition can still ask for.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Adds the newest observation, one period after the one before.
    pub fn push(&mut self, observation: Vec<f32>) {
        let newest_ns = self.kept.back().map_or(0, |newest| newest.time_ns);
        self.add(newest_ns + self.period_ns, observation);
    }

    /// Adds the newest observation, made at `time_ns` of its sender's clock. Where that clock goes back by more than a
    /// period it has been set, and one period has passed; one that stands still makes the same observation anew.
    pub fn push_at(&mut self, time_ns: u64, observation: Vec<f32>) {
        self.add(i128::from(time_ns), observation);
    }

    fn add(&mut self, time_ns: i128, observation: Vec<f32>) {
        self.set_back(time_ns);
        if self.is_needless(time_ns) {
            self.kept.pop_back();
        }
        self.kept.push_back(Moment {
            time_ns,
            observation,
        });
        self.forget();
    }

    /// Whether the newest observation is none any more beside one at `now_ns`: it is of the same moment, or so near to the one
    /// before it that one of them is enough.
    fn is_needless(&self, now_ns: i128) -> bool {
        let mut newest = self.kept.iter().rev().map(|moment| moment.time_ns);
        let (newest, second) = (newest.next(), newest.next());
        let is_near = |(newest, second): (i128, i128)| newest - second < self.period_ns / FINEST;
        newest == Some(now_ns) || newest.zip(second).is_some_and(is_near)
    }

    /// Moves what is kept back in time where `now_ns` lies before it.
    fn set_back(&mut self, now_ns: i128) {
        let Some(newest) = self.kept.back() else {
            return;
        };
        let back_ns = newest.time_ns - now_ns;
        if back_ns > 0 {
            let apart_ns = if back_ns > self.period_ns {
                self.period_ns
            } else {
                1
            };
            for moment in &mut self.kept {
                moment.time_ns -= back_ns + apart_ns;
            }
        }
    }

    /// Forgets what no condition can ask for any more: what lies before the observation nearest to the oldest row's time,
    /// but for those that rows fall back to where observations are missing.
    fn forget(&mut self) {
        let Some(newest) = self.kept.back() else {
            return;
        };
        let oldest_ns = newest.time_ns - self.period_ns * (self.steps as i128 - 1);
        let nearest = self.nearest(self.kept.len() - 1, oldest_ns);
        self.kept.drain(..nearest.saturating_sub(self.steps - 1));
    }

    /// Of those up to `last` the one nearest to a time, the older of two.
    fn nearest(&self, last: usize, time_ns: i128) -> usize {
        let apart = |at: usize| (self.kept[at].time_ns - time_ns).abs();
        let mut at = last;
        while at > 0 && apart(at - 1) <= apart(at) {
            at -= 1;
        }
        at
    }

    /// All rows, oldest first, To Do numbers: those a period apart, each older than the one behind it; before there are as
    /// many, the oldest repeats.
    pub fn condition(&self) -> Vec<f32> {
        let Some(last) = self.kept.len().checked_sub(1) else {
            return Vec::new();
        };
        let newest_ns = self.kept[last].time_ns;
        let mut rows = Vec::with_capacity(self.steps);
        let mut at = last;
        rows.push(at);
        for row in 1..self.steps {
            at = match at {
                0 => 0,
                _ => self.nearest(at - 1, newest_ns - self.period_ns * row as i128),
            };
            rows.push(at);
        }
        let rows = rows.into_iter().rev();
        rows.flat_map(|at| &self.kept[at].observation)
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: u64 = 3200;

    fn at(history: &mut ObservationHistory, time_ns: u64) -> Vec<f32> {
        history.push_at(time_ns, vec![time_ns as f32]);
        history.condition()
    }

    #[test]
    fn the_first_observation_fills_the_history() {
        let mut history = ObservationHistory::new(3, 100);
        assert!(history.is_empty() && history.condition().is_empty());
        history.push(vec![1.0, 2.0]);
        assert_eq!(history.condition(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        history.push(vec![3.0, 4.0]);
        assert_eq!(history.condition(), [1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
        history.clear();
        history.push(vec![5.0, 6.0]);
        assert_eq!(history.condition(), [5.0, 6.0, 5.0, 6.0, 5.0, 6.0]);
    }

    #[test]
    fn ten_times_as_many_observations_are_still_a_period_apart() {
        let mut history = ObservationHistory::new(3, 100);
        for time in (0..1000).step_by(10) {
            let found = at(&mut history, time);
            let expected = [200, 100, 0].map(|ago| time.saturating_sub(ago) as f32);
            assert_eq!(found, expected);
            assert!(history.kept() <= 23);
        }
    }

    #[test]
    fn a_clock_that_is_set_costs_one_period() {
        let mut history = ObservationHistory::new(3, 100);
        for time in [10_000, 10_100, 10_200] {
            at(&mut history, time);
        }
        assert_eq!(at(&mut history, 500), [10_100.0, 10_200.0, 500.0]);
        assert_eq!(at(&mut history, 600), [10_200.0, 500.0, 600.0]);
        assert_eq!(at(&mut history, u64::MAX), [500.0, 600.0, u64::MAX as f32]);
        assert_eq!(at(&mut history, 700), [600.0, u64::MAX as f32, 700.0]);
        // A little back is jitter, and a clock that stands still says the same again.
        assert_eq!(at(&mut history, 695), [600.0, u64::MAX as f32, 695.0]);
        assert_eq!(at(&mut history, 695).len(), 3);
    }

    #[test]
    fn any_rate_is_kept_within_a_bound() {
        let mut history = ObservationHistory::new(4, PERIOD);
        for time in 0..20_000 {
            let found = at(&mut history, time);
            assert!(history.kept() <= 3 * 33 + 5, "{}", history.kept());
            for (row, found) in found.iter().rev().enumerate() {
                let wanted = time.saturating_sub(row as u64 * PERIOD) as f32;
                assert!((found - wanted).abs() <= 101.0, "{found} for {wanted}");
            }
        }
    }

    /// Rows by the book: of all observations before the row behind it, the nearest.
    fn rows(times: &[u64], steps: usize) -> Vec<f32> {
        let mut at = times.len() - 1;
        let mut rows = vec![times[at] as f32];
        for row in 1..steps {
            let target = times[times.len() - 1] as i128 - i128::from(PERIOD) * row as i128;
            at = (0..at)
                .min_by_key(|at| (i128::from(times[*at]) - target).abs())
                .unwrap_or(0);
            rows.push(times[at] as f32);
        }
        rows.reverse();
        rows
    }

    proptest! {
        /// At any rate, with jitter and losses.
        #[test]
        fn rows_are_the_nearest_to_their_times(
            steps in 1_usize..5,
            rate in 100_u64..20_000,
            moments in prop::collection::vec((0_u64..100, prop::bool::weighted(0.8)), 1..120),
        ) {
            let mut history = ObservationHistory::new(steps, PERIOD);
            let (mut times, mut now) = (Vec::new(), 1_000_000);
            for (jitter, arrives) in moments {
                now += rate + jitter * rate / 200;
                if arrives {
                    times.push(now);
                    prop_assert_eq!(at(&mut history, now), rows(&times, steps));
                }
            }
        }

        /// What comes once a period or more seldom, with jitter below a quarter of it, is the last few.
        #[test]
        fn what_comes_once_a_period_is_the_last_few(
            steps in 1_usize..5,
            moments in prop::collection::vec((0_u64..PERIOD / 4, 1_u64..4), 1..60),
        ) {
            let (mut history, mut plain) = (ObservationHistory::new(steps, PERIOD), ObservationHistory::new(steps, PERIOD));
            let mut due = 0;
            for (jitter, periods) in moments {
                due += periods * PERIOD;
                let row = vec![due as f32];
                plain.push(row.clone());
                history.push_at(due + jitter, row);
                prop_assert_eq!(history.condition(), plain.condition());
            }
        }
    }
}
