//! What a running runtime says about itself: status, health, liveliness of its control, metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_bridge::Node;
use kinestream_bridge::health::{
    self, ControlHealth, Delay, Health, LimitHealth, PolicyHealth, PolicyLatency, Quantiles,
    RecorderHealth, Scheduling,
};
use kinestream_bridge::node::{Channel, HealthPublisher, LivelinessToken, Publisher};
use kinestream_bridge::wire::{RunState, Status};
use kinestream_control::{
    Clock, Monotonic, Percentiles, RealtimeStatus, SafetyReason, SafetyState, TimingGauge,
};

use super::motion_refusal::MotionRefusal;
use super::policy::PolicyStatistics;
use super::signals::{ControlInputs, ControlMetrics};
use super::snapshot::Snapshot;
use crate::clock::stamp;
use crate::recording::RecordSink;

/// Time between two status messages.
const EVERY: Duration = Duration::from_millis(500);

/// Tells others how the runtime is.
pub(crate) struct Monitor {
    node: Arc<Node>,
    robot: String,
    begun: Instant,
    rate_hz: f64,
    granted: RealtimeStatus,
    signals: Arc<ControlInputs>,
    gauges: Arc<ControlMetrics>,
    timing: Arc<TimingGauge>,
    tap: RecordSink,
    status: Publisher,
    health: HealthPublisher,
    latest: Option<Health>,
    snapshot: Arc<Snapshot>,
    /// Present while commands move the robot or may at once.
    token: Option<LivelinessToken>,
    rung: SafetyState,
    refusal: MotionRefusal,
    sequence: u64,
    last: Option<Instant>,
    /// Ticks, observations and plans at the last message, for the rates.
    before: (Instant, [u64; 3]),
}

/// What the monitor needs of the command node.
pub(crate) struct Watched {
    pub(crate) rate_hz: f64,
    pub(crate) granted: RealtimeStatus,
    pub(crate) signals: Arc<ControlInputs>,
    pub(crate) gauges: Arc<ControlMetrics>,
    pub(crate) timing: Arc<TimingGauge>,
    pub(crate) tap: RecordSink,
    pub(crate) snapshot: Arc<Snapshot>,
}

impl Monitor {
    /// Declares what it tells.
    pub(crate) fn new(node: Arc<Node>, robot: String, watched: Watched) -> Result<Self> {
        let Watched {
            rate_hz,
            granted,
            signals,
            gauges,
            timing,
            tap,
            snapshot,
        } = watched;
        Ok(Self {
            status: node.publisher(Channel::Status)?,
            health: node.health_publisher()?,
            node,
            robot,
            begun: Instant::now(),
            rate_hz,
            granted,
            signals,
            gauges,
            timing,
            tap,
            latest: None,
            snapshot,
            token: None,
            rung: SafetyState::Waiting,
            refusal: MotionRefusal::default(),
            sequence: 0,
            last: None,
            before: (Instant::now(), [0; 3]),
        })
    }

    /// The robot's name.
    pub(crate) fn robot(&self) -> &str {
        &self.robot
    }

    /// The newest health message, none before the first.
    pub(crate) fn latest(&self) -> Option<&Health> {
        self.latest.as_ref()
    }

    /// Sends status and health twice a second, and at once when the rung has changed.
    /// Returns whether it did.
    pub(crate) fn tell(&mut self, statistics: &PolicyStatistics) -> Result<bool> {
        let rung = self.gauges.rung();
        if self
            .refusal
            .is_to_be_told(rung, self.gauges.cause(), Instant::now())
        {
            tracing::warn!("{}: no motion begins: {}", self.robot, self.gauges.reason());
        }
        let is_due = self.last.is_none_or(|last| last.elapsed() >= EVERY);
        if rung == self.rung && !is_due {
            return Ok(false);
        }
        if rung != self.rung {
            self.announce(rung)?;
        }
        self.tell_now(statistics)?;
        Ok(true)
    }

