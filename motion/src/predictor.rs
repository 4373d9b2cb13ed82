//! The part of the next frame that the last one and the steering tell.
//!
//! A network that is trained on long rollouts of its own, with the gradient through all of them, so
//! that it stays with the motion for as long as it is asked to. What it does not tell is left to the
//! modules that denoise: diffusion of residuals, as CorrDiff does for the weather (Mardani et al.
//! 2023). Alone, it is the stepper of learned motion matching (Holden et al. 2020).

use kinestream_diffusion::Mlp;
use kinestream_diffusion::network::seeded;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Tensor};

use crate::{Error, Result};

/// Configuration of a predictor, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictorConfig {
    /// Width of the layers, 8 to 8192.
    pub width: i64,
    /// Layers, 1 to 32.
    pub layers: usize,
}

impl Default for PredictorConfig {
    fn default() -> Self {
        Self {
            width: 256,
            layers: 3,
        }
    }
}

impl PredictorConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        if !(8..=8192).contains(&self.width) {
            return refuse("width", self.width.to_string(), "8 to 8192");
        }
        if !(1..=32).contains(&self.layers) {
            return refuse("layers", self.layers.to_string(), "1 to 32");
        }
        Ok(())
    }
}

/// Predicts the next change, beyond what carries on of the last one.
#[derive(Debug)]
pub struct Predictor {
    store: VarStore,
    mlp: Mlp,
}

impl Predictor {
    /// Fresh parameters, which depend on `seed` alone, for conditions of `inputs` numbers and frames
    /// of `embedded`.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &PredictorConfig,
        inputs: i64,
        embedded: i64,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let store = VarStore::new(device);
        let mlp = seeded(seed, || {
            Mlp::plain(&store.root(), inputs, embedded, config.width, config.layers)
        });
        Ok(Self { store, mlp })
    }

    /// The parameters.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The parameters, for freezing.
    pub fn store_mut(&mut self) -> &mut VarStore {
        &mut self.store
    }

    /// The network itself.
    pub(crate) fn mlp(&self) -> &Mlp {
        &self.mlp
    }

    /// Changes `[B, E]` at unit size from conditions `[B, C]`, to be added to what carries on.
    pub fn predict(&self, condition: &Tensor) -> Tensor {
        self.mlp.forward(condition)
    }
}
