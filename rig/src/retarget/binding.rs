//! How the frames of a source's joints lie in those of the character: one constant rotation per
//! joint. It is found from the source's rest pose, so that it is the same in all clips of a
//! subject; where the rest pose is no pose (LAFAN1), from where the joints are in the clip.

use std::f64::consts::PI;

use nalgebra::{UnitQuaternion, Vector3};

use super::axes::{axes, swung};
use super::learned;
use super::mapping::{ACCAD, Mapping};
use crate::character::{self, Bone, JOINTS};
use crate::{Clip, Error, Pose, Result, Skeleton};

/// A source's skeleton against the character's.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    /// From the frame of each joint of the character to that of the source's joint for it:
    /// rotation of the character = rotation of the source * this.
    pub(super) frames: [UnitQuaternion<f64>; JOINTS],
    /// From the source's world to ours, where Y is up.
    pub(super) world: UnitQuaternion<f64>,
    /// Mean length of thigh and shin together, in the source's unit.
    pub(super) leg: f64,
}

impl Binding {
    /// The binding of a clip's skeleton. Only if its rest pose is not understood do the frames of
    /// the clip matter.
    pub(super) fn new(source: &Clip, mapping: &Mapping) -> Result<Self> {
        let rest = Rest::new(&source.skeleton, mapping)?;
        let mut binding = Self {
            frames: [UnitQuaternion::identity(); JOINTS],
            world: UnitQuaternion::identity(),
            leg: rest.leg,
        };
        let known = (mapping.family() == ACCAD).then(|| rest.accad()).flatten();
        if let Some(frames) = known {
            binding.frames = frames;
        } else if let Some(body) = rest.standing() {
            binding.frames = rest.bound(body);
            // A rest pose whose up is not Y: the world is turned with it.
            let up = body * Vector3::y();
            binding.world = UnitQuaternion::rotation_between(&up, &Vector3::y())
                .unwrap_or_else(|| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), PI));
        } else {
            binding.frames = learned::frames(source, mapping);
        }
        Ok(binding)
    }
}

/// Where the mapped joints are when all of the source's rotations are none.
struct Rest {
    places: [Option<Vector3<f64>>; JOINTS],
    leg: f64,
}

impl Rest {
    fn new(source: &Skeleton, mapping: &Mapping) -> Result<Self> {
        let global = source.forward(&Pose {
            root: Vector3::zeros(),
            rotations: vec![UnitQuaternion::identity(); source.len()],
        });
        let places = Bone::ALL.map(|bone| mapping.joint(bone).map(|joint| global.positions[joint]));
        let length = |from: Bone, to: Bone| {
            (global.positions[mapping.essential(to)] - global.positions[mapping.essential(from)])
                .norm()
        };
        let leg = [
            length(Bone::LeftUpLeg, Bone::LeftLeg) + length(Bone::LeftLeg, Bone::LeftFoot),
            length(Bone::RightUpLeg, Bone::RightLeg) + length(Bone::RightLeg, Bone::RightFoot),
        ];
        if !(leg[0].min(leg[1]) > 1e-6 && (leg[0] - leg[1]).abs() < 0.25 * leg[0].max(leg[1])) {
            return Err(Error::Skeleton(format!(
                "its legs are {:.3} and {:.3} long, expected lengths above 0 that differ by less than \
                 a quarter",
                leg[0], leg[1]
            )));
        }
        Ok(Self {
            places,
            leg: (leg[0] + leg[1]) / 2.0,
        })
    }

    fn at(&self, bone: Bone) -> Option<Vector3<f64>> {
        self.places[bone.index()]
    }

    fn between(&self, from: Bone, to: Bone) -> Option<Vector3<f64>> {
        (self.at(to)? - self.at(from)?).try_normalize(1e-6 * self.leg)
    }

    /// The body's axes, if the rest pose is one in which a body stands: legs down, toes ahead,
    /// shoulders parallel to the hips. Arms may hang, or point anywhere.
    fn standing(&self) -> Option<UnitQuaternion<f64>> {
        let hips = (self.at(Bone::LeftUpLeg)? + self.at(Bone::RightUpLeg)?) / 2.0;
        let left = snapped(&self.between(Bone::RightUpLeg, Bone::LeftUpLeg)?);
        let up = (self.at(Bone::Head)? - hips).try_normalize(1e-6)?;
        let up = snapped(&up);
        if left.dot(&up).abs() > 0.3 {
            return None;
        }
        let body = axes(&left, &up)?;
        let (left, up, ahead) = (
            body * Vector3::x(),
            body * Vector3::y(),
            body * Vector3::z(),
        );
        for (hip, knee, ankle, toe) in [
            (
                Bone::LeftUpLeg,
                Bone::LeftLeg,
                Bone::LeftFoot,
                Bone::LeftToe,
            ),
            (
                Bone::RightUpLeg,
                Bone::RightLeg,
                Bone::RightFoot,
                Bone::RightToe,
            ),
        ] {
            let thigh = self.between(hip, knee)?;
            let shin = self.between(knee, ankle)?;
            let foot = self.between(ankle, toe);
            if thigh.dot(&up) > -0.7
                || shin.dot(&up) > -0.7
                || foot.is_some_and(|foot| foot.dot(&ahead) < 0.3)
            {
                return None;
            }
        }
        let shoulders = self.between(Bone::RightArm, Bone::LeftArm)?;
        let neck = self.between(Bone::Spine2, Bone::Head)?;
        (shoulders.dot(&left) > 0.7 && neck.dot(&up) > 0.7).then_some(body)
    }

