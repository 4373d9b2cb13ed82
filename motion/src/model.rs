//! The motion model of AAMDM: embedding, generation module, polishing module.
//!
//! A frame is made in two parts (arXiv 2401.06146): the generation module, a denoising diffusion GAN
//! (Xiao et al. 2022), goes from noise to a draft in a few large steps; the polishing module, an
//! autoregressive diffusion model (Shi et al. 2024), takes the draft up to a small noise level and
//! down again. Both see the last frame and the steering. In every step the clean estimate can be
//! drawn towards the root motion that is wanted, without any training for it.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::weights::{self, Precision};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Tensor};

use crate::embedding::{Embedding, EmbeddingConfig, Statistics};
use crate::features::Layout;
use crate::frame::{FrameConfig, FrameNetwork, FrameSizes};
use crate::{Error, Result, character, steering};

/// File of the configuration in a checkpoint folder.
pub const CONFIG_FILE: &str = "config.json";
/// Version of the layout of that file.
const FORMAT: u32 = 1;

/// Configuration of a motion model, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The embedded space.
    #[serde(default)]
    pub embedding: EmbeddingConfig,
    /// The generation module.
    pub generation: FrameConfig,
    /// The polishing module; absent: drafts are frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polishing: Option<FrameConfig>,
}

impl ModelConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        self.embedding.check()?;
        self.generation
            .check()
            .map_err(|error| in_table("generation", error))?;
        match &self.polishing {
            Some(polishing) => polishing
                .check()
                .map_err(|error| in_table("polishing", error)),
            None => Ok(()),
        }
    }
}

/// What the training clips are like in the embedded space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Deviation of the change of every embedded number from one frame to the next `[E]`.
    pub change: Vec<f32>,
    /// Mean of the steering `[S]`.
    pub steering_mean: Vec<f32>,
    /// Deviation of the steering `[S]`.
    pub steering_deviation: Vec<f32>,
    /// Mean change `[E]`, about 0 but for drifts.
    pub change_mean: Vec<f32>,
    /// Smallest value of every embedded number `[E]`: frames are kept between these.
    pub lowest: Vec<f32>,
    /// Largest value of every embedded number `[E]`.
    pub highest: Vec<f32>,
    /// Frames of the data to begin with, each `[E]`; the first stands still.
    pub starts: Vec<Vec<f32>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    model: ModelConfig,
    statistics: Statistics,
    changes: Changes,
}

/// Everything that makes frames.
#[derive(Debug)]
pub struct MotionModel {
    /// The embedded space.
    pub embedding: Embedding,
    /// The generation module.
    pub generation: FrameNetwork,
    /// The polishing module.
    pub polishing: Option<FrameNetwork>,
    config: ModelConfig,
    changes: Changes,
    scales: Scales,
    device: Device,
}

#[derive(Debug)]
struct Scales {
    change: Tensor,
    change_mean: Tensor,
    steering_mean: Tensor,
    steering_deviation: Tensor,
    lowest: Tensor,
    highest: Tensor,
    /// Mean and deviation of the root's motion in m/s, m/s and rad/s `[2, 3]`.
    root: Tensor,
}

/// Standard normal numbers for one frame of B characters.
#[derive(Debug)]
pub struct Draw {
    /// For the generation module `[B, steps, E]`.
    pub generation: Tensor,
    /// Latents of the generation module `[B, steps, R]`.
    pub latents: Option<Tensor>,
    /// For the polishing module `[B, steps, E]`.
    pub polishing: Option<Tensor>,
}

impl Draw {
    /// Multiplies all numbers: below 1 for motion nearer to the most probable one.
    pub fn scale(&mut self, factor: f64) {
        let _ = self.generation.g_mul_scalar_(factor);
        for numbers in [&mut self.latents, &mut self.polishing]
            .into_iter()
            .flatten()
        {
            let _ = numbers.g_mul_scalar_(factor);
        }
    }
}

/// A root motion to be drawn towards.
#[derive(Debug)]
pub struct Pull<'a> {
    /// Wanted displacement (left, ahead) and turn `[B, 3]`, in m/s, m/s and rad/s.
    pub root: &'a Tensor,
    /// How much of the way the clean estimate goes `[B, 3]`, 0 to 1.
    pub weight: &'a Tensor,
}

