//! What a model of whole clips is built of, as written in TOML and JSON.

use kinestream_diffusion::ScheduleConfig;
use serde::{Deserialize, Serialize};

use crate::embedding::EmbeddingConfig;
use crate::frame::check_schedule;
use crate::{Error, Result};

/// Configuration of a model of whole clips: `[model.embedding]` and `[model.clips]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmdmConfig {
    /// The space of the frames.
    #[serde(default)]
    pub embedding: EmbeddingConfig,
    /// The network that makes clips in it.
    pub clips: ClipConfig,
}

/// Configuration of the network that denoises clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipConfig {
    /// Frames of one token. Attention costs by the square of their number, and neighbouring frames
    /// differ little.
    pub patch: usize,
    /// Frames of the longest clip, a multiple of `patch`.
    pub longest: usize,
    /// Numbers of a token.
    pub width: i64,
    /// Layers.
    pub layers: usize,
    /// Heads of attention; `width` is a multiple of it.
    pub heads: i64,
    /// Channels of the convolutions over frames that follow the transformer; 0 for none. A patch is
    /// told as a whole, and what its frames owe to their neighbours in other patches is left to these:
    /// without them noise that was not wholly taken off lets the body tremble.
    pub refinement: i64,
    /// Numbers of the random latent that makes a generator of the network; 0: it is trained by plain
    /// diffusion, as MDM is.
    pub latent: i64,
    /// How much the label counts when clips are made: 1 as trained, 0 to 20. Above 1 clips are clearer,
    /// less varied, and cost twice the evaluations.
    pub guidance: f64,
    /// Denoise steps at which it counts so, the first ones, which settle what a clip shows; 0 for all.
    #[serde(skip_serializing_if = "is_zero")]
    pub guided_steps: usize,
    /// The noise schedule: its timesteps are the denoise steps.
    pub schedule: ScheduleConfig,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            patch: 4,
            longest: 196,
            width: 192,
            layers: 6,
            heads: 6,
            refinement: 96,
            latent: 64,
            guidance: 1.0,
            guided_steps: 0,
            schedule: ScheduleConfig {
                beta_schedule: kinestream_diffusion::schedule::BetaSchedule::SquaredCosine,
                train_timesteps: 10,
                ..ScheduleConfig::default()
            },
        }
    }
}

impl ClipConfig {
    /// Tokens of the longest clip.
    pub fn most_patches(&self) -> usize {
        self.longest / self.patch
    }

    /// Number of denoise steps.
    pub fn steps(&self) -> usize {
        self.schedule.train_timesteps
    }
}

impl EmdmConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        self.embedding.check()?;
        let clips = &self.clips;
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        if !(1..=16).contains(&clips.patch) {
            return refuse("model.clips.patch", clips.patch.to_string(), "1 to 16");
        }
        if clips.longest < 2 * clips.patch
            || clips.longest > 1024
            || !clips.longest.is_multiple_of(clips.patch)
        {
            return refuse(
                "model.clips.longest",
                clips.longest.to_string(),
                "a multiple of model.clips.patch, two of it to 1024",
            );
        }
        if !(1..=64).contains(&clips.heads)
            || !(8..=2048).contains(&clips.width)
            || clips.width % clips.heads != 0
        {
            return refuse(
                "model.clips.width",
                format!("{} with {} heads", clips.width, clips.heads),
                "8 to 2048, a multiple of model.clips.heads, which is 1 to 64",
            );
        }
        if !(1..=32).contains(&clips.layers) {
            return refuse("model.clips.layers", clips.layers.to_string(), "1 to 32");
        }
        if !(0..=1024).contains(&clips.refinement) {
            let found = clips.refinement.to_string();
            return refuse("model.clips.refinement", found, "0 to 1024");
        }
        if !(0.0..=20.0).contains(&clips.guidance) {
            return refuse(
                "model.clips.guidance",
                clips.guidance.to_string(),
                "0 to 20",
            );
        }
        if !(0..=512).contains(&clips.latent) {
            return refuse("model.clips.latent", clips.latent.to_string(), "0 to 512");
        }
        check_schedule(&clips.schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let config = EmdmConfig {
            embedding: EmbeddingConfig::default(),
            clips: ClipConfig::default(),
        };
        config.check().unwrap();
        let refused = |change: fn(&mut ClipConfig), word: &str| {
            let mut config = config.clone();
            change(&mut config.clips);
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        refused(|clips| clips.patch = 0, "patch");
        refused(|clips| clips.longest = 197, "longest");
        refused(|clips| clips.heads = 5, "width is 192 with 5 heads");
        refused(|clips| clips.layers = 0, "layers");
        refused(|clips| clips.latent = -1, "latent");
        refused(|clips| clips.refinement = -1, "refinement");
        refused(|clips| clips.guidance = f64::NAN, "guidance");
    }
}
