//! The nodes of a running system, each with threads of its own: policy, command loop, simulator.
//! [`runtime`] puts policy and command loop together, as a robot sees them.

pub(crate) mod cameras;
pub(crate) mod character;
pub(crate) mod commands;
pub(crate) mod engines;
mod monitor;
pub(crate) mod policy;
pub(crate) mod ros2;
pub(crate) mod runtime;
pub(crate) mod signals;
pub(crate) mod simulator;
mod snapshot;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kinestream_bridge::wire::Stamp;
use kinestream_control::{Clock, Monotonic};

/// How long a node waits for a message before it looks whether it should end.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);
/// Messages that wait at a node at most; older ones are dropped and counted.
pub(crate) const INBOX: usize = 64;

/// A stamp of this moment.
pub(crate) fn stamp(sequence: u64, stream: u32) -> Stamp {
    Stamp {
        sequence,
        monotonic_ns: Monotonic.now_ns(),
        wall_ns: wall_ns(),
        stream,
    }
}

/// Nanoseconds since 1970 by this machine's clock.
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_nanos() as u64
}
