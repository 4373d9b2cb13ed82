//! Training of the generation module: a denoising diffusion GAN on its own rollouts.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::Tensor;

use super::adversarial::{GanBatch, GanTrainer};
use super::config::{GenerationTraining, TrainingConfig};
use super::feet::feet;
use super::frames::Frames;
use super::{Losses, Stage, read_state};
use crate::Result;
use crate::model::MotionModel;

/// Trains the generation module of a model.
pub struct GenerationStage {
    model: MotionModel,
    adversaries: GanTrainer,
    training: GenerationTraining,
    seed: u64,
    frames: Frames,
    step: u64,
}

impl GenerationStage {
    /// Prepares the training of a model whose embedding is trained.
    ///
    /// # Errors
    /// A MotionVAE.
    pub fn new(model: MotionModel, training: &TrainingConfig, frames: Frames) -> Result<Self> {
        let settings = training.generation.clone();
        let seed = training.seed.wrapping_add(3);
        Ok(Self {
            adversaries: GanTrainer::new(&model.modules()?.generation, &settings, seed),
            model,
            training: settings,
            seed: training.seed,
            frames,
            step: 0,
        })
    }

    /// The model with the averaged weights of its generation module, and the frames.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<(MotionModel, Frames)> {
        self.adversaries
            .average_into(&self.model.modules()?.generation)?;
        self.model.freeze();
        Ok((self.model, self.frames))
    }

    fn rollout(&mut self, step: u64) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x6765_6e65, step);
        let training = &self.training;
        let length = training.rollout.length(step);
        let batch = training.descent.batch;
        let mut windows =
            self.frames
                .draw(&self.model, &training.rollout, length, batch, &mut random);
        let modules = self.model.modules()?;
        let generator = &modules.generation;
        let rate = training.descent.rate(step);
        let mut sums: Vec<(&'static str, Tensor)> = Vec::new();
        for frame in 1..=length {
            let (condition, clean) = windows.target(&self.model, frame);
            let penalised = (step * training.rollout.frames as u64 + frame as u64)
                .is_multiple_of(training.penalty_every.max(1));
            let lesson = GanBatch {
                clean: &clean,
                condition: &condition,
                more: &|estimate| {
                    let next = |innovation: &Tensor| self.model.advanced(&condition, innovation);
                    feet(&self.model, &next(estimate), &next(&clean)) * training.feet
                },
            };
            let parts = self
                .adversaries
                .step(generator, &lesson, &mut random, rate, penalised);
            if sums.is_empty() {
                sums.extend(parts);
            } else {
                for ((_, sum), (_, part)) in sums.iter_mut().zip(parts) {
                    *sum += part;
                }
            }
            if frame < length {
                let draw = self.model.draw_batch(batch, &mut random);
                windows.state = tch::no_grad(|| {
                    let draft = self.model.draft(modules, &condition, &draw);
                    self.model.advanced(&condition, &draft)
                });
            }
        }
        let mean = |sum: &Tensor| sum / length as f64;
        let mut losses = Losses::new(step, &mean(&sums[0].1))?;
        for (name, sum) in &sums[1..] {
            losses.push(name, &mean(sum))?;
        }
        Ok(losses)
    }
}

impl Stage for GenerationStage {
    fn name(&self) -> &'static str {
        "generation"
    }

    fn steps(&self) -> u64 {
        self.training.descent.steps
    }

    fn done(&self) -> u64 {
        self.step
    }

    fn advance(&mut self) -> Result<Losses> {
        let losses = self.rollout(self.step)?;
        self.step += 1;
        Ok(losses)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.adversaries.state()
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.adversaries
            .restore(&state)
            .map_err(|reason| super::refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
