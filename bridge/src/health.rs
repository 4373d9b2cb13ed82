//! Health: everything that a person who watches a runtime wants to know, as JSON, twice a second.
//!
//! [`Health`] is plain data under `<namespace>/<robot>/health`. It grows with the program: a reader skips fields that it
//! does not know and takes the default for fields that are absent, so older and newer programs understand each other.
//! Received JSON is not trusted: [`Health::from_json`] bounds its length, every text and every list, and every number is
//! finite and not negative.

mod json;

use serde::{Deserialize, Serialize};

pub use json::{HealthError, MAX_BUCKETS, MAX_CPUS, MAX_HEALTH_BYTES, MAX_TEXT_BYTES, shortened};

use crate::wire::Stamp;

/// Upper bounds of the buckets that [`lateness_buckets`] makes, in microseconds: 1, 2, 5 per decade up to 1 s.
pub const LATENESS_BOUNDS_US: [f64; 19] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1_000.0,
    2_000.0,
    5_000.0,
    10_000.0,
    20_000.0,
    50_000.0,
    100_000.0,
    200_000.0,
    500_000.0,
    1_000_000.0,
];

/// How a runtime fares. Counters run since the runtime started, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Name of the robot, as in the keys.
    pub robot: String,
    /// Name of the node that sends this, as in its liveliness token.
    pub node: String,
    /// Version of the program.
    pub version: String,
    /// Sequence and times of this message; its stream is the one that runs.
    pub stamp: Stamp,
    /// Time since the runtime started, s.
    pub uptime_s: f64,
    /// What the robot gets at this moment.
    pub rung: SafetyState,
    /// Why it is not [`SafetyState::Running`], in words; none if it is. See [`shortened`].
    pub reason: Option<String>,
    /// The way by which the emergency stop came that holds, in words; none on other rungs.
    pub stopped_by: Option<String>,
    /// Time on this rung, s.
    pub rung_since_s: f64,
    /// How often each rung was entered.
    pub rung_counts: RungCounts,
    /// Longest time without a valid command that follows a plan, since the robot was armed, ms.
    pub longest_without_command_ms: f64,
    /// The command loop.
    pub control: ControlHealth,
    /// The policy.
    pub policy: PolicyHealth,
    /// Interventions of the limiter.
    pub limits: LimitHealth,
    /// The recording; none if nothing is recorded.
    pub recorder: Option<RecorderHealth>,
}

/// Rungs of the watchdog's ladder, best first: what the robot gets when plans or observations fail to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafetyState {
    /// Not armed: a first valid observation and a plan are awaited. No commands.
    #[default]
    Waiting,
    /// Commands follow the plan.
    Running,
    /// The next plan is late; commands follow the committed tail of the last one.
    Continuing,
    /// Commands hold the position.
    Holding,
    /// Brought to rest; commands hold it there until the robot is armed again.
    SafeStop,
    /// Stopped on request. Only re-arming leaves it.
    EmergencyStop,
}

impl SafetyState {
    /// All rungs, best first.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Running,
        Self::Continuing,
        Self::Holding,
        Self::SafeStop,
        Self::EmergencyStop,
    ];

    /// The name in JSON and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Continuing => "continuing",
            Self::Holding => "holding",
            Self::SafeStop => "safe_stop",
            Self::EmergencyStop => "emergency_stop",
        }
    }
}

/// How often each rung was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RungCounts {
    /// Times [`SafetyState::Waiting`] was entered; the start counts.
    pub waiting: u64,
    /// Times [`SafetyState::Running`] was entered.
    pub running: u64,
    /// Times [`SafetyState::Continuing`] was entered.
    pub continuing: u64,
    /// Times [`SafetyState::Holding`] was entered.
    pub holding: u64,
    /// Times [`SafetyState::SafeStop`] was entered.
    pub safe_stop: u64,
    /// Times [`SafetyState::EmergencyStop`] was entered.
    pub emergency_stop: u64,
}

impl RungCounts {
    /// How often `rung` was entered.
    #[must_use]
    pub fn of(&self, rung: SafetyState) -> u64 {
        let mut counts = *self;
        *counts.entry(rung)
    }

    /// The count of `rung`, to be changed.
    pub fn entry(&mut self, rung: SafetyState) -> &mut u64 {
        match rung {
            SafetyState::Waiting => &mut self.waiting,
            SafetyState::Running => &mut self.running,
            SafetyState::Continuing => &mut self.continuing,
            SafetyState::Holding => &mut self.holding,
            SafetyState::SafeStop => &mut self.safe_stop,
            SafetyState::EmergencyStop => &mut self.emergency_stop,
        }
    }
}

/// Percentiles of a duration, in the unit of the field that holds them; all 0 if nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

