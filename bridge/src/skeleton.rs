//! Skeleton of a character: what the rotations of a pose turn, as JSON under `info/skeleton`.
//!
//! Sent once, on request, so that a pose need not carry it. Like health it may grow: a reader skips fields that it does not
//! know. Received JSON is not trusted: [`SkeletonInfo::from_value`] bounds its lists and names, every number is finite, and
//! every parent comes before its children.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::MAX_JOINTS;

/// Longest name of a joint in bytes.
pub const MAX_JOINT_NAME_BYTES: usize = 64;

/// The joints of a character, in the order of a pose's rotations. Lengths are metres.
///
/// A joint's world rotation is its parent's times its own of the pose; its world position is its parent's plus the
/// parent's world rotation applied to its offset. Joint 0 stands where the pose's `root_position` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkeletonInfo {
    /// Joints, parents before their children; joint 0 is the one root. 1 to [`MAX_JOINTS`].
    pub joints: Vec<JointInfo>,
    /// Points without a rotation of their own: tips of toes, fingers, head. At most [`MAX_JOINTS`].
    #[serde(default)]
    pub ends: Vec<EndInfo>,
    /// Joints that the contact bits 0 to 3 speak of: left heel, left toe, right heel, right toe. None: no contacts are told.
    #[serde(default)]
    pub contacts: Option<[usize; 4]>,
}

/// A joint and where it sits on its parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointInfo {
    /// Name, unique in the skeleton, 1 to [`MAX_JOINT_NAME_BYTES`] bytes without control characters.
    pub name: String,
    /// Index of the parent, below the joint's own; none for joint 0 alone.
    pub parent: Option<usize>,
    /// Place in the parent's frame, m. That of joint 0 is its place at rest, which poses do not add.
    pub offset: [f64; 3],
}

/// A point that is fixed to a joint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndInfo {
    /// Index of the joint.
    pub joint: usize,
    /// Place in the joint's frame, m.
    pub offset: [f64; 3],
}

impl SkeletonInfo {
    /// As JSON.
    ///
    /// # Errors
    /// [`SkeletonError`] for what a reader would refuse.
    pub fn to_value(&self) -> Result<Value, SkeletonError> {
        self.check()?;
        serde_json::to_value(self).map_err(SkeletonError::Json)
    }

    /// From JSON that anybody may have sent.
    ///
    /// # Errors
    /// [`SkeletonError`] says which field was expected to be what.
    pub fn from_value(value: Value) -> Result<Self, SkeletonError> {
        let skeleton: Self = serde_json::from_value(value).map_err(SkeletonError::Json)?;
        skeleton.check()?;
        Ok(skeleton)
    }

    /// Checks counts, names, parents and numbers.
    ///
    /// # Errors
    /// [`SkeletonError::Content`] names the first field that is wrong.
    pub fn check(&self) -> Result<(), SkeletonError> {
        let count = self.joints.len();
        if !(1..=MAX_JOINTS).contains(&count) {
            return Err(refused("joints", "1 to 1024 of them", count));
        }
        for (index, joint) in self.joints.iter().enumerate() {
            let name = &joint.name;
            let plain = (1..=MAX_JOINT_NAME_BYTES).contains(&name.len())
                && !name.chars().any(char::is_control);
            if !plain {
                return Err(refused(
                    &format!("joints[{index}].name"),
                    "1 to 64 bytes of UTF-8 without control characters",
                    format!("{:?}", shortened(name)),
                ));
            }
            if self.joints[..index].iter().any(|other| other.name == *name) {
                return Err(refused(
                    &format!("joints[{index}].name"),
                    "a name that no other joint has",
                    format!("{name:?}"),
                ));
            }
            let field = || format!("joints[{index}].parent");
            match joint.parent {
                None if index > 0 => {
                    return Err(refused(&field(), "an index below the joint's own", "none"));
                }
                Some(parent) if index == 0 => return Err(refused(&field(), "none", parent)),
                Some(parent) if parent >= index => {
                    return Err(refused(&field(), "an index below the joint's own", parent));
                }
                _ => {}
            }
            check_offset(&joint.offset, || format!("joints[{index}].offset"))?;
        }
        if self.ends.len() > MAX_JOINTS {
            return Err(refused("ends", "at most 1024 of them", self.ends.len()));
        }
        for (index, end) in self.ends.iter().enumerate() {
            if end.joint >= count {
                let field = format!("ends[{index}].joint");
                return Err(refused(&field, "the index of a joint", end.joint));
            }
            check_offset(&end.offset, || format!("ends[{index}].offset"))?;
        }
        let outside = self
            .contacts
            .iter()
            .flatten()
            .find(|joint| **joint >= count);
        outside.map_or(Ok(()), |joint| {
            Err(refused("contacts", "indices of joints", joint))
        })
    }
}

