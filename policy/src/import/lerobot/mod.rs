//! LeRobot's diffusion policy, from the folder that `save_pretrained` writes.
//!
//! `config.json` says what the networks are, `model.safetensors` holds their weights, and the
//! statistics of normalisation stand in `policy_preprocessor.json` and `policy_postprocessor.json`
//! with a safetensors file each (since version 0.4) or inside the model (before). Everything is read
//! from the files; the defaults of LeRobot changed between versions.

mod config;
mod features;
mod processor;
mod statistics;

use std::path::Path;

use kinestream_diffusion::weights;
use tch::{Device, Tensor};

use self::config::Config;
use self::processor::Processors;
use self::statistics::Statistics;
use super::{Format, ImportOptions, Imported, diagnosis};
use crate::checkpoint::{
    CONFIG_FILE, Checkpoint, Normalisers, VISION_PREFIX, WEIGHTS_FILE, WeightsFile,
};
use crate::{Error, Normaliser, Result};

/// Actions per second where nobody says otherwise: the rate belongs to LeRobot's data sets, not to
/// its policies.
pub const ASSUMED_RATE_HZ: f64 = 10.0;

/// Whether a `config.json` is one of LeRobot's, of whatever policy.
pub(super) fn wrote(config: &serde_json::Value) -> bool {
    let has = |key| config.get(key).is_some();
    has("type") || has("input_shapes") || has("input_features") && has("output_features")
}

/// Reads a folder.
///
/// # Errors
/// Files that are missing or damaged, a policy of another kind, unknown keys or steps of a
/// processor, tensors or statistics that are missing or do not fit: all of a kind at once.
pub fn open(folder: &Path, device: Device, options: &ImportOptions) -> Result<Imported> {
    let config_path = folder.join(CONFIG_FILE);
    // Weights that are there do not help a policy of another kind.
    let config = Config::read(&config_path, &options.ignored_keys)?;
    let weights_path = folder.join(WEIGHTS_FILE);
    if !weights_path.is_file() {
        return Err(diagnosis::without_weights(folder));
    }
    let (embedded, tensors): (Vec<_>, Vec<_>) = weights::read(&weights_path)?
        .into_iter()
        .map(|(name, tensor)| (name.replace("_orig_mod.", ""), tensor))
        .partition(|(name, _)| statistics::is_embedded(name));
    let processors = match Processors::read(folder, &config)? {
        Some(processors) => processors,
        None => Processors::of_model(&config, &weights_path, &embedded)?,
    };
    let normalisers = normalisers(&config, &processors)?;
    let name = folder.file_name().map_or("imported".into(), |name| {
        name.to_string_lossy().into_owned()
    });
    let (policy, called) = config.policy(&name, &processors.renamed);
    let separate = config.separate_encoders;
    let file = WeightsFile {
        path: &weights_path,
        tensors: tensors
            .into_iter()
            .filter(|(name, _)| !is_derived(name))
            .collect::<Vec<(String, Tensor)>>(),
        name_in_file: &|name| name_in_file(name, separate),
    };
    let checkpoint = Checkpoint::assemble(&policy, &normalisers, config.action, &file, device)
        .map_err(|error| {
            // What the weights lack is said of their file; the rest comes from the configuration.
            match error {
                Error::Config { .. }
                | Error::Diffusion(
                    kinestream_diffusion::Error::Config { .. }
                    | kinestream_diffusion::Error::Horizon { .. },
                ) => Error::Import {
                    path: config_path.clone(),
                    reason: error.to_string(),
                },
                error => error,
            }
        })?;
    let mut assumed = vec![format!(
        "actions per second: {ASSUMED_RATE_HZ}, since LeRobot keeps the rate with its data sets"
    )];
    assumed.extend(config.assumed);
    assumed.extend(called);
    assumed.extend(processors.assumed);
    let ignored = config.ignored.into_iter().chain(processors.ignored);
    Ok(Imported {
        checkpoint,
        format: Format::Lerobot,
        assumed,
        ignored: ignored.collect(),
    })
}

/// One normaliser for all numbers of an observation, one for actions, one for every camera.
fn normalisers(config: &Config, processors: &Processors) -> Result<Normalisers> {
    let mut missing = Vec::new();
    let mut fit = |statistics: &Statistics, name: &str, kind, size| {
        let mode = processors.mode(kind);
        statistics
            .normaliser(name, mode, size)
            .unwrap_or_else(|mut problems| {
                missing.append(&mut problems);
                Normaliser::identity(size)
            })
    };
    let inputs = &processors.inputs;
    let numbers: Vec<Normaliser> = config
        .numbers()
        .map(|feature| fit(inputs, &feature.name, feature.kind, feature.shape[0]))
        .collect();
    let images = config
        .cameras()
        .map(|feature| fit(inputs, &feature.name, feature.kind, 3))
        .collect();
    let action = fit(
        &processors.outputs,
        features::ACTION,
        features::Kind::Action,
        config.action,
    );
    if !missing.is_empty() {
        return Err(Error::Import {
            path: inputs.path.clone(),
            reason: format!(
                "statistics that normalisation needs: {}; save the policy again with the statistics \
                 of its data set",
                missing.join(", ")
            ),
        });
    }
    Ok(Normalisers {
        observation: Normaliser::joined(&numbers),
        action,
        images,
    })
}

/// Tensors that follow from the configuration or count training steps.
fn is_derived(name: &str) -> bool {
    name.ends_with(".num_batches_tracked") || name.ends_with(".pool.pos_grid")
}

/// What LeRobot calls a parameter.
fn name_in_file(name: &str, separate_encoders: bool) -> String {
    match name.strip_prefix(VISION_PREFIX) {
        // Names begin with the number of the encoder; one that is shared has none there.
        Some(encoder) if separate_encoders => format!("diffusion.rgb_encoder.{encoder}"),
        Some(encoder) => {
            let inside = encoder
                .split_once('.')
                .map_or(encoder, |(_, inside)| inside);
            format!("diffusion.rgb_encoder.{inside}")
        }
        None => {
            let name = name
                .replace(".blocks.0.", ".conv1.")
                .replace(".blocks.1.", ".conv2.")
                .replace(".2.conv.", ".2.");
            format!("diffusion.unet.{name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_called_as_lerobot_calls_them() {
        let name = |name| name_in_file(name, false);
        assert_eq!(
            name("down_modules.0.1.blocks.1.block.0.weight"),
            "diffusion.unet.down_modules.0.1.conv2.block.0.weight"
        );
        assert_eq!(
            name("up_modules.1.2.conv.bias"),
            "diffusion.unet.up_modules.1.2.bias"
        );
        assert_eq!(
            name("final_conv.0.block.1.bias"),
            "diffusion.unet.final_conv.0.block.1.bias"
        );
        assert_eq!(
            name("vision.0.backbone.4.0.conv1.weight"),
            "diffusion.rgb_encoder.backbone.4.0.conv1.weight"
        );
        assert_eq!(
            name_in_file("vision.1.out.bias", true),
            "diffusion.rgb_encoder.1.out.bias"
        );
    }
}
