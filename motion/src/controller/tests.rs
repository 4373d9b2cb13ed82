use std::f64::consts::FRAC_PI_2;

use kinestream_diffusion::noise::NoiseStream;
use nalgebra::UnitQuaternion;
use proptest::prelude::*;

use super::*;
use crate::character::{HIPS_HEIGHT, JOINTS};
use crate::stick::Waypoint;

/// A source that goes exactly where it is told, swaying, with its feet on the ground; and one that
/// does anything at all.
#[derive(Debug, Clone)]
struct Script {
    wild: f64,
    random: NoiseStream,
    root: Root,
    pose: Pose,
    contacts: [f64; 4],
    frame: u64,
}

impl Script {
    fn new(wild: f64) -> Self {
        Self {
            wild,
            random: NoiseStream::new(0),
            root: Root::default(),
            pose: Pose::default(),
            contacts: [0.0; 4],
            frame: 0,
        }
    }

    fn draw(&mut self) -> f64 {
        f64::from(self.random.normals(1)[0])
    }

    /// Anything: small, huge, and now and then no number.
    fn anything(&mut self) -> f64 {
        let (sign, size) = (self.draw(), self.draw());
        match self.draw() {
            rare if rare > 2.2 => f64::NAN,
            rare if rare > 2.0 => f64::INFINITY,
            _ => sign * (10.0 * self.wild * size).exp().min(1e30),
        }
    }

    fn stand(&mut self) {
        self.pose = Pose {
            root: Vector3::new(
                self.root.position.x,
                HIPS_HEIGHT - 0.05,
                self.root.position.y,
            ),
            rotations: vec![UnitQuaternion::identity(); JOINTS],
        };
        self.pose.rotations[0] = crate::rotation::yaw(self.root.heading);
    }
}

impl FrameSource for Script {
    fn restart(self, seed: u64) -> Result<Self> {
        let mut script = Self {
            random: NoiseStream::new(seed),
            ..Self::new(self.wild)
        };
        script.stand();
        Ok(script)
    }

    fn advance(&mut self, wish: &SteeringTarget, _diversity: f64) -> Result<()> {
        self.frame += 1;
        let (motion, turn) = wish.motion.unwrap_or_default();
        self.root.position += motion / FRAME_RATE;
        self.root.heading = wrapped(self.root.heading + turn / FRAME_RATE);
        self.stand();
        // Left and right bear in turn.
        let left = (self.frame / 10).is_multiple_of(2);
        self.contacts = [left, left, !left, !left].map(f64::from);
        if self.wild > 0.0 {
            self.root.position.x += self.anything();
            self.root.heading += self.anything();
            self.pose.root.y += self.anything();
            for joint in 0..JOINTS {
                let axis = Vector3::new(self.draw(), self.draw(), self.draw());
                let turn = self.anything().clamp(-10.0, 10.0);
                self.pose.rotations[joint] = UnitQuaternion::from_scaled_axis(axis * turn);
            }
            self.contacts = std::array::from_fn(|_| self.anything());
        }
        Ok(())
    }

    fn root(&self) -> Root {
        self.root
    }

    fn place(&mut self, root: Root) {
        self.root = root;
        self.pose.root.x = root.position.x;
        self.pose.root.z = root.position.y;
    }

    fn pose(&self) -> Pose {
        self.pose.clone()
    }

    fn contacts(&self) -> [f64; 4] {
        self.contacts
    }

    fn refused(&self) -> u64 {
        0
    }
}

fn controller(wild: f64, seed: u64) -> Controller<Script> {
    Controller::new(Script::new(wild), seed, ControllerOptions::default()).unwrap()
}

fn stick(x: f64, z: f64) -> Goal {
    Goal::Stick(JoystickInput {
        velocity: Vector2::new(x, z),
        facing: None,
    })
}

fn waypoint(seconds: f64, x: f64, z: f64) -> Waypoint {
    Waypoint {
        seconds,
        position: Vector2::new(x, z),
        facing: None,
    }
}

const POSE: f64 = 1.0 / 60.0;

