//! Checkpoints: a folder with `config.json` and `model.safetensors`, all that running needs.

use std::path::Path;

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::weights::{self, Precision};
use kinestream_diffusion::{Denoiser, Network};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{Error, Normaliser, PolicyConfig, Result};

/// File of the configuration in a checkpoint folder.
pub const CONFIG_FILE: &str = "config.json";
/// File of the weights in a checkpoint folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Version of the layout of `config.json`.
const FORMAT: u32 = 1;

/// Normalisation of observations and actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisers {
    /// Of one observation.
    pub observation: Normaliser,
    /// Of one action.
    pub action: Normaliser,
}

/// The configuration file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    dimensions: Dimensions,
    policy: PolicyConfig,
    normalisers: Normalisers,
}

/// What every version of the configuration file has.
#[derive(Deserialize)]
struct Version {
    format: u32,
    kind: String,
}

/// A trained policy: configuration, normalisers and network.
pub struct Checkpoint {
    policy: PolicyConfig,
    normalisers: Normalisers,
    network: Network,
}

impl Checkpoint {
    /// A checkpoint of weights in memory; the network is frozen.
    pub fn new(policy: &PolicyConfig, normalisers: &Normalisers, mut network: Network) -> Self {
        network.freeze();
        Self {
            policy: policy.clone(),
            normalisers: normalisers.clone(),
            network,
        }
    }

    /// Reads a checkpoint folder.
    ///
    /// # Errors
    /// Missing files, unknown or wrong keys, weights that do not fit or are not finite; each names
    /// the file and what is wrong in it.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        for missing in [CONFIG_FILE, WEIGHTS_FILE] {
            if !folder.join(missing).is_file() {
                return Err(Error::NotACheckpoint {
                    path: folder.to_path_buf(),
                    missing,
                });
            }
        }
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let json = |reason: String| Error::Json {
            path: path.clone(),
            reason,
        };
        let Version { format, kind } =
            serde_json::from_str(&text).map_err(|error| json(error.to_string()))?;
        if format != FORMAT || kind != "policy" {
            return Err(json(format!(
                "kind `{kind}`, format {format} found; this version reads kind `policy`, format \
                 {FORMAT}: train the policy again, or run the version that wrote it"
            )));
        }
        let description: Description =
            serde_json::from_str(&text).map_err(|error| json(error.to_string()))?;
        let Description {
            dimensions,
            policy,
            normalisers,
            ..
        } = description;
        let inside = |error: Error| json(error.to_string());
        policy.check().map_err(inside)?;
        let action = dimensions.action as usize;
        let observation = dimensions.condition as usize / policy.plan.observation_steps;
        if dimensions != policy.dimensions(observation, action) {
            return Err(json(format!(
                "dimensions {dimensions:?} contradict `policy`"
            )));
        }
        normalisers
            .observation
            .check("normalisers.observation", observation)
            .map_err(inside)?;
        normalisers
            .action
            .check("normalisers.action", action)
            .map_err(inside)?;
        let network = Network::new(&policy.network, dimensions, device, 0)
            .map_err(|error| json(error.to_string()))?;
        weights::load(&folder.join(WEIGHTS_FILE), network.store())?;
        Ok(Self::new(&policy, &normalisers, network))
    }

    /// Writes a checkpoint folder; each file appears whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        weights::write(
            &folder.join(WEIGHTS_FILE),
            &weights::snapshot(self.network.store(), precision),
        )?;
        let description = Description {
            format: FORMAT,
            kind: "policy".into(),
            dimensions: self.network.dimensions(),
            policy: self.policy.clone(),
            normalisers: self.normalisers.clone(),
        };
        let path = folder.join(CONFIG_FILE);
        let text = serde_json::to_string_pretty(&description).map_err(|error| Error::Json {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let beside = path.with_extension("json.part");
        std::fs::write(&beside, text + "\n").map_err(Error::io(&beside))?;
        std::fs::rename(&beside, &path).map_err(Error::io(&path))
    }

    /// The configuration.
    pub fn policy(&self) -> &PolicyConfig {
        &self.policy
    }

    /// The configuration, for overriding how plans are run (not what was trained).
    pub fn policy_mut(&mut self) -> &mut PolicyConfig {
        &mut self.policy
    }

    /// Normalisation of observations and actions.
    pub fn normalisers(&self) -> &Normalisers {
        &self.normalisers
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parts, for building an engine.
    pub fn into_parts(self) -> (PolicyConfig, Normalisers, Network) {
        (self.policy, self.normalisers, self.network)
    }
}
