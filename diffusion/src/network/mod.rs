//! Denoiser networks: from a noisy plan, the noise level of every position and a condition to a
//! prediction.
//!
//! Parameter names are those of the published implementations where there is one, so that their
//! weights load without renaming.

mod blocks;
mod mlp;
mod package;
mod script;
mod transformer;
mod unet;
pub mod vision;

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Tensor};

pub use mlp::{Mlp, timestep_table};
pub use script::ScriptConfig;
pub use transformer::{Transformer, TransformerConfig};
pub use unet::UNet;

use crate::{Error, Result};
use package::Package;
use script::Script;

/// Which of the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Diffusion Policy's ConditionalUnet1D: one noise level for the whole plan.
    DiffusionPolicy,
    /// Streaming Diffusion Policy's variant: the sinusoids of all positions are concatenated into
    /// one global condition, which ties the weights to the horizon.
    StreamingDiffusionPolicy,
    /// Each position is modulated by its own noise level (as in RNR-DP) and by the observation.
    PerPosition,
    /// Diffusion Policy's TransformerForDiffusion: one noise level for the whole plan.
    Transformer,
    /// A TorchScript module, whatever is in it.
    #[serde(rename = "torch_script")]
    TorchScript,
    /// An AOTInductor package, whatever was compiled into it.
    AotInductor,
}

/// The non-linearity after every normalisation and inside the encoders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x tanh(softplus(x)), what Diffusion Policy and SDP use (Misra 2020).
    #[default]
    Mish,
    /// x sigmoid(x): nearly the same curve with one exponential in place of three functions.
    Silu,
}

impl Activation {
    fn apply(self, input: &Tensor) -> Tensor {
        match self {
            Self::Mish => input.mish(),
            Self::Silu => input.silu(),
        }
    }
}

/// Configuration of a denoiser network, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Which network.
    pub kind: NetworkKind,
    /// Channels of every resolution stage, for example [256, 512, 1024].
    #[serde(default = "default_channels")]
    pub channels: Vec<i64>,
    /// Width of the noise level's sinusoid and embedding; even.
    #[serde(default = "default_embedding")]
    pub level_embedding: i64,
    /// Width of the encoded observation (`per_position` only).
    #[serde(default = "default_embedding")]
    pub observation_embedding: i64,
    /// Width of the convolutions; odd.
    #[serde(default = "default_kernel")]
    pub kernel_size: i64,
    /// Groups of the group normalisation; every entry of `channels` is a multiple of it.
    #[serde(default = "default_groups")]
    pub groups: i64,
    /// The non-linearity.
    #[serde(default)]
    pub activation: Activation,
    /// Whether the modulation scales as well as shifts.
    #[serde(default = "default_scale")]
    pub modulation_scale: bool,
    /// Observations that the condition consists of, where they are told to the first positions of the
    /// plan, each its own, in place of to all positions alike (`diffusion_policy` only; there it is
    /// called local conditioning).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_observation_steps: Option<i64>,
    /// Sizes of the transformer, in place of all of the above but the kind (`transformer` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer: Option<TransformerConfig>,
    /// What the module or package is told, in place of all of the above but the kind (`torch_script` and `aot_inductor` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptConfig>,
}

fn default_channels() -> Vec<i64> {
    vec![256, 512, 1024]
}
fn default_embedding() -> i64 {
    256
}
fn default_kernel() -> i64 {
    5
}
fn default_groups() -> i64 {
    8
}
fn default_scale() -> bool {
    true
}

/// Sizes of what goes into and comes out of a denoiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimensions {
    /// Positions of a plan, Tp.
    pub horizon: i64,
    /// Numbers per action, Da.
    pub action: i64,
    /// Numbers of the condition: observation history, flattened, To Do.
    pub condition: i64,
    /// Number of training timesteps N.
    pub train_timesteps: i64,
}

/// A network that predicts noise, clean sample or velocity.
pub trait Denoiser: Send {
    /// One network evaluation.
    ///
    /// `sample` is [B, Tp, Da]; `timesteps` is [B, Tp] int64, -1 for clean positions; `condition`
    /// is [B, To Do]. Returns [B, Tp, Da].
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor;

    /// The same without tensors, for what is evaluated on the host anyway: B rows of each, one after
    /// the other, and B rows of `output`, which is as long as `sample`. Returns false, and does
    /// nothing, where tensors are the only way.
    fn evaluate_on_host(
        &self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
    ) -> bool {
        let _ = (sample, timesteps, condition, output);
        false
    }

