//! What a character node tells: status and health over zenoh twice a second, pictures on the page.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use kinestream_bridge::health::{
    self, ControlHealth, Health, LimitHealth, PolicyHealth, PolicyLatency, SafetyState,
};
use kinestream_bridge::node::{Channel, HealthPublisher, Publisher};
use kinestream_bridge::wire::{RunState as WireState, Status};
use kinestream_bridge::{Node, Presence};
use kinestream_control::{TimingGauge, TimingSnapshot};
use kinestream_motion::controller::{Controller, LivePose};
use kinestream_motion::metrics::{FootSliding, SlidingConfig};
use kinestream_motion::performer::ClipPlayer;
use kinestream_motion::steering::AHEAD;
use kinestream_viewer::character::{
    Control, Frame, Input, Latency, Mode, Motion, Rates, RunState, ViewerHandle,
};

use super::acts::ActionQueue;
use super::live::{Live, heading_error_deg};
use super::shown::SkeletonView;
use super::{PoseRate, Statistics};
use crate::clock::stamp;
use crate::monitor::{quantiles, recorder};
use crate::recording::{RecordSink, topic};

/// Time between two status messages.
const EVERY_NS: u64 = 500_000_000;
/// Generated frames over which sliding is measured for the page.
const SLIDING_FRAMES: u64 = 60;
/// Span over which rates are measured, s.
const RATE_SPAN: f64 = 1.0;

/// Tells others how the character is.
pub(super) struct StatusPublisher {
    node: Arc<Node>,
    status: Publisher,
    health: HealthPublisher,
    tap: RecordSink,
    rate: PoseRate,
    begun: Instant,
    sequence: u64,
    last_ns: u64,
    /// Ticks, controls and frames at the last message, for the rates.
    before: (Instant, [u64; 3]),
}

impl StatusPublisher {
    pub(super) fn new(node: Arc<Node>, tap: RecordSink, rate: PoseRate) -> Result<Self> {
        Ok(Self {
            status: node.publisher(Channel::Status)?,
            health: node.health_publisher()?,
            node,
            tap,
            rate,
            begun: Instant::now(),
            sequence: 0,
            last_ns: 0,
            before: (Instant::now(), [0; 3]),
        })
    }

    /// Whether it is time to tell.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_ns) >= EVERY_NS
    }

    /// Sends status and health where it is time for that. What cannot be sent is said, and lost.
    pub(super) fn tell(
        &mut self,
        now_ns: u64,
        live: &Live,
        statistics: &Statistics,
        timing: &TimingGauge,
    ) {
        if !self.is_due(now_ns) {
            return;
        }
        self.last_ns = now_ns;
        self.sequence += 1;
        let known = |value: f64| (statistics.counts.frames > 0).then_some(value * 1e3);
        let status = Status {
            stamp: stamp(self.sequence, live.stream()),
            observations: statistics.controls,
            plans: statistics.counts.frames,
            actions: statistics.poses,
            missed: statistics.missed,
            malformed: statistics.malformed,
            latency_p50_us: known(statistics.latency_ms.p50),
            latency_p99_us: known(statistics.latency_ms.p99),
            state: if live.is_paused() {
                WireState::Paused
            } else {
                WireState::Running
            },
            ..Status::default()
        };
        self.tap.wire(topic::STATUS, now_ns, &status);
        let health = self.measure(live, statistics, &timing.snapshot());
        self.tap.health(now_ns, &health);
        let sent = self.status.publish(&status).map(|_| ());
        if let Err(error) = sent.and_then(|()| self.health.publish(&health).map(|_| ())) {
            tracing::warn!("status not sent: {error}");
        }
    }

    /// The character in the words of a runtime: its controls are the observations, its generated
    /// frames the plans, its poses the commands.
    fn measure(&mut self, live: &Live, statistics: &Statistics, timing: &TimingSnapshot) -> Health {
        let Statistics {
            counts, latency_ms, ..
        } = statistics;
        let now = [timing.ticks, statistics.controls, counts.frames];
        let (since, before) = std::mem::replace(&mut self.before, (Instant::now(), now));
        let seconds = since.elapsed().as_secs_f64().max(1e-3);
        let rate = |at: usize| now[at].saturating_sub(before[at]) as f64 / seconds;
        let paused = live.is_paused();
        Health {
            robot: self
                .node
                .keys()
                .prefix()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            node: self.node.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stamp: stamp(self.sequence, live.stream()),
            uptime_s: self.begun.elapsed().as_secs_f64(),
            rung: if paused {
                SafetyState::Holding
            } else {
                SafetyState::Running
            },
            reason: paused.then(|| "paused".to_owned()),
            control: ControlHealth {
                rate_hz: self.rate.hz(),
                measured_hz: rate(0),
                ticks: timing.ticks,
                missed: statistics.missed,
                lateness_us: quantiles(&timing.lateness.percentiles_us),
                execution_us: quantiles(&timing.execution.percentiles_us),
                lateness_buckets: health::lateness_buckets(timing.ticks, |bound_us| {
                    timing.lateness.at_most(bound_us)
                }),
                published: statistics.poses,
                ..ControlHealth::default()
            },
            policy: PolicyHealth {
                observations: statistics.controls,
                observations_per_second: rate(1),
                refused: counts.taken_refused,
                malformed: statistics.malformed,
                plans: counts.frames,
                plans_per_second: rate(2),
                latency_ms: PolicyLatency {
                    p50: latency_ms.p50,
                    p99: latency_ms.p99,
                    p999: latency_ms.p999,
                    max: latency_ms.max,
                    last: statistics.last_latency_ms,
                },
                ..PolicyHealth::default()
            },
            limits: LimitHealth {
                limited: counts.refused,
                ..LimitHealth::default()
            },
            recorder: recorder(&self.tap),
            ..Health::default()
        }
    }
}