impl MotionModel {
    /// A model with fresh parameters.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &ModelConfig,
        statistics: Statistics,
        changes: Changes,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        let skeleton = character::skeleton();
        let embedding = Embedding::new(&config.embedding, &skeleton, statistics, device, seed)?;
        let sizes = FrameSizes::motion(embedding.size());
        let module = |key: &'static str, config: &FrameConfig, seed| {
            FrameNetwork::new(config, sizes, device, seed).map_err(|error| in_table(key, error))
        };
        let generation = module("generation", &config.generation, seed.wrapping_add(1))?;
        let polishing = match &config.polishing {
            Some(polishing) => Some(module("polishing", polishing, seed.wrapping_add(2))?),
            None => None,
        };
        Ok(Self {
            scales: Scales::new(&changes, &embedding, device),
            embedding,
            generation,
            polishing,
            config: config.clone(),
            changes,
            device,
        })
    }

    /// Where the model computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The deviations of changes and steering.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Number of parameters of all parts.
    pub fn parameters(&self) -> usize {
        let stores = self.stores();
        let counts = stores
            .iter()
            .map(|(_, store)| store.variables().values().map(Tensor::numel).sum::<usize>());
        counts.sum()
    }

    /// Weights that one frame reads: those of a module once for each of its denoise steps, and the
    /// decoder's.
    pub fn weights_per_frame(&self) -> usize {
        let modules = std::iter::once(&self.generation).chain(&self.polishing);
        let steps: usize = modules
            .map(|module| module.parameters() * module.steps() as usize)
            .sum();
        let parts = self.embedding.store().variables();
        let decoder = parts.iter().filter(|(name, _)| name.starts_with("decoder"));
        steps + decoder.map(|(_, weights)| weights.numel()).sum::<usize>()
    }

    /// Switches gradients off.
    pub fn freeze(&mut self) {
        self.embedding.store_mut().freeze();
        self.generation.store_mut().freeze();
        if let Some(polishing) = &mut self.polishing {
            polishing.store_mut().freeze();
        }
    }

    /// The change from one embedded frame to another at unit size, all `[B, E]`.
    pub fn change(&self, from: &Tensor, to: &Tensor) -> Tensor {
        (to - from - &self.scales.change_mean) / &self.scales.change
    }

    /// The embedded frame that a change leads to, all `[B, E]`.
    pub fn changed(&self, from: &Tensor, change: &Tensor) -> Tensor {
        from + change * &self.scales.change + &self.scales.change_mean
    }

    /// The condition `[B, C]` of a frame: the last one `[B, E]`, the steering `[B, S]` in its own
    /// units, and which characters are steered at all `[B, 1]`, 1 or 0.
    pub fn condition(&self, last: &Tensor, steering: &Tensor, steered: &Tensor) -> Tensor {
        let steering =
            (steering - &self.scales.steering_mean) / &self.scales.steering_deviation * steered;
        Tensor::cat(&[last, &steering, steered], -1)
    }

    /// Takes over the parameters of an embedding of the same build.
    ///
    /// # Errors
    /// Another build.
    pub fn copy_embedding(&self, embedding: &Embedding) -> Result<()> {
        copy(embedding.store(), self.embedding.store())
    }

    /// Takes over the parameters of a generation module of the same build.
    ///
    /// # Errors
    /// Another build.
    pub fn copy_generation(&self, other: &Self) -> Result<()> {
        copy(other.generation.store(), self.generation.store())
    }

    /// Random numbers for one frame, one stream for each character.
    pub fn draw(&self, streams: &mut [NoiseStream]) -> Draw {
        let embedded = self.embedding.size();
        let (steps, latent) = (self.generation.steps(), self.generation.config().latent);
        let polish = self.polishing.as_ref().map_or(0, FrameNetwork::steps);
        let (first, second, third) = (steps * embedded, steps * latent, polish * embedded);
        let count = (first + second + third) as usize;
        let mut numbers = Vec::with_capacity(streams.len() * count);
        for stream in streams.iter_mut() {
            numbers.extend(stream.normals(count));
        }
        let all = Tensor::from_slice(&numbers)
            .view([-1, count as i64])
            .to_device(self.device);
        let part = |start: i64, steps: i64, size: i64| {
            all.narrow(1, start, steps * size)
                .reshape([-1, steps, size])
        };
        Draw {
            generation: part(0, steps, embedded),
            latents: (latent > 0).then(|| part(first, steps, latent)),
            polishing: (polish > 0).then(|| part(first + second, polish, embedded)),
        }
    }

    /// A draft of the change `[B, E]`: the generation module alone.
    pub fn draft(&self, condition: &Tensor, draw: &Draw, pull: Option<&Pull<'_>>) -> Tensor {
        let last = self.generation.steps() - 1;
        let noise = |step: i64| draw.generation.select(1, step);
        let mut sample = noise(last);
        for timestep in (0..=last).rev() {
            let latent = draw.latents.as_ref().map(|all| all.select(1, timestep));
            let clean = self
                .generation
                .predict_at(&sample, timestep, condition, latent.as_ref());
            let signal = self.generation.schedule().alpha_cumprod(timestep);
            let clean = self.drawn(clean, condition, pull, signal);
            sample = self.down(&self.generation, &clean, &sample, timestep, &noise);
        }
        sample
    }

    /// A draft brought up to the polishing module's noise and down again.
    pub fn polished(
        &self,
        draft: Tensor,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let (Some(polishing), Some(numbers)) = (&self.polishing, &draw.polishing) else {
            return draft;
        };
        let last = polishing.steps() - 1;
        let alpha = polishing.schedule().alpha_cumprod(last);
        let noise = |step: i64| numbers.select(1, step);
        let mut sample = draft * alpha.sqrt() + noise(last) * (1.0 - alpha).sqrt();
        for timestep in (0..=last).rev() {
            let clean = polishing.predict_at(&sample, timestep, condition, None);
            let signal = polishing.schedule().alpha_cumprod(timestep);
            let clean = self.drawn(clean, condition, pull, signal);
            sample = self.down(polishing, &clean, &sample, timestep, &noise);
        }
        sample
    }

    /// The next embedded frames `[B, E]`, within what the training clips hold.
    pub fn next(
        &self,
        last: &Tensor,
        condition: &Tensor,
        draw: &Draw,
        pull: Option<&Pull<'_>>,
    ) -> Tensor {
        let draft = self.draft(condition, draw, pull);
        let next = self.changed(last, &self.polished(draft, condition, draw, pull));
        next.clamp_tensor(Some(&self.scales.lowest), Some(&self.scales.highest))
    }

    /// Frames of the data to begin with `[N, E]`; the first stands still.
    pub fn starts(&self) -> Tensor {
        let flat: Vec<f32> = self.changes.starts.concat();
        Tensor::from_slice(&flat)
            .view([-1, self.embedding.size()])
            .to_device(self.device)
    }

    /// One step down; the last has no noise.
    fn down(
        &self,
        network: &FrameNetwork,
        clean: &Tensor,
        sample: &Tensor,
        timestep: i64,
        noise: &dyn Fn(i64) -> Tensor,
    ) -> Tensor {
        if timestep == 0 {
            return clean.shallow_clone();
        }
        let step = network.schedule().posterior(timestep);
        clean * step.clean + sample * step.sample + noise(timestep - 1) * step.deviation
    }

    /// The clean estimate with its root motion drawn towards the one that is wanted, the more the
    /// more signal there is (AAMDM's guidance, with the gradient's length chosen so that weight 1
    /// reaches the aim).
    fn drawn(
        &self,
        clean: Tensor,
        condition: &Tensor,
        pull: Option<&Pull<'_>>,
        signal: f64,
    ) -> Tensor {
        let Some(pull) = pull else { return clean };
        let mean = self.scales.change_mean.narrow(0, 0, 3);
        let scale = self.scales.change.narrow(0, 0, 3);
        let next = condition.narrow(1, 0, 3) + clean.narrow(1, 0, 3) * &scale + mean;
        let hand_made = &self.scales.root;
        let wanted = (pull.root - hand_made.get(0)) / hand_made.get(1);
        let step = (wanted - next) * pull.weight * signal / scale;
        let moved = clean.narrow(1, 0, 3) + step;
        Tensor::cat(&[moved, clean.narrow(1, 3, clean.size()[1] - 3)], 1)
    }

    /// Writes a checkpoint folder; each file appears whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        for (name, store) in self.stores() {
            weights::write(&folder.join(name), &weights::snapshot(store, precision))?;
        }
        let path = folder.join(CONFIG_FILE);
        let description = Description {
            format: FORMAT,
            kind: "motion".into(),
            model: self.config.clone(),
            statistics: self.embedding.statistics().clone(),
            changes: self.changes.clone(),
        };
        let text = serde_json::to_string_pretty(&description).map_err(|error| Error::Data {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let beside = path.with_extension("json.part");
        std::fs::write(&beside, text + "\n").map_err(|error| Error::io(&beside, error))?;
        std::fs::rename(&beside, &path).map_err(|error| Error::io(&path, error))
    }

    /// Reads a checkpoint folder.
    ///
    /// # Errors
    /// Missing files, unknown or wrong keys, weights that do not fit; each names the file.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let refuse = |reason: String| Error::Data {
            path: path.clone(),
            reason,
        };
        let Description {
            format,
            kind,
            model,
            statistics,
            changes,
        } = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if format != FORMAT || kind != "motion" {
            return Err(refuse(format!(
                "kind `{kind}`, format {format} found; this version reads kind `motion`, format {FORMAT}"
            )));
        }
        model.embedding.check()?;
        let layout = Layout::new(character::JOINTS);
        statistics.check(layout, model.embedding.latent, &path)?;
        let embedded = Layout::HAND_MADE + model.embedding.latent as usize;
        changes.check(embedded, &path)?;
        let mut loaded = Self::new(&model, statistics, changes, device, 0)?;
        for (name, store) in loaded.stores() {
            weights::load(&folder.join(name), store)?;
        }
        loaded.freeze();
        Ok(loaded)
    }

    fn stores(&self) -> Vec<(&'static str, &VarStore)> {
        let mut stores = vec![
            ("embedding.safetensors", self.embedding.store()),
            ("generation.safetensors", self.generation.store()),
        ];
        if let Some(polishing) = &self.polishing {
            stores.push(("polishing.safetensors", polishing.store()));
        }
        stores
    }
}

