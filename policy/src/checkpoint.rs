//! Checkpoints: a folder with `config.json` and `model.safetensors`, all that running needs; or with
//! `model.pt`, a TorchScript module, or `model.pt2`, an AOTInductor package, in place of the weights.

use std::path::Path;

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::network::vision::VisionEncoder;
use kinestream_diffusion::weights::{self, Precision};
use kinestream_diffusion::{Denoiser, Network};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

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
    /// Of the colours, 0 to 1, of every camera in the order of `task.observation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Normaliser>,
}

impl Normalisers {
    /// Checks that there is one of everything, of the right size.
    fn check(&self, policy: &PolicyConfig, observation: usize, action: usize) -> Result<()> {
        self.observation
            .check("normalisers.observation", observation)?;
        self.action.check("normalisers.action", action)?;
        let cameras = policy.cameras().count();
        let columns = policy
            .task
            .observation
            .iter()
            .flat_map(|part| &part.columns);
        let columns: usize = columns.map(Vec::len).sum();
        if cameras > 0 && columns != observation {
            return Err(Error::Config {
                key: "normalisers.observation",
                found: format!("{observation} numbers"),
                expected: format!("{columns}, the columns of task.observation"),
            });
        }
        if self.images.len() != cameras {
            return Err(Error::Config {
                key: "normalisers.images",
                found: format!("{} of them", self.images.len()),
                expected: format!("{cameras}, one for every image of task.observation"),
            });
        }
        let mut images = self.images.iter();
        images.try_for_each(|image| image.check("normalisers.images", 3))
    }
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

impl Description {
    fn read(folder: &Path) -> Result<Self> {
        require(folder, CONFIG_FILE)?;
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
        serde_json::from_str(&text).map_err(|error| json(error.to_string()))
    }
}

fn require(folder: &Path, missing: &'static str) -> Result<()> {
    match folder.join(missing).is_file() {
        true => Ok(()),
        false => Err(Error::NotACheckpoint {
            path: folder.to_path_buf(),
            missing,
        }),
    }
}

/// What every version of the configuration file has.
#[derive(Deserialize)]
struct Version {
    format: u32,
    kind: String,
}

/// Tensors that were read from a weights file, and how they are called there.
pub struct WeightsFile<'a> {
    /// The file, for errors.
    pub path: &'a Path,
    /// Its tensors; those that no network takes are refused.
    pub tensors: Vec<(String, Tensor)>,
    /// From a parameter's name to its name in the file.
    pub name_in_file: &'a dyn Fn(&str) -> String,
}

/// Prefix of the names of the image encoders' parameters.
pub(crate) const VISION_PREFIX: &str = "vision.";

/// A trained policy: configuration, normalisers, network and image encoders.
pub struct Checkpoint {
    policy: PolicyConfig,
    normalisers: Normalisers,
    network: Network,
    vision: Option<VisionEncoder>,
    number_types: Vec<&'static str>,
}

impl Checkpoint {
    /// A checkpoint of weights in memory; the network is frozen.
    pub fn new(policy: &PolicyConfig, normalisers: &Normalisers, mut network: Network) -> Self {
        network.freeze();
        Self {
            policy: policy.clone(),
            normalisers: normalisers.clone(),
            network,
            vision: None,
            number_types: Vec::new(),
        }
    }

    /// The same with encoders of images, where there are any; they are frozen.
    #[must_use]
    pub fn with_vision(mut self, vision: Option<VisionEncoder>) -> Self {
        self.vision = vision;
        if let Some(vision) = &mut self.vision {
            vision.freeze();
        }
        self
    }

    /// A checkpoint of weights in a file: everything is checked, networks are built, and filled
    /// from `tensors`, which were read from `path`. `name_in_file` says what a parameter is called
    /// there: those of the image encoders are `vision.` and [`VisionEncoder`]'s names, the others
    /// the [`Network`]'s own.
    ///
    /// # Errors
    /// A configuration value out of its range, normalisers of the wrong size, or every tensor that
    /// does not fit.
    pub fn assemble(
        policy: &PolicyConfig,
        normalisers: &Normalisers,
        action: usize,
        weights: &WeightsFile<'_>,
        device: Device,
    ) -> Result<Self> {
        policy.check()?;
        let observation = normalisers.observation.size();
        normalisers.check(policy, observation, action)?;
        let dimensions = policy.dimensions(observation, action);
        let network = Network::new(&policy.network, dimensions, device, 0)?;
        let vision = policy
            .vision
            .as_ref()
            .map(|config| VisionEncoder::new(config, policy.cameras().count(), device, 0));
        let mut networks = vec![("", network.store())];
        networks.extend(
            vision
                .as_ref()
                .map(|vision| (VISION_PREFIX, vision.store())),
        );
        weights::assign(
            weights.path,
            &weights.tensors,
            &networks,
            weights.name_in_file,
        )?;
        let mut checkpoint = Self::new(policy, normalisers, network).with_vision(vision);
        checkpoint.number_types = weights::number_types(&weights.tensors);
        Ok(checkpoint)
    }

