//! Threads, clocks and sockets of a running system: policy thread, control thread, publishers, cameras, recorder, health,
//! metrics and signals. The engines that they drive ([`kinestream_policy::Engine`], [`kinestream_control::Controller`]) have
//! none of these and stand in crates of their own.
//!
//! [`runtime::Runtime`] puts policy and command loop together, as a robot sees them over zenoh; `kinestream run` is little
//! more than it. [`embedded::EmbeddedRobot`] does the same within a program, with sensors and actuators that are functions and
//! without a network:
//!
//! ```no_run
//! use kinestream_policy::Policy;
//! use kinestream_runtime::embedded::{EmbeddedOptions, EmbeddedRobot};
//! use kinestream_runtime::{checkpoint, tch::Device};
//!
//! # fn read_sensors() -> Vec<f64> { vec![0.0; 20] }
//! # fn write_motors(_: &[f32]) {}
//! # fn main() -> anyhow::Result<()> {
//! let checkpoint = checkpoint::open("models/pusht-state".as_ref(), Device::Cpu)?;
//! let policy = Policy::new(checkpoint, Device::Cpu, 1)?;
//! let mut options = EmbeddedOptions::default();
//! options.control.limits.velocity = Some(300.0.into());
//! let robot = EmbeddedRobot::start(policy, options, |command| write_motors(command.values))?;
//! for _ in 0..100 {
//!     robot.observe(&read_sensors())?;
//!     std::thread::sleep(std::time::Duration::from_millis(100));
//! }
//! robot.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! Whole programs are in `runtime/examples`.

pub mod cameras;
pub mod character;
pub mod checkpoint;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control_config;
pub mod descriptors;
pub mod device;
pub mod embedded;
mod ending;
pub mod engines;
pub mod environments;
mod latest_command;
pub mod log_writer;
pub mod metrics;
mod monitor;
mod motion_refusal;
mod motion_requests;
pub mod page;
pub mod policy;
pub mod recording;
pub mod redaction;
pub mod refusals;
pub mod resimulation;
pub mod ros2;
mod run_page;
pub mod run_settings;
pub mod runtime;
pub mod schema;
pub mod session_stop;
pub mod shipped;
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
