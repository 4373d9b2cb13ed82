//! What a policy is, as written in TOML by its trainer and in `config.json` beside its weights.

mod plan;
mod training;

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::network::vision::VisionConfig;
use kinestream_diffusion::sampler::{PredictionType, SamplerConfig, Solver};
use kinestream_diffusion::schedule::TimestepSpacing;
use kinestream_diffusion::{NetworkConfig, ScheduleConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::plan::{
    Alignment, InpaintConfig, IterateConfig, PlanConfig, PlanInit, PlanMode, RestartConfig,
};
pub use self::training::{NoiseMix, TrainingConfig, VisionTraining};
use crate::{Error, Result};

/// Everything that determines what a policy computes, except its weights and normalisers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// What is observed and what is done.
    pub task: TaskConfig,
    /// How plans are laid out and refined.
    pub plan: PlanConfig,
    /// The denoiser network.
    pub network: NetworkConfig,
    /// The encoders of images; absent where nothing observed is an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionConfig>,
    /// The noise schedule.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Prediction and solver.
    #[serde(default = "default_sampler")]
    pub sampler: SamplerConfig,
}

fn default_sampler() -> SamplerConfig {
    SamplerConfig {
        prediction: PredictionType::Sample,
        solver: Solver::DDIM,
        clip_sample: Some(1.0),
    }
}

/// What is observed and what is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// Name of the task; `pusht` is known to the bundled simulator.
    pub name: String,
    /// Arrays of the data set that make up an observation, in the order in which the network is
    /// conditioned on them.
    pub observation: Vec<ObservationPart>,
    /// Array of the data set that holds the actions.
    #[serde(default = "default_action")]
    pub action: String,
    /// Actions per second.
    #[serde(default = "default_rate")]
    pub rate_hz: f64,
}

fn default_action() -> String {
    "action".into()
}
fn default_rate() -> f64 {
    10.0
}

/// One array of the data set that enters the observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObservationPart {
    /// Name under `data/`.
    pub array: String,
    /// Which numbers of a row, flattened; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<usize>>,
    /// Set where the array holds the images of a camera; such a part has no columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSize>,
}

impl ObservationPart {
    /// Name of the part on the wire: its array without `observation.` and `images.`.
    pub fn short_name(&self) -> &str {
        let name = self.array.as_str();
        let name = name.strip_prefix("observation.").unwrap_or(name);
        name.strip_prefix("images.").unwrap_or(name)
    }
}

/// Size of a colour image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl PolicyConfig {
    /// The cameras, in the order of `task.observation`.
    pub fn cameras(&self) -> impl Iterator<Item = (&ObservationPart, ImageSize)> {
        let parts = self.task.observation.iter();
        parts.filter_map(|part| part.image.map(|size| (part, size)))
    }

    /// Time from one action to the next, in nanoseconds.
    pub fn period_ns(&self) -> u64 {
        (1e9 / self.task.rate_hz) as u64
    }

    /// Numbers of the condition that an observation of `numbers` numbers and its images become.
    pub fn condition_size(&self, numbers: usize) -> usize {
        let features = self.vision.as_ref().map_or(0, VisionConfig::features);
        numbers + self.cameras().count() * features
    }

    /// Sizes of the network's inputs and outputs; `observation_size` counts the numbers of an
    /// observation, without its images.
    pub fn dimensions(&self, observation_size: usize, action_size: usize) -> Dimensions {
        let observation_size = self.condition_size(observation_size);
        Dimensions {
            horizon: self.plan.horizon as i64,
            action: action_size as i64,
            condition: (self.plan.observation_steps * observation_size) as i64,
            train_timesteps: self.schedule.train_timesteps as i64,
        }
    }

    /// Checks the values that no other type checks.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        let plan = &self.plan;
        if self.task.observation.is_empty() {
            return refuse("task.observation", "empty", "at least one array");
        }
        self.check_images()?;
        if !(self.task.rate_hz > 0.0 && self.task.rate_hz <= 1000.0) {
            return refuse("task.rate_hz", self.task.rate_hz, "above 0, at most 1000");
        }
        if !(1..=64).contains(&plan.observation_steps) {
            return refuse("plan.observation_steps", plan.observation_steps, "1 to 64");
        }
        if !(1..=4096).contains(&plan.horizon) || plan.horizon <= plan.past() {
            let expected = format!("{} to 4096", plan.past() + 1);
            return refuse("plan.horizon", plan.horizon, expected);
        }
        let most = plan.horizon - plan.past();
        if !(1..=most).contains(&plan.action_steps) {
            return refuse(
                "plan.action_steps",
                plan.action_steps,
                format!("1 to {most}"),
            );
        }
        plan.check_delay()?;
        let (levels, chunks) = (plan.ladder_levels(), plan.chunks());
        let timesteps = self.schedule.train_timesteps;
        if plan.mode == PlanMode::Streaming && !(chunks..=timesteps).contains(&levels) {
            let expected =
                format!("{chunks} (the plan's chunks) to {timesteps} (schedule.train_timesteps)");
            return refuse("plan.levels", levels, expected);
        }
        if !(1..=timesteps).contains(&levels) {
            return refuse("plan.levels", levels, format!("1 to {timesteps}"));
        }
        if self.schedule.spacing == TimestepSpacing::Leading && plan.mode != PlanMode::Chunk {
            let expected = "trailing, or plan.mode chunk: rolling plans begin at pure noise";
            return refuse("schedule.spacing", "leading", expected);
        }
        Ok(())
    }

    fn check_images(&self) -> Result<()> {
        let cameras = self.cameras().count();
        let Some(vision) = &self.vision else {
            return match cameras {
                0 => Ok(()),
                _ => refuse("vision", "absent", "[vision], since images are observed"),
            };
        };
        if cameras == 0 {
            let expected = "an image in task.observation, or no [vision]";
            return refuse("vision", "set", expected);
        }
        for part in &self.task.observation {
            match (part.image, &part.columns) {
                (Some(size), None) => {
                    let sides = [size.height, size.width];
                    if !sides.iter().all(|side| (1..=4096).contains(side)) {
                        let found = format!("{} with {sides:?}", part.array);
                        let expected = "image = { height, width } from 1 to 4096";
                        return refuse("task.observation", found, expected);
                    }
                    vision.check(size.height, size.width)?;
                }
                (None, Some(_)) => {}
                (Some(_), Some(_)) => {
                    let found = format!("{} with image and columns", part.array);
                    return refuse("task.observation", found, "one of the two");
                }
                // The features of images stand between numbers, so these must be counted.
                (None, None) => {
                    let found = format!("{} without columns", part.array);
                    return refuse("task.observation", found, "columns, beside images");
                }
            }
        }
        Ok(())
    }
}

fn refuse<T>(key: &'static str, found: impl ToString, expected: impl Into<String>) -> Result<T> {
    Err(Error::Config {
        key,
        found: found.to_string(),
        expected: expected.into(),
    })
}
