//! The policy node: observations in, plans out.
//!
//! One thread owns LibTorch. It answers every observation with a plan; observations that piled up
//! meanwhile enter the history, and the newest is answered. The plan rolls by the time between the
//! observations' stamps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use kinestream_bridge::node::{Channel, Inbox, Publisher};
use kinestream_bridge::wire::{PlanSlice, Request, Stamp};
use kinestream_bridge::{Command, Node, Observation};
use kinestream_control::{
    Clock, Latencies, Monotonic, Percentiles, Plan, PlanHeader, PlanWriter, pin_current_thread,
};
use kinestream_policy::arrivals::Arrival;
use kinestream_policy::engine::{Answer, Sensed, Taken};
use kinestream_policy::{Engine, Error, Policy};

use super::signals::Signals;
use super::{INBOX, PATIENCE, stamp};
use crate::recording::{PolicyInput, Tap, topic};

/// Evaluations before the node says that it is ready; they are not measured.
const WARM_UP: usize = 20;

/// What a policy node did so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyStatistics {
    pub(crate) observations: u64,
    /// Observations and plans refused for their contents.
    pub(crate) refused: u64,
    /// Observations that came twice.
    pub(crate) repeated: u64,
    /// Observations that came after a newer one.
    pub(crate) out_of_order: u64,
    /// Payloads that did not decode.
    pub(crate) malformed: u64,
    pub(crate) plans: u64,
    pub(crate) evaluations: u64,
    /// From taking an observation to the plan, for observations that cost network evaluations.
    pub(crate) latency_ms: Percentiles,
    /// The newest of these latencies.
    pub(crate) last_latency_ms: f64,
    /// Actions that came due while the newest plan was made, counted.
    pub(crate) delay_actions: u64,
    /// The most of these.
    pub(crate) most_delay_actions: u64,
    /// Why the last observation or plan was refused, if it was.
    pub(crate) fault: Option<String>,
}

/// How a policy node runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyOptions {
    /// Plans wait for a congested receiver, for simulators in lock step.
    pub(crate) lossless: bool,
    /// Processor that the thread is kept on.
    pub(crate) cpu: Option<usize>,
}

/// A running policy node.
pub(crate) struct PolicyNode {
    thread: JoinHandle<Result<()>>,
    statistics: Arc<Mutex<PolicyStatistics>>,
}

struct Shell {
    engine: Engine,
    observations: Inbox<Observation>,
    resets: Inbox<Command>,
    plans: Publisher,
    commands: PlanWriter,
    signals: Arc<Signals>,
    tap: Tap,
    statistics: Arc<Mutex<PolicyStatistics>>,
    latencies: Latencies,
    sequence: u64,
}

/// A valid observation.
struct Observed {
    arrived_ns: u64,
    values: Vec<f32>,
}

