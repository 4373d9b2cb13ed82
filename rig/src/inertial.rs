//! Inertialised blending: one motion goes over into another without a jump in pose or speed.
//!
//! Nothing of the first motion is played on. What it was ahead of the second at the seam, in place
//! and in speed, is added to the second and dies away as a critically damped spring does (D. Bollo,
//! "Inertialization: High-Performance Animation Transitions in Gears of War", 2018; the spring in place of
//! its polynomial after D. Holden, "Spring-It-On", 2021). It costs a few products a joint and keeps
//! no clock.

use nalgebra::{UnitQuaternion, Vector3};

use crate::Pose;

/// The y t at which half of an offset is left: (1 + y t) exp(-y t) = 1/2.
const HALVED: f64 = 1.678;
/// Fastest that an offset by itself turns a pose while it dies away, a mean over the joints in rad/s.
const BLENDED_TURN: f64 = 2.0;
/// Fastest that a motion is taken to turn a pose, a mean over its joints in rad/s; one captured frame in
/// a thousand turns at 4.6.
const FASTEST_TURN: f64 = 4.0;
/// A single joint that seems to turn faster than this, in rad/s (half a radian within a frame), is taken
/// for one whose rotation was only told otherwise.
const FASTEST_JOINT: f64 = 15.0;

/// What is added to a motion, joint by joint.
#[derive(Debug, Clone)]
pub struct Inertialization {
    root: Offset,
    /// As rotation vectors, from the second motion to the first.
    rotations: Vec<Offset>,
    /// 1 / s.
    damping: f64,
}

/// Place and speed of an offset at the seam.
#[derive(Debug, Clone, Copy)]
struct Offset {
    place: Vector3<f64>,
    speed: Vector3<f64>,
}

impl Offset {
    /// The offset some seconds after the seam: (x + (v + y x) t) exp(-y t).
    fn at(&self, seconds: f64, damping: f64) -> Vector3<f64> {
        let grown = self.place + (self.speed + self.place * damping) * seconds;
        grown * (-damping * seconds).exp()
    }
}

impl Inertialization {
    /// Between the last two poses of one motion and the first two of the next, `seconds` apart each and
    /// across the seam. `half_life` is the time in seconds after which half of an offset in place is
    /// left, above 0; poses that are far apart take longer, so that nothing whirls. It is counted from the
    /// first motion's last pose. What turned faster than people do goes on at their pace.
    pub fn between(from: [&Pose; 2], to: [&Pose; 2], seconds: f64, half_life: f64) -> Self {
        // Where the next motion would have come from.
        let previous = Pose {
            root: to[0].root * 2.0 - to[1].root,
            rotations: turns(to, seconds)
                .iter()
                .zip(&to[0].rotations)
                .map(|(turn, first)| UnitQuaternion::from_scaled_axis(-turn) * first)
                .collect(),
        };
        Self::at(from, [&previous, to[0]], seconds, half_life)
    }

    /// As [`Self::between`], where the first pose of the next motion is of the same moment as the last
    /// of the one before.
    pub fn at(from: [&Pose; 2], to: [&Pose; 2], seconds: f64, half_life: f64) -> Self {
        let speed = |[before, after]: [&Pose; 2]| (after.root - before.root) / seconds;
        let (one, other) = (turns(from, seconds), turns(to, seconds));
        let rotations: Vec<Offset> = (0..to[0].rotations.len())
            .map(|joint| Offset {
                place: vector(&(from[1].rotations[joint] * to[0].rotations[joint].inverse())),
                speed: (one[joint] - other[joint]) / seconds,
            })
            .collect();
        let apart = rotations.iter().map(|offset| offset.place.norm());
        let apart = apart.sum::<f64>() / rotations.len().max(1) as f64;
        // An offset x at rest dies away at x y / e at most, at y t = 1.
        let calm = HALVED * apart / (std::f64::consts::E * BLENDED_TURN);
        let damping = HALVED / half_life.max(calm).max(1e-6);
        Self {
            root: Offset {
                place: from[1].root - to[0].root,
                speed: speed(from) - speed(to),
            },
            rotations,
            damping,
        }
    }

