//! Statistics of a data set by feature, and the normalisers that they make.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kinestream_diffusion::weights;
use tch::{Kind as Number, Tensor};

use super::features::Feature;
use crate::{Error, Normaliser, Result};

/// How the features of a kind are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Identity,
    MeanStd,
    /// Smallest and largest value to -1 and 1.
    MinMax,
    /// The 1st and 99th percentile to -1 and 1.
    Quantiles,
    /// The 10th and 90th percentile to -1 and 1.
    Quantile10,
}

impl Mode {
    /// The mode of a name, in the capitals of one layout or the small letters of the other.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "IDENTITY" => Self::Identity,
            "MEAN_STD" => Self::MeanStd,
            "MIN_MAX" => Self::MinMax,
            "QUANTILES" => Self::Quantiles,
            "QUANTILE10" => Self::Quantile10,
            _ => return None,
        })
    }

    /// The two statistics that it needs.
    fn needs(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Identity => None,
            Self::MeanStd => Some(["mean", "std"]),
            Self::MinMax => Some(["min", "max"]),
            Self::Quantiles => Some(["q01", "q99"]),
            Self::Quantile10 => Some(["q10", "q90"]),
        }
    }
}

/// Added to deviations, and in place of a range of 0, as LeRobot does by default.
pub(super) const EPSILON: f32 = 1e-8;

/// Statistics by feature and name, as one file has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Statistics {
    /// The file.
    pub(super) path: PathBuf,
    /// From `<feature>.<statistic>` to its numbers.
    values: HashMap<String, Vec<f32>>,
    /// What stands in place of a range of 0.
    pub(super) epsilon: f32,
}

impl Statistics {
    /// Reads the state of a processor's step.
    pub(super) fn read(path: &Path, epsilon: f32) -> Result<Self> {
        let tensors = weights::read(path)?;
        Self::of_tensors(
            path,
            epsilon,
            tensors.iter().map(|(name, it)| (name.clone(), it)),
        )
    }

