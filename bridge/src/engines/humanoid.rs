//! A character's pose as that of a humanoid: which joint is which bone, and every bone against the one it hangs on.
//!
//! Rotations are told against a T-pose in which no bone is turned (VRM's normalised bones): a character's skeleton at
//! rest is such a pose. Joints that are no bone are not lost: their turning is in the bones behind them.

use std::collections::BTreeMap;

use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use serde::{Deserialize, Serialize};

use super::bone::HumanBone;
use crate::skeleton::{JointInfo, SkeletonInfo};
use crate::wire::Pose;

/// How a character is told to engines: the file behind `--humanoid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HumanoidConfig {
    /// What the root is.
    pub root: RootPlace,
    /// Factor on all lengths, for a figure of another size: its hips' height by 0.97. Above 0, at most 100.
    pub scale: f64,
    /// Bone of the humanoid = joint of the character. Given at all, it is the whole list; the hips must be in it.
    pub joints: BTreeMap<HumanBone, String>,
    /// What Live Link needs beyond that.
    pub live_link: LiveLinkConfig,
}

/// What the root of a humanoid is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootPlace {
    /// The point on the ground that is steered, turned as the character is: locomotion is in the root.
    #[default]
    Ground,
    /// The origin of the world: the hips carry all, for receivers that ignore the root.
    Origin,
}

/// Names and rest rotations of the skeleton in Unreal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveLinkConfig {
    /// Name of the root bone.
    pub root: String,
    /// Bone of the humanoid = its name in Unreal; the others keep the humanoid's.
    pub names: BTreeMap<HumanBone, String>,
    /// Bone of the humanoid = how its frame is turned in component space when the figure stands in a T-pose and faces +X:
    /// a quaternion x, y, z, w in Unreal's axes, of any length but 0. The others are not turned.
    pub rest: BTreeMap<HumanBone, [f64; 4]>,
}

impl Default for LiveLinkConfig {
    fn default() -> Self {
        Self {
            root: "Root".into(),
            names: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }
}

/// The bones of kinestream's own character.
const CHARACTER: [(&str, &str); 22] = [
    ("Hips", "Hips"),
    ("Spine", "Spine"),
    ("Chest", "Spine1"),
    ("UpperChest", "Spine2"),
    ("Neck", "Neck"),
    ("Head", "Head"),
    ("LeftShoulder", "LeftShoulder"),
    ("LeftUpperArm", "LeftArm"),
    ("LeftLowerArm", "LeftForeArm"),
    ("LeftHand", "LeftHand"),
    ("RightShoulder", "RightShoulder"),
    ("RightUpperArm", "RightArm"),
    ("RightLowerArm", "RightForeArm"),
    ("RightHand", "RightHand"),
    ("LeftUpperLeg", "LeftUpLeg"),
    ("LeftLowerLeg", "LeftLeg"),
    ("LeftFoot", "LeftFoot"),
    ("LeftToes", "LeftToe"),
    ("RightUpperLeg", "RightUpLeg"),
    ("RightLowerLeg", "RightLeg"),
    ("RightFoot", "RightFoot"),
    ("RightToes", "RightToe"),
];

impl Default for HumanoidConfig {
    fn default() -> Self {
        let joints = CHARACTER
            .iter()
            .filter_map(|(bone, joint)| Some((HumanBone::named(bone)?, (*joint).to_owned())));
        Self {
            root: RootPlace::default(),
            scale: 1.0,
            joints: joints.collect(),
            live_link: LiveLinkConfig::default(),
        }
    }
}

/// A place and a rotation against a parent, in kinestream's axes and metres.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Place {
    /// Where, m.
    pub position: Vector3<f64>,
    /// How turned.
    pub rotation: UnitQuaternion<f64>,
}

/// The point on the ground that is steered.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ground {
    /// x and z, m.
    pub position: [f64; 2],
    /// Angle about Y, rad: 0 faces +Z, a quarter turn +X.
    pub heading: f64,
}

/// A pose of a humanoid.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HumanPose {
    /// Seconds since the character began.
    pub seconds: f64,
    /// The root in the world.
    pub root: Place,
    /// Every bone against the bone it hangs on, the hips against the root; in the order of [`Humanoid::bones`].
    pub bones: Vec<Place>,
}

/// Which joints of a skeleton are which bones.
#[derive(Debug, Clone)]
pub struct Humanoid {
    joints: Vec<JointInfo>,
    bones: Vec<HumanBone>,
    /// Joint of every bone, and the bone that it hangs on; none for the hips.
    places: Vec<(usize, Option<usize>)>,
    root: RootPlace,
    scale: f64,
}

