//! Which streams the next network evaluation serves, where several wait: the earliest deadline first,
//! in batches as large as deadlines bear.
//!
//! A network evaluation cannot be interrupted, but after each of them the choice is made anew, so a
//! stream that becomes urgent waits for one evaluation at most. Among those that can still be in time
//! the earliest deadline goes first, which no other order beats on one machine (Liu and Layland 1973).
//! Those that cannot are left until the others are served. Where there are too many of them for that, a
//! share of all evaluations serves those that have waited longest: all become slower and none starves.
//!
//! Whether batches pay is learnt from what they take: see [`BatchCost`]. No clock is read here.

/// Times of its own that a stream waits before it has a right to its share.
const PATIENCE: u64 = 4;
/// One of so many evaluations serves those first that have a right to it.
const SHARE: u64 = 4;
/// A batch is at most so much dearer per stream than the best one: what a larger one would save is not
/// worth that the first of them wait for the last.
const DEARER: f64 = 1.1;
/// What an evaluation is worth to a stream that will be late, where it is worth 1 to one that will not.
const WORTH_LATE: f64 = 0.25;
/// Share that a new measurement has of what is known.
const NEWS: f64 = 0.1;
/// A measurement counts as so many times what is known at most: now and then the machine does something
/// else meanwhile.
const MOST_NEWS: f64 = 3.0;
/// At every so many choices a batch is of the next larger size than what is thought to be worth it, whatever
/// is urgent, so that it is known what larger ones take.
const LOOK: u64 = 32;
/// Sizes of batches: powers of two, this many of them. A program that prepares itself for every size anew
/// has few to know.
const SIZES: usize = 13;

/// A stream that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InferenceRequest {
    /// The stream.
    pub stream: usize,
    /// When the oldest observation came that has had no answer, in nanoseconds.
    pub since_ns: u64,
    /// When the newest came, which will be answered.
    pub arrived_ns: u64,
    /// When the answer has to be there.
    pub deadline_ns: u64,
    /// Evaluations until it is; of those to choose from at least 1.
    pub owed: usize,
}

/// Chooses who is served next.
#[derive(Debug, Clone, Default)]
pub struct BatchScheduler {
    cost: BatchCost,
    choices: u64,
    /// Kept for the next choice.
    order: Vec<InferenceRequest>,
    chosen: Vec<usize>,
}

impl BatchScheduler {
    /// The streams that the next evaluation serves, at least one if any waits, the most urgent first.
    pub fn choose(&mut self, now_ns: u64, waiting: &[InferenceRequest]) -> &[usize] {
        self.choices += 1;
        let alone = self.cost.of(1);
        let gives_share = self.choices.is_multiple_of(SHARE);
        let rank = |demand: &InferenceRequest| match demand {
            demand if gives_share && demand.has_starved(now_ns) => (0, demand.since_ns),
            demand if demand.can_be_met(now_ns, alone) => (1, demand.deadline_ns),
            demand => (2, demand.since_ns),
        };
        self.order.clear();
        self.order.extend_from_slice(waiting);
        self.order
            .sort_unstable_by_key(|demand| (rank(demand), demand.stream));
        let count = self.count(now_ns);
        self.chosen.clear();
        let chosen = self.order[..count].iter();
        self.chosen.extend(chosen.map(|demand| demand.stream));
        &self.chosen
    }

    /// How many of those in order one evaluation serves.
    fn count(&self, now_ns: u64) -> usize {
        let waiting = self.order.len();
        let count = self.cost.worthwhile(waiting);
        if self.choices.is_multiple_of(LOOK) && 2 * count <= waiting {
            return 2 * count;
        }
        let all_met = |demands: &[InferenceRequest], from_ns: u64, streams: usize| {
            let cost = self.cost.of(streams);
            let missed = |demand: &InferenceRequest| {
                demand.can_be_met(now_ns, self.cost.of(1)) && !demand.can_be_met(from_ns, cost)
            };
            !demands.iter().any(missed)
        };
        if count <= 1 || all_met(&self.order[..count], now_ns, count) {
            return count;
        }
        let halves = std::iter::successors(Some(count / 2), |size| Some(size / 2));
        let sizes = halves.take_while(|size| *size > 0);
        // The most urgent first and the others after them, if all of them are in time then.
        let bearable = sizes.clone().find(|&fewer| {
            let (first, rest) = self.order[..count].split_at(fewer);
            let later_ns = now_ns + self.cost.of(fewer) as u64;
            all_met(first, now_ns, fewer) && all_met(rest, later_ns, rest.len())
        });
        // There are too many: as many in time as can be.
        bearable.unwrap_or_else(|| {
            let worth = |count: usize| {
                let cost = self.cost.of(count);
                let each = self.order[..count].iter().map(|demand| {
                    match demand.can_be_met(now_ns, cost) {
                        true => 1.0,
                        false => WORTH_LATE,
                    }
                });
                each.sum::<f64>() / cost
            };
            let all = std::iter::once(count).chain(sizes);
            all.max_by(|a, b| worth(*a).total_cmp(&worth(*b)))
                .unwrap_or(count)
        })
    }

