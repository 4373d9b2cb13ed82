//! Clips whose path is bent: the same steps along a curve.
//!
//! People were captured walking mostly straight on. A bent copy turns the path of the root and every
//! pose with it by the angle that the curve has gathered up to there, and holds the feet where they
//! came down, so that a foot that bears does not slide for it. The curve is a sine over the way,
//! bounded by the sideways acceleration that a body takes: running is bent less than walking.

use nalgebra::Vector2;

use crate::features::{Contacts, HEADING_WINDOW, POSITION_WINDOW};
use crate::foot::{Feet, FootLock, FootLockConfig};
use crate::rotation::yaw;
use crate::trajectory::{HeadingJoints, Root, turned};
use crate::{Clip, GlobalPose, Pose, Result};

/// A curve along a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// Largest curvature, rad/m; above 0 to the left at first.
    pub curvature: f64,
    /// Metres after which the curve comes again.
    pub period: f64,
    /// Where in its period the curve begins, 0 to 1.
    pub phase: f64,
}

/// Largest sideways acceleration that a curve may ask for, m/s².
const MOST_SIDEWAYS: f64 = 7.0;
/// Feet are let go early rather than pulled far: they were captured elsewhere.
const RELEASE: f64 = 0.25;

impl Curve {
    /// Curvature in rad/m after some metres at a speed in m/s.
    fn at(&self, way: f64, speed: f64) -> f64 {
        let turn = std::f64::consts::TAU * (way / self.period + self.phase);
        let most = MOST_SIDEWAYS / speed.powi(2).max(1e-3);
        (self.curvature * turn.sin()).clamp(-most, most)
    }
}

/// Bends a clip of the character; `contacts` has one entry per frame.
///
/// # Errors
/// Another skeleton.
pub fn bent(clip: &Clip, contacts: &[Contacts], curve: &Curve) -> Result<Clip> {
    let skeleton = &clip.skeleton;
    let poses: Vec<GlobalPose> = clip
        .frames
        .iter()
        .map(|pose| skeleton.forward(pose))
        .collect();
    let roots = HeadingJoints::of(skeleton)?.trajectory(
        &poses,
        clip.frame_rate,
        POSITION_WINDOW,
        HEADING_WINDOW,
    );
    let feet = Feet::at_rest(skeleton)?;
    let config = FootLockConfig {
        release_distance: RELEASE,
        ..FootLockConfig::default()
    };
    let mut lock = FootLock::new(skeleton, &feet, config)?;
    let mut bent = roots.first().copied().unwrap_or_default();
    let (mut angle, mut way) = (0.0, 0.0);
    let mut before = bent;
    let frames = clip.frames.iter().zip(&roots).zip(contacts);
    let frames = frames.map(|((pose, root), contacts)| {
        let step: Vector2<f64> = root.position - before.position;
        let length = step.norm();
        way += length;
        let turn = curve.at(way, length * clip.frame_rate) * length;
        bent.position += turned(step, angle + 0.5 * turn);
        angle += turn;
        bent.heading = root.heading + angle;
        before = *root;
        let mut pose = moved(pose, root, &bent, angle);
        let contacts = contacts.map(|contact| f64::from(u8::from(contact)));
        lock.apply(&mut pose, &contacts, 1.0 / clip.frame_rate);
        pose
    });
    Ok(Clip {
        frames: frames.collect(),
        skeleton: skeleton.clone(),
        frame_rate: clip.frame_rate,
    })
}

/// A pose as it is seen from its root, at another root.
fn moved(pose: &Pose, from: &Root, to: &Root, angle: f64) -> Pose {
    let mut moved = pose.clone();
    moved.root = to.globalise(&from.localise(&pose.root));
    moved.rotations[0] = yaw(angle) * pose.rotations[0];
    moved
}

#[cfg(test)]
mod tests {
    use nalgebra::{UnitQuaternion, Vector3};

    use super::*;
    use crate::character::skeleton;

    /// A stiff character that is carried ahead, 1 m/s.
    fn carried(frames: usize) -> Clip {
        let skeleton = skeleton();
        let rest = Pose {
            root: skeleton.joints()[0].offset,
            rotations: vec![UnitQuaternion::identity(); skeleton.len()],
        };
        Clip {
            frames: (0..frames)
                .map(|frame| {
                    let mut pose = rest.clone();
                    pose.root += Vector3::z() * (frame as f64 / 30.0);
                    pose
                })
                .collect(),
            skeleton,
            frame_rate: 30.0,
        }
    }

    #[test]
    fn the_way_is_as_long_as_before_and_turns() {
        let clip = carried(91);
        let curve = Curve {
            curvature: 0.5,
            period: 1e6,
            phase: 0.25,
        };
        let free = vec![[false; 4]; 91];
        let bent = bent(&clip, &free, &curve).unwrap();
        let way: f64 = bent
            .frames
            .windows(2)
            .map(|pair| (pair[1].root - pair[0].root).norm())
            .sum();
        assert!((way - 3.0).abs() < 0.02, "{way}");
        // 3 m at 0.5 rad/m, to the left.
        let facing = bent.frames[90].rotations[0] * Vector3::z();
        assert!((facing.x.atan2(facing.z) - 1.5).abs() < 0.02, "{facing}");
        let end = bent.frames[90].root;
        assert!((end.x - 2.0 * (1.0 - 1.5_f64.cos())).abs() < 0.03, "{end}");
    }

    #[test]
    fn a_run_is_bent_no_more_than_a_body_takes() {
        let curve = Curve {
            curvature: 2.0,
            period: 4.0,
            phase: 0.0,
        };
        for step in 0..100 {
            let way = 0.1 * f64::from(step);
            assert!(curve.at(way, 4.0).abs() * 16.0 <= MOST_SIDEWAYS + 1e-9);
            assert!(curve.at(way, 1.0).abs() <= 2.0);
        }
    }
}
