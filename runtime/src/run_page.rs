//! The page of `kinestream run`: a thread of its own reads what the others have published, ten times a second.
//!
//! Promises that neither the policy thread nor the control thread does anything for it or waits for it: plans and health come
//! from what answers `info/snapshot`, commands from the publisher thread, the rest from atomics. The page is there only where
//! `runtime.page_port` says so.

mod options;
mod pictures;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kinestream_bridge::Node;
use kinestream_bridge::node::{MotionRequest, Presence, StopSource};
use kinestream_control::limits::PerJoint;
use kinestream_control::{Activity, Clock, Monotonic, SafetyReason};
use kinestream_policy::Policy;
use kinestream_viewer::EmergencyStop;
use kinestream_viewer::robot::{
    Command, Frame, Input, Introduction, Plan, Request, Robot, RobotFrame, RobotIntroduction,
    SafetyFrame, ViewerHandle,
};

use self::options::{options, with_key};
use self::pictures::Pictures;
use crate::config::Config;
use crate::control_config::ControlConfig;
use crate::latest_command::SentCommand;
use crate::monitor::{stopped_by, wire_rung};
use crate::page::Page;
use crate::session_stop::SessionStop;
use crate::signals::{ControlInputs, ControlMetrics};
use crate::snapshot::Snapshot;

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Positions of a plan that are shown at most.
const MAX_POSITIONS: usize = 256;
/// Limits in the order of [`ControlMetrics::limits`].
const LIMITS: [&str; 5] = ["not_finite", "position", "velocity", "acceleration", "jerk"];

/// What the page reads of one robot.
pub(crate) struct PageSource {
    pub(crate) node: Arc<Node>,
    pub(crate) signals: Arc<ControlInputs>,
    pub(crate) gauges: Arc<ControlMetrics>,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// A running page.
pub(crate) struct RunPage {
    page: Page<Robot>,
    thread: JoinHandle<()>,
}

impl RunPage {
    /// Serves where the configuration says until `stop`, if it names a port.
    ///
    /// # Errors
    /// The port is taken or refused, or an address that others reach has no token.
    pub(crate) fn open(
        config: &Config,
        policy: &Policy,
        sources: Vec<PageSource>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Option<Self>> {
        let Some(options) = options(&config.runtime)? else {
            return Ok(None);
        };
        let introduction = introduction(config, policy, &sources);
        let robots = sources
            .into_iter()
            .map(|source| Watched::new(source, policy))
            .collect::<Result<Vec<_>>>()?;
        let buttons = Buttons {
            robots: robots
                .iter()
                .map(|robot| {
                    (
                        Arc::clone(&robot.source.signals),
                        Arc::clone(&robot.requests),
                    )
                })
                .collect(),
        };
        let page = Page::open_with(&options, stop, Some(Arc::new(buttons)));
        let page =
            page.map_err(|error| with_key(error, SocketAddr::from((options.host, options.port))))?;
        let handle = page.handle().clone();
        handle.introduce(introduction);
        let ended = Arc::clone(stop);
        let thread = std::thread::Builder::new()
            .name("page".into())
            .spawn(move || show(robots, &handle, &ended))
            .context("cannot start the page's thread")?;
        tracing::info!("page: open {}", page.url());
        Ok(Some(Self { page, thread }))
    }

    /// Waits for the end, which `stop` brings about.
    pub(crate) fn close(self) -> Result<()> {
        if self.thread.join().is_err() {
            bail!("the page's thread panicked");
        }
        self.page.close()
    }
}

fn introduction(config: &Config, policy: &Policy, sources: &[PageSource]) -> Introduction {
    let size = policy.action_size();
    let limits = &config.control.limits;
    let each = |limit: &Option<PerJoint>| per_number(limit.as_ref(), &config.control, size);
    let robots = sources.iter().map(|source| RobotIntroduction {
        name: source.node.keys().robot().to_owned(),
        prefix: source.node.keys().prefix().to_owned(),
        action_size: size,
        rate_hz: policy.config().task.rate_hz,
        control_rate_hz: config.control.rate_hz,
        lower: each(&limits.lower),
        upper: each(&limits.upper),
        velocity: each(&limits.velocity),
        has_home: !config.control.home.is_empty(),
        cameras: policy.cameras().map(|(name, _)| name.to_owned()).collect(),
    });
    Introduction {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        robots: robots.collect(),
    }
}

/// A limit for every number of the action; those of orientations have none.
fn per_number(limit: Option<&PerJoint>, control: &ControlConfig, size: usize) -> Vec<Option<f64>> {
    let mut joints = 0;
    let numbers = (0..size).map(|number| {
        if control
            .orientations
            .iter()
            .any(|it| it.columns().contains(&number))
        {
            return None;
        }
        joints += 1;
        match limit? {
            PerJoint::All(all) => Some(*all),
            PerJoint::Each(each) => each.get(joints - 1).copied(),
        }
    });
    numbers.collect()
}

/// The page's stop and re-arming, for all robots. A stop acts here and now; a re-arming asks on the session, as
/// `kinestream stop --rearm` does, since keepers of stops have a say.
struct Buttons {
    robots: Vec<(Arc<ControlInputs>, Arc<SessionStop>)>,
}

impl EmergencyStop for Buttons {
    fn stop(&self) {
        for (signals, _) in &self.robots {
            signals.stop(StopSource::Page);
        }
        for (_, requests) in &self.robots {
            requests.withdraw();
        }
    }

