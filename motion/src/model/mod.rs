//! The motion model of AAMDM: embedding, generation module, polishing module.
//!
//! A frame is made in two parts (arXiv 2401.06146): the generation module, a denoising diffusion GAN
//! (Xiao et al. 2022), goes from noise to a draft in a few large steps; the polishing module, an
//! autoregressive diffusion model (Shi et al. 2024), takes the draft up to a small noise level and
//! down again. Both see the last frame, the change that led to it, and the steering. In every step
//! the clean estimate can be drawn towards the root motion that is wanted, without any training for
//! it.
//!
//! What is diffused is neither a frame nor its change from the last one but the *innovation*: what
//! the predictor does not tell of the change or, without one, what the change before does not tell,
//! number by number, at unit size. Most of a body's next change can be told, and noise as large as
//! whole changes would leave it trembling.

mod changes;
mod config;
mod folder;
mod generator;
mod host;
mod sampling;
#[doc(hidden)]
pub mod testing;

use kinestream_diffusion::{Execution, Executor};
use tch::nn::VarStore;
use tch::{Device, Tensor};

use changes::Scales;
use host::HostModel;

use crate::embedding::{Embedding, Statistics};
use crate::frame::FrameSizes;
use crate::motion_vae::MotionVae;
use crate::predictor::Predictor;
use crate::{Error, Result, character};

pub use changes::FrameDeltaStats;
pub use config::{GeneratorConfig, ModelConfig, ModulesConfig};
pub use folder::CONFIG_FILE;
pub use generator::{Generator, Modules};
pub(crate) use host::ModelInputs;
pub use sampling::{LatentNoise, RootGuidance};

/// Of an error of place and of speed, what is left one frame later if the change carries on wholly:
/// with these an error is down to a tenth within five frames.
const KEPT_PLACE: f64 = 0.7;
const KEPT_SPEED: f64 = 0.4;

/// Everything that makes frames.
#[derive(Debug)]
pub struct MotionModel {
    /// The embedded space.
    pub embedding: Embedding,
    /// What tells the part of a frame that can be told.
    pub predictor: Option<Predictor>,
    /// What makes frames of it.
    pub generator: Generator,
    config: ModelConfig,
    changes: FrameDeltaStats,
    scales: Scales,
    device: Device,
    /// What makes the frames of few characters in place of all this, if it was asked for.
    pub(crate) host: Option<Box<HostModel>>,
}

