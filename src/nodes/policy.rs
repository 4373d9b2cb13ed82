//! The policy node: observations in, plans out.
//!
//! One thread owns LibTorch. It answers every observation with a plan; observations that piled up
//! meanwhile enter the history, and the newest is answered. The plan rolls by the time between the
//! observations' stamps.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result};
use kinestream_bridge::node::{Channel, Inbox, Publisher};
use kinestream_bridge::wire::{PlanSlice, Request};
use kinestream_bridge::{Command, Node, Observation};
use kinestream_control::{Clock, Latencies, Monotonic, Percentiles, Plan, PlanHeader, PlanWriter};
use kinestream_policy::roll::Roll;
use kinestream_policy::{Error, Policy};

use super::{INBOX, PATIENCE, stamp};

/// Evaluations before the node says that it is ready; they are not measured.
const WARM_UP: usize = 20;

/// What a policy node did so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyStatistics {
    pub(crate) observations: u64,
    /// Observations and plans refused for their contents.
    pub(crate) refused: u64,
    /// Payloads that did not decode.
    pub(crate) malformed: u64,
    pub(crate) plans: u64,
    pub(crate) evaluations: u64,
    /// From taking an observation to the plan, for observations that cost network evaluations.
    pub(crate) latency_ms: Percentiles,
    /// The newest of these latencies.
    pub(crate) last_latency_ms: f64,
    /// Why the last observation or plan was refused, if it was.
    pub(crate) fault: Option<String>,
}

/// A running policy node.
pub(crate) struct PolicyNode {
    thread: JoinHandle<Result<()>>,
    statistics: Arc<Mutex<PolicyStatistics>>,
}

struct Shell {
    policy: Policy,
    roll: Roll,
    stream: u32,
    observations: Inbox<Observation>,
    resets: Inbox<Command>,
    plans: Publisher,
    commands: PlanWriter,
    statistics: Arc<Mutex<PolicyStatistics>>,
    latencies: Latencies,
    /// The stream that commands are marked with.
    current_stream: Arc<AtomicU32>,
    period_ns: u64,
    sequence: u64,
    chunk: u64,
    /// Evaluations of the warm-up.
    warm_up: u64,
}

impl PolicyNode {
    /// Warms the policy up, subscribes, and starts the thread. `lossless` has plans wait on
    /// congestion, for simulators in lock step.
    pub(crate) fn start(
        node: &Node,
        mut policy: Policy,
        commands: PlanWriter,
        lossless: bool,
        current_stream: Arc<AtomicU32>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        warm_up(&mut policy)?;
        let period_ns = (1e9 / policy.config().task.rate_hz) as u64;
        let statistics = Arc::new(Mutex::new(PolicyStatistics::default()));
        let plans = if lossless {
            node.lossless_publisher(Channel::Plan)?
        } else {
            node.publisher(Channel::Plan)?
        };
        let shell = Shell {
            roll: Roll::new(period_ns),
            stream: 0,
            resets: node.inbox(&node.keys().command("reset")?, INBOX)?,
            observations: node.inbox(&node.keys().observation("state")?, INBOX)?,
            plans,
            commands,
            statistics: Arc::clone(&statistics),
            latencies: Latencies::new(),
            current_stream,
            period_ns,
            sequence: 0,
            chunk: 0,
            warm_up: policy.evaluations(),
            policy,
        };
        let thread = std::thread::Builder::new()
            .name("policy".into())
            .spawn(move || shell.run(&stop))
            .context("cannot start the policy thread")?;
        Ok(Self { thread, statistics })
    }

    pub(crate) fn statistics(&self) -> PolicyStatistics {
        self.statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the thread has ended, by itself or by an error.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(self) -> Result<()> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the policy thread panicked"),
        }
    }
}

