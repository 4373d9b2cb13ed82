use super::*;
use crate::curve::Interpolation;
use crate::limits::PerJoint;
use crate::timeline::PlanHeader;

const MS: u64 = 1_000_000;
const PERIOD: u64 = 2 * MS;
const START: u64 = 1_000 * MS;

fn controller() -> Controller {
    let all = |limit| Some(PerJoint::All(limit));
    let config = ControllerConfig {
        limits: LimitsConfig {
            lower: all(0.0),
            upper: all(100.0),
            velocity: all(50.0),
            acceleration: all(500.0),
            jerk: all(20_000.0),
            ..LimitsConfig::default()
        },
        ..ControllerConfig::default()
    };
    Controller::new(&config, 1, PERIOD).unwrap()
}

fn plan(stream: u32, start_ns: u64, to: f32, measured: f32) -> Plan {
    let header = PlanHeader {
        stream,
        chunk: start_ns,
        observation_sequence: 1,
        start_ns,
        period_ns: 100 * MS,
        action_size: 1,
        committed: 4,
    };
    let plan = Plan::new(header, vec![to; 8]).unwrap();
    plan.with_measured(vec![measured]).unwrap()
}

fn inputs(now_ns: u64) -> TickInputs {
    TickInputs {
        index: now_ns / PERIOD,
        deadline_ns: now_ns,
        now_ns,
        facts: HealthInputs {
            observation_ns: START,
            policy_alive: true,
            session_alive: true,
            ..HealthInputs::default()
        },
    }
}

#[test]
fn nothing_is_said_before_the_first_plan() {
    let mut controller = controller();
    let output = controller.tick(&inputs(START), None);
    assert_eq!((output.rung, output.publish), (SafetyState::Waiting, false));
    assert_eq!(output.cause, SafetyReason::NoPlan);
    assert!(output.at_rest);
}

#[test]
fn a_motion_begins_where_the_robot_is() {
    let mut controller = controller();
    let plan = plan(1, START, 90.0, 40.0);
    let output = controller.tick(&inputs(START), Some(&plan));
    assert_eq!((output.rung, output.publish), (SafetyState::Running, true));
    assert!(!output.interventions.is_empty());
    assert!((controller.command()[0] - 40.0).abs() < 1e-3);
    for tick in 1..150 {
        controller.tick(&inputs(START + tick * PERIOD), Some(&plan));
    }
    let travelled = controller.command()[0] - 40.0;
    assert!((1.0..=50.0 * 0.3).contains(&travelled), "{travelled}");
}

#[test]
fn a_robot_outside_its_limits_is_not_moved() {
    let mut controller = controller();
    for measured in [-1.0, 101.0] {
        let output = controller.tick(&inputs(START), Some(&plan(1, START, 50.0, measured)));
        assert_eq!((output.rung, output.publish), (SafetyState::Waiting, false));
        assert_eq!(output.cause, SafetyReason::OutsideLimits);
    }
    let output = controller.tick(&inputs(START), Some(&plan(1, START, 50.0, 50.0)));
    assert_eq!(output.rung, SafetyState::Running);
}

#[test]
fn a_new_stream_waits_until_the_last_one_rests() {
    let mut controller = controller();
    let first = plan(1, START, 90.0, 10.0);
    for tick in 0..100 {
        controller.tick(&inputs(START + tick * PERIOD), Some(&first));
    }
    let mut last = controller.command()[0];
    let mut waited = 0;
    loop {
        let now_ns = START + 200 * MS + waited * PERIOD;
        let mut inputs = inputs(now_ns);
        inputs.facts.observation_ns = now_ns;
        let second = plan(2, now_ns, 20.0, 15.0);
        let output = controller.tick(&inputs, Some(&second));
        let command = controller.command()[0];
        // No command leaps, the first of the new motion included.
        assert!((command - last).abs() <= 50.0 * 0.002 + 1e-9);
        if output.stream == 2 {
            // From where the robot was measured.
            assert!((command - 15.0).abs() < 0.2, "{command}");
            assert!(!output.between_motions);
            break;
        }
        assert_eq!(output.stream, 1);
        assert!(output.between_motions);
        last = command;
        waited += 1;
        assert!(waited < 2000, "never began");
    }
    assert!(waited > 10, "{waited}");
}

#[test]
fn another_action_size_is_no_plan() {
    let mut controller = controller();
    let wide = PlanHeader {
        action_size: 2,
        ..*plan(1, START, 1.0, 1.0).header()
    };
    let wide = Plan::new(wide, vec![0.0; 8]).unwrap();
    let output = controller.tick(&inputs(START), Some(&wide));
    assert_eq!(
        (output.rung, output.cause),
        (SafetyState::Waiting, SafetyReason::NoPlan)
    );
}

