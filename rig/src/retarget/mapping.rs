//! Which joint of a source stands for which joint of the character, by the names that families of
//! files use.

use crate::character::{Bone, JOINTS};
use crate::{Error, Result, Skeleton};

/// Joints without which a source cannot be retargeted. The others are interpolated. Of the spine
/// one joint is needed; the topmost that there is becomes `Spine2`.
const ESSENTIAL: [Bone; 15] = [
    Bone::Hips,
    Bone::Spine2,
    Bone::Head,
    Bone::LeftArm,
    Bone::LeftForeArm,
    Bone::LeftHand,
    Bone::RightArm,
    Bone::RightForeArm,
    Bone::RightHand,
    Bone::LeftUpLeg,
    Bone::LeftLeg,
    Bone::LeftFoot,
    Bone::RightUpLeg,
    Bone::RightLeg,
    Bone::RightFoot,
];

/// Names of a family of files, in lower case and without punctuation: hips to head, then one arm
/// from the collar and one leg from the hip with `*` in place of the side.
struct Family {
    name: &'static str,
    trunk: [&'static str; 6],
    arm: [&'static str; 4],
    leg: [&'static str; 4],
    sides: [&'static str; 2],
}

impl Family {
    fn source_name(&self, bone: Bone) -> String {
        let index = bone.index();
        let (name, side) = match index {
            0..6 => (self.trunk[index], ""),
            6..10 => (self.arm[index - 6], self.sides[0]),
            10..14 => (self.arm[index - 10], self.sides[1]),
            14..18 => (self.leg[index - 14], self.sides[0]),
            _ => (self.leg[index - 18], self.sides[1]),
        };
        name.replace('*', side)
    }
}

const LEFT_RIGHT: [&str; 2] = ["left", "right"];
const ARM: [&str; 4] = ["*shoulder", "*arm", "*forearm", "*hand"];
const LEG: [&str; 4] = ["*upleg", "*leg", "*foot", "*toebase"];

/// Where several fit equally well, the first is taken.
const FAMILIES: [Family; 9] = [
    // Also LAFAN1's names.
    Family {
        name: "kinestream",
        trunk: ["hips", "spine", "spine1", "spine2", "neck", "head"],
        arm: ARM,
        leg: ["*upleg", "*leg", "*foot", "*toe"],
        sides: LEFT_RIGHT,
    },
    Family {
        name: "Mixamo",
        trunk: ["hips", "spine", "spine1", "spine2", "neck", "head"],
        arm: ARM,
        leg: LEG,
        sides: LEFT_RIGHT,
    },
    Family {
        name: ACCAD,
        trunk: ["hips", "tospine", "spine", "spine1", "neck", "head"],
        arm: ARM,
        leg: LEG,
        sides: LEFT_RIGHT,
    },
    Family {
        name: "CMU (BVH)",
        trunk: ["hips", "lowerback", "spine", "spine1", "neck", "head"],
        arm: ARM,
        leg: LEG,
        sides: LEFT_RIGHT,
    },
    Family {
        name: "CMU (BVH for 3ds Max)",
        trunk: ["hips", "lowerback", "chest", "chest2", "lowerneck", "head"],
        arm: ["*collar", "*shoulder", "*elbow", "*wrist"],
        leg: ["*hip", "*knee", "*ankle", "*toe"],
        sides: LEFT_RIGHT,
    },
    Family {
        name: "CMU (ASF)",
        trunk: [
            "root",
            "lowerback",
            "upperback",
            "thorax",
            "lowerneck",
            "head",
        ],
        arm: ["*clavicle", "*humerus", "*radius", "*wrist"],
        leg: ["*femur", "*tibia", "*foot", "*toes"],
        sides: ["l", "r"],
    },
    Family {
        name: "SMPL",
        trunk: ["pelvis", "spine1", "spine2", "spine3", "neck", "head"],
        arm: ["*collar", "*shoulder", "*elbow", "*wrist"],
        leg: ["*hip", "*knee", "*ankle", "*foot"],
        sides: LEFT_RIGHT,
    },
    Family {
        name: "SMPL (short)",
        trunk: ["pelvis", "spine1", "spine2", "spine3", "neck", "head"],
        arm: ["*collar", "*shoulder", "*elbow", "*wrist"],
        leg: ["*hip", "*knee", "*ankle", "*foot"],
        sides: ["l", "r"],
    },
    Family {
        name: "Unreal",
        trunk: ["pelvis", "spine01", "spine02", "spine03", "neck01", "head"],
        arm: ["clavicle*", "upperarm*", "lowerarm*", "hand*"],
        leg: ["thigh*", "calf*", "foot*", "ball*"],
        sides: ["l", "r"],
    },
];

/// Name of the family whose rest pose is no pose at all.
pub(super) const ACCAD: &str = "ACCAD";

/// Joints of a source that stand for those of the character.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    family: &'static str,
    joints: [Option<usize>; JOINTS],
}

/// A family as it fits: how many names were found, what is missing, and the joints.
type Candidate = (usize, Vec<(Bone, String)>, Mapping);

impl Mapping {
    /// Finds the family whose names fit best. What precedes a colon, a leading `mixamorig`,
    /// punctuation and case make no difference.
    ///
    /// # Errors
    /// A joint that is needed is missing in every family; names it for the closest one, and lists
    /// the joints that were found.
    pub fn detect(source: &Skeleton) -> Result<Self> {
        let names: Vec<String> = source
            .joints()
            .iter()
            .map(|joint| plain(&joint.name))
            .collect();
        let mut closest: Option<Candidate> = None;
        for family in &FAMILIES {
            let mut joints = Bone::ALL.map(|bone| {
                let wanted = family.source_name(bone);
                names.iter().position(|name| *name == wanted)
            });
            let score = joints.iter().flatten().count();
            let spine = [Bone::Spine2, Bone::Spine1, Bone::Spine].map(Bone::index);
            if let Some(top) = spine.into_iter().find(|bone| joints[*bone].is_some()) {
                joints.swap(top, spine[0]);
            }
            let missing: Vec<_> = ESSENTIAL
                .into_iter()
                .filter(|bone| joints[bone.index()].is_none())
                .map(|bone| (bone, family.source_name(bone)))
                .collect();
            let better = closest.as_ref().is_none_or(|(best, still, _)| {
                (missing.is_empty(), score) > (still.is_empty(), *best)
            });
            if better {
                let name = family.name;
                closest = Some((
                    score,
                    missing,
                    Self {
                        family: name,
                        joints,
                    },
                ));
            }
        }
        match closest {
            Some((_, missing, mapping)) if missing.is_empty() => Ok(mapping),
            closest => {
                let wanted: Vec<String> = closest
                    .iter()
                    .flat_map(|(_, missing, _)| missing)
                    .map(|(bone, name)| format!("{} (`{name}`)", bone.name()))
                    .collect();
                let found: Vec<&str> = source
                    .joints()
                    .iter()
                    .map(|joint| joint.name.as_str())
                    .take(80)
                    .collect();
                Err(Error::Skeleton(format!(
                    "no known naming of joints fits; the closest is {}, which lacks {}; found {}; \
                     rename the joints to those of a known family",
                    closest
                        .as_ref()
                        .map_or("none", |(_, _, mapping)| mapping.family),
                    wanted.join(", "),
                    found.join(", ")
                )))
            }
        }
    }

    /// Name of the family of files whose names were found.
    pub fn family(&self) -> &'static str {
        self.family
    }

    /// Index of the source's joint for a joint of the character, if it has one.
    pub fn joint(&self, bone: Bone) -> Option<usize> {
        self.joints[bone.index()]
    }

    /// A joint that [`Mapping::detect`] has made sure of.
    pub(super) fn essential(&self, bone: Bone) -> usize {
        debug_assert!(ESSENTIAL.contains(&bone));
        self.joints[bone.index()].unwrap_or(0)
    }
}

/// A name without prefix, punctuation and case.
fn plain(name: &str) -> String {
    let name = name.rsplit(':').next().unwrap_or(name);
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match plain.strip_prefix("mixamorig") {
        // mixamorig, mixamorig1, mixamorig12: copies in one scene are numbered.
        Some(rest) => rest
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .to_string(),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;

    use super::*;
    use crate::Joint;

    fn skeleton(names: impl IntoIterator<Item = String>) -> Skeleton {
        let joints = names.into_iter().enumerate().map(|(index, name)| Joint {
            name,
            parent: index.checked_sub(1),
            offset: Vector3::zeros(),
        });
        Skeleton::new(joints.collect(), vec![]).unwrap()
    }

    #[test]
    fn every_family_is_recognised_by_its_names() {
        for family in &FAMILIES {
            let source = skeleton(Bone::ALL.map(|bone| family.source_name(bone)));
            let mapping = Mapping::detect(&source).unwrap();
            assert_eq!(mapping.family(), family.name);
            for bone in Bone::ALL {
                assert_eq!(mapping.joint(bone), Some(bone.index()));
            }
        }
        let mixamo = Bone::ALL.map(|bone| match bone {
            Bone::LeftToe => "mixamorig1:LeftToeBase".to_string(),
            Bone::RightToe => "mixamorig1_RightToeBase".to_string(),
            other => format!("mixamorig1:{}", other.name()),
        });
        assert_eq!(
            Mapping::detect(&skeleton(mixamo)).unwrap().family(),
            "Mixamo"
        );
    }

    #[test]
    fn the_topmost_joint_of_a_short_spine_is_the_chest() {
        let names = Bone::ALL.into_iter().filter(|bone| *bone != Bone::Spine2);
        let mapping = Mapping::detect(&skeleton(names.map(|bone| bone.name().into()))).unwrap();
        assert_eq!(mapping.joint(Bone::Spine2), Some(2));
        assert_eq!(mapping.joint(Bone::Spine1), None);
        assert_eq!(mapping.joint(Bone::Spine), Some(1));
    }

    #[test]
    fn a_joint_that_is_missing_is_named_with_what_was_found() {
        let names = Bone::ALL.into_iter().filter(|bone| *bone != Bone::LeftLeg);
        let refused = Mapping::detect(&skeleton(names.map(|bone| bone.name().into()))).unwrap_err();
        let message = refused.to_string();
        assert!(message.contains("lacks LeftLeg (`leftleg`)"), "{message}");
        assert!(message.contains("LeftUpLeg, LeftFoot"), "{message}");
    }
}