impl MotionModel {
    /// A model with fresh parameters.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &ModelConfig,
        statistics: Statistics,
        changes: FrameDeltaStats,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        let skeleton = character::skeleton();
        let embedding = Embedding::new(&config.embedding, &skeleton, statistics, device, seed)?;
        let size = embedding.size();
        let predictor = match &config.predictor {
            Some(config) => {
                let inputs = FrameSizes::motion(size, false).condition;
                let seed = seed.wrapping_add(5);
                Some(
                    Predictor::new(config, inputs, size, device, seed)
                        .map_err(|error| config::in_table("predictor", error))?,
                )
            }
            None => None,
        };
        let sizes = FrameSizes::motion(size, predictor.is_some());
        let generator = Generator::new(&config.generator, sizes, device, seed.wrapping_add(1))?;
        Ok(Self {
            scales: Scales::new(&changes, &embedding, device),
            embedding,
            predictor,
            generator,
            config: config.clone(),
            changes,
            device,
            host: None,
        })
    }

    /// Says what makes frames from now on, with the weights and the denoise steps as they are now, and
    /// tells what that is: the fused kernels for crowds of up to [`crate::crowd::MOST_FUSED`], or LibTorch.
    /// Which depends on device and checkpoint alone.
    ///
    /// # Errors
    /// The fused kernels were asked for, and do not know the model or do not run on its device; weights of
    /// one byte that change what a network tells too much.
    pub fn execute_by(&mut self, execution: &Execution) -> Result<Executor> {
        self.host = HostModel::new(self, execution)?.map(Box::new);
        Ok(match self.host {
            Some(_) => Executor::Fused,
            None => Executor::LibTorch,
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
    pub fn changes(&self) -> &FrameDeltaStats {
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
        let parts = self.embedding.store().variables();
        let decoder = parts.iter().filter(|(name, _)| name.starts_with("decoder"));
        self.generator.weights_per_frame()
            + decoder.map(|(_, weights)| weights.numel()).sum::<usize>()
    }

    /// The modules of a model that denoises.
    ///
    /// # Errors
    /// A MotionVAE.
    pub fn modules(&self) -> Result<&Modules> {
        match &self.generator {
            Generator::Diffusion(modules) => Ok(modules),
            Generator::MotionVae(_) => Err(wrong_generator("motion_vae", "generation")),
        }
    }

    /// The autoencoder of a model that is a MotionVAE.
    ///
    /// # Errors
    /// A model that denoises.
    pub fn motion_vae(&self) -> Result<&MotionVae> {
        match &self.generator {
            Generator::MotionVae(vae) => Ok(vae),
            Generator::Diffusion(_) => Err(wrong_generator("generation", "motion_vae")),
        }
    }

    /// Switches gradients off.
    pub fn freeze(&mut self) {
        self.embedding.store_mut().freeze();
        if let Some(predictor) = &mut self.predictor {
            predictor.store_mut().freeze();
        }
        self.generator.freeze();
    }

    /// The frames `[B, E]` of states `[B, 2 E]`: embedded, with the change that led to them behind.
    pub fn frames(&self, state: &Tensor) -> Tensor {
        state.narrow(1, 0, self.embedding.size())
    }

    /// States `[B, 2 E]` of frames that follow others, all `[B, E]`.
    pub fn state(&self, before: &Tensor, frame: &Tensor) -> Tensor {
        let change = (frame - before - &self.scales.change_mean) / &self.scales.change;
        Tensor::cat(&[frame, &change], 1)
    }

    /// The size of a change in the numbers of a state `[2 E]`.
    pub(crate) fn state_scale(&self) -> Tensor {
        Tensor::cat(&[&self.scales.change, &self.scales.change.ones_like()], 0)
    }

    /// The change `[B, E]` at unit size that a condition `[B, C]` lets expect.
    pub fn expected(&self, condition: &Tensor) -> Tensor {
        let size = self.embedding.size();
        match self.predictor {
            Some(_) => condition.narrow(1, condition.size()[1] - size, size),
            None => condition.narrow(1, size, size) * &self.scales.carry,
        }
    }

    /// The innovation `[B, E]` that leads under a condition `[B, C]` to a frame `[B, E]`, at unit
    /// size.
    pub fn innovation(&self, condition: &Tensor, to: &Tensor) -> Tensor {
        let change = (to - self.frames(condition) - &self.scales.change_mean) / &self.scales.change;
        (change - self.expected(condition)) / &self.scales.fresh
    }

    /// The frame `[B, E]` that a state `[B, 2 E]` off the truth should go on to, where the truth is at
    /// `truth` `[B, 2 E]` and goes to `next` `[B, E]`: it moves as the truth does and comes back to it
    /// within some frames, number by number the more slowly the more a change carries on. A body that
    /// had to be back at once would jump.
    pub(crate) fn recovering(&self, state: &Tensor, truth: &Tensor, next: &Tensor) -> Tensor {
        let size = self.embedding.size();
        let off = state - truth;
        let (place, speed) = (off.narrow(1, 0, size), off.narrow(1, size, size));
        next + place * (&self.scales.carry * KEPT_PLACE)
            + speed * (&self.scales.carry * KEPT_SPEED) * &self.scales.change
    }

    /// The state `[B, 2 E]` that an innovation `[B, E]` leads to under a condition `[B, C]`, its frame
    /// within what the training clips hold.
    pub fn advanced(&self, condition: &Tensor, innovation: &Tensor) -> Tensor {
        let drifted = self.frames(condition) + &self.scales.change_mean;
        let next = drifted
            .addcmul(&self.expected(condition), &self.scales.change)
            .addcmul(innovation, &self.scales.fresh_change)
            .clamp_tensor(Some(&self.scales.lowest), Some(&self.scales.highest));
        let change = (&next - drifted) / &self.scales.change;
        Tensor::cat(&[next, change], 1)
    }

    /// The condition `[B, C]` of a frame: the last state `[B, 2 E]`, the steering `[B, S]` in its own
    /// units, which characters are steered at all `[B, 1]`, 1 or 0, and what a predictor expects.
    pub fn condition(&self, state: &Tensor, steering: &Tensor, steered: &Tensor) -> Tensor {
        let steering =
            (steering - &self.scales.steering_mean) / &self.scales.steering_deviation * steered;
        let told = Tensor::cat(&[state, &steering, steered], -1);
        let Some(predictor) = &self.predictor else {
            return told;
        };
        let size = self.embedding.size();
        let carried = state.narrow(1, size, size) * &self.scales.carry;
        let expected = predictor.predict(&told) + carried;
        Tensor::cat(&[told, expected], -1)
    }

    /// Takes over the parameters of an embedding of the same build.
    ///
    /// # Errors
    /// Another build.
    pub fn copy_embedding(&self, embedding: &Embedding) -> Result<()> {
        copy_store(embedding.store(), self.embedding.store())
    }

    /// Takes over the parameters of a predictor of the same build; they are not trained any more.
    ///
    /// # Errors
    /// Another build.
    pub fn take_predictor(&mut self, other: &Self) -> Result<()> {
        if let (Some(from), Some(to)) = (&other.predictor, &mut self.predictor) {
            copy_store(from.store(), to.store())?;
            to.store_mut().freeze();
        }
        Ok(())
    }

    /// Takes over the parameters of a generation module of the same build.
    ///
    /// # Errors
    /// Another build, or a MotionVAE.
    pub fn copy_generation(&self, other: &Self) -> Result<()> {
        let (from, to) = (&other.modules()?.generation, &self.modules()?.generation);
        copy_store(from.store(), to.store())
    }

    /// Takes over the parameters of all modules of the same build.
    ///
    /// # Errors
    /// Another build, or a MotionVAE.
    pub fn copy_modules(&self, other: &Self) -> Result<()> {
        for (from, to) in other.modules()?.all().zip(self.modules()?.all()) {
            copy_store(from.store(), to.store())?;
        }
        Ok(())
    }

    /// States of the data to begin with `[N, 2 E]`; the first stands still.
    pub fn starts(&self) -> Tensor {
        let flat: Vec<f32> = self.changes.starts.concat();
        Tensor::from_slice(&flat)
            .view([-1, 2 * self.embedding.size()])
            .to_device(self.device)
    }
}

/// Copies parameters from one store to another of the same build.
pub(crate) fn copy_store(from: &VarStore, to: &VarStore) -> Result<()> {
    let source = from.variables();
    tch::no_grad(|| {
        for (name, mut variable) in to.variables() {
            let Some(values) = source.get(&name) else {
                return Err(Error::Weights(format!("no parameter `{name}` to copy")));
            };
            variable.f_copy_(values)?;
        }
        Ok(())
    })
}

fn wrong_generator(found: &str, expected: &str) -> Error {
    Error::Config {
        key: "model",
        found: format!("one with model.{found}"),
        expected: format!("one with model.{expected}"),
    }
}
