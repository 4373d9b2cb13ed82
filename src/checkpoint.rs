//! Finding and opening checkpoints.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kinestream_policy::Checkpoint;
use tch::Device;

/// Folder of the shipped Push-T policy, relative to the project.
pub(crate) const SHIPPED: &str = "models/pusht-state";

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

/// Opens a checkpoint.
pub(crate) fn open(named: &Path, device: Device) -> Result<Checkpoint> {
    let folder = locate(named);
    tracing::debug!("checkpoint {}", folder.display());
    Ok(Checkpoint::load(&folder, device)?)
}
