//! What leaves the process: the wire format, the zenoh nodes and recordings.
//!
//! [`wire`] turns messages into bytes and untrusted bytes into messages; [`health`] is what a person watches and [`skeleton`]
//! what a character's poses turn, both as JSON, as is what it is asked to perform ([`act`]); [`engines`] tells game engines of these poses in their own formats;
//! [`keys`] names where they travel; [`node`] is the thin shell around a zenoh session; [`recording`] writes and reads MCAP
//! files. Every stamp is given by the caller, no clock is read for one. docs/WIRE.md describes the bytes for readers in
//! other languages.

pub mod act;
pub mod engines;
pub mod health;
mod health_example;
pub mod keys;
mod log_throttle;
pub mod node;
pub mod recording;
pub mod ros2;
pub mod secrets;
pub mod skeleton;
pub mod stop_socket;

pub use kinestream_wire as wire;

pub use act::ActRequest;
pub use health::{Health, SafetyState};
pub use keys::{KeyError, Keys};
pub use log_throttle::LogThrottle;
pub use node::{
    Inbox, Node, NodeError, Presence, Publisher, SessionOptions, Subscription, loopback_pair,
};
pub use skeleton::{EndInfo, JointInfo, SkeletonInfo};
pub use wire::{Action, Command, Control, Image, Message, Observation, Plan, Pose, Stamp, Status};
