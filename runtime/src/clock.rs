//! Stamps of this moment, for messages.

use std::time::{SystemTime, UNIX_EPOCH};

use kinestream_bridge::wire::Stamp;
use kinestream_control::{Clock, Monotonic};

/// A stamp of this moment.
pub fn stamp(sequence: u64, stream: u32) -> Stamp {
    Stamp {
        sequence,
        monotonic_ns: Monotonic.now_ns(),
        wall_ns: wall_ns(),
        stream,
    }
}

/// Nanoseconds since 1970 by this machine's clock.
pub fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_nanos() as u64
}