    /// The character bound to a standing rest pose: trunk and collars take the body's axes, limbs
    /// swing from there to where the source's limbs are, feet keep flat.
    fn bound(&self, body: UnitQuaternion<f64>) -> [UnitQuaternion<f64>; JOINTS] {
        let mut frames = [body; JOINTS];
        for (limb, last) in [
            (Bone::LeftArm, Bone::LeftHand),
            (Bone::RightArm, Bone::RightHand),
            (Bone::LeftUpLeg, Bone::LeftFoot),
            (Bone::RightUpLeg, Bone::RightFoot),
        ] {
            let mut above = body;
            for bone in limb.index()..last.index() {
                let (bone, next) = (Bone::ALL[bone], Bone::ALL[bone + 1]);
                if let Some(along) = self.between(bone, next) {
                    above = swung(&above, &character::offset(next), &along);
                }
                frames[bone.index()] = above;
            }
            let is_arm = last == Bone::LeftHand || last == Bone::RightHand;
            if is_arm {
                frames[last.index()] = above;
            }
        }
        for (foot, toe) in [
            (Bone::LeftFoot, Bone::LeftToe),
            (Bone::RightFoot, Bone::RightToe),
        ] {
            let up = body * Vector3::y();
            let heading = self
                .between(foot, toe)
                .map(|along| along - up * up.dot(&along))
                .and_then(|flat| axes(&up.cross(&flat), &up));
            let frame = heading.unwrap_or(body);
            frames[foot.index()] = frame;
            frames[toe.index()] = frame;
        }
        frames
    }

    /// ACCAD's "Male1" skeleton: its bone axes follow the capture, and with all rotations at zero
    /// its spine is broken and its legs are turned. The axes were measured over the clips A1_Stand
    /// and B3_Walk, where the body stands upright, lets its shoulders hang and looks ahead. None if
    /// the bones of a skeleton do not lie as these do.
    fn accad(&self) -> Option<[UnitQuaternion<f64>; JOINTS]> {
        let mut frames = [UnitQuaternion::identity(); JOINTS];
        for (bone, left, up) in ACCAD_AXES {
            frames[bone.index()] = axes(&Vector3::from(left), &Vector3::from(up))?;
        }
        for (bone, next) in [
            (Bone::LeftArm, Bone::LeftForeArm),
            (Bone::LeftForeArm, Bone::LeftHand),
            (Bone::RightArm, Bone::RightForeArm),
            (Bone::RightForeArm, Bone::RightHand),
            (Bone::LeftUpLeg, Bone::LeftLeg),
            (Bone::LeftLeg, Bone::LeftFoot),
            (Bone::LeftFoot, Bone::LeftToe),
            (Bone::RightUpLeg, Bone::RightLeg),
            (Bone::RightLeg, Bone::RightFoot),
            (Bone::RightFoot, Bone::RightToe),
            (Bone::Neck, Bone::Head),
        ] {
            let ours = frames[bone.index()] * character::offset(next).normalize();
            if self.between(bone, next)?.dot(&ours) < 0.8 {
                return None;
            }
        }
        Some(frames)
    }
}

/// Left and up of the character in the frames of ACCAD's joints.
const ACCAD_AXES: [(Bone, [f64; 3], [f64; 3]); JOINTS] = [
    (Bone::Hips, [0.0, 0.0, -1.0], [0.945, 0.327, 0.0]),
    (Bone::Spine, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::Spine1, [0.0, -0.31, 0.95], [1.0, 0.0, 0.0]),
    (Bone::Spine2, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]),
    (Bone::Neck, [0.0, 0.33, -0.94], [1.0, 0.03, -0.09]),
    (Bone::Head, [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]),
    (Bone::LeftShoulder, [0.5, 0.0, 0.86], [0.86, 0.0, -0.5]),
    (Bone::LeftArm, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::LeftForeArm, [1.0, 0.0, 0.0], [0.0, 0.7, -0.7]),
    (Bone::LeftHand, [1.0, 0.0, 0.0], [0.0, 0.7, -0.7]),
    (Bone::RightShoulder, [-0.5, 0.0, 0.86], [0.86, 0.0, 0.5]),
    (Bone::RightArm, [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::RightForeArm, [-1.0, 0.0, 0.0], [0.0, 0.96, 0.28]),
    (Bone::RightHand, [-1.0, 0.0, 0.0], [0.0, 0.96, 0.28]),
    (Bone::LeftUpLeg, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::LeftLeg, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::LeftFoot, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::LeftToe, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::RightUpLeg, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::RightLeg, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::RightFoot, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    (Bone::RightToe, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
];

/// The coordinate axis next to a unit vector if it is within 20 degrees, or the vector.
fn snapped(vector: &Vector3<f64>) -> Vector3<f64> {
    let axis = vector.iamax();
    if vector[axis].abs() < 0.94 {
        return *vector;
    }
    Vector3::ith(axis, vector[axis].signum())
}
