//! Poses, and clips: poses of one skeleton at a fixed rate.

use nalgebra::{UnitQuaternion, Vector3};

use crate::Skeleton;

/// One pose of a skeleton.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pose {
    /// Place of the root joint in the world.
    pub root: Vector3<f64>,
    /// Rotation of every joint against its parent, of the root against the world `[J]`.
    pub rotations: Vec<UnitQuaternion<f64>>,
}

impl Pose {
    /// Mean over joints of their turn against their parents to another pose, radians.
    pub fn turn(&self, other: &Self) -> f64 {
        let pairs = self.rotations.iter().zip(&other.rotations);
        let sum: f64 = pairs.map(|(one, other)| one.angle_to(other)).sum();
        sum / self.rotations.len().max(1) as f64
    }
}

/// Poses of one skeleton at a fixed rate.
#[derive(Debug, Clone)]
pub struct Clip {
    /// The skeleton, in the unit that its source uses until it is scaled to metres.
    pub skeleton: Skeleton,
    /// Frames per second, above 0.
    pub frame_rate: f64,
    /// The poses, in the skeleton's unit.
    pub frames: Vec<Pose>,
}

impl Clip {
    /// Length in seconds: the time between the first and the last frame.
    pub fn seconds(&self) -> f64 {
        self.frames.len().saturating_sub(1) as f64 / self.frame_rate
    }

    /// The same clip with all lengths times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        scaled.skeleton = self.skeleton.scaled(factor);
        for pose in &mut scaled.frames {
            pose.root *= factor;
        }
        scaled
    }

    /// The pose at a time in seconds after the first frame, between two frames linear in place and
    /// spherical in rotation; before the first and after the last frame these stay. None without frames.
    pub fn at(&self, seconds: f64) -> Option<Pose> {
        let last = self.frames.len().checked_sub(1)?;
        let place = (seconds * self.frame_rate).clamp(0.0, last as f64);
        let before = place.floor() as usize;
        let after = (before + 1).min(last);
        Some(self.frames[before].blended(&self.frames[after], place - before as f64))
    }

    /// The clip at another rate, over the same time (its last frame may fall up to a frame earlier).
    #[must_use]
    pub fn resampled(&self, frame_rate: f64) -> Self {
        // A little is added so that a length of a whole number of frames is not rounded down.
        let count = (self.seconds() * frame_rate + 1e-6).floor() as usize + 1;
        let frames = (0..count)
            .filter_map(|frame| self.at(frame as f64 / frame_rate))
            .collect();
        Self {
            skeleton: self.skeleton.clone(),
            frame_rate,
            frames,
        }
    }
}

impl Pose {
    /// The pose a `share` of the way to another of the same skeleton: 0 is this one, 1 the other.
    #[must_use]
    pub fn blended(&self, other: &Self, share: f64) -> Self {
        Self {
            root: self.root.lerp(&other.root, share),
            rotations: self
                .rotations
                .iter()
                .zip(&other.rotations)
                .map(|(from, to)| {
                    // Opposite rotations have no shortest way: either end will do.
                    from.try_slerp(to, share, 1e-9).unwrap_or(*to)
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Joint;

    fn turning(frames: usize, frame_rate: f64) -> Clip {
        let skeleton = Skeleton::new(
            vec![Joint {
                name: "root".into(),
                parent: None,
                offset: Vector3::zeros(),
            }],
            vec![],
        )
        .unwrap();
        let frames = (0..frames)
            .map(|frame| Pose {
                root: Vector3::new(frame as f64, 0.0, 0.0),
                rotations: vec![UnitQuaternion::from_axis_angle(
                    &Vector3::y_axis(),
                    0.1 * frame as f64,
                )],
            })
            .collect();
        Clip {
            skeleton,
            frame_rate,
            frames,
        }
    }

    #[test]
    fn resampling_keeps_place_and_rotation_in_time() {
        let clip = turning(121, 120.0);
        let slow = clip.resampled(30.0);
        assert_eq!(slow.frames.len(), 31);
        for (index, pose) in slow.frames.iter().enumerate() {
            assert!((pose.root.x - 4.0 * index as f64).abs() < 1e-9);
        }
        let between = clip.at(0.5 / 120.0).unwrap();
        assert!((between.rotations[0].angle() - 0.05).abs() < 1e-9);
        assert_eq!(clip.at(1e9).unwrap(), clip.frames[120]);
    }

    #[test]
    fn a_clip_without_frames_has_no_pose() {
        assert!(turning(0, 30.0).at(0.0).is_none());
        assert!(turning(0, 30.0).resampled(60.0).frames.is_empty());
    }
}
