//! The fault matrix, in virtual time: for every fault the rung of the ladder it leads to, the
//! longest time without a command on a plan, and commands that never leave the limits.
//!
//! Everything but clock and threads is real: the shipped policy, the order of arrival, the hand-off,
//! watchdog, interpolation and limits, and Push-T as the robot. Control runs at 500 Hz, the policy
//! at 10 Hz, an evaluation takes 5 ms of virtual time.
use std::collections::VecDeque;
use std::path::Path;

use kinestream_control::{
    Controller, ControllerConfig, HealthInputs, Interpolation, LimitsConfig, PerJoint, Plan,
    PlanHeader, PlanReader, PlanWriter, SafetyReason, SafetyState, TickInputs, TickOutput,
    WatchdogConfig, latest_plan,
};
use kinestream_diffusion::Execution;
use kinestream_policy::engine::{ActionChunk, IngestOutcome, TimedObservation};
use kinestream_policy::{Checkpoint, Engine, Policy};
use kinestream_sim::pusht::PushT;
use tch::Device;

const MS: u64 = 1_000_000;
/// Of the control loop.
const PERIOD: u64 = 2 * MS;
/// Where time begins: clocks do not begin at 0.
const START: u64 = 5_000 * MS;
/// When the fault begins, and when it ends if it does.
const FAULT: u64 = START + 2_100 * MS;
const FOREVER: u64 = u64::MAX;
/// When an emergency stop comes in the cases that have one: during the fault.
const STOP: u64 = FAULT + 30 * MS;
const REARM: u64 = START + 5_000 * MS;
const END: u64 = START + 8_000 * MS;

const BOX: [f64; 2] = [0.0, 512.0];
const VELOCITY: f64 = 600.0;
const ACCELERATION: f64 = 6_000.0;
const JERK: f64 = 200_000.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// An answer takes this long.
    PolicyStalls(u64),
    PolicyPanics,
    /// The network returns NaN for this long.
    NotANumber(u64),
    /// Observations take this long to arrive.
    ObservationsLate(u64),
    ObservationsTwice,
    /// Each pair arrives in the wrong order.
    ObservationsSwapped,
    /// For this long nothing arrives.
    ObservationsMissing(u64),
    /// Observations are NaN for this long.
    ObservationsNotANumber(u64),
    /// The robot's clock steps by this many milliseconds.
    ClockSteps(i64),
    /// The publisher takes no command for this long.
    PublisherBlocked(u64),
    /// Nobody receives commands for this long.
    SessionLost(u64),
    /// The control thread is not run for this long.
    ControlStalls(u64),
}

/// An observation under way.
struct Message {
    arrives_ns: u64,
    sequence: u64,
    stamp_ns: u64,
    values: Vec<f32>,
}

struct World {
    fault: Fault,
    stops: bool,
    robot: PushT,
    target: [f64; 2],
    sequence: u64,
    under_way: VecDeque<Message>,
    inbox: VecDeque<Message>,
    engine: Engine,
    /// When the policy thread is done, and with what.
    busy: Option<(u64, Option<Plan>)>,
    observation_ns: u64,
    plans: PlanWriter,
    reader: PlanReader,
    controller: Controller,
    sender: rtrb::Producer<[f64; 2]>,
    receiver: rtrb::Consumer<[f64; 2]>,
    dropped: u64,
    index: u64,
    commands: Vec<[f64; 2]>,
    outputs: Vec<(u64, TickOutput)>,
}