    /// Says what an evaluation of so many streams took.
    pub fn took(&mut self, streams: usize, nanoseconds: u64) {
        self.cost.learn(streams, nanoseconds);
    }

    /// What evaluations are thought to take.
    pub fn cost(&self) -> &BatchCost {
        &self.cost
    }
}

impl InferenceRequest {
    /// Whether all that is owed can be done in time, at so many nanoseconds an evaluation.
    fn can_be_met(&self, now_ns: u64, cost_ns: f64) -> bool {
        now_ns as f64 + self.owed as f64 * cost_ns <= self.deadline_ns as f64
    }

    fn has_starved(&self, now_ns: u64) -> bool {
        let time = self.deadline_ns.saturating_sub(self.arrived_ns);
        now_ns.saturating_sub(self.since_ns) > time.saturating_mul(PATIENCE)
    }
}

/// What an evaluation takes, by the streams in it, which are powers of two.
///
/// Kernels that take one plan after the other take twice as long for two; a GPU about as long as for one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchCost {
    /// Of one stream, two, four and so on; nanoseconds.
    times: [Measured; SIZES],
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Measured {
    #[default]
    Never,
    /// Once, which does not count: programs prepare themselves for a new size.
    Once,
    Mean(f64),
}

impl BatchCost {
    /// Takes in what an evaluation of so many streams took.
    pub fn learn(&mut self, streams: usize, nanoseconds: u64) {
        let time = nanoseconds as f64;
        let known = &mut self.times[class(streams)];
        *known = match *known {
            Measured::Never => Measured::Once,
            Measured::Once => Measured::Mean(time),
            Measured::Mean(mean) => {
                Measured::Mean(mean + NEWS * (time.min(MOST_NEWS * mean) - mean))
            }
        };
    }

    /// Nanoseconds of an evaluation of so many streams, or of the next power of two. As long as that was
    /// not measured, what the next smaller one took that was: what looks better than it is will be tried.
    pub fn of(&self, streams: usize) -> f64 {
        let known = self.times[..=class(streams)].iter().rev();
        let mean = |time: &Measured| match time {
            Measured::Mean(mean) => Some(*mean),
            _ => None,
        };
        known.filter_map(mean).next().unwrap_or(0.0)
    }

    /// How many of `waiting` streams are worth one evaluation together: a power of two, or 0 where nobody
    /// waits.
    pub fn worthwhile(&self, waiting: usize) -> usize {
        let Some(largest) = waiting.checked_ilog2() else {
            return 0;
        };
        let sizes = (0..=largest.min(SIZES as u32 - 1)).map(|power| 1 << power);
        let per_stream = |size: usize| self.of(size) / size as f64;
        let least = sizes.clone().map(per_stream).fold(f64::INFINITY, f64::min);
        sizes
            .into_iter()
            .find(|size| per_stream(*size) <= DEARER * least)
            .unwrap_or(1)
    }
}

