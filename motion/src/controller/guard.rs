//! How far a frame may be from the one before: whatever a model makes, a character does not jump.
//!
//! The limits lie above what captured people do: in the clips of `configs/motion-aamdm.toml`, at 1.1
//! times their speed, the root goes at most 5.2 m/s and turns by 7.0 rad/s, the hips move at 6.0 m/s
//! and are 0.46 to 1.09 m high, and a joint turns by 44 rad/s. Within them a frame is shown as it was generated;
//! beyond them the character goes towards it, frame by frame, as fast as they allow.

use nalgebra::Vector2;
use serde::{Deserialize, Serialize};

use crate::data::FRAME_RATE;
use crate::rotation::wrapped;
use crate::trajectory::Root;
use crate::{Error, Pose, Result, Skeleton};

/// Shares of a step that are tried.
const TRIES: usize = 6;

/// What a body can do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrameLimits {
    /// Speed of the root over the ground, m/s.
    pub root_speed: f64,
    /// Turn of the root, rad/s.
    pub root_turn: f64,
    /// Speed of the hips, m/s.
    pub hips_speed: f64,
    /// Heights of the hips over the floor, lowest and highest, m.
    pub hips_height: [f64; 2],
    /// Turn of any joint against its parent, rad/s.
    pub joint_turn: f64,
    /// Where two motions meet: mean turn of the joints, rad/s; one captured frame in a thousand exceeds
    /// 4.6. A frame beyond it is shown later, and does not count as refused.
    pub pose_turn: f64,
    /// There, too: way of the joints as the hips see them, root mean square, m/s; one captured frame in
    /// a thousand exceeds 3.0.
    pub seam_speed: f64,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            root_speed: 8.0,
            root_turn: 12.0,
            hips_speed: 10.0,
            hips_height: [0.3, 1.4],
            joint_turn: 45.0,
            pose_turn: 4.5,
            seam_speed: 2.9,
        }
    }
}

impl FrameLimits {
    /// Whether all limits are in their ranges.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<()> {
        let [lowest, highest] = self.hips_height;
        let ranges = [
            ("frame_limits.root_speed", self.root_speed, 0.1, 100.0),
            ("frame_limits.root_turn", self.root_turn, 0.1, 100.0),
            ("frame_limits.hips_speed", self.hips_speed, 0.1, 100.0),
            ("frame_limits.hips_height", lowest, 0.1, 10.0),
            ("frame_limits.hips_height", highest, lowest, 10.0),
            ("frame_limits.joint_turn", self.joint_turn, 0.1, 100.0),
            ("frame_limits.pose_turn", self.pose_turn, 0.1, 100.0),
            ("frame_limits.seam_speed", self.seam_speed, 0.1, 100.0),
        ];
        for (key, value, least, most) in ranges {
            // NaN is in no range.
            if !(least..=most).contains(&value) {
                return Err(Error::Config {
                    key,
                    found: value.to_string(),
                    expected: format!("{least} to {most}"),
                });
            }
        }
        Ok(())
    }

    /// The root of the next frame, as near to `next` as a frame's time allows; and whether it is
    /// another one.
    pub(super) fn root(&self, last: &Root, next: &Root) -> (Root, bool) {
        let numbers = [next.position.x, next.position.y, next.heading];
        if !numbers.iter().all(|value| value.is_finite()) {
            return (*last, true);
        }
        let step = next.position - last.position;
        let turn = wrapped(next.heading - last.heading);
        let (most_step, most_turn) = (self.root_speed / FRAME_RATE, self.root_turn / FRAME_RATE);
        if step.norm() <= most_step && turn.abs() <= most_turn {
            let heading = wrapped(last.heading + turn);
            return (Root { heading, ..*next }, false);
        }
        let root = Root {
            position: last.position + shortened(step, most_step),
            heading: wrapped(last.heading + turn.clamp(-most_turn, most_turn)),
        };
        (root, true)
    }

    /// The next pose, as near to `next` as a frame's time allows; and whether it is another one. A
    /// pose that is not finite, or of another skeleton, leaves the last one.
    pub(super) fn pose(&self, last: &Pose, mut next: Pose) -> (Pose, bool) {
        let is_sound = next.rotations.len() == last.rotations.len()
            && next.root.iter().all(|value| value.is_finite())
            && next
                .rotations
                .iter()
                .flat_map(|rotation| rotation.coords.iter())
                .all(|value| value.is_finite());
        if !is_sound {
            return (last.clone(), true);
        }
        let mut limited = false;
        let [lowest, highest] = self.hips_height;
        if !(lowest..=highest).contains(&next.root.y) {
            next.root.y = next.root.y.clamp(lowest, highest);
            limited = true;
        }
        let (step, most) = (next.root - last.root, self.hips_speed / FRAME_RATE);
        let way = step.norm();
        if way > most {
            next.root = last.root + step * (most / way);
            limited = true;
        }
        let most = self.joint_turn / FRAME_RATE;
        for (next, last) in next.rotations.iter_mut().zip(&last.rotations) {
            let angle = last.angle_to(next);
            if angle > most {
                *next = last.try_slerp(next, most / angle, 1e-9).unwrap_or(*last);
                limited = true;
            }
        }
        (next, limited)
    }

    /// Slows a pose down whose joints turn faster than `pose_turn` or move faster than `seam_speed`, all
    /// of them alike.
    pub(super) fn calm(&self, last: &Pose, next: &mut Pose, skeleton: &Skeleton) {
        let (before, wanted) = (skeleton.forward(last), next.clone());
        let most_way = self.seam_speed / FRAME_RATE;
        let mut share = (self.pose_turn / FRAME_RATE / last.turn(&wanted)).min(1.0);
        // On their way between two rotations bones need not go straight.
        for _ in 0..TRIES {
            let pairs = last.rotations.iter().zip(&wanted.rotations);
            for (next, (last, wanted)) in next.rotations.iter_mut().zip(pairs) {
                *next = match share < 1.0 {
                    true => last.try_slerp(wanted, share, 1e-9).unwrap_or(*last),
                    false => *wanted,
                };
            }
            let way = before.way(&skeleton.forward(next));
            if way <= most_way {
                return;
            }
            share *= 0.99 * most_way / way;
        }
    }
}

