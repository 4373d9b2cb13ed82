//! How the parts of a motion model are trained, as written in TOML.

use kinestream_diffusion::weights::Precision;
use serde::{Deserialize, Serialize};

use super::stage_configs::{MotionVaeTraining, PredictorTraining, SettlingTraining};
use crate::{Error, Result};

pub use super::optimizer_config::OptimizerConfig;
pub use super::rollout::Rollout;

/// Training of all parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Number format of the exported weights.
    pub export: Precision,
    /// The embedding.
    pub embedding: EmbeddingTraining,
    /// The generation module.
    pub generation: GenerationTraining,
    /// The polishing module.
    pub polishing: PolishingTraining,
    /// A MotionVAE, where the model is one.
    pub motion_vae: MotionVaeTraining,
    /// The predictor.
    pub predictor: PredictorTraining,
    /// The modules together, at the end; absent: they stay as they were trained alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settling: Option<SettlingTraining>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            checkpoint_every: 500,
            export: Precision::Fp32,
            embedding: EmbeddingTraining::default(),
            generation: GenerationTraining::default(),
            polishing: PolishingTraining::default(),
            motion_vae: MotionVaeTraining::default(),
            predictor: PredictorTraining::default(),
            settling: None,
        }
    }
}

/// Training of the embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingTraining {
    /// Steps, batch, rates.
    pub descent: OptimizerConfig,
    /// Weight of the divergence of the latent from a standard normal.
    pub divergence: f64,
    /// Deviation of the noise on the hand-made part before decoding, at unit size.
    pub noise: f64,
    /// Weight of the places of the joints, per metre.
    pub position: f64,
    /// Weight of their change from frame to frame, per metre.
    pub velocity: f64,
    /// Weight of the second difference of the latent from frame to frame: what moves smoothly in the
    /// latent space can be told from its last change.
    pub smoothness: f64,
}

impl Default for EmbeddingTraining {
    fn default() -> Self {
        Self {
            descent: OptimizerConfig {
                learning_rate: 1e-3,
                ..OptimizerConfig::default()
            },
            divergence: 1e-3,
            noise: 0.03,
            position: 10.0,
            velocity: 30.0,
            smoothness: 2.0,
        }
    }
}

/// Training of the generation module, a denoising diffusion GAN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationTraining {
    /// Steps, batch, rates of the generator.
    pub descent: OptimizerConfig,
    /// Rollouts on its own frames.
    pub rollout: Rollout,
    /// Learning rate of the critic.
    pub critic_rate: f64,
    /// Width of the critic.
    pub critic_width: i64,
    /// Layers of the critic.
    pub critic_layers: usize,
    /// Weight of the gradient penalty on true samples (R1; Mescheder et al. 2018).
    pub penalty: f64,
    /// Frames between two such penalties, which count as many times.
    pub penalty_every: u64,
    /// Weight of the distance of the clean estimate from the data.
    pub value: f64,
    /// Weight of the critic's word.
    pub adversarial: f64,
    /// Weight of how far feet come from where they should, per centimetre.
    pub feet: f64,
}

impl Default for GenerationTraining {
    fn default() -> Self {
        Self {
            descent: OptimizerConfig {
                learning_rate: 1.5e-4,
                gradient_norm: 0.0,
                weight_decay: 0.0,
                ..OptimizerConfig::default()
            },
            rollout: Rollout::default(),
            critic_rate: 2e-4,
            critic_width: 512,
            critic_layers: 4,
            penalty: 0.05,
            penalty_every: 4,
            value: 1.0,
            adversarial: 0.1,
            feet: 0.1,
        }
    }
}

/// Training of the polishing module, an autoregressive diffusion model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolishingTraining {
    /// Denoise steps that own frames of a window are made with, evenly spaced over those of the
    /// module: with hundreds, all of them would take most of the time. 0 for all.
    pub evaluations: usize,
    /// Steps, batch, rates.
    pub descent: OptimizerConfig,
    /// Rollouts on its own frames.
    pub rollout: Rollout,
    /// Weight of the change of the estimate from frame to frame.
    pub velocity: f64,
    /// Weight of how far feet come from where they should, per centimetre.
    pub feet: f64,
}

impl Default for PolishingTraining {
    fn default() -> Self {
        Self {
            evaluations: 0,
            descent: OptimizerConfig::default(),
            rollout: Rollout::default(),
            velocity: 0.5,
            feet: 0.1,
        }
    }
}

impl TrainingConfig {
    /// The optimizer settings of every stage, each with its key.
    pub fn descents(&mut self) -> Vec<(&'static str, &mut OptimizerConfig)> {
        // A new stage does not compile until it stands here.
        let Self {
            seed: _,
            checkpoint_every: _,
            export: _,
            embedding,
            generation,
            polishing,
            motion_vae,
            predictor,
            settling,
        } = self;
        let mut all = vec![
            ("training.embedding.descent", &mut embedding.descent),
            ("training.generation.descent", &mut generation.descent),
            ("training.polishing.descent", &mut polishing.descent),
            ("training.motion_vae.descent", &mut motion_vae.descent),
            ("training.predictor.descent", &mut predictor.descent),
        ];
        if let Some(settling) = settling {
            all.push(("training.settling.descent", &mut settling.descent));
        }
        all
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        for (key, descent) in self.clone().descents() {
            descent.check(key)?;
        }
        self.motion_vae.check()?;
        if self.checkpoint_every == 0 {
            return Err(Error::Config {
                key: "training.checkpoint_every",
                found: "0".into(),
                expected: "at least 1".into(),
            });
        }
        let settling = self.settling.iter();
        let settling = settling.map(|one| ("training.settling.rollout", &one.rollout));
        for (key, rollout) in [
            ("training.generation.rollout", &self.generation.rollout),
            ("training.polishing.rollout", &self.polishing.rollout),
            ("training.motion_vae.rollout", &self.motion_vae.rollout),
            ("training.predictor.rollout", &self.predictor.rollout),
        ]
        .into_iter()
        .chain(settling)
        {
            let Rollout {
                frames,
                free,
                demand,
                ..
            } = rollout;
            if !(1..=256).contains(frames)
                || !(0.0..=1.0).contains(free)
                || !(0.0..=100.0).contains(demand)
            {
                return Err(Error::Config {
                    key,
                    found: format!("frames {frames}, free {free}, demand {demand}"),
                    expected: "frames 1 to 256, free 0 to 1, demand 0 to 100".into(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let mut config = TrainingConfig::default();
        config.check().unwrap();
        config.generation.descent.batch = 0;
        let message = config.check().unwrap_err().to_string();
        assert!(message.contains("training.generation.descent"), "{message}");
    }
}
