//! Configuration files of motion models, told from those of policies by their `[model]`.

mod base;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kinestream_diffusion::{Execution, Executor, Precision};
use kinestream_motion::data::DataConfig;
use kinestream_motion::extractor::ExtractorConfig;
use kinestream_motion::model::ModelConfig;
use kinestream_motion::training::TrainingConfig;
use kinestream_motion::training::config::OptimizerConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use kinestream_runtime::config;

/// A configuration file of a motion model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MotionConfig {
    /// Which clips are trained on, and which held out.
    pub(crate) data: DataConfig,
    /// Embedding and modules.
    pub(crate) model: ModelConfig,
    /// How they are trained.
    #[serde(default)]
    pub(crate) training: TrainingConfig,
    /// The feature space of the evaluation; absent: it is not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extractor: Option<ExtractorTable>,
    /// How the model is judged.
    #[serde(default)]
    pub(crate) evaluation: EvaluationTable,
    /// What makes the frames of a trained model.
    #[serde(default)]
    pub(crate) runtime: RuntimeTable,
}

/// What makes the frames of a trained model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RuntimeTable {
    /// `fused`, kernels for few characters on the CPU; `libtorch`, any device, model and number; `auto`, the
    /// first where it can.
    pub(crate) executor: Executor,
    /// How the fused kernels keep weights: `fp32`, `fp16`, or `int8` where the checkpoint bears it.
    pub(crate) precision: Precision,
}

impl RuntimeTable {
    /// As it says, but for what a command line says.
    pub(crate) fn execution(
        &self,
        executor: Option<Executor>,
        precision: Option<Precision>,
    ) -> Execution {
        Execution {
            executor: executor.unwrap_or(self.executor),
            precision: precision.unwrap_or(self.precision),
            threads: 1,
        }
    }
}

/// The feature space of the evaluation, and how it is trained.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExtractorTable {
    /// Windows and network.
    pub(crate) network: ExtractorConfig,
    /// Steps, batch, rates.
    pub(crate) descent: OptimizerConfig,
}

/// How a motion model is judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvaluationTable {
    /// Folder of the extractor, from the working directory or from the project.
    pub(crate) extractor: PathBuf,
    /// Checkpoint folder, likewise.
    pub(crate) checkpoint: PathBuf,
}

impl Default for EvaluationTable {
    fn default() -> Self {
        Self {
            extractor: Path::new(kinestream_runtime::checkpoint::SHIPPED_MOTION).join(EXTRACTOR),
            checkpoint: kinestream_runtime::checkpoint::SHIPPED_MOTION.into(),
        }
    }
}

/// Folder of the extractor within a checkpoint folder.
pub(crate) const EXTRACTOR: &str = "extractor";

impl MotionConfig {
    /// The optimizer settings of everything that is trained, each with its key.
    pub(crate) fn descents(&mut self) -> Vec<(&'static str, &mut OptimizerConfig)> {
        let extractor = self.extractor.as_mut();
        let extractor = extractor.map(|table| ("extractor.descent", &mut table.descent));
        self.training
            .descents()
            .into_iter()
            .chain(extractor)
            .collect()
    }

    /// Reads a file, and those that it takes tables from.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        read(path)
    }
}

/// Reads a configuration of a motion model or of one of whole clips, with what it takes from others.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_text(path)?;
    if !is_derived(&text) {
        return config::parse_toml(&text, &path.display().to_string());
    }
    let table = base::read(path)?;
    T::deserialize(table).map_err(|error| {
        anyhow!(
            "{}, with what it takes from its base: {}",
            path.display(),
            error.to_string().trim_end().replace('\n', ", ")
        )
    })
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))
}

fn is_derived(text: &str) -> bool {
    text.parse::<toml::Table>()
        .is_ok_and(|table| table.contains_key("base"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::clips::ClipsConfig;

    /// Steps of every table of the name `descent`, wherever it stands.
    fn steps(key: &str, value: &Value, found: &mut Vec<(String, u64)>) {
        let Value::Object(table) = value else { return };
        for (name, value) in table {
            let key = format!("{key}.{name}");
            if name == "descent" {
                found.push((key, value["steps"].as_u64().unwrap()));
            } else {
                steps(&key, value, found);
            }
        }
    }

    #[test]
    fn descents_names_every_stage_that_is_trained() {
        let with_all = |text: &str| {
            let mut table: toml::Table = text.parse().unwrap();
            let training = table
                .entry("training")
                .or_insert_with(|| toml::Table::new().into());
            let settling = toml::Table::new().into();
            training
                .as_table_mut()
                .unwrap()
                .insert("settling".into(), settling);
            table.insert("extractor".into(), toml::Table::new().into());
            table
        };
        let text = include_str!("../configs/motion-aamdm.toml");
        let mut motion = MotionConfig::deserialize(with_all(text)).unwrap();
        let text = include_str!("../configs/motion-emdm.toml");
        let mut clips: ClipsConfig = toml::from_str(text).unwrap();
        clips.recogniser.get_or_insert_default();
        for (_, descent) in motion.descents().into_iter().chain(clips.descents()) {
            descent.steps = 3;
        }
        let mut found = Vec::new();
        steps(
            "motion",
            &serde_json::to_value(&motion).unwrap(),
            &mut found,
        );
        steps("clips", &serde_json::to_value(&clips).unwrap(), &mut found);
        assert_eq!(found.len(), 7 + 3, "{found:?}");
        let untouched: Vec<_> = found.iter().filter(|(_, steps)| *steps != 3).collect();
        assert!(untouched.is_empty(), "{untouched:?}");
        let named = motion.descents().len() + clips.descents().len();
        assert_eq!(named, found.len());
    }
}
