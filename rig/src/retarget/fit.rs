//! One pose of a source as a pose of the character.

use nalgebra::{UnitQuaternion, Vector2, Vector3};

use super::axes::{axes, swung};
use super::binding::Binding;
use super::mapping::Mapping;
use crate::character::{self, Bone, JOINTS, MIRROR};
use crate::skeleton::GlobalPose;
use crate::{Pose, Skeleton};

/// How far an ankle may be from its hip, as a share of the leg: a stretched knee has no direction.
const REACH: f64 = 0.9995;

/// What is said of straight limbs, against the plane of a bent one (see [`bend`]): that the twist
/// of a limb against the body is none, and that knees point where the toes point.
const STRAIGHT_ARM: f64 = 0.2;
const STRAIGHT_LEG: f64 = 0.05;
const STRAIGHT_LEG_TOES: f64 = 0.15;

const SHOULDERS: [Bone; 2] = [Bone::LeftShoulder, Bone::RightShoulder];

/// An arm of the source in our world: directions of its halves, and the hinge that its elbow would
/// have without twist. An elbow bends forward, the left and the right about opposite axes.
struct Arm {
    collar: UnitQuaternion<f64>,
    /// 1 for the left arm, -1 for the right.
    side: f64,
    upper: Vector3<f64>,
    lower: Vector3<f64>,
    idle: Vector3<f64>,
}

/// Puts poses of one source onto the character.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    pub(super) mapping: Mapping,
    pub(super) binding: Binding,
    /// Lengths of the character per length of the source.
    pub(super) scale: f64,
}

impl Fit {
    /// Whether a source is the character itself, in any unit: then its poses are taken as they are.
    pub(super) fn is_character(&self, source: &Skeleton) -> bool {
        let skeleton = character::skeleton();
        character::check(source).is_ok()
            && (source.joints().iter().zip(skeleton.joints()).skip(1))
                .all(|(theirs, ours)| (theirs.offset * self.scale - ours.offset).norm() < 1e-4)
    }

    /// Where a joint of the source is, in our world and on the character's scale; none if the
    /// source has no such joint.
    pub(super) fn place(&self, source: &GlobalPose, bone: Bone) -> Option<Vector3<f64>> {
        let joint = self.mapping.joint(bone)?;
        Some(self.binding.world * source.positions[joint] * self.scale)
    }

    /// The source's rotation of a joint as one of the character.
    fn turn(&self, source: &GlobalPose, bone: Bone) -> Option<UnitQuaternion<f64>> {
        let joint = self.mapping.joint(bone)?;
        let frame = &self.binding.frames[bone.index()];
        Some(self.binding.world * source.rotations[joint] * frame)
    }

    fn arm(&self, source: &GlobalPose, shoulder: Bone, chest: &UnitQuaternion<f64>) -> Arm {
        let [arm, elbow, hand] = [1, 2, 3].map(|more| Bone::ALL[shoulder.index() + more]);
        let at = |bone| self.place(source, bone).unwrap_or_default();
        let along = |from, to| Vector3::normalize(&(at(to) - at(from)));
        let (upper, lower) = (along(arm, elbow), along(elbow, hand));
        let collar = self.turn(source, shoulder).unwrap_or(*chest);
        let rest = character::offset(elbow);
        let side = rest.x.signum();
        Arm {
            collar,
            side,
            idle: swung(&collar, &rest, &upper) * Vector3::y() * -side,
            upper,
            lower,
        }
    }

    /// How the hinges of the two elbows lie about the upper arms, against what they would be with
    /// no twist: as vectors, whose length says how sure that is.
    pub(super) fn elbows(&self, source: &GlobalPose) -> [Vector2<f64>; 2] {
        let chest = self.turn(source, Bone::Spine2).unwrap_or_default();
        SHOULDERS.map(|shoulder| {
            let arm = self.arm(source, shoulder, &chest);
            let hinge = bend(&arm.upper, &arm.lower) + arm.idle * STRAIGHT_ARM;
            Vector2::new(hinge.dot(&arm.idle), hinge.dot(&arm.upper.cross(&arm.idle)))
        })
    }

