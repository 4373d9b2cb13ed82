//! Training of the predictor: rollouts of its own with the gradient through all of their frames.
//!
//! Noise on the state of every frame but the last keeps it from relying on what it did before, and
//! shows it how to come back.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Tensor};

use super::config::TrainingConfig;
use super::feet::feet;
use super::frames::{Frames, normal};
use super::stage_configs::PredictorTraining;
use super::{Losses, Stage, read_state};
use crate::learner::OptimizerState;
use crate::model::MotionModel;
use crate::{Error, Result};

/// Trains the predictor of a model.
pub struct PredictorStage {
    model: MotionModel,
    learner: OptimizerState,
    training: PredictorTraining,
    seed: u64,
    frames: Frames,
    step: u64,
}

impl PredictorStage {
    /// Prepares the training of a model whose embedding is trained.
    ///
    /// # Errors
    /// A model without a predictor.
    pub fn new(model: MotionModel, training: &TrainingConfig, frames: Frames) -> Result<Self> {
        let Some(predictor) = &model.predictor else {
            return Err(Error::Config {
                key: "model.predictor",
                found: "nothing".into(),
                expected: "a table".into(),
            });
        };
        let settings = training.predictor.clone();
        let descent = &settings.descent;
        Ok(Self {
            learner: OptimizerState::new(
                predictor.store(),
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

    /// The model with the averaged weights of its predictor, and the frames.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<(MotionModel, Frames)> {
        if let Some(predictor) = &mut self.model.predictor {
            self.learner.average_into(predictor.store())?;
            predictor.store_mut().freeze();
        }
        Ok((self.model, self.frames))
    }

    fn rollout(&mut self, step: u64) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x7072_6564, step);
        let training = &self.training;
        let length = training.rollout.length(step);
        let batch = training.descent.batch;
        let mut windows =
            self.frames
                .draw(&self.model, &training.rollout, length, batch, &mut random);
        let scale = self.model.state_scale();
        let size = self.model.embedding.size();
        let (mut changes, mut places, mut moved_feet) = (Vec::new(), Vec::new(), Vec::new());
        for frame in 1..=length {
            let condition = windows.condition(&self.model, frame);
            let truth = windows.truth(&self.model, frame);
            let nothing = condition.narrow(1, 0, size).zeros_like();
            let state = self.model.advanced(&condition, &nothing);
            let off = (&state - &truth) / &scale;
            places.push(off.narrow(1, 0, size).abs().mean(Kind::Float));
            changes.push(off.narrow(1, size, size).abs().mean(Kind::Float));
            moved_feet.push(feet(&self.model, &state, &truth));
            let noise = normal(&mut random, &state.size(), state.device());
            windows.state = state + noise * &scale * (training.rollout.noise * SHAKEN);
        }
        let mean = |parts: &[Tensor]| Tensor::stack(parts, 0).mean(Kind::Float);
        let (change, place, moved_feet) = (mean(&changes), mean(&places), mean(&moved_feet));
        let loss = &change + &place * training.place + &moved_feet * training.feet;
        let mut losses = Losses::new(step, &loss)?;
        losses.push("change", &change)?;
        losses.push("place", &place)?;
        losses.push("feet", &moved_feet)?;
        self.learner.descend(
            &loss,
            training.descent.rate(step),
            training.descent.gradient_norm,
        );
        Ok(losses)
    }
}

/// Noise on later states of a window, as a share of that on the first.
const SHAKEN: f64 = 0.5;

impl Stage for PredictorStage {
    fn name(&self) -> &'static str {
        "predictor"
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
        self.learner.state("predictor")
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.learner
            .restore("predictor", &state)
            .map_err(|reason| super::refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