    /// Sends status and health.
    pub(crate) fn tell_now(&mut self, statistics: &PolicyStatistics) -> Result<()> {
        self.last = Some(Instant::now());
        self.sequence += 1;
        let timing = self.timing.snapshot();
        let known = |value: f64| (statistics.plans > 0).then_some(value * 1e3);
        self.status.publish(&Status {
            stamp: stamp(self.sequence, 0),
            observations: statistics.observations,
            plans: statistics.plans,
            actions: self.gauges.published(),
            missed: timing.missed,
            malformed: statistics.malformed,
            latency_p50_us: known(statistics.latency_ms.p50),
            latency_p99_us: known(statistics.latency_ms.p99),
            state: run_state(self.gauges.rung(), statistics),
            ..Status::default()
        })?;
        let health = self.measure(statistics);
        self.health.publish(&health)?;
        self.tap.health(Monotonic.now_ns(), &health);
        self.snapshot.keep_health(&health);
        self.latest = Some(health);
        Ok(())
    }

    /// All figures of this moment.
    fn measure(&mut self, statistics: &PolicyStatistics) -> Health {
        let timing = self.timing.snapshot();
        let counts = [timing.ticks, statistics.observations, statistics.plans];
        let (since, before) = std::mem::replace(&mut self.before, (Instant::now(), counts));
        let seconds = since.elapsed().as_secs_f64().max(1e-3);
        let rate = |at: usize| (counts[at].saturating_sub(before[at])) as f64 / seconds;
        let (gauges, granted) = (&self.gauges, &self.granted);
        let rung = gauges.rung();
        let age = |since_ns: u64| Monotonic.now_ns().saturating_sub(since_ns) as f64;
        let uptime_s = self.begun.elapsed().as_secs_f64();
        let mut health = Health {
            robot: self.robot.clone(),
            node: self.node.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stamp: stamp(self.sequence, 0),
            uptime_s,
            rung: wire_rung(rung),
            reason: (gauges.cause() != SafetyReason::None).then(|| gauges.reason()),
            stopped_by: stopped_by(&self.signals, rung),
            rung_since_s: (age(gauges.since_ns()) / 1e9).min(uptime_s),
            longest_without_command_ms: gauges.longest_without_ns() as f64 / 1e6,
            control: ControlHealth {
                rate_hz: self.rate_hz,
                measured_hz: rate(0),
                ticks: timing.ticks,
                missed: timing.missed,
                lateness_us: quantiles(&timing.lateness.percentiles_us),
                execution_us: quantiles(&timing.execution.percentiles_us),
                lateness_sum_us: None,
                lateness_buckets: health::lateness_buckets(timing.ticks, |bound_us| {
                    timing.lateness.at_most(bound_us)
                }),
                scheduling: Scheduling {
                    policy: granted.scheduling_policy.clone(),
                    priority: granted.priority,
                    cpus: granted.cpus.iter().map(|cpu| *cpu as u32).collect(),
                    memory_locked: granted.memory_locked_bytes > 0,
                },
                allocations: None,
                dropped: gauges.dropped(),
                published: gauges.published(),
            },
            policy: PolicyHealth {
                observations: statistics.observations,
                observations_per_second: rate(1),
                refused: statistics.refused,
                malformed: statistics.malformed,
                duplicated: statistics.repeated,
                out_of_order: statistics.out_of_order,
                dropped: statistics.dropped,
                plans: statistics.plans,
                plans_per_second: rate(2),
                evaluations: statistics.evaluations,
                latency_ms: PolicyLatency {
                    p50: statistics.latency_ms.p50,
                    p99: statistics.latency_ms.p99,
                    p999: statistics.latency_ms.p999,
                    max: statistics.latency_ms.max,
                    last: statistics.last_latency_ms,
                },
                late: statistics.late,
                delay_actions: Delay {
                    last: statistics.delay_actions,
                    max: statistics.most_delay_actions,
                },
                fault: statistics.fault.as_deref().map(health::shortened),
                ..PolicyHealth::default()
            },
            limits: limits(gauges),
            recorder: recorder(&self.tap),
            ..Health::default()
        };
        for (rung, count) in health::SafetyState::ALL.into_iter().zip(gauges.entered()) {
            *health.rung_counts.entry(rung) = count;
        }
        health
    }

