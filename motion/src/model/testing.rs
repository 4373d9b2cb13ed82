//! Small models that were never trained, for tests.

#![allow(
    clippy::unwrap_used,
    reason = "fixtures of tests, here and in motion/evaluation"
)]

use kinestream_diffusion::ScheduleConfig;
use tch::Device;

use super::{FrameDeltaStats, GeneratorConfig, ModelConfig, ModulesConfig, MotionModel};
use crate::embedding::{EmbeddingConfig, Statistics};
use crate::features::Layout;
use crate::frame::FrameConfig;
use crate::predictor::PredictorConfig;
use crate::{character, steering};

/// Three steps with a latent and two without.
pub fn modules() -> ModulesConfig {
    ModulesConfig {
        generation: module(3, 3),
        polishing: Some(module(0, 2)),
    }
}

/// An AAMDM.
pub fn tiny() -> MotionModel {
    model(GeneratorConfig::Diffusion(modules()))
}

fn module(latent: i64, train_timesteps: usize) -> FrameConfig {
    FrameConfig {
        width: 16,
        layers: 2,
        latent,
        frequencies: 0,
        schedule: ScheduleConfig {
            train_timesteps,
            ..ScheduleConfig::default()
        },
    }
}

/// A model with a predictor and some generator.
pub fn model(generator: GeneratorConfig) -> MotionModel {
    let layout = Layout::new(character::JOINTS);
    let embedding = EmbeddingConfig {
        latent: 6,
        width: 16,
        ..EmbeddingConfig::default()
    };
    let size = Layout::HAND_MADE + 6;
    let numbers = |count: usize, first: f32| -> Vec<f32> {
        (0..count).map(|at| first + 0.01 * at as f32).collect()
    };
    let statistics = Statistics {
        mean: numbers(layout.size(), 0.1),
        deviation: numbers(layout.size(), 0.8),
        latent_mean: numbers(6, 0.0),
        latent_deviation: numbers(6, 1.0),
    };
    let changes = FrameDeltaStats {
        change: numbers(size, 0.05),
        steering_mean: numbers(steering::SIZE, 0.0),
        steering_deviation: numbers(steering::SIZE, 1.0),
        change_mean: numbers(size, 0.001),
        carry: numbers(size, 0.3),
        residual: Vec::new(),
        lowest: vec![-9.0; size],
        highest: vec![9.0; size],
        starts: vec![vec![0.0; 2 * size]],
    };
    let config = ModelConfig {
        embedding,
        predictor: Some(PredictorConfig {
            width: 16,
            layers: 2,
        }),
        generator,
    };
    let mut model = MotionModel::new(&config, statistics, changes, Device::Cpu, 1).unwrap();
    model.freeze();
    model
}
