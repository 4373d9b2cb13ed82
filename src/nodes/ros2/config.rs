//! The `[ros2]` table: which topics of ROS 2 are read and written.

use kinestream_bridge::ros2::names::NameError;
use kinestream_bridge::ros2::{Qos, StopTopic, VectorMessage};
use serde::{Deserialize, Serialize};

/// Which topics of ROS 2 are read and written. Without a leading `/` they are below the node's namespace.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ros2Config {
    /// `ROS_DOMAIN_ID`.
    pub(crate) domain: u32,
    /// Namespace of the node, such as `/lab`; empty for none.
    pub(crate) namespace: String,
    /// Name of the node; `kinestream` without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// How the policy's observation is put together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) observation: Option<ObservationConfig>,
    /// What is told of its commands and plans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) publish: Vec<PublishConfig>,
    /// A topic on which any message is an emergency stop, whatever its type; a `std_msgs/Bool` only if it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<String>,
    /// A character's poses and steering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) character: Option<CharacterConfig>,
}

impl Ros2Config {
    /// The topic that stops, if there is one.
    pub(crate) fn stop_topic(&self) -> Result<Option<StopTopic>, NameError> {
        let topic = |stop: &String| match stop.starts_with('/') || self.namespace.is_empty() {
            true => StopTopic::new(self.domain, stop),
            false => StopTopic::new(self.domain, &format!("{}/{stop}", self.namespace)),
        };
        self.stop.as_ref().map(topic).transpose()
    }
}

/// How an observation is put together. Its first part sets the pace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObservationConfig {
    /// Observations per second; the policy's own rate by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_hz: Option<f64>,
    /// Oldest that a part may be, seconds.
    #[serde(default = "half_a_second")]
    pub(crate) max_age_s: f64,
    /// Topics, in the order of the observation's numbers.
    pub(crate) parts: Vec<PartConfig>,
    /// Topics of the policy's cameras.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cameras: Vec<CameraConfig>,
}

/// A camera's topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CameraConfig {
    /// Which of the policy's cameras.
    pub(crate) name: String,
    /// Its name.
    pub(crate) topic: String,
    /// Its messages.
    pub(crate) message: CameraMessage,
    /// How it is delivered.
    #[serde(default)]
    pub(crate) qos: QosConfig,
}

/// Messages of cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CameraMessage {
    /// Pixels.
    #[serde(rename = "sensor_msgs/Image")]
    Image,
    /// A JPEG file.
    #[serde(rename = "sensor_msgs/CompressedImage")]
    CompressedImage,
}

fn half_a_second() -> f64 {
    0.5
}

/// A topic that is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartConfig {
    /// Its name.
    pub(crate) topic: String,
    /// Its messages.
    pub(crate) message: VectorMessage,
    /// Joints, of messages that have them.
    #[serde(default)]
    pub(crate) names: Vec<String>,
    /// Fields; all by default, of joints the position.
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    /// Numbers of a Float64MultiArray.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<usize>,
    /// How it is delivered.
    #[serde(default)]
    pub(crate) qos: QosConfig,
}

/// A topic that is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishConfig {
    /// Its name.
    pub(crate) topic: String,
    /// Its messages.
    pub(crate) message: VectorMessage,
    /// What is told.
    #[serde(default)]
    pub(crate) from: Source,
    /// Which of an action's numbers; all by default.
    #[serde(default)]
    pub(crate) columns: Vec<usize>,
    /// Joints, of messages that have them.
    #[serde(default)]
    pub(crate) names: Vec<String>,
    /// Fields; all by default, of joints the position.
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    /// Frame of reference, of messages that have one.
    #[serde(default)]
    pub(crate) frame: String,
    /// Messages per second at most; as many as there are by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_hz: Option<f64>,
    /// How it is delivered.
    #[serde(default)]
    pub(crate) qos: QosConfig,
}

/// What is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The command of every period, smoothed and limited.
    #[default]
    Action,
    /// The clean positions of every plan, before any limit.
    Plan,
}

/// A character among robots.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CharacterConfig {
    /// Frame of reference of the world.
    pub(crate) frame: String,
    /// Topic for the transforms of all joints (tf2_msgs/TFMessage); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transforms: Option<String>,
    /// Topic for the root's pose (geometry_msgs/PoseStamped); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pose: Option<String>,
    /// Topic that steers by velocities of the character (geometry_msgs/Twist); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) twist: Option<String>,
    /// Topic that says where to go (geometry_msgs/PoseStamped); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<String>,
    /// Speed towards a goal, m/s.
    pub(crate) speed: f64,
    /// How long a twist counts, seconds; after that the character stands.
    pub(crate) timeout_s: f64,
    /// Messages per second at most; every pose by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_hz: Option<f64>,
}

impl Default for CharacterConfig {
    fn default() -> Self {
        Self {
            frame: "map".into(),
            transforms: None,
            pose: None,
            twist: None,
            goal: None,
            speed: 1.4,
            timeout_s: 0.5,
            rate_hz: None,
        }
    }
}

/// How samples are delivered: those of ROS 2 by default.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QosConfig {
    /// Whether lost samples are sent again; else best effort.
    pub(crate) reliable: bool,
    /// Whether late subscribers get the last samples; else volatile.
    pub(crate) transient_local: bool,
    /// Samples that are kept.
    pub(crate) depth: u32,
}

impl Default for QosConfig {
    fn default() -> Self {
        let Qos {
            reliable,
            transient_local,
            depth,
        } = Qos::default();
        Self {
            reliable,
            transient_local,
            depth,
        }
    }
}

impl QosConfig {
    pub(crate) fn qos(self) -> Qos {
        Qos {
            reliable: self.reliable,
            transient_local: self.transient_local,
            depth: self.depth,
        }
    }
}
