//! Recordings of this program: what is recorded under which topic, and how it is read back.
//!
//! A [`RecordSink`] takes a running system's messages and never holds anybody up. [`RecordingHeader`] is the first message of every
//! recording. [`PhysicsCheck`], [`Picture`] and [`Scene`] make something of a recording's messages, without a clock.
//! docs/RECORDING.md lists the topics.

use std::path::Path;

use anyhow::{Result, anyhow};
use kinestream_bridge::recording::RecorderStatus;

use crate::config::Config;

mod codec;
mod messages;
mod opening;
mod physics;
mod picture;
mod scene;
mod tap;
pub mod topic;

pub use codec::decode;
pub use messages::{PolicyInput, SimInput, SimStep, TickRecord};
pub use opening::{CheckpointIdentity, RecordingHeader, VERSION, sha256};
pub use physics::{PhysicsCheck, PhysicsReport};
pub use picture::Picture;
pub use scene::Scene;
pub use tap::{RecordSink, TickRecordSink};

/// The recording of a running system, none without a path.
pub fn tap(
    path: Option<&Path>,
    command: &str,
    config: &Config,
    seeds: &[u64],
) -> Result<RecordSink> {
    let Some(path) = path else {
        return Ok(RecordSink::off());
    };
    let opening = RecordingHeader {
        checkpoint: Some(CheckpointIdentity::of(&config.runtime.checkpoint)?),
        seeds: seeds.to_vec(),
        threads: Some(config.runtime.threads),
        ..RecordingHeader::new(command, config)?
    };
    RecordSink::create(path, &opening)
}

/// Completes a recording and says what is in it and what is not. Without a recorder nothing is to be done.
///
/// # Errors
/// The recording ended early, as on a full disk. The caller ends with it once everything else is at rest.
pub fn finish(tap: &RecordSink) -> Result<()> {
    let (Some(path), Some(totals)) = (tap.path(), tap.finish()) else {
        return Ok(());
    };
    tracing::info!(
        "{}: {} messages, {:.1} MB, {} dropped",
        path.display(),
        totals.messages,
        totals.bytes as f64 / 1e6,
        totals.dropped
    );
    warn_of_losses(path, &totals);
    match totals.fault {
        Some(fault) => Err(anyhow!(
            "{}: recording ended early: {fault}",
            path.display()
        )),
        None => Ok(()),
    }
}

/// Says in a line which messages a recording lacks, if it lacks any.
pub fn warn_of_losses(path: &Path, totals: &RecorderStatus) {
    if totals.gaps.is_empty() && totals.dropped == 0 {
        return;
    }
    let topics: Vec<String> = totals
        .gaps
        .iter()
        .map(|(topic, counts)| format!("{} of {topic} in {} gaps", counts.missing, counts.gaps))
        .collect();
    let topics = if topics.is_empty() {
        "none by the senders' numbers".to_owned()
    } else {
        topics.join(", ")
    };
    tracing::warn!(
        "{}: messages are missing: {topics}; the recorder itself had no room for {}",
        path.display(),
        totals.dropped
    );
}

/// What a command did and how its recording ended, as one result: neither error hides the other.
pub fn and_recorded<T>(done: Result<T>, recorded: Result<()>) -> Result<T> {
    match (done, recorded) {
        (Ok(done), Ok(())) => Ok(done),
        (Ok(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Err(error), Err(other)) => Err(anyhow!("{error:#}; and {other:#}")),
    }
}
