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
/// Fastest that an offset turns a pose while it dies away, a mean over its joints in rad/s: less than
/// half of what one captured frame in a thousand exceeds (0.153 rad a frame, 4.6 rad/s).
const FASTEST_TURN: f64 = 2.0;
/// What no pose turns, a mean over its joints in rad/s.
const LEAP: f64 = 4.6;

/// What is added to a motion, joint by joint.
#[derive(Debug, Clone)]
pub struct Inertial {
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

impl Inertial {
    /// Between the last two poses of one motion and the first two of the next, `seconds` apart each and
    /// across the seam. `half_life` is the time in seconds after which half of an offset in place is
    /// left, above 0; poses that are far apart take longer, so that nothing whirls. It is counted from
    /// the next motion's first pose.
    pub fn between(from: [&Pose; 2], to: [&Pose; 2], seconds: f64, half_life: f64) -> Self {
        // Where the first motion would be by now.
        let would = Pose {
            root: from[1].root * 2.0 - from[0].root,
            rotations: from[0]
                .rotations
                .iter()
                .zip(&from[1].rotations)
                .map(|(before, last)| *last * before.inverse() * last)
                .collect(),
        };
        Self::new([from[1], &would], to, seconds, half_life)
    }

    /// As [`Self::between`], where the first pose of the next motion is of the same moment as the last
    /// of the one before, from which it is counted, and is not to be shown. Where the next motion
    /// leaps from it to its second pose, as one that had to begin in a pose it hardly knows, it counts
    /// as beginning with the second.
    pub fn at(from: [&Pose; 2], to: [&Pose; 2], seconds: f64, half_life: f64) -> Self {
        let pairs = to[0].rotations.iter().zip(&to[1].rotations);
        let turn: f64 = pairs.map(|(first, second)| first.angle_to(second)).sum();
        if turn / to[0].rotations.len().max(1) as f64 <= LEAP * seconds {
            return Self::new(from, to, seconds, half_life);
        }
        let begun = Pose {
            root: to[0].root,
            rotations: to[1].rotations.clone(),
        };
        Self::new(from, [&begun, to[1]], seconds, half_life)
    }

    fn new(from: [&Pose; 2], to: [&Pose; 2], seconds: f64, half_life: f64) -> Self {
        let speed = |[before, after]: [&Pose; 2]| (after.root - before.root) / seconds;
        let rotations: Vec<Offset> = (0..to[0].rotations.len())
            .map(|joint| {
                let [before, last] = from.map(|pose| pose.rotations[joint]);
                let [first, second] = to.map(|pose| pose.rotations[joint]);
                let turns = [last * before.inverse(), second * first.inverse()];
                let [one, other] = turns.map(|turn| vector(&turn));
                Offset {
                    place: vector(&(last * first.inverse())),
                    speed: (one - other) / seconds,
                }
            })
            .collect();
        let turns = rotations.iter().map(|offset| offset.place.norm());
        let turn = turns.sum::<f64>() / rotations.len().max(1) as f64;
        // An offset x dies away at x y / e at most, at y t = 1.
        let calm = HALVED * turn / (std::f64::consts::E * FASTEST_TURN);
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

    /// Adds what is left of the first motion to a pose of the second, `seconds` after its first pose.
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
            let seam = Inertial::between([&one(-1.0), &one(0.0)], [&other(0.0), &other(1.0)], FRAME, 0.1);
            let blended = |frame: f64| {
                let mut pose = other(frame);
                seam.apply(&mut pose, frame * FRAME);
                pose
            };
            // The first blended pose is where the first motion would have gone.
            let would = one(1.0);
            let now = blended(0.0);
            prop_assert!((now.root - would.root).norm() < 1e-9);
            for (now, would) in now.rotations.iter().zip(&would.rotations) {
                prop_assert!(now.angle_to(would) < 1e-6);
            }
            // And it goes on at that speed.
            let soon = |part: f64| {
                let mut pose = other(part);
                seam.apply(&mut pose, part * FRAME);
                pose
            };
            let speed = (soon(1e-3).root - soon(0.0).root) / (1e-3 * FRAME);
            prop_assert!((speed.x - first).abs() < 0.05 + 0.05 * place.abs());
            let late = seam.seconds() / FRAME;
            let (left, right) = (blended(late), other(late));
            prop_assert!((left.root - right.root).norm() < 0.011 * (now.root - other(0.0).root).norm() + 0.05);
        }
    }
}
