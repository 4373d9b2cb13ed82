//! The path of a character over the ground: where its root is and which way it faces.
//!
//! The root is no joint: it is the point below the hips, smoothed so that it does not sway with
//! every step, and the heading is that of hips and shoulders together, smoothed likewise. Steering
//! speaks of this path; how the body sways about it belongs to the pose.

use nalgebra::{Vector2, Vector3};

use crate::rotation::wrapped;
use crate::{Error, Result, Skeleton, skeleton::GlobalPose};

/// A place on the ground and a heading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Root {
    /// Place in the plane: x and z of the world, metres.
    pub position: Vector2<f64>,
    /// Heading in radians: 0 faces +Z, positive turns towards +X. Along a trajectory it does not
    /// wrap.
    pub heading: f64,
}

impl Root {
    /// A world vector of the plane in the frame of this root: (to its left, ahead).
    pub fn inwards(&self, vector: Vector2<f64>) -> Vector2<f64> {
        turned(vector, -self.heading)
    }

    /// A vector of this root's frame in the world.
    pub fn outwards(&self, vector: Vector2<f64>) -> Vector2<f64> {
        turned(vector, self.heading)
    }

    /// Another root as this one sees it.
    pub fn local(&self, other: &Self) -> Self {
        Self {
            position: self.inwards(other.position - self.position),
            heading: wrapped(other.heading - self.heading),
        }
    }

    /// Where a root that this one sees is in the world; its heading goes on from this one's.
    pub fn global(&self, local: &Self) -> Self {
        Self {
            position: self.position + self.outwards(local.position),
            heading: self.heading + local.heading,
        }
    }

    /// A point of the world in the frame of this root; heights stay.
    pub fn localise(&self, point: &Vector3<f64>) -> Vector3<f64> {
        let plane = self.inwards(Vector2::new(point.x, point.z) - self.position);
        Vector3::new(plane.x, point.y, plane.y)
    }

    /// A vector of the world in the frame of this root.
    pub fn localise_vector(&self, vector: &Vector3<f64>) -> Vector3<f64> {
        let plane = self.inwards(Vector2::new(vector.x, vector.z));
        Vector3::new(plane.x, vector.y, plane.y)
    }

    /// A point of this root's frame in the world; heights stay.
    pub fn globalise(&self, point: &Vector3<f64>) -> Vector3<f64> {
        let plane = self.position + self.outwards(Vector2::new(point.x, point.z));
        Vector3::new(plane.x, point.y, plane.y)
    }
}

/// A vector (x, z) turned by a heading.
pub fn turned(vector: Vector2<f64>, heading: f64) -> Vector2<f64> {
    let (sine, cosine) = heading.sin_cos();
    Vector2::new(
        cosine * vector.x + sine * vector.y,
        cosine * vector.y - sine * vector.x,
    )
}

/// The joints that say where a character is and which way it faces.
#[derive(Debug, Clone, Copy)]
pub struct HeadingJoints {
    hips: usize,
    left_leg: usize,
    right_leg: usize,
    left_arm: usize,
    right_arm: usize,
}

impl HeadingJoints {
    /// Finds them by name.
    ///
    /// # Errors
    /// A skeleton that lacks one of them.
    pub fn of(skeleton: &Skeleton) -> Result<Self> {
        let find = |name: &str| {
            skeleton.index(name).ok_or_else(|| {
                Error::Skeleton(format!("no joint `{name}`; retarget the clip first"))
            })
        };
        Ok(Self {
            hips: find("Hips")?,
            left_leg: find("LeftUpLeg")?,
            right_leg: find("RightUpLeg")?,
            left_arm: find("LeftArm")?,
            right_arm: find("RightArm")?,
        })
    }

    /// Heading of a pose in -pi..pi; none where hips and shoulders lie one above the other.
    pub fn heading(&self, pose: &GlobalPose) -> Option<f64> {
        let at = |joint: usize| pose.positions[joint];
        let across =
            at(self.left_leg) - at(self.right_leg) + at(self.left_arm) - at(self.right_arm);
        // Left crossed with up is ahead.
        let ahead = Vector3::new(-across.z, 0.0, across.x);
        (ahead.norm() > 1e-3).then(|| ahead.x.atan2(ahead.z))
    }