impl Shell {
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::SeqCst) {
            let Some(mut observation) = self.observations.next(PATIENCE) else {
                continue;
            };
            self.take_resets()?;
            // Only the newest is answered; those before it still belong into the history.
            while let Some(newer) = self.observations.try_next() {
                self.record(&observation)?;
                observation = newer;
            }
            self.answer(&observation)?;
        }
        Ok(())
    }

    fn take_resets(&mut self) -> Result<()> {
        while let Some(command) = self.resets.try_next() {
            if let Request::Reset { seed } = command.request {
                self.begin(command.stamp.stream, seed)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, stream: u32, seed: u64) -> Result<()> {
        self.policy.reset(0, seed)?;
        self.roll.reset();
        // The plan of the last stream must not move the robot of this one.
        self.commands.withdraw();
        self.stream = stream;
        self.current_stream.store(stream, Ordering::Relaxed);
        Ok(())
    }

    /// Takes an observation into the history; false if it was refused.
    fn record(&mut self, observation: &Observation) -> Result<bool> {
        let values: Vec<f32> = observation
            .values
            .to_f64()
            .iter()
            .map(|value| *value as f32)
            .collect();
        if observation.stamp.stream != self.stream {
            // The reset of this stream was lost, or the sender began without one.
            self.begin(
                observation.stamp.stream,
                u64::from(observation.stamp.stream),
            )?;
        }
        let consumed = self.roll.consumed(observation.stamp.monotonic_ns);
        self.policy.advance(0, consumed);
        match self.policy.observe(0, &values) {
            Ok(()) => {
                self.update(|statistics| statistics.observations += 1);
                Ok(true)
            }
            Err(error @ (Error::NonFiniteObservation { .. } | Error::ObservationSize { .. })) => {
                self.refuse(&error.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn answer(&mut self, observation: &Observation) -> Result<()> {
        let arrived_ns = Monotonic.now_ns();
        let begun = Instant::now();
        if !self.record(observation)? {
            return Ok(());
        }
        let before = self.policy.evaluations();
        while self.policy.refine(&[0])? > 0 {}
        let replanned = self.policy.evaluations() > before;
        let plan = match self.policy.plan(0) {
            Ok(plan) => plan,
            Err(error @ Error::NonFinitePlan) => {
                self.refuse(&error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let latency = begun.elapsed().as_nanos() as u64;
        self.sequence += 1;
        self.chunk += 1;
        let size = self.policy.action_size();
        let actions = &plan.actions[plan.current * size..];
        let noise = &plan.noise[plan.current..];
        let header = PlanHeader {
            chunk: self.chunk,
            start_ns: arrived_ns,
            period_ns: self.period_ns,
            action_size: size,
            committed: plan.committed,
            observation_sequence: observation.stamp.sequence,
        };
        self.commands
            .publish(&Plan::new(header, actions.to_vec())?)?;
        let levels = self.policy.config().plan.ladder_levels() as u32;
        self.plans.publish(&PlanSlice {
            stamp: stamp(self.sequence, self.stream),
            chunk: self.chunk,
            observation_sequence: observation.stamp.sequence,
            first_action_ns: arrived_ns,
            period_ns: self.period_ns,
            dims: size as u32,
            committed: plan.committed as u32,
            levels,
            noise,
            level: &plan.levels[plan.current..],
            actions,
        })?;
        let latency_ms = replanned.then(|| {
            self.latencies.record(latency);
            (latency as f64 / 1e6, self.latencies.percentiles_ms())
        });
        let evaluations = self.policy.evaluations() - self.warm_up;
        let malformed = self.observations.counts().malformed;
        self.update(|statistics| {
            statistics.malformed = malformed;
            statistics.plans += 1;
            statistics.evaluations = evaluations;
            statistics.fault = None;
            if let Some((last, percentiles)) = latency_ms {
                statistics.last_latency_ms = last;
                statistics.latency_ms = percentiles;
            }
        });
        Ok(())
    }

    fn refuse(&self, reason: &str) {
        self.update(|statistics| {
            // Said once, not at every observation of a broken sensor.
            if statistics.fault.as_deref() != Some(reason) {
                tracing::warn!("{reason}");
            }
            statistics.refused += 1;
            statistics.fault = Some(reason.to_owned());
        });
    }

    fn update(&self, change: impl FnOnce(&mut PolicyStatistics)) {
        change(
            &mut self
                .statistics
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Runs the network until LibTorch has chosen kernels and allocated, then forgets it all.
fn warm_up(policy: &mut Policy) -> Result<()> {
    let limits = &policy.config().plan;
    let steps = limits.action_steps;
    let zeros = vec![0.0; policy.observation_size()];
    policy.reset(0, 0)?;
    for _ in 0..WARM_UP {
        policy.observe(0, &zeros)?;
        while policy.refine(&[0])? > 0 {}
        policy.advance(0, steps);
    }
    policy.reset(0, 0)?;
    Ok(())
}
