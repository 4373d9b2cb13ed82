//! Skeletons: trees of joints with their rest offsets, and forward kinematics on them.

use nalgebra::{UnitQuaternion, Vector3};

use crate::clip::Pose;
use crate::{Error, Result};

/// A joint and where it sits on its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Name, unique in its skeleton.
    pub name: String,
    /// Index of the parent, below the joint's own; none for the root.
    pub parent: Option<usize>,
    /// Place in the parent's frame at rest.
    pub offset: Vector3<f64>,
}

/// A tree of joints, parents before their children. Joint 0 is the one root.
#[derive(Debug, Clone, PartialEq)]
pub struct Skeleton {
    joints: Vec<Joint>,
    /// Points without a rotation of their own (tips of toes, fingers, head), and the joints that carry them.
    ends: Vec<(usize, Vector3<f64>)>,
}

/// Where every joint is and how it is turned, in the world.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlobalPose {
    /// Positions, one per joint.
    pub positions: Vec<Vector3<f64>>,
    /// Rotations from the joint's frame to the world, one per joint.
    pub rotations: Vec<UnitQuaternion<f64>>,
}

impl GlobalPose {
    /// Root mean square over joints of their way to another pose as the hips see it, metres.
    pub fn way(&self, other: &Self) -> f64 {
        let seen = |pose: &Self, joint: usize| pose.positions[joint] - pose.positions[0];
        let count = self.positions.len().min(other.positions.len());
        let squares: f64 = (0..count)
            .map(|joint| (seen(other, joint) - seen(self, joint)).norm_squared())
            .sum();
        (squares / count.max(1) as f64).sqrt()
    }
}

impl Skeleton {
    /// Puts a skeleton together; `ends` are points fixed to joints, as (joint, offset).
    ///
    /// # Errors
    /// No joint, a name twice, a root that is not the first joint or not the only one, a parent that
    /// does not come before its child, an offset that is not finite, an end on a joint that is not there.
    pub fn new(joints: Vec<Joint>, ends: Vec<(usize, Vector3<f64>)>) -> Result<Self> {
        if joints.is_empty() {
            return Err(Error::Skeleton("no joints, expected at least one".into()));
        }
        for (index, joint) in joints.iter().enumerate() {
            let name = &joint.name;
            match joint.parent {
                None if index > 0 => {
                    return Err(Error::Skeleton(format!(
                        "joint `{name}` has no parent, but the root is `{}`",
                        joints[0].name
                    )));
                }
                Some(parent) if parent >= index => {
                    return Err(Error::Skeleton(format!(
                        "joint `{name}` comes before its parent or is its own ancestor"
                    )));
                }
                _ => {}
            }
            if !joint.offset.iter().all(|value| value.is_finite()) {
                return Err(Error::Skeleton(format!(
                    "the offset of joint `{name}` is not finite"
                )));
            }
            if joints[..index].iter().any(|other| other.name == *name) {
                return Err(Error::Skeleton(format!("two joints are named `{name}`")));
            }
        }
        if let Some((joint, _)) = ends.iter().find(|(joint, _)| *joint >= joints.len()) {
            return Err(Error::Skeleton(format!(
                "an end belongs to joint {joint}, but there are {} joints",
                joints.len()
            )));
        }
        Ok(Self { joints, ends })
    }

    /// All joints, parents before children.
    pub fn joints(&self) -> &[Joint] {
        &self.joints
    }

    /// Points fixed to joints: (joint, offset).
    pub fn ends(&self) -> &[(usize, Vector3<f64>)] {
        &self.ends
    }

    /// Number of joints J.
    pub fn len(&self) -> usize {
        self.joints.len()
    }

    /// Never: a skeleton has a root.
    pub fn is_empty(&self) -> bool {
        self.joints.is_empty()
    }

    /// Index of a joint by its name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.joints.iter().position(|joint| joint.name == name)
    }

    /// The same skeleton with all lengths times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        for joint in &mut scaled.joints {
            joint.offset *= factor;
        }
        for (_, offset) in &mut scaled.ends {
            *offset *= factor;
        }
        scaled
    }

    /// Forward kinematics: where a pose puts every joint. The root's offset is not added to the pose's root.
    pub fn forward(&self, pose: &Pose) -> GlobalPose {
        let mut global = GlobalPose::default();
        self.forward_into(pose, &mut global);
        global
    }

    /// [`Skeleton::forward`] into memory that is used again. The pose must have a rotation for every joint.
    pub fn forward_into(&self, pose: &Pose, global: &mut GlobalPose) {
        debug_assert_eq!(pose.rotations.len(), self.joints.len());
        global.positions.clear();
        global.rotations.clear();
        for (joint, local) in self.joints.iter().zip(&pose.rotations) {
            let (position, rotation) = match joint.parent {
                None => (pose.root, *local),
                Some(parent) => {
                    let above = global.rotations[parent];
                    (
                        global.positions[parent] + above * joint.offset,
                        above * local,
                    )
                }
            };
            global.positions.push(position);
            global.rotations.push(rotation);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::*;

    fn joint(name: &str, parent: Option<usize>, offset: [f64; 3]) -> Joint {
        Joint {
            name: name.into(),
            parent,
            offset: Vector3::from(offset),
        }
    }

    #[test]
    fn children_turn_with_their_parents() {
        let skeleton = Skeleton::new(
            vec![
                joint("root", None, [0.0; 3]),
                joint("arm", Some(0), [1.0, 0.0, 0.0]),
                joint("hand", Some(1), [1.0, 0.0, 0.0]),
            ],
            vec![],
        )
        .unwrap();
        let quarter = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), FRAC_PI_2);
        let pose = Pose {
            root: Vector3::new(0.0, 1.0, 0.0),
            rotations: vec![quarter, quarter, quarter],
        };
        let global = skeleton.forward(&pose);
        assert!((global.positions[1] - Vector3::new(0.0, 1.0, -1.0)).norm() < 1e-12);
        assert!((global.positions[2] - Vector3::new(-1.0, 1.0, -1.0)).norm() < 1e-12);
        assert!((global.rotations[2].angle() - FRAC_PI_2).abs() < 1e-12);
    }

    #[test]
    fn trees_that_are_none_are_refused_by_name() {
        let refused = |joints: Vec<Joint>, words: &str| {
            let message = Skeleton::new(joints, vec![]).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        };
        refused(vec![], "no joints");
        refused(vec![joint("a", Some(0), [0.0; 3])], "its own ancestor");
        let root = || joint("root", None, [0.0; 3]);
        refused(
            vec![root(), joint("b", None, [0.0; 3])],
            "`b` has no parent",
        );
        refused(vec![root(), root()], "has no parent");
        refused(vec![root(), joint("root", Some(0), [0.0; 3])], "two joints");
        refused(vec![root(), joint("b", Some(0), [f64::NAN; 3])], "finite");
    }
}
