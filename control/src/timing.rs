//! How well a loop kept its rate: for the report at its end. [`timing_gauge`](crate::timing_gauge) shows it meanwhile.

use serde::{Deserialize, Serialize};

use crate::latencies::{Latencies, Percentiles};

/// How well a loop kept its rate, with every duration counted; see [`TimingReport`] for the figures.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Ticks per second asked for.
    pub rate_hz: f64,
    /// Ticks run.
    pub ticks: u64,
    /// Periods in which no tick ran.
    pub missed: u64,
    /// Uses of the heap by the loop's thread from before the first tick to after the last: allocations, reallocations and
    /// releases. None where [`CountingAllocator`](crate::allocations::CountingAllocator) is not installed.
    pub allocations: Option<u64>,
    /// From a tick's deadline to its waking.
    pub lateness: Latencies,
    /// From a tick's waking to its end.
    pub execution: Latencies,
}

/// How well a loop kept its rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimingReport {
    /// Ticks per second asked for.
    pub rate_hz: f64,
    /// Ticks run.
    pub ticks: u64,
    /// Periods in which no tick ran.
    pub missed: u64,
    /// Uses of the heap by the loop's thread while it ticked, 0 by promise; none if this program does not count them.
    pub allocations: Option<u64>,
    /// From a tick's deadline to its waking, in microseconds.
    pub lateness_us: Percentiles,
    /// From a tick's waking to its end, in microseconds.
    pub execution_us: Percentiles,
}

impl Timing {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(rate_hz: f64) -> Self {
        Self {
            rate_hz,
            ticks: 0,
            missed: 0,
            allocations: None,
            lateness: Latencies::new(),
            execution: Latencies::new(),
        }
    }

    /// Adds what another loop of the same rate counted.
    pub fn merge(&mut self, other: &Self) {
        self.ticks += other.ticks;
        self.missed += other.missed;
        self.allocations = match (self.allocations, other.allocations) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.lateness.merge(&other.lateness);
        self.execution.merge(&other.execution);
    }

    /// The figures.
    #[must_use]
    pub fn report(&self) -> TimingReport {
        TimingReport {
            rate_hz: self.rate_hz,
            ticks: self.ticks,
            missed: self.missed,
            allocations: self.allocations,
            lateness_us: self.lateness.percentiles_us(),
            execution_us: self.execution.percentiles_us(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_add_up() {
        let mut sum = Timing::new(1000.0);
        let mut part = Timing::new(1000.0);
        part.ticks = 7;
        part.missed = 3;
        part.lateness.record(300_000);
        sum.merge(&part);
        assert_eq!(sum.allocations, None);
        part.allocations = Some(2);
        sum.merge(&part);
        sum.merge(&part);
        let report = sum.report();
        let counts = (report.ticks, report.missed, report.allocations);
        assert_eq!(counts, (21, 9, Some(4)));
        assert_eq!((sum.lateness.count(), report.lateness_us.max), (3, 300.0));
    }
}
