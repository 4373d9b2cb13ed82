//! The processors around a LeRobot policy: what they rename and how they normalise.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tch::Tensor;

use super::super::diagnosis;
use super::config::Config;
use super::features::{ACTION, Kind};
use super::statistics::{self, EPSILON, Mode, Statistics};
use crate::{Error, Result};

const BEFORE: &str = "policy_preprocessor.json";
const AFTER: &str = "policy_postprocessor.json";

/// What happens before and behind the networks.
#[derive(Debug, Clone)]
pub(super) struct Processors {
    modes: HashMap<Kind, Mode>,
    /// Statistics of what is observed.
    pub(super) inputs: Statistics,
    /// Statistics of actions.
    pub(super) outputs: Statistics,
    /// From the name of a feature in the policy to what robots call it.
    pub(super) renamed: HashMap<String, String>,
    /// What is not said and was taken in its place.
    pub(super) assumed: Vec<String>,
    /// What is said and not needed.
    pub(super) ignored: Vec<String>,
}

/// A processor's file.
#[derive(Debug, Deserialize)]
struct Pipeline {
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    #[serde(default)]
    registry_name: Option<String>,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    state_file: Option<String>,
}

/// Configuration of a step that normalises.
#[derive(Debug, Deserialize)]
struct Normalisation {
    #[serde(default = "default_epsilon")]
    eps: f32,
    #[serde(default)]
    norm_map: HashMap<String, String>,
    #[serde(default)]
    normalize_observation_keys: Option<Vec<String>>,
}

fn default_epsilon() -> f32 {
    EPSILON
}

impl Processors {
    /// Reads both files of a folder; none where there are none.
    ///
    /// # Errors
    /// One without the other, files that are damaged, or every step that is not supported.
    pub(super) fn read(folder: &Path, config: &Config) -> Result<Option<Self>> {
        match [BEFORE, AFTER].map(|name| folder.join(name).is_file()) {
            [false, false] => return Ok(None),
            [true, true] => {}
            [before, _] => {
                let (there, missing) = if before {
                    (BEFORE, AFTER)
                } else {
                    (AFTER, BEFORE)
                };
                return Err(Error::Import {
                    path: folder.to_path_buf(),
                    reason: format!("{missing} is missing, though {there} is there; copy both"),
                });
            }
        }
        let mut found = Self {
            // What its steps do counts, not what the configuration once asked for.
            modes: HashMap::new(),
            inputs: Statistics::default(),
            outputs: Statistics::default(),
            renamed: HashMap::new(),
            assumed: Vec::new(),
            ignored: Vec::new(),
        };
        found.inputs = found.take(folder, BEFORE, "normalizer_processor")?;
        found.outputs = found.take(folder, AFTER, "unnormalizer_processor")?;
        for name in found.renamed.keys() {
            let mut inputs = config.inputs.iter();
            if !inputs.any(|feature| feature.name == *name) {
                found.ignored.push(format!(
                    "renaming to `{name}`, which the policy does not observe"
                ));
            }
        }
        Ok(Some(found))
    }

    /// Takes the statistics of a policy that normalises inside its model.
    ///
    /// # Errors
    /// A model without any.
    pub(super) fn of_model(
        config: &Config,
        path: &Path,
        embedded: &[(String, Tensor)],
    ) -> Result<Self> {
        if embedded.is_empty() {
            return Err(Error::Import {
                path: path.to_path_buf(),
                reason: format!(
                    "no statistics of normalisation: {BEFORE} and {AFTER} are missing beside it, and \
                     it holds no `normalize_inputs`; copy the whole folder"
                ),
            });
        }
        let statistics = |prefix: &str| {
            let inputs = statistics::names(&config.inputs).chain([ACTION]);
            Statistics::embedded(path, embedded, prefix, inputs)
        };
        Ok(Self {
            modes: config.modes.clone(),
            inputs: statistics("normalize_inputs.buffer_")?,
            outputs: statistics("unnormalize_outputs.buffer_")?,
            renamed: HashMap::new(),
            assumed: Vec::new(),
            ignored: Vec::new(),
        })
    }

    /// How features of a kind are normalised; those of a kind that is not named are not.
    pub(super) fn mode(&self, kind: Kind) -> Mode {
        self.modes.get(&kind).copied().unwrap_or(Mode::Identity)
    }

    /// Goes through the steps of a file and returns the statistics of the one called `normaliser`.
    fn take(&mut self, folder: &Path, file: &str, normaliser: &str) -> Result<Statistics> {
        let path = folder.join(file);
        let text = diagnosis::read_text(&path)?;
        let json = |error: serde_json::Error| Error::Json {
            path: path.clone(),
            reason: error.to_string(),
        };
        let Pipeline { steps } = serde_json::from_str(&text).map_err(json)?;
        let (mut problems, mut statistics) = (Vec::new(), None);
        for (index, step) in steps.into_iter().enumerate() {
            let name = step.registry_name.or(step.class).unwrap_or_default();
            match name.as_str() {
                "to_batch_processor" => {}
                "device_processor" => match step.config.get("float_dtype") {
                    None | Some(Value::Null) => {}
                    Some(kind) if kind == "float32" => {}
                    Some(kind) => self.assumed.push(format!(
                        "single precision, where step {index} of {file} converts to {kind}"
                    )),
                },
                "rename_observations_processor" | "rename_processor" => {
                    let renamed = step.config.get("rename_map").cloned().unwrap_or_default();
                    let renamed: Option<HashMap<String, String>> =
                        serde_json::from_value(renamed).map_err(json)?;
                    let renamed = renamed.into_iter().flatten();
                    self.renamed.extend(renamed.map(|(from, to)| (to, from)));
                }
                _ if name == normaliser => {
                    let normalisation = serde_json::from_value(step.config).map_err(json)?;
                    let Normalisation {
                        eps,
                        norm_map,
                        normalize_observation_keys,
                    } = normalisation;
                    if normalize_observation_keys.is_some() {
                        problems.push(format!(
                            "step {index}, `{name}`: `normalize_observation_keys` is not supported"
                        ));
                    }
                    self.take_modes(&norm_map, &mut problems);
                    // A name from a file: it must not lead out of the folder.
                    let state = step.state_file.filter(|state| !state.contains(['/', '\\']));
                    match state {
                        Some(state) => {
                            statistics = Some(Statistics::read(&folder.join(state), eps)?);
                        }
                        None => problems.push(format!(
                            "step {index}, `{name}`: `state_file` names no file of the folder"
                        )),
                    }
                }
                _ => problems.push(format!("step {index}, `{name}`, is not supported")),
            }
        }
        if statistics.is_none() && problems.is_empty() {
            problems.push(format!("no step is `{normaliser}`"));
        }
        match statistics {
            Some(statistics) if problems.is_empty() => Ok(statistics),
            _ => Err(Error::Import {
                path,
                reason: problems.join("; "),
            }),
        }
    }

    fn take_modes(&mut self, modes: &HashMap<String, String>, problems: &mut Vec<String>) {
        for (key, mode) in modes {
            match (Kind::named(key), Mode::named(mode)) {
                (None, _) => {}
                (Some(kind), Some(mode)) => {
                    self.modes.insert(kind, mode);
                }
                (_, None) => problems.push(format!(
                    "normalisation `{mode}` of `{key}` is not supported"
                )),
            }
        }
    }
}