    /// The trajectory of a series of poses.
    ///
    /// `position_seconds` and `heading_seconds` are the standard deviations of the Gaussian windows
    /// that smooth place and heading; 0 leaves them as they are.
    pub fn trajectory(
        &self,
        poses: &[GlobalPose],
        frame_rate: f64,
        position_seconds: f64,
        heading_seconds: f64,
    ) -> Vec<Root> {
        let mut headings = Vec::with_capacity(poses.len());
        let mut last = 0.0;
        for pose in poses {
            let heading = self.heading(pose).unwrap_or(last);
            last += wrapped(heading - last);
            headings.push(last);
        }
        let columns: Vec<Vec<f64>> = [0, 2]
            .map(|axis| {
                poses
                    .iter()
                    .map(|pose| pose.positions[self.hips][axis])
                    .collect()
            })
            .into();
        let x = smoothed(&columns[0], position_seconds * frame_rate);
        let z = smoothed(&columns[1], position_seconds * frame_rate);
        let headings = smoothed(&headings, heading_seconds * frame_rate);
        x.iter()
            .zip(&z)
            .zip(headings)
            .map(|((x, z), heading)| Root {
                position: Vector2::new(*x, *z),
                heading,
            })
            .collect()
    }
}

/// A Gaussian window over a series, `deviation` in samples. Beyond its ends the series goes on
/// point-mirrored, so that a straight line stays one up to its ends.
pub fn smoothed(series: &[f64], deviation: f64) -> Vec<f64> {
    let Some(last) = series.len().checked_sub(1) else {
        return Vec::new();
    };
    if deviation <= 0.0 || last == 0 {
        return series.to_vec();
    }
    let reach = ((3.0 * deviation).ceil() as isize).min(last as isize);
    let weights: Vec<f64> = (-reach..=reach)
        .map(|offset| (-0.5 * (offset as f64 / deviation).powi(2)).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let at = |index: isize| {
        let last = last as isize;
        if index < 0 {
            2.0 * series[0] - series[(-index) as usize]
        } else if index > last {
            2.0 * series[last as usize] - series[(2 * last - index) as usize]
        } else {
            series[index as usize]
        }
    };
    (0..=last as isize)
        .map(|index| {
            let sum: f64 = weights
                .iter()
                .enumerate()
                .map(|(place, weight)| weight * at(index + place as isize - reach))
                .sum();
            sum / total
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::*;
    use crate::rotation::yaw;

    #[test]
    fn local_and_global_undo_each_other() {
        let root = Root {
            position: Vector2::new(3.0, -2.0),
            heading: 0.7,
        };
        let other = Root {
            position: Vector2::new(-1.0, 5.0),
            heading: -0.4,
        };
        let back = root.global(&root.local(&other));
        assert!((back.position - other.position).norm() < 1e-12);
        assert!((back.heading - other.heading).abs() < 1e-12);
        let point = Vector3::new(0.3, 1.5, 4.0);
        assert!((root.globalise(&root.localise(&point)) - point).norm() < 1e-12);
    }

    #[test]
    fn turning_in_the_plane_is_turning_about_the_vertical() {
        let plane = turned(Vector2::new(0.2, 1.0), 0.6);
        let space = yaw(0.6) * Vector3::new(0.2, 5.0, 1.0);
        assert!((plane.x - space.x).abs() < 1e-12 && (plane.y - space.z).abs() < 1e-12);
        let left = turned(Vector2::new(0.0, 1.0), FRAC_PI_2);
        assert!((left - Vector2::new(1.0, 0.0)).norm() < 1e-12);
    }

    #[test]
    fn smoothing_keeps_lines_and_calms_noise() {
        let line: Vec<f64> = (0..50).map(|index| 2.0 + 0.5 * f64::from(index)).collect();
        for (smooth, exact) in smoothed(&line, 4.0).iter().zip(&line) {
            assert!((smooth - exact).abs() < 1e-9);
        }
        let noise: Vec<f64> = (0..50).map(|index| f64::from(index % 2)).collect();
        let calm = smoothed(&noise, 3.0);
        assert!(calm[10..40].iter().all(|x| (x - 0.5).abs() < 0.01));
        assert_eq!(smoothed(&[1.0], 3.0), [1.0]);
        assert!(smoothed(&[], 3.0).is_empty());
    }
}