impl Scales {
    fn new(changes: &Changes, embedding: &Embedding, device: Device) -> Self {
        let tensor = |list: &[f32]| Tensor::from_slice(list).to_device(device);
        let statistics = embedding.statistics();
        let root = [&statistics.mean[..3], &statistics.deviation[..3]].concat();
        Self {
            change: tensor(&changes.change),
            change_mean: tensor(&changes.change_mean),
            steering_mean: tensor(&changes.steering_mean),
            steering_deviation: tensor(&changes.steering_deviation),
            lowest: tensor(&changes.lowest),
            highest: tensor(&changes.highest),
            root: tensor(&root).view([2, 3]),
        }
    }
}

impl Changes {
    fn check(&self, embedded: usize, path: &Path) -> Result<()> {
        for (key, list, expected, positive) in [
            ("change", &self.change, embedded, true),
            ("change_mean", &self.change_mean, embedded, false),
            ("lowest", &self.lowest, embedded, false),
            ("highest", &self.highest, embedded, false),
            ("steering_mean", &self.steering_mean, steering::SIZE, false),
            (
                "steering_deviation",
                &self.steering_deviation,
                steering::SIZE,
                true,
            ),
        ] {
            let fits = |x: &f32| x.is_finite() && (!positive || *x > 0.0);
            if list.len() != expected || !list.iter().all(fits) {
                return Err(Error::Data {
                    path: path.to_path_buf(),
                    reason: format!(
                        "changes.{key}: {} numbers found, expected {expected} finite ones",
                        list.len()
                    ),
                });
            }
        }
        let sound =
            |start: &Vec<f32>| start.len() == embedded && start.iter().all(|x| x.is_finite());
        if self.starts.is_empty() || !self.starts.iter().all(sound) {
            return Err(Error::Data {
                path: path.to_path_buf(),
                reason: format!("changes.starts: expected frames of {embedded} finite numbers"),
            });
        }
        Ok(())
    }
}

/// Copies parameters from one store to another of the same build.
fn copy(from: &VarStore, to: &VarStore) -> Result<()> {
    let source = from.variables();
    tch::no_grad(|| {
        for (name, mut variable) in to.variables() {
            let Some(values) = source.get(&name) else {
                return Err(Error::Skeleton(format!("no parameter `{name}` to copy")));
            };
            variable.f_copy_(values)?;
        }
        Ok(())
    })
}

/// An error of a module, with the table in which its keys stand.
fn in_table(table: &'static str, error: Error) -> Error {
    match error {
        Error::Config {
            key,
            found,
            expected,
        } => Error::Config {
            key: table,
            found: format!("{key} = {found}"),
            expected,
        },
        other => other,
    }
}
