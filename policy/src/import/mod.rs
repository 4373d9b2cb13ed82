//! Checkpoints that other programs wrote, read without Python.
//!
//! An import yields a [`Checkpoint`] like one that was trained here, which runs as it is and can be
//! saved, and what has to be known about it: what its files do not say, and what of them does not
//! matter for running. What cannot be run is refused with everything that stands in the way.

mod diagnosis;
pub mod diffusion_policy;
mod fields;
pub mod lerobot;
mod omegaconf;
mod pickle;
mod torch_file;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tch::Device;

use crate::checkpoint::{CONFIG_FILE, Checkpoint};
use crate::{Error, PolicyConfig, Result};

/// Who wrote a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// This program.
    Kinestream,
    /// LeRobot's diffusion policy, a folder.
    Lerobot,
    /// diffusion_policy or Streaming Diffusion Policy, a `.ckpt` file.
    DiffusionPolicy,
}

/// A checkpoint and where it comes from.
pub struct Imported {
    /// The checkpoint, ready to run.
    pub checkpoint: Checkpoint,
    /// Who wrote it.
    pub format: Format,
    /// What its files do not say, and what was taken in its place.
    pub assumed: Vec<String>,
    /// What its files say and running does not need.
    pub ignored: Vec<String>,
}

/// Who wrote a checkpoint, judged by its files alone.
///
/// # Errors
/// Neither a checkpoint nor anything that can be imported.
pub fn detect(path: &Path) -> Result<Format> {
    if path.is_file() && torch_file::wrote(path)? {
        return Ok(Format::DiffusionPolicy);
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "ckpt")
        && path.is_file()
    {
        let mut start = Vec::new();
        File::open(path)
            .and_then(|file| file.take(64).read_to_end(&mut start))
            .map_err(Error::io(path))?;
        diagnosis::refuse_placeholder(path, &start)?;
    }
    let config = path.join(CONFIG_FILE);
    if !config.is_file() {
        return Err(diagnosis::no_checkpoint(path));
    }
    let text = diagnosis::read_text(&config)?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| Error::Json {
        path: config.clone(),
        reason: error.to_string(),
    })?;
    Ok(if value.get("format").is_some() {
        Format::Kinestream
    } else if lerobot::wrote(&value) {
        Format::Lerobot
    } else {
        return Err(Error::Json {
            path: config,
            reason: "neither `format`, as kinestream writes, nor `type`, as LeRobot writes, is there; name a folder that \
                     one of them wrote"
                .into(),
        });
    })
}

/// The configuration of a checkpoint, whoever wrote it. One of ours is not opened for it.
///
/// # Errors
/// Those of [`open`].
pub fn policy(path: &Path) -> Result<PolicyConfig> {
    match detect(path)? {
        Format::Kinestream => Checkpoint::read_policy(path),
        _ => Ok(open(path, Device::Cpu)?.checkpoint.policy().clone()),
    }
}

/// What whoever imports may say of files that say too much.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Keys of a LeRobot `config.json` that are passed over, though nobody knows what they change.
    pub ignored_keys: Vec<String>,
}

/// Opens a checkpoint, whoever wrote it.
///
/// # Errors
/// Those of [`open_with`].
pub fn open(path: &Path, device: Device) -> Result<Imported> {
    open_with(path, device, &ImportOptions::default())
}

/// Opens a checkpoint, whoever wrote it.
///
/// # Errors
/// Files that are missing, damaged, or hold what cannot be run; each error names the file and all
/// that is wrong in it.
pub fn open_with(path: &Path, device: Device, options: &ImportOptions) -> Result<Imported> {
    match detect(path)? {
        Format::Kinestream => Ok(Imported {
            checkpoint: Checkpoint::load(path, device)?,
            format: Format::Kinestream,
            assumed: Vec::new(),
            ignored: Vec::new(),
        }),
        Format::Lerobot => lerobot::open(path, device, options),
        Format::DiffusionPolicy => diffusion_policy::open(path, device),
    }
}