    fn rearm(&self) {
        for (_, requests) in &self.robots {
            requests.rearm();
        }
    }
}

/// One robot, and what was read of it last.
struct Watched {
    source: PageSource,
    requests: Arc<SessionStop>,
    presence: Presence,
    pictures: Pictures,
    limits: [u64; 6],
    /// Commands of the last frames, oldest first.
    sent: VecDeque<SentCommand>,
}

impl Watched {
    fn new(source: PageSource, policy: &Policy) -> Result<Self> {
        Ok(Self {
            requests: Arc::new(SessionStop::new(Arc::clone(&source.node))?),
            presence: source.node.presence()?,
            pictures: Pictures::of(&source.node, policy)?,
            limits: source.gauges.limits(),
            sent: VecDeque::new(),
            source,
        })
    }

    fn ask(&self, request: Request) {
        self.requests.request(match request {
            Request::Pause => MotionRequest::Pause,
            Request::Resume => MotionRequest::Resume,
            Request::Home => MotionRequest::Home,
        });
    }

    fn frame(&mut self) -> RobotFrame {
        let now_ns = Monotonic.now_ns();
        let health = self.source.snapshot.health();
        RobotFrame {
            safety: self.safety(now_ns),
            plan: self.source.snapshot.plan().map(|plan| shown(&plan, now_ns)),
            command: self.command(now_ns),
            limiting: self.limiting(),
            health: health.and_then(|health| serde_json::to_value(health).ok()),
            pictures: self.pictures.news(now_ns),
            nodes: self.presence.alive(),
            answer: self.requests.refusal(),
        }
    }

    fn safety(&self, now_ns: u64) -> SafetyFrame {
        let PageSource {
            signals, gauges, ..
        } = &self.source;
        let rung = gauges.rung();
        SafetyFrame {
            rung: wire_rung(rung).name().to_owned(),
            reason: (gauges.cause() != SafetyReason::None).then(|| gauges.reason()),
            stopped_by: stopped_by(signals, rung),
            since_s: now_ns.saturating_sub(gauges.since_ns()) as f64 / 1e9,
            at_rest: gauges.is_at_rest(),
            is_paused: signals.activity() != Activity::Policy,
        }
    }

