//! Training of motion models, part after part.
//!
//! Every step draws from a stream of its own (seed, step), and the whole state of a part is written
//! in one file that replaces the last one atomically. So a run that was killed at any moment and
//! resumed ends with the same bits as one that was not, on the same machine, device and threads.

pub(crate) mod adversarial;
pub mod config;
mod embedding;
mod emdm;
mod emdm_config;
mod feet;
pub(crate) mod frames;
mod generation;
mod motion_vae;
mod optimizer_config;
mod polishing;
mod predictor;
mod rollout;
mod settling;
mod stage_configs;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kinestream_diffusion::weights;
use tch::Tensor;

pub use config::{GenerationTraining, OptimizerConfig, TrainingConfig};
pub use embedding::EmbeddingStage;
pub use emdm::EmdmStage;
pub use emdm_config::{ClipTraining, EmdmTraining};
pub use frames::Frames;
pub use generation::GenerationStage;
pub use motion_vae::MotionVaeStage;
pub use polishing::PolishingStage;
pub use predictor::PredictorStage;
pub use settling::SettlingStage;
pub use stage_configs::{MotionVaeTraining, PredictorTraining, SettlingTraining};

use crate::{Error, Result};

/// A part in training.
pub trait Stage {
    /// Name of the part, as in the configuration.
    fn name(&self) -> &'static str;
    /// Steps in all.
    fn steps(&self) -> u64;
    /// Steps done.
    fn done(&self) -> u64;
    /// Takes one step.
    ///
    /// # Errors
    /// A loss that is not finite.
    fn advance(&mut self) -> Result<Losses>;
    /// The state of its learners.
    fn state(&self) -> Vec<(String, Tensor)>;
    /// Continues from a state file.
    ///
    /// # Errors
    /// A file of another run.
    fn restore(&mut self, path: &Path) -> Result<()>;
    /// Seed of everything random.
    fn seed(&self) -> u64;
}

/// The loss of a step and what it is made of.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Name and value, the whole loss first.
    pub parts: Vec<(&'static str, f64)>,
}

impl Losses {
    pub(crate) fn new(step: u64, loss: &Tensor) -> Result<Self> {
        let value = f64::try_from(loss)?;
        if !value.is_finite() {
            return Err(Error::Diverged { step, loss: value });
        }
        Ok(Self {
            parts: vec![("loss", value)],
        })
    }

    pub(crate) fn push(&mut self, name: &'static str, value: &Tensor) -> Result<()> {
        self.parts.push((name, f64::try_from(value)?));
        Ok(())
    }
}

/// The state file of a part within the output folder.
pub fn state_file(out: &Path, name: &str) -> PathBuf {
    out.join(format!("{name}{STATE_SUFFIX}"))
}

/// Names of the parts that a folder holds a state of, whichever parts there are; none where there is no such folder.
///
/// # Errors
/// A folder that cannot be read.
pub fn begun_parts(out: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(out, error)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Error::io(out, error))?.file_name();
        let part = name
            .to_str()
            .and_then(|name| name.strip_suffix(STATE_SUFFIX));
        parts.extend(part.map(str::to_owned));
    }
    parts.sort();
    Ok(parts)
}

const STATE_SUFFIX: &str = ".training.safetensors";

/// Trains a part to its end, telling `watch` after every step; `watch` may end it early. The state
/// is saved every `every` steps and at the end.
///
/// # Errors
/// A loss that is not finite, or a state that cannot be written.
pub fn run(
    stage: &mut dyn Stage,
    out: &Path,
    every: u64,
    mut watch: impl FnMut(&dyn Stage, &Losses) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    while stage.done() < stage.steps() {
        let losses = stage.advance()?;
        let over = watch(stage, &losses)?;
        let last = stage.done() == stage.steps();
        if over.is_break() || last || stage.done().is_multiple_of(every) {
            save(stage, out)?;
        }
        if over.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn save(stage: &dyn Stage, out: &Path) -> Result<()> {
    let scalar = |value: u64| Tensor::from_slice(&[value as i64]);
    let mut state = stage.state();
    state.push(("seed".into(), scalar(stage.seed())));
    state.push(("step".into(), scalar(stage.done())));
    Ok(weights::write(&state_file(out, stage.name()), &state)?)
}

/// Step and tensors of a state file, if it belongs to this seed.
pub(crate) fn read_state(path: &Path, seed: u64) -> Result<(u64, Vec<(String, Tensor)>)> {
    let state = weights::read(path)?;
    let number = |name: &str| -> Result<u64> {
        let tensor = weights::find(name, &state).map_err(|reason| refuse(path, reason))?;
        Ok(i64::try_from(tensor)? as u64)
    };
    let found = number("seed")?;
    if found != seed {
        return Err(refuse(
            path,
            format!("it belongs to training.seed = {found}, the configuration says {seed}"),
        ));
    }
    Ok((number("step")?, state))
}

pub(crate) fn refuse(path: &Path, reason: String) -> Error {
    Error::Resume {
        path: path.to_path_buf(),
        reason,
    }
}