/// A vector of at most a length. One that is longer than numbers can say has no direction left.
pub(super) fn shortened(vector: Vector2<f64>, most: f64) -> Vector2<f64> {
    let length = vector.norm();
    if length <= most {
        vector
    } else if length.is_finite() {
        vector * (most / length)
    } else {
        Vector2::zeros()
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use nalgebra::{UnitQuaternion, Vector3};

    use super::*;

    #[test]
    fn a_root_within_the_limits_is_not_touched_and_one_beyond_is_approached() {
        let limits = FrameLimits::default();
        let last = Root {
            position: Vector2::new(5.0, -1.0),
            heading: 3.1,
        };
        let near = Root {
            position: Vector2::new(5.1, -1.1),
            heading: -3.1,
        };
        let (reached, limited) = limits.root(&last, &near);
        assert!(!limited && reached.position == near.position);
        assert!((reached.heading - near.heading).abs() < 1e-12);
        let far = Root {
            position: Vector2::new(5.0, 99.0),
            heading: 0.0,
        };
        let (reached, limited) = limits.root(&last, &far);
        assert!(limited && (reached.position.y - (-1.0 + 8.0 / 30.0)).abs() < 1e-12);
        assert!((wrapped(reached.heading - 3.1).abs() - 0.4).abs() < 1e-9);
        for wrong in [f64::NAN, f64::INFINITY] {
            let root = Root {
                heading: wrong,
                ..far
            };
            assert_eq!(limits.root(&last, &root), (last, true));
        }
    }

    #[test]
    fn a_pose_that_turns_or_leaps_as_a_whole_is_slowed_down_as_a_whole() {
        let limits = FrameLimits::default();
        let skeleton = crate::character::skeleton();
        let standing = Pose {
            root: Vector3::new(0.0, 0.95, 0.0),
            rotations: vec![UnitQuaternion::identity(); skeleton.len()],
        };
        let turned = |angle: f64| Pose {
            rotations: vec![
                UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
                skeleton.len()
            ],
            ..standing.clone()
        };
        let turn = |pose: &Pose| pose.rotations[1].angle();
        // 4.5 rad/s are 0.15 a frame, 2.9 m/s less than 0.1 m.
        let mut slow = turned(0.02);
        limits.calm(&standing, &mut slow, &skeleton);
        assert!((turn(&slow) - 0.02).abs() < 1e-9);
        for angle in [0.14, 0.4, 2.0] {
            let mut fast = turned(angle);
            limits.calm(&standing, &mut fast, &skeleton);
            let way = skeleton.forward(&standing).way(&skeleton.forward(&fast));
            assert!(way <= 2.9 / 30.0 && turn(&fast) <= 0.15, "{angle}: {way}");
            assert!(turn(&fast) > 0.03, "{angle}");
        }
        let mut same = standing.clone();
        limits.calm(&standing, &mut same, &skeleton);
        assert_eq!(same, standing);
    }

    #[test]
    fn a_pose_is_approached_joint_by_joint() {
        let limits = FrameLimits::default();
        let about = |angle: f64| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
        let pose = |height: f64, angle: f64| Pose {
            root: Vector3::new(0.0, height, 0.0),
            rotations: vec![about(0.0), about(angle)],
        };
        let last = pose(1.0, 0.0);
        assert_eq!(limits.pose(&last, pose(1.1, 1.4)), (pose(1.1, 1.4), false));
        let (reached, limited) = limits.pose(&last, pose(9.0, PI - 0.1));
        assert!(limited && (reached.root.y - (1.0 + 1.0 / 3.0)).abs() < 1e-12);
        assert!((reached.rotations[1].angle() - 1.5).abs() < 1e-9);
        let (held, limited) = limits.pose(&last, pose(f64::NAN, 0.0));
        assert!(limited && held == last);
    }

    #[test]
    fn limits_out_of_range_are_named() {
        FrameLimits::default().check().unwrap();
        let wrong = FrameLimits {
            hips_height: [1.0, 0.5],
            ..FrameLimits::default()
        };
        let message = wrong.check().unwrap_err().to_string();
        assert!(message.contains("hips_height is 0.5"), "{message}");
    }
}
