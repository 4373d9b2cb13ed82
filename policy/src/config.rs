//! What a policy is, as written in TOML by its trainer and in `config.json` beside its weights.

use kinestream_diffusion::ema::EmaConfig;
use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::network::vision::VisionConfig;
use kinestream_diffusion::sampler::{Prediction, SamplerConfig, Solver};
use kinestream_diffusion::schedule::Spacing;
use kinestream_diffusion::weights::Precision;
use kinestream_diffusion::{NetworkConfig, ScheduleConfig};
use serde::{Deserialize, Serialize};

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
        prediction: Prediction::Sample,
        solver: Solver::Ddim { eta: 0.0 },
        clip_sample: Some(1.0),
    }
}

/// What is observed and what is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Which observation the first position of a plan belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// Position 0 is the action taken at the oldest observation of the history, as in Diffusion
    /// Policy and SDP: the first To - 1 positions lie in the past.
    OldestObservation,
    /// Position 0 is the action due now.
    NewestObservation,
}

impl Alignment {
    /// Positions of a plan that lie in the past, for a history of `observation_steps`.
    pub fn past_actions(self, observation_steps: usize) -> usize {
        match self {
            Self::OldestObservation => observation_steps.saturating_sub(1),
            Self::NewestObservation => 0,
        }
    }
}

/// How a plan is kept between observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanMode {
    /// A rolling plan whose later positions are noisier (Streaming Diffusion Policy, coherent).
    Streaming,
    /// The streaming of the released SDP code, its quirks included, for its checkpoints.
    Released,
    /// A whole plan denoised from noise whenever the last one is used up (Diffusion Policy).
    Chunk,
}

/// How a rolling plan begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Primer {
    /// Zeros, noised to the ladder.
    Zero,
    /// The observation's `primer_columns` repeated, noised to the ladder.
    Constant,
    /// A whole plan denoised from noise, then noised to the ladder.
    Denoise,
}

/// How plans are laid out and refined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// How a plan is kept between observations.
    #[serde(default = "default_mode")]
    pub mode: PlanMode,
    /// Positions of a plan, Tp.
    pub horizon: usize,
    /// Observations in the history, To.
    pub observation_steps: usize,
    /// Actions executed per observation, Ta.
    pub action_steps: usize,
    /// Noise levels K of the ladder; K / h network evaluations per observation with
    /// h = (Tp - past - d) / Ta chunks. Absent: one per chunk, hence one evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Which observation position 0 belongs to.
    #[serde(default = "default_alignment")]
    pub alignment: Alignment,
    /// How a rolling plan begins.
    #[serde(default = "default_primer")]
    pub primer: Primer,
    /// Numbers of the observation that hold the current value of every action (for the constant
    /// primer); absent: the first Da numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primer_columns: Option<Vec<usize>>,
    /// Actions from the current one on that a new plan takes over unchanged, because they are
    /// executed while it is computed: the committed prefix, 0 to Ta. As many as actions pass
    /// between an observation and its plan; 0 where that is less than one action. It matters where
    /// a policy runs, not where it is trained.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub commit_ahead: usize,
    /// Chunk mode: draws a new chunk towards the rest of the one that is executed; absent: a new
    /// chunk knows the committed prefix alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inpaint: Option<InpaintConfig>,
    /// Chunk mode: begins a new chunk from the one that is executed; absent: from noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterate: Option<IterateConfig>,
    /// Chunk mode: begins a new chunk from what the ones before it were on their way down, unless
    /// the observation is a surprise; absent: from noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartConfig>,
}

/// How a chunk restarts from states of the chunks before it (after Falcon, Chen et al. 2025).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartConfig {
    /// Denoise steps that the shortest restart has to go, 1 to `plan.levels`; one that is refused is
    /// followed by one of twice as many.
    pub steps: usize,
    /// How far the plan that a state stands for may be from the last plan's rest, over the actions
    /// that are executed next: root of the mean square, normalised (2 is the whole range of the
    /// training data), above 0.
    pub within: f64,
}

/// How a chunk goes on from the one before it (real-time iteration, Duan et al. 2025): that one,
/// moved on by what was executed, its last action repeated, counts as a sample that is nearly clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IterateConfig {
    /// Denoise steps that it is given, the last ones of the ladder: 1 to `plan.levels`.
    pub steps: usize,
}

