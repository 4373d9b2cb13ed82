//! How a model of whole clips is trained, as written in TOML.

use kinestream_diffusion::weights::Precision;
use serde::{Deserialize, Serialize};

use super::config::{EmbeddingTraining, OptimizerConfig};
use crate::{Error, Result};

/// Training of a model of whole clips, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmdmTraining {
    /// Seed of everything random.
    pub seed: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Number format of the exported weights.
    pub export: Precision,
    /// The embedding.
    pub embedding: EmbeddingTraining,
    /// The network that makes clips.
    pub clips: ClipTraining,
}

impl Default for EmdmTraining {
    fn default() -> Self {
        Self {
            seed: 42,
            checkpoint_every: 250,
            export: Precision::Fp32,
            embedding: EmbeddingTraining::default(),
            clips: ClipTraining::default(),
        }
    }
}

/// Training of the network that makes clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipTraining {
    /// Steps, batch, rates.
    pub descent: OptimizerConfig,
    /// Weight of the distance of the clean estimate from the data, number by number.
    pub value: f64,
    /// Weight of the critic's word.
    pub adversarial: f64,
    /// Weight of the places of the joints, per metre.
    pub position: f64,
    /// Weight of their steps from frame to frame, per metre.
    pub velocity: f64,
    /// Weight of the change of these steps from frame to frame, per metre: what trembles.
    pub acceleration: f64,
    /// Weight of the steps of feet that bear, per metre.
    pub contact: f64,
    /// Weight of the place of the root after every frame, per metre.
    pub path: f64,
    /// Frames of the stretch of each clip that losses on poses are taken on.
    pub stretch: usize,
    /// How often the label is left out.
    pub label_dropped: f64,
    /// How often the pose before the clip is told.
    pub start_told: f64,
    /// How often the last pose is told.
    pub end_told: f64,
    /// How often the path is told.
    pub path_told: f64,
    /// Learning rate of the critic.
    pub critic_rate: f64,
    /// Width of the critic.
    pub critic_width: i64,
    /// Layers of the critic.
    pub critic_layers: usize,
    /// Weight of the gradient penalty on true samples (R1; Mescheder et al. 2018).
    pub penalty: f64,
    /// Steps between two such penalties, which count as many times.
    pub penalty_every: u64,
}

impl Default for ClipTraining {
    fn default() -> Self {
        Self {
            descent: OptimizerConfig {
                batch: 32,
                learning_rate: 3e-4,
                weight_decay: 0.0,
                ..OptimizerConfig::default()
            },
            value: 1.0,
            adversarial: 0.2,
            position: 2.0,
            velocity: 5.0,
            acceleration: 2.0,
            contact: 10.0,
            path: 0.1,
            stretch: 24,
            label_dropped: 0.1,
            start_told: 0.5,
            end_told: 0.25,
            path_told: 0.25,
            critic_rate: 2e-4,
            critic_width: 192,
            critic_layers: 3,
            penalty: 0.02,
            penalty_every: 8,
        }
    }
}

impl EmdmTraining {
    /// The optimizer settings of every stage, each with its key.
    pub fn descents(&mut self) -> Vec<(&'static str, &mut OptimizerConfig)> {
        // A new stage does not compile until it stands here.
        let Self {
            seed: _,
            checkpoint_every: _,
            export: _,
            embedding,
            clips,
        } = self;
        vec![
            ("training.embedding.descent", &mut embedding.descent),
            ("training.clips.descent", &mut clips.descent),
        ]
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        let clips = &self.clips;
        for (key, descent) in self.clone().descents() {
            descent.check(key)?;
        }
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        if self.checkpoint_every == 0 {
            return refuse("training.checkpoint_every", "0".into(), "at least 1");
        }
        for (key, value) in [
            ("training.clips.value", clips.value),
            ("training.clips.adversarial", clips.adversarial),
            ("training.clips.position", clips.position),
            ("training.clips.velocity", clips.velocity),
            ("training.clips.acceleration", clips.acceleration),
            ("training.clips.contact", clips.contact),
            ("training.clips.path", clips.path),
            ("training.clips.penalty", clips.penalty),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, value.to_string(), "0 or above");
            }
        }
        for (key, value) in [
            ("training.clips.label_dropped", clips.label_dropped),
            ("training.clips.start_told", clips.start_told),
            ("training.clips.end_told", clips.end_told),
            ("training.clips.path_told", clips.path_told),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(key, value.to_string(), "0 to 1");
            }
        }
        if clips.stretch < 3 {
            return refuse(
                "training.clips.stretch",
                clips.stretch.to_string(),
                "3 or more",
            );
        }
        if !(8..=2048).contains(&clips.critic_width) || clips.critic_layers > 16 {
            return refuse(
                "training.clips.critic_width",
                format!("{} with {} layers", clips.critic_width, clips.critic_layers),
                "8 to 2048 with at most 16 layers",
            );
        }
        Ok(())
    }

    /// What the training of the embedding is told.
    pub fn of_embedding(&self) -> super::TrainingConfig {
        super::TrainingConfig {
            seed: self.seed,
            checkpoint_every: self.checkpoint_every,
            export: self.export,
            embedding: self.embedding.clone(),
            ..super::TrainingConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |change: fn(&mut ClipTraining), word: &str| {
            let mut training = EmdmTraining::default();
            change(&mut training.clips);
            let message = training.check().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        EmdmTraining::default().check().unwrap();
        refused(|clips| clips.velocity = f64::NAN, "training.clips.velocity");
        refused(
            |clips| clips.label_dropped = 1.5,
            "training.clips.label_dropped",
        );
        refused(|clips| clips.stretch = 1, "training.clips.stretch");
        refused(
            |clips| clips.critic_width = 0,
            "training.clips.critic_width",
        );
        refused(|clips| clips.descent.batch = 0, "training.clips.descent");
    }
}