#[test]
fn frames_fall_due_at_their_rate_whatever_the_rate_of_poses() {
    for (rate, seconds) in [
        (30.0, 2.0),
        (60.0, 2.0),
        (120.0, 2.0),
        (90.0, 2.0),
        (24.0, 2.0),
    ] {
        let mut live = controller(0.0, 1);
        let ticks = (rate * seconds) as u32;
        let made: usize = (0..ticks).map(|_| live.tick(1.0 / rate).unwrap()).sum();
        assert_eq!(made, 60, "{rate} Hz");
        assert!((live.pose().phase - 1.0).abs() < 1e-6);
    }
    let mut live = controller(0.0, 1);
    assert_eq!(live.tick(POSE).unwrap(), 1);
    assert!((live.pose().phase - 0.5).abs() < 1e-12);
    for wrong in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert_eq!(live.tick(wrong).unwrap(), 0);
    }
    assert_eq!(live.tick(1e9).unwrap(), 30);
}

#[test]
fn a_stick_moves_it_and_silence_stops_it() {
    let mut live = controller(0.0, 1);
    for _ in 0..60 {
        assert_eq!(live.steer(stick(1.0, 0.0)), Taken::AsAsked);
        live.tick(2.0 * POSE).unwrap();
    }
    let pose = live.pose();
    assert!((pose.velocity.x - 1.0).abs() < 0.02, "{}", pose.velocity);
    assert!((pose.root.heading - FRAC_PI_2).abs() < 0.02);
    assert!(!pose.idle && !pose.clamped);
    for _ in 0..15 {
        live.tick(2.0 * POSE).unwrap();
    }
    assert!(live.is_idle() && live.pose().velocity.x > 0.5);
    for _ in 0..60 {
        live.tick(2.0 * POSE).unwrap();
    }
    assert!(live.pose().velocity.norm() < 0.02);
}

#[test]
fn what_is_refused_changes_nothing_and_what_is_clamped_is_said() {
    let mut live = controller(0.0, 1);
    live.steer(stick(0.0, 1.0));
    assert_eq!(live.steer(stick(f64::NAN, 0.0)), Taken::Refused);
    assert_eq!(live.steer(Goal::Path(vec![])), Taken::Refused);
    assert_eq!(live.set_knobs(f64::INFINITY, 1.0), Taken::Refused);
    assert_eq!(live.stick().unwrap().velocity.y, 1.0);
    assert_eq!(live.knobs(), (1.0, 1.0));
    assert_eq!(live.steer(stick(0.0, 1e30)), Taken::Clamped);
    live.tick(POSE).unwrap();
    assert!(live.pose().clamped);
    assert_eq!(live.set_knobs(-1.0, 5.0), Taken::Clamped);
    assert_eq!(live.knobs(), (0.0, MAX_KNOB));
    let counts = live.counts();
    let found = [counts.taken, counts.taken_clamped, counts.taken_refused];
    assert_eq!((found, counts.clamped), ([3, 2, 3], 1));
}

#[test]
fn a_path_is_walked_to_its_end() {
    let mut live = controller(0.0, 1);
    let points = vec![waypoint(2.0, 0.0, 2.0), waypoint(4.0, 2.0, 2.0)];
    assert_eq!(live.steer(Goal::Path(points)), Taken::AsAsked);
    assert_eq!(live.path_left().len(), 2);
    for _ in 0..90 {
        live.tick(2.0 * POSE).unwrap();
    }
    assert!((live.asked_velocity() - Vector2::new(1.0, 0.0)).norm() < 1e-9);
    // A third of the last piece is left, and with it its end.
    assert_eq!(live.path_left(), [Vector2::new(2.0, 2.0)]);
    assert!((live.pose().root.position - Vector2::new(1.0, 2.0)).norm() < 0.05);
    for _ in 0..60 {
        live.tick(2.0 * POSE).unwrap();
    }
    assert!(live.is_idle() && live.path_left().is_empty());
    assert!((live.pose().root.position - Vector2::new(2.0, 2.0)).norm() < 0.02);
    // A stick takes over from the motion that there is.
    live.steer(stick(0.0, 0.0));
    live.tick(POSE).unwrap();
    assert!(live.pose().velocity.norm() < 0.2);
}

