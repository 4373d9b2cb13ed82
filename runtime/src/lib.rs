//! Threads, clocks and sockets of a running system: policy thread, control thread, publishers, cameras, recorder, health,
//! metrics and signals. The engines that they drive ([`kinestream_policy::Engine`], [`kinestream_control::Controller`]) have
//! none of these and stand in crates of their own.
//!
//! [`runtime::Runtime`] puts policy and command loop together, as a robot sees them over zenoh; `kinestream run` is little
//! more than it.

pub mod cameras;
pub mod character;
pub mod checkpoint;
pub mod clock;
pub mod commands;
pub mod config;
pub mod descriptors;
pub mod device;
pub mod embedded;
pub mod engines;
pub mod log_writer;
pub mod metrics;
mod monitor;
pub mod page;
pub mod policy;
pub mod recording;
pub mod redaction;
pub mod refusals;
pub mod ros2;
pub mod runtime;
pub mod session_stop;
pub mod shutdown;
pub mod sight;
mod signals;
pub mod simulator;
mod snapshot;

use std::time::Duration;

pub use tch;

/// How long a node waits for a message before it looks whether it should end.
pub(crate) const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// Messages that wait at a node at most; older ones are dropped and counted.
pub(crate) const INBOX_CAPACITY: usize = 64;
