//! One robot of the policy node: what it sends, what it is answered, and what became of both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use kinestream_bridge::node::{Inbox, InboxCounts, Notifier, Publisher};
use kinestream_bridge::wire::{PlanSlice, Request, Stamp};
use kinestream_bridge::{Command, Image, LogThrottle, Node};
use kinestream_control::{Clock, Latencies, Monotonic, Percentiles, Plan, PlanHeader, PlanWriter};
use kinestream_policy::arrivals::Arrival;
use kinestream_policy::dispatch::InferenceRequest;
use kinestream_policy::engine::{ActionChunk, IngestOutcome, TimedObservation};
use kinestream_policy::oddity::OddityWatch;
use kinestream_policy::{Engine, Policy};

use super::port::{Inputs, OBSERVATIONS, SensorPort};
use super::reception::{Arrived, Reception, numbers};
use crate::cameras::Cameras;
use crate::clock::stamp;
use crate::recording::{PolicyInput, RecordSink, topic};
use crate::signals::ControlInputs;
use crate::snapshot::Snapshot;

/// What a policy node did so far.
#[derive(Debug, Clone, Default)]
pub struct PolicyStatistics {
    /// Observations taken into the history.
    pub observations: u64,
    /// Observations and plans refused for their contents.
    pub refused: u64,
    /// Observations that came twice.
    pub repeated: u64,
    /// Observations that came after a newer one.
    pub out_of_order: u64,
    /// Observations that found no room, newer ones having come before they were taken.
    pub dropped: u64,
    /// Payloads that did not decode.
    pub malformed: u64,
    /// Plans made.
    pub plans: u64,
    /// Network evaluations that they took.
    pub evaluations: u64,
    /// Plans that came after their deadline.
    pub late: u64,
    /// From taking an observation to the plan, for observations that cost network evaluations.
    pub latency_ms: Percentiles,
    /// The newest of these latencies.
    pub last_latency_ms: f64,
    /// Actions that came due while the newest plan was made, counted.
    pub delay_actions: u64,
    /// The most of these.
    pub most_delay_actions: u64,
    /// Why the last observation or plan was refused, if it was.
    pub fault: Option<String>,
}

/// By what a robot is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RobotLink<'a> {
    /// Keys of a zenoh session: observations come in, plans go out.
    Session(&'a Node),
    /// This program: observations are handed in at a [`SensorPort`], plans go to the command loop alone.
    Program,
}

/// How the policy node and one robot are joined.
pub(crate) struct Seat<'a> {
    pub(crate) link: RobotLink<'a>,
    /// The robot's command loop.
    pub(crate) commands: PlanWriter,
    pub(crate) signals: Arc<ControlInputs>,
    pub(crate) tap: RecordSink,
    pub(crate) snapshot: Arc<Snapshot>,
    /// How long after its observation a plan has to be there.
    pub(crate) deadline_ns: u64,
    /// Columns of the observation that say where the robot is; none where motions begin at the plan.
    pub(crate) measured: Option<Vec<usize>>,
}

/// One robot, as the thread sees it.
pub(super) struct Robot {
    observations: Inbox<Arrived>,
    has_pictures: Arc<AtomicBool>,
    /// With the topics that they are recorded on, in the order of the policy's cameras.
    pictures: Vec<(String, Inbox<Image>)>,
    cameras: Cameras,
    resets: Inbox<Command>,
    /// Absent within a program.
    plans: Option<Publisher>,
    commands: PlanWriter,
    signals: Arc<ControlInputs>,
    tap: RecordSink,
    snapshot: Arc<Snapshot>,
    pub(super) statistics: Arc<Mutex<PolicyStatistics>>,
    latencies: Latencies,
    sequence: u64,
    pub(super) deadline_ns: u64,
    measured: Option<Vec<usize>>,
    /// How long before the newest observation the policy looks back at most.
    memory_ns: u64,
    oddities: OddityWatch,
    /// Refusals by kind, so that a broken sensor does not fill the log.
    refusals: LogThrottle,
    /// Of the newest valid observation.
    values: Vec<f32>,
}