    /// Sizes of inputs and outputs.
    fn dimensions(&self) -> Dimensions;

    /// Whether positions may carry different noise levels.
    fn takes_levels_per_position(&self) -> bool;
}

/// Builds something whose random parameters depend on `seed` alone.
///
/// LibTorch has one random generator for all threads, so those that build take turns.
pub fn seeded<T>(seed: u64, build: impl FnOnce() -> T) -> T {
    static INITIALISATION: Mutex<()> = Mutex::new(());
    let _turn = INITIALISATION
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    build()
}

/// What computes the prediction.
enum Body {
    UNet(Box<UNet>),
    Transformer(Box<Transformer>),
    Script(Script),
    Package(Package),
}

/// A denoiser network together with its parameters.
pub struct Network {
    store: VarStore,
    body: Body,
    config: NetworkConfig,
    dimensions: Dimensions,
}

impl Network {
    /// Builds a network with fresh random parameters, which depend on `seed` alone.
    ///
    /// # Errors
    /// A configuration value out of its range, or a horizon that the network cannot take.
    pub fn new(
        config: &NetworkConfig,
        dimensions: Dimensions,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        config.check(dimensions)?;
        if config.script.is_some() {
            return Err(Error::Config {
                key: "network.kind",
                found: "torch_script or aot_inductor".into(),
                expected: "another one: those are loaded from their file, and not trained".into(),
            });
        }
        let store = VarStore::new(device);
        let root = store.root();
        let body = seeded(seed, || match config.transformer {
            Some(sizes) => {
                let transformer = Transformer::new(&root, sizes, dimensions);
                Body::Transformer(Box::new(transformer))
            }
            None => Body::UNet(Box::new(UNet::new(&root, config, dimensions))),
        });
        Ok(Self {
            store,
            body,
            config: config.clone(),
            dimensions,
        })
    }

    /// Loads a TorchScript module (`network.kind = "torch_script"`) or an AOTInductor package
    /// (`"aot_inductor"`). Both are programs, which run with all rights of this one.
    ///
    /// # Errors
    /// A configuration value out of its range, or a file that cannot be loaded or does not take
    /// these sizes.
    pub fn scripted(
        config: &NetworkConfig,
        dimensions: Dimensions,
        path: &std::path::Path,
        device: Device,
    ) -> Result<Self> {
        config.check(dimensions)?;
        let body = match config.kind {
            NetworkKind::AotInductor => Body::Package(Package::load(path, dimensions, device)?),
            _ => Body::Script(Script::load(path, dimensions, device)?),
        };
        Ok(Self {
            store: VarStore::new(device),
            body,
            config: config.clone(),
            dimensions,
        })
    }

    /// The parameters; those of a module or package are not among them.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The file of a TorchScript module or an AOTInductor package.
    pub fn script(&self) -> Option<&std::path::Path> {
        match &self.body {
            Body::Script(script) => Some(script.path()),
            Body::Package(package) => Some(package.path()),
            _ => None,
        }
    }

    /// The configuration that the network was built from.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        match &self.body {
            Body::Script(script) => return script.parameters(),
            Body::Package(package) => return package.parameters(),
            Body::UNet(_) | Body::Transformer(_) => {}
        }
        self.store.variables().values().map(Tensor::numel).sum()
    }

    /// Declares the parameters final: gradients are switched off and what depends on them alone
    /// (the embeddings of the noise levels) is computed once.
    pub fn freeze(&mut self) {
        self.store.freeze();
        if let Body::UNet(unet) = &mut self.body {
            unet.cache_levels(self.dimensions.train_timesteps);
        }
    }

    /// The U-Net itself, for looking at its stages; none if the network is another one.
    pub fn unet(&self) -> Option<&UNet> {
        match &self.body {
            Body::UNet(unet) => Some(unet),
            _ => None,
        }
    }
}

impl Denoiser for Network {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        match &self.body {
            Body::UNet(unet) => unet.forward(sample, timesteps, condition),
            Body::Transformer(transformer) => transformer.forward(sample, timesteps, condition),
            Body::Script(script) => script.forward(sample, timesteps, condition),
            Body::Package(package) => package.forward(sample, timesteps, condition),
        }
    }

    fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    fn takes_levels_per_position(&self) -> bool {
        match self.config.kind {
            NetworkKind::DiffusionPolicy | NetworkKind::Transformer => false,
            NetworkKind::StreamingDiffusionPolicy | NetworkKind::PerPosition => true,
            NetworkKind::TorchScript | NetworkKind::AotInductor => {
                let script = self.config.script;
                script.is_some_and(|script| script.level_per_position)
            }
        }
    }
}

