//! Policies of diffusion_policy and Streaming Diffusion Policy, from the `.ckpt` files that their
//! workspaces save: a file of `torch.save`, written with dill, that holds the configuration of the
//! run (`cfg`) and the weights of the policy, its average and its optimiser (`state_dicts`).
//!
//! Nothing in the file is executed, and the optimiser's numbers are not read. The noise schedule is
//! not stored and rebuilt from `cfg`.

mod class;
mod config;
mod denoiser;
mod observed;

use std::io::{Read, Seek};
use std::path::Path;

use tch::{Device, Kind, Tensor};

use self::observed::{IMAGENET, Observed, Shape};
use super::pickle::Value;
use super::torch_file::{self, Storages, TorchFileError};
use super::{Format, Imported, omegaconf};
use crate::checkpoint::{Checkpoint, Normalisers, WeightsFile};
use crate::{Error, Normaliser, Result};

/// Before the names of the network's parameters.
const NETWORK: &str = "model.";
/// Before the names of the normalisers' numbers.
const NORMALISERS: &str = "normalizer.params_dict.";
/// Where the configuration says what is observed.
const OBSERVED: [&str; 3] = ["policy", "shape_meta", "obs"];
/// Keys of a file that are read, and the one that is Python's own.
const NEEDED: [&str; 3] = ["cfg", "state_dicts", "pickles"];
/// What the policy keeps beside, or computes from its configuration.
const DERIVED: [&str; 5] = [
    "_dummy_variable",
    "mask_generator._dummy_variable",
    "model._dummy_variable",
    "model.mask",
    "model.memory_mask",
];

/// Reads a file.
///
/// # Errors
/// An incomplete or damaged file, one that could execute something, a policy that cannot be run, or
/// tensors that are missing or do not fit: all of a kind at once.
pub fn open(path: &Path, device: Device) -> Result<Imported> {
    let refuse = |reason: String| Error::Import {
        path: path.to_path_buf(),
        reason,
    };
    let torch = |error: TorchFileError| refuse(error.to_string());
    let (pickle, mut storages) = torch_file::open(path).map_err(torch)?;
    let payload = pickle.root();
    let (Some(cfg), Some(states)) = (payload.get("cfg"), payload.get("state_dicts")) else {
        return Err(refuse(format!(
            "{}, expected a dictionary with `cfg` and `state_dicts`, as the workspaces of \
             diffusion_policy save it",
            contents(payload)
        )));
    };
    let order = omegaconf::keys(cfg, &OBSERVED);
    let cfg = omegaconf::to_json(cfg).map_err(refuse)?;
    let described = config::describe(&cfg, &order).map_err(refuse)?;
    let which = if described.averaged {
        "ema_model"
    } else {
        "model"
    };
    let Some(state) = states.get(which) else {
        return Err(refuse(format!(
            "`state_dicts` is {}, expected `{which}` in it, since cfg.training.use_ema is {}",
            contents(states),
            described.averaged
        )));
    };
    let tensors = read_state(state, &mut storages).map_err(torch)?;
    let (normalising, weights): (Vec<_>, Vec<_>) = tensors
        .into_iter()
        .filter(|(name, _)| !DERIVED.contains(&name.as_str()) && !observed::is_derived(name))
        .partition(|(name, _)| name.starts_with(NORMALISERS));
    let normalisers = normalisers(&normalising, &described.observed, described.action)
        .map_err(|problems| refuse(problems.join("; ")))?;
    let weights = without_temperatures(weights).map_err(refuse)?;
    let file = WeightsFile {
        path,
        tensors: weights,
        name_in_file: &|name| {
            let seen = described.observed.name_in_file(name);
            seen.unwrap_or_else(|| format!("{NETWORK}{name}"))
        },
    };
    let policy = &described.policy;
    let checkpoint = Checkpoint::assemble(policy, &normalisers, described.action, &file, device)
        .map_err(|error| match error {
            // Said of `cfg`, under kinestream's names.
            Error::Config { .. } => refuse(error.to_string()),
            error => error,
        })?;
    let keys = |of: Value<'_>| -> Vec<String> {
        let entries = of.dictionary().into_iter().flatten();
        let keys = entries.filter_map(|(key, _)| key.text().map(str::to_owned));
        keys.collect()
    };
    let beside = keys(payload)
        .into_iter()
        .filter(|key| !NEEDED.contains(&key.as_str()));
    let states = keys(states).into_iter().filter(|key| key != which);
    let ignored = states.map(|key| format!("state_dicts.{key}")).chain(beside);
    Ok(Imported {
        checkpoint,
        format: Format::DiffusionPolicy,
        ignored: ignored.collect(),
        assumed: described.assumed,
    })
}

/// Names and tensors of a `state_dict`.
fn read_state<R: Read + Seek>(
    state: Value<'_>,
    storages: &mut Storages<R>,
) -> std::result::Result<Vec<(String, Tensor)>, TorchFileError> {
    let entries = state.dictionary().into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.text()?, value)))
        .map(|(name, value)| {
            let tensor = storages.tensor(name, value)?;
            // What torch.compile puts before the names of what it wraps.
            Ok((name.replace("_orig_mod.", ""), tensor))
        })
        .collect()
}

