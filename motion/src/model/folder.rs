//! Checkpoint folders: the configuration with its statistics, and one weight file for each part.

use std::path::Path;

use kinestream_diffusion::weights::{self, Precision};
use serde::{Deserialize, Serialize};
use tch::Device;
use tch::nn::VarStore;

use super::{FrameDeltaStats, ModelConfig, MotionModel};
use crate::embedding::Statistics;
use crate::features::Layout;
use crate::{Error, Result, character};

/// File of the configuration in a checkpoint folder.
pub const CONFIG_FILE: &str = "config.json";
/// Version of the layout of that file.
const FORMAT: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    model: ModelConfig,
    statistics: Statistics,
    changes: FrameDeltaStats,
}

impl MotionModel {
    /// Writes a checkpoint folder; each file appears whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        for (name, store) in self.stores() {
            weights::write(&folder.join(name), &weights::snapshot(store, precision))?;
        }
        let path = folder.join(CONFIG_FILE);
        let description = Description {
            format: FORMAT,
            kind: "motion".into(),
            model: self.config.clone(),
            statistics: self.embedding.statistics().clone(),
            changes: self.changes.clone(),
        };
        let text = serde_json::to_string_pretty(&description).map_err(|error| Error::Data {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let beside = path.with_extension("json.part");
        std::fs::write(&beside, text + "\n").map_err(|error| Error::io(&beside, error))?;
        std::fs::rename(&beside, &path).map_err(|error| Error::io(&path, error))
    }

    /// Reads a checkpoint folder.
    ///
    /// # Errors
    /// Missing files, unknown or wrong keys, weights that do not fit; each names the file.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let refuse = |reason: String| Error::Data {
            path: path.clone(),
            reason,
        };
        let Description {
            format,
            kind,
            model,
            statistics,
            changes,
        } = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if format != FORMAT || kind != "motion" {
            return Err(refuse(format!(
                "kind `{kind}`, format {format} found; this version reads kind `motion`, format {FORMAT}"
            )));
        }
        model.embedding.check()?;
        let layout = Layout::new(character::JOINTS);
        statistics.check(layout, model.embedding.latent, &path)?;
        let embedded = Layout::HAND_MADE + model.embedding.latent as usize;
        changes.check(embedded, &path)?;
        let mut loaded = Self::new(&model, statistics, changes, device, 0)?;
        for (name, store) in loaded.stores() {
            weights::load(&folder.join(name), store)?;
        }
        loaded.freeze();
        Ok(loaded)
    }

    pub(super) fn stores(&self) -> Vec<(&'static str, &VarStore)> {
        let mut stores = vec![("embedding.safetensors", self.embedding.store())];
        if let Some(predictor) = &self.predictor {
            stores.push(("predictor.safetensors", predictor.store()));
        }
        stores.extend(self.generator.stores());
        stores
    }
}