#[test]
fn feet_that_bear_do_not_move_between_frames() {
    let mut live = controller(0.0, 1);
    let mut last: Option<([bool; 4], [Vector3<f64>; 4])> = None;
    let mut seen = 0;
    for _ in 0..600 {
        live.steer(stick(0.4, 0.3));
        live.tick(1.0 / 120.0).unwrap();
        let pose = live.pose();
        let places = live.feet().positions(&live.skeleton().forward(&pose.pose));
        if let Some((before, old)) = last {
            for point in 0..4 {
                if before[point] && pose.contacts[point] {
                    let way = (places[point] - old[point]).xz().norm();
                    assert!(way < 2e-3, "point {point} slid by {way}");
                    seen += 1;
                }
            }
        }
        last = Some((pose.contacts, places));
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn a_restart_is_a_beginning() {
    let mut live = controller(0.1, 7);
    let run = |live: &mut Controller<Script>| -> Vec<LivePose> {
        (0..40)
            .map(|_| {
                live.steer(stick(1.0, 1.0));
                live.tick(POSE).unwrap();
                live.pose()
            })
            .collect()
    };
    let first = run(&mut live);
    let mut live = live.restart(7).unwrap();
    assert!(live.is_idle());
    assert_eq!(run(&mut live), first);
    let mut live = live.restart(8).unwrap();
    assert_ne!(run(&mut live), first);
    assert_eq!(live.counts().frames, 60);
}

/// Anything that somebody might ask.
fn goals() -> impl Strategy<Value = Option<Goal>> {
    let number = prop_oneof![
        4 => -4.0..4.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -1e30, 1e30, f64::MIN, 0.0]),
    ];
    let goal = (
        0..4_u8,
        prop::collection::vec((number.clone(), number.clone(), number.clone()), 1..5),
        prop::option::of(number),
    )
        .prop_map(|(kind, numbers, facing)| {
            let (x, z, _) = numbers[0];
            match kind {
                0 | 1 => Goal::Stick(JoystickInput {
                    velocity: Vector2::new(x, z),
                    facing,
                }),
                2 => Goal::Path(
                    numbers
                        .iter()
                        .map(|(seconds, x, z)| Waypoint {
                            facing,
                            ..waypoint(*seconds, *x, *z)
                        })
                        .collect(),
                ),
                _ => Goal::Path(
                    numbers
                        .iter()
                        .enumerate()
                        .map(|(index, (_, x, z))| waypoint(index as f64, *x, *z))
                        .collect(),
                ),
            }
        });
    prop::option::weighted(0.3, goal)
}

/// Farthest that an ankle may be from where it was a pose before, in metres: legs are bent by the
/// foot lock after all limits, and reach 0.85 m.
const FARTHEST_ANKLE: f64 = 1.5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_asked_and_generated_it_stays_a_body_on_the_floor(
        asked in prop::collection::vec(goals(), 60),
        wild in prop_oneof![Just(0.0), 0.0..0.3_f64, 1.0..7.0_f64],
        seed: u64,
    ) {
        let mut live = controller(wild, seed);
        let mut twin = controller(wild, seed);
        let mut last: Option<(Pose, crate::GlobalPose)> = None;
        for goal in asked {
            for live in [&mut live, &mut twin] {
                if let Some(goal) = goal.clone() {
                    live.steer(goal);
                }
                live.tick(POSE).unwrap();
            }
            let pose = live.pose();
            prop_assert_eq!(&pose, &twin.pose());
            prop_assert!(pose.velocity.iter().all(|value| value.is_finite()));
            prop_assert!(pose.yaw_rate.is_finite() && pose.root.heading.abs() < 3.2);
            prop_assert!(pose.phase > 0.0 && pose.phase <= 1.0);
            for rotation in &pose.pose.rotations {
                prop_assert!((rotation.coords.norm() - 1.0).abs() < 1e-6);
            }
            let global = live.skeleton().forward(&pose.pose);
            for place in &global.positions {
                prop_assert!(place.iter().all(|value| value.is_finite()));
            }
            for (foot, place) in live.feet().positions(&global).iter().enumerate() {
                prop_assert!(place.y > -1e-3, "point {} at {:?} phase {}", foot, place, pose.phase);
            }
            if let Some((before, last)) = &last {
                let hips = (global.positions[0] - last.positions[0]).norm();
                prop_assert!(hips <= 10.0 * POSE + 1e-6, "hips by {}", hips);
                for leg in &live.feet().legs {
                    let way = (global.positions[leg.ankle] - last.positions[leg.ankle]).norm();
                    prop_assert!(way < FARTHEST_ANKLE, "an ankle by {}", way);
                }
                let turns = pose.pose.rotations.iter().zip(&before.rotations);
                for (joint, (now, before)) in turns.enumerate() {
                    let angle = now.angle_to(before);
                    let is_bent = live.feet().legs.iter().any(|leg| [leg.hip, leg.knee, leg.ankle].contains(&joint));
                    prop_assert!(is_bent || angle <= 45.0 * POSE + 1e-6, "joint {} by {}", joint, angle);
                }
            }
            last = Some((pose.pose, global));
        }
    }
}
