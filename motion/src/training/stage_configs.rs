//! Configurations of the stages that train on rollouts alone: MotionVAE, predictor, fine-tuning.

use serde::{Deserialize, Serialize};

use super::optimizer_config::OptimizerConfig;
use super::rollout::Rollout;
use crate::{Error, Result};

/// Training of a MotionVAE, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MotionVaeTraining {
    /// Steps, batch, rates.
    pub descent: OptimizerConfig,
    /// Windows.
    pub rollout: Rollout,
    /// Weight of the divergence of the latent from a standard normal, per number, against the mean
    /// square of what the reconstruction lacks.
    pub divergence: f64,
    /// Weight of how far feet come from where they should, per centimetre; the paper has no such
    /// loss, but the modules that it is compared with do.
    pub feet: f64,
    /// First steps, in which every frame is made from the true one before it.
    pub taught_steps: u64,
    /// Steps after these in which own frames take the place of true ones, more and more.
    pub mixed_steps: u64,
}

impl Default for MotionVaeTraining {
    fn default() -> Self {
        Self {
            descent: OptimizerConfig {
                learning_rate: 1e-4,
                ..OptimizerConfig::default()
            },
            rollout: Rollout {
                grow_steps: 0,
                ..Rollout::default()
            },
            divergence: 0.2,
            feet: 0.1,
            taught_steps: 1_000,
            mixed_steps: 1_000,
        }
    }
}

impl MotionVaeTraining {
    /// Probability that a frame is made from the true state before it, at a step.
    pub fn taught(&self, step: u64) -> f64 {
        let mixed = step.saturating_sub(self.taught_steps) as f64;
        (1.0 - mixed / self.mixed_steps.max(1) as f64).max(0.0)
    }

    /// Checks what is not of descent or rollout.
    pub(super) fn check(&self) -> Result<()> {
        for (key, value) in [
            ("training.motion_vae.divergence", self.divergence),
            ("training.motion_vae.feet", self.feet),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::Config {
                    key,
                    found: value.to_string(),
                    expected: "0 or above".into(),
                });
            }
        }
        Ok(())
    }
}

/// Training of the predictor, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictorTraining {
    /// Steps, batch, rates.
    pub descent: OptimizerConfig,
    /// Windows.
    pub rollout: Rollout,
    /// Weight of the distance from the clip, in changes, against that of the changes themselves.
    pub place: f64,
    /// Weight of how far feet come from where they should, per centimetre.
    pub feet: f64,
}

impl Default for PredictorTraining {
    fn default() -> Self {
        Self {
            descent: OptimizerConfig {
                steps: 14_000,
                learning_rate: 1e-3,
                weight_decay: 0.0,
                ..OptimizerConfig::default()
            },
            rollout: Rollout {
                frames: 20,
                first_steps: 7_000,
                grow_steps: 4_000,
                noise: 0.1,
                ..Rollout::default()
            },
            place: 0.5,
            feet: 0.1,
        }
    }
}

/// Training of the modules together, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettlingTraining {
    /// Steps, batch, rates; a batch is so many windows with two rollouts each.
    pub descent: OptimizerConfig,
    /// Windows.
    pub rollout: Rollout,
    /// Weight of the score of where the numbers of a frame are, in changes, against that of the
    /// changes themselves.
    pub place: f64,
    /// Weight of the score of how the feet move over the floor, in centimetres.
    pub feet: f64,
}

impl Default for SettlingTraining {
    fn default() -> Self {
        Self {
            descent: OptimizerConfig {
                steps: 1_500,
                batch: 128,
                learning_rate: 1e-4,
                weight_decay: 0.0,
                warmup_steps: 50,
                ..OptimizerConfig::default()
            },
            rollout: Rollout {
                frames: 12,
                grow_steps: 500,
                noise: 0.05,
                ..Rollout::default()
            },
            place: 0.3,
            feet: 0.1,
        }
    }
}