/// Limits, motions and faults at random: no command leaves the limits, whatever comes.
mod any_motion {
    use super::*;
    use crate::supervisor::Activity;
    use proptest::prelude::*;
    use proptest::test_runner::{RngSeed, TestRunner};
    use std::cell::Cell;

    /// What the cases went through.
    #[derive(Debug, Clone, Copy, Default)]
    struct Seen {
        commands: u64,
        /// Changes of stream among the commands.
        motions: u64,
        /// Commands between motions.
        approaches: u64,
        /// Commands on the way home.
        homes: u64,
    }

    impl Seen {
        fn and(self, other: Self) -> Self {
            Self {
                commands: self.commands + other.commands,
                motions: self.motions + other.motions,
                approaches: self.approaches + other.approaches,
                homes: self.homes + other.homes,
            }
        }
    }

    /// Something that happens before some periods.
    #[derive(Debug, Clone)]
    enum Event {
        /// The policy answers: the stream moves on by so many, the plan began so long ago, its actions and where the robot is
        /// measured, each within the box where `within`.
        Plan {
            streams_on: u32,
            age_ms: u64,
            actions: [f64; 4],
            measured: Option<[f64; 2]>,
        },
        /// The plan is taken back, as at a reset.
        Withdraw,
        Stop,
        Rearm,
        Activity(Activity),
        /// Periods in which the control thread did not run.
        Stall(u64),
        PolicyAlive(bool),
        SessionAlive(bool),
        RobotGone(bool),
        TwinRuntime(bool),
        /// No observation arrives from now on, or they do again.
        Silence(bool),
        Ending,
    }

    #[derive(Debug, Clone)]
    struct Case {
        period_ns: u64,
        interpolation: Interpolation,
        velocity: Option<f64>,
        acceleration: Option<f64>,
        jerk: Option<f64>,
        farthest: Option<f64>,
        events: Vec<(Event, u64)>,
    }

    fn event() -> impl Strategy<Value = Event> {
        let place = -1.2..1.2f64;
        let plan = (
            0..2u32,
            0..900u64,
            prop::array::uniform4(place.clone()),
            prop::option::weighted(0.95, prop::array::uniform2(-1.02..1.02f64)),
        )
            .prop_map(|(streams_on, age_ms, actions, measured)| Event::Plan {
                streams_on,
                age_ms,
                actions,
                measured,
            });
        prop_oneof![
            10 => plan,
            1 => Just(Event::Withdraw),
            1 => Just(Event::Stop),
            2 => Just(Event::Rearm),
            2 => prop_oneof![Just(Activity::Policy), Just(Activity::Pause), Just(Activity::Home)]
                .prop_map(Event::Activity),
            1 => (1..50u64).prop_map(Event::Stall),
            1 => any::<bool>().prop_map(Event::PolicyAlive),
            1 => any::<bool>().prop_map(Event::SessionAlive),
            1 => any::<bool>().prop_map(Event::RobotGone),
            1 => prop::bool::weighted(0.2).prop_map(Event::TwinRuntime),
            1 => any::<bool>().prop_map(Event::Silence),
            1 => prop::bool::weighted(0.1).prop_map(|ends| match ends {
                true => Event::Ending,
                false => Event::Rearm,
            }),
        ]
    }

    fn case() -> impl Strategy<Value = Case> {
        let limit = |range: std::ops::Range<f64>| prop::option::weighted(0.8, range);
        (
            prop_oneof![Just(MS), Just(2 * MS), Just(10 * MS), Just(33 * MS)],
            prop_oneof![
                Just(Interpolation::Hold),
                Just(Interpolation::Linear),
                Just(Interpolation::Cubic)
            ],
            limit(0.05..50.0),
            limit(0.5..500.0),
            limit(10.0..50_000.0),
            prop::option::weighted(0.3, 0.05..2.0f64),
            prop::collection::vec((event(), 1..160u64), 1..20),
        )
            .prop_map(
                |(period_ns, interpolation, velocity, acceleration, jerk, farthest, events)| {
                    // One needs the other.
                    let acceleration = acceleration.filter(|_| velocity.is_some());
                    let jerk = jerk.filter(|_| acceleration.is_some());
                    Case {
                        period_ns,
                        interpolation,
                        velocity,
                        acceleration,
                        jerk,
                        farthest,
                        events,
                    }
                },
            )
    }

    /// What was commanded, and the differences that follow from it.
    #[derive(Default)]
    struct Track {
        last: Vec<[f64; 2]>,
    }

