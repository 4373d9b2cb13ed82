//! The bones of a humanoid as VRM and Unity name them (`HumanBodyBones`), and which hangs on which.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A bone of a humanoid. Ordered so that parents come before their children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanBone(u8);

/// Unity's names; those of VRM 1.0 differ in their first letter, which is small there, and in the thumbs. Parents are
/// those of the VRM specification, as indices into this table; the hips have none.
const TABLE: [(&str, u8); 55] = [
    ("Hips", NONE),
    ("Spine", 0),
    ("Chest", 1),
    ("UpperChest", 2),
    ("Neck", 3),
    ("Head", 4),
    ("LeftEye", 5),
    ("RightEye", 5),
    ("Jaw", 5),
    ("LeftShoulder", 3),
    ("LeftUpperArm", 9),
    ("LeftLowerArm", 10),
    ("LeftHand", 11),
    ("RightShoulder", 3),
    ("RightUpperArm", 13),
    ("RightLowerArm", 14),
    ("RightHand", 15),
    ("LeftUpperLeg", 0),
    ("LeftLowerLeg", 17),
    ("LeftFoot", 18),
    ("LeftToes", 19),
    ("RightUpperLeg", 0),
    ("RightLowerLeg", 21),
    ("RightFoot", 22),
    ("RightToes", 23),
    ("LeftThumbProximal", 12),
    ("LeftThumbIntermediate", 25),
    ("LeftThumbDistal", 26),
    ("LeftIndexProximal", 12),
    ("LeftIndexIntermediate", 28),
    ("LeftIndexDistal", 29),
    ("LeftMiddleProximal", 12),
    ("LeftMiddleIntermediate", 31),
    ("LeftMiddleDistal", 32),
    ("LeftRingProximal", 12),
    ("LeftRingIntermediate", 34),
    ("LeftRingDistal", 35),
    ("LeftLittleProximal", 12),
    ("LeftLittleIntermediate", 37),
    ("LeftLittleDistal", 38),
    ("RightThumbProximal", 16),
    ("RightThumbIntermediate", 40),
    ("RightThumbDistal", 41),
    ("RightIndexProximal", 16),
    ("RightIndexIntermediate", 43),
    ("RightIndexDistal", 44),
    ("RightMiddleProximal", 16),
    ("RightMiddleIntermediate", 46),
    ("RightMiddleDistal", 47),
    ("RightRingProximal", 16),
    ("RightRingIntermediate", 49),
    ("RightRingDistal", 50),
    ("RightLittleProximal", 16),
    ("RightLittleIntermediate", 52),
    ("RightLittleDistal", 53),
];

/// In place of a parent.
const NONE: u8 = u8::MAX;

impl HumanBone {
    /// The bone that all others hang on.
    pub const HIPS: Self = Self(0);

    /// All bones, parents before their children.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len() as u8).map(Self)
    }

    /// The bone of a name, in Unity's spelling.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|bone| bone.name() == name)
    }

    /// Unity's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].0
    }

    /// The bone that it hangs on in a humanoid that has all of them; none for the hips.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        let parent = TABLE[usize::from(self.0)].1;
        (parent != NONE).then_some(Self(parent))
    }
}

impl fmt::Display for HumanBone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for HumanBone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for HumanBone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| {
            D::Error::custom(format!(
                "{name:?} is no bone of a humanoid; expected a name of Unity's HumanBodyBones, such as Hips, UpperChest, \
                 LeftUpperArm or LeftToes"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_names_are_unique() {
        for bone in HumanBone::all() {
            assert_eq!(HumanBone::named(bone.name()), Some(bone));
            match bone.parent() {
                Some(parent) => assert!(parent < bone, "{bone} before {parent}"),
                None => assert_eq!(bone, HumanBone::HIPS),
            }
            let side = |name: &str| name.starts_with("Left") || name.starts_with("Right");
            if let Some(parent) = bone.parent()
                && side(parent.name())
            {
                assert_eq!(parent.name()[..4], bone.name()[..4], "{bone} on {parent}");
            }
        }
        assert_eq!(HumanBone::named("hips"), None);
    }

    #[test]
    fn the_two_sides_are_alike() {
        let mirrored = |name: &str| match name.strip_prefix("Left") {
            Some(rest) => format!("Right{rest}"),
            None => name.to_owned(),
        };
        for bone in HumanBone::all().filter(|bone| bone.name().starts_with("Left")) {
            let other = HumanBone::named(&mirrored(bone.name())).unwrap();
            let parents = [bone, other].map(|bone| bone.parent().unwrap().name());
            assert_eq!(mirrored(parents[0]), parents[1]);
        }
    }
}