impl NetworkConfig {
    /// The configuration of a TorchScript module.
    pub fn scripted(script: ScriptConfig) -> Self {
        Self::foreign(NetworkKind::TorchScript, script)
    }

    /// The configuration of an AOTInductor package.
    pub fn packaged(script: ScriptConfig) -> Self {
        Self::foreign(NetworkKind::AotInductor, script)
    }

    fn foreign(kind: NetworkKind, script: ScriptConfig) -> Self {
        Self {
            kind,
            channels: default_channels(),
            level_embedding: default_embedding(),
            observation_embedding: default_embedding(),
            kernel_size: default_kernel(),
            groups: default_groups(),
            activation: Activation::default(),
            modulation_scale: default_scale(),
            local_observation_steps: None,
            transformer: None,
            script: Some(script),
        }
    }

    /// Checks every value, and that the horizon can be halved as often as needed.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, dimensions: Dimensions) -> Result<()> {
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        for (key, size) in [
            ("task.action dimensions", dimensions.action),
            ("task.observation dimensions", dimensions.condition),
        ] {
            if !(1..=1 << 16).contains(&size) {
                return refuse(key, size.to_string(), "1 to 65536");
            }
        }
        let is_foreign = matches!(
            self.kind,
            NetworkKind::TorchScript | NetworkKind::AotInductor
        );
        match (is_foreign, &self.script) {
            (true, Some(_)) if self.transformer.is_none() => {
                let horizon = dimensions.horizon;
                return match (1..=4096).contains(&horizon) {
                    true => Ok(()),
                    false => refuse("plan.horizon", horizon.to_string(), "1 to 4096"),
                };
            }
            (true, _) => {
                let expected = "what the module or package is told, without network.transformer";
                return refuse("network.script", "absent".into(), expected);
            }
            (false, Some(_)) => {
                let expected = "network.kind torch_script or aot_inductor, or no network.script";
                return refuse("network.script", "set".into(), expected);
            }
            (false, None) => {}
        }
        match (self.kind, &self.transformer) {
            (NetworkKind::Transformer, Some(sizes)) => return sizes.check(dimensions),
            (NetworkKind::Transformer, None) => {
                return refuse(
                    "network.transformer",
                    "absent".into(),
                    "sizes of the transformer",
                );
            }
            (_, Some(_)) => {
                let expected = "network.kind transformer, or no network.transformer";
                return refuse("network.transformer", "set".into(), expected);
            }
            (_, None) => {}
        }
        if let Some(steps) = self.local_observation_steps {
            let told = (1..=dimensions.horizon).contains(&steps);
            let key = "network.local_observation_steps";
            if self.kind != NetworkKind::DiffusionPolicy {
                return refuse(
                    key,
                    "set".into(),
                    "network.kind diffusion_policy, or absent",
                );
            }
            if !told || dimensions.condition % steps != 0 {
                let expected = "plan.observation_steps, at most plan.horizon";
                return refuse(key, steps.to_string(), expected);
            }
        }
        if self.groups < 1 {
            return refuse("network.groups", self.groups.to_string(), "at least 1");
        }
        let usable = |width: &i64| *width > 0 && width % self.groups == 0 && *width <= 1 << 14;
        if !(1..=6).contains(&self.channels.len()) || !self.channels.iter().all(usable) {
            return refuse(
                "network.channels",
                format!("{:?}", self.channels),
                "1 to 6 positive multiples of network.groups",
            );
        }
        for (key, width) in [
            ("network.level_embedding", self.level_embedding),
            ("network.observation_embedding", self.observation_embedding),
        ] {
            if width < 4 || width % 2 != 0 || width > 1 << 14 {
                return refuse(key, width.to_string(), "an even number from 4 to 16384");
            }
        }
        if self.kernel_size < 1 || self.kernel_size % 2 == 0 || self.kernel_size > 31 {
            return refuse(
                "network.kernel_size",
                self.kernel_size.to_string(),
                "an odd number from 1 to 31",
            );
        }
        let stages = self.channels.len();
        let multiple = 1_i64 << (stages - 1);
        let horizon = dimensions.horizon;
        if !(1..=4096).contains(&horizon) || horizon % multiple != 0 {
            let lower = (horizon / multiple * multiple).max(multiple);
            return Err(Error::Horizon {
                horizon,
                stages,
                multiple,
                lower,
                upper: lower + multiple,
            });
        }
        Ok(())
    }
}
