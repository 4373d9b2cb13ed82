//! What makes frames: the modules that denoise, or a MotionVAE.

use tch::Device;
use tch::nn::VarStore;

use super::config::{GeneratorConfig, ModulesConfig, in_table};
use crate::Result;
use crate::frame::{FrameConfig, FrameNetwork, FrameSizes};
use crate::motion_vae::MotionVae;

/// What makes frames.
#[derive(Debug)]
pub enum Generator {
    /// Denoise steps: AAMDM, or A-MDM.
    Diffusion(Box<Modules>),
    /// A latent and one decoder: MotionVAE.
    MotionVae(Box<MotionVae>),
}

/// The modules that denoise.
#[derive(Debug)]
pub struct Modules {
    /// The generation module.
    pub generation: FrameNetwork,
    /// The polishing module.
    pub polishing: Option<FrameNetwork>,
}

impl Generator {
    pub(super) fn new(
        config: &GeneratorConfig,
        sizes: FrameSizes,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        match config {
            GeneratorConfig::Diffusion(modules) => Modules::new(modules, sizes, device, seed)
                .map(|modules| Self::Diffusion(Box::new(modules))),
            GeneratorConfig::MotionVae(config) => MotionVae::new(config, sizes, device, seed)
                .map(|vae| Self::MotionVae(Box::new(vae)))
                .map_err(|error| in_table("motion_vae", error)),
        }
    }

    /// Standard normal numbers that one frame of one character takes.
    pub(super) fn numbers(&self) -> i64 {
        match self {
            Self::Diffusion(modules) => modules.numbers(),
            Self::MotionVae(vae) => vae.config().latent,
        }
    }

    /// Weights that one frame reads: those of a module once for each of its denoise steps.
    pub(super) fn weights_per_frame(&self) -> usize {
        match self {
            Self::Diffusion(modules) => modules
                .all()
                .map(|module| module.parameters() * module.steps() as usize)
                .sum(),
            Self::MotionVae(vae) => vae.weights_per_frame(),
        }
    }

    /// File name and parameters of every part.
    pub(super) fn stores(&self) -> Vec<(&'static str, &VarStore)> {
        match self {
            Self::Diffusion(modules) => ["generation.safetensors", "polishing.safetensors"]
                .into_iter()
                .zip(modules.all().map(FrameNetwork::store))
                .collect(),
            Self::MotionVae(vae) => vec![("motion_vae.safetensors", vae.store())],
        }
    }

    /// Switches gradients off.
    pub(super) fn freeze(&mut self) {
        match self {
            Self::Diffusion(modules) => {
                modules.generation.store_mut().freeze();
                if let Some(polishing) = &mut modules.polishing {
                    polishing.store_mut().freeze();
                }
            }
            Self::MotionVae(vae) => vae.store_mut().freeze(),
        }
    }
}

impl Modules {
    fn new(config: &ModulesConfig, sizes: FrameSizes, device: Device, seed: u64) -> Result<Self> {
        let module = |key: &'static str, config: &FrameConfig, seed| {
            FrameNetwork::new(config, sizes, device, seed).map_err(|error| in_table(key, error))
        };
        let polishing = |config| module("polishing", config, seed.wrapping_add(1));
        Ok(Self {
            generation: module("generation", &config.generation, seed)?,
            polishing: config.polishing.as_ref().map(polishing).transpose()?,
        })
    }

    /// The modules in the order of their work.
    pub(crate) fn all(&self) -> impl Iterator<Item = &FrameNetwork> {
        std::iter::once(&self.generation).chain(&self.polishing)
    }

    fn numbers(&self) -> i64 {
        let module = |module: &FrameNetwork| {
            module.steps() * (module.sizes().sample + module.config().latent)
        };
        self.all().map(module).sum()
    }
}