    /// The newest command, and its velocity since the one of the frame before.
    fn command(&mut self, now_ns: u64) -> Option<Command> {
        let newest = self.source.gauges.command().read()?;
        let is_news = self
            .sent
            .back()
            .is_none_or(|last| last.due_ns != newest.due_ns);
        if is_news {
            self.sent.push_back(newest.clone());
        }
        while self.sent.len() > 2 {
            self.sent.pop_front();
        }
        let before = self.sent.front().filter(|_| is_news);
        let velocity = newest.values.iter().enumerate().map(|(at, value)| {
            let before = before.filter(|before| before.due_ns < newest.due_ns)?;
            let span_s = (newest.due_ns - before.due_ns) as f32 / 1e9;
            Some((value - before.values.get(at)?) / span_s)
        });
        Some(Command {
            velocity: velocity.map(Option::unwrap_or_default).collect(),
            age_s: age_s(now_ns, newest.due_ns),
            is_limited: newest.is_limited,
            is_holding: newest.is_holding,
            values: newest.values,
        })
    }

    /// Limits that changed a command since the last frame.
    fn limiting(&mut self) -> Vec<&'static str> {
        let now = self.source.gauges.limits();
        let before = std::mem::replace(&mut self.limits, now);
        let counts = LIMITS.iter().zip(now.iter().zip(before));
        let acting = counts.filter(|(_, (now, before))| **now > *before);
        acting.map(|(name, _)| *name).collect()
    }
}

fn age_s(now_ns: u64, then_ns: u64) -> f64 {
    // Differences of clocks stay small enough for a signed number.
    now_ns.wrapping_sub(then_ns) as i64 as f64 / 1e9
}

fn shown(plan: &kinestream_bridge::Plan, now_ns: u64) -> Plan {
    let dims = plan.dims.max(1) as usize;
    Plan {
        chunk: plan.chunk,
        age_s: age_s(now_ns, plan.first_action_ns),
        period_s: plan.period_ns as f64 / 1e9,
        committed: plan.committed as usize,
        noise: plan.noise.iter().take(MAX_POSITIONS).copied().collect(),
        actions: plan
            .actions
            .chunks_exact(dims)
            .take(MAX_POSITIONS)
            .map(<[f32]>::to_vec)
            .collect(),
    }
}

fn show(mut robots: Vec<Watched>, handle: &ViewerHandle, ended: &AtomicBool) {
    while !ended.load(Ordering::SeqCst) {
        while let Some(Input { request, robot }) = handle.try_next_input() {
            let meant = |watched: &&Watched| watched.source.node.keys().robot() == robot;
            match robots.iter().find(meant) {
                Some(watched) => watched.ask(request),
                None => tracing::warn!("the page asks for a robot that is not here: {robot:?}"),
            }
        }
        handle.publish(Frame {
            robots: robots.iter_mut().map(Watched::frame).collect(),
        });
        std::thread::sleep(FRAME);
    }
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::wire::Stamp;

    use super::*;

    #[test]
    fn limits_are_told_for_every_number_but_those_of_orientations() {
        let control = ControlConfig {
            orientations: vec![[1, 2, 3, 4].into()],
            ..ControlConfig::default()
        };
        let each = PerJoint::Each(vec![1.0, 2.0]);
        let none = None;
        assert_eq!(
            per_number(Some(&each), &control, 6),
            [Some(1.0), none, none, none, none, Some(2.0)]
        );
        let all = PerJoint::All(3.0);
        assert_eq!(per_number(Some(&all), &control, 2), [Some(3.0), None]);
        assert_eq!(per_number(None, &control, 2), [None, None]);
    }

    #[test]
    fn a_plan_is_shown_by_its_actions_and_its_age() {
        let plan = kinestream_bridge::Plan {
            stamp: Stamp::default(),
            chunk: 7,
            observation_sequence: 1,
            first_action_ns: 2_000_000_000,
            period_ns: 100_000_000,
            dims: 2,
            committed: 1,
            levels: 4,
            noise: vec![0.0, 1.0],
            level: vec![0, 4],
            actions: vec![1.0, 2.0, 3.0, 4.0],
        };
        let early = shown(&plan, 1_500_000_000);
        assert!((early.age_s + 0.5).abs() < 1e-9, "{}", early.age_s);
        assert_eq!(early.actions, [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!((early.chunk, early.committed, early.period_s), (7, 1, 0.1));
        assert!((shown(&plan, 2_250_000_000).age_s - 0.25).abs() < 1e-9);
    }
}
