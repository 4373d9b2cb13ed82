//! One network in training: its optimiser, the average of its weights, and both on disk.

use kinestream_diffusion::ema::EmaConfig;
use kinestream_diffusion::optimiser::{AdamW, unflatten};
use kinestream_diffusion::weights;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::Result;

/// Steps one network's parameters.
#[derive(Debug)]
pub(crate) struct OptimizerState {
    optimiser: AdamW,
    average: Tensor,
    ema: EmaConfig,
    step: u64,
}

impl OptimizerState {
    pub(crate) fn new(
        store: &VarStore,
        betas: (f64, f64),
        weight_decay: f64,
        max_decay: f64,
    ) -> Self {
        let optimiser = AdamW::new(store, betas, weight_decay);
        Self {
            average: optimiser.parameters.copy(),
            optimiser,
            ema: EmaConfig {
                max_decay,
                ..EmaConfig::default()
            },
            step: 0,
        }
    }

    /// One step down the gradient of a loss.
    pub(crate) fn descend(&mut self, loss: &Tensor, learning_rate: f64, gradient_norm: f64) {
        descend_together(
            std::slice::from_mut(self),
            loss,
            learning_rate,
            gradient_norm,
        );
    }

    fn step(&mut self, learning_rate: f64, gradient_norm: f64) {
        self.optimiser.step(self.step, learning_rate, gradient_norm);
        tch::no_grad(|| {
            self.ema
                .update(&mut self.average, &self.optimiser.parameters, self.step);
        });
        self.step += 1;
    }

    /// Copies the averaged weights into a network of the same build.
    pub(crate) fn average_into(&self, store: &VarStore) -> Result<()> {
        Ok(unflatten(&self.average, store)?)
    }

    /// Everything that continuing needs, under names that begin with `prefix` and a dot.
    pub(crate) fn state(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let mut state = Vec::from(self.optimiser.state(&format!("{prefix}.")));
        state.extend([
            (format!("{prefix}.average"), self.average.copy()),
            (
                format!("{prefix}.step"),
                Tensor::from_slice(&[self.step as i64]),
            ),
        ]);
        state
    }

    /// Restores [`Self::state`]. Says which tensor is missing or does not fit.
    pub(crate) fn restore(
        &mut self,
        prefix: &str,
        state: &[(String, Tensor)],
    ) -> std::result::Result<(), String> {
        let step = weights::find(&format!("{prefix}.step"), state)?;
        let step = i64::try_from(&step.to_kind(Kind::Int64)).map_err(|error| error.to_string())?;
        self.optimiser.restore(&format!("{prefix}."), state)?;
        weights::restore(&format!("{prefix}.average"), state, &mut self.average)?;
        self.step = step as u64;
        Ok(())
    }
}

/// One step of several networks down the gradient of one loss; each has its own limit of the norm.
pub(crate) fn descend_together(
    learners: &mut [OptimizerState],
    loss: &Tensor,
    learning_rate: f64,
    gradient_norm: f64,
) {
    for learner in learners.iter_mut() {
        learner.optimiser.zero_gradients();
    }
    loss.backward();
    for learner in learners {
        learner.step(learning_rate, gradient_norm);
    }
}
