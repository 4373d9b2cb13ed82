//! The whole runtime: policy, command loop, emergency stop and monitor on one zenoh node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_bridge::node::{Service, StopHandler, StopListener, StopRequest};
use kinestream_bridge::{Health, Node};
use kinestream_control::{Rung, TimingReport, latest_plan};
use kinestream_policy::Policy;
use serde_json::{Value, json};

use super::commands::{CommandNode, Wiring};
use super::monitor::{Monitor, Watched};
use super::policy::{PolicyNode, PolicyOptions, PolicyStatistics};
use super::signals::{Gauges, Signals};
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
    commands: CommandNode,
    monitor: Monitor,
    signals: Arc<Signals>,
    gauges: Arc<Gauges>,
    stop: Arc<AtomicBool>,
    _stops: StopListener,
    _model: Service,
    metrics: Option<MetricsServer>,
}

/// What a runtime did, at its end.
pub(crate) struct RuntimeReport {
    pub(crate) statistics: PolicyStatistics,
    pub(crate) published: u64,
    pub(crate) timing: TimingReport,
}

impl Runtime {
    /// Starts all threads. `info` describes the model to those who ask.
    pub(crate) fn start(
        node: &Arc<Node>,
        config: &Config,
        policy: Policy,
        info: Value,
        tap: Tap,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let signals = Arc::new(Signals::default());
        let gauges = Arc::new(Gauges::default());
        let (positions, action_size) = (policy.config().plan.horizon, policy.action_size());
        let (writer, plans) = latest_plan(positions, action_size);
        let commands = CommandNode::start(
            node,
            &config.control,
            action_size,
            Wiring {
                plans,
                signals: Arc::clone(&signals),
                gauges: Arc::clone(&gauges),
                tap: tap.clone(),
            },
            Arc::clone(&stop),
        )?;
        tracing::info!("control thread: {}", commands.granted());
        let planner = PolicyNode::start(
            node,
            policy,
            writer,
            PolicyOptions {
                lossless: config.runtime.lossless,
                cpu: config.runtime.cpu,
            },
            &signals,
            tap.clone(),
            Arc::clone(&stop),
        )?;
        let stops = node.listen_for_stops(Arc::new(Stops {
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
        }))?;
        let monitor = Monitor::new(
            Arc::clone(node),
            config.runtime.robot.clone(),
            Watched {
                rate_hz: config.control.rate_hz,
                granted: commands.granted().clone(),
                gauges: Arc::clone(&gauges),
                timing: commands.timing(),
                tap,
            },
        )?;
        let metrics = config
            .runtime
            .metrics_port
            .map(|port| metrics::serve(port, Arc::clone(&stop)))
            .transpose()?;
        if let Some(server) = &metrics {
            tracing::info!("metrics: http://{}/metrics", server.address());
        }
        Ok(Self {
            planner,
            commands,
            monitor,
            signals,
            gauges,
            stop,
            _stops: stops,
            _model: node.serve("model", move || info.clone())?,
            metrics,
        })
    }

    /// Tells others how things are, where it is time for that; call it every few milliseconds.
    pub(crate) fn tell(&mut self) -> Result<()> {
        if self.monitor.tell(&self.planner.statistics())?
            && let (Some(server), Some(health)) = (&self.metrics, self.monitor.latest())
        {
            server.show(health.clone());
        }
        Ok(())
    }

    /// The newest health message, none before the first.
    pub(crate) fn health(&self) -> Option<&Health> {
        self.monitor.latest()
    }

    pub(crate) fn statistics(&self) -> PolicyStatistics {
        self.planner.statistics()
    }

    /// Commands sent so far.
    pub(crate) fn published(&self) -> u64 {
        self.gauges.published()
    }

    /// Whether the policy thread has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.planner.has_ended()
    }

    /// Brings commands to rest under their limits, ends all threads, and reports. An error of the
    /// policy thread comes back after that.
    pub(crate) fn finish(mut self) -> Result<RuntimeReport> {
        self.signals.end();
        let begun = Instant::now();
        while begun.elapsed() < REST_WITHIN && !self.is_at_rest() {
            std::thread::sleep(Duration::from_millis(2));
            self.tell()?;
        }
        self.monitor.tell_now(&self.planner.statistics())?;
        self.stop.store(true, Ordering::SeqCst);
        let statistics = self.planner.statistics();
        let ended = self.planner.join();
        let timing = self.commands.join()?;
        if let Some(metrics) = self.metrics {
            metrics.join()?;
        }
        ended?;
        Ok(RuntimeReport {
            statistics,
            published: self.gauges.published(),
            timing,
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
