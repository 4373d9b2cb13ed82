//! How well a running loop keeps its rate, for anyone to read while it runs.
//!
//! The control thread records every tick; monitors take a [`snapshot`](TimingGauge::snapshot) whenever they like. Recording
//! is a few relaxed loads and stores: it never waits, allocates or fails, and a reader cannot slow it down.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::latencies::Percentiles;

/// Ticks, missed periods, and histograms of lateness and execution time since the loop began.
#[derive(Debug, Default)]
pub struct TimingGauge {
    missed: AtomicU64,
    lateness: Histogram,
    execution: Histogram,
}

/// What a gauge showed at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TimingSnapshot {
    /// Ticks run.
    pub ticks: u64,
    /// Periods in which no tick ran.
    pub missed: u64,
    /// From a tick's deadline to its waking.
    pub lateness: Distribution,
    /// From a tick's waking to its end.
    pub execution: Distribution,
}

/// Durations by size.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// How many durations were counted.
    pub count: u64,
    /// Percentiles in microseconds: the upper bound of the bucket in which they lie, at most an eighth too large. `max` is
    /// exact.
    pub percentiles_us: Percentiles,
    /// The buckets that hold something, in rising order: durations below the bound in microseconds, and how many. The last
    /// bucket there is, of 17.2 s, holds what is longer too.
    pub buckets: Vec<(f64, u64)>,
}

impl Distribution {
    /// How many of the durations were at most `bound_us` long, to the width of a bucket.
    #[must_use]
    pub fn at_most(&self, bound_us: f64) -> u64 {
        let buckets = self.buckets.iter();
        let below = buckets.take_while(|(upper_us, _)| *upper_us <= bound_us);
        below.map(|(_, count)| count).sum()
    }
}

impl TimingGauge {
    /// Counts a tick, and `missed` periods before it that had none. For one thread only: of two that record at the same
    /// time, one may be lost.
    pub fn record(&self, lateness_ns: u64, execution_ns: u64, missed: u64) {
        self.lateness.record(lateness_ns);
        self.execution.record(execution_ns);
        add(&self.missed, missed);
    }

    /// What was counted so far. A tick recorded meanwhile may be in one part and not yet in another.
    #[must_use]
    pub fn snapshot(&self) -> TimingSnapshot {
        let (lateness, execution) = (self.lateness.snapshot(), self.execution.snapshot());
        TimingSnapshot {
            ticks: execution.count,
            missed: self.missed.load(Ordering::Relaxed),
            lateness,
            execution,
        }
    }
}

/// Buckets per doubling: their bounds are an eighth of the doubling's beginning apart.
const PARTS: u32 = 8;
/// Bits that choose the part.
const PART_BITS: u32 = PARTS.ilog2();
/// Shorter durations share the first bucket: 64 ns.
const SHORTEST_BITS: u32 = 6;
/// Durations from here on count as this: 17.2 s.
const LONGEST_BITS: u32 = 34;
const BUCKETS: usize = 1 + ((LONGEST_BITS - SHORTEST_BITS) * PARTS) as usize;

#[derive(Debug)]
struct Histogram {
    max_ns: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            max_ns: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Histogram {
    fn record(&self, duration_ns: u64) {
        add(&self.buckets[bucket(duration_ns)], 1);
        if duration_ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.store(duration_ns, Ordering::Relaxed);
        }
    }

    fn snapshot(&self) -> Distribution {
        let counts = self
            .buckets
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let max_us = self.max_ns.load(Ordering::Relaxed) as f64 / 1e3;
        let count: u64 = counts.iter().sum();
        let quantile = |share: f64| {
            let rank = ((share * count as f64).ceil() as u64).max(1);
            let mut seen = 0;
            let reached = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            reached.map_or(0.0, |index| (bound_ns(index) as f64 / 1e3).min(max_us))
        };
        Distribution {
            count,
            percentiles_us: Percentiles {
                p50: quantile(0.5),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: max_us,
            },
            buckets: (0..)
                .zip(counts)
                .filter(|(_, count)| *count > 0)
                .map(|(index, count)| (bound_ns(index) as f64 / 1e3, count))
                .collect(),
        }
    }
}

/// By the only writer, so that no exchange is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

fn bucket(duration_ns: u64) -> usize {
    let Some(doubling) = duration_ns
        .checked_ilog2()
        .and_then(|bits| bits.checked_sub(SHORTEST_BITS))
    else {
        return 0;
    };
    let part = (duration_ns >> (doubling + SHORTEST_BITS - PART_BITS)) as u32 % PARTS;
    (1 + (doubling * PARTS + part) as usize).min(BUCKETS - 1)
}

/// Where a bucket ends; durations in it are shorter.
fn bound_ns(bucket: usize) -> u64 {
    let (doubling, part) = (bucket as u64 / 8, bucket as u64 % 8);
    (8 + part) << (doubling + u64::from(SHORTEST_BITS - PART_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket() {
        assert_eq!(bound_ns(0), 64);
        assert_eq!(bound_ns(BUCKETS - 1), 1 << LONGEST_BITS);
        let mut duration_ns = 1;
        while duration_ns < 1 << LONGEST_BITS {
            for near in [duration_ns - 1, duration_ns, duration_ns + 1] {
                let index = bucket(near);
                assert!(near < bound_ns(index), "{near}");
                if index > 0 {
                    let below = bound_ns(index - 1);
                    assert!(near >= below, "{near}");
                    assert!(bound_ns(index) - below <= below / 8, "{near}");
                }
            }
            duration_ns += duration_ns / 50 + 1;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_an_eighth_too_large_at_most_and_the_largest_is_exact() {
        let gauge = TimingGauge::default();
        assert_eq!(gauge.snapshot(), TimingSnapshot::default());
        (1..=10_000).for_each(|us| gauge.record(us * 1000, 250, u64::from(us == 7)));
        let found = gauge.snapshot();
        assert_eq!((found.ticks, found.missed), (10_000, 1));
        let Percentiles {
            p50,
            p99,
            p999,
            max,
        } = found.lateness.percentiles_us;
        for (found, expected) in [(p50, 5000.0), (p99, 9900.0), (p999, 9990.0)] {
            assert!(
                (expected..=expected * 1.125).contains(&found),
                "{found} for {expected}"
            );
        }
        assert_eq!(max, 10_000.0);
        let total: u64 = found.lateness.buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(total, 10_000);
        assert!(
            found
                .lateness
                .buckets
                .is_sorted_by(|one, next| one.0 < next.0)
        );
        assert_eq!(found.execution.buckets, [(0.256, 10_000)]);
        assert_eq!(found.execution.percentiles_us.p999, 0.25);
    }

    #[test]
    fn extremes_are_counted() {
        let gauge = TimingGauge::default();
        gauge.record(0, u64::MAX, 0);
        let found = gauge.snapshot();
        assert_eq!(found.lateness.buckets, [(0.064, 1)]);
        assert_eq!(found.lateness.percentiles_us, Percentiles::default());
        assert_eq!(found.execution.percentiles_us.max, u64::MAX as f64 / 1e3);
    }

    #[test]
    fn a_reader_sees_counts_that_only_grow() {
        let gauge = TimingGauge::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20_000).for_each(|ns| gauge.record(ns, ns, 1)));
            let mut before = gauge.snapshot();
            while before.ticks < 20_000 {
                let now = gauge.snapshot();
                assert!(now.ticks >= before.ticks && now.missed >= before.missed);
                before = now;
            }
        });
        assert_eq!(gauge.snapshot().missed, 20_000);
    }
}
