//! ROS 2 without a ROS installation: messages, names and attachments as peers of `rmw_zenoh_cpp` expect them.
//!
//! [`cdr`] is the encoding, [`messages`] what is sent, [`names`] where and under which tokens; [`layout`] and [`assembly`]
//! make vectors of messages and messages of vectors. [`node`] puts them on a zenoh session, and is all that has one.

pub mod assembly;
pub mod cdr;
#[cfg(test)]
mod golden;
pub mod layout;
pub mod messages;
pub mod names;
pub mod node;
mod stop;

pub use assembly::{Assembled, Assembly, Pace};
pub use cdr::CdrError;
pub use layout::{Layout, LayoutError, VectorError, VectorMessage};
pub use messages::Message;
pub use names::Qos;
pub use node::{Ros2Error, Ros2Node, Ros2Publisher, Ros2Subscription};
pub use stop::StopTopic;
