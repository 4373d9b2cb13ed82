//! ROS 2 without a ROS installation: messages, names and attachments as peers of `rmw_zenoh_cpp` expect them.
//!
//! [`cdr`] is the encoding, [`messages`] what is sent, [`names`] where and under which tokens. Nothing here has a session.

pub mod cdr;
#[cfg(test)]
mod golden;
pub mod messages;
pub mod names;

pub use cdr::CdrError;
pub use messages::Message;