/// The weights without the temperatures of spatial softmaxes.
///
/// # Errors
/// In words: one that is not 1.
fn without_temperatures(
    weights: Vec<(String, Tensor)>,
) -> std::result::Result<Vec<(String, Tensor)>, String> {
    let (temperatures, weights): (Vec<_>, Vec<_>) = weights
        .into_iter()
        .partition(|(name, _)| observed::is_temperature(name));
    for (name, value) in temperatures {
        let value = f64::try_from(&value).unwrap_or(f64::NAN);
        if value != 1.0 {
            return Err(format!("tensor `{name}` is {value}, expected 1"));
        }
    }
    Ok(weights)
}

/// All normalisers, or everything that is missing or wrong.
fn normalisers(
    tensors: &[(String, Tensor)],
    observed: &Observed,
    action: usize,
) -> std::result::Result<Normalisers, Vec<String>> {
    let mut problems = Vec::new();
    let mut numbers = |name: String, size: usize, required: bool| -> Vec<f32> {
        let name = format!("{NORMALISERS}{name}");
        let Some((_, tensor)) = tensors.iter().find(|(found, _)| *found == name) else {
            if required {
                problems.push(format!("tensor `{name}` [{size}] is missing"));
            }
            return Vec::new();
        };
        let fits = tensor.size() == [size as i64] || tensor.size() == [1];
        if !fits || !tensor.is_floating_point() {
            problems.push(format!(
                "tensor `{name}` has shape {:?} and type {:?}, expected [{size}] floating-point \
                 numbers",
                tensor.size(),
                tensor.kind()
            ));
            return Vec::new();
        }
        // A single number, as for an identity, stands for all.
        let all = tensor.to_kind(Kind::Float).expand([size as i64], false);
        Vec::try_from(all.contiguous()).unwrap_or_default()
    };
    let mut of = |part: &str, size| Normaliser {
        scale: numbers(format!("{part}.scale"), size, true),
        offset: numbers(format!("{part}.offset"), size, true),
        centre: Vec::new(),
        minimum: numbers(format!("{part}.input_stats.min"), size, false),
        maximum: numbers(format!("{part}.input_stats.max"), size, false),
    };
    let (mut parts, mut images) = (Vec::new(), Vec::new());
    for part in &observed.parts {
        match part.shape {
            Shape::Numbers(size) => parts.push(of(&part.key, size)),
            Shape::Image(_) => {
                let mut image = of(&part.key, 3);
                if observed.as_imagenet && image.scale.len() == image.offset.len() {
                    for (at, (mean, deviation)) in
                        std::iter::zip(IMAGENET[0], IMAGENET[1]).enumerate()
                    {
                        image.offset[at] = (image.offset[at] - mean) / deviation;
                        image.scale[at] /= deviation;
                    }
                }
                images.push(image);
            }
        }
    }
    let found = Normalisers {
        observation: Normaliser::joined(&parts),
        action: of("action", action),
        images,
    };
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}

/// What a value is, with its keys.
fn contents(value: Value<'_>) -> String {
    let Some(entries) = value.dictionary() else {
        return value.describe();
    };
    let keys: Vec<_> = entries
        .filter_map(|(key, _)| key.text())
        .take(10)
        .map(|key| format!("`{key}`"))
        .collect();
    if keys.is_empty() {
        return "an empty dictionary".into();
    }
    format!("a dictionary with {}", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinestream_zarr::zip;

    /// The error of a file with this pickle.
    fn message(pickle: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.ckpt");
        std::fs::write(&path, zip::write(&[("archive/data.pkl", pickle)])).unwrap();
        match open(&path, Device::Cpu) {
            Ok(_) => panic!("it was opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn nothing_of_a_hostile_file_is_executed() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("executed");
        let command = format!("touch {}", marker.display());
        let mut pickle = b"\x80\x02}X\x03\x00\x00\x00cfgcposix\nsystem\nX".to_vec();
        pickle.extend((command.len() as u32).to_le_bytes());
        pickle.extend(command.as_bytes());
        pickle.extend(b"\x85Rs.");
        let message = message(&pickle);
        assert!(
            message.contains("policy.ckpt: it refers to `posix.system`"),
            "{message}"
        );
        assert!(!marker.exists());
    }

    #[test]
    fn other_contents_are_told() {
        let found = message(b"\x80\x02}.");
        assert!(
            found.contains("an empty dictionary, expected a dictionary with `cfg`"),
            "{found}"
        );
        let found = message(b"\x80\x02}X\x05\x00\x00\x00modelNs.");
        assert!(
            found.contains("a dictionary with `model`, expected"),
            "{found}"
        );
        let found = message(b"\x80\x02K\x05.");
        assert!(
            found.contains("an integer, expected a dictionary"),
            "{found}"
        );
        let both = b"\x80\x02}(X\x03\x00\x00\x00cfg}X\x0b\x00\x00\x00state_dicts}u.";
        let found = message(both);
        assert!(
            found.contains("`cfg.policy._target_` is missing"),
            "{found}"
        );
    }
}
