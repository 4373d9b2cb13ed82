//! Which numbers of a message are which of a vector: how observations are read from messages of ROS 2 and actions are
//! written into them.
//!
//! A [`Layout`] is made from a list of fields as a configuration names them. Messages have their numbers under the names
//! of their fields with dots between: `position.x` of a pose, `linear.x` of a twist. The first part alone stands for all
//! below it. Joint states have `position`, `velocity` and `effort` of every joint that is named, wherever in the message
//! it stands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::messages::{
    Float64MultiArray, Header, JointState, JointTrajectory, JointTrajectoryPoint, PoseStamped,
    Twist,
};

/// Messages that hold vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VectorMessage {
    /// Names and three numbers for every joint.
    #[serde(rename = "sensor_msgs/JointState")]
    JointState,
    /// Points in time with numbers for every joint; only written.
    #[serde(rename = "trajectory_msgs/JointTrajectory")]
    JointTrajectory,
    /// Numbers alone.
    #[serde(rename = "std_msgs/Float64MultiArray")]
    Float64MultiArray,
    /// A place and a rotation.
    #[serde(rename = "geometry_msgs/PoseStamped")]
    PoseStamped,
    /// Two velocities.
    #[serde(rename = "geometry_msgs/Twist")]
    Twist,
}

const POSE: [&str; 7] = [
    "position.x",
    "position.y",
    "position.z",
    "orientation.x",
    "orientation.y",
    "orientation.z",
    "orientation.w",
];
const TWIST: [&str; 6] = [
    "linear.x",
    "linear.y",
    "linear.z",
    "angular.x",
    "angular.y",
    "angular.z",
];
const JOINTS: [&str; 3] = ["position", "velocity", "effort"];

/// Which numbers of a message make a vector, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    message: VectorMessage,
    /// Joints, for messages that have them.
    names: Vec<String>,
    /// Indices into the message's own list of fields.
    fields: Vec<usize>,
    size: usize,
}

/// Why there is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, found {found}")]
pub struct LayoutError {
    /// The key of the configuration.
    pub key: &'static str,
    /// What would do.
    pub expected: String,
    /// What there was.
    pub found: String,
}

/// Why a message does not hold the vector.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorError {
    /// A joint is not in the message.
    #[error("expected a joint {name:?}, found {found:?}")]
    Joint {
        /// The joint's name.
        name: String,
        /// Names that are there.
        found: Vec<String>,
    },
    /// A joint has no such number.
    #[error("expected the {field} of {name}, found only {found} of them")]
    Short {
        /// Which list.
        field: &'static str,
        /// The joint's name.
        name: String,
        /// How many numbers it has.
        found: usize,
    },
    /// Another count of numbers.
    #[error("expected {expected} numbers, found {found}")]
    Count {
        /// The layout's size.
        expected: usize,
        /// The message's.
        found: usize,
    },
}

impl Layout {
    /// A layout of a message's `fields` (all, where there are none; `position` alone of joints) and, of joints, `names`.
    /// `size` is asked of [`VectorMessage::Float64MultiArray`] alone, which does not tell by itself.
    ///
    /// # Errors
    /// Fields that the message does not have, names where none belong or none where some do.
    pub fn new(
        message: VectorMessage,
        names: &[String],
        fields: &[String],
        size: Option<usize>,
    ) -> Result<Self, LayoutError> {
        let refused = |key, expected: &str, found: &dyn std::fmt::Debug| {
            Err(LayoutError {
                key,
                expected: expected.to_owned(),
                found: format!("{found:?}"),
            })
        };
        let is_joints = matches!(
            message,
            VectorMessage::JointState | VectorMessage::JointTrajectory
        );
        let is_array = message == VectorMessage::Float64MultiArray;
        if is_joints == names.is_empty() {
            let expected = if is_joints {
                "the joints in the vector's order"
            } else {
                "none: this message has no joints"
            };
            return refused("names", expected, &names);
        }
        if let Some(twice) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return refused("names", "every joint once", &names[twice]);
        }
        if size.is_some() != is_array {
            let expected = if is_array {
                "how many numbers the message has"
            } else {
                "none: fields and names say it"
            };
            return refused("size", expected, &size);
        }
        let known: &[&str] = match message {
            VectorMessage::JointState => &JOINTS,
            VectorMessage::JointTrajectory => &JOINTS[..1],
            VectorMessage::Float64MultiArray => &[],
            VectorMessage::PoseStamped => &POSE,
            VectorMessage::Twist => &TWIST,
        };
        let mut picked = Vec::new();
        for field in fields {
            let below = |name: &str| {
                name.strip_prefix(field.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let before = picked.len();
            picked.extend((0..known.len()).filter(|&at| below(known[at])));
            if picked.len() == before {
                return refused("fields", &format!("some of {}", known.join(", ")), field);
            }
        }
        if fields.is_empty() {
            picked.extend(0..if is_joints { 1 } else { known.len() });
        }
        let size = match size {
            Some(size) => size,
            None => picked.len() * names.len().max(1),
        };
        Ok(Self {
            message,
            names: names.to_vec(),
            fields: picked,
            size,
        })
    }

    /// Numbers of the vector.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The message that it is of.
    #[must_use]
    pub fn message(&self) -> VectorMessage {
        self.message
    }

    /// The numbers of a joint state.
    ///
    /// # Errors
    /// A joint is missing, or a number of it.
    pub fn joint_state(&self, message: &JointState) -> Result<Vec<f64>, VectorError> {
        let mut places = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let place = message.name.iter().position(|found| found == name);
            places.push(place.ok_or_else(|| VectorError::Joint {
                name: name.clone(),
                found: message.name.iter().take(32).cloned().collect(),
            })?);
        }
        let lists = [&message.position, &message.velocity, &message.effort];
        let mut numbers = Vec::with_capacity(self.size);
        for &field in &self.fields {
            for (name, &place) in self.names.iter().zip(&places) {
                let number = lists[field].get(place);
                numbers.push(*number.ok_or_else(|| VectorError::Short {
                    field: JOINTS[field],
                    name: name.clone(),
                    found: lists[field].len(),
                })?);
            }
        }
        Ok(numbers)
    }