impl Robot {
    pub(super) fn join(
        seat: Seat<'_>,
        policy: &Policy,
        cameras: Cameras,
        lossless: bool,
        bell: &Notifier,
    ) -> Result<(Self, Option<SensorPort>)> {
        let Seat {
            link,
            commands,
            signals,
            tap,
            snapshot,
            deadline_ns,
            measured,
        } = seat;
        let period_ns = policy.config().period_ns();
        let size = policy.observation_size();
        let count = cameras.names().count();
        let reception = Reception::new(size, count > 0, period_ns, Arc::clone(&signals));
        let has_pictures = Arc::clone(&reception.has_pictures);
        let (inputs, port) = match link {
            RobotLink::Session(node) => {
                let inputs = Inputs::of_session(node, &cameras, reception, lossless, bell)?;
                (inputs, None)
            }
            RobotLink::Program => {
                let (inputs, port) = Inputs::of_program(&cameras, reception, bell);
                (inputs, Some(port))
            }
        };
        let Inputs {
            observations,
            pictures,
            resets,
            plans,
        } = inputs;
        let steps = policy.config().plan.observation_steps as u64;
        let robot = Self {
            has_pictures,
            oddities: policy.oddities(),
            refusals: LogThrottle::default(),
            memory_ns: period_ns.saturating_mul(steps),
            pictures,
            cameras,
            resets,
            observations,
            plans,
            commands,
            signals,
            tap,
            snapshot,
            statistics: Arc::default(),
            latencies: Latencies::new(),
            sequence: 0,
            deadline_ns,
            measured,
            values: Vec::new(),
        };
        Ok((robot, port))
    }

    /// Begins the streams that are asked for; the last of them, if any.
    fn take_resets(&mut self, seat: usize, engine: &mut Engine) -> Result<Option<u32>> {
        let mut begun = None;
        while let Some(command) = self.resets.try_next() {
            if let Request::Reset { seed } = command.request {
                let stream = command.stamp.stream;
                self.tap
                    .policy_input(Monotonic.now_ns(), &PolicyInput::Reset { stream, seed });
                engine.begin(seat, stream, seed)?;
                self.oddities.reset();
                // The plan of the last stream must not move the robot of this one.
                self.commands.withdraw();
                begun = Some(stream);
            }
        }
        Ok(begun)
    }

    /// Takes what waits into the history; one plan will answer all of it, made for the newest.
    pub(super) fn take_all(&mut self, seat: usize, engine: &mut Engine) -> Result<()> {
        // An observation first: the reset that was sent before it is there by then.
        let first = self.observations.try_next();
        let begun = self.take_resets(seat, engine)?;
        let rest = std::iter::from_fn(|| self.observations.try_next());
        // What comes faster than it can be taken waits for the next turn.
        let rest = rest.take(OBSERVATIONS.messages);
        let waiting: Vec<Arrived> = first.into_iter().chain(rest).collect();
        // A reset that was sent before the last of them is there by now, too.
        let begun = self.take_resets(seat, engine)?.or(begun);
        // Those of the stream before would begin that stream again, and so lose the seed of this one.
        let of_stream = |stamp: &Stamp| begun.is_none_or(|stream| stamp.stream == stream);
        let stamps = waiting.iter().map(|arrived| arrived.observation.stamp);
        let newest = stamps.rev().find(of_stream);
        for arrived in &waiting {
            let stamp = &arrived.observation.stamp;
            let is_taken =
                newest.is_some_and(|newest| of_stream(stamp) && self.is_needed(stamp, &newest));
            if is_taken {
                self.take(arrived, seat, engine)?;
            } else {
                self.tap_observation(arrived);
            }
        }
        self.take_pictures(None);
        Ok(())
    }

    /// Whether an observation that waits is taken. Pictures are costly to look at: of those with pictures none that the policy
    /// will not look back at from the newest.
    fn is_needed(&self, stamp: &Stamp, newest: &Stamp) -> bool {
        let ago_ns = newest.monotonic_ns.saturating_sub(stamp.monotonic_ns);
        self.pictures.is_empty() || stamp.stream != newest.stream || ago_ns <= self.memory_ns
    }

