//! The whole runtime: one policy, and for every robot a command loop, emergency stop and monitor on a zenoh node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kinestream_bridge::node::{Service, StopListener};
use kinestream_bridge::stop_socket::{StopSocket, stop_socket_path};
use kinestream_bridge::{Health, Node, SessionOptions};
use kinestream_control::{PlanReader, SafetyReason, TimingReport, latest_plan};
use kinestream_policy::Policy;
use serde_json::{Value, json};

use super::commands::{CommandNode, SessionSink, Wiring};
use super::monitor::{Monitor, Watched};
use super::motion_requests::Requests;
use super::policy::{PolicyNode, PolicyOptions, PolicyStatistics, RobotLink, Seat};
use super::ros2::config::Ros2Config;
use super::run_page::{PageSource, RunPage};
use super::signals::{ControlInputs, ControlMetrics};
use super::snapshot::Snapshot;
use crate::clock::wall_ns;
use crate::config::Config;
use crate::metrics::{self, MetricsServer};
use crate::recording::RecordSink;

/// How long commands may take to come to rest when the program ends.
pub(crate) const REST_WITHIN: Duration = Duration::from_secs(2);
/// How long commands at rest go on at the end.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long a policy thread that stands still may take to end before it is left behind.
pub(crate) const POLICY_END_WITHIN: Duration = Duration::from_secs(3);

/// A running runtime.
pub struct Runtime {
    planner: PolicyNode,
    robots: Vec<Robot>,
    stop: Arc<AtomicBool>,
    metrics: Option<MetricsServer>,
    page: Option<RunPage>,
}

/// What moves and watches one robot.
struct Robot {
    commands: CommandNode,
    monitor: Monitor,
    signals: Arc<ControlInputs>,
    gauges: Arc<ControlMetrics>,
    snapshot: Arc<Snapshot>,
    _stops: StopListener,
    _stop_socket: Option<StopSocket>,
    _answers: [Service; 3],
}

/// What a runtime did for one robot, at its end.
pub struct RuntimeReport {
    /// Its name.
    pub robot: String,
    /// What the policy did for it.
    pub statistics: PolicyStatistics,
    /// Commands sent.
    pub published: u64,
    /// How well the control rate was kept.
    pub timing: TimingReport,
}

impl Runtime {
    /// Starts all threads: one for the policy, two for every robot, each of which has a node. `info`
    /// describes the model to those who ask. What one robot does is told to `tap`. Once `shutdown` is
    /// raised, commands come to rest. `session` is what a request from this machine finds the runtime
    /// by; none where nobody should.
    pub fn start(
        nodes: &[Arc<Node>],
        config: &Config,
        policy: Policy,
        info: &Value,
        tap: &RecordSink,
        shutdown: &Arc<AtomicBool>,
        session: Option<&SessionOptions>,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let shape = (policy.config().plan.horizon, policy.action_size());
        let (mut robots, mut seats) = (Vec::new(), Vec::new());
        let plan = &policy.config().plan;
        let measured = config.control.measured_columns(&policy)?;
        let in_time_ms = 1e3 * plan.commit_ahead.max(1) as f64 / policy.config().task.rate_hz;
        for node in nodes {
            let (writer, plans) = latest_plan(shape.0, shape.1);
            let shared = Shared {
                info,
                tap,
                stop: &stop,
                shutdown,
                session,
            };
            let robot = Robot::start(node, config, shape.1, plans, &shared)?;
            seats.push(Seat {
                link: RobotLink::Session(node),
                commands: writer,
                signals: Arc::clone(&robot.signals),
                tap: tap.clone(),
                snapshot: Arc::clone(&robot.snapshot),
                deadline_ns: {
                    let own_ms = config.runtime.deadlines_ms.get(node.keys().robot());
                    (1e6 * own_ms.copied().unwrap_or(in_time_ms)) as u64
                },
                measured: measured.clone(),
            });
            robots.push(robot);
        }
        let sources = robots.iter().zip(nodes).map(|(robot, node)| PageSource {
            node: Arc::clone(node),
            signals: Arc::clone(&robot.signals),
            gauges: Arc::clone(&robot.gauges),
            snapshot: Arc::clone(&robot.snapshot),
        });
        let page = RunPage::open(config, &policy, sources.collect(), &stop)?;
        let options = PolicyOptions {
            lossless: config.runtime.lossless,
            cpu: config.runtime.cpu,
            pictures_apart_ms: config.runtime.pictures_apart_ms,
            plan_timeout_ms: config.control.watchdog.plan_timeout_ms,
        };
        let planner = PolicyNode::start(policy, seats, options, Arc::clone(&stop))?;
        let metrics = metrics::serve(&config.runtime, &stop)?;
        if let Some(server) = &metrics {
            tracing::info!("metrics: http://{}/metrics", server.address());
        }
        crate::descriptors::spare();
        Ok(Self {
            planner,
            robots,
            stop,
            metrics,
            page,
        })
    }

    /// Tells others how things are, where it is time for that; call it every few milliseconds.
    pub fn tell(&mut self) -> Result<()> {
        let mut told = false;
        for (seat, robot) in self.robots.iter_mut().enumerate() {
            told |= robot.monitor.tell(&self.planner.statistics(seat))?;
        }
        if told && let Some(server) = &self.metrics {
            let all = self
                .robots
                .iter()
                .filter_map(|robot| robot.monitor.latest());
            server.show(all.cloned().collect());
        }
        Ok(())
    }

    /// The newest health message of the first robot, none before the first.
    pub fn health(&self) -> Option<&Health> {
        self.robots.first()?.monitor.latest()
    }

