use std::f64::consts::TAU;

use proptest::prelude::*;

use super::super::tests::legs;
use super::*;
use crate::GlobalPose;

const THIGH_AND_SHIN: f64 = 0.85;

/// A gait whose feet slide: the root travels at a speed of its own.
#[derive(Debug, Clone, Copy)]
struct Gait {
    speed: f64,
    /// Amplitude of the thighs, in radians.
    swing: f64,
    /// Knee bend, in radians, least and most.
    bend: [f64; 2],
    /// Height of the hips, in metres.
    hips: f64,
    /// Pitch of the feet, in radians.
    pitch: f64,
    /// Share of a step in which heel and toe touch.
    duty: f64,
    /// Turn of the body, in rad/s.
    turn: f64,
}

impl Gait {
    fn pose(&self, seconds: f64) -> Pose {
        let about = |axis: Vector3<f64>, angle: f64| UnitQuaternion::from_scaled_axis(axis * angle);
        let mut rotations = vec![UnitQuaternion::identity(); 9];
        rotations[0] = about(Vector3::y(), self.turn * seconds);
        for (first, phase) in [(1, 0.0), (5, 0.5)] {
            let wave = (TAU * (seconds + phase)).sin();
            let [least, most] = self.bend;
            let bend = least + (most - least) * (0.5 + 0.5 * (TAU * (seconds + phase)).cos());
            rotations[first] = about(Vector3::x(), -self.swing * wave);
            rotations[first + 1] = about(Vector3::x(), bend);
            rotations[first + 2] =
                about(Vector3::x(), self.swing * wave - bend + self.pitch * wave);
        }
        let along = Vector3::new(0.3 * (self.turn * seconds).sin(), 0.0, 1.0).normalize();
        Pose {
            root: along * self.speed * seconds + Vector3::y() * self.hips,
            rotations,
        }
    }

    fn contacts(&self, seconds: f64) -> [f64; 4] {
        let chance = |phase: f64| {
            let place = (seconds + phase).rem_euclid(1.0);
            f64::from(u8::from(place > 0.25 && place < 0.25 + self.duty))
        };
        // The toe comes down later than the heel, and stays longer.
        [chance(0.0), chance(-0.1), chance(0.5), chance(0.4)]
    }
}

fn gaits() -> impl Strategy<Value = Gait> {
    (
        0.0_f64..2.0,
        0.1_f64..0.6,
        0.02_f64..0.3,
        0.4_f64..1.2,
        0.85_f64..0.97,
        -0.5_f64..0.5,
        0.1_f64..0.7,
        -1.0_f64..1.0,
    )
        .prop_map(
            |(speed, swing, least, most, hips, pitch, duty, turn)| Gait {
                speed,
                swing,
                bend: [least, most],
                hips,
                pitch,
                duty,
                turn,
            },
        )
}

fn lock(config: FootLockConfig) -> FootLock {
    let skeleton = legs();
    FootLock::new(&skeleton, &Feet::at_rest(&skeleton).unwrap(), config).unwrap()
}

/// One frame: the generated joints, the corrected ones, and the state after it.
type Frame = (GlobalPose, GlobalPose, [FootState; 2]);

fn walk(gait: &Gait, config: FootLockConfig, frame_rate: f64, seconds: f64) -> Vec<Frame> {
    let skeleton = legs();
    let mut lock = lock(config);
    (0..(seconds * frame_rate) as usize)
        .map(|frame| {
            let now = frame as f64 / frame_rate;
            let mut pose = gait.pose(now);
            let generated = skeleton.forward(&pose);
            let state = lock.apply(&mut pose, &gait.contacts(now), 1.0 / frame_rate);
            (generated, skeleton.forward(&pose), state)
        })
        .collect()
}

const WALK: Gait = Gait {
    speed: 0.9,
    swing: 0.35,
    bend: [0.15, 0.8],
    hips: 0.93,
    pitch: 0.1,
    duty: 0.5,
    turn: 0.0,
};