    impl Track {
        /// Checks a command against those before it; before the first stands where the robot was measured.
        fn take(&mut self, case: &Case, measured: [f64; 2], command: [f64; 2]) {
            if self.last.is_empty() {
                self.last = vec![measured; 3];
            }
            let seconds = case.period_ns as f64 * 1e-9;
            for (joint, &d) in command.iter().enumerate() {
                let [a, b, c] = [0, 1, 2].map(|at| self.last[self.last.len() - 3 + at][joint]);
                assert!(d.is_finite() && d.abs() <= 1.0 + 1e-12, "box: {d}");
                for (order, limit, difference) in [
                    (1, case.velocity, d - c),
                    (2, case.acceleration, d - 2.0 * c + b),
                    (3, case.jerk, d - 3.0 * c + 3.0 * b - a),
                ] {
                    let Some(limit) = limit else { continue };
                    let rate = difference.abs() / seconds.powi(order);
                    let rounding = f64::from(1 << (order + 2)) * 2.3e-16 / seconds.powi(order);
                    assert!(
                        rate <= limit * (1.0 + 1e-9) + rounding,
                        "order {order}, joint {joint}: {rate} of {limit}, commands {a} {b} {c} {d}"
                    );
                }
            }
            self.last.push(command);
        }
    }

    fn run(case: &Case) -> Seen {
        let (mut seen, mut followed) = (Seen::default(), None);
        let all = |limit: Option<f64>| limit.map(PerJoint::All);
        let config = ControllerConfig {
            interpolation: case.interpolation.into(),
            limits: LimitsConfig {
                lower: Some(PerJoint::All(-1.0)),
                upper: Some(PerJoint::All(1.0)),
                velocity: all(case.velocity),
                acceleration: all(case.acceleration),
                jerk: all(case.jerk),
                ..LimitsConfig::default()
            },
            start: StartConfig {
                from: Some(StartFrom::Measured),
                farthest: all(case.farthest),
                ..StartConfig::default()
            },
            home: case.velocity.map(|_| vec![0.3, -0.4]).unwrap_or_default(),
            ..ControllerConfig::default()
        };
        let mut controller = Controller::new(&config, 2, case.period_ns).unwrap();
        let mut facts = HealthInputs {
            policy_alive: true,
            session_alive: true,
            ..HealthInputs::default()
        };
        let (mut now_ns, mut stream, mut chunk) = (START, 1, 0);
        let (mut plan, mut silent) = (None, false);
        let mut track = Track::default();
        for (event, periods) in &case.events {
            match event {
                Event::Plan {
                    streams_on,
                    age_ms,
                    actions,
                    measured,
                } => {
                    stream += streams_on;
                    chunk += 1;
                    let header = PlanHeader {
                        stream,
                        chunk,
                        observation_sequence: chunk,
                        start_ns: now_ns - age_ms * MS,
                        period_ns: 100 * MS,
                        action_size: 2,
                        committed: 2,
                    };
                    let made = Plan::new(header, actions.map(|value| value as f32).to_vec());
                    let made = made.unwrap();
                    plan = Some(match measured {
                        Some(at) => made
                            .with_measured(at.map(|value| value as f32).to_vec())
                            .unwrap(),
                        None => made,
                    });
                }
                Event::Withdraw => plan = None,
                Event::Stop => facts.stop_requests += 1,
                Event::Rearm => facts.rearm_requests += 1,
                Event::Activity(activity) => facts.activity = *activity,
                Event::Stall(missed) => now_ns += missed * case.period_ns,
                Event::PolicyAlive(alive) => facts.policy_alive = *alive,
                Event::SessionAlive(alive) => facts.session_alive = *alive,
                Event::RobotGone(gone) => facts.robot_gone = *gone,
                Event::TwinRuntime(twin) => facts.twin_runtime = *twin,
                Event::Silence(on) => silent = *on,
                Event::Ending => facts.ending = true,
            }
            for _ in 0..*periods {
                now_ns += case.period_ns;
                if !silent {
                    facts.observation_ns = now_ns;
                }
                let inputs = TickInputs {
                    index: now_ns / case.period_ns,
                    deadline_ns: now_ns,
                    now_ns,
                    facts,
                };
                let output = controller.tick(&inputs, plan.as_ref());
                if output.publish {
                    seen.commands += 1;
                    seen.approaches += u64::from(output.between_motions);
                    seen.homes += u64::from(output.cause == SafetyReason::Homing);
                    seen.motions += u64::from(followed.is_some_and(|last| last != output.stream));
                    followed = Some(output.stream);
                    // The first command belongs to a plan that says where the robot is.
                    let measured = plan.as_ref().and_then(|plan| plan.measured());
                    let measured = match (&track.last[..], measured) {
                        ([], Some(at)) => [0, 1].map(|joint| f64::from(at[joint])),
                        ([], None) => panic!("a command before a measured position"),
                        _ => [0.0; 2],
                    };
                    let command = controller.command();
                    track.take(case, measured, [command[0], command[1]]);
                }
                if facts.stop_requests > 0
                    && output.rung == SafetyState::EmergencyStop
                    && output.at_rest
                {
                    let last = &track.last;
                    let moved = last.len() > 1 && last[last.len() - 1] != last[last.len() - 2];
                    let again = controller.tick(&inputs, plan.as_ref());
                    assert!(again.at_rest || moved);
                    if again.publish {
                        let command = controller.command();
                        track.take(case, [0.0; 2], [command[0], command[1]]);
                    }
                }
            }
        }
        seen
    }

