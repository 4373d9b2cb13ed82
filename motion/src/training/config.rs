//! How the parts of a motion model are trained, as written in TOML.

use kinestream_diffusion::optimiser::cosine_with_warmup;
use kinestream_diffusion::weights::Precision;
use serde::{Deserialize, Serialize};

use super::motion_vae::MotionVaeTraining;
use super::predictor::PredictorTraining;
use super::settling::SettlingTraining;
use crate::{Error, Result};

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

/// What all parts are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Optimiser steps (rollouts, for the modules), the length of the cosine.
    pub steps: u64,
    /// Frames, or windows, per step.
    pub batch: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up; then a cosine to 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm; 0 for no limit.
    pub gradient_norm: f64,
    /// Largest decay of the moving average of the weights, which is what is used.
    pub average: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 256,
            learning_rate: 3e-4,
            warmup_steps: 500,
            weight_decay: 1e-4,
            gradient_norm: 1.0,
            average: 0.999,
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

/// What both modules are told about their rollouts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// Frames of a window: each but the first is made from the module's own last one.
    pub frames: usize,
    /// Steps with windows of one frame at first, all made from true ones. A module that cannot tell
    /// the next frame of a clip yet has nothing to learn from where its own frames lead.
    pub first_steps: u64,
    /// Steps over which the windows then grow from two frames to their length.
    pub grow_steps: u64,
    /// Deviation of the noise on the first state of a window, as a share of that of changes.
    pub noise: f64,
    /// Share of windows without steering, for motion without control.
    pub free: f64,
    /// How much more often windows are drawn whose steering asks for much, per m/s of change of
    /// velocity or radian of turn within a second; 0: all alike. Clips mostly go straight on.
    pub demand: f64,
    /// Largest magnitude of a change that is trained on, at unit size: beyond it the module's own
    /// frame is too far from the data to come back in one.
    pub farthest: f64,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            frames: 8,
            first_steps: 0,
            grow_steps: 2_000,
            noise: 0.15,
            free: 0.2,
            demand: 1.0,
            farthest: 6.0,
        }
    }
}

impl Rollout {
    /// Frames of the windows at a step, at least 1.
    pub fn length(&self, step: u64) -> usize {
        let Some(step) = step.checked_sub(self.first_steps) else {
            return 1;
        };
        let share = (step as f64 / self.grow_steps.max(1) as f64).min(1.0);
        let more = self.frames.saturating_sub(2) as f64 * share;
        (2.0 + more).round().min(self.frames as f64).max(1.0) as usize
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

impl OptimizerConfig {
    /// Learning rate at a step.
    pub fn rate(&self, step: u64) -> f64 {
        cosine_with_warmup(step, self.steps, self.warmup_steps, self.learning_rate)
    }

    /// Checks every value of the table `table`.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, table: &'static str) -> Result<()> {
        let refuse = |key: &str, found: String, expected: &str| {
            Err(Error::Config {
                key: table,
                found: format!("{key} = {found}"),
                expected: expected.into(),
            })
        };
        if self.steps == 0 || self.batch == 0 {
            let found = format!("{} and {}", self.steps, self.batch);
            return refuse("steps and batch", found, "at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse(
                "learning_rate",
                self.learning_rate.to_string(),
                "above 0, at most 1",
            );
        }
        if !(0.0..1.0).contains(&self.average) {
            return refuse("average", self.average.to_string(), "0 to below 1");
        }
        for (key, value) in [
            ("weight_decay", self.weight_decay),
            ("gradient_norm", self.gradient_norm),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, value.to_string(), "0 or above");
            }
        }
        Ok(())
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
    fn windows_grow_to_their_length() {
        let rollout = Rollout {
            frames: 8,
            grow_steps: 100,
            ..Rollout::default()
        };
        assert_eq!(rollout.length(0), 2);
        assert_eq!(rollout.length(50), 5);
        assert_eq!(rollout.length(1000), 8);
        let later = Rollout {
            first_steps: 50,
            ..rollout.clone()
        };
        assert_eq!(
            [0, 49, 50, 100].map(|step| later.length(step)),
            [1, 1, 2, 5]
        );
        let single = Rollout {
            frames: 1,
            ..rollout
        };
        assert_eq!(single.length(1000), 1);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let mut config = TrainingConfig::default();
        config.check().unwrap();
        config.generation.descent.batch = 0;
        let message = config.check().unwrap_err().to_string();
        assert!(message.contains("training.generation.descent"), "{message}");
    }
}
