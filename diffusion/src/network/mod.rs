//! Denoiser networks: from a noisy plan, the noise level of every position and a condition to a
//! prediction.
//!
//! Parameter names are those of the published implementations where there is one, so that their
//! weights load without renaming.

mod architecture;
mod blocks;
mod config;
mod legacy;
mod mlp;
pub mod vision;

/// The architectures, one file each.
pub mod architectures {
    pub mod aot_inductor;
    pub mod dit;
    pub mod torch_script;
    pub mod transformer;
    pub mod unet;
}

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Tensor};

pub use architecture::{Architecture, NetworkModule};
pub use architectures::torch_script::ScriptConfig;
pub use architectures::transformer::{Transformer, TransformerConfig};
pub use architectures::unet::{UNet, UNetConfig, UNetKind};
pub use config::NetworkConfig;
pub use mlp::{Mlp, timestep_table};

use crate::Result;

/// The non-linearity after every normalisation and inside the encoders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x tanh(softplus(x)), what Diffusion Policy and SDP use (Misra 2020).
    #[default]
    Mish,
    /// x sigmoid(x): nearly the same curve with one exponential in place of three functions.
    Silu,
}

impl Activation {
    pub(crate) fn apply(self, input: &Tensor) -> Tensor {
        match self {
            Self::Mish => input.mish(),
            Self::Silu => input.silu(),
        }
    }
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

/// A denoiser network together with its parameters.
pub struct Network {
    store: VarStore,
    module: Box<dyn NetworkModule>,
    config: NetworkConfig,
    dimensions: Dimensions,
}

impl Network {
    /// Builds a network with fresh random parameters, which depend on `seed` alone.
    ///
    /// # Errors
    /// A configuration value out of its range, a horizon that the network cannot take, or a kind that
    /// is loaded from a program and not trained.
    pub fn new(
        config: &NetworkConfig,
        dimensions: Dimensions,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        config.check(dimensions)?;
        let store = VarStore::new(device);
        let root = store.root();
        let module = seeded(seed, || config.build(&root, dimensions))?;
        Ok(Self {
            store,
            module,
            config: config.clone(),
            dimensions,
        })
    }

    /// Loads a network that is a program: a TorchScript module (`network.kind = "torch_script"`) or an
    /// AOTInductor package (`"aot_inductor"`). Both run with all rights of this one.
    ///
    /// # Errors
    /// A configuration value out of its range, or a file that cannot be loaded or does not take
    /// these sizes.
    pub fn load_program(
        config: &NetworkConfig,
        dimensions: Dimensions,
        path: &Path,
        device: Device,
    ) -> Result<Self> {
        config.check(dimensions)?;
        Ok(Self {
            module: config.load(path, dimensions, device)?,
            store: VarStore::new(device),
            config: config.clone(),
            dimensions,
        })
    }

    /// The parameters; those of a program are not among them.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The file of the program that the network is.
    pub fn program(&self) -> Option<&Path> {
        self.module.program()
    }

    /// The configuration that the network was built from.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        let in_store = || self.store.variables().values().map(Tensor::numel).sum();
        self.module.parameters().unwrap_or_else(in_store)
    }

    /// Declares the parameters final: gradients are switched off and what depends on them alone
    /// (the embeddings of the noise levels) is computed once.
    pub fn freeze(&mut self) {
        self.store.freeze();
        self.module.freeze(self.dimensions);
    }

    /// The U-Net itself, for looking at its stages; none if the network is another one.
    pub fn unet(&self) -> Option<&UNet> {
        self.module.as_unet()
    }
}

impl Denoiser for Network {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        self.module.forward(sample, timesteps, condition)
    }

    fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    fn takes_levels_per_position(&self) -> bool {
        self.config.takes_levels_per_position()
    }
}