impl World {
    fn new(fault: Fault, stops: bool) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pusht-state");
        let checkpoint = Checkpoint::load(&folder, Device::Cpu).unwrap();
        // As `run` does it: with LibTorch's threads, two tests beside each other take minutes on two cores.
        tch::set_num_threads(1);
        let policy = Policy::executed(checkpoint, Device::Cpu, 1, Execution::auto(1)).unwrap();
        let mut engine = Engine::new(policy).unwrap();
        engine.begin(0, 1, 7).unwrap();
        let config = ControllerConfig {
            interpolation: Interpolation::Linear.into(),
            limits: LimitsConfig {
                lower: Some(PerJoint::All(BOX[0])),
                upper: Some(PerJoint::All(BOX[1])),
                velocity: Some(PerJoint::All(VELOCITY)),
                acceleration: Some(PerJoint::All(ACCELERATION)),
                jerk: Some(PerJoint::All(JERK)),
                ..LimitsConfig::default()
            },
            watchdog: WatchdogConfig {
                observation_timeout_ms: 350.0,
                plan_timeout_ms: 350.0,
                safe_stop_after_ms: 1000.0,
                ..WatchdogConfig::default()
            },
            ..ControllerConfig::default()
        };
        let (plans, reader) = latest_plan(16, 2);
        let (sender, receiver) = rtrb::RingBuffer::new(64);
        let mut robot = PushT::new();
        robot.reset(100_003);
        Self {
            fault,
            stops,
            target: robot.state().agent_position,
            robot,
            sequence: 0,
            under_way: VecDeque::new(),
            inbox: VecDeque::new(),
            engine,
            busy: None,
            observation_ns: 0,
            plans,
            reader,
            controller: Controller::new(&config, 2, PERIOD).unwrap(),
            sender,
            receiver,
            dropped: 0,
            index: 0,
            commands: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn run(mut self) -> Self {
        for now in (START..END).step_by(MS as usize) {
            let since = now - START;
            if since.is_multiple_of(100 * MS) {
                self.observe(now);
            }
            self.deliver(now);
            self.think(now);
            if since.is_multiple_of(PERIOD) && !self.control_is_stalled(now) {
                self.tick(now);
            }
            self.publish(now);
            if since.is_multiple_of(10 * MS) {
                self.robot.physics_step(self.target).unwrap();
            }
        }
        self
    }

    /// Whether a fault that lasts `duration` is on.
    fn lasts(now: u64, duration: u64) -> bool {
        now >= FAULT && now - FAULT < duration
    }

    fn control_is_stalled(&self, now: u64) -> bool {
        matches!(self.fault, Fault::ControlStalls(duration) if Self::lasts(now, duration))
    }

    fn observe(&mut self, now: u64) {
        self.sequence += 1;
        let faulty = now >= FAULT;
        let mut message = Message {
            arrives_ns: now,
            sequence: self.sequence,
            stamp_ns: now,
            values: self.robot.observation().map(|value| value as f32).to_vec(),
        };
        match self.fault {
            Fault::ObservationsLate(delay) if faulty => message.arrives_ns += delay,
            Fault::ObservationsSwapped if faulty && self.sequence.is_multiple_of(2) => {
                message.arrives_ns += 101 * MS;
            }
            Fault::ObservationsMissing(duration) if Self::lasts(now, duration) => return,
            Fault::ObservationsNotANumber(duration) if Self::lasts(now, duration) => {
                message.values[3] = f32::NAN;
            }
            Fault::ClockSteps(ms) if faulty => {
                message.stamp_ns = message.stamp_ns.saturating_add_signed(ms * MS as i64);
            }
            Fault::ObservationsTwice if faulty => self.under_way.push_back(Message {
                values: message.values.clone(),
                arrives_ns: now + 40 * MS,
                ..message
            }),
            _ => {}
        }
        self.under_way.push_back(message);
    }

    fn deliver(&mut self, now: u64) {
        let (arrived, under_way) = self
            .under_way
            .drain(..)
            .partition(|message| message.arrives_ns <= now);
        self.under_way = under_way;
        let arrived: VecDeque<Message> = arrived;
        self.inbox.extend(arrived);
    }

    /// The policy thread: one thing at a time, only the newest observation is answered.
    fn think(&mut self, now: u64) {
        if self.busy.as_ref().is_some_and(|(done, _)| *done > now) {
            return;
        }
        if let Some((_, Some(plan))) = self.busy.take() {
            self.plans.publish(&plan).unwrap();
        }
        if self.fault == Fault::PolicyPanics && now >= FAULT {
            return;
        }
        let mut valid = false;
        let mut measured = Vec::new();
        while let Some(message) = self.inbox.pop_front() {
            let taken = self.engine.take(
                0,
                &TimedObservation {
                    stream: 1,
                    sequence: message.sequence,
                    time_ns: message.stamp_ns,
                    arrived_ns: now,
                    values: &message.values,
                    images: &[],
                },
            );
            // What is refused or old is not answered; what came before it still is.
            if taken.unwrap() == IngestOutcome::Valid {
                valid = true;
                self.observation_ns = now;
                measured = message.values[18..20].to_vec();
            }
        }
        if !valid {
            return;
        }
        let answer = self.engine.answer(&[0]).unwrap().pop().unwrap();
        let (mut takes, mut plan) = (5 * MS, answer.map(|answer| plan_of(&answer, measured)));
        match self.fault {
            Fault::PolicyStalls(duration) if now == FAULT => takes = duration,
            // What the engine answers then, as its own tests show.
            Fault::NotANumber(duration) if Self::lasts(now, duration) => plan = None,
            _ => {}
        }
        self.busy = Some((now.saturating_add(takes), plan));
    }

    fn tick(&mut self, now: u64) {
        let rearms = u64::from(self.stops && now >= REARM);
        let inputs = TickInputs {
            index: self.index,
            deadline_ns: now,
            now_ns: now,
            facts: HealthInputs {
                observation_ns: self.observation_ns,
                policy_alive: self.fault != Fault::PolicyPanics || now < FAULT,
                session_alive: !matches!(
                    self.fault,
                    Fault::SessionLost(duration) if Self::lasts(now, duration)
                ),
                stop_requests: u64::from(self.stops && now >= STOP),
                rearm_requests: rearms,
                ..HealthInputs::default()
            },
        };
        self.index += 1;
        let output = self.controller.tick(&inputs, self.reader.latest());
        if output.publish {
            let command = [self.controller.command()[0], self.controller.command()[1]];
            self.commands.push(command);
            self.dropped += u64::from(self.sender.push(command).is_err());
        }
        self.outputs.push((now, output));
    }

    fn publish(&mut self, now: u64) {
        let blocked = match self.fault {
            Fault::PublisherBlocked(duration) | Fault::SessionLost(duration) => {
                Self::lasts(now, duration)
            }
            _ => false,
        };
        while !blocked && let Ok(command) = self.receiver.pop() {
            self.target = command;
        }
    }

    /// The rungs in the order in which they were entered.
    fn rungs(&self) -> Vec<SafetyState> {
        let mut rungs: Vec<SafetyState> =
            self.outputs.iter().map(|(_, output)| output.rung).collect();
        rungs.dedup();
        rungs
    }

    /// The first moment at which a rung was entered after the fault, in milliseconds from it.
    fn entered_ms(&self, rung: SafetyState) -> Option<u64> {
        let mut outputs = self.outputs.iter();
        let found = outputs.find(|(now, output)| *now >= FAULT && output.rung == rung);
        found.map(|(now, _)| (now - FAULT) / MS)
    }

    fn causes(&self, rung: SafetyState) -> Vec<SafetyReason> {
        let on_rung = self
            .outputs
            .iter()
            .filter(|(_, output)| output.rung == rung);
        let mut causes: Vec<SafetyReason> = on_rung.map(|(_, output)| output.cause).collect();
        causes.dedup();
        causes
    }

    fn longest_without_ms(&self) -> u64 {
        self.controller.supervisor().longest_without_ns() / MS
    }

    /// No command leaves the limits, whatever happened.
    fn check_limits(&self) {
        let dt = PERIOD as f64 / 1e9;
        for axis in 0..2 {
            let path: Vec<f64> = self.commands.iter().map(|command| command[axis]).collect();
            assert!(path.iter().all(|at| (BOX[0]..=BOX[1]).contains(at)));
            let mut differences = path;
            for (limit, name) in [
                (VELOCITY, "velocity"),
                (ACCELERATION, "acceleration"),
                (JERK, "jerk"),
            ] {
                differences = differences
                    .windows(2)
                    .map(|pair| (pair[1] - pair[0]) / dt)
                    .collect();
                let largest = differences
                    .iter()
                    .fold(0.0_f64, |most, value| most.max(value.abs()));
                assert!(
                    largest <= limit * (1.0 + 1e-6),
                    "{name} {largest} of {limit}"
                );
            }
        }
    }
}

fn plan_of(answer: &ActionChunk, measured: Vec<f32>) -> Plan {
    let header = PlanHeader {
        stream: answer.stream,
        chunk: answer.chunk,
        observation_sequence: answer.observation_sequence,
        start_ns: answer.start_ns,
        period_ns: answer.period_ns,
        action_size: 2,
        committed: answer.committed,
    };
    let plan = Plan::new(header, answer.actions.clone()).unwrap();
    plan.with_measured(measured).unwrap()
}

use SafetyState::{Continuing, EmergencyStop, Holding, Running, SafeStop, Waiting};

/// What a fault does: the rungs after waiting, the cause of the worst, and bounds on the longest
/// time without a command on a plan, in milliseconds.
struct Expected {
    fault: Fault,
    rungs: &'static [SafetyState],
    cause: SafetyReason,
    longest_ms: std::ops::RangeInclusive<u64>,
}

const NEVER: std::ops::RangeInclusive<u64> = 0..=2;

#[rustfmt::skip]
fn matrix() -> Vec<Expected> {
    let row = |fault, rungs, cause, longest_ms| Expected { fault, rungs, cause, longest_ms };
    vec![
        row(Fault::None, &[Running], SafetyReason::None, NEVER),
        row(Fault::PolicyStalls(50 * MS), &[Running], SafetyReason::None, NEVER),
        row(Fault::PolicyStalls(500 * MS), &[Running, Holding, Running], SafetyReason::StaleObservation, 200..=212),
        row(Fault::PolicyStalls(FOREVER), &[Running, Holding, SafeStop], SafetyReason::StaleObservation, 1000..=1004),
        row(Fault::PolicyPanics, &[Running, Holding, SafeStop], SafetyReason::PolicyThread, 1000..=1004),
        row(Fault::NotANumber(200 * MS), &[Running], SafetyReason::None, NEVER),
        row(Fault::NotANumber(600 * MS), &[Running, Holding, Running], SafetyReason::LatePlan, 200..=362),
        row(Fault::NotANumber(FOREVER), &[Running, Holding, SafeStop], SafetyReason::LatePlan, 1000..=1004),
        row(Fault::ObservationsLate(150 * MS), &[Running], SafetyReason::None, NEVER),
        row(Fault::ObservationsLate(450 * MS), &[Running, Holding, Running], SafetyReason::StaleObservation, 200..=212),
        row(Fault::ObservationsTwice, &[Running], SafetyReason::None, NEVER),
        row(Fault::ObservationsSwapped, &[Running], SafetyReason::None, NEVER),
        row(Fault::ObservationsMissing(200 * MS), &[Running], SafetyReason::None, NEVER),
        row(Fault::ObservationsMissing(900 * MS), &[Running, Holding, Running], SafetyReason::StaleObservation, 650..=662),
        row(Fault::ObservationsMissing(FOREVER), &[Running, Holding, SafeStop], SafetyReason::StaleObservation, 1000..=1004),
        row(Fault::ObservationsNotANumber(900 * MS), &[Running, Holding, Running], SafetyReason::StaleObservation, 650..=662),
        row(Fault::ClockSteps(3_600_000), &[Running], SafetyReason::None, NEVER),
        row(Fault::ClockSteps(-3_600_000), &[Running], SafetyReason::None, NEVER),
        row(Fault::PublisherBlocked(500 * MS), &[Running], SafetyReason::None, NEVER),
        row(Fault::SessionLost(500 * MS), &[Running, Holding, Running], SafetyReason::Session, 500..=504),
        row(Fault::SessionLost(FOREVER), &[Running, Holding, SafeStop], SafetyReason::Session, 1000..=1004),
        row(Fault::ControlStalls(100 * MS), &[Running], SafetyReason::None, 100..=104),
    ]
}

/// `-- --nocapture` prints the table of docs/SAFETY.md.
#[test]
fn every_fault_leads_to_its_rung() {
    let mut wrong = Vec::new();
    for expected in matrix() {
        let world = World::new(expected.fault, false).run();
        let rungs = world.rungs();
        assert_eq!(rungs[0], Waiting);
        // The tail of the plan may be followed on the way, depending on where in it the fault fell.
        let found: Vec<SafetyState> = rungs[1..].to_vec();
        let ladder: Vec<SafetyState> = found
            .iter()
            .copied()
            .filter(|rung| *rung != Continuing)
            .collect();
        let worst = ladder.iter().copied().max().unwrap();
        let (causes, longest) = (world.causes(worst), world.longest_without_ms());
        println!("| {:?} | {found:?} | {longest} |", expected.fault);
        if ladder != expected.rungs
            || !causes.contains(&expected.cause)
            || !expected.longest_ms.contains(&longest)
        {
            wrong.push((expected.fault, found, causes, longest));
        }
        world.check_limits();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_emergency_stop_works_during_every_fault() {
    for Expected { fault, rungs, .. } in matrix() {
        let world = World::new(fault, true).run();
        let entered = world.entered_ms(EmergencyStop).unwrap();
        // At once; a control thread that is not run cannot stop before it runs again.
        let allowed = match fault {
            Fault::ControlStalls(duration) => duration / MS..=duration / MS,
            _ => 30..=30,
        };
        assert!(allowed.contains(&entered), "{fault:?}: {entered} ms");
        let stopped: Vec<&(u64, TickOutput)> = world
            .outputs
            .iter()
            .filter(|(now, _)| (STOP..REARM).contains(now))
            .collect();
        let stopped: Vec<&TickOutput> = stopped.iter().map(|(_, output)| output).collect();
        assert!(stopped.iter().all(|output| output.rung == EmergencyStop));
        // From at most 600 px/s at 6000 px/s2 and 200,000 px/s3.
        let rest = stopped.iter().position(|output| output.at_rest).unwrap();
        assert!(
            rest as u64 * PERIOD <= 300 * MS,
            "{fault:?}: at rest after {rest} periods"
        );
        assert!(stopped[rest..].iter().all(|output| output.at_rest));
        // It is left by the request, and then only where the fault is over.
        let last = world.outputs.last().unwrap().1.rung;
        let well = *rungs.last().unwrap() == Running;
        assert_eq!(last, if well { Running } else { Waiting }, "{fault:?}");
        world.check_limits();
    }
}

#[test]
fn what_comes_twice_changes_no_command() {
    let plain = World::new(Fault::None, false).run();
    let twice = World::new(Fault::ObservationsTwice, false).run();
    assert_eq!(plain.commands, twice.commands);
    assert!(plain.commands.len() > 3900);
}

#[test]
fn a_blocked_publisher_costs_commands_and_nothing_else() {
    let world = World::new(Fault::PublisherBlocked(500 * MS), false).run();
    // 250 periods, of which the last comes before the publisher in its millisecond, less the ring.
    assert_eq!(world.dropped, 251 - 64);
    assert_eq!(world.outputs.len() as u64, (END - START) / PERIOD);
}