    /// Takes the pictures that have come, in the order of the cameras: those that may belong to an observation, or all.
    fn take_pictures(&mut self, stamp: Option<&Stamp>) {
        for at in 0..self.pictures.len() {
            let (topic, inbox) = &self.pictures[at];
            while !stamp.is_some_and(|stamp| self.cameras.reaches(at, stamp))
                && let Some(picture) = inbox.try_next()
            {
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

    /// Records an observation, at the time at which it is taken.
    fn tap_observation(&self, arrived: &Arrived) {
        self.tap
            .wire(topic::STATE, Monotonic.now_ns(), &arrived.observation);
    }

    /// Takes an observation into the history.
    fn take(&mut self, arrived: &Arrived, seat: usize, engine: &mut Engine) -> Result<()> {
        let Arrived {
            observation,
            arrived_ns,
        } = arrived;
        let arrived_ns = *arrived_ns;
        self.take_pictures(Some(&observation.stamp));
        self.tap_observation(arrived);
        self.tap
            .policy_input(Monotonic.now_ns(), &PolicyInput::Observation { arrived_ns });
        let values = numbers(observation);
        let Stamp {
            stream,
            sequence,
            monotonic_ns: time_ns,
            ..
        } = observation.stamp;
        // Whatever becomes of the observation, the last stream's are not answered any more.
        if engine.follow(seat, stream)? {
            self.oddities.reset();
            self.commands.withdraw();
        }
        let images = match self.cameras.at(&observation.stamp) {
            Ok(images) => images,
            Err(reason) => {
                self.has_pictures.store(false, Ordering::Relaxed);
                self.refuse(&reason);
                return Ok(());
            }
        };
        let sensed = TimedObservation {
            stream,
            sequence,
            time_ns,
            arrived_ns,
            values: &values,
            images: &images,
        };
        let taken = engine.take(seat, &sensed)?;
        if taken == IngestOutcome::Anew {
            tracing::warn!(
                "the robot was started again: its clock and its count began anew; its plan does, too"
            );
            self.oddities.reset();
            self.commands.withdraw();
        }
        match taken {
            IngestOutcome::Valid | IngestOutcome::Anew => {
                self.has_pictures.store(true, Ordering::Relaxed);
                self.signals.observed(arrived_ns);
                self.update(|statistics| statistics.observations += 1);
                for oddity in self.oddities.look(&values) {
                    tracing::warn!("{oddity}");
                }
                self.values = values;
            }
            IngestOutcome::Old(Arrival::Repeated) => {
                self.update(|statistics| statistics.repeated += 1)
            }
            IngestOutcome::Old(_) => self.update(|statistics| statistics.out_of_order += 1),
            IngestOutcome::Refused(reason) => self.refuse(&reason),
        }
        Ok(())
    }

    /// Says that an answer is made of what has been taken until now; said once of each.
    pub(super) fn say_begun(&self, seat: usize, engine: &Engine) {
        if let Some(InferenceRequest { arrived_ns, .. }) = engine.demand(seat, self.deadline_ns)
            && !engine.has_begun(seat)
        {
            let begun = PolicyInput::Answer { arrived_ns };
            self.tap.policy_input(Monotonic.now_ns(), &begun);
        }
    }

    /// Says when the first answer of a stream is handed on: with it the motion begins.
    pub(super) fn say_begins(&self, seat: usize, engine: &Engine, now_ns: u64) {
        if engine.is_at_rest(seat) {
            self.tap
                .policy_input(now_ns, &PolicyInput::Begin { now_ns });
        }
    }

    pub(super) fn publish(&mut self, answer: &ActionChunk, policy: &Policy) -> Result<()> {
        self.sequence += 1;
        let plan = plan_of(answer, &self.values, policy, self.measured.as_deref())?;
        self.commands.publish(&plan)?;
        let taken_ns = Monotonic.now_ns().saturating_sub(answer.arrived_ns);
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
        if let Some(plans) = &mut self.plans {
            plans.publish(&message)?;
        }
        self.tap.wire(topic::PLAN, Monotonic.now_ns(), &message);
        self.snapshot.keep_plan(message.copied());
        let latency_ms = (answer.evaluations > 0).then(|| {
            self.latencies.record(taken_ns);
            (taken_ns as f64 / 1e6, self.latencies.percentiles_ms())
        });
        let InboxCounts {
            malformed, dropped, ..
        } = self.observations.counts();
        let delay = taken_ns / answer.period_ns;
        let is_late = taken_ns > self.deadline_ns;
        self.update(|statistics| {
            statistics.malformed = malformed;
            statistics.dropped = dropped;
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

    pub(super) fn refuse(&self, reason: &str) {
        // Numbers in it make no kind of their own.
        let kind: String = reason.chars().filter(|c| c.is_alphabetic()).collect();
        match self.refusals.count(&kind) {
            Some(1) => tracing::warn!("{reason}"),
            Some(count) => tracing::warn!("{reason} (no. {count} of its kind)"),
            None => {}
        }
        self.update(|statistics| {
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

/// The plan for the control thread that an answer to `observation` is, with where the robot is where `measured` names columns
/// of the observation that say so.
pub fn plan_of(
    answer: &ActionChunk,
    observation: &[f32],
    policy: &Policy,
    measured: Option<&[usize]>,
) -> Result<Plan> {
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
    Ok(match measured {
        Some(columns) => plan.with_measured(columns.iter().map(|&at| observation[at]).collect())?,
        None => plan,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kinestream_bridge::Observation;
    use kinestream_bridge::wire::{Name, Values};
    use kinestream_control::latest_plan;
    use tch::Device;

    use super::*;
    use crate::checkpoint::{self, SHIPPED};

    fn engine() -> Engine {
        let checkpoint = checkpoint::open(Path::new(SHIPPED), Device::Cpu).unwrap();
        Engine::new(Policy::new(checkpoint, Device::Cpu, 1).unwrap()).unwrap()
    }

    fn robot(engine: &Engine) -> (Robot, SensorPort) {
        let (commands, _) = latest_plan(16, 2);
        let seat = Seat {
            link: RobotLink::Program,
            commands,
            signals: Arc::new(ControlInputs::new(Arc::default(), false)),
            tap: RecordSink::off(),
            snapshot: Arc::default(),
            deadline_ns: 0,
            measured: None,
        };
        let policy = engine.policy();
        let cameras = Cameras::of(policy, None);
        let joined = Robot::join(seat, policy, cameras, false, &Notifier::default());
        let (robot, port) = joined.unwrap();
        (robot, port.unwrap())
    }

    fn stamp(stream: u32, sequence: u64) -> Stamp {
        Stamp {
            sequence,
            monotonic_ns: 1_000_000_000 + 100_000_000 * sequence,
            wall_ns: 0,
            stream,
        }
    }

    fn observation(stream: u32, sequence: u64) -> Observation {
        let numbers = (0..20).map(|at| 250.0 + f64::from(at)).collect();
        Observation {
            stamp: stamp(stream, sequence),
            name: Name::new("state").unwrap(),
            values: Values::F64(numbers),
        }
    }

    fn reset(stream: u32, seed: u64) -> Command {
        Command {
            stamp: stamp(stream, 0),
            request: Request::Reset { seed },
        }
    }

    fn first_plan(robot: &mut Robot, engine: &mut Engine) -> ActionChunk {
        robot.take_all(0, engine).unwrap();
        while engine.owed(0) > 0 {
            engine.refine(&[0]).unwrap();
        }
        engine.read(0, 5_000_000_000).unwrap().unwrap()
    }

    #[test]
    fn a_reset_keeps_its_seed_while_observations_of_the_stream_before_wait() {
        let mut plans = Vec::new();
        for waits in [false, true] {
            let mut engine = engine();
            let (mut robot, port) = robot(&engine);
            if waits {
                port.observe(observation(1, 1));
                port.observe(observation(1, 2));
            }
            port.command(reset(2, 77));
            port.observe(observation(2, 1));
            let plan = first_plan(&mut robot, &mut engine);
            assert_eq!(plan.stream, 2);
            plans.push(plan.actions);
        }
        assert_eq!(plans[0], plans[1]);
        // Those of the stream before alone begin nothing.
        let mut engine = engine();
        let (mut robot, port) = robot(&engine);
        port.observe(observation(1, 1));
        port.command(reset(2, 77));
        robot.take_all(0, &mut engine).unwrap();
        assert_eq!(engine.stream(0), 2);
        port.observe(observation(2, 1));
        let plan = first_plan(&mut robot, &mut engine);
        assert_eq!(plan.actions, plans[0]);
    }
}