/// The command loop.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlHealth {
    /// Periods per second asked for, Hz.
    pub rate_hz: f64,
    /// Periods per second over the last second or so, Hz.
    pub measured_hz: f64,
    /// Periods that were served.
    pub ticks: u64,
    /// Periods that wholly passed without being served.
    pub missed: u64,
    /// Wake-up after the deadline, µs.
    pub lateness_us: Quantiles,
    /// From the wake-up to the end of the tick, µs.
    pub execution_us: Quantiles,
    /// Histogram of the lateness: `[upper bound in µs, ticks]`, bounds rising, each tick in one bucket. The last bucket
    /// also holds what is above its bound. See [`lateness_buckets`].
    pub lateness_buckets: Vec<[f64; 2]>,
    /// Sum of the lateness of all ticks, µs; none if nobody adds it up.
    pub lateness_sum_us: Option<f64>,
    /// What the operating system granted.
    pub scheduling: Scheduling,
    /// Heap allocations of the control thread since it began to tick; none if nobody counts them.
    pub allocations: Option<u64>,
    /// Commands that the ring to the publisher had no room for.
    pub dropped: u64,
    /// Commands that were sent.
    pub published: u64,
}

/// What the operating system granted to the control thread, not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduling {
    /// Policy as Linux names it: `SCHED_OTHER`, `SCHED_FIFO`; empty if not known.
    pub policy: String,
    /// Real-time priority, 1 to 99; 0 without one.
    pub priority: u32,
    /// Numbers of the cores that the thread may run on; empty if not restricted or not known.
    pub cpus: Vec<u32>,
    /// Whether all memory of the process is locked.
    pub memory_locked: bool,
}

/// The policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyHealth {
    /// Observations accepted.
    pub observations: u64,
    /// Observations accepted per second, over the last second or so.
    pub observations_per_second: f64,
    /// Observations refused: wrong length, NaN, infinite.
    pub refused: u64,
    /// Payloads that did not decode.
    pub malformed: u64,
    /// Observations that came too old to be of use.
    pub stale: u64,
    /// Observations that came a second time.
    pub duplicated: u64,
    /// Observations that came after a newer one.
    pub out_of_order: u64,
    /// Observations that found no room, as in a flood: newer ones came before they were taken.
    pub dropped: u64,
    /// Plans made.
    pub plans: u64,
    /// Plans per second, over the last second or so.
    pub plans_per_second: f64,
    /// Network evaluations.
    pub evaluations: u64,
    /// From the observation to its plan, ms; warm-up excluded.
    pub latency_ms: PolicyLatency,
    /// Plans that came after their deadline.
    pub late: u64,
    /// Actions consumed while a plan was computed.
    pub delay_actions: Delay,
    /// What went wrong last, in words; none if nothing is wrong.
    pub fault: Option<String>,
}

/// Time from an observation to its plan, ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyLatency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// The newest.
    pub last: f64,
}

/// Actions consumed while a plan was computed: counted, not estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Delay {
    /// During the newest plan.
    pub last: u64,
    /// During the slowest plan, warm-up excluded.
    pub max: u64,
}

/// Interventions of the limiter, in commands; one command may count under several limits.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitHealth {
    /// Commands that were NaN or infinite.
    pub not_finite: u64,
    /// Commands outside the position range.
    pub position: u64,
    /// Commands that were too fast.
    pub velocity: u64,
    /// Commands that changed velocity too fast.
    pub acceleration: u64,
    /// Commands that changed acceleration too fast.
    pub jerk: u64,
    /// Commands that any limit changed.
    pub limited: u64,
    /// Largest difference between what was asked for and what was sent, in the units of the actions.
    pub largest_deviation: f64,
}

/// The recording.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecorderHealth {
    /// Path of the file.
    pub file: String,
    /// Messages written.
    pub messages: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Messages that the ring to the recorder had no room for.
    pub dropped: u64,
    /// Why nothing is written any more, in words; none while it records.
    pub fault: Option<String>,
}

/// The buckets of [`ControlHealth::lateness_buckets`] with [`LATENESS_BOUNDS_US`] as bounds. `at_most(bound_us)` is the
/// number of ticks that were late by at most so much, `total` the number of all; what is above 1 s counts in the last.
#[must_use]
pub fn lateness_buckets(total: u64, at_most: impl Fn(f64) -> u64) -> Vec<[f64; 2]> {
    let mut below = 0;
    let last = LATENESS_BOUNDS_US.len() - 1;
    let bucket = |(index, bound): (usize, f64)| {
        let reached = if index == last { total } else { at_most(bound) };
        let count = reached.saturating_sub(below);
        below = below.max(reached);
        [bound, count as f64]
    };
    LATENESS_BOUNDS_US
        .into_iter()
        .enumerate()
        .map(bucket)
        .collect()
}

#[cfg(test)]
mod tests;