    /// The pose of the character; the twists are [`Fit::elbows`] of this pose or a mean of them
    /// with those of its neighbours.
    pub(super) fn pose(&self, source: &GlobalPose, twists: [Vector2<f64>; 2]) -> Pose {
        let place = |bone| self.place(source, bone);
        let turn = |bone| self.turn(source, bone);
        // Points a joint at the next one, where the source has both.
        let pointed = |rotation: UnitQuaternion<f64>, bone: Bone, next: Bone| {
            let along = place(next).zip(place(bone)).map(|(to, from)| to - from);
            match along.filter(|along| along.norm() > 1e-3) {
                Some(along) => swung(&rotation, &character::offset(next), &along),
                None => rotation,
            }
        };
        let mut global = [UnitQuaternion::identity(); JOINTS];
        let hips = turn(Bone::Hips).unwrap_or_default();
        let chest = turn(Bone::Spine2).unwrap_or(hips);
        let head = turn(Bone::Head).unwrap_or(chest);
        global[Bone::Hips.index()] = hips;
        global[Bone::Spine2.index()] = chest;
        global[Bone::Head.index()] = head;
        let spine = turn(Bone::Spine).unwrap_or_else(|| between(&hips, &chest, 1.0 / 3.0));
        global[Bone::Spine.index()] = pointed(spine, Bone::Spine, Bone::Spine1);
        let spine = turn(Bone::Spine1).unwrap_or_else(|| between(&hips, &chest, 2.0 / 3.0));
        global[Bone::Spine1.index()] = pointed(spine, Bone::Spine1, Bone::Spine2);
        let neck = turn(Bone::Neck).unwrap_or_else(|| between(&chest, &head, 0.5));
        global[Bone::Neck.index()] = pointed(neck, Bone::Neck, Bone::Head);
        for (shoulder, twist) in SHOULDERS.into_iter().zip(twists) {
            let first = shoulder.index();
            let arm = self.arm(source, shoulder, &chest);
            let hinge = arm.idle * twist.x + arm.upper.cross(&arm.idle) * twist.y;
            let limb = |along: &Vector3<f64>| {
                axes(&(along * arm.side), &(hinge * -arm.side)).unwrap_or(arm.collar)
            };
            global[first] = arm.collar;
            global[first + 1] = limb(&arm.upper);
            global[first + 2] = limb(&arm.lower);
            let hand = turn(Bone::ALL[first + 3]);
            let wrist = hand.map(|hand| wrist(&(global[first + 2].inverse() * hand)));
            global[first + 3] = global[first + 2] * wrist.unwrap_or_default();
        }

        let hip_joint = character::offset(Bone::LeftUpLeg);
        let between_hips = Vector3::new(0.0, hip_joint.y, hip_joint.z);
        let middle = place(Bone::LeftUpLeg).unwrap_or_default()
            + place(Bone::RightUpLeg).unwrap_or_default();
        let root = middle / 2.0 - hips * between_hips;
        for hip in [Bone::LeftUpLeg, Bone::RightUpLeg] {
            let first = hip.index();
            let [knee, ankle, toe] = [1, 2, 3].map(|more| Bone::ALL[first + more]);
            let towards =
                |from, to| place(to).unwrap_or_default() - place(from).unwrap_or_default();
            let [upper, lower] = [towards(hip, knee), towards(knee, ankle)];
            // A straight knee points where the toes point, and else where the hips let it.
            let rest = character::offset(knee);
            let idle = swung(&hips, &rest, &upper) * Vector3::x() * STRAIGHT_LEG;
            let foot = turn(ankle);
            let toes = foot.map_or(Vector3::zeros(), |foot| {
                let along = lower.try_normalize(1e-9).unwrap_or_default();
                (foot * Vector3::z()).cross(&along) * STRAIGHT_LEG_TOES
            });
            let hinge = bend(&upper, &lower) + idle + toes;
            let from = root + hips * character::offset(hip);
            let target = place(ankle).unwrap_or(from) - from;
            let [thigh, shin] = reached(&target, &hinge).unwrap_or([hips; 2]);
            global[first] = thigh;
            global[first + 1] = shin;
            global[first + 2] = foot.unwrap_or(shin);
            let bend = turn(toe).map(|turn| toes_bend(&(global[first + 2].inverse() * turn)));
            global[first + 3] = global[first + 2] * bend.unwrap_or_default();
        }
        Pose {
            root,
            rotations: local(&global),
        }
    }
}

/// A wrist's rotation within what wrists do: captured hands are the noisiest joints, and some spin.
/// Twist and bend saturate at 57 degrees, and a hand that is turned over altogether counts as
/// straight, so that a flip between two opposite readings has no effect.
fn wrist(rotation: &UnitQuaternion<f64>) -> UnitQuaternion<f64> {
    let along = rotation * Vector3::x();
    let bend = UnitQuaternion::rotation_between(&Vector3::x(), &along).unwrap_or_default();
    let twist = bend.inverse() * rotation;
    let twist = 2.0 * twist.i.atan2(twist.w);
    UnitQuaternion::new(direction(&bend) * bend.angle().sin())
        * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), twist.sin())
}

/// The axis of a rotation, zero for none.
fn direction(rotation: &UnitQuaternion<f64>) -> Vector3<f64> {
    rotation
        .axis()
        .map_or_else(Vector3::zeros, |axis| axis.into_inner())
}