    /// What was done for the first robot.
    pub fn statistics(&self) -> PolicyStatistics {
        self.planner.statistics(0)
    }

    /// Commands sent so far, to all robots.
    pub fn published(&self) -> u64 {
        self.robots
            .iter()
            .map(|robot| robot.gauges.published())
            .sum()
    }

    /// Whether the policy thread has ended by itself, or another runtime has a robot of this one.
    pub fn has_ended(&self) -> bool {
        self.planner.has_ended() || self.twin().is_some()
    }

    /// The robot that another runtime, which was there first, commands too.
    fn twin(&self) -> Option<&Robot> {
        let mut robots = self.robots.iter();
        robots.find(|robot| robot.signals.has_twin_runtime())
    }

    /// Brings commands to rest under their limits, ends all threads, and reports on every robot. An
    /// error of the policy thread comes back after that.
    pub fn finish(mut self) -> Result<Vec<RuntimeReport>> {
        for robot in &self.robots {
            robot.signals.latch().shut_down();
        }
        let begun = Instant::now();
        while begun.elapsed() < REST_WITHIN
            && !self
                .robots
                .iter()
                .all(|robot| robot.gauges.has_come_to_rest())
        {
            std::thread::sleep(Duration::from_millis(2));
            self.tell()?;
        }
        // A robot that rested anyway hears that it is stopped, too.
        std::thread::sleep(LAST_WORDS);
        let mut reports = Vec::new();
        for (seat, robot) in self.robots.iter_mut().enumerate() {
            robot.monitor.tell_now(&self.planner.statistics(seat))?;
        }
        self.stop.store(true, Ordering::SeqCst);
        let statistics: Vec<PolicyStatistics> = (0..self.robots.len())
            .map(|seat| self.planner.statistics(seat))
            .collect();
        let twin = self.twin().map(|robot| robot.monitor.robot().to_owned());
        let ended = self.planner.join_within(POLICY_END_WITHIN);
        for (robot, statistics) in self.robots.into_iter().zip(statistics) {
            reports.push(RuntimeReport {
                robot: robot.monitor.robot().to_owned(),
                statistics,
                timing: robot.commands.join()?,
                published: robot.gauges.published(),
            });
        }
        if let Some(metrics) = self.metrics {
            metrics.join()?;
        }
        if let Some(page) = self.page {
            page.close()?;
        }
        ended?;
        if let Some(robot) = twin {
            bail!("{robot}: {}", SafetyReason::TwinRuntime.text());
        }
        Ok(reports)
    }
}

/// What all robots of a runtime share.
struct Shared<'a> {
    info: &'a Value,
    tap: &'a RecordSink,
    /// Ends the threads.
    stop: &'a Arc<AtomicBool>,
    /// Brings commands to rest.
    shutdown: &'a Arc<AtomicBool>,
    /// Names the socket for stops on this machine.
    session: Option<&'a SessionOptions>,
}

impl Robot {
    fn start(
        node: &Arc<Node>,
        config: &Config,
        action_size: usize,
        plans: PlanReader,
        shared: &Shared<'_>,
    ) -> Result<Self> {
        let Shared {
            info,
            tap,
            stop,
            shutdown,
            session,
        } = *shared;
        let needs_keeper = config.control.start.keeper;
        let signals = Arc::new(ControlInputs::new(Arc::clone(shutdown), needs_keeper));
        let gauges = Arc::new(ControlMetrics::default());
        let wiring = Wiring {
            plans,
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
            tap: tap.clone(),
        };
        let commands = {
            let sink = SessionSink::new(node)?;
            CommandNode::start(sink, &config.control, action_size, wiring, Arc::clone(stop))?
        };
        let robot = node.keys().robot().to_owned();
        tracing::info!("control thread of {robot}: {}", commands.granted());
        let handler = Arc::new(Requests {
            robot: robot.clone(),
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
            has_home: !config.control.home.is_empty(),
            needs_keeper,
            keepers: Mutex::default(),
        });
        let topic = config.ros2.as_ref().map(Ros2Config::stop_topic).transpose();
        let topic = topic.context("ros2.stop")?.flatten();
        let identity = node.runtime_identity(wall_ns());
        let socket = session.and_then(|session| {
            let path = stop_socket_path(session, &robot);
            let opened = StopSocket::open(&path, Arc::clone(&handler) as _);
            opened
                .inspect_err(|error| {
                    tracing::warn!("{robot}: no socket for stops on this machine: {error}");
                })
                .ok()
        });
        let stops = node.listen_for_stops(handler, identity, topic.as_slice())?;
        let snapshot = Arc::new(Snapshot::default());
        let watched = Watched {
            rate_hz: config.control.rate_hz,
            granted: commands.granted().clone(),
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
            timing: commands.timing(),
            tap: tap.clone(),
            snapshot: Arc::clone(&snapshot),
        };
        let monitor = Monitor::new(Arc::clone(node), robot, watched)?;
        let model = info.clone();
        let parameters = json!({
            "runtime": config.runtime,
            "control": config.control,
            "plan": config.plan,
        });
        let (now, rung) = (Arc::clone(&snapshot), Arc::clone(&gauges));
        Ok(Self {
            commands,
            monitor,
            signals,
            gauges,
            snapshot,
            _stops: stops,
            _stop_socket: socket,
            _answers: [
                node.serve("model", move || model.clone())?,
                node.serve("parameters", move || parameters.clone())?,
                node.serve("snapshot", move || now.answer(&rung))?,
            ],
        })
    }
}
