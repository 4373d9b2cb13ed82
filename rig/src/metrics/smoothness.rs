//! Jerk: how abruptly joints move and turn.
//!
//! The jerk of a joint is the third difference of its position in the world over the cube of the
//! frame time, in m/s^3; the angular jerk the second difference of its angular velocity against its
//! parent over the square of the frame time, in rad/s^3, with the velocity the rotation vector from
//! one frame to the next, in the parent's frame, over the frame time. Both grow with the cube of
//! measurement noise at a high rate, so compare motions at one rate, and with the ground truth.

use nalgebra::{UnitQuaternion, Vector3};
use serde::Serialize;

use super::statistics::quantile;
use crate::{Error, GlobalPose, Pose, Result};

/// Collects jerks of all joints. It keeps every value (8 bytes for each joint and frame), for the
/// percentile: meant for minutes of motion, not for hours of many characters.
#[derive(Debug, Clone)]
pub struct Smoothness {
    frame_rate: f64,
    places: History<Vector3<f64>>,
    turns: History<Vector3<f64>>,
    rotations: Vec<UnitQuaternion<f64>>,
    jerks: Vec<f32>,
    angular_jerks: Vec<f32>,
}

/// Mean and tail of magnitudes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Magnitudes {
    /// Mean over joints and frames.
    pub mean: f64,
    /// 99th percentile over joints and frames.
    pub p99: f64,
    /// Largest.
    pub max: f64,
    /// How many values.
    pub values: usize,
}

/// The last frames of something per joint, oldest first.
#[derive(Debug, Clone, Default)]
struct History<T> {
    frames: Vec<Vec<T>>,
}

impl Smoothness {
    /// For motion at a rate.
    ///
    /// # Errors
    /// A rate that is not above 0.
    pub fn new(frame_rate: f64) -> Result<Self> {
        if !(frame_rate.is_finite() && frame_rate > 0.0) {
            return Err(Error::Metric {
                metric: "jerk",
                reason: format!("the frame rate is {frame_rate}, expected a number above 0"),
            });
        }
        Ok(Self {
            frame_rate,
            places: History::default(),
            turns: History::default(),
            rotations: Vec::new(),
            jerks: Vec::new(),
            angular_jerks: Vec::new(),
        })
    }

    /// The next frame does not follow the last one.
    pub fn begin_clip(&mut self) {
        self.places.frames.clear();
        self.turns.frames.clear();
        self.rotations.clear();
    }

    /// The next frame: a pose and where it puts the joints. One that is not finite, or of another
    /// number of joints than the last, begins a clip. Returns the mean jerk of the joints' places in
    /// m/s^3; none before the fourth frame of a clip.
    pub fn push(&mut self, pose: &Pose, global: &GlobalPose) -> Option<f64> {
        let finite = global
            .positions
            .iter()
            .all(|place| place.iter().all(|value| value.is_finite()))
            && pose
                .rotations
                .iter()
                .all(|turn| turn.coords.iter().all(|value| value.is_finite()));
        if !finite {
            self.begin_clip();
            return None;
        }
        if !self.rotations.is_empty() && self.rotations.len() != pose.rotations.len() {
            self.begin_clip();
        }
        let rate = self.frame_rate;
        if self.rotations.is_empty() {
            self.rotations.clone_from(&pose.rotations);
        } else {
            // The turn in the parent's frame.
            let turns = self
                .rotations
                .iter()
                .zip(&pose.rotations)
                .map(|(before, after)| (after * before.inverse()).scaled_axis() * rate);
            if let Some([first, second, third]) = self.turns.push(turns) {
                let joints = first.iter().zip(second).zip(third);
                self.angular_jerks
                    .extend(joints.map(|((first, second), third)| {
                        ((first - second * 2.0 + third).norm() * rate.powi(2)) as f32
                    }));
            }
            self.rotations.copy_from_slice(&pose.rotations);
        }
        let [first, second, third, fourth] = self.places.push(global.positions.iter().copied())?;
        let joints = first.iter().zip(second).zip(third).zip(fourth);
        let before = self.jerks.len();
        self.jerks
            .extend(joints.map(|(((first, second), third), fourth)| {
                ((fourth - third * 3.0 + second * 3.0 - first).norm() * rate.powi(3)) as f32
            }));
        let new = &self.jerks[before..];
        Some(new.iter().copied().map(f64::from).sum::<f64>() / new.len() as f64)
    }

