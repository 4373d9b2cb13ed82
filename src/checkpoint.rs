//! Finding and opening checkpoints.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kinestream_policy::Checkpoint;
use kinestream_policy::import::{self, Format, Imported};
use tch::Device;

use crate::config::Config;

/// Folder of the shipped Push-T policy, relative to the project.
pub(crate) const SHIPPED: &str = "models/pusht-state";

/// Folder of the shipped motion model, relative to the project.
pub(crate) const SHIPPED_MOTION: &str = "models/motion-aamdm";

/// Folder of the shipped model of whole clips, relative to the project.
pub(crate) const SHIPPED_CLIPS: &str = "models/motion-emdm";

/// A checkpoint folder: as named, or the same path in the project that this program was built in,
/// so that the shipped weights are found from any folder.
pub(crate) fn locate(named: &Path) -> PathBuf {
    if named.is_absolute() || named.exists() {
        return named.to_path_buf();
    }
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join(named);
    if built_in.exists() {
        built_in
    } else {
        named.to_path_buf()
    }
}

/// Opens a checkpoint, whoever wrote it.
pub(crate) fn open(named: &Path, device: Device) -> Result<Checkpoint> {
    let Imported {
        checkpoint,
        assumed,
        ignored,
        ..
    } = open_any(named, device)?;
    for text in &assumed {
        tracing::warn!("{}: assumed {text}", named.display());
    }
    for text in &ignored {
        tracing::debug!("{}: left out {text}", named.display());
    }
    Ok(checkpoint)
}

/// Opens a checkpoint with what there is to say about it.
pub(crate) fn open_any(named: &Path, device: Device) -> Result<Imported> {
    let path = locate(named);
    tracing::debug!("checkpoint {}", path.display());
    Ok(import::open(&path, device)?)
}

/// Opens a checkpoint to be run. What a configuration says about late plans counts, not what the
/// training knew of them: `plan.commit_ahead`, `plan.inpaint`, `plan.iterate` and `plan.restart`. So
/// does its rate where a foreign checkpoint has none.
pub(crate) fn open_to_run(named: &Path, config: &Config, device: Device) -> Result<Checkpoint> {
    let Imported {
        mut checkpoint,
        format,
        ignored,
        ..
    } = open_any(named, device)?;
    for text in &ignored {
        tracing::debug!("{}: left out {text}", named.display());
    }
    if format != Format::Kinestream {
        checkpoint.policy_mut().task.rate_hz = config.task.rate_hz;
    }
    let loaded = &mut checkpoint;
    let plan = &mut loaded.policy_mut().plan;
    plan.commit_ahead = config.plan.commit_ahead;
    plan.inpaint = config.plan.inpaint;
    plan.iterate = config.plan.iterate;
    plan.restart = config.plan.restart;
    if plan.iterate.is_some() || plan.restart.is_some() {
        // They are for answering more often than a chunk is long.
        plan.action_steps = config.plan.action_steps;
    }
    loaded
        .policy()
        .check()
        .with_context(|| format!("[plan] of the configuration, with {}", named.display()))?;
    Ok(checkpoint)
}