#[test]
fn a_walk_is_held_and_comes_back() {
    let frames = walk(&WALK, FootLockConfig::default(), 30.0, 4.0);
    let held = frames.iter().filter(|(_, _, feet)| feet[0].heel).count();
    let free = frames
        .iter()
        .filter(|(_, _, feet)| !feet[0].heel && !feet[0].toe)
        .count();
    assert!(held > 20 && free > 20, "{held} held, {free} free");
    // By the end of a swing the foot is close to the generated one again.
    let least = frames[60..]
        .iter()
        .map(|(_, _, feet)| feet[0].correction)
        .fold(1.0, f64::min);
    assert!(least < 0.01, "{least}");
}

#[test]
fn feet_that_do_not_touch_are_left_as_they_are() {
    let skeleton = legs();
    let mut lock = lock(FootLockConfig::default());
    let gait = Gait { hips: 1.2, ..WALK };
    for frame in 0..60 {
        let mut pose = gait.pose(f64::from(frame) / 30.0);
        let generated = pose.clone();
        lock.apply(&mut pose, &[0.0; 4], 1.0 / 30.0);
        assert_eq!(pose, generated);
    }
    assert_eq!(skeleton.len(), 9);
}

#[test]
fn a_foot_that_is_caught_early_comes_down_and_stays_down() {
    let skeleton = legs();
    let mut lock = lock(FootLockConfig::default());
    // The body comes down by 3 cm in ten frames, moving on, and rises again.
    let at = |frame: i32| {
        let height = 0.015 * (f64::from(frame.min(20)) * 0.1 * std::f64::consts::PI).cos();
        Pose {
            root: Vector3::new(0.0, 0.87 + height, 0.004 * f64::from(frame)),
            rotations: [0.0, -0.5, 0.9, -0.4, 0.0, -0.5, 0.9, -0.4, 0.0]
                .map(|angle| UnitQuaternion::from_euler_angles(angle, 0.0, 0.0))
                .to_vec(),
        }
    };
    let mut places = Vec::new();
    for frame in 0..30 {
        let mut pose = at(frame);
        let generated = skeleton.forward(&pose).positions[3];
        lock.apply(&mut pose, &[1.0, 0.0, 1.0, 0.0], 1.0 / 30.0);
        places.push((generated, skeleton.forward(&pose).positions[3]));
    }
    let (_, caught) = places[0];
    for (frame, (generated, held)) in places.iter().enumerate() {
        assert!((held - caught).xz().norm() < 1e-9);
        let lowest = if frame <= 10 {
            generated.y
        } else {
            places[10].0.y
        };
        assert!((held.y - lowest).abs() < 1e-9, "frame {frame}: {held}");
    }
}

#[test]
fn a_foot_that_the_body_leaves_behind_is_let_go() {
    let skeleton = legs();
    let mut lock = lock(FootLockConfig::default());
    let mut longest = 0.0_f64;
    let mut state = [FootState::default(); 2];
    for frame in 0..90 {
        let mut pose = WALK.pose(0.3);
        pose.root.z += 0.02 * f64::from(frame);
        state = lock.apply(&mut pose, &[1.0, 0.0, 1.0, 0.0], 1.0 / 30.0);
        let global = skeleton.forward(&pose);
        longest = longest.max((global.positions[3] - global.positions[1]).norm());
        assert!(
            state[0].correction < 0.15 + 0.021,
            "{}",
            state[0].correction
        );
    }
    assert!(longest <= 0.995 * THIGH_AND_SHIN + 1e-9, "{longest}");
    assert!(state[0].correction < 0.2);
}

