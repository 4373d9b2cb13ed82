//! Training of the modules together: whole frames on rollouts, scored as forecasts are.
//!
//! Alone, each module learns to make one frame; what a second of its own frames adds up to, nobody
//! has told it. Here two rollouts leave every window with different random numbers, and the loss is
//! their energy score (Gneiting and Raftery 2007, with two members, without its bias):
//!
//! s = 1/2 (|a - y| + |b - y|) - 1/2 |a - b|
//!
//! for members a and b and the clip's own frame y. It is smallest in the mean when the rollouts are
//! distributed as the clips are: it takes off what drifts, and keeps apart what may differ. The
//! gradient passes through all denoise steps of all frames.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Tensor};

use super::config::TrainingConfig;
use super::feet;
use super::frames::Frames;
use super::stage_configs::SettlingTraining;
use super::{Losses, Stage, read_state};
use crate::learner::{OptimizerState, descend_together};
use crate::model::MotionModel;
use crate::{Error, Result};

/// Trains all modules of a model that denoises, after each was trained alone.
pub struct SettlingStage {
    model: MotionModel,
    learners: Vec<OptimizerState>,
    training: SettlingTraining,
    seed: u64,
    frames: Frames,
    step: u64,
}

/// Members of a rollout.
const MEMBERS: i64 = 2;

impl SettlingStage {
    /// Prepares the training of a model whose parts are trained.
    ///
    /// # Errors
    /// A MotionVAE; a configuration without the table.
    pub fn new(model: MotionModel, training: &TrainingConfig, frames: Frames) -> Result<Self> {
        let Some(settings) = training.settling.clone() else {
            return Err(Error::Config {
                key: "training.settling",
                found: "nothing".into(),
                expected: "a table".into(),
            });
        };
        let descent = &settings.descent;
        let learners = model.modules()?.all().map(|module| {
            OptimizerState::new(
                module.store(),
                (0.9, 0.999),
                descent.weight_decay,
                descent.average,
            )
        });
        Ok(Self {
            learners: learners.collect(),
            model,
            training: settings,
            seed: training.seed,
            frames,
            step: 0,
        })
    }

    /// The model with the averaged weights.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<MotionModel> {
        for (learner, module) in self.learners.iter().zip(self.model.modules()?.all()) {
            learner.average_into(module.store())?;
        }
        self.model.freeze();
        Ok(self.model)
    }

    fn rollout(&mut self, step: u64) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x7365_7474, step);
        let training = &self.training;
        let model = &self.model;
        let length = training.rollout.length(step);
        let batch = training.descent.batch;
        let mut windows = self
            .frames
            .draw(model, &training.rollout, length, batch, &mut random);
        windows.repeat(MEMBERS);
        let (scale, size) = (model.state_scale(), model.embedding.size());
        let (mut places, mut changes, mut moved_feet) = (Vec::new(), Vec::new(), Vec::new());
        for frame in 1..=length {
            let condition = windows.condition(model, frame);
            let draw = model.draw_batch(batch * MEMBERS as usize, &mut random);
            let state = model.next(&condition, &draw, None);
            let truth = windows.truth(model, frame);
            let off = (&state - &truth) / &scale;
            places.push(energy_score(&off.narrow(1, 0, size)));
            changes.push(energy_score(&off.narrow(1, size, size)));
            moved_feet.push(energy_score(&feet::off(model, &state, &truth)));
            windows.state = state;
        }
        let mean = |parts: &[Tensor]| Tensor::stack(parts, 0).mean(Kind::Float);
        let (place, change, moved_feet) = (mean(&places), mean(&changes), mean(&moved_feet));
        let loss = &change + &place * training.place + &moved_feet * training.feet;
        let mut losses = Losses::new(step, &loss)?;
        losses.push("change", &change)?;
        losses.push("place", &place)?;
        losses.push("feet", &moved_feet)?;
        descend_together(
            &mut self.learners,
            &loss,
            training.descent.rate(step),
            training.descent.gradient_norm,
        );
        Ok(losses)
    }
}

/// Mean energy score of how far both members are off `[2 B, N]`, per number.
fn energy_score(off: &Tensor) -> Tensor {
    let (rows, numbers) = (off.size()[0] / MEMBERS, off.size()[1] as f64);
    let norm = |off: &Tensor| {
        // Where nothing is off, the root has no slope.
        let square = off
            .square()
            .sum_dim_intlist([1].as_slice(), false, Kind::Float);
        (square / numbers + 1e-6).sqrt().mean(Kind::Float)
    };
    let (first, second) = (off.narrow(0, 0, rows), off.narrow(0, rows, rows));
    (norm(&first) + norm(&second) - norm(&(first - second))) * 0.5
}

impl Stage for SettlingStage {
    fn name(&self) -> &'static str {
        "settling"
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
        let learners = self.learners.iter().enumerate();
        learners
            .flat_map(|(number, learner)| learner.state(&format!("module{number}")))
            .collect()
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        for (number, learner) in self.learners.iter_mut().enumerate() {
            learner
                .restore(&format!("module{number}"), &state)
                .map_err(|reason| super::refuse(path, reason))?;
        }
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::frames::normal;

    /// Score of members with a spread about a truth of spread 1.
    fn score(spread: f64, shift: f64) -> f64 {
        let mut random = NoiseStream::new(7);
        let device = tch::Device::Cpu;
        let truth = normal(&mut random, &[20_000, 4], device);
        let members = normal(&mut random, &[40_000, 4], device) * spread + shift;
        f64::try_from(energy_score(&(members - truth.repeat([2, 1])))).unwrap()
    }

    #[test]
    fn the_score_is_least_for_the_distribution_itself() {
        let right = score(1.0, 0.0);
        for (spread, shift) in [(0.0, 0.0), (0.6, 0.0), (1.5, 0.0), (1.0, 0.4)] {
            let wrong = score(spread, shift);
            assert!(wrong > right + 0.005, "{spread} {shift}: {wrong} {right}");
        }
    }
}
