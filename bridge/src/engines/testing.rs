//! A pose whose numbers can be told by looking at it.

use std::f64::consts::FRAC_PI_2;

use nalgebra::{UnitQuaternion, Vector3};

use super::humanoid::{Ground, HumanPose, Humanoid, HumanoidConfig};
use crate::skeleton::{JointInfo, SkeletonInfo};
use crate::wire::{Contacts, Pose, PoseFlags};

/// Joints with the names, parents and offsets of kinestream's character (`rig/src/character.rs`), in its order.
const JOINTS: [(&str, Option<usize>, [f64; 3]); 22] = [
    ("Hips", None, [0.0, 0.97, 0.0]),
    ("Spine", Some(0), [0.0, 0.09, -0.01]),
    ("Spine1", Some(1), [0.0, 0.12, 0.0]),
    ("Spine2", Some(2), [0.0, 0.12, 0.0]),
    ("Neck", Some(3), [0.0, 0.19, 0.0]),
    ("Head", Some(4), [0.0, 0.09, 0.02]),
    ("LeftShoulder", Some(3), [0.05, 0.13, 0.0]),
    ("LeftArm", Some(6), [0.13, 0.0, 0.0]),
    ("LeftForeArm", Some(7), [0.285, 0.0, 0.0]),
    ("LeftHand", Some(8), [0.265, 0.0, 0.0]),
    ("RightShoulder", Some(3), [-0.05, 0.13, 0.0]),
    ("RightArm", Some(10), [-0.13, 0.0, 0.0]),
    ("RightForeArm", Some(11), [-0.285, 0.0, 0.0]),
    ("RightHand", Some(12), [-0.265, 0.0, 0.0]),
    ("LeftUpLeg", Some(0), [0.09, -0.04, 0.0]),
    ("LeftLeg", Some(14), [0.0, -0.42, 0.0]),
    ("LeftFoot", Some(15), [0.0, -0.43, 0.0]),
    ("LeftToe", Some(16), [0.0, -0.06, 0.12]),
    ("RightUpLeg", Some(0), [-0.09, -0.04, 0.0]),
    ("RightLeg", Some(18), [0.0, -0.42, 0.0]),
    ("RightFoot", Some(19), [0.0, -0.43, 0.0]),
    ("RightToe", Some(20), [0.0, -0.06, 0.12]),
];

/// A pose as all sides know it.
pub(super) struct Known {
    pub(super) humanoid: Humanoid,
    pub(super) pose: HumanPose,
    pub(super) told: Pose,
}

pub(super) fn skeleton() -> SkeletonInfo {
    let joint = |(name, parent, offset): &(&str, Option<usize>, [f64; 3])| JointInfo {
        name: (*name).to_owned(),
        parent: *parent,
        offset: *offset,
    };
    SkeletonInfo {
        joints: JOINTS.iter().map(joint).collect(),
        ends: vec![],
        contacts: None,
    }
}

/// Index of a joint.
pub(super) fn joint(name: &str) -> usize {
    JOINTS.iter().position(|joint| joint.0 == name).unwrap()
}

pub(super) fn quaternion(turn: UnitQuaternion<f64>) -> [f32; 4] {
    [turn.i, turn.j, turn.k, turn.w].map(|part| part as f32)
}

/// At rest at a place, m.
pub(super) fn at_rest(root_position: [f64; 3]) -> Pose {
    Pose {
        stamp: Default::default(),
        frame: 75,
        frame_ns: 1_250_000_000,
        period_ns: 16_666_667,
        contacts: Contacts(Contacts::LEFT_TOE.0 | Contacts::RIGHT_TOE.0),
        flags: PoseFlags::IDLE,
        phase: 1.0,
        root_position,
        root_velocity: [0.0; 3],
        yaw_rate: 0.0,
        rotations: vec![[0.0, 0.0, 0.0, 1.0]; JOINTS.len()],
    }
}

/// A metre ahead and half a metre to the left of the origin, turned to the left by a quarter, the hips by 30 degrees
/// more, the left arm raised to the sky.
pub(super) fn arm_raised_and_hips_turned() -> Known {
    let humanoid = Humanoid::new(&skeleton(), &HumanoidConfig::default()).unwrap();
    let mut told = at_rest([0.5, 0.97, 1.0]);
    let about_y = |angle| UnitQuaternion::from_axis_angle(&Vector3::y_axis(), angle);
    told.rotations[0] = quaternion(about_y(FRAC_PI_2 + 30_f64.to_radians()));
    told.rotations[joint("LeftArm")] = quaternion(UnitQuaternion::from_axis_angle(
        &Vector3::z_axis(),
        FRAC_PI_2,
    ));
    let ground = Ground {
        position: [0.5, 1.0],
        heading: FRAC_PI_2,
    };
    let pose = humanoid.pose(&told, ground, 1.25).unwrap();
    Known {
        humanoid,
        pose,
        told,
    }
}