#[test]
fn what_is_not_finite_is_left_alone_and_forgotten() {
    let mut lock = lock(FootLockConfig::default());
    let mut pose = WALK.pose(0.0);
    lock.apply(&mut pose, &[1.0; 4], 1.0 / 30.0);
    let mut broken = WALK.pose(0.0);
    broken.root.x = f64::NAN;
    let state = lock.apply(&mut broken, &[1.0; 4], 1.0 / 30.0);
    assert_eq!(state, [FootState::default(); 2]);
    let mut pose = WALK.pose(0.1);
    let generated = pose.clone();
    lock.apply(&mut pose, &[f64::NAN; 4], f64::NAN);
    assert!(
        pose.rotations
            .iter()
            .all(|turn| turn.coords.iter().all(|value| value.is_finite()))
    );
    let mut other = Pose::default();
    lock.apply(&mut other, &[1.0; 4], 1.0 / 30.0);
    assert_eq!(other, Pose::default());
    assert_eq!(generated.rotations.len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn held_feet_do_not_move(gait in gaits()) {
        let frames = walk(&gait, FootLockConfig::default(), 30.0, 3.0);
        for pair in frames.windows(2) {
            let (_, before, held) = &pair[0];
            let (_, after, still) = &pair[1];
            for (side, first) in [1, 5].into_iter().enumerate() {
                let (ankle, toe) = (first + 2, first + 3);
                let way = |joint: usize| after.positions[joint] - before.positions[joint];
                // What held after a frame made the next one, but where the leg was too short:
                // then it is not held after that.
                let (held, still) = (held[side], still[side]);
                if !(held.heel && still.heel || held.toe && still.toe) {
                    continue;
                }
                if held.heel && held.toe {
                    // One of them is the pivot, the other moves as the foot tilts to the floor.
                    let [least, most] = {
                        let (a, b) = (way(ankle).xz().norm(), way(toe).xz().norm());
                        [a.min(b), a.max(b)]
                    };
                    prop_assert!(least < 1e-9, "{least}");
                    let tilts = (way(ankle).y - way(toe).y).abs();
                    prop_assert!(most < 1e-9 + 2.0 * tilts, "{most} with {tilts}");
                } else if held.heel {
                    prop_assert!(way(ankle).xz().norm() < 1e-9);
                } else if held.toe {
                    prop_assert!(way(toe).xz().norm() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn legs_are_not_stretched_and_feet_stay_over_the_floor(gait in gaits()) {
        for (generated, corrected, _) in walk(&gait, FootLockConfig::default(), 30.0, 3.0) {
            for first in [1, 5] {
                let reach = |pose: &GlobalPose| (pose.positions[first + 2] - pose.positions[first]).norm();
                let most = (0.995 * THIGH_AND_SHIN).max(reach(&generated));
                prop_assert!(reach(&corrected) <= most + 1e-9, "{}", reach(&corrected));
                prop_assert!(corrected.positions[first + 2].y > 0.07 - 1e-9, "{}", corrected.positions[first + 2].y);
                prop_assert!(corrected.positions[first + 3].y > 0.01 - 1e-9, "{}", corrected.positions[first + 3].y);
                let lateral = corrected.rotations[first] * Vector3::x();
                let thigh = corrected.positions[first + 1] - corrected.positions[first];
                let shin = corrected.positions[first + 2] - corrected.positions[first + 1];
                prop_assert!(lateral.dot(&thigh.cross(&shin)) > -1e-9);
            }
        }
    }

    #[test]
    fn nothing_jumps(gait in gaits()) {
        // At a high rate, so that what is continuous is told from what jumps.
        let frame_rate = 480.0;
        let frames = walk(&gait, FootLockConfig::default(), frame_rate, 3.0);
        for pair in frames.windows(2) {
            for joint in 1..9 {
                let way = |pick: fn(&Frame) -> &GlobalPose| {
                    (pick(&pair[1]).positions[joint] - pick(&pair[0]).positions[joint]).norm()
                };
                let generated = way(|frame| &frame.0);
                let corrected = way(|frame| &frame.1);
                // Springs move a foot by at most 2 m/s beside the generated motion, and a knee of
                // a leg that is nearly straight by a few times as much: together 1.9 cm here.
                prop_assert!(
                    corrected < 4.0 * generated + 9.0 / frame_rate,
                    "joint {joint}: {corrected} m against {generated} m"
                );
            }
        }
    }

    #[test]
    fn equal_input_gives_equal_output(gait in gaits()) {
        let run = || walk(&gait, FootLockConfig::default(), 30.0, 2.0);
        for (one, other) in run().iter().zip(&run()) {
            prop_assert_eq!(&one.1, &other.1);
        }
    }
}
