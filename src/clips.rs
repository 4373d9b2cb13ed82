//! Configuration files of models of whole clips, told from those of motion models by `[model.clips]`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kinestream_motion::data::DataConfig;
use kinestream_motion::emdm::{EmdmConfig, Labels};
use kinestream_motion::recogniser::RecogniserConfig;
use kinestream_motion::training::EmdmTraining;
use kinestream_motion::training::config::OptimizerConfig;
use serde::{Deserialize, Serialize};

use crate::motion;
use kinestream_runtime::config;

/// Folder of the recogniser within a checkpoint folder.
pub(crate) const RECOGNISER: &str = "recogniser";

/// A configuration file of a model of whole clips.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClipsConfig {
    /// Which clips are trained on, and which held out.
    pub(crate) data: ClipData,
    /// Embedding and network.
    pub(crate) model: EmdmConfig,
    /// How they are trained.
    #[serde(default)]
    pub(crate) training: EmdmTraining,
    /// The network that judges clips; absent: it is not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recogniser: Option<RecogniserTable>,
    /// How the model is judged.
    #[serde(default)]
    pub(crate) evaluation: ClipEvaluation,
}

/// Which clips, and what they show.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClipData {
    /// File of the labels, from the folder of this one.
    pub(crate) labels: PathBuf,
    /// Patterns of labelled clips that are left out.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// Patterns of clips that are never trained on.
    pub(crate) held_out: Vec<String>,
    /// Speeds at which clips are trained on, 1 among them.
    #[serde(default = "one")]
    pub(crate) speeds: Vec<f64>,
}

fn one() -> Vec<f64> {
    vec![1.0]
}

/// The network that judges clips, and how it is trained.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecogniserTable {
    /// Its layers.
    pub(crate) network: RecogniserConfig,
    /// Steps, batch, rates.
    pub(crate) descent: OptimizerConfig,
}

/// How a model of whole clips is judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClipEvaluation {
    /// Folder of the recogniser, from the working directory or from the project.
    pub(crate) recogniser: PathBuf,
    /// Checkpoint folder, likewise.
    pub(crate) checkpoint: PathBuf,
}

impl Default for ClipEvaluation {
    fn default() -> Self {
        let folder = Path::new(kinestream_runtime::checkpoint::SHIPPED_CLIPS);
        Self {
            recogniser: folder.join(RECOGNISER),
            checkpoint: folder.to_path_buf(),
        }
    }
}

impl ClipsConfig {
    /// Reads a file, those that it takes tables from, and the labels that it names.
    pub(crate) fn read(path: &Path) -> Result<(Self, Labels)> {
        let config: Self = motion::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let file = folder.join(&config.data.labels);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read data.labels, {}", file.display()))?;
        let labels: Labels = config::parse_toml(&text, &file.display().to_string())?;
        labels
            .check()
            .with_context(|| format!("in {}", file.display()))?;
        Ok((config, labels))
    }

    /// The optimizer settings of everything that is trained, each with its key.
    pub(crate) fn descents(&mut self) -> Vec<(&'static str, &mut OptimizerConfig)> {
        let recogniser = self.recogniser.as_mut();
        let recogniser = recogniser.map(|table| ("recogniser.descent", &mut table.descent));
        self.training
            .descents()
            .into_iter()
            .chain(recogniser)
            .collect()
    }

    /// The clips as a data set is made of them.
    pub(crate) fn clips(&self, labels: &Labels) -> DataConfig {
        DataConfig {
            clips: labels.patterns(),
            exclude: self.data.exclude.clone(),
            held_out: self.data.held_out.clone(),
            mirror: true,
            speeds: self.data.speeds.clone(),
            bends: Vec::new(),
        }
    }
}
