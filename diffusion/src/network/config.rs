//! The registry of architectures, and a network's configuration as written in TOML and JSON.

use std::path::Path;

use serde::Serialize;
use tch::Device;
use tch::nn;

use super::architecture::{Architecture, NetworkModule};
use super::architectures;
use super::{Dimensions, UNetConfig, UNetKind};
use crate::Result;
use crate::error::check_option;
use crate::registry::registry;

registry! {
    /// Configuration of a denoiser network: the registry of architectures.
    ///
    /// Written as a table with `kind` and the sizes of that kind.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub enum NetworkConfig in architectures, each by each_architecture, all by all_architectures {
        "diffusion_policy" => DiffusionPolicy(unet::DiffusionPolicyUNet),
        "streaming_diffusion_policy" => StreamingDiffusionPolicy(unet::StreamingUNet),
        "per_position" => PerPosition(unet::PerPositionUNet),
        "transformer" => Transformer(transformer::TransformerNetwork),
        "dit" => Dit(dit::Dit),
        "torch_script" => TorchScript(torch_script::TorchScript),
        "aot_inductor" => AotInductor(aot_inductor::AotInductor),
    }
}

impl NetworkConfig {
    /// A small network of every architecture that is built from weights, for tests.
    pub fn small(dimensions: Dimensions) -> Vec<Self> {
        let all = all_architectures!(Network => Network::small(dimensions).map(Self::from));
        all.into_iter().flatten().collect()
    }

    /// A U-Net.
    pub fn unet(kind: UNetKind, config: UNetConfig) -> Self {
        match kind {
            UNetKind::DiffusionPolicy => Self::DiffusionPolicy(config.into()),
            UNetKind::StreamingDiffusionPolicy => Self::StreamingDiffusionPolicy(config.into()),
            UNetKind::PerPosition => Self::PerPosition(config.into()),
        }
    }

    /// The sizes of the U-Net; none if the network is another one.
    pub fn unet_config(&self) -> Option<&UNetConfig> {
        match self {
            Self::DiffusionPolicy(unet) => Some(&unet.0),
            Self::StreamingDiffusionPolicy(unet) => Some(&unet.0),
            Self::PerPosition(unet) => Some(&unet.0),
            _ => None,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, dimensions: Dimensions) -> Result<()> {
        for (key, size) in [
            ("task.action dimensions", dimensions.action),
            ("task.observation dimensions", dimensions.condition),
        ] {
            check_option((1..=1 << 16).contains(&size), key, size, "1 to 65536")?;
        }
        each_architecture!(self, config => config.check(dimensions))
    }

    /// See [`Architecture::takes_levels_per_position`].
    pub fn takes_levels_per_position(&self) -> bool {
        each_architecture!(self, config => config.takes_levels_per_position())
    }

    /// The kind and the sizes in a few words.
    pub fn summary(&self) -> String {
        let sizes = each_architecture!(self, config => config.summary());
        format!("{}, {sizes}", self.kind())
    }

    /// See [`Architecture::program_file`].
    pub fn program_file(&self) -> Option<&'static str> {
        each_architecture!(self, config => config.program_file())
    }

    pub(super) fn build(
        &self,
        root: &nn::Path<'_>,
        dimensions: Dimensions,
    ) -> Result<Box<dyn NetworkModule>> {
        each_architecture!(self, config => config.build(root, dimensions))
    }

    pub(super) fn load(
        &self,
        path: &Path,
        dimensions: Dimensions,
        device: Device,
    ) -> Result<Box<dyn NetworkModule>> {
        each_architecture!(self, config => config.load(path, dimensions, device))
    }
}
