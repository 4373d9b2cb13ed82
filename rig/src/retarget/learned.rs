//! Frames of a source whose rest pose says nothing: in every pose, trunk and limbs are given frames
//! by where the joints are, and what those are to the source's frames on average is kept. So a head
//! looks ahead and a hand has no twist on average over the clip.

use nalgebra::{Quaternion, UnitQuaternion, Vector3};

use super::axes::{axes, swung};
use super::mapping::Mapping;
use crate::Clip;
use crate::character::{self, Bone, JOINTS};
use crate::skeleton::GlobalPose;

/// Most poses that are looked at, evenly over the clip.
const POSES: usize = 300;

/// From the frame of each joint of the character to that of the source's joint for it.
pub(super) fn frames(source: &Clip, mapping: &Mapping) -> [UnitQuaternion<f64>; JOINTS] {
    let mut sums = [Quaternion::new(0.0, 0.0, 0.0, 0.0); JOINTS];
    let step = source.frames.len().div_ceil(POSES).max(1);
    for pose in source.frames.iter().step_by(step) {
        let global = source.skeleton.forward(pose);
        let Some(body) = by_places(&global, mapping) else {
            continue;
        };
        for bone in Bone::ALL {
            if let Some(joint) = mapping.joint(bone) {
                let frame = global.rotations[joint].inverse() * body[bone.index()];
                let sum = &mut sums[bone.index()];
                let sign = if sum.dot(frame.quaternion()) < 0.0 {
                    -1.0
                } else {
                    1.0
                };
                *sum += frame.into_inner() * sign;
            }
        }
    }
    sums.map(|sum| UnitQuaternion::try_new(sum, 1e-9).unwrap_or_default())
}

/// Rotations of the character's joints by the places of the source's; none if joints coincide that
/// must not.
fn by_places(global: &GlobalPose, mapping: &Mapping) -> Option<[UnitQuaternion<f64>; JOINTS]> {
    let place = |bone: Bone| mapping.joint(bone).map(|joint| global.positions[joint]);
    let along = |from: Bone, to: Bone| (place(to)? - place(from)?).try_normalize(1e-9);
    let pointed = |above: &UnitQuaternion<f64>, from: Bone, to: Bone| {
        along(from, to).map_or(*above, |along| swung(above, &character::offset(to), &along))
    };
    let middle = (place(Bone::LeftUpLeg)? + place(Bone::RightUpLeg)?) / 2.0;
    let hips = axes(
        &along(Bone::RightUpLeg, Bone::LeftUpLeg)?,
        &(place(Bone::Spine2)? - middle),
    )?;
    let up = along(Bone::Spine2, Bone::Neck).or_else(|| along(Bone::Spine2, Bone::Head))?;
    let chest = axes(&along(Bone::RightArm, Bone::LeftArm)?, &up)?;
    let mut body = [chest; JOINTS];
    body[Bone::Hips.index()] = hips;
    for (bone, share) in [(Bone::Spine, 1.0 / 3.0), (Bone::Spine1, 2.0 / 3.0)] {
        body[bone.index()] = hips.try_slerp(&chest, share, 1e-9)?;
    }
    body[Bone::Neck.index()] = pointed(&chest, Bone::Neck, Bone::Head);
    for arm in [Bone::LeftArm, Bone::RightArm] {
        let [arm, elbow, hand] = [0, 1, 2].map(|more| Bone::ALL[arm.index() + more]);
        let upper = pointed(&chest, arm, elbow);
        let lower = pointed(&upper, elbow, hand);
        body[arm.index()] = upper;
        body[elbow.index()] = lower;
        body[hand.index()] = lower;
    }
    for leg in [Bone::LeftUpLeg, Bone::RightUpLeg] {
        let [hip, knee, ankle, toe] = [0, 1, 2, 3].map(|more| Bone::ALL[leg.index() + more]);
        let thigh = pointed(&hips, hip, knee);
        let shin = pointed(&thigh, knee, ankle);
        let down = along(knee, ankle)?;
        // The foot stands across the shin, its ball ahead.
        let foot = along(ankle, toe).and_then(|ahead| {
            let level: Vector3<f64> = ahead.cross(&down);
            Some(swung(
                &axes(&level, &-down)?,
                &character::offset(toe),
                &ahead,
            ))
        });
        body[hip.index()] = thigh;
        body[knee.index()] = shin;
        body[ankle.index()] = foot.unwrap_or(shin);
        body[toe.index()] = body[ankle.index()];
    }
    Some(body)
}