impl PolicyNode {
    /// Warms the policy up, subscribes, and starts the thread. `lossless` has plans wait on
    /// congestion, for simulators in lock step.
    pub(crate) fn start(
        node: &Node,
        mut policy: Policy,
        commands: PlanWriter,
        options: PolicyOptions,
        signals: &Arc<Signals>,
        tap: Tap,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        warm_up(&mut policy)?;
        let statistics = Arc::new(Mutex::new(PolicyStatistics::default()));
        let plans = if options.lossless {
            node.lossless_publisher(Channel::Plan)?
        } else {
            node.publisher(Channel::Plan)?
        };
        let shell = Shell {
            resets: node.inbox(&node.keys().command("reset")?, INBOX)?,
            observations: node.inbox(&node.keys().observation("state")?, INBOX)?,
            plans,
            commands,
            signals: Arc::clone(signals),
            tap,
            statistics: Arc::clone(&statistics),
            latencies: Latencies::new(),
            sequence: 0,
            engine: Engine::new(policy)?,
        };
        let alive = Alive(Arc::clone(signals));
        let thread = std::thread::Builder::new()
            .name("policy".into())
            .spawn(move || {
                let _alive = alive;
                if let Some(cpu) = options.cpu {
                    pin_current_thread(cpu).with_context(|| format!("runtime.cpu = {cpu}"))?;
                }
                shell.run(&stop)
            })
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

/// Says that the policy thread has ended, however it ends.
struct Alive(Arc<Signals>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.policy_ended();
    }
}

impl Shell {
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::SeqCst) {
            let mut waiting = self.observations.next(PATIENCE);
            self.take_resets()?;
            // All enter the history; one plan answers them, made for the newest.
            let mut newest = None;
            while let Some(observation) = waiting {
                newest = self.take(&observation)?.or(newest);
                waiting = self.observations.try_next();
            }
            if let Some(observed) = newest {
                self.answer(&observed)?;
            }
        }
        Ok(())
    }

    fn take_resets(&mut self) -> Result<()> {
        while let Some(command) = self.resets.try_next() {
            if let Request::Reset { seed } = command.request {
                let stream = command.stamp.stream;
                self.tap
                    .policy_input(Monotonic.now_ns(), &PolicyInput::Reset { stream, seed });
                self.engine.begin(stream, seed)?;
                // The plan of the last stream must not move the robot of this one.
                self.commands.withdraw();
            }
        }
        Ok(())
    }

    /// Takes an observation into the history; none if it was left out.
    fn take(&mut self, observation: &Observation) -> Result<Option<Observed>> {
        let arrived_ns = Monotonic.now_ns();
        self.tap.wire(topic::STATE, arrived_ns, observation);
        self.tap
            .policy_input(arrived_ns, &PolicyInput::Observation { arrived_ns });
        let values = numbers(observation);
        let Stamp {
            stream,
            sequence,
            monotonic_ns: time_ns,
            ..
        } = observation.stamp;
        if stream != self.engine.stream() {
            self.commands.withdraw();
        }
        let taken = self.engine.take(&Sensed {
            stream,
            sequence,
            time_ns,
            values: &values,
            images: &[],
        })?;
        match taken {
            Taken::Valid => {
                self.signals.observed(arrived_ns);
                self.update(|statistics| statistics.observations += 1);
                return Ok(Some(Observed { arrived_ns, values }));
            }
            Taken::Old(Arrival::Repeated) => self.update(|statistics| statistics.repeated += 1),
            Taken::Old(_) => self.update(|statistics| statistics.out_of_order += 1),
            Taken::Refused(reason) => self.refuse(&reason),
        }
        Ok(None)
    }

    fn answer(&mut self, observed: &Observed) -> Result<()> {
        let arrived_ns = observed.arrived_ns;
        self.tap
            .policy_input(Monotonic.now_ns(), &PolicyInput::Answer { arrived_ns });
        match self.engine.answer(arrived_ns)? {
            Some(answer) => self.publish(&answer, &observed.values),
            None => {
                self.refuse(&Error::NonFinitePlan.to_string());
                Ok(())
            }
        }
    }

    fn publish(&mut self, answer: &Answer, observation: &[f32]) -> Result<()> {
        self.sequence += 1;
        let size = self.engine.policy().action_size();
        let plan = plan_of(answer, observation, self.engine.policy())?;
        self.commands.publish(&plan)?;
        let taken_ns = Monotonic.now_ns().saturating_sub(answer.start_ns);
        let levels = self.engine.policy().config().plan.ladder_levels() as u32;
        let message = PlanSlice {
            stamp: stamp(self.sequence, answer.stream),
            chunk: answer.chunk,
            observation_sequence: answer.observation_sequence,
            first_action_ns: answer.start_ns,
            period_ns: answer.period_ns,
            dims: size as u32,
            committed: answer.committed as u32,
            levels,
            noise: &answer.noise,
            level: &answer.levels,
            actions: &answer.actions,
        };
        self.plans.publish(&message)?;
        self.tap.wire(topic::PLAN, Monotonic.now_ns(), &message);
        let latency_ms = (answer.evaluations > 0).then(|| {
            self.latencies.record(taken_ns);
            (taken_ns as f64 / 1e6, self.latencies.percentiles_ms())
        });
        let malformed = self.observations.counts().malformed;
        let delay = taken_ns / answer.period_ns;
        self.update(|statistics| {
            statistics.malformed = malformed;
            statistics.plans += 1;
            statistics.evaluations += answer.evaluations;
            statistics.delay_actions = delay;
            statistics.most_delay_actions = statistics.most_delay_actions.max(delay);
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

/// An observation's numbers as the policy takes them.
pub(crate) fn numbers(observation: &Observation) -> Vec<f32> {
    let values = observation.values.to_f64();
    values.iter().map(|value| *value as f32).collect()
}

/// The plan for the control thread that an answer to `observation` is.
pub(crate) fn plan_of(answer: &Answer, observation: &[f32], policy: &Policy) -> Result<Plan> {
    let header = PlanHeader {
        stream: answer.stream,
        chunk: answer.chunk,
        start_ns: answer.start_ns,
        period_ns: answer.period_ns,
        action_size: policy.action_size(),
        committed: answer.committed,
        observation_sequence: answer.observation_sequence,
    };
    let plan = Plan::new(header, answer.actions.clone())?;
    Ok(match &policy.config().plan.primer_columns {
        Some(columns) => plan.with_measured(columns.iter().map(|&at| observation[at]).collect())?,
        None => plan,
    })
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
