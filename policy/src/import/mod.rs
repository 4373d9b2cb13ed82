//! Checkpoints that other programs wrote, read without Python.
//!
//! An import yields a [`Checkpoint`] like one that was trained here, which runs as it is and can be
//! saved, and what has to be known about it: what its files do not say, and what of them does not
//! matter for running. What cannot be run is refused with everything that stands in the way.

pub mod diffusion_policy;
mod fields;
pub mod lerobot;
mod omegaconf;
mod pickle;
mod torch_file;

use std::path::Path;

use tch::Device;

use crate::checkpoint::{CONFIG_FILE, Checkpoint};
use crate::{Error, Result};

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
    let config = path.join(CONFIG_FILE);
    if !config.is_file() {
        return Err(Error::NotACheckpoint {
            path: path.to_path_buf(),
            missing: CONFIG_FILE,
        });
    }
    let text = std::fs::read_to_string(&config).map_err(Error::io(&config))?;
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
            reason:
                "neither `format`, as kinestream writes, nor `type`, as LeRobot writes, is there; \
                     name a folder that one of them wrote"
                    .into(),
        });
    })
}

/// Opens a checkpoint, whoever wrote it.
///
/// # Errors
/// Files that are missing, damaged, or hold what cannot be run; each error names the file and all
/// that is wrong in it.
pub fn open(path: &Path, device: Device) -> Result<Imported> {
    match detect(path)? {
        Format::Kinestream => Ok(Imported {
            checkpoint: Checkpoint::load(path, device)?,
            format: Format::Kinestream,
            assumed: Vec::new(),
            ignored: Vec::new(),
        }),
        Format::Lerobot => lerobot::open(path, device),
        Format::DiffusionPolicy => diffusion_policy::open(path, device),
    }
}
