//! Training of the embedding.

use std::path::Path;

use kinestream_diffusion::noise::NoiseStream;
use tch::{Device, Kind, Tensor};

use super::config::{EmbeddingTraining, TrainingConfig};
use super::{Losses, Stage, read_state};
use crate::data::MotionSet;
use crate::embedding::{Embedding, EmbeddingConfig, Statistics};
use crate::features::Layout;
use crate::learner::OptimizerState;
use crate::{Result, character};

/// Trains an embedding on pairs of neighbouring frames.
pub struct EmbeddingStage {
    embedding: Embedding,
    learner: OptimizerState,
    training: EmbeddingTraining,
    seed: u64,
    rows: Tensor,
    /// First rows of all triples.
    windows: Vec<usize>,
    step: u64,
}

impl EmbeddingStage {
    /// Prepares the training on a set.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &EmbeddingConfig,
        training: &TrainingConfig,
        set: &MotionSet,
        device: Device,
    ) -> Result<Self> {
        config.check()?;
        let rows = Tensor::from_slice(&set.rows)
            .view([set.len() as i64, set.layout.size() as i64])
            .to_device(device);
        let statistics = Statistics::of(&rows, set.layout, config.latent)?;
        let skeleton = character::skeleton();
        let embedding = Embedding::new(config, &skeleton, statistics, device, training.seed)?;
        let descent = &training.embedding.descent;
        Ok(Self {
            learner: OptimizerState::new(
                embedding.store(),
                (0.9, 0.999),
                descent.weight_decay,
                descent.average,
            ),
            embedding,
            training: training.embedding.clone(),
            seed: training.seed,
            windows: set.windows(3),
            rows,
            step: 0,
        })
    }

    /// The embedding with its averaged weights, measured and frozen.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(self) -> Result<Embedding> {
        let mut embedding = Embedding::new(
            self.embedding.config(),
            &character::skeleton(),
            self.embedding.statistics().clone(),
            self.rows.device(),
            self.seed,
        )?;
        self.learner.average_into(embedding.store())?;
        embedding.store_mut().freeze();
        embedding.measure(&self.rows)?;
        Ok(embedding)
    }

    fn losses(&self, step: u64) -> (Tensor, Vec<(&'static str, Tensor)>) {
        let mut random = NoiseStream::with_stream(self.seed, step);
        let batch = self.training.descent.batch;
        let firsts: Vec<i64> = (0..batch)
            .map(|_| self.windows[random.below(self.windows.len())] as i64)
            .collect();
        // First frames of all triples, then second and third ones.
        let indices: Vec<i64> = (0..3)
            .flat_map(|offset| firsts.iter().map(move |first| first + offset))
            .collect();
        let device = self.rows.device();
        let rows = self
            .rows
            .index_select(0, &Tensor::from_slice(&indices).to_device(device));
        let latent = self.embedding.config().latent;
        let hand_made = Layout::HAND_MADE as i64;
        let numbers = random.normals(2 * batch * (latent + hand_made) as usize);
        let noise = Tensor::from_slice(&numbers)
            .view([2 * batch as i64, latent + hand_made])
            .to_device(device);
        let normalised = self.embedding.normalise(&rows);
        let (mean, log_variance) = self.embedding.posterior(&normalised);
        let half = batch as i64;
        let part = |index: i64| mean.narrow(0, index * half, half);
        let smoothness = (part(2) - part(1) * 2.0 + part(0))
            .square()
            .mean(Kind::Float);
        // Poses are made of the first two of each triple only.
        let [rows, normalised, mean, log_variance] =
            [&rows, &normalised, &mean, &log_variance].map(|all| all.narrow(0, 0, 2 * half));
        let learned = &mean + (&log_variance * 0.5).exp() * noise.narrow(1, 0, latent);
        let known = normalised.narrow(1, 0, hand_made)
            + noise.narrow(1, latent, hand_made) * self.training.noise;
        let six = self.embedding.rotations(&known, &learned);
        let layout = self.embedding.layout();
        let joints = layout.joints() as i64;
        let target = rows
            .narrow(1, Layout::ROTATIONS as i64, 6 * joints)
            .view([-1, joints, 6]);
        let pose = (&six - target).abs().mean(Kind::Float);
        let hips = rows.narrow(1, Layout::HIPS as i64, 3);
        let others = rows
            .narrow(1, layout.positions() as i64, 3 * (joints - 1))
            .view([-1, joints - 1, 3]);
        let found = self
            .embedding
            .positions(&six, &hips)
            .narrow(1, 1, joints - 1);
        let difference = found - others;
        let position = difference.abs().mean(Kind::Float);
        let velocity = (difference.narrow(0, half, half) - difference.narrow(0, 0, half))
            .abs()
            .mean(Kind::Float);
        let divergence =
            (mean.square() + log_variance.exp() - 1.0 - &log_variance).mean(Kind::Float) * 0.5;
        let loss = &pose
            + &position * self.training.position
            + &velocity * self.training.velocity
            + &divergence * self.training.divergence
            + &smoothness * self.training.smoothness;
        let parts = vec![
            ("pose", pose),
            ("position_cm", position * 100.0),
            ("velocity_cm", velocity * 100.0),
            ("divergence", divergence),
            ("smoothness", smoothness),
        ];
        (loss, parts)
    }
}

impl Stage for EmbeddingStage {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn steps(&self) -> u64 {
        self.training.descent.steps
    }

    fn done(&self) -> u64 {
        self.step
    }

    fn advance(&mut self) -> Result<Losses> {
        let (loss, parts) = self.losses(self.step);
        let rate = self.training.descent.rate(self.step);
        let mut losses = Losses::new(self.step, &loss)?;
        for (name, value) in parts {
            losses.push(name, &value)?;
        }
        self.learner
            .descend(&loss, rate, self.training.descent.gradient_norm);
        self.step += 1;
        Ok(losses)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.learner.state("embedding")
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.learner
            .restore("embedding", &state)
            .map_err(|reason| super::refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