/// The page of one character.
pub(super) struct ViewerUpdater {
    page: ViewerHandle,
    figure: SkeletonView,
    presence: Option<Presence>,
    sliding: FootSliding,
    sliding_cm: f64,
    /// Frames and poses at the last measurement of the rates.
    before: (Instant, [u64; 2]),
    rates: Rates,
    /// The newest pose.
    points: Vec<[f64; 3]>,
    pose: Option<LivePose>,
    acts: ActionQueue,
}

impl ViewerUpdater {
    pub(super) fn new(
        page: ViewerHandle,
        figure: SkeletonView,
        presence: Option<Presence>,
        character: &Controller<ClipPlayer>,
        acts: ActionQueue,
    ) -> Result<Self> {
        page.introduce(figure.body()?.with_actions(acts.names()));
        Ok(Self {
            page,
            figure,
            presence,
            sliding: sliding(character)?,
            sliding_cm: 0.0,
            before: (Instant::now(), [0; 2]),
            rates: Rates::default(),
            points: Vec::new(),
            pose: None,
            acts,
        })
    }

    pub(super) fn next_input(&self) -> Option<Input> {
        self.page.try_next_input()
    }

    /// Takes the newest pose; `made` frames were generated for it.
    pub(super) fn pose(&mut self, live: &Live, pose: &LivePose, made: usize) {
        if made > 0 {
            let character = live.controller();
            if live.frame() <= 1 {
                self.sliding.begin_clip();
            }
            self.sliding
                .push(&character.feet().positions(character.places()));
            if let Some(found) = self.sliding.sliding()
                && found.frames >= SLIDING_FRAMES
            {
                self.sliding_cm = found.weighted_cm_per_frame;
                if let Ok(afresh) = sliding(character) {
                    self.sliding = afresh;
                }
            }
        }
        self.points = self.figure.points(&pose.pose);
        self.pose = Some(pose.clone());
    }

    /// Shows the newest pose and how things are.
    pub(super) fn show(&mut self, live: &Live, statistics: &Statistics) {
        self.measure([statistics.counts.frames, statistics.poses]);
        let Some(pose) = &self.pose else {
            return;
        };
        let character = live.controller();
        let left = character.path_left();
        let stick = character.stick();
        let (diversity, strength) = character.knobs();
        let velocity = character.asked_velocity();
        let facing = stick.and_then(|stick| stick.facing);
        let ahead = character.ahead().iter().map(|root| root.position);
        self.page.publish(Frame {
            time: live.seconds(),
            frame: live.frame(),
            seed: live.seed(),
            points: self.points.clone(),
            contacts: pose.contacts,
            facing: pose.root.heading,
            prediction: std::iter::once(pose.root.position)
                .chain(ahead)
                .map(|place| [place.x, place.y])
                .collect(),
            prediction_period: AHEAD[0],
            path: left.iter().map(|place| [place.x, place.y]).collect(),
            control: Control {
                mode: if stick.is_some() {
                    Mode::Stick
                } else {
                    Mode::Path
                },
                velocity: [velocity.x, velocity.y],
                facing: facing.map_or([0.0; 2], |facing| [facing.sin(), facing.cos()]),
                diversity,
                strength,
                clamped: pose.clamped,
            },
            acting: live
                .acting()
                .and_then(|label| self.acts.name(label))
                .map(str::to_owned),
            motion: Motion {
                speed: pose.velocity.xz().norm(),
                heading_error_deg: heading_error_deg(&pose.root, character.asked_heading()),
                foot_sliding_cm: self.sliding_cm,
                clamped: statistics.counts.clamped,
                refused: statistics.counts.refused,
            },
            rates: self.rates,
            latency: Latency {
                last_ms: statistics.last_latency_ms,
                p50_ms: statistics.latency_ms.p50,
                p99_ms: statistics.latency_ms.p99,
            },
            pace: live.pace(),
            state: match (live.is_paused(), pose.idle) {
                (true, _) => RunState::Paused,
                (false, true) => RunState::Idle,
                (false, false) => RunState::Running,
            },
            fault: None,
            nodes: self
                .presence
                .as_ref()
                .map_or_else(Vec::new, Presence::alive),
        });
    }

    fn measure(&mut self, counts: [u64; 2]) {
        let seconds = self.before.0.elapsed().as_secs_f64();
        if seconds < RATE_SPAN {
            return;
        }
        let rate = |at: usize| counts[at].saturating_sub(self.before.1[at]) as f64 / seconds;
        self.rates = Rates {
            generated_per_second: rate(0),
            published_per_second: rate(1),
        };
        self.before = (Instant::now(), counts);
    }
}

fn sliding(character: &Controller<ClipPlayer>) -> kinestream_motion::Result<FootSliding> {
    Ok(FootSliding::new(
        character.feet().rest_heights(),
        0.0,
        kinestream_motion::data::FRAME_RATE,
        SlidingConfig::default(),
    )?)
}
