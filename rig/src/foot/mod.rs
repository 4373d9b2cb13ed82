//! Feet: which joints they are, how high they stand at rest, and how a live character keeps them
//! still while they carry it ([`lock`], between frames [`mod@between`]).
//!
//! Everywhere in this crate the four points of the feet come in one order: left ankle, left toe,
//! right ankle, right toe. A contact of the ankle means that the heel is on the ground.

pub mod between;
mod config;
pub mod lock;
mod spring;
mod two_bone;

use nalgebra::{UnitQuaternion, Vector3};

use crate::{Clip, Error, GlobalPose, Pose, Result, Skeleton};

pub use config::FootLockConfig;
pub use lock::{FootLock, FootState};

/// Joints of a leg, each the parent of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// Where the thigh turns, at the pelvis.
    pub hip: usize,
    /// Where the shin turns.
    pub knee: usize,
    /// Where the foot turns.
    pub ankle: usize,
    /// The ball of the foot, where the toes turn.
    pub toe: usize,
}

/// The legs of a character, and how high the joints of its feet are while it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feet {
    /// Left and right leg.
    pub legs: [Leg; 2],
    /// Height of the ankle over the floor with the foot flat on it, in metres.
    pub ankle_height: f64,
    /// Height of the toe joint over the floor with the foot flat on it, in metres.
    pub toe_height: f64,
}

impl Leg {
    /// A leg by the indices of its joints.
    ///
    /// # Errors
    /// An index without a joint, joints that are not each the parent of the next, a hip without a
    /// parent, or a bone without length.
    pub fn new(skeleton: &Skeleton, [hip, knee, ankle, toe]: [usize; 4]) -> Result<Self> {
        let joints = skeleton.joints();
        if hip >= joints.len() || joints[hip].parent.is_none() {
            return Err(Error::Skeleton(format!(
                "joint {hip} is no hip of a leg: expected a joint with a parent"
            )));
        }
        for (parent, child) in [(hip, knee), (knee, ankle), (ankle, toe)] {
            match joints.get(child) {
                Some(joint) if joint.parent == Some(parent) && joint.offset.norm() > 1e-6 => {}
                _ => {
                    return Err(Error::Skeleton(format!(
                        "joint {child} does not continue the leg of joint {parent} (`{}`): expected a child at some \
                         distance from it",
                        joints[parent].name
                    )));
                }
            }
        }
        Ok(Self {
            hip,
            knee,
            ankle,
            toe,
        })
    }

    /// The left and the right leg by the usual names: `LeftUpLeg`, `LeftLeg`, `LeftFoot`, `LeftToe`.
    ///
    /// # Errors
    /// A joint that is missing, and what [`Leg::new`] refuses.
    pub fn pair(skeleton: &Skeleton) -> Result<[Self; 2]> {
        let leg = |side: &str| {
            let mut indices = [0; 4];
            for (index, part) in indices.iter_mut().zip(["UpLeg", "Leg", "Foot", "Toe"]) {
                let name = format!("{side}{part}");
                *index = skeleton.index(&name).ok_or_else(|| {
                    Error::Skeleton(format!("a leg needs the joint `{name}`, which is missing"))
                })?;
            }
            Self::new(skeleton, indices)
        };
        Ok([leg("Left")?, leg("Right")?])
    }
}

impl Feet {
    /// The feet of a skeleton that stands flat on a floor at height 0 when all its rotations are
    /// zero and its root is at its own offset. [`Feet::measured`] takes the heights from a motion
    /// instead.
    ///
    /// # Errors
    /// As [`Leg::pair`]; ankles or toes that are below the floor or higher than the shin is long.
    pub fn at_rest(skeleton: &Skeleton) -> Result<Self> {
        let legs = Leg::pair(skeleton)?;
        let joints = skeleton.joints();
        let rest = Pose {
            root: joints[0].offset,
            rotations: vec![UnitQuaternion::identity(); skeleton.len()],
        };
        let global = skeleton.forward(&rest);
        let height = |joint: fn(&Leg) -> usize| {
            legs.iter()
                .map(|leg| global.positions[joint(leg)].y)
                .sum::<f64>()
                / 2.0
        };
        let (ankle_height, toe_height) = (height(|leg| leg.ankle), height(|leg| leg.toe));
        let shin = joints[legs[0].ankle].offset.norm();
        if ![ankle_height, toe_height]
            .iter()
            .all(|height| (0.0..shin).contains(height))
        {
            return Err(Error::Skeleton(format!(
                "at rest the ankles are {ankle_height} and the toes {toe_height} over the floor: expected 0 to {shin}, \
                 with the offset of the root as its height over the floor"
            )));
        }
        Ok(Self {
            legs,
            ankle_height,
            toe_height,
        })
    }

