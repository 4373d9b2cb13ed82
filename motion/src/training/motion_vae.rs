//! Training of a MotionVAE: what is reconstructed, how far latents are from a standard normal, where
//! feet come to, and rollouts by scheduled sampling (Ling et al. 2020).
//!
//! Each frame of a window is made from the true state before it or from the model's own, by a toss
//! whose odds move from all true to all own. The gradient goes back through own frames, so that the
//! model learns to make frames that it can go on from.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Tensor};

use super::config::TrainingConfig;
use super::feet::feet;
use super::frames::{Frames, normal};
use super::stage_configs::MotionVaeTraining;
use super::{Losses, Stage, read_state};
use crate::Result;
use crate::learner::OptimizerState;
use crate::model::MotionModel;
use crate::motion_vae::divergence;

/// Trains a model that is a MotionVAE.
pub struct MotionVaeStage {
    model: MotionModel,
    learner: OptimizerState,
    training: MotionVaeTraining,
    seed: u64,
    frames: Frames,
    step: u64,
}

impl MotionVaeStage {
    /// Prepares the training of a model whose embedding is trained.
    ///
    /// # Errors
    /// A model that denoises.
    pub fn new(model: MotionModel, training: &TrainingConfig, frames: Frames) -> Result<Self> {
        let settings = training.motion_vae.clone();
        let descent = &settings.descent;
        Ok(Self {
            learner: OptimizerState::new(
                model.motion_vae()?.store(),
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
        self.learner
            .average_into(self.model.motion_vae()?.store())?;
        self.model.freeze();
        Ok((self.model, self.frames))
    }

    fn rollout(&mut self, step: u64) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x7661_6531, step);
        let training = &self.training;
        let length = training.rollout.length(step);
        let batch = training.descent.batch;
        let taught = training.taught(step);
        let mut windows =
            self.frames
                .draw(&self.model, &training.rollout, length, batch, &mut random);
        let vae = self.model.motion_vae()?;
        let size = [batch as i64, vae.config().latent];
        let mut values = Vec::with_capacity(length);
        let mut divergences = Vec::with_capacity(length);
        let mut moved_feet = Vec::with_capacity(length);
        for frame in 1..=length {
            if frame > 1 {
                windows.correct(&self.model, frame, taught, &mut random);
            }
            let (condition, innovation) = windows.target(&self.model, frame);
            let (mean, log_variance) = vae.posterior(&innovation, &condition);
            let noise = normal(&mut random, &size, self.model.device());
            let latent = &mean + (&log_variance * 0.5).exp() * noise;
            let decoded = vae.decode(&latent, &condition);
            values.push((&decoded - &innovation).square().mean(Kind::Float));
            divergences.push(divergence(&mean, &log_variance));
            let next = self.model.advanced(&condition, &decoded);
            let truth = self.model.advanced(&condition, &innovation);
            moved_feet.push(feet(&self.model, &next, &truth));
            if frame < length {
                windows.state = next;
            }
        }
        let mean = |parts: &[Tensor]| Tensor::stack(parts, 0).mean(Kind::Float);
        let (value, divergence) = (mean(&values), mean(&divergences));
        let moved_feet = mean(&moved_feet);
        let loss = &value + &divergence * training.divergence + &moved_feet * training.feet;
        let mut losses = Losses::new(step, &loss)?;
        losses.push("value", &value)?;
        losses.push("divergence", &divergence)?;
        losses.push("feet", &moved_feet)?;
        self.learner.descend(
            &loss,
            training.descent.rate(step),
            training.descent.gradient_norm,
        );
        Ok(losses)
    }
}

impl Stage for MotionVaeStage {
    fn name(&self) -> &'static str {
        "motion_vae"
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
        self.learner.state("motion_vae")
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.learner
            .restore("motion_vae", &state)
            .map_err(|reason| super::refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{UnitQuaternion, Vector3};
    use tch::Device;

    use super::*;
    use crate::character::{self, Bone, HIPS_HEIGHT};
    use crate::data::{FRAME_RATE, MotionSet};
    use crate::embedding::{Embedding, EmbeddingConfig, Statistics};
    use crate::model::{GeneratorConfig, ModelConfig};
    use crate::motion_vae::MotionVaeConfig;
    use crate::training::Stage;
    use crate::training::config::{OptimizerConfig, Rollout};
    use crate::{Clip, Pose};

    /// Two seconds of legs that swing.
    fn set() -> MotionSet {
        let skeleton = character::skeleton();
        let frames = (0..60).map(|frame| {
            let mut rotations = vec![UnitQuaternion::identity(); skeleton.len()];
            let swing = 0.4 * (0.2 * f64::from(frame)).sin();
            let about = |angle| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
            rotations[Bone::LeftUpLeg.index()] = about(swing);
            rotations[Bone::RightUpLeg.index()] = about(-swing);
            let root = Vector3::new(0.0, HIPS_HEIGHT, 0.03 * f64::from(frame));
            Pose { root, rotations }
        });
        let clip = Clip {
            frames: frames.collect(),
            frame_rate: FRAME_RATE,
            skeleton: skeleton.clone(),
        };
        MotionSet::of([("swing".to_owned(), clip)]).unwrap()
    }

    fn stage(training: &TrainingConfig) -> MotionVaeStage {
        let set = set();
        let embedding = EmbeddingConfig {
            latent: 4,
            width: 16,
            ..EmbeddingConfig::default()
        };
        let rows = Tensor::from_slice(&set.rows).view([set.len() as i64, -1]);
        let statistics = Statistics::of(&rows, set.layout, embedding.latent).unwrap();
        let skeleton = character::skeleton();
        let space = Embedding::new(&embedding, &skeleton, statistics.clone(), Device::Cpu, 1);
        let frames = Frames::new(&space.unwrap(), &set, Device::Cpu);
        let generator = GeneratorConfig::MotionVae(MotionVaeConfig {
            latent: 4,
            width: 32,
            experts: 3,
            ..MotionVaeConfig::default()
        });
        let config = ModelConfig {
            predictor: None,
            embedding,
            generator,
        };
        let changes = frames.changes().unwrap();
        let model = MotionModel::new(&config, statistics, changes, Device::Cpu, 1).unwrap();
        MotionVaeStage::new(model, training, frames).unwrap()
    }

    fn training() -> TrainingConfig {
        let motion_vae = MotionVaeTraining {
            descent: OptimizerConfig {
                steps: 100,
                batch: 16,
                learning_rate: 3e-3,
                warmup_steps: 5,
                ..OptimizerConfig::default()
            },
            rollout: Rollout {
                noise: 0.0,
                ..MotionVaeTraining::default().rollout
            },
            divergence: 1e-3,
            feet: 0.0,
            taught_steps: 10,
            mixed_steps: 20,
        };
        TrainingConfig {
            motion_vae,
            ..TrainingConfig::default()
        }
    }

    #[test]
    fn true_frames_give_way_to_own_ones() {
        let training = training().motion_vae;
        let odds = [0, 10, 15, 20, 30, 1000].map(|step| training.taught(step));
        assert_eq!(odds, [1.0, 1.0, 0.75, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn rollouts_are_reproducible_and_the_loss_falls() {
        let training = training();
        let losses = |stage: &mut MotionVaeStage| -> Vec<f64> {
            (0..100)
                .map(|_| stage.advance().unwrap().parts[0].1)
                .collect()
        };
        let mut first = stage(&training);
        let found = losses(&mut first);
        assert_eq!(found, losses(&mut stage(&training)));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(mean(&found[90..]) < 0.7 * mean(&found[1..11]), "{found:?}");
    }

    #[test]
    fn a_state_continues_where_it_was_left() {
        let training = training();
        let mut whole = stage(&training);
        let expected: Vec<_> = (0..6).map(|_| whole.advance().unwrap().parts).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut first = stage(&training);
        for parts in &expected[..3] {
            assert_eq!(first.advance().unwrap().parts, *parts);
        }
        super::super::save(&first, folder.path()).unwrap();
        let mut second = stage(&training);
        let file = super::super::state_file(folder.path(), "motion_vae");
        second.restore(&file).unwrap();
        for parts in &expected[3..] {
            assert_eq!(second.advance().unwrap().parts, *parts);
        }
    }
}