/// How a chunk is in-painted (real-time chunking, Black et al. 2025).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InpaintConfig {
    /// Largest guidance weight of a step, beta, above 0.
    pub guidance: f64,
}

impl Default for InpaintConfig {
    fn default() -> Self {
        Self { guidance: 5.0 }
    }
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn default_mode() -> PlanMode {
    PlanMode::Streaming
}
fn default_alignment() -> Alignment {
    Alignment::NewestObservation
}
fn default_primer() -> Primer {
    Primer::Constant
}

impl PlanConfig {
    /// Positions of a plan that lie in the past.
    pub fn past(&self) -> usize {
        self.alignment.past_actions(self.observation_steps)
    }

    /// The first position behind the past and the committed prefix.
    pub fn first_open(&self) -> usize {
        self.past() + self.commit_ahead
    }

    /// Number of chunks h of a plan behind its committed prefix.
    pub fn chunks(&self) -> usize {
        (self.horizon.saturating_sub(self.first_open()) / self.action_steps).max(1)
    }

    /// Number of noise levels K of the ladder.
    pub fn ladder_levels(&self) -> usize {
        self.levels.unwrap_or_else(|| self.chunks())
    }

    /// The chunk of a position: the past and the committed prefix belong to the first, an
    /// incomplete tail to the last.
    pub fn chunk_of(&self, position: usize) -> usize {
        (position.saturating_sub(self.first_open()) / self.action_steps).min(self.chunks() - 1)
    }

    fn check_iteration(&self) -> Result<()> {
        let Some(iterate) = self.iterate else {
            return Ok(());
        };
        if self.mode != PlanMode::Chunk || self.inpaint.is_some() {
            let found = match self.inpaint {
                Some(_) => "set, with plan.inpaint".to_owned(),
                None => format!("set, with plan.mode {:?}", self.mode).to_lowercase(),
            };
            let expected = "plan.mode chunk without plan.inpaint, or no plan.iterate";
            return refuse("plan.iterate", found, expected);
        }
        let most = self.ladder_levels();
        if !(1..=most).contains(&iterate.steps) {
            let expected = format!("1 to {most} (plan.levels)");
            return refuse("plan.iterate.steps", iterate.steps, expected);
        }
        Ok(())
    }

    fn check_restart(&self) -> Result<()> {
        let Some(RestartConfig { steps, within }) = self.restart else {
            return Ok(());
        };
        if self.mode != PlanMode::Chunk || self.iterate.is_some() || self.inpaint.is_some() {
            let found = format!("set, with plan.mode {:?}", self.mode).to_lowercase();
            let expected =
                "plan.mode chunk without plan.iterate and plan.inpaint, or no plan.restart";
            return refuse("plan.restart", found, expected);
        }
        let most = self.ladder_levels();
        if !(1..=most).contains(&steps) {
            let expected = format!("1 to {most} (plan.levels)");
            return refuse("plan.restart.steps", steps, expected);
        }
        if !(within > 0.0 && within.is_finite()) {
            return refuse("plan.restart.within", within, "a number above 0");
        }
        Ok(())
    }

