//! `[training]`: how a policy is trained.

use kinestream_diffusion::ema::EmaConfig;
use kinestream_diffusion::weights::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ObservationPart, refuse};
use crate::Result;

/// How weights are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// Optimiser steps, the length of the cosine.
    pub steps: u64,
    /// End earlier than that, after this many steps, without changing the curve.
    pub stop_after: Option<u64>,
    /// Windows per step.
    pub batch: usize,
    /// Largest learning rate of AdamW.
    pub learning_rate: f64,
    /// Steps of linear warm-up; then a cosine to 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment.
    pub beta1: f64,
    /// Decay of AdamW's second moment.
    pub beta2: f64,
    /// Gradients are scaled down to this norm; 0 for no limit.
    pub gradient_norm: f64,
    /// Moving average of the weights, which is what is evaluated and shipped.
    pub ema: EmaConfig,
    /// Shares of the noise regimes.
    pub noise: NoiseMix,
    /// Ta that the `chunkwise` and `ladder` regimes are laid out for, with one level a chunk;
    /// absent: as the plan that is run.
    pub noise_action_steps: Option<usize>,
    /// Share of episodes held out for validation.
    pub validation: f64,
    /// Train on at most this many episodes.
    pub max_episodes: Option<usize>,
    /// Actions at a window's end that may repeat the episode's last; absent: Ta - 1, as the
    /// reference.
    pub pad_after: Option<usize>,
    /// Mirror half of the windows, where the task has a symmetry.
    pub mirror: bool,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// The last so many checkpoints stay beside the newest, each in a folder of its own; 0 for none.
    pub keep_checkpoints: usize,
    /// Steps between evaluations on held-out seeds; 0 for none.
    pub evaluate_every: u64,
    /// Number of held-out seeds per evaluation.
    pub evaluation_seeds: u64,
    /// Number format of the exported weights.
    pub export: Precision,
    /// How image encoders are trained; absent where nothing observed is an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionTraining>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            steps: 20_000,
            stop_after: None,
            batch: 256,
            learning_rate: 1e-4,
            warmup_steps: 500,
            weight_decay: 1e-6,
            beta1: 0.95,
            beta2: 0.999,
            gradient_norm: 0.0,
            ema: EmaConfig::default(),
            noise: NoiseMix::default(),
            noise_action_steps: None,
            validation: 0.02,
            max_episodes: None,
            pad_after: None,
            mirror: false,
            checkpoint_every: 500,
            keep_checkpoints: 0,
            evaluate_every: 0,
            evaluation_seeds: 50,
            export: Precision::Fp32,
            vision: None,
        }
    }
}

/// How image encoders are trained, before the denoiser: to tell numbers of the data set from a
/// picture. They stay as they are while the denoiser is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VisionTraining {
    /// Arrays of the data set that a picture shows, such as the places of objects.
    pub targets: Vec<ObservationPart>,
    /// Optimiser steps.
    #[serde(default = "default_vision_steps")]
    pub steps: u64,
    /// Pictures per step.
    #[serde(default = "default_vision_batch")]
    pub batch: usize,
    /// Largest learning rate of AdamW.
    #[serde(default = "default_vision_rate")]
    pub learning_rate: f64,
    /// Steps of linear warm-up; then a cosine to 0.
    #[serde(default = "default_vision_warmup")]
    pub warmup_steps: u64,
    /// Scenes drawn at random by the bundled simulator and shown beside the demonstrations, for
    /// tasks that it knows: 27 kB of memory each.
    #[serde(default)]
    pub scenes: usize,
}

fn default_vision_steps() -> u64 {
    8000
}
fn default_vision_batch() -> usize {
    64
}
fn default_vision_rate() -> f64 {
    1e-3
}
fn default_vision_warmup() -> u64 {
    200
}

impl VisionTraining {
    fn check(&self) -> Result<()> {
        if self.targets.is_empty() || self.targets.iter().any(|part| part.image.is_some()) {
            let expected = "at least one array of numbers";
            return refuse("training.vision.targets", "empty, or an image", expected);
        }
        if self.steps == 0 {
            return refuse("training.vision.steps", 0, "at least 1");
        }
        if !(1..=1 << 16).contains(&self.batch) {
            return refuse("training.vision.batch", self.batch, "1 to 65536");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate < 1.0) {
            let key = "training.vision.learning_rate";
            return refuse(key, self.learning_rate, "between 0 and 1");
        }
        if self.scenes > 1_000_000 {
            return refuse("training.vision.scenes", self.scenes, "at most 1000000");
        }
        Ok(())
    }
}

/// Shares of the training noise regimes; one regime is drawn for every window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseMix {
    /// One level for all positions.
    pub constant: f64,
    /// Levels rising evenly from 0 to N - 1.
    pub linear: f64,
    /// An independent level for every position.
    pub independent: f64,
    /// Levels rising by chunks with a common random phase over all N timesteps (SDP).
    pub chunkwise: f64,
    /// As `chunkwise`, only at the levels of the ladder that is run.
    pub ladder: f64,
}

impl Default for NoiseMix {
    fn default() -> Self {
        Self {
            constant: 0.2,
            linear: 0.0,
            independent: 0.0,
            chunkwise: 0.8,
            ladder: 0.0,
        }
    }
}

impl NoiseMix {
    /// Shares in the order of the fields.
    pub fn shares(&self) -> [f64; 5] {
        [
            self.constant,
            self.linear,
            self.independent,
            self.chunkwise,
            self.ladder,
        ]
    }
}

impl TrainingConfig {
    /// Steps after which the run ends.
    pub fn last_step(&self) -> u64 {
        self.stop_after.unwrap_or(self.steps).min(self.steps)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        if !(1..=1 << 16).contains(&self.batch) {
            return refuse("training.batch", self.batch, "1 to 65536");
        }
        if self.steps == 0 {
            return refuse("training.steps", 0, "at least 1");
        }
        if self.stop_after == Some(0) {
            return refuse("training.stop_after", 0, "at least 1");
        }
        if self.checkpoint_every == 0 {
            return refuse("training.checkpoint_every", 0, "at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate < 1.0) {
            return refuse(
                "training.learning_rate",
                self.learning_rate,
                "between 0 and 1",
            );
        }
        if !(0.0..1.0).contains(&self.validation) {
            return refuse("training.validation", self.validation, "0 to below 1");
        }
        for (key, beta) in [
            ("training.beta1", self.beta1),
            ("training.beta2", self.beta2),
        ] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(key, beta, "0 to below 1");
            }
        }
        for (key, value) in [
            ("training.weight_decay", self.weight_decay),
            ("training.gradient_norm", self.gradient_norm),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, value, "0 or more");
            }
        }
        let shares = self.noise.shares();
        if shares
            .iter()
            .any(|share| !(*share >= 0.0 && share.is_finite()))
            || shares.iter().sum::<f64>() <= 0.0
        {
            return refuse(
                "training.noise",
                format!("{shares:?}"),
                "shares of 0 or more, not all 0",
            );
        }
        self.vision.as_ref().map_or(Ok(()), VisionTraining::check)
    }
}