    #[test]
    fn no_command_leaves_the_limits() {
        let mut runner = TestRunner::new(ProptestConfig {
            rng_seed: RngSeed::Fixed(20),
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let seen = Cell::new(Seen::default());
        let result = runner.run(&case(), |case| {
            seen.set(seen.get().and(run(&case)));
            Ok(())
        });
        result.unwrap();
        // The cases get somewhere: a property of nothing would hold too.
        let Seen {
            commands,
            motions,
            approaches,
            homes,
        } = seen.get();
        let all = format!("{commands} {motions} {approaches} {homes}");
        assert!(commands > 3_000_000, "{all}");
        assert!(motions > 1_000, "{all}");
        assert!(approaches > 20_000, "{approaches}");
        assert!(homes > 20_000, "{homes}");
    }
}

/// The least turned angle, of commands that go through rows of a rotation vector and a gripper, and the grippers commanded.
fn turned_and_gripped(interpolation: Interpolation) -> (f64, Vec<f64>) {
    // The same orientation by two vectors, in turns, and a gripper that opens and closes.
    let rows: Vec<f32> = (0..8_u8)
        .flat_map(|row| match row % 2 {
            0 => [3.1, 0.0, 0.0, 0.0],
            _ => [3.1 - std::f32::consts::TAU, 0.0, 0.0, 1.0],
        })
        .collect();
    let config = ControllerConfig {
        interpolation: InterpolationConfig::Each(vec![
            interpolation,
            interpolation,
            interpolation,
            Interpolation::Hold,
        ]),
        orientations: vec![OrientationColumns::RotationVector([0, 1, 2])],
        limits: LimitsConfig {
            angular_velocity: Some(2.0),
            ..LimitsConfig::default()
        },
        ..ControllerConfig::default()
    };
    let mut controller = Controller::new(&config, 4, 10_000_000).unwrap();
    let header = PlanHeader {
        stream: 0,
        chunk: 0,
        observation_sequence: 0,
        start_ns: 1_000_000_000,
        period_ns: 100_000_000,
        action_size: 4,
        committed: 8,
    };
    let plan = Plan::new(header, rows).unwrap();
    let (mut least, mut gripped) = (f64::INFINITY, Vec::new());
    for index in 0..80 {
        let now_ns = 1_000_000_000 + index * 10_000_000;
        let inputs = TickInputs {
            index,
            deadline_ns: now_ns,
            now_ns,
            facts: HealthInputs {
                observation_ns: now_ns,
                policy_alive: true,
                session_alive: true,
                ..HealthInputs::default()
            },
        };
        controller.tick(&inputs, Some(&plan));
        let command = controller.command();
        least = least.min(command[0].abs());
        gripped.push(command[3]);
    }
    (least, gripped)
}

#[test]
fn an_orientation_said_in_two_ways_is_no_turn_and_a_gripper_is_open_or_closed() {
    for interpolation in [
        Interpolation::Hold,
        Interpolation::Linear,
        Interpolation::Cubic,
    ] {
        let (least, gripped) = turned_and_gripped(interpolation);
        assert!(least > 3.0, "{interpolation:?}: a command of {least} rad");
        let is_half = |grip: &&f64| **grip > 0.0 && **grip < 1.0;
        assert_eq!(gripped.iter().find(is_half), None, "{interpolation:?}");
        assert!(gripped.contains(&1.0), "{interpolation:?}: {gripped:?}");
    }
}

#[test]
fn interpolations_that_do_not_fit_the_action_are_refused() {
    let refusal = |each: &[Interpolation], size: usize| {
        let config = ControllerConfig {
            interpolation: InterpolationConfig::Each(each.to_vec()),
            orientations: vec![OrientationColumns::RotationVector([0, 1, 2])],
            ..ControllerConfig::default()
        };
        let refused = Controller::new(&config, size, 10_000_000);
        refused.map(drop).unwrap_err().to_string()
    };
    use Interpolation::{Hold, Linear};
    let message = refusal(&[Linear; 3], 4);
    assert!(
        message.contains("control.interpolation has 3 names, expected one name or 4"),
        "{message}"
    );
    let message = refusal(&[Linear, Hold, Linear, Hold], 4);
    assert!(
        message.contains("differs for the columns [0, 1, 2]"),
        "{message}"
    );
}
