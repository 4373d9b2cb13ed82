//! Training by diffusion: the polishing module, or the generation module of a plain autoregressive
//! diffusion model (A-MDM, Shi et al. 2024).
//!
//! The module learns the clean change from a noisy one, over windows in which every frame but the
//! first is the model's own: the value, and how it changes from frame to frame (AAMDM's two losses).

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Reduction, Tensor};

use super::config::{PolishingTraining, TrainingConfig};
use super::feet::feet;
use super::frames::{Frames, normal};
use super::{Losses, Stage, read_state};
use crate::frame::{FrameNetwork, timestep_column};
use crate::learner::OptimizerState;
use crate::model::{Generator, Modules, MotionModel};
use crate::{Error, Result};

/// Trains the polishing module of a model, or its generation module where it has no other.
pub struct PolishingStage {
    model: MotionModel,
    learner: OptimizerState,
    training: PolishingTraining,
    seed: u64,
    frames: Frames,
    step: u64,
}

fn module(model: &MotionModel) -> Result<&FrameNetwork> {
    let modules = model.modules()?;
    Ok(modules.polishing.as_ref().unwrap_or(&modules.generation))
}

/// The module that is trained makes samples with so many of its steps, 0 for all.
fn space_out(model: &mut MotionModel, evaluations: usize) {
    if let Generator::Diffusion(modules) = &mut model.generator {
        let modules = modules.as_mut();
        let module = modules.polishing.as_mut();
        module
            .unwrap_or(&mut modules.generation)
            .space_out(evaluations);
    }
}

impl PolishingStage {
    /// Prepares the training of a model. The other module is trained already; a generation module
    /// that is trained this way has no latent.
    ///
    /// # Errors
    /// A generation module with a latent, and no polishing module; a MotionVAE.
    pub fn new(mut model: MotionModel, training: &TrainingConfig, frames: Frames) -> Result<Self> {
        space_out(&mut model, training.polishing.evaluations);
        let chosen = module(&model)?;
        if chosen.config().latent > 0 {
            return Err(Error::Config {
                key: "polishing",
                found: "a latent in a module that is trained by diffusion".into(),
                expected: "latent = 0".into(),
            });
        }
        let settings = training.polishing.clone();
        let descent = &settings.descent;
        Ok(Self {
            learner: OptimizerState::new(
                chosen.store(),
                (0.9, 0.999),
                descent.weight_decay,
                descent.average,
            ),
            model,
            training: settings,
            seed: training.seed,
            frames,
            step: 0,
        })
    }

    /// The model with the averaged weights, and the frames.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<(MotionModel, Frames)> {
        self.learner.average_into(module(&self.model)?.store())?;
        space_out(&mut self.model, 0);
        self.model.freeze();
        Ok((self.model, self.frames))
    }

    fn rollout(&mut self, step: u64) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x706f_6c69, step);
        let training = &self.training;
        let length = training.rollout.length(step);
        let batch = training.descent.batch;
        let mut windows =
            self.frames
                .draw(&self.model, &training.rollout, length, batch, &mut random);
        let device = self.model.device();
        let network = module(&self.model)?;
        let size = [batch as i64, network.sizes().sample];
        let mut values = Vec::with_capacity(length);
        let mut velocities = Vec::with_capacity(length);
        let mut moved_feet = Vec::with_capacity(length);
        let mut before: Option<(Tensor, Tensor)> = None;
        for frame in 1..=length {
            let (condition, clean) = windows.target(&self.model, frame);
            let timesteps: Vec<i64> = (0..batch)
                .map(|_| random.below(network.steps() as usize) as i64)
                .collect();
            let noise = normal(&mut random, &size, device);
            let sample = network.add_noise(&clean, &noise, &timesteps);
            let column = timestep_column(&timesteps, device);
            let estimate = network.predict(&sample, &column, &condition, None);
            values.push(estimate.smooth_l1_loss(&clean, Reduction::Mean, 1.0));
            let next = |innovation: &Tensor| self.model.advanced(&condition, innovation);
            moved_feet.push(feet(&self.model, &next(&estimate), &next(&clean)));
            if let Some((estimated, true_before)) = &before {
                let (moved, truly) = (&estimate - estimated, &clean - true_before);
                velocities.push(moved.smooth_l1_loss(&truly, Reduction::Mean, 1.0));
            }
            before = Some((estimate, clean));
            if frame < length {
                let draw = self.model.draw_batch(batch, &mut random);
                windows.state = tch::no_grad(|| self.model.next(&condition, &draw, None));
            }
        }
        let mean = |parts: &[Tensor]| match parts {
            [] => Tensor::from(0.0_f32).to_device(device),
            parts => Tensor::stack(parts, 0).mean(Kind::Float),
        };
        let (value, velocity) = (mean(&values), mean(&velocities));
        let moved_feet = mean(&moved_feet);
        let loss = &value + &velocity * training.velocity + &moved_feet * training.feet;
        let mut losses = Losses::new(step, &loss)?;
        losses.push("value", &value)?;
        losses.push("velocity", &velocity)?;
        losses.push("feet", &moved_feet)?;
        self.learner.descend(
            &loss,
            training.descent.rate(step),
            training.descent.gradient_norm,
        );
        Ok(losses)
    }
}

impl Stage for PolishingStage {
    fn name(&self) -> &'static str {
        match self.model.modules() {
            Ok(Modules {
                polishing: Some(_), ..
            }) => "polishing",
            _ => "generation",
        }
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
        self.learner.state("module")
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.learner
            .restore("module", &state)
            .map_err(|reason| super::refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