    /// Adds what is left of the first motion to a pose of the second, `seconds` after the first motion's last pose.
    pub fn apply(&self, pose: &mut Pose, seconds: f64) {
        pose.root += self.root.at(seconds, self.damping);
        for (rotation, offset) in pose.rotations.iter_mut().zip(&self.rotations) {
            let turn = UnitQuaternion::from_scaled_axis(offset.at(seconds, self.damping));
            *rotation = turn * *rotation;
        }
    }

    /// Seconds after which nothing that can be seen is left: a hundredth.
    pub fn seconds(&self) -> f64 {
        // (1 + y t) exp(-y t) = 1/100 at y t = 6.638.
        6.638 / self.damping
    }
}

/// How joints turned from one pose to the next, as rotation vectors. A joint that turned faster than
/// joints do did not turn: a model made of it another rotation that puts bones in the same place. And
/// where all of them together turned faster than people do, they did at people's pace.
fn turns([before, after]: [&Pose; 2], seconds: f64) -> Vec<Vector3<f64>> {
    let pairs = before.rotations.iter().zip(&after.rotations);
    let mut turns: Vec<Vector3<f64>> = pairs
        .map(|(before, after)| vector(&(after * before.inverse())))
        .map(|turn| match turn.norm() > FASTEST_JOINT * seconds {
            true => Vector3::zeros(),
            false => turn,
        })
        .collect();
    let mean = turns.iter().map(Vector3::norm).sum::<f64>() / turns.len().max(1) as f64;
    if mean > FASTEST_TURN * seconds {
        let slower = FASTEST_TURN * seconds / mean;
        turns.iter_mut().for_each(|turn| *turn *= slower);
    }
    turns
}

/// Whether a motion leaps from one pose to the next, as no person does.
pub fn leaps([before, after]: [&Pose; 2], seconds: f64) -> bool {
    before.turn(after) > FASTEST_TURN * seconds
}

/// A rotation as a vector, the shorter way about.
fn vector(rotation: &UnitQuaternion<f64>) -> Vector3<f64> {
    let shorter = if rotation.w < 0.0 {
        UnitQuaternion::new_unchecked(-rotation.into_inner())
    } else {
        *rotation
    };
    shorter.scaled_axis()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: f64 = 1.0 / 30.0;

    /// A pose of two joints that moves steadily.
    fn moving(place: f64, speed: f64, angle: f64, turn: f64, time: f64) -> Pose {
        let about =
            |axis: Vector3<f64>| UnitQuaternion::from_scaled_axis(axis * (angle + turn * time));
        Pose {
            root: Vector3::new(place + speed * time, 1.0, 0.5 * place),
            rotations: vec![about(Vector3::y()), about(Vector3::new(0.6, 0.0, 0.8))],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn nothing_jumps_and_the_second_motion_is_reached(
            place in -1.0..1.0_f64, speeds in any::<(i8, i8)>(), angle in -2.5..2.5_f64, turn in -3.0..3.0_f64,
        ) {
            let (first, second) = (f64::from(speeds.0) / 64.0, f64::from(speeds.1) / 64.0);
            let one = |frame: f64| moving(0.0, first, 0.0, turn, frame * FRAME);
            let other = |frame: f64| moving(place, second, angle, -turn, frame * FRAME);
            let seam = Inertialization::between([&one(-1.0), &one(0.0)], [&other(0.0), &other(1.0)], FRAME, 0.1);
            // Counted in frames from the second motion's first pose.
            let blended = |frame: f64| {
                let mut pose = other(frame);
                seam.apply(&mut pose, (frame + 1.0) * FRAME);
                pose
            };
            // It begins where the first motion ends.
            let (last, now) = (one(0.0), blended(-1.0));
            prop_assert!((now.root - last.root).norm() < 1e-9);
            for (now, last) in now.rotations.iter().zip(&last.rotations) {
                prop_assert!(now.angle_to(last) < 1e-6);
            }
            // And it goes on at that speed.
            let soon = blended(-1.0 + 1e-3);
            let speed = (soon.root - now.root) / (1e-3 * FRAME);
            prop_assert!((speed.x - first).abs() < 0.05 + 0.05 * place.abs());
            let late = seam.seconds() / FRAME;
            let (left, right) = (blended(late), other(late));
            prop_assert!((left.root - right.root).norm() < 0.011 * (now.root - other(0.0).root).norm() + 0.05);
        }
    }
}
