//! The one character of kinestream: 22 joints in metres, at rest in a T-pose on the floor, facing
//! +Z, arms along the X axis, palms down. Every clip is brought onto it before it is learned from.
//!
//! An adult of 1.75 m. Legs, feet and spine follow the performer of ACCAD's "Male1" clips, whose
//! BVH files state a thigh of 45.5 cm, a shin of 46.8 and 14.1 from ankle to ball, times 0.92 and
//! rounded; upper arm and forearm lie between his (28.7 and 27.5 cm, times 0.92) and those of CMU's
//! subjects. Heights of hip joint, seventh neck vertebra and shoulder agree to 3 cm with 0.530,
//! 0.845 and 0.818 of the stature (D. A. Winter, Biomechanics and Motor Control of Human Movement).
//! Left and right are exact mirror images.

use nalgebra::Vector3;

use crate::{Error, Joint, Result, Skeleton};

/// Number of joints.
pub const JOINTS: usize = 22;

/// Height of the hips above the sole at rest, in metres.
pub const HIPS_HEIGHT: f64 = 0.97;

/// Height of the ankles above the sole with the foot flat, in metres.
pub const ANKLE_HEIGHT: f64 = 0.08;

/// Height of the balls of the feet (joints `LeftToe`, `RightToe`) above the sole with the foot
/// flat, in metres; that of the tips of the toes too.
pub const TOE_HEIGHT: f64 = 0.02;

/// Length of thigh and shin together, in metres: what a leg reaches, from hip joint to ankle.
pub const LEG_LENGTH: f64 = 0.85;

/// A joint of the character; as a number its index in [`skeleton`].
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Bone {
    Hips,
    Spine,
    Spine1,
    Spine2,
    Neck,
    Head,
    LeftShoulder,
    LeftArm,
    LeftForeArm,
    LeftHand,
    RightShoulder,
    RightArm,
    RightForeArm,
    RightHand,
    LeftUpLeg,
    LeftLeg,
    LeftFoot,
    LeftToe,
    RightUpLeg,
    RightLeg,
    RightFoot,
    RightToe,
}

impl Bone {
    /// All joints in the order of their indices, parents before children.
    pub const ALL: [Self; JOINTS] = [
        Self::Hips,
        Self::Spine,
        Self::Spine1,
        Self::Spine2,
        Self::Neck,
        Self::Head,
        Self::LeftShoulder,
        Self::LeftArm,
        Self::LeftForeArm,
        Self::LeftHand,
        Self::RightShoulder,
        Self::RightArm,
        Self::RightForeArm,
        Self::RightHand,
        Self::LeftUpLeg,
        Self::LeftLeg,
        Self::LeftFoot,
        Self::LeftToe,
        Self::RightUpLeg,
        Self::RightLeg,
        Self::RightFoot,
        Self::RightToe,
    ];

    /// Index in [`skeleton`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Name in [`skeleton`] and in the files that are written.
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].0
    }

    /// Index of the parent; none for the hips.
    pub const fn parent(self) -> Option<usize> {
        let parent = TABLE[self as usize].1;
        if parent == NONE { None } else { Some(parent) }
    }
}

/// For every joint the index of the one on the other side; of those in the middle their own.
pub const MIRROR: [usize; JOINTS] = [
    0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 6, 7, 8, 9, 18, 19, 20, 21, 14, 15, 16, 17,
];

/// In place of a parent: the root has none.
const NONE: usize = usize::MAX;

/// Name, parent, and place on the parent at rest in metres; of the root, above the sole.
const TABLE: [(&str, usize, [f64; 3]); JOINTS] = [
    ("Hips", NONE, [0.0, HIPS_HEIGHT, 0.0]),
    ("Spine", 0, [0.0, 0.09, -0.01]),
    ("Spine1", 1, [0.0, 0.12, 0.0]),
    ("Spine2", 2, [0.0, 0.12, 0.0]),
    ("Neck", 3, [0.0, 0.19, 0.0]),
    ("Head", 4, [0.0, 0.09, 0.02]),
    ("LeftShoulder", 3, [0.05, 0.13, 0.0]),
    ("LeftArm", 6, [0.13, 0.0, 0.0]),
    ("LeftForeArm", 7, [0.285, 0.0, 0.0]),
    ("LeftHand", 8, [0.265, 0.0, 0.0]),
    ("RightShoulder", 3, [-0.05, 0.13, 0.0]),
    ("RightArm", 10, [-0.13, 0.0, 0.0]),
    ("RightForeArm", 11, [-0.285, 0.0, 0.0]),
    ("RightHand", 12, [-0.265, 0.0, 0.0]),
    ("LeftUpLeg", 0, [0.09, -0.04, 0.0]),
    ("LeftLeg", 14, [0.0, -0.42, 0.0]),
    ("LeftFoot", 15, [0.0, -0.43, 0.0]),
    ("LeftToe", 16, [0.0, -0.06, 0.12]),
    ("RightUpLeg", 0, [-0.09, -0.04, 0.0]),
    ("RightLeg", 18, [0.0, -0.42, 0.0]),
    ("RightFoot", 19, [0.0, -0.43, 0.0]),
    ("RightToe", 20, [0.0, -0.06, 0.12]),
];

