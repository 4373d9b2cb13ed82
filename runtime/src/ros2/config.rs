//! The `[ros2]` table: which topics of ROS 2 are read and written.

use kinestream_bridge::ros2::names::NameError;
use kinestream_bridge::ros2::{Qos, StopTopic, VectorMessage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which topics of ROS 2 are read and written. Without a leading `/` they are below the node's namespace.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ros2Config {
    /// `ROS_DOMAIN_ID`.
    pub domain: u32,
    /// Namespace of the node, such as `/lab`; empty for none.
    pub namespace: String,
    /// Name of the node; `kinestream` without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How the policy's observation is put together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<ObservationConfig>,
    /// What is told of its commands and plans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishConfig>,
    /// A topic on which any message is an emergency stop, whatever its type; a `std_msgs/Bool` only if it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// A character's poses and steering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub character: Option<CharacterConfig>,
}

impl Ros2Config {
    /// The topic that stops, if there is one.
    pub fn stop_topic(&self) -> Result<Option<StopTopic>, NameError> {
        let topic = |stop: &String| match stop.starts_with('/') || self.namespace.is_empty() {
            true => StopTopic::new(self.domain, stop),
            false => StopTopic::new(self.domain, &format!("{}/{stop}", self.namespace)),
        };
        self.stop.as_ref().map(topic).transpose()
    }
}

/// How an observation is put together. Its first part sets the pace.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObservationConfig {
    /// Observations per second; the policy's own rate by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<f64>,
    /// Oldest that a part may be, seconds.
    #[serde(default = "half_a_second")]
    pub max_age_s: f64,
    /// Topics, in the order of the observation's numbers.
    pub parts: Vec<PartConfig>,
    /// Topics of the policy's cameras.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cameras: Vec<CameraConfig>,
}

/// A camera's topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    /// Which of the policy's cameras.
    pub name: String,
    /// Its name.
    pub topic: String,
    /// Its messages.
    pub message: CameraMessage,
    /// How it is delivered.
    #[serde(default)]
    pub qos: QosConfig,
}

/// Messages of cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CameraMessage {
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartConfig {
    /// Its name.
    pub topic: String,
    /// Its messages.
    pub message: VectorMessage,
    /// Joints, of messages that have them.
    #[serde(default)]
    pub names: Vec<String>,
    /// Fields; all by default, of joints the position.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Numbers of a Float64MultiArray.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// How it is delivered.
    #[serde(default)]
    pub qos: QosConfig,
}

/// A topic that is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishConfig {
    /// Its name.
    pub topic: String,
    /// Its messages.
    pub message: VectorMessage,
    /// What is told.
    #[serde(default)]
    pub from: Source,
    /// Which of an action's numbers; all by default.
    #[serde(default)]
    pub columns: Vec<usize>,
    /// Joints, of messages that have them.
    #[serde(default)]
    pub names: Vec<String>,
    /// Fields; all by default, of joints the position.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Frame of reference, of messages that have one.
    #[serde(default)]
    pub frame: String,
    /// Messages per second at most; as many as there are by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<f64>,
    /// How it is delivered.
    #[serde(default)]
    pub qos: QosConfig,
}

/// What is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The command of every period, smoothed and limited.
    #[default]
    Action,
    /// The clean positions of every plan, before any limit.
    Plan,
}

/// A character among robots.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CharacterConfig {
    /// Frame of reference of the world.
    pub frame: String,
    /// Topic for the transforms of all joints (tf2_msgs/TFMessage); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transforms: Option<String>,
    /// Topic for the root's pose (geometry_msgs/PoseStamped); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pose: Option<String>,
    /// Topic that steers by velocities of the character (geometry_msgs/Twist); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twist: Option<String>,
    /// Topic that says where to go (geometry_msgs/PoseStamped); absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
    /// Speed towards a goal, m/s.
    pub speed: f64,
    /// How long a twist counts, seconds; after that the character stands.
    pub timeout_s: f64,
    /// Messages per second at most; every pose by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<f64>,
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
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QosConfig {
    /// Whether lost samples are sent again; else best effort.
    pub reliable: bool,
    /// Whether late subscribers get the last samples; else volatile.
    pub transient_local: bool,
    /// Samples that are kept.
    pub depth: u32,
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
    /// As ROS 2 has it.
    pub fn qos(self) -> Qos {
        Qos {
            reliable: self.reliable,
            transient_local: self.transient_local,
            depth: self.depth,
        }
    }
}
