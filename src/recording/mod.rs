//! Recordings of this program: what is recorded under which topic, and how it is read back.
//!
//! A [`Tap`] takes a running system's messages and never holds anybody up. [`Opening`] is the first message of every
//! recording. [`PhysicsCheck`] and [`Picture`] make something of a recording's messages, without a clock.
//! docs/RECORDING.md lists the topics.

mod codec;
mod messages;
mod opening;
mod physics;
mod picture;
mod tap;
pub(crate) mod topic;

pub(crate) use codec::decode;
pub(crate) use messages::{PolicyInput, SimInput, SimStep};
pub(crate) use opening::{CheckpointIdentity, Opening, VERSION};
pub(crate) use physics::{PhysicsCheck, PhysicsReport};
pub(crate) use picture::Picture;
pub(crate) use tap::{Tap, TickTap};