    /// Jerk of the joints' places, in m/s^3; none before four frames of one clip.
    pub fn jerk(&self) -> Option<Magnitudes> {
        Magnitudes::of(&self.jerks)
    }

    /// Jerk of the joints' rotations, in rad/s^3; none before four frames of one clip.
    pub fn angular_jerk(&self) -> Option<Magnitudes> {
        Magnitudes::of(&self.angular_jerks)
    }
}

impl<T: Copy> History<T> {
    /// Takes in a frame and hands out the last N, once there are so many. Memory is used again.
    fn push<const N: usize>(&mut self, frame: impl Iterator<Item = T>) -> Option<[&[T]; N]> {
        if self.frames.len() < N {
            self.frames.push(frame.collect());
        } else {
            self.frames.rotate_left(1);
            if let Some(last) = self.frames.last_mut() {
                last.clear();
                last.extend(frame);
            }
        }
        (self.frames.len() == N).then(|| std::array::from_fn(|index| &self.frames[index][..]))
    }
}

impl Magnitudes {
    fn of(values: &[f32]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            max: *sorted.last()?,
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p99: quantile(&sorted, 0.99),
            values: sorted.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(frames: usize, place: impl Fn(f64) -> f64, turn: impl Fn(f64) -> f64) -> Smoothness {
        let mut smoothness = Smoothness::new(30.0).unwrap();
        for frame in 0..frames {
            let seconds = frame as f64 / 30.0;
            let rotation = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), turn(seconds));
            let pose = Pose {
                root: Vector3::zeros(),
                rotations: vec![rotation; 2],
            };
            let global = GlobalPose {
                positions: vec![Vector3::new(0.0, place(seconds), 1.0); 2],
                rotations: vec![rotation; 2],
            };
            smoothness.push(&pose, &global);
        }
        smoothness
    }

    #[test]
    fn polynomials_have_their_third_derivative() {
        let found = measure(
            20,
            |t| 0.5 * t.powi(3) - t + 2.0,
            |t| 0.1 * t.powi(3) + 0.2 * t,
        );
        let jerk = found.jerk().unwrap();
        assert!(
            (jerk.mean - 3.0).abs() < 1e-4 && (jerk.p99 - 3.0).abs() < 1e-4,
            "{jerk:?}"
        );
        assert_eq!(jerk.values, 17 * 2);
        let angular = found.angular_jerk().unwrap();
        assert!((angular.mean - 0.6).abs() < 1e-4, "{angular:?}");
        assert_eq!(angular.values, 17 * 2);
    }

    #[test]
    fn even_motion_has_none_and_a_jolt_shows_in_the_tail() {
        let even = measure(40, |t| 0.3 * t * t, |t| 2.0 * t);
        assert!(even.jerk().unwrap().max < 1e-3 && even.angular_jerk().unwrap().max < 1e-3);
        let jolt = measure(40, |t| if t > 0.5 { 0.01 } else { 0.0 }, |_| 0.0);
        let jerk = jolt.jerk().unwrap();
        // A step of 1 cm is 0.01 m times 27,000 / s^3, three times of it in its middle.
        assert!((jerk.max - 540.0).abs() < 1.0, "{jerk:?}");
        assert!(jerk.p99 > 10.0 * jerk.mean);
    }

    #[test]
    fn clips_are_told_apart() {
        let mut found = measure(3, |t| t.powi(3), |t| t.powi(3));
        assert!(found.jerk().is_none());
        let broken = GlobalPose {
            positions: vec![Vector3::repeat(f64::NAN); 2],
            rotations: vec![UnitQuaternion::identity(); 2],
        };
        let pose = Pose {
            root: Vector3::zeros(),
            rotations: broken.rotations.clone(),
        };
        found.push(&pose, &broken);
        let good = GlobalPose {
            positions: vec![Vector3::zeros(); 2],
            ..broken
        };
        (0..3).for_each(|_| {
            found.push(&pose, &good);
        });
        assert!(found.jerk().is_none() && found.angular_jerk().is_none());
        found.push(&pose, &good);
        assert_eq!(found.jerk().unwrap().max, 0.0);
        assert!(Smoothness::new(0.0).is_err());
    }
}
