//! Steps, batch size and learning rate of a stage.

use kinestream_diffusion::optimiser::cosine_with_warmup;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How one network is optimized, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Optimiser steps (rollouts, for the modules), the length of the cosine.
    pub steps: u64,
    /// Frames, or windows, per step.
    pub batch: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up; then a cosine to 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm; 0 for no limit.
    pub gradient_norm: f64,
    /// Largest decay of the moving average of the weights, which is what is used.
    pub average: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 256,
            learning_rate: 3e-4,
            warmup_steps: 500,
            weight_decay: 1e-4,
            gradient_norm: 1.0,
            average: 0.999,
        }
    }
}

impl OptimizerConfig {
    /// Learning rate at a step.
    pub fn rate(&self, step: u64) -> f64 {
        cosine_with_warmup(step, self.steps, self.warmup_steps, self.learning_rate)
    }

    /// Checks every value of the table `table`.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, table: &'static str) -> Result<()> {
        let refuse = |key: &str, found: String, expected: &str| {
            Err(Error::Config {
                key: table,
                found: format!("{key} = {found}"),
                expected: expected.into(),
            })
        };
        if self.steps == 0 || self.batch == 0 {
            let found = format!("{} and {}", self.steps, self.batch);
            return refuse("steps and batch", found, "at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse(
                "learning_rate",
                self.learning_rate.to_string(),
                "above 0, at most 1",
            );
        }
        if !(0.0..1.0).contains(&self.average) {
            return refuse("average", self.average.to_string(), "0 to below 1");
        }
        for (key, value) in [
            ("weight_decay", self.weight_decay),
            ("gradient_norm", self.gradient_norm),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(key, value.to_string(), "0 or above");
            }
        }
        Ok(())
    }
}
