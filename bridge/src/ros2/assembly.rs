//! An observation from several topics, at the policy's own rate. Free of clocks: every call is given the time.
//!
//! The first part sets the pace: when it arrives and an observation is due, and every other part has arrived and is not
//! too old, the whole leaves. Nothing is repeated and nothing is guessed.

/// Lets through one event per period, and no burst after a gap.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    period_ns: u64,
    next_ns: u64,
}

impl Pace {
    /// One event per period; every one where that is 0.
    #[must_use]
    pub fn new(period_ns: u64) -> Self {
        Self {
            period_ns,
            next_ns: 0,
        }
    }

    /// Whether an event at `now_ns` is let through. One that comes up to a tenth of a period early is, so that a sender at
    /// the same rate loses none to jitter; the times that follow keep to the pace.
    pub fn take(&mut self, now_ns: u64) -> bool {
        if now_ns.saturating_add(self.period_ns / 10) < self.next_ns {
            return false;
        }
        let kept = self.next_ns + self.period_ns;
        // Behind by more than a period: the pace starts afresh here. Late by less: the next keeps its distance.
        self.next_ns = if kept > now_ns {
            kept.max(now_ns + self.period_ns / 10 * 9)
        } else {
            now_ns + self.period_ns
        };
        true
    }
}

/// Parts that become one vector.
#[derive(Debug)]
pub struct Assembly {
    parts: Vec<Part>,
    pace: Pace,
    max_age_ns: u64,
    counts: AssemblyCounts,
}

#[derive(Debug)]
struct Part {
    size: usize,
    values: Vec<f64>,
    arrived_ns: Option<u64>,
}

/// What became of the arrivals of the first part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AssemblyCounts {
    /// Observations that left.
    pub made: u64,
    /// Due, but a part had not arrived yet or was too old.
    pub incomplete: u64,
}

/// What came of an arrival.
#[derive(Debug, Clone, PartialEq)]
pub enum Assembled {
    /// Nothing is due.
    Waiting,
    /// An observation, the parts in their order.
    Whole(Vec<f64>),
    /// One was due, but this part is missing or too old.
    Incomplete {
        /// Index of the part.
        part: usize,
        /// Its age; none if it never arrived.
        age_ns: Option<u64>,
    },
}

impl Assembly {
    /// Parts of these sizes, at most one observation per period, no other part older than `max_age_ns`.
    #[must_use]
    pub fn new(sizes: &[usize], period_ns: u64, max_age_ns: u64) -> Self {
        let part = |&size: &usize| Part {
            size,
            values: Vec::new(),
            arrived_ns: None,
        };
        Self {
            parts: sizes.iter().map(part).collect(),
            pace: Pace::new(period_ns),
            max_age_ns,
            counts: AssemblyCounts::default(),
        }
    }

    /// Takes a part that arrived; one of another size than announced, or that does not exist, is left out.
    pub fn take(&mut self, part: usize, values: Vec<f64>, now_ns: u64) -> Assembled {
        match self.parts.get_mut(part) {
            Some(place) if place.size == values.len() => {
                place.values = values;
                place.arrived_ns = Some(now_ns);
            }
            _ => return Assembled::Waiting,
        }
        if part != 0 || !self.pace.take(now_ns) {
            return Assembled::Waiting;
        }
        for (part, place) in self.parts.iter().enumerate() {
            let age_ns = place
                .arrived_ns
                .map(|arrived| now_ns.saturating_sub(arrived));
            if age_ns.is_none_or(|age| age > self.max_age_ns) {
                self.counts.incomplete += 1;
                return Assembled::Incomplete { part, age_ns };
            }
        }
        self.counts.made += 1;
        let parts = self.parts.iter().map(|place| place.values.as_slice());
        Assembled::Whole(parts.collect::<Vec<_>>().concat())
    }

    /// What became of arrivals so far.
    #[must_use]
    pub fn counts(&self) -> AssemblyCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: u64 = 100_000_000;

    #[test]
    fn a_fast_topic_is_thinned_to_the_policys_rate() {
        let mut assembly = Assembly::new(&[1], PERIOD, PERIOD);
        let mut times = Vec::new();
        for tick in 0..100_u64 {
            let now = tick * 8_000_000;
            if let Assembled::Whole(values) = assembly.take(0, vec![tick as f64], now) {
                assert_eq!(values, [tick as f64]);
                times.push(now);
            }
        }
        // From 0 to 792 ms at one per 100 ms, whatever 8 ms make of it.
        assert_eq!(times.len(), 9, "{times:?}");
    }

    #[test]
    fn a_topic_at_the_same_rate_loses_nothing_to_jitter() {
        let mut assembly = Assembly::new(&[1], PERIOD, PERIOD);
        for tick in 0..1000_u64 {
            let jitter = [0, 6_000_000, 1_000_000, 9_000_000][tick as usize % 4];
            let taken = assembly.take(0, vec![0.0], tick * PERIOD + jitter);
            assert!(matches!(taken, Assembled::Whole(_)), "{tick}");
        }
    }

    #[test]
    fn it_waits_for_all_parts_and_takes_none_that_is_old() {
        let mut assembly = Assembly::new(&[2, 1], PERIOD, 50);
        let incomplete = |age_ns| Assembled::Incomplete { part: 1, age_ns };
        assert_eq!(assembly.take(0, vec![1.0, 2.0], 10), incomplete(None));
        assert_eq!(assembly.take(1, vec![3.0], 20), Assembled::Waiting);
        let later = 10 + PERIOD;
        assert_eq!(assembly.take(1, vec![3.5], later - 50), Assembled::Waiting);
        assert_eq!(
            assembly.take(0, vec![1.0, 2.0], later),
            Assembled::Whole(vec![1.0, 2.0, 3.5])
        );
        let later = later + PERIOD;
        assert_eq!(
            assembly.take(0, vec![1.0, 2.0], later),
            incomplete(Some(PERIOD + 50))
        );
        assert_eq!(
            assembly.counts(),
            AssemblyCounts {
                made: 1,
                incomplete: 2
            }
        );
        // A size that was not announced is nobody's.
        assert_eq!(
            assembly.take(0, vec![1.0], later + PERIOD),
            Assembled::Waiting
        );
        assert_eq!(
            assembly.take(5, vec![1.0], later + PERIOD),
            Assembled::Waiting
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// However arrivals bunch, what is let through keeps to the pace: never two closer than nine tenths of a
        /// period, and never more than one per period and one over a whole.
        #[test]
        fn the_pace_is_never_exceeded(gaps in proptest::collection::vec(0_u64..3 * PERIOD, 1..200)) {
            let mut pace = Pace::new(PERIOD);
            let (mut now, mut through) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                if pace.take(now) {
                    through.push(now);
                }
            }
            for pair in through.windows(2) {
                prop_assert!(pair[1] - pair[0] >= PERIOD * 8 / 10, "{pair:?}");
            }
            let span = through[through.len() - 1] - through[0];
            prop_assert!(through.len() as u64 <= span / PERIOD + 2);
        }
    }
}