/// The place of a number of streams, or of the next power of two, among the sizes.
fn class(streams: usize) -> usize {
    let power = streams.max(1).next_power_of_two().ilog2() as usize;
    power.min(SIZES - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A robot that observes at a rate, and what became of its observations.
    #[derive(Debug, Clone)]
    struct Robot {
        period_ns: u64,
        next_ns: u64,
        owes: usize,
        waiting: Option<InferenceRequest>,
        answered: u64,
        late: u64,
        /// Observations that a newer one came after before they were answered.
        overtaken: u64,
        longest_ns: u64,
    }

    impl Robot {
        fn new(period_ns: u64, phase_ns: u64, owes: usize) -> Self {
            Self {
                period_ns,
                next_ns: phase_ns,
                owes,
                waiting: None,
                answered: 0,
                late: 0,
                overtaken: 0,
                longest_ns: 0,
            }
        }

        fn observe_until(&mut self, stream: usize, now_ns: u64) {
            while self.next_ns <= now_ns {
                let since_ns = self.waiting.map_or(self.next_ns, |demand| demand.since_ns);
                self.overtaken += u64::from(self.waiting.is_some());
                self.waiting = Some(InferenceRequest {
                    stream,
                    since_ns,
                    arrived_ns: self.next_ns,
                    deadline_ns: self.next_ns + self.period_ns,
                    owed: self.owes,
                });
                self.next_ns += self.period_ns;
            }
        }
    }

    /// Runs robots in virtual time; an evaluation takes `fixed + each` a stream.
    fn run(robots: &mut [Robot], (fixed, each): (u64, u64), end_ns: u64) -> BatchScheduler {
        let mut dispatcher = BatchScheduler::default();
        let mut now_ns = 0;
        while now_ns < end_ns {
            for (stream, robot) in robots.iter_mut().enumerate() {
                robot.observe_until(stream, now_ns);
            }
            let waiting: Vec<InferenceRequest> =
                robots.iter().filter_map(|robot| robot.waiting).collect();
            if waiting.is_empty() {
                let next = robots.iter().map(|robot| robot.next_ns).min();
                now_ns = next.unwrap_or(end_ns);
                continue;
            }
            let chosen = dispatcher.choose(now_ns, &waiting).to_vec();
            assert!(!chosen.is_empty());
            let cost = fixed + each * chosen.len() as u64;
            dispatcher.took(chosen.len(), cost);
            now_ns += cost;
            for stream in chosen {
                let robot = &mut robots[stream];
                let demand = robot.waiting.as_mut().unwrap();
                demand.owed -= 1;
                if demand.owed == 0 {
                    let demand = robot.waiting.take().unwrap();
                    robot.answered += 1;
                    robot.late += u64::from(now_ns > demand.deadline_ns);
                    robot.longest_ns = robot.longest_ns.max(now_ns - demand.since_ns);
                }
            }
        }
        dispatcher
    }

    /// What batches of all sizes take, `fixed + each` a stream.
    fn measured(fixed: u64, each: u64) -> BatchCost {
        let mut cost = BatchCost::default();
        for streams in (0..SIZES).map(|power| 1 << power) {
            for preparing in [100 * MS, 0] {
                cost.learn(streams, fixed + each * streams as u64 + preparing);
            }
        }
        cost
    }

    #[test]
    fn what_was_never_tried_looks_good() {
        let mut cost = BatchCost::default();
        assert_eq!(
            (cost.of(1), cost.worthwhile(7), cost.worthwhile(0)),
            (0.0, 1, 0)
        );
        for _ in 0..2 {
            cost.learn(1, 5 * MS);
        }
        assert_eq!((cost.of(1), cost.of(7), cost.worthwhile(7)), (5e6, 5e6, 4));
        // A single slow one changes little.
        let mut cost = measured(MS, MS);
        cost.learn(4, 500 * MS);
        assert!(cost.of(4) <= 1.2 * 5e6);
        for _ in 0..100 {
            cost.learn(4, 10 * MS);
        }
        assert!((cost.of(3) - 1e7).abs() < 1e4);
    }

    #[test]
    fn batches_are_as_large_as_they_pay() {
        // One after the other: the first need not wait for the last.
        assert_eq!(measured(0, 300_000).worthwhile(64), 1);
        // Together, where that is nearly free.
        assert_eq!(measured(1_000_000, 1_000).worthwhile(127), 64);
        assert_eq!(measured(2_000_000, 430_000).worthwhile(64), 32);
        assert_eq!(measured(2_000_000, 430_000).worthwhile(4_096), 64);
    }

    #[test]
    fn the_earliest_deadline_goes_first() {
        let mut dispatcher = BatchScheduler {
            cost: measured(0, MS),
            ..BatchScheduler::default()
        };
        let demand = |stream, deadline_ns| InferenceRequest {
            stream,
            since_ns: 0,
            arrived_ns: 0,
            deadline_ns,
            owed: 1,
        };
        let waiting = [demand(0, 9 * MS), demand(1, 3 * MS), demand(2, 2 * MS)];
        assert_eq!(dispatcher.choose(0, &waiting), [2]);
        // The third cannot be in time any more, and costs the second nothing.
        assert_eq!(dispatcher.choose(2 * MS, &waiting), [1]);
        assert_eq!(dispatcher.choose(8 * MS, &waiting), [0]);
        // One evaluation of some is for those that have waited for long.
        assert_eq!(dispatcher.choose(8 * MS + 1, &waiting), [2]);
        assert_eq!(dispatcher.choose(0, &[]), [0_usize; 0]);
    }

    #[test]
    fn a_batch_is_no_larger_than_the_most_urgent_bears() {
        let mut dispatcher = BatchScheduler {
            cost: measured(2 * MS, MS / 10),
            ..BatchScheduler::default()
        };
        let waiting: Vec<InferenceRequest> = (0..16)
            .map(|stream| InferenceRequest {
                stream,
                since_ns: 0,
                arrived_ns: 0,
                // Two evaluations of 2.5 ms each for the first.
                deadline_ns: if stream == 3 { 5 * MS } else { 100 * MS },
                owed: if stream == 3 { 2 } else { 1 },
            })
            .collect();
        let chosen = dispatcher.choose(0, &waiting);
        assert_eq!(chosen[0], 3);
        assert_eq!(chosen.len(), 4, "{chosen:?}");
    }

    #[test]
    fn too_many_robots_are_all_slower_and_none_is_forgotten() {
        let mut robots: Vec<Robot> = (0..40)
            .map(|stream| Robot::new(10 * MS, stream * MS / 4, 1))
            .collect();
        // Room for ten of forty.
        run(&mut robots, (0, MS), 4_000 * MS);
        for robot in &robots {
            assert!(robot.answered >= 20, "{robot:?}");
            assert!(robot.longest_ns < 250 * MS, "{robot:?}");
        }
        // Most evaluations still were for plans in time.
        let in_time: u64 = robots.iter().map(|robot| robot.answered - robot.late).sum();
        assert!(in_time > 2_500, "{in_time}");
    }

    #[test]
    fn what_batches_take_is_learnt_while_it_runs() {
        let mut robots: Vec<Robot> = (0..32)
            .map(|stream| Robot::new(20 * MS, stream * MS / 2, 1))
            .collect();
        // One at a time they would take 67 ms for what has 20; together 5.
        let dispatcher = run(&mut robots, (2 * MS, MS / 10), 2_000 * MS);
        assert_eq!(dispatcher.cost().of(4), 2.4e6);
        assert!(robots.iter().all(|robot| robot.late + robot.overtaken == 0));
    }

    #[test]
    fn too_many_robots_are_served_in_large_batches() {
        let mut robots: Vec<Robot> = (0..128)
            .map(|stream| Robot::new(20 * MS, stream * MS / 8, 1))
            .collect();
        // All together take 22 ms of 20; one at a time 397.
        run(&mut robots, (3 * MS, 3 * MS / 20), 4_000 * MS);
        let answered: u64 = robots.iter().map(|robot| robot.answered).sum();
        assert!(answered as f64 > 0.8 * 128.0 * 4_000.0 / 22.2, "{answered}");
        assert!(robots.iter().all(|robot| robot.longest_ns < 500 * MS));
    }

    proptest! {
        /// Robots that need together less than the machine has are all in time: those that wait for one
        /// evaluation that is going on have that much room.
        #[test]
        fn what_can_be_done_is_done_in_time(
            robots in prop::collection::vec((5_u64..60, 0_u64..60, 1_usize..4), 1..12),
        ) {
            let each = MS / 4;
            let mut robots: Vec<Robot> = robots
                .iter()
                .map(|(period, phase, owes)| Robot::new(period * MS, phase * MS, *owes))
                .collect();
            let load: f64 = robots
                .iter()
                .map(|robot| robot.owes as f64 * each as f64 / robot.period_ns as f64)
                .sum();
            // An evaluation of one that had time may have begun just before; once in a while it is of
            // several streams.
            let shortest = robots.iter().map(|robot| robot.period_ns).min().unwrap_or(1);
            let blocked = (2 * each) as f64 / shortest as f64;
            prop_assume!(load + blocked < 0.95);
            run(&mut robots, (0, each), 3_000 * MS);
            for robot in &robots {
                prop_assert_eq!(robot.late, 0);
                prop_assert_eq!(robot.overtaken, 0);
            }
        }
    }
}