    /// The same legs, with the heights at which they spend their lowest 5 % of the frames of a clip
    /// (that quantile of both sides together), over a floor at height 0. None without frames.
    #[must_use]
    pub fn measured(self, clip: &Clip) -> Option<Self> {
        let mut heights = [Vec::new(), Vec::new()];
        let mut global = GlobalPose::default();
        for pose in &clip.frames {
            clip.skeleton.forward_into(pose, &mut global);
            for leg in &self.legs {
                heights[0].push(global.positions[leg.ankle].y);
                heights[1].push(global.positions[leg.toe].y);
            }
        }
        let [ankle, toe] = heights.map(|mut heights| {
            heights.sort_by(f64::total_cmp);
            heights.get(heights.len() / 20).copied()
        });
        Some(Self {
            ankle_height: ankle?,
            toe_height: toe?,
            ..self
        })
    }

    /// The four joints: left ankle, left toe, right ankle, right toe.
    pub fn joints(&self) -> [usize; 4] {
        let [left, right] = &self.legs;
        [left.ankle, left.toe, right.ankle, right.toe]
    }

    /// Heights at rest of these four joints, in metres over the floor.
    pub fn rest_heights(&self) -> [f64; 4] {
        [
            self.ankle_height,
            self.toe_height,
            self.ankle_height,
            self.toe_height,
        ]
    }

    /// Positions of these four joints.
    pub fn positions(&self, global: &GlobalPose) -> [Vector3<f64>; 4] {
        self.joints().map(|joint| global.positions[joint])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Joint;

    /// Hips and two legs: thigh 0.43 m, shin 0.42 m, foot 0.15 m, standing on the floor with the
    /// hips at 0.95 m.
    pub(crate) fn legs() -> Skeleton {
        let mut joints = vec![Joint {
            name: "Hips".into(),
            parent: None,
            offset: Vector3::new(0.0, 0.95, 0.0),
        }];
        for (side, sign) in [("Left", 1.0), ("Right", -1.0)] {
            let hip = joints.len();
            for (part, parent, offset) in [
                ("UpLeg", 0, [0.1 * sign, -0.02, 0.0]),
                ("Leg", hip, [0.0, -0.43, 0.0]),
                ("Foot", hip + 1, [0.0, -0.42, 0.0]),
                ("Toe", hip + 2, [0.0, -0.06, 0.14]),
            ] {
                joints.push(Joint {
                    name: format!("{side}{part}"),
                    parent: Some(parent),
                    offset: Vector3::from(offset),
                });
            }
        }
        Skeleton::new(joints, vec![]).unwrap()
    }

    #[test]
    fn heights_at_rest_are_over_the_floor_that_the_root_stands_on() {
        let feet = Feet::at_rest(&legs()).unwrap();
        assert!((feet.ankle_height - 0.08).abs() < 1e-12);
        assert!((feet.toe_height - 0.02).abs() < 1e-12);
        assert_eq!(feet.joints(), [3, 4, 7, 8]);
        let mut joints = legs().joints().to_vec();
        joints[0].offset = Vector3::zeros();
        let hanging = Skeleton::new(joints, vec![]).unwrap();
        let message = Feet::at_rest(&hanging).unwrap_err().to_string();
        assert!(message.contains("the offset of the root"), "{message}");
    }

    #[test]
    fn heights_are_measured_on_a_motion() {
        let skeleton = legs();
        let frames = (0..100)
            .map(|frame| Pose {
                root: Vector3::new(0.0, 0.96 + 0.001 * f64::from(frame), 0.0),
                rotations: vec![UnitQuaternion::identity(); skeleton.len()],
            })
            .collect();
        let clip = Clip {
            skeleton: skeleton.clone(),
            frame_rate: 30.0,
            frames,
        };
        let feet = Feet::at_rest(&skeleton).unwrap().measured(&clip).unwrap();
        assert!((feet.ankle_height - 0.095).abs() < 1e-9, "{feet:?}");
        assert!((feet.toe_height - 0.035).abs() < 1e-9, "{feet:?}");
    }

    #[test]
    fn a_leg_that_is_no_chain_is_refused() {
        let skeleton = legs();
        assert!(Leg::new(&skeleton, [1, 2, 3, 4]).is_ok());
        for wrong in [[1, 2, 3, 8], [0, 1, 2, 3], [1, 3, 2, 4], [1, 2, 3, 99]] {
            assert!(Leg::new(&skeleton, wrong).is_err(), "{wrong:?}");
        }
        let none = Skeleton::new(skeleton.joints()[..5].to_vec(), vec![]).unwrap();
        let message = Leg::pair(&none).unwrap_err().to_string();
        assert!(message.contains("RightUpLeg"), "{message}");
    }
}
