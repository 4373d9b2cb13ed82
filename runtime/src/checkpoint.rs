//! Finding and opening checkpoints.

use std::path::Path;

use anyhow::{Context, Result};
use kinestream_diffusion::Denoiser;
use kinestream_policy::import::{self, Format, ImportOptions, Imported};
use kinestream_policy::{Checkpoint, cautions};
use tch::Device;

use crate::config::Config;
use crate::run_settings::{self, RunPolicy};

pub use crate::shipped::{SHIPPED, SHIPPED_CLIPS, SHIPPED_MOTION, locate};

/// Opens a checkpoint, whoever wrote it.
pub fn open(named: &Path, device: Device) -> Result<Checkpoint> {
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
pub fn open_any(named: &Path, device: Device) -> Result<Imported> {
    open_with(named, device, &ImportOptions::default())
}

/// The same, with what whoever imports says of it.
pub fn open_with(named: &Path, device: Device, options: &ImportOptions) -> Result<Imported> {
    let path = locate(named);
    tracing::debug!("checkpoint {}", path.display());
    Ok(import::open_with(&path, device, options)?)
}

/// A checkpoint that is run, and what a configuration changes of it.
pub struct RunCheckpoint {
    /// The checkpoint, its policy with the configuration's run settings.
    pub checkpoint: Checkpoint,
    /// What differs from how it was trained, a sentence each.
    pub changes: Vec<String>,
    /// What of that deserves a warning.
    pub cautions: Vec<String>,
}

/// Opens the checkpoint of a configuration to be run, with its run settings ([`run_settings`]); the configuration then says
/// what runs.
///
/// # Errors
/// Files that cannot be read, or a key of the configuration that contradicts them.
pub fn open_to_run(config: &mut Config, device: Device) -> Result<RunCheckpoint> {
    let named = config.runtime.checkpoint.clone();
    let Imported {
        mut checkpoint,
        format,
        ignored,
        ..
    } = open_any(&named, device)?;
    for text in &ignored {
        tracing::debug!("{}: left out {text}", named.display());
    }
    let folder = named.display().to_string();
    let RunPolicy {
        policy,
        changes,
        cautions: mut cautions_of_run,
    } = run_settings::run_policy(
        &config.written,
        &config.policy(),
        checkpoint.policy(),
        &folder,
    )?;
    if format != Format::Kinestream {
        // Foreign files say no rate.
        cautions_of_run.retain(|text| !text.starts_with("task.rate_hz"));
    }
    let said = cautions(&policy, checkpoint.normalisers()).into_iter();
    cautions_of_run.extend(said.map(|text| format!("{folder}: {text}")));
    let action = checkpoint.network().dimensions().action as usize;
    let place = || format!("[plan] of the configuration, with {folder}");
    policy.plan.check_guidance(action).with_context(place)?;
    config.set_policy(policy.clone());
    *checkpoint.policy_mut() = policy;
    Ok(RunCheckpoint {
        checkpoint,
        changes,
        cautions: cautions_of_run,
    })
}

/// Opens the checkpoint of a recording, its policy as it ran.
///
/// # Errors
/// Files that cannot be read.
pub fn open_recorded(
    folder: &Path,
    config: &Config,
    is_in_force: bool,
    device: Device,
) -> Result<Checkpoint> {
    let Imported {
        mut checkpoint,
        format,
        ..
    } = open_any(folder, device)?;
    let policy = checkpoint.policy_mut();
    if is_in_force {
        *policy = config.policy();
    } else {
        // Programs of before took of a configuration's plan alone what it says of late ones.
        policy.plan = policy.plan.run_as(&config.plan);
        if format != Format::Kinestream {
            policy.task.rate_hz = config.task.rate_hz;
        }
    }
    policy.check()?;
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_what_runs() {
        let text = crate::config::BUILT_IN;
        let mut config = Config::parse(text, "the built-in configuration").unwrap();
        let opened = open_to_run(&mut config, Device::Cpu).unwrap();
        assert_eq!((opened.changes.len(), opened.cautions.len()), (0, 0));
        let other = text.replace("primer_columns = [18, 19]", "primer_columns = [0, 1]");
        let mut config = Config::parse(&other, "run.toml").unwrap();
        let opened = open_to_run(&mut config, Device::Cpu).unwrap();
        let plan = &opened.checkpoint.policy().plan;
        assert_eq!(plan.primer_columns, Some(vec![0, 1]));
        assert_eq!(opened.changes.len(), 1);
        assert_eq!(config.policy(), *opened.checkpoint.policy());
    }
}