    /// Takes what stands inside a model under `prefix`, where features have `_` in place of dots.
    pub(super) fn embedded<'a>(
        path: &Path,
        tensors: &[(String, Tensor)],
        prefix: &str,
        features: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        let names: HashMap<String, &str> = features
            .map(|name| (name.replace('.', "_"), name))
            .collect();
        let named = tensors.iter().filter_map(|(name, tensor)| {
            let (feature, statistic) = name.strip_prefix(prefix)?.rsplit_once('.')?;
            let feature = names.get(feature)?;
            Some((format!("{feature}.{statistic}"), tensor))
        });
        Self::of_tensors(path, EPSILON, named)
    }

    fn of_tensors<'a>(
        path: &Path,
        epsilon: f32,
        tensors: impl Iterator<Item = (String, &'a Tensor)>,
    ) -> Result<Self> {
        let values = tensors
            .map(|(name, tensor)| {
                let numbers = tensor.to_kind(Number::Float).reshape([-1]);
                Ok::<_, Error>((name, Vec::try_from(numbers)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            path: path.to_path_buf(),
            values,
            epsilon,
        })
    }

    /// Other spellings of a statistic that is missing, if the file has one.
    fn alike(&self, feature: &str, statistic: &str) -> String {
        let plain = |name: &str| {
            let letters = name.chars().filter(char::is_ascii_alphanumeric);
            letters.collect::<String>().to_ascii_lowercase()
        };
        let wanted = plain(&format!("{feature}.{statistic}"));
        let last = plain(feature.rsplit('.').next().unwrap_or(feature));
        let mut names: Vec<&str> = self.values.keys().map(String::as_str).collect();
        names.sort_unstable();
        let found = |is_like: &dyn Fn(&str) -> bool| {
            let like: Vec<String> = names
                .iter()
                .filter(|name| is_like(name))
                .map(|name| format!("`{name}`"))
                .collect();
            (!like.is_empty()).then(|| like.join(", "))
        };
        let short = format!("{last}{statistic}");
        let spelled = found(&|name| {
            let name = plain(name);
            wanted == name || name.trim_start_matches("observation") == short
        });
        spelled.map_or_else(String::new, |spelled| {
            format!(" (the file has {spelled}: rename it)")
        })
    }

    /// The normaliser of a feature of `size` numbers, or what it lacks.
    pub(super) fn normaliser(
        &self,
        feature: &str,
        mode: Mode,
        size: usize,
    ) -> std::result::Result<Normaliser, Vec<String>> {
        let limits = ["min", "max"].map(|name| {
            let values = self.values.get(&format!("{feature}.{name}"));
            let known = values.filter(|values| {
                values.len() == size && values.iter().all(|value| value.is_finite())
            });
            known.cloned().unwrap_or_default()
        });
        let [minimum, maximum] = limits;
        let identity = Normaliser {
            minimum,
            maximum,
            ..Normaliser::identity(size)
        };
        let Some(names) = mode.needs() else {
            return Ok(identity);
        };
        let mut problems = Vec::new();
        let [first, second] = names.map(|name| {
            let key = format!("{feature}.{name}");
            let problem = match self.values.get(&key) {
                None => format!("`{key}` is missing{}", self.alike(feature, name)),
                Some(values) if values.len() != size => {
                    format!("`{key}` has {} numbers, expected {size}", values.len())
                }
                Some(values) if values.iter().any(|value| !value.is_finite()) => {
                    format!("`{key}` holds NaN or infinity")
                }
                Some(values) => return values.clone(),
            };
            problems.push(problem);
            vec![0.0; size]
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let pairs = first.iter().zip(&second);
        let (scale, offset) = match mode {
            Mode::MeanStd => (
                pairs
                    .map(|(_, deviation)| 1.0 / (deviation + self.epsilon))
                    .collect(),
                vec![0.0; size],
            ),
            _ => (
                pairs
                    .map(|(low, high)| {
                        let range = high - low;
                        2.0 / if range == 0.0 { self.epsilon } else { range }
                    })
                    .collect(),
                vec![-1.0; size],
            ),
        };
        Ok(Normaliser {
            scale,
            offset,
            centre: first,
            ..identity
        })
    }
}

/// Whether a tensor of a model is a statistic of normalisation and no weight.
pub(super) fn is_embedded(name: &str) -> bool {
    [
        "normalize_inputs.",
        "normalize_targets.",
        "unnormalize_outputs.",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// Names of features, for [`Statistics::embedded`].
pub(super) fn names(features: &[Feature]) -> impl Iterator<Item = &str> {
    features.iter().map(|feature| feature.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(entries: &[(&str, &[f32])]) -> Statistics {
        let tensors: Vec<(String, Tensor)> = entries
            .iter()
            .map(|(name, values)| ((*name).to_owned(), Tensor::from_slice(values)))
            .collect();
        let named = tensors.iter().map(|(name, tensor)| (name.clone(), tensor));
        Statistics::of_tensors(Path::new("there"), EPSILON, named).unwrap()
    }

    fn normalised(normaliser: &Normaliser, row: &[f32]) -> Vec<f32> {
        let mut row = row.to_vec();
        normaliser.normalise(&mut row);
        row
    }

    #[test]
    fn every_mode_does_what_lerobot_does() {
        let all = statistics(&[
            ("a.min", &[0.0, 3.0]),
            ("a.max", &[10.0, 3.0]),
            ("a.mean", &[5.0, 1.0]),
            ("a.std", &[2.0, 0.0]),
            ("a.q01", &[1.0, 0.0]),
            ("a.q99", &[9.0, 4.0]),
            ("a.q10", &[2.0, 0.0]),
            ("a.q90", &[8.0, 4.0]),
        ]);
        let of = |mode| all.normaliser("a", mode, 2).unwrap();
        assert_eq!(normalised(&of(Mode::Identity), &[7.0, 8.0]), [7.0, 8.0]);
        // A constant is -1, exactly.
        assert_eq!(normalised(&of(Mode::MinMax), &[10.0, 3.0]), [1.0, -1.0]);
        assert_eq!(normalised(&of(Mode::MeanStd), &[9.0, 1.0]), [2.0, 0.0]);
        assert_eq!(normalised(&of(Mode::Quantiles), &[9.0, 0.0]), [1.0, -1.0]);
        assert_eq!(normalised(&of(Mode::Quantile10), &[5.0, 4.0]), [0.0, 1.0]);
        assert_eq!(of(Mode::MeanStd).maximum, [10.0, 3.0]);
        // Actions come back, those of a constant at its value.
        for (mode, expected) in [(Mode::MinMax, [10.0, 3.0]), (Mode::MeanStd, [7.0, 1.0])] {
            let mut row = [1.0, 0.5];
            of(mode).restore(&mut row);
            assert!((row[0] - expected[0]).abs() < 1e-5 && (row[1] - expected[1]).abs() < 1e-6);
        }
    }

    #[test]
    fn all_that_is_missing_is_named() {
        let few = statistics(&[("a.min", &[0.0]), ("b.mean", &[f32::INFINITY])]);
        let problems = few.normaliser("a", Mode::MinMax, 2).unwrap_err();
        assert_eq!(
            problems,
            ["`a.min` has 1 numbers, expected 2", "`a.max` is missing"]
        );
        let problems = few.normaliser("b", Mode::MeanStd, 1).unwrap_err();
        assert_eq!(
            problems,
            ["`b.mean` holds NaN or infinity", "`b.std` is missing"]
        );
        let renamed = statistics(&[("observation_state.min", &[0.0]), ("state.max", &[1.0])]);
        let problems = renamed
            .normaliser("observation.state", Mode::MinMax, 1)
            .unwrap_err();
        assert_eq!(
            problems,
            [
                "`observation.state.min` is missing (the file has `observation_state.min`: rename it)",
                "`observation.state.max` is missing (the file has `state.max`: rename it)"
            ]
        );
    }

    #[test]
    fn statistics_inside_a_model_are_found_by_feature() {
        let tensors = [(
            "normalize_inputs.buffer_observation_environment_state.min".to_owned(),
            Tensor::from_slice(&[1.0_f32]),
        )];
        assert!(is_embedded(&tensors[0].0));
        let features = ["observation.environment_state"].into_iter();
        let found = Statistics::embedded(
            Path::new("there"),
            &tensors,
            "normalize_inputs.buffer_",
            features,
        );
        let name = "observation.environment_state.min";
        assert_eq!(found.unwrap().values[name], [1.0]);
    }
}
