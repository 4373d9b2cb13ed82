//! One network in training: its optimiser, the average of its weights, and both on disk.

use kinestream_diffusion::ema::EmaConfig;
use kinestream_diffusion::optimiser::AdamW;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::Result;

/// Steps one network's parameters.
#[derive(Debug)]
pub(crate) struct Learner {
    optimiser: AdamW,
    average: Tensor,
    ema: EmaConfig,
    step: u64,
}

impl Learner {
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
        let mut named: Vec<_> = store.variables().into_iter().collect();
        named.sort_by(|(first, _), (second, _)| first.cmp(second));
        let mut offset = 0;
        tch::no_grad(|| {
            for (_, mut variable) in named {
                let count = variable.numel() as i64;
                let values = self.average.narrow(0, offset, count).view_(variable.size());
                variable.f_copy_(&values)?;
                offset += count;
            }
            Ok(())
        })
    }

    /// Everything that continuing needs, under names that begin with `prefix`.
    pub(crate) fn state(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let named = |name: &str, tensor: &Tensor| (format!("{prefix}.{name}"), tensor.copy());
        vec![
            named("parameters", &self.optimiser.parameters),
            named("first", &self.optimiser.first),
            named("second", &self.optimiser.second),
            named("average", &self.average),
            named("step", &Tensor::from_slice(&[self.step as i64])),
        ]
    }

    /// Restores [`Self::state`]. Says which tensor is missing or does not fit.
    pub(crate) fn restore(
        &mut self,
        prefix: &str,
        state: &[(String, Tensor)],
    ) -> std::result::Result<(), String> {
        let find = |name: &str| {
            let wanted = format!("{prefix}.{name}");
            state
                .iter()
                .find(|(found, _)| *found == wanted)
                .map(|(_, tensor)| tensor)
                .ok_or_else(|| format!("`{wanted}` is missing; the file is damaged"))
        };
        let step = i64::try_from(&find("step")?.to_kind(Kind::Int64)).map_err(|e| e.to_string())?;
        let size = self.average.size();
        for (name, target) in [
            ("parameters", &mut self.optimiser.parameters),
            ("first", &mut self.optimiser.first),
            ("second", &mut self.optimiser.second),
            ("average", &mut self.average),
        ] {
            let tensor = find(name)?;
            if tensor.size() != size {
                return Err(format!(
                    "`{prefix}.{name}` has {:?} numbers, the configured network {size:?}",
                    tensor.size()
                ));
            }
            tch::no_grad(|| target.copy_(tensor));
        }
        self.step = step as u64;
        Ok(())
    }
}

/// One step of several networks down the gradient of one loss; each has its own limit of the norm.
pub(crate) fn descend_together(
    learners: &mut [Learner],
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
