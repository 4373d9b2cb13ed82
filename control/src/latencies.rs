//! Durations counted in a histogram of fixed size, and the percentiles that reports print.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Percentiles, in the unit of the method that returned them; all 0 if nothing was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The largest, exactly.
    pub max: f64,
}

/// A histogram of durations from 1 ns to 1 hour, exact to 0.1 %. Recording takes constant time and allocates nothing.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    max_ns: u64,
}

/// Longer durations count as this, except in `max`.
const LONGEST_NS: u64 = 3_600_000_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// An empty histogram of about 270 kB, all allocated and touched here.
    #[must_use]
    pub fn new() -> Self {
        let Ok(mut histogram) = Histogram::new_with_bounds(1, LONGEST_NS, 3) else {
            unreachable!("constant bounds, well within what the histogram allows")
        };
        // Fresh zeros are pages that the kernel has not provided yet. Writing them here keeps the faults out of the loop;
        // the black box keeps the compiler from seeing that they are zero already.
        std::hint::black_box(&mut histogram).reset();
        Self {
            histogram,
            max_ns: 0,
        }
    }

    /// Counts one duration in nanoseconds.
    pub fn record(&mut self, duration_ns: u64) {
        self.histogram.saturating_record(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        // Cannot fail: both have the same bounds.
        let _ = self.histogram.add(&other.histogram);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets everything, as after a warm-up.
    pub fn clear(&mut self) {
        self.histogram.reset();
        self.max_ns = 0;
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many durations were longer than this one, to the accuracy of the histogram.
    #[must_use]
    pub fn count_over(&self, duration_ns: u64) -> u64 {
        match self.max_ns > duration_ns {
            true => self.histogram.count_between(duration_ns + 1, u64::MAX),
            false => 0,
        }
    }

    /// The duration in nanoseconds that a share `quantile` (0 to 1) of all does not exceed; 0 if there are none.
    #[must_use]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile).min(self.max_ns)
    }

    /// Percentiles in microseconds.
    #[must_use]
    pub fn percentiles_us(&self) -> Percentiles {
        self.percentiles(1e3)
    }

    /// Percentiles in milliseconds.
    #[must_use]
    pub fn percentiles_ms(&self) -> Percentiles {
        self.percentiles(1e6)
    }

    fn percentiles(&self, unit_ns: f64) -> Percentiles {
        let quantile = |quantile| self.quantile_ns(quantile) as f64 / unit_ns;
        Percentiles {
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: self.max_ns as f64 / unit_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 1e-3
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentiles_us(), Percentiles::default());
        (1..=10_000).for_each(|us| latencies.record(us * 1000));
        let found = latencies.percentiles_us();
        assert!(near(found.p50, 5000.0) && near(found.p99, 9900.0) && near(found.p999, 9990.0));
        assert_eq!(found.max, 10_000.0);
        assert_eq!(latencies.percentiles_ms().max, 10.0);
        assert_eq!(latencies.count(), 10_000);
    }

    #[test]
    fn no_percentile_exceeds_the_largest() {
        let mut latencies = Latencies::new();
        latencies.record(1_234_567);
        let found = latencies.percentiles_ms();
        assert_eq!(
            [found.p50, found.p99, found.p999, found.max],
            [1.234_567; 4]
        );
    }

    #[test]
    fn extremes_are_counted() {
        let mut latencies = Latencies::new();
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 2);
        assert_eq!(latencies.quantile_ns(0.1), 0);
        assert_eq!(latencies.percentiles_us().max, u64::MAX as f64 / 1e3);
    }

    #[test]
    fn merging_and_clearing() {
        let (mut one, mut other) = (Latencies::new(), Latencies::new());
        one.record(1000);
        other.record(3000);
        one.merge(&other);
        assert_eq!((one.count(), one.percentiles_us().max), (2, 3.0));
        one.clear();
        assert_eq!((one.count(), one.percentiles_us().max), (0, 0.0));
    }
}
