//! The policy node: observations in, plans out, for one robot or for several.
//!
//! One thread owns LibTorch. It answers every observation with a plan; observations that piled up
//! meanwhile enter the history, and the newest is answered. Where several robots wait, every network
//! evaluation serves those whose deadlines come first, in batches as large as they bear, and each gets
//! its plan as soon as it is there. A plan rolls by the time between its robot's observations' stamps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use kinestream_bridge::node::{Bell, Channel, Inbox, Publisher};
use kinestream_bridge::wire::{PlanSlice, Request, Stamp};
use kinestream_bridge::{Command, Image, Node, Observation};
use kinestream_control::{
    Clock, Latencies, Monotonic, Percentiles, Plan, PlanHeader, PlanWriter, pin_current_thread,
};
use kinestream_policy::arrivals::Arrival;
use kinestream_policy::config::ImageSize;
use kinestream_policy::dispatch::{Demand, Dispatcher};
use kinestream_policy::engine::{Answer, Sensed, Taken};
use kinestream_policy::image::{Image as Picture, Pixels};
use kinestream_policy::{Engine, Error, Policy};

use super::cameras::Cameras;
use super::signals::Signals;
use super::snapshot::Snapshot;
use super::{INBOX, PATIENCE, stamp};
use crate::recording::{PolicyInput, Tap, topic};

/// Pictures of a camera that wait; a raw one of a large camera has megabytes.
const PICTURES: usize = 4;
/// Evaluations before the node says that it is ready; they are not measured.
const WARM_UP: usize = 20;
/// Slow policies are warm after fewer: none begin after this time.
const WARM_UP_NS: u64 = 2_000_000_000;

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
    /// Plans that came after their deadline.
    pub(crate) late: u64,
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
    /// How far apart, in milliseconds, an observation and its pictures may be; a period by default.
    pub(crate) pictures_apart_ms: Option<f64>,
}

/// How the policy node and one robot are joined.
pub(crate) struct Seat<'a> {
    pub(crate) node: &'a Node,
    /// The robot's command loop.
    pub(crate) commands: PlanWriter,
    pub(crate) signals: Arc<Signals>,
    pub(crate) tap: Tap,
    pub(crate) snapshot: Arc<Snapshot>,
    /// How long after its observation a plan has to be there.
    pub(crate) deadline_ns: u64,
}

/// A running policy node.
pub(crate) struct PolicyNode {
    thread: JoinHandle<Result<()>>,
    statistics: Vec<Arc<Mutex<PolicyStatistics>>>,
}

struct Shell {
    engine: Engine,
    dispatcher: Dispatcher,
    bell: Bell,
    robots: Vec<Robot>,
}

/// One robot, as the thread sees it.
struct Robot {
    observations: Inbox<Observation>,
    /// With the topics that they are recorded on, in the order of the policy's cameras.
    pictures: Vec<(String, Inbox<Image>)>,
    cameras: Cameras,
    resets: Inbox<Command>,
    plans: Publisher,
    commands: PlanWriter,
    signals: Arc<Signals>,
    tap: Tap,
    snapshot: Arc<Snapshot>,
    statistics: Arc<Mutex<PolicyStatistics>>,
    latencies: Latencies,
    sequence: u64,
    deadline_ns: u64,
    /// Of the newest valid observation.
    values: Vec<f32>,
}