    /// The numbers of an array.
    ///
    /// # Errors
    /// Another count.
    pub fn array(&self, message: Float64MultiArray) -> Result<Vec<f64>, VectorError> {
        self.check(message.data.len())?;
        Ok(message.data)
    }

    /// The numbers of a pose.
    #[must_use]
    pub fn pose(&self, message: &PoseStamped) -> Vec<f64> {
        let all = [&message.position[..], &message.orientation].concat();
        self.fields.iter().map(|&at| all[at]).collect()
    }

    /// The numbers of a twist.
    #[must_use]
    pub fn twist(&self, message: &Twist) -> Vec<f64> {
        let all = [message.linear, message.angular].concat();
        self.fields.iter().map(|&at| all[at]).collect()
    }

    /// A joint state of a vector.
    ///
    /// # Errors
    /// Another count of numbers, as all that follow.
    pub fn to_joint_state(
        &self,
        header: Header,
        values: &[f64],
    ) -> Result<JointState, VectorError> {
        self.check(values.len())?;
        let mut message = JointState {
            header,
            name: self.names.clone(),
            ..JointState::default()
        };
        for (&field, values) in self.fields.iter().zip(values.chunks(self.names.len())) {
            let list = match field {
                0 => &mut message.position,
                1 => &mut message.velocity,
                _ => &mut message.effort,
            };
            *list = values.to_vec();
        }
        Ok(message)
    }

    /// A trajectory through vectors at times, in nanoseconds after the header's.
    ///
    /// # Errors
    /// Another count of numbers.
    pub fn to_trajectory<'a>(
        &self,
        header: Header,
        points: impl IntoIterator<Item = (u64, &'a [f64])>,
    ) -> Result<JointTrajectory, VectorError> {
        let points = points.into_iter().map(|(after_ns, values)| {
            self.check(values.len())?;
            let seconds = i32::try_from(after_ns / 1_000_000_000).unwrap_or(i32::MAX);
            Ok(JointTrajectoryPoint {
                positions: values.to_vec(),
                time_from_start: (seconds, (after_ns % 1_000_000_000) as u32),
                ..JointTrajectoryPoint::default()
            })
        });
        Ok(JointTrajectory {
            header,
            joint_names: self.names.clone(),
            points: points.collect::<Result<_, _>>()?,
        })
    }

    /// An array of a vector.
    ///
    /// # Errors
    /// Another count of numbers.
    pub fn to_array(&self, values: &[f64]) -> Result<Float64MultiArray, VectorError> {
        self.check(values.len())?;
        Ok(Float64MultiArray {
            data: values.to_vec(),
            ..Float64MultiArray::default()
        })
    }

    /// A pose of a vector; what it leaves open is zero, and the rotation none.
    ///
    /// # Errors
    /// Another count of numbers.
    pub fn to_pose(&self, header: Header, values: &[f64]) -> Result<PoseStamped, VectorError> {
        self.check(values.len())?;
        let mut all = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        for (&at, value) in self.fields.iter().zip(values) {
            all[at] = *value;
        }
        let [x, y, z, orientation @ ..] = all;
        Ok(PoseStamped {
            header,
            position: [x, y, z],
            orientation,
        })
    }

    /// A twist of a vector; what it leaves open is zero.
    ///
    /// # Errors
    /// Another count of numbers.
    pub fn to_twist(&self, values: &[f64]) -> Result<Twist, VectorError> {
        self.check(values.len())?;
        let mut message = Twist::default();
        for (&at, value) in self.fields.iter().zip(values) {
            if at < 3 {
                message.linear[at] = *value;
            } else {
                message.angular[at - 3] = *value;
            }
        }
        Ok(message)
    }

