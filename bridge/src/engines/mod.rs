//! What game engines are told of a character: its pose as that of a humanoid, in their axes, in the formats that their
//! receivers read.
//!
//! [`Humanoid`] makes a [`HumanPose`] of a pose of the wire; [`Axes`] are the engines'; [`vmc`] and [`live_link`] make
//! datagrams of it, [`stream`] JSON for a WebSocket, and [`steering`] reads what comes back on that. Nothing here has a
//! socket or a clock: whoever calls sends the bytes and says what time it is. docs/ENGINES.md tells people how to
//! receive them.

pub mod axes;
pub mod bone;
pub mod humanoid;
pub mod live_link;
mod osc;
pub mod steering;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod vmc;

pub use axes::Axes;
pub use bone::HumanBone;
pub use humanoid::{Ground, HumanPose, Humanoid, HumanoidConfig, HumanoidError, Place};
