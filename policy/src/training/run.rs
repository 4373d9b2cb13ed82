//! What all training runs share: the loop over their steps, and the state that one goes on from.

use std::ops::ControlFlow;
use std::path::PathBuf;

use kinestream_diffusion::optimiser::AdamW;
use kinestream_diffusion::weights;
use tch::Tensor;

use super::Progress;
use crate::{Error, Result};

/// A training run, step by step.
pub(super) trait Run {
    /// Steps done.
    fn step(&self) -> u64;

    /// Steps in all.
    fn last_step(&self) -> u64;

    /// Steps between states that are saved.
    fn checkpoint_every(&self) -> u64;

    /// Learning rate of the next step.
    fn learning_rate(&self) -> f64;

    /// Loss of the next step's batch.
    fn loss(&self) -> Tensor;

    /// Takes the step down a loss.
    fn descend(&mut self, loss: &Tensor, learning_rate: f64);

    /// Writes the state.
    fn save(&self) -> Result<()>;
}

/// Takes all steps that are left, telling `watch` after every one. `watch` may end the run early; the
/// state is saved then, and at the end.
///
/// # Errors
/// A loss that is not finite, or a state that cannot be written.
pub(super) fn run<R: Run>(
    run: &mut R,
    mut watch: impl FnMut(&R, Progress) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let steps = run.last_step();
    while run.step() < steps {
        let learning_rate = run.learning_rate();
        let loss = run.loss();
        let value = f64::try_from(&loss)?;
        if !value.is_finite() {
            return Err(Error::Diverged {
                step: run.step(),
                loss: value,
            });
        }
        run.descend(&loss, learning_rate);
        let step = run.step();
        let saved = step.is_multiple_of(run.checkpoint_every()) || step == steps;
        if saved {
            run.save()?;
        }
        let progress = Progress {
            step,
            steps,
            loss: value,
            learning_rate,
            saved,
        };
        if watch(run, progress)?.is_break() {
            if !saved {
                run.save()?;
            }
            break;
        }
    }
    Ok(())
}

/// A saved state, of the seed that is configured.
pub(super) struct State {
    path: PathBuf,
    tensors: Vec<(String, Tensor)>,
}

impl State {
    /// Reads a state.
    ///
    /// # Errors
    /// A damaged file, or the state of another seed.
    pub(super) fn read(path: PathBuf, seed: u64) -> Result<Self> {
        let state = Self {
            tensors: weights::read(&path)?,
            path,
        };
        let found = state.number("seed")?;
        if found != seed {
            return Err(state.refused(format!(
                "it belongs to training.seed = {found}, the configuration says {seed}"
            )));
        }
        Ok(state)
    }

    /// Steps done.
    ///
    /// # Errors
    /// The file does not say.
    pub(super) fn step(&self) -> Result<u64> {
        self.number("step")
    }

    /// Copies a vector of the state to where it came from.
    ///
    /// # Errors
    /// It is missing, or belongs to another network.
    pub(super) fn restore(&self, name: &str, target: &mut Tensor) -> Result<()> {
        weights::restore(name, &self.tensors, target).map_err(|reason| self.refused(reason))
    }

    /// Restores an optimiser, whose vectors' names begin with `prefix`.
    ///
    /// # Errors
    /// As [`State::restore`].
    pub(super) fn restore_optimiser(&self, prefix: &str, optimiser: &mut AdamW) -> Result<()> {
        let restored = optimiser.restore(prefix, &self.tensors);
        restored.map_err(|reason| self.refused(reason))
    }

    fn number(&self, name: &str) -> Result<u64> {
        let tensor = weights::find(name, &self.tensors).map_err(|reason| self.refused(reason))?;
        Ok(i64::try_from(tensor)? as u64)
    }

    fn refused(&self, reason: String) -> Error {
        Error::Resume {
            path: self.path.clone(),
            reason,
        }
    }
}

/// What [`State::read`] checks and tells: seed and steps done.
pub(super) fn counted(seed: u64, step: u64) -> [(String, Tensor); 2] {
    let scalar = |value: u64| Tensor::from_slice(&[value as i64]);
    [("seed".into(), scalar(seed)), ("step".into(), scalar(step))]
}