    /// The part `control` is present on the wire while commands move the robot or may at once.
    fn announce(&mut self, rung: SafetyState) -> Result<()> {
        let (before, now) = (self.rung, rung);
        let cause = self.gauges.cause();
        let change = format!("{}: {before:?} -> {now:?}", self.robot);
        let reason = self.gauges.reason();
        match now {
            SafetyState::Running | SafetyState::Continuing => tracing::info!("{change}"),
            _ if matches!(cause, SafetyReason::Pause | SafetyReason::Home) => {
                tracing::info!("{change}: {reason}")
            }
            _ if cause == SafetyReason::Shutdown => tracing::debug!("{change}: {reason}"),
            SafetyState::Waiting | SafetyState::Holding => tracing::warn!("{change}: {reason}"),
            SafetyState::SafeStop | SafetyState::EmergencyStop => {
                tracing::error!("{change}: {reason}")
            }
        }
        self.rung = rung;
        self.token = match rung {
            SafetyState::Running | SafetyState::Continuing | SafetyState::Holding => {
                match self.token.take() {
                    Some(token) => Some(token),
                    None => Some(self.node.announce_part("control")?),
                }
            }
            SafetyState::Waiting | SafetyState::SafeStop | SafetyState::EmergencyStop => None,
        };
        Ok(())
    }
}

/// The way by which the emergency stop came that holds, in words.
pub(crate) fn stopped_by(signals: &ControlInputs, rung: SafetyState) -> Option<String> {
    let source = signals.stop_source()?;
    (rung == SafetyState::EmergencyStop).then(|| source.text().to_owned())
}

pub(crate) fn wire_rung(rung: SafetyState) -> health::SafetyState {
    match rung {
        SafetyState::Waiting => health::SafetyState::Waiting,
        SafetyState::Running => health::SafetyState::Running,
        SafetyState::Continuing => health::SafetyState::Continuing,
        SafetyState::Holding => health::SafetyState::Holding,
        SafetyState::SafeStop => health::SafetyState::SafeStop,
        SafetyState::EmergencyStop => health::SafetyState::EmergencyStop,
    }
}

/// What was recorded so far, if anything is.
pub(super) fn recorder(tap: &RecordSink) -> Option<RecorderHealth> {
    let path = || tap.path().map(|path| path.display().to_string());
    tap.status().map(|status| RecorderHealth {
        file: health::shortened(&path().unwrap_or_default()),
        messages: status.messages,
        bytes: status.bytes,
        dropped: status.dropped,
        fault: status.fault.as_deref().map(health::shortened),
    })
}

pub(super) fn quantiles(percentiles: &Percentiles) -> Quantiles {
    Quantiles {
        p50: percentiles.p50,
        p99: percentiles.p99,
        p999: percentiles.p999,
        max: percentiles.max,
    }
}

fn limits(gauges: &ControlMetrics) -> LimitHealth {
    let [not_finite, position, velocity, acceleration, jerk, limited] = gauges.limits();
    LimitHealth {
        not_finite,
        position,
        velocity,
        acceleration,
        jerk,
        limited,
        largest_deviation: gauges.largest_deviation(),
    }
}

fn run_state(rung: SafetyState, statistics: &PolicyStatistics) -> RunState {
    match rung {
        SafetyState::Waiting => RunState::Waiting,
        SafetyState::Running | SafetyState::Continuing if statistics.fault.is_some() => {
            RunState::Holding
        }
        SafetyState::Running | SafetyState::Continuing => RunState::Running,
        SafetyState::Holding => RunState::Holding,
        SafetyState::SafeStop => RunState::Stopped,
        SafetyState::EmergencyStop => RunState::Fault,
    }
}