    fn check_delay(&self) -> Result<()> {
        let most = match self.mode {
            PlanMode::Released => 0,
            // More than Ta would be used up before the next plan is there.
            _ => (self.horizon - self.past() - self.action_steps).min(self.action_steps),
        };
        if self.commit_ahead > most {
            let expected = match self.mode {
                PlanMode::Released => {
                    "0 with plan.mode released; streaming and chunk take more".into()
                }
                _ => format!(
                    "0 to {most}: at most plan.action_steps ({}), and with them at most \
                     plan.horizon without the past ({})",
                    self.action_steps,
                    self.horizon - self.past()
                ),
            };
            return refuse("plan.commit_ahead", self.commit_ahead, expected);
        }
        self.check_iteration()?;
        self.check_restart()?;
        let Some(inpaint) = self.inpaint else {
            return Ok(());
        };
        if self.mode != PlanMode::Chunk {
            let found = format!("set, with plan.mode {:?}", self.mode).to_lowercase();
            return refuse("plan.inpaint", found, "plan.mode chunk, or no plan.inpaint");
        }
        if !(inpaint.guidance > 0.0 && inpaint.guidance.is_finite()) {
            return refuse(
                "plan.inpaint.guidance",
                inpaint.guidance,
                "a number above 0",
            );
        }
        Ok(())
    }
}

/// How weights are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

fn refuse<T>(key: &'static str, found: impl ToString, expected: impl Into<String>) -> Result<T> {
    Err(Error::Config {
        key,
        found: found.to_string(),
        expected: expected.into(),
    })
}

impl PolicyConfig {
    /// The cameras, in the order of `task.observation`.
    pub fn cameras(&self) -> impl Iterator<Item = (&ObservationPart, ImageSize)> {
        let parts = self.task.observation.iter();
        parts.filter_map(|part| part.image.map(|size| (part, size)))
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
        if self.schedule.spacing == Spacing::Leading && plan.mode != PlanMode::Chunk {
            let expected = "trailing, or plan.mode chunk: rolling plans begin at pure noise";
            return refuse("schedule.spacing", "leading", expected);
        }
        Ok(())
    }
}

impl PolicyConfig {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(horizon: usize, alignment: Alignment, action_steps: usize) -> PlanConfig {
        PlanConfig {
            mode: PlanMode::Streaming,
            horizon,
            observation_steps: 2,
            action_steps,
            levels: None,
            alignment,
            primer: Primer::Zero,
            primer_columns: None,
            commit_ahead: 0,
            inpaint: None,
            iterate: None,
            restart: None,
        }
    }

    #[test]
    fn chunks_of_the_released_configurations() {
        let released = plan(16, Alignment::OldestObservation, 5);
        assert_eq!(released.chunks(), 3);
        let chunks: Vec<_> = (0..16)
            .map(|position| released.chunk_of(position))
            .collect();
        assert_eq!(chunks, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!(plan(20, Alignment::OldestObservation, 8).chunks(), 2);
        // An incomplete tail joins the last chunk.
        let tail = plan(20, Alignment::OldestObservation, 8);
        assert_eq!((tail.chunk_of(16), tail.chunk_of(19)), (1, 1));
    }

    #[test]
    fn one_action_a_time_means_one_level_a_position() {
        let ours = plan(16, Alignment::NewestObservation, 1);
        assert_eq!((ours.chunks(), ours.ladder_levels()), (16, 16));
    }

    #[test]
    fn chunks_lie_behind_the_committed_prefix() {
        let mut plan = plan(16, Alignment::OldestObservation, 4);
        plan.commit_ahead = 3;
        assert_eq!((plan.first_open(), plan.chunks()), (4, 3));
        let chunks: Vec<_> = (0..16).map(|position| plan.chunk_of(position)).collect();
        assert_eq!(chunks, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn a_prefix_that_cannot_be_is_refused() {
        let message = |change: fn(&mut PlanConfig)| {
            let mut plan = plan(16, Alignment::NewestObservation, 4);
            change(&mut plan);
            plan.check_delay().map_err(|error| error.to_string())
        };
        for (change, expected) in [
            (
                (|plan| plan.commit_ahead = 5) as fn(&mut PlanConfig),
                "plan.commit_ahead is 5, expected 0 to 4",
            ),
            (
                |plan| (plan.action_steps, plan.commit_ahead) = (14, 3),
                "plan.commit_ahead is 3, expected 0 to 2",
            ),
            (
                |plan| (plan.mode, plan.commit_ahead) = (PlanMode::Released, 1),
                "expected 0 with plan.mode released",
            ),
            (
                |plan| plan.inpaint = Some(InpaintConfig::default()),
                "plan.inpaint is set, with plan.mode streaming",
            ),
            (
                |plan| {
                    plan.mode = PlanMode::Chunk;
                    plan.inpaint = Some(InpaintConfig { guidance: 0.0 });
                },
                "plan.inpaint.guidance is 0",
            ),
        ] {
            let message = message(change).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(message(|plan| plan.commit_ahead = 4), Ok(()));
    }

    #[test]
    fn without_a_prefix_nothing_of_it_is_written() {
        let plan = plan(16, Alignment::NewestObservation, 4);
        let text = serde_json::to_string(&plan).unwrap();
        assert!(
            !text.contains("commit") && !text.contains("inpaint"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<PlanConfig>(&text).unwrap(), plan);
    }
}