    /// In what the file keeps its weights, such as `fp16`, the commonest first; empty where nobody can tell. They are
    /// widened exactly.
    pub fn number_types(&self) -> &[&'static str] {
        &self.number_types
    }

    /// Reads the configuration of a checkpoint folder alone.
    ///
    /// # Errors
    /// No such file, or unknown or wrong keys in it.
    pub fn read_policy(folder: &Path) -> Result<PolicyConfig> {
        Ok(Description::read(folder)?.policy)
    }

    /// Reads a checkpoint folder.
    ///
    /// # Errors
    /// Missing files, unknown or wrong keys, weights that do not fit or are not finite; each names
    /// the file and what is wrong in it.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let Description {
            dimensions,
            policy,
            normalisers,
            ..
        } = Description::read(folder)?;
        let json = |reason: String| Error::Json {
            path: folder.join(CONFIG_FILE),
            reason,
        };
        policy.check().map_err(|error| json(error.to_string()))?;
        let action = dimensions.action as usize;
        let row = dimensions.condition as usize / policy.plan.observation_steps;
        let observation = row.saturating_sub(policy.condition_size(0));
        if dimensions != policy.dimensions(observation, action) {
            return Err(json(format!(
                "dimensions {dimensions:?} contradict `policy`"
            )));
        }
        normalisers
            .check(&policy, observation, action)
            .map_err(|error| json(error.to_string()))?;
        let assembled = if let Some(file) = policy.network.program_file() {
            require(folder, file)?;
            let program = folder.join(file);
            Self::load_program(&policy, &normalisers, dimensions, &program, device)
        } else {
            require(folder, WEIGHTS_FILE)?;
            let weights = folder.join(WEIGHTS_FILE);
            let weights = WeightsFile {
                tensors: weights::read(&weights)?,
                path: &weights,
                name_in_file: &str::to_owned,
            };
            Self::assemble(&policy, &normalisers, action, &weights, device)
        };
        assembled.map_err(|error| match error {
            Error::Config { .. }
            | Error::Diffusion(
                kinestream_diffusion::Error::Config { .. }
                | kinestream_diffusion::Error::Horizon { .. },
            ) => json(error.to_string()),
            error => error,
        })
    }

    /// A checkpoint whose denoiser is a TorchScript module or an AOTInductor package.
    fn load_program(
        policy: &PolicyConfig,
        normalisers: &Normalisers,
        dimensions: Dimensions,
        module: &Path,
        device: Device,
    ) -> Result<Self> {
        if policy.vision.is_some() {
            return Err(Error::Config {
                key: "vision",
                found: "set, with network.kind torch_script or aot_inductor".into(),
                expected: "no images: modules and packages are given numbers".into(),
            });
        }
        let network = Network::load_program(&policy.network, dimensions, module, device)?;
        Ok(Self::new(policy, normalisers, network))
    }

    /// Writes a checkpoint folder; each file appears whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        if let (Some(module), Some(file)) =
            (self.network.program(), self.policy.network.program_file())
        {
            let path = folder.join(file);
            let beside = path.with_extension("part");
            std::fs::copy(module, &beside).map_err(Error::io(module))?;
            std::fs::rename(&beside, &path).map_err(Error::io(&path))?;
            return self.describe(folder);
        }
        let mut tensors = weights::snapshot(self.network.store(), precision);
        if let Some(vision) = &self.vision {
            let named = |(name, tensor)| (format!("{VISION_PREFIX}{name}"), tensor);
            tensors.extend(
                weights::snapshot(vision.store(), precision)
                    .into_iter()
                    .map(named),
            );
        }
        weights::write(&folder.join(WEIGHTS_FILE), &tensors)?;
        self.describe(folder)
    }

    /// Writes the configuration file.
    fn describe(&self, folder: &Path) -> Result<()> {
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

    /// The network alone, for what evaluates it in its own way.
    pub fn into_network(self) -> Network {
        self.network
    }

    /// The image encoders, if images are observed.
    pub fn vision(&self) -> Option<&VisionEncoder> {
        self.vision.as_ref()
    }

    /// Number of parameters, those of the image encoders included.
    pub fn parameters(&self) -> usize {
        self.network.parameters() + self.vision.as_ref().map_or(0, VisionEncoder::parameters)
    }

    /// The parts, for building an engine.
    pub(crate) fn into_parts(self) -> (PolicyConfig, Normalisers, Network, Option<VisionEncoder>) {
        (self.policy, self.normalisers, self.network, self.vision)
    }
}