impl Humanoid {
    /// Finds the bones of a skeleton.
    ///
    /// # Errors
    /// A joint that is not there or is two bones, no hips, a scale out of its range.
    pub fn new(skeleton: &SkeletonInfo, config: &HumanoidConfig) -> Result<Self, HumanoidError> {
        if !(config.scale > 0.0 && config.scale <= 100.0) {
            return Err(HumanoidError::Scale {
                found: config.scale,
            });
        }
        let bones: Vec<HumanBone> = config.joints.keys().copied().collect();
        if !bones.contains(&HumanBone::HIPS) {
            return Err(HumanoidError::NoHips);
        }
        let mut places: Vec<(usize, Option<usize>)> = Vec::with_capacity(bones.len());
        for (bone, name) in &config.joints {
            let joint = skeleton
                .joints
                .iter()
                .position(|joint| joint.name == *name)
                .ok_or_else(|| HumanoidError::NoJoint {
                    bone: *bone,
                    joint: name.clone(),
                    found: skeleton
                        .joints
                        .iter()
                        .map(|joint| &*joint.name)
                        .collect::<Vec<_>>()
                        .join(", "),
                })?;
            if let Some(other) = places.iter().position(|(taken, _)| *taken == joint) {
                return Err(HumanoidError::Twice {
                    joint: name.clone(),
                    bones: [bones[other], *bone],
                });
            }
            let mut parent = bone.parent();
            let on = loop {
                // A bone that this humanoid lacks is passed over.
                match parent {
                    None => break None,
                    Some(above) => match bones.iter().position(|bone| *bone == above) {
                        Some(index) => break Some(index),
                        None => parent = above.parent(),
                    },
                }
            };
            places.push((joint, on));
        }
        Ok(Self {
            joints: skeleton.joints.clone(),
            bones,
            places,
            root: config.root,
            scale: config.scale,
        })
    }

    /// The bones, parents before their children.
    #[must_use]
    pub fn bones(&self) -> &[HumanBone] {
        &self.bones
    }

    /// Index of the bone that a bone hangs on; none for the hips.
    #[must_use]
    pub fn parent(&self, bone: usize) -> Option<usize> {
        self.places[bone].1
    }

    /// A pose of the skeleton as one of the humanoid. `seconds` is the character's time.
    ///
    /// # Errors
    /// A pose with another number of rotations than the skeleton has joints.
    pub fn pose(
        &self,
        pose: &Pose,
        ground: Ground,
        seconds: f64,
    ) -> Result<HumanPose, HumanoidError> {
        if pose.rotations.len() != self.joints.len() {
            return Err(HumanoidError::Joints {
                expected: self.joints.len(),
                found: pose.rotations.len(),
            });
        }
        let world = self.world(pose);
        let root = match self.root {
            RootPlace::Origin => Place::default(),
            RootPlace::Ground => Place {
                position: Vector3::new(ground.position[0], 0.0, ground.position[1]),
                rotation: UnitQuaternion::from_axis_angle(&Vector3::y_axis(), ground.heading),
            },
        };
        let bones = self.places.iter().map(|(joint, parent)| {
            let above = parent.map_or(root, |parent| world[self.places[parent].0]);
            let mut place = against(&world[*joint], &above);
            place.position *= self.scale;
            place
        });
        Ok(HumanPose {
            seconds,
            bones: bones.collect(),
            root: Place {
                position: root.position * self.scale,
                ..root
            },
        })
    }

    /// Every joint in the world.
    fn world(&self, pose: &Pose) -> Vec<Place> {
        let mut world: Vec<Place> = Vec::with_capacity(self.joints.len());
        for (joint, [x, y, z, w]) in self.joints.iter().zip(&pose.rotations) {
            let [x, y, z, w] = [*x, *y, *z, *w].map(f64::from);
            let turn = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
            let place = match joint.parent {
                None => Place {
                    position: Vector3::from(pose.root_position),
                    rotation: turn,
                },
                Some(parent) => {
                    let above = world[parent];
                    Place {
                        position: above.position + above.rotation * Vector3::from(joint.offset),
                        rotation: above.rotation * turn,
                    }
                }
            };
            world.push(place);
        }
        world
    }
}

/// A place in the world, seen from another one.
fn against(place: &Place, above: &Place) -> Place {
    let back = above.rotation.inverse();
    Place {
        position: back * (place.position - above.position),
        rotation: back * place.rotation,
    }
}

/// Why a humanoid cannot be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HumanoidError {
    /// The scale is out of its range.
    #[error("scale: expected above 0 and at most 100, found {found}")]
    Scale {
        /// What was given.
        found: f64,
    },
    /// Nothing to hang the bones on.
    #[error("joints: no Hips; add Hips = \"...\" with the character's first joint")]
    NoHips,
    /// A joint that the character does not have.
    #[error("joints.{bone}: the character has no joint {joint:?}; it has {found}")]
    NoJoint {
        /// Of this bone.
        bone: HumanBone,
        /// The name.
        joint: String,
        /// Those that there are.
        found: String,
    },
    /// One joint, two bones.
    #[error("joints: {joint:?} is {} and {}; expected every joint once at most", .bones[0], .bones[1])]
    Twice {
        /// The joint.
        joint: String,
        /// The bones.
        bones: [HumanBone; 2],
    },
    /// A pose of another skeleton.
    #[error("pose: expected {expected} rotations, as the skeleton has joints, found {found}")]
    Joints {
        /// Joints of the skeleton.
        expected: usize,
        /// Rotations of the pose.
        found: usize,
    },
    /// A rest rotation without a direction.
    #[error("live_link.rest.{bone}: expected a quaternion x, y, z, w that is finite and not zero")]
    Rest {
        /// Of this bone.
        bone: HumanBone,
    },
    /// A name or a rest rotation for a bone that is not told.
    #[error(
        "live_link.{table}.{bone}: no joint is this bone; name one under joints, or leave it out"
    )]
    NoBone {
        /// `names` or `rest`.
        table: &'static str,
        /// The bone.
        bone: HumanBone,
    },
    /// A name that Unreal or a datagram has no room for.
    #[error("name: expected 1 to 64 bytes, found {found:?}")]
    Name {
        /// The name.
        found: String,
    },
    /// Two bones of one name.
    #[error("live_link.names: {name:?} is the name of two bones; expected every name once")]
    SameName {
        /// The name.
        name: String,
    },
}

#[cfg(test)]
mod tests;
