//! Recordings of this program: what is recorded under which topic, and how it is read back.
//!
//! A [`Tap`] takes a running system's messages and never holds anybody up. [`Opening`] is the first message of every
//! recording. [`PhysicsCheck`], [`Picture`] and [`Scene`] make something of a recording's messages, without a clock.
//! docs/RECORDING.md lists the topics.

use std::path::Path;

use anyhow::Result;

use crate::config::Config;

mod codec;
mod messages;
mod opening;
mod physics;
mod picture;
mod scene;
mod tap;
pub(crate) mod topic;

pub(crate) use codec::decode;
pub(crate) use messages::{PolicyInput, SimInput, SimStep, TickRecord};
pub(crate) use opening::{CheckpointIdentity, Opening, VERSION, sha256};
pub(crate) use physics::{PhysicsCheck, PhysicsReport};
pub(crate) use picture::Picture;
pub(crate) use scene::Scene;
pub(crate) use tap::{Tap, TickTap};

/// The recording of a running system, none without a path.
pub(crate) fn tap(
    path: Option<&Path>,
    command: &str,
    config: &Config,
    seeds: &[u64],
) -> Result<Tap> {
    let Some(path) = path else {
        return Ok(Tap::off());
    };
    let opening = Opening {
        checkpoint: Some(CheckpointIdentity::of(&config.runtime.checkpoint)?),
        seeds: seeds.to_vec(),
        threads: Some(config.runtime.threads),
        ..Opening::new(command, config)?
    };
    Tap::create(path, &opening)
}

/// Completes a recording and says what is in it.
pub(crate) fn finish(tap: &Tap) {
    let (Some(path), Some(totals)) = (tap.path(), tap.finish()) else {
        return;
    };
    let path = path.display();
    match totals.fault {
        Some(fault) => tracing::error!("{path}: recording ended early: {fault}"),
        None => tracing::info!(
            "{path}: {} messages, {:.1} MB, {} dropped",
            totals.messages,
            totals.bytes as f64 / 1e6,
            totals.dropped
        ),
    }
}