/// Toes bend about one axis, from 30 degrees down to 60 up against the foot.
fn toes_bend(rotation: &UnitQuaternion<f64>) -> UnitQuaternion<f64> {
    let ahead = rotation * Vector3::z();
    let up = ahead.y.atan2(ahead.z);
    let up = up.clamp(-30f64.to_radians(), 60f64.to_radians());
    UnitQuaternion::from_axis_angle(&Vector3::x_axis(), -up)
}

/// Rotations against the parents.
fn local(global: &[UnitQuaternion<f64>; JOINTS]) -> Vec<UnitQuaternion<f64>> {
    Bone::ALL
        .into_iter()
        .map(|bone| {
            let rotation = global[bone.index()];
            bone.parent()
                .map_or(rotation, |parent| global[parent].inverse() * rotation)
        })
        .collect()
}

fn between(
    from: &UnitQuaternion<f64>,
    to: &UnitQuaternion<f64>,
    share: f64,
) -> UnitQuaternion<f64> {
    from.try_slerp(to, share, 1e-9).unwrap_or(*to)
}

/// The axis about which a limb bends, as long as it counts: 0.35 at a bend of 14 degrees, 0 for a
/// straight limb.
fn bend(upper: &Vector3<f64>, lower: &Vector3<f64>) -> Vector3<f64> {
    let scale = (upper.norm() * lower.norm()).max(1e-12);
    let across = upper.cross(lower) / scale;
    across * across.norm() * 6.0
}

/// Rotations of thigh and shin that bring the ankle to `target` (against the hip joint), or as far
/// towards it as the leg reaches, with the knee bending about `hinge`; none if that says nothing.
fn reached(target: &Vector3<f64>, hinge: &Vector3<f64>) -> Option<[UnitQuaternion<f64>; 2]> {
    let long = character::offset(Bone::LeftLeg).norm();
    let short = character::offset(Bone::LeftFoot).norm();
    let along = target.try_normalize(1e-6)?;
    let distance = target
        .norm()
        .clamp((long - short).abs() + 1e-3, REACH * (long + short));
    let frame = axes(&(hinge - along * along.dot(hinge)), &-along)?;
    let (left, ahead) = (frame * Vector3::x(), frame * Vector3::z());
    let down = left.cross(&ahead);
    // Of the triangle of hip, knee and ankle: how far down the knee is, and how far ahead.
    let cosine = (long * long + distance * distance - short * short) / (2.0 * long * distance);
    let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
    let knee = down * (long * cosine) + ahead * (long * sine);
    let lower = along * distance - knee;
    Some([axes(&left, &-knee)?, axes(&left, &-lower)?])
}

/// Directions that follow `values` as far as these are sure (as far as they are long), and their
/// neighbours in time where they are not. While an arm passes through straight, the plane in which
/// it bends can turn by any angle within a frame.
///
/// The directions u that give the largest sum of u(t) * v(t) + u(t) * u(t + 1) weighted with the
/// stiffness, found by repeatedly turning each towards what pulls at it.
pub(super) fn followed(values: &[[Vector2<f64>; 2]], frame_rate: f64) -> Vec<[Vector2<f64>; 2]> {
    const ROUNDS: usize = 60;
    // A neighbour at 30 frames per second pulls as much as a bend of 20 degrees.
    let stiffness = frame_rate / 30.0;
    let mut directions: Vec<[Vector2<f64>; 2]> = values.to_vec();
    for round in 0..=ROUNDS {
        for frame in 0..values.len() {
            for arm in 0..2 {
                let mut pull = values[frame][arm].cap_magnitude(1.0);
                if round > 0 {
                    let beside = [frame.checked_sub(1), Some(frame + 1)];
                    for other in beside
                        .into_iter()
                        .flatten()
                        .filter_map(|at| directions.get(at))
                    {
                        pull += other[arm] * stiffness;
                    }
                }
                directions[frame][arm] = pull.try_normalize(1e-9).unwrap_or(Vector2::x());
            }
        }
    }
    directions
}

/// The mirror image of a pose of the character in the plane x = 0.
pub(super) fn mirrored(pose: &Pose) -> Pose {
    let image = |rotation: &UnitQuaternion<f64>| {
        let q = rotation.quaternion();
        UnitQuaternion::new_unchecked(nalgebra::Quaternion::new(q.w, q.i, -q.j, -q.k))
    };
    Pose {
        root: Vector3::new(-pose.root.x, pose.root.y, pose.root.z),
        rotations: MIRROR
            .iter()
            .map(|other| image(&pose.rotations[*other]))
            .collect(),
    }
}