    fn check(&self, found: usize) -> Result<(), VectorError> {
        let expected = self.size;
        if found == expected {
            Ok(())
        } else {
            Err(VectorError::Count { expected, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(message: VectorMessage, names: &[&str], fields: &[&str]) -> Layout {
        try_layout(message, names, fields, None).unwrap()
    }

    fn try_layout(
        message: VectorMessage,
        names: &[&str],
        fields: &[&str],
        size: Option<usize>,
    ) -> Result<Layout, LayoutError> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Layout::new(message, &owned(names), &owned(fields), size)
    }

    #[test]
    fn joints_are_found_by_name_in_any_order() {
        let message = JointState {
            name: ["gripper", "b", "a"].map(String::from).to_vec(),
            position: vec![9.0, 2.0, 1.0],
            velocity: vec![90.0, 20.0, 10.0],
            ..JointState::default()
        };
        let both = layout(
            VectorMessage::JointState,
            &["a", "b"],
            &["position", "velocity"],
        );
        assert_eq!(both.size(), 4);
        assert_eq!(both.joint_state(&message), Ok(vec![1.0, 2.0, 10.0, 20.0]));
        let back = both
            .to_joint_state(Header::default(), &[1.0, 2.0, 10.0, 20.0])
            .unwrap();
        assert_eq!(
            (back.position, back.velocity, back.effort.len()),
            (vec![1.0, 2.0], vec![10.0, 20.0], 0)
        );
        let missing = layout(VectorMessage::JointState, &["c"], &[]);
        let error = missing.joint_state(&message).unwrap_err().to_string();
        assert!(
            error.contains("\"c\"") && error.contains("gripper"),
            "{error}"
        );
        let effort = layout(VectorMessage::JointState, &["a"], &["effort"]);
        let error = effort.joint_state(&message).unwrap_err().to_string();
        assert!(error.contains("effort of a"), "{error}");
    }

    #[test]
    fn a_part_of_a_name_stands_for_all_below_it() {
        let message = PoseStamped {
            position: [1.0, 2.0, 3.0],
            orientation: [0.0, 0.0, 0.6, 0.8],
            ..PoseStamped::default()
        };
        let flat = layout(
            VectorMessage::PoseStamped,
            &[],
            &["position.x", "position.y"],
        );
        assert_eq!(flat.pose(&message), [1.0, 2.0]);
        let whole = layout(VectorMessage::PoseStamped, &[], &[]);
        assert_eq!(whole.pose(&message), [1.0, 2.0, 3.0, 0.0, 0.0, 0.6, 0.8]);
        assert_eq!(
            whole
                .to_pose(Header::default(), &whole.pose(&message))
                .unwrap(),
            message
        );
        let rest = flat.to_pose(Header::default(), &[5.0, 6.0]).unwrap();
        assert_eq!(
            (rest.position, rest.orientation),
            ([5.0, 6.0, 0.0], [0.0, 0.0, 0.0, 1.0])
        );
        let drive = layout(VectorMessage::Twist, &[], &["linear.x", "angular.z"]);
        let message = drive.to_twist(&[0.5, -1.0]).unwrap();
        assert_eq!(
            (message.linear, message.angular),
            ([0.5, 0.0, 0.0], [0.0, 0.0, -1.0])
        );
        assert_eq!(drive.twist(&message), [0.5, -1.0]);
        assert_eq!(
            layout(VectorMessage::Twist, &[], &["angular", "linear"]).twist(&message),
            [0.0, 0.0, -1.0, 0.5, 0.0, 0.0]
        );
    }

    #[test]
    fn trajectories_and_arrays_hold_what_they_are_given() {
        let arm = layout(VectorMessage::JointTrajectory, &["a", "b"], &[]);
        let points = [(1_500_000_000, &[1.0, 2.0][..]), (2, &[3.0, 4.0])];
        let message = arm.to_trajectory(Header::default(), points).unwrap();
        assert_eq!(message.joint_names, ["a", "b"]);
        assert_eq!(message.points[0].time_from_start, (1, 500_000_000));
        assert_eq!(message.points[1].positions, [3.0, 4.0]);
        assert!(
            arm.to_trajectory(Header::default(), [(0, &[1.0][..])])
                .is_err()
        );
        let three = try_layout(VectorMessage::Float64MultiArray, &[], &[], Some(3)).unwrap();
        let array = three.to_array(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(three.array(array).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(
            three.to_array(&[1.0]),
            Err(VectorError::Count {
                expected: 3,
                found: 1
            })
        );
    }

    #[test]
    fn what_a_message_does_not_have_is_refused_by_key() {
        use VectorMessage as M;
        for (message, names, fields, size, key) in [
            (M::JointState, &[][..], &[][..], None, "names"),
            (M::JointState, &["a", "a"], &[], None, "names"),
            (M::JointState, &["a"], &["torque"], None, "fields"),
            (M::JointTrajectory, &["a"], &["velocity"], None, "fields"),
            (M::Twist, &["a"], &[], None, "names"),
            (M::Twist, &[], &["line"], None, "fields"),
            (M::Twist, &[], &[], Some(6), "size"),
            (M::Float64MultiArray, &[], &[], None, "size"),
            (M::Float64MultiArray, &[], &["data"], Some(2), "fields"),
        ] {
            let error = try_layout(message, names, fields, size).unwrap_err();
            assert_eq!(error.key, key, "{error}");
        }
    }
}