impl PolicyNode {
    /// Warms the policy up, subscribes, and starts the thread. The policy has a stream for every
    /// seat.
    pub(crate) fn start(
        mut policy: Policy,
        seats: Vec<Seat<'_>>,
        options: PolicyOptions,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut dispatcher = Dispatcher::default();
        warm_up(&mut policy, &mut dispatcher)?;
        let bell = Bell::default();
        let alive: Vec<Alive> = seats
            .iter()
            .map(|seat| Alive(Arc::clone(&seat.signals)))
            .collect();
        let robots = seats
            .into_iter()
            .map(|seat| {
                let cameras = Cameras::of(&policy, options.pictures_apart_ms);
                Robot::join(seat, cameras, options.lossless, &bell)
            })
            .collect::<Result<Vec<_>>>()?;
        let statistics = robots
            .iter()
            .map(|robot| Arc::clone(&robot.statistics))
            .collect();
        let shell = Shell {
            engine: Engine::new(policy)?,
            dispatcher,
            bell,
            robots,
        };
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

    /// What was done for the robot of a seat.
    pub(crate) fn statistics(&self, seat: usize) -> PolicyStatistics {
        self.statistics[seat]
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
        let mut demands = Vec::with_capacity(self.robots.len());
        while !stop.load(Ordering::SeqCst) {
            if demands.is_empty() {
                let _ = self.bell.wait(PATIENCE);
            }
            demands.clear();
            for seat in 0..self.robots.len() {
                let robot = &mut self.robots[seat];
                if !self.engine.has_begun(seat) {
                    robot.take_all(seat, &mut self.engine)?;
                }
                match self.engine.demand(seat, robot.deadline_ns) {
                    Some(Demand { owed: 0, .. }) => self.answer(seat)?,
                    demand => demands.extend(demand),
                }
            }
            if !demands.is_empty() {
                self.refine(&demands)?;
            }
        }
        Ok(())
    }

    /// One evaluation for the most urgent, and the plans of those who owe nothing after it.
    fn refine(&mut self, demands: &[Demand]) -> Result<()> {
        let begun_ns = Monotonic.now_ns();
        let chosen = self.dispatcher.choose(begun_ns, demands).to_vec();
        for &seat in &chosen {
            self.say_begun(seat);
        }
        self.engine.refine(&chosen)?;
        let took_ns = Monotonic.now_ns().saturating_sub(begun_ns);
        self.dispatcher.took(chosen.len(), took_ns);
        for seat in chosen {
            if self.engine.owed(seat) == 0 {
                self.answer(seat)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, seat: usize) -> Result<()> {
        self.say_begun(seat);
        let answer = self.engine.read(seat)?;
        let robot = &mut self.robots[seat];
        match answer {
            Some(answer) => robot.publish(&answer, self.engine.policy()),
            None => {
                robot.refuse(&Error::NonFinitePlan.to_string());
                Ok(())
            }
        }
    }

    /// Says that an answer is made of what has been taken until now; said once of each.
    fn say_begun(&mut self, seat: usize) {
        let robot = &mut self.robots[seat];
        if let Some(Demand { arrived_ns, .. }) = self.engine.demand(seat, robot.deadline_ns)
            && !self.engine.has_begun(seat)
        {
            robot
                .tap
                .policy_input(Monotonic.now_ns(), &PolicyInput::Answer { arrived_ns });
        }
    }
}

impl Robot {
    fn join(seat: Seat<'_>, cameras: Cameras, lossless: bool, bell: &Bell) -> Result<Self> {
        let Seat {
            node,
            commands,
            signals,
            tap,
            snapshot,
            deadline_ns,
        } = seat;
        let observation = node.keys().observation("state")?;
        let pictures = cameras
            .names()
            .map(|name| {
                let key = node.keys().observation(name)?;
                Ok((topic::of_camera(name), node.inbox(&key, PICTURES)?))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            pictures,
            cameras,
            resets: node.inbox(&node.keys().command("reset")?, INBOX)?,
            observations: node.inbox_with_bell(&observation, INBOX, bell)?,
            plans: if lossless {
                node.lossless_publisher(Channel::Plan)?
            } else {
                node.publisher(Channel::Plan)?
            },
            commands,
            signals,
            tap,
            snapshot,
            statistics: Arc::default(),
            latencies: Latencies::new(),
            sequence: 0,
            deadline_ns,
            values: Vec::new(),
        })
    }

    fn take_resets(&mut self, seat: usize, engine: &mut Engine) -> Result<()> {
        while let Some(command) = self.resets.try_next() {
            if let Request::Reset { seed } = command.request {
                let stream = command.stamp.stream;
                self.tap
                    .policy_input(Monotonic.now_ns(), &PolicyInput::Reset { stream, seed });
                engine.begin(seat, stream, seed)?;
                // The plan of the last stream must not move the robot of this one.
                self.commands.withdraw();
            }
        }
        Ok(())
    }

    /// Takes what waits into the history; one plan will answer all of it, made for the newest.
    fn take_all(&mut self, seat: usize, engine: &mut Engine) -> Result<()> {
        // An observation first: the reset that was sent before it is there by then.
        let mut waiting = self.observations.try_next();
        self.take_resets(seat, engine)?;
        self.take_pictures();
        while let Some(observation) = waiting {
            self.take(&observation, seat, engine)?;
            waiting = self.observations.try_next();
            self.take_pictures();
        }
        Ok(())
    }

    /// Takes the pictures that have come, in the order of the cameras.
    fn take_pictures(&mut self) {
        for at in 0..self.pictures.len() {
            let (topic, inbox) = &self.pictures[at];
            while let Some(picture) = inbox.try_next() {
                let now_ns = Monotonic.now_ns();
                let camera = at as u32;
                // Under the camera's own name, whatever the sender calls it.
                self.tap.wire(topic, now_ns, &picture);
                self.tap
                    .policy_input(now_ns, &PolicyInput::Picture { camera });
                if let Err(reason) = self.cameras.take(at, picture) {
                    self.refuse(&reason);
                }
            }
        }
    }

    /// Takes an observation into the history.
    fn take(&mut self, observation: &Observation, seat: usize, engine: &mut Engine) -> Result<()> {
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
        if stream != engine.stream(seat) {
            self.commands.withdraw();
        }
        let images = match self.cameras.at(&observation.stamp) {
            Ok(images) => images,
            Err(reason) => {
                self.refuse(&reason);
                return Ok(());
            }
        };
        let sensed = Sensed {
            stream,
            sequence,
            time_ns,
            arrived_ns,
            values: &values,
            images: &images,
        };
        match engine.take(seat, &sensed)? {
            Taken::Valid => {
                self.signals.observed(arrived_ns);
                self.update(|statistics| statistics.observations += 1);
                self.values = values;
            }
            Taken::Old(Arrival::Repeated) => self.update(|statistics| statistics.repeated += 1),
            Taken::Old(_) => self.update(|statistics| statistics.out_of_order += 1),
            Taken::Refused(reason) => self.refuse(&reason),
        }
        Ok(())
    }

    fn publish(&mut self, answer: &Answer, policy: &Policy) -> Result<()> {
        self.sequence += 1;
        let plan = plan_of(answer, &self.values, policy)?;
        self.commands.publish(&plan)?;
        let taken_ns = Monotonic.now_ns().saturating_sub(answer.start_ns);
        let message = PlanSlice {
            stamp: stamp(self.sequence, answer.stream),
            chunk: answer.chunk,
            observation_sequence: answer.observation_sequence,
            first_action_ns: answer.start_ns,
            period_ns: answer.period_ns,
            dims: policy.action_size() as u32,
            committed: answer.committed as u32,
            levels: policy.config().plan.ladder_levels() as u32,
            noise: &answer.noise,
            level: &answer.levels,
            actions: &answer.actions,
        };
        self.plans.publish(&message)?;
        self.tap.wire(topic::PLAN, Monotonic.now_ns(), &message);
        self.snapshot.keep_plan(message.copied());
        let latency_ms = (answer.evaluations > 0).then(|| {
            self.latencies.record(taken_ns);
            (taken_ns as f64 / 1e6, self.latencies.percentiles_ms())
        });
        let malformed = self.observations.counts().malformed;
        let delay = taken_ns / answer.period_ns;
        let is_late = taken_ns > self.deadline_ns;
        self.update(|statistics| {
            statistics.malformed = malformed;
            statistics.plans += 1;
            statistics.evaluations += answer.evaluations;
            statistics.late += u64::from(is_late);
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

/// Runs the network, for all robots at once and for one, until LibTorch has chosen kernels and
/// allocated, then forgets it all but for what evaluations took.
fn warm_up(policy: &mut Policy, dispatcher: &mut Dispatcher) -> Result<()> {
    let steps = policy.config().plan.action_steps;
    let zeros = vec![0.0; policy.observation_size()];
    let black: Vec<(ImageSize, Vec<u8>)> = policy
        .cameras()
        .map(|(_, size)| (size, vec![0; 3 * size.height * size.width]))
        .collect();
    let images: Vec<Picture<'_>> = black
        .iter()
        .map(|(size, pixels)| Picture {
            size: *size,
            pixels: Pixels::Bytes(pixels),
        })
        .collect();
    let all: Vec<usize> = (0..policy.streams()).collect();
    for streams in [&all[..], &all[..1]] {
        all.iter().try_for_each(|stream| policy.reset(*stream, 0))?;
        let begun = Monotonic.now_ns();
        for round in 0..WARM_UP {
            if round > 1 && Monotonic.now_ns() - begun > WARM_UP_NS {
                break;
            }
            for &stream in streams {
                policy.observe_images(stream, &zeros, &images)?;
            }
            loop {
                let begun_ns = Monotonic.now_ns();
                match policy.refine(streams)? {
                    0 => break,
                    // The first ones are slow.
                    count if round > 1 => {
                        dispatcher.took(count, Monotonic.now_ns().saturating_sub(begun_ns));
                    }
                    _ => {}
                }
            }
            for &stream in streams {
                policy.advance(stream, steps);
            }
        }
    }
    all.iter().try_for_each(|stream| policy.reset(*stream, 0))?;
    Ok(())
}