fn check_offset(offset: &[f64; 3], field: impl Fn() -> String) -> Result<(), SkeletonError> {
    match offset.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(refused(&field(), "finite numbers", number)),
        None => Ok(()),
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_JOINT_NAME_BYTES)]
}

fn refused(field: &str, expected: &'static str, found: impl ToString) -> SkeletonError {
    SkeletonError::Content {
        field: field.to_owned(),
        expected,
        found: found.to_string(),
    }
}

/// Why JSON is not a skeleton, or a skeleton cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SkeletonError {
    /// A field is missing or of the wrong type.
    #[error("skeleton: {0}")]
    Json(serde_json::Error),
    /// A field has a value that cannot be.
    #[error("skeleton: {field}: expected {expected}, found {found}")]
    Content {
        /// The field, with its index.
        field: String,
        /// What would do.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Value {
        json!({
            "joints": [
                {"name": "hips", "parent": null, "offset": [0.0, 0.95, 0.0]},
                {"name": "left_foot", "parent": 0, "offset": [0.1, -0.9, 0.0]},
                {"name": "right_foot", "parent": 0, "offset": [-0.1, -0.9, 0.0]},
            ],
            "ends": [{"joint": 1, "offset": [0.0, 0.0, 0.15]}],
            "contacts": [1, 1, 2, 2],
        })
    }

    #[test]
    fn json_and_back() {
        let skeleton = SkeletonInfo::from_value(example()).unwrap();
        assert_eq!(skeleton.joints[2].name, "right_foot");
        assert_eq!(skeleton.to_value().unwrap(), example());
        // A later version may say more, an earlier one less.
        let mut other = example();
        other["weight"] = json!(70);
        assert_eq!(SkeletonInfo::from_value(other).unwrap(), skeleton);
        let least = json!({"joints": [{"name": "a", "parent": null, "offset": [0, 0, 0]}]});
        let least = SkeletonInfo::from_value(least).unwrap();
        assert_eq!((least.ends.len(), least.contacts), (0, None));
    }

    #[test]
    fn what_is_no_skeleton_is_refused_by_name() {
        let refused = |place: &str, value: Value, words: &str| {
            let mut changed = example();
            *changed.pointer_mut(place).unwrap() = value;
            let error = SkeletonInfo::from_value(changed).unwrap_err().to_string();
            assert!(
                error.starts_with("skeleton: ") && error.contains(words),
                "{error}"
            );
        };
        refused(
            "/joints",
            json!([]),
            "joints: expected 1 to 1024 of them, found 0",
        );
        refused(
            "/joints/0/parent",
            json!(0),
            "joints[0].parent: expected none, found 0",
        );
        refused(
            "/joints/1/parent",
            json!(null),
            "joints[1].parent: expected an index below",
        );
        refused(
            "/joints/1/parent",
            json!(1),
            "joints[1].parent: expected an index below",
        );
        refused("/joints/1/parent", json!(-1), "invalid value");
        refused(
            "/joints/1/name",
            json!("hips"),
            "a name that no other joint has",
        );
        refused("/joints/1/name", json!(""), "1 to 64 bytes");
        refused("/joints/1/name", json!("x".repeat(65)), "1 to 64 bytes");
        refused("/joints/1/offset", json!([0, 0]), "invalid length");
        refused("/joints/1/offset", json!([0, null, 0]), "invalid type");
        refused("/ends/0/joint", json!(3), "ends[0].joint");
        refused(
            "/contacts",
            json!([0, 1, 2, 3]),
            "contacts: expected indices of joints, found 3",
        );
        assert!(SkeletonInfo::from_value(json!({})).is_err());
        let mut skeleton = SkeletonInfo::from_value(example()).unwrap();
        skeleton.joints[1].offset[2] = f64::NAN;
        let error = skeleton.to_value().unwrap_err().to_string();
        assert_eq!(
            error,
            "skeleton: joints[1].offset: expected finite numbers, found NaN"
        );
    }
}