/// Tips: of head, hands and toes, on their joints.
const ENDS: [(usize, [f64; 3]); 5] = [
    (Bone::Head as usize, [0.0, 0.17, 0.0]),
    (Bone::LeftHand as usize, [0.17, 0.0, 0.0]),
    (Bone::RightHand as usize, [-0.17, 0.0, 0.0]),
    (Bone::LeftToe as usize, [0.0, 0.0, 0.06]),
    (Bone::RightToe as usize, [0.0, 0.0, 0.06]),
];

/// The skeleton of the character in metres. Its root's offset is where the hips are at rest.
///
/// # Panics
/// Never: the table makes a skeleton, a test says so.
pub fn skeleton() -> Skeleton {
    let joints = TABLE
        .iter()
        .map(|(name, parent, offset)| Joint {
            name: (*name).to_string(),
            parent: (*parent != NONE).then_some(*parent),
            offset: Vector3::from(*offset),
        })
        .collect();
    let ends = ENDS
        .iter()
        .map(|(joint, offset)| (*joint, Vector3::from(*offset)))
        .collect();
    match Skeleton::new(joints, ends) {
        Ok(skeleton) => skeleton,
        Err(error) => unreachable!("the table of the character is wrong: {error}"),
    }
}

/// Index of a joint of [`skeleton`] by its name.
pub fn joint(name: &str) -> Option<usize> {
    TABLE.iter().position(|(found, _, _)| *found == name)
}

/// Place of a joint on its parent at rest, in metres.
pub fn offset(bone: Bone) -> Vector3<f64> {
    Vector3::from(TABLE[bone.index()].2)
}

/// That a skeleton has the joints of the character, in its order.
///
/// # Errors
/// Other joints, naming the first that differs.
pub fn check(skeleton: &Skeleton) -> Result<()> {
    let joints = skeleton.joints();
    for bone in Bone::ALL {
        let found = joints.get(bone.index());
        if found.is_none_or(|joint| joint.name != bone.name() || joint.parent != bone.parent()) {
            return Err(Error::Skeleton(format!(
                "joint {} is {}, expected `{}` of the character with {JOINTS} joints; retarget the \
                 clip first",
                bone.index(),
                found.map_or("missing".to_string(), |joint| format!("`{}`", joint.name)),
                bone.name(),
            )));
        }
    }
    if joints.len() > JOINTS {
        return Err(Error::Skeleton(format!(
            "{} joints, expected the {JOINTS} of the character; retarget the clip first",
            joints.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nalgebra::UnitQuaternion;

    use super::*;
    use crate::Pose;

    fn at_rest() -> Vec<Vector3<f64>> {
        let skeleton = skeleton();
        let pose = Pose {
            root: skeleton.joints()[0].offset,
            rotations: vec![UnitQuaternion::identity(); JOINTS],
        };
        skeleton.forward(&pose).positions
    }

    #[test]
    fn it_stands_on_the_floor_and_has_the_stature_of_an_adult() {
        let skeleton = skeleton();
        check(&skeleton).unwrap();
        let positions = at_rest();
        let height = |bone: Bone| positions[bone.index()].y;
        for (ankle, ball) in [
            (Bone::LeftFoot, Bone::LeftToe),
            (Bone::RightFoot, Bone::RightToe),
        ] {
            assert!((height(ankle) - ANKLE_HEIGHT).abs() < 1e-12);
            assert!((height(ball) - TOE_HEIGHT).abs() < 1e-12);
        }
        let top = height(Bone::Head) + skeleton.ends()[0].1.y;
        assert!((top - 1.75).abs() < 1e-12);
        let leg = offset(Bone::LeftLeg).norm() + offset(Bone::LeftFoot).norm();
        assert!((leg - LEG_LENGTH).abs() < 1e-12);
    }

    #[test]
    fn the_two_sides_mirror_each_other() {
        let positions = at_rest();
        for bone in Bone::ALL {
            let other = MIRROR[bone.index()];
            assert_eq!(MIRROR[other], bone.index());
            let mirrored = positions[other].component_mul(&Vector3::new(-1.0, 1.0, 1.0));
            assert!((positions[bone.index()] - mirrored).norm() < 1e-12);
            let name = bone.name();
            let swapped = match name.strip_prefix("Left") {
                Some(rest) => format!("Right{rest}"),
                None => name
                    .strip_prefix("Right")
                    .map_or(name.into(), |rest| format!("Left{rest}")),
            };
            assert_eq!(TABLE[other].0, swapped);
            assert_eq!(Bone::ALL[bone.index()], bone);
            if name.starts_with("Left") {
                assert!(positions[bone.index()].x > 0.0);
            }
        }
    }

    #[test]
    fn other_skeletons_are_refused_by_name() {
        let mut joints = skeleton().joints().to_vec();
        joints[3].name = "Chest".into();
        let refused = check(&Skeleton::new(joints, vec![]).unwrap()).unwrap_err();
        let message = refused.to_string();
        assert!(
            message.contains("`Chest`") && message.contains("`Spine2`"),
            "{message}"
        );
    }
}
