//! The whole runtime: one policy, and for every robot a command loop, emergency stop and monitor on a zenoh node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_bridge::node::{Service, StopHandler, StopListener, StopRequest};
use kinestream_bridge::{Health, Node};
use kinestream_control::{PlanReader, Rung, TimingReport, latest_plan};
use kinestream_policy::Policy;
use serde_json::{Value, json};

use super::commands::{CommandNode, Wiring};
use super::monitor::{Monitor, Watched};
use super::policy::{PolicyNode, PolicyOptions, PolicyStatistics, Seat};
use super::signals::{Gauges, Signals};
use super::snapshot::Snapshot;
use crate::config::Config;
use crate::metrics::{self, MetricsServer};
use crate::recording::Tap;

/// How long commands may take to come to rest when the program ends.
const REST_WITHIN: Duration = Duration::from_secs(2);
/// How long a request to stop waits for the control thread to have seen it, for the answer's sake.
const SEEN_WITHIN: Duration = Duration::from_millis(200);

/// A running runtime.
pub(crate) struct Runtime {
    planner: PolicyNode,
    robots: Vec<Robot>,
    stop: Arc<AtomicBool>,
    metrics: Option<MetricsServer>,
}

/// What moves and watches one robot.
struct Robot {
    commands: CommandNode,
    monitor: Monitor,
    signals: Arc<Signals>,
    gauges: Arc<Gauges>,
    snapshot: Arc<Snapshot>,
    _stops: StopListener,
    _answers: [Service; 3],
}

/// What a runtime did for one robot, at its end.
pub(crate) struct RuntimeReport {
    pub(crate) robot: String,
    pub(crate) statistics: PolicyStatistics,
    pub(crate) published: u64,
    pub(crate) timing: TimingReport,
}

impl Runtime {
    /// Starts all threads: one for the policy, two for every robot, each of which has a node. `info`
    /// describes the model to those who ask. What one robot does is told to `tap`.
    pub(crate) fn start(
        nodes: &[Arc<Node>],
        config: &Config,
        policy: Policy,
        info: &Value,
        tap: &Tap,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let shape = (policy.config().plan.horizon, policy.action_size());
        let (mut robots, mut seats) = (Vec::new(), Vec::new());
        let plan = &policy.config().plan;
        let in_time_ms = 1e3 * plan.commit_ahead.max(1) as f64 / policy.config().task.rate_hz;
        for node in nodes {
            let (writer, plans) = latest_plan(shape.0, shape.1);
            let robot = Robot::start(node, config, shape.1, plans, info, tap, &stop)?;
            seats.push(Seat {
                node,
                commands: writer,
                signals: Arc::clone(&robot.signals),
                tap: tap.clone(),
                snapshot: Arc::clone(&robot.snapshot),
                deadline_ns: {
                    let own_ms = config.runtime.deadlines_ms.get(node.keys().robot());
                    (1e6 * own_ms.copied().unwrap_or(in_time_ms)) as u64
                },
            });
            robots.push(robot);
        }
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
        Ok(Self {
            planner,
            robots,
            stop,
            metrics,
        })
    }

    /// Tells others how things are, where it is time for that; call it every few milliseconds.
    pub(crate) fn tell(&mut self) -> Result<()> {
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
    pub(crate) fn health(&self) -> Option<&Health> {
        self.robots.first()?.monitor.latest()
    }

    /// What was done for the first robot.
    pub(crate) fn statistics(&self) -> PolicyStatistics {
        self.planner.statistics(0)
    }

    /// Commands sent so far, to all robots.
    pub(crate) fn published(&self) -> u64 {
        self.robots
            .iter()
            .map(|robot| robot.gauges.published())
            .sum()
    }

    /// Whether the policy thread has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.planner.has_ended()
    }

    /// Brings commands to rest under their limits, ends all threads, and reports on every robot. An
    /// error of the policy thread comes back after that.
    pub(crate) fn finish(mut self) -> Result<Vec<RuntimeReport>> {
        for robot in &self.robots {
            robot.signals.end();
        }
        let begun = Instant::now();
        while begun.elapsed() < REST_WITHIN && !self.robots.iter().all(Robot::is_at_rest) {
            std::thread::sleep(Duration::from_millis(2));
            self.tell()?;
        }
        let mut reports = Vec::new();
        for (seat, robot) in self.robots.iter_mut().enumerate() {
            robot.monitor.tell_now(&self.planner.statistics(seat))?;
        }
        self.stop.store(true, Ordering::SeqCst);
        let statistics: Vec<PolicyStatistics> = (0..self.robots.len())
            .map(|seat| self.planner.statistics(seat))
            .collect();
        let ended = self.planner.join();
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
        ended?;
        Ok(reports)
    }
}

impl Robot {
    fn start(
        node: &Arc<Node>,
        config: &Config,
        action_size: usize,
        plans: PlanReader,
        info: &Value,
        tap: &Tap,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let signals = Arc::new(Signals::default());
        let gauges = Arc::new(Gauges::default());
        let wiring = Wiring {
            plans,
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
            tap: tap.clone(),
        };
        let commands =
            CommandNode::start(node, &config.control, action_size, wiring, Arc::clone(stop))?;
        let robot = node.keys().robot().to_owned();
        tracing::info!("control thread of {robot}: {}", commands.granted());
        let stops = node.listen_for_stops(Arc::new(Stops {
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
        }))?;
        let snapshot = Arc::new(Snapshot::default());
        let watched = Watched {
            rate_hz: config.control.rate_hz,
            granted: commands.granted().clone(),
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
            _answers: [
                node.serve("model", move || model.clone())?,
                node.serve("parameters", move || parameters.clone())?,
                node.serve("snapshot", move || now.answer(&rung))?,
            ],
        })
    }

    fn is_at_rest(&self) -> bool {
        let stopped = matches!(
            self.gauges.rung(),
            Rung::Waiting | Rung::SafeStop | Rung::EmergencyStop
        );
        stopped && self.gauges.is_at_rest()
    }
}

/// Passes requests on to the control thread.
struct Stops {
    signals: Arc<Signals>,
    gauges: Arc<Gauges>,
}

impl StopHandler for Stops {
    fn stop(&self) {
        tracing::warn!("emergency stop requested");
        self.signals.stop();
    }

    fn rearm(&self) {
        tracing::info!("re-arming requested");
        self.signals.rearm();
    }

    fn state(&self, request: StopRequest) -> Value {
        let begun = Instant::now();
        let seen = |rung: Rung| match request {
            StopRequest::Stop => rung == Rung::EmergencyStop,
            StopRequest::Rearm => rung < Rung::SafeStop,
        };
        while begun.elapsed() < SEEN_WITHIN && !seen(self.gauges.rung()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        json!({
            "rung": self.gauges.rung(),
            "reason": self.gauges.cause().text(),
            "at_rest": self.gauges.is_at_rest(),
        })
    }
}
