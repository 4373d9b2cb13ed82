//! `config.json` of a LeRobot diffusion policy.

use std::collections::HashMap;
use std::path::Path;

use kinestream_diffusion::network::vision::{Backbone, BackboneNorm, Pool, VisionConfig};
use kinestream_diffusion::network::{Activation, UNetConfig, UNetKind};
use kinestream_diffusion::schedule::{BetaSchedule, PosteriorBeta, TimestepSpacing};
use kinestream_diffusion::{NetworkConfig, PredictionType, SamplerConfig, ScheduleConfig, Solver};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::diagnosis;
use super::ASSUMED_RATE_HZ;
use super::features::{ACTION, Feature, Kind, Ordered, STATE, Written};
use super::statistics::Mode;
use crate::config::{
    Alignment, ImageSize, ObservationPart, PlanConfig, PlanInit, PlanMode, TaskConfig,
};
use crate::{Error, PolicyConfig, Result};

/// Keys that say how weights were trained, kept or sent somewhere, not what they compute.
const TRAINING: [&str; 25] = [
    "compile_mode",
    "compile_model",
    "crop_is_random",
    "device",
    "do_mask_loss_for_padding",
    "drop_n_last_frames",
    "gradient_checkpointing",
    "license",
    "optimizer_betas",
    "optimizer_eps",
    "optimizer_lr",
    "optimizer_weight_decay",
    "pretrained_backbone_weights",
    "pretrained_path",
    "pretrained_revision",
    "private",
    "push_to_hub",
    "repo_id",
    "scheduler_name",
    "scheduler_warmup_steps",
    "tags",
    "type",
    "use_amp",
    "input_features",
    "output_features",
];

/// Under this name the numbers of an observation come.
const NUMBERS_KEY: &str = "state";

/// Groups of the group normalisation of the U-Net's last block, whatever `n_groups` says.
const LAST_GROUPS: i64 = 8;

/// What a `config.json` says of running the policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) inputs: Vec<Feature>,
    /// Numbers per action.
    pub(super) action: usize,
    /// How features of each kind are normalised; those not named are not.
    pub(super) modes: HashMap<Kind, Mode>,
    pub(super) separate_encoders: bool,
    /// What running does not need, in words.
    pub(super) ignored: Vec<String>,
    /// What is not said and was taken in its place.
    pub(super) assumed: Vec<String>,
    observation_steps: usize,
    horizon: usize,
    action_steps: usize,
    levels: usize,
    network: NetworkConfig,
    vision: Option<VisionConfig>,
    schedule: ScheduleConfig,
    sampler: SamplerConfig,
}

/// Objects whose order counts, in both layouts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shapes {
    input_features: Ordered<Written>,
    output_features: Ordered<Written>,
    input_shapes: Ordered<Vec<usize>>,
    output_shapes: Ordered<Vec<usize>>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// No JSON, a policy of another type, or everything that is missing, unknown or cannot be run.
    pub(super) fn read(path: &Path, ignored_keys: &[String]) -> Result<Self> {
        let text = diagnosis::read_text(path)?;
        let json = |error: serde_json::Error| Error::Json {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let values: Map<String, Value> = serde_json::from_str(&text).map_err(json)?;
        let refuse = |reason: String| Error::Import {
            path: path.to_path_buf(),
            reason,
        };
        if let Some(kind) = values.get("type").filter(|kind| *kind != "diffusion") {
            return Err(refuse(format!(
                "a LeRobot policy of type {kind}, expected \"diffusion\", the only one that can be run"
            )));
        }
        let is_typed = values.contains_key("type") || values.contains_key("input_shapes");
        if !is_typed && !values.contains_key("noise_scheduler_type") {
            return Err(refuse(
                "a LeRobot policy without `type`, and nothing of it is a diffusion policy's (no `noise_scheduler_type`); add \
                 \"type\" with the name of its kind; \"diffusion\" is the only one that can be run"
                    .into(),
            ));
        }
        let shapes: Shapes = serde_json::from_str(&text).map_err(json)?;
        let mut fields = Fields {
            values,
            problems: Vec::new(),
        };
        let mut config = Self::build(&mut fields, shapes);
        if !is_typed {
            config.assumed.push(
                "a diffusion policy: config.json has no `type`, but `noise_scheduler_type`".into(),
            );
        }
        let (problems, ignored) = fields.finish(ignored_keys);
        config.ignored.extend(ignored);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(refuse(problems.join("; ")))
        }
    }

    fn build(fields: &mut Fields, shapes: Shapes) -> Self {
        let mut ignored = Vec::new();
        let written = |features: Ordered<Written>, shapes: Ordered<Vec<usize>>| {
            let old = shapes.0.into_iter().map(|(name, shape)| {
                let kind = Kind::of_feature(&name);
                let known = Kind::ALL.iter().find(|(_, known)| Some(*known) == kind);
                let kind = known.map_or("unknown", |(name, _)| name).to_owned();
                (name, Written { kind, shape })
            });
            features.0.into_iter().chain(old).collect::<Vec<_>>()
        };
        let inputs = inputs(
            fields,
            written(shapes.input_features, shapes.input_shapes),
            &mut ignored,
        );
        let action = action(
            fields,
            written(shapes.output_features, shapes.output_shapes),
        );
        let modes = modes(fields);
        if fields.optional("use_peft", false) {
            fields.problem("`use_peft` is true: merge the adapters into the weights first");
        }
        let separate_encoders = fields.optional("use_separate_rgb_encoder_per_camera", false);
        let vision = vision(fields, separate_encoders);
        let has_cameras = inputs.iter().any(|feature| feature.kind == Kind::Visual);
        let train_timesteps = fields.required("num_train_timesteps");
        Self {
            action,
            modes,
            separate_encoders,
            ignored,
            assumed: Vec::new(),
            observation_steps: fields.required("n_obs_steps"),
            horizon: fields.required("horizon"),
            action_steps: fields.required("n_action_steps"),
            levels: fields
                .optional("num_inference_steps", None)
                .unwrap_or(train_timesteps),
            network: network(fields),
            vision: has_cameras.then_some(vision),
            schedule: ScheduleConfig {
                beta_schedule: fields.named(
                    "beta_schedule",
                    &[
                        ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
                        ("linear", BetaSchedule::Linear),
                        ("scaled_linear", BetaSchedule::ScaledLinear),
                    ],
                ),
                train_timesteps,
                beta_start: fields.required("beta_start"),
                beta_end: fields.required("beta_end"),
                spacing: TimestepSpacing::Leading,
                step_beta: PosteriorBeta::Ratio,
            },
            sampler: SamplerConfig {
                prediction: fields.named(
                    "prediction_type",
                    &[
                        ("epsilon", PredictionType::Epsilon),
                        ("sample", PredictionType::Sample),
                    ],
                ),
                solver: fields.named(
                    "noise_scheduler_type",
                    &[("DDPM", Solver::DDPM), ("DDIM", Solver::DDIM)],
                ),
                clip_sample: {
                    let bound = fields.required("clip_sample_range");
                    fields.required::<bool>("clip_sample").then_some(bound)
                },
            },
            inputs,
        }
    }

    /// Features of numbers, in the order of the condition: the state before the images, that of the
    /// environment behind them.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &Feature> {
        let inputs = self.inputs.iter();
        inputs.filter(|feature| feature.kind != Kind::Visual)
    }

    /// Features of images, in the order of the condition.
    pub(super) fn cameras(&self) -> impl Iterator<Item = &Feature> {
        let inputs = self.inputs.iter();
        inputs.filter(|feature| feature.kind == Kind::Visual)
    }

    /// The policy, and what of it is called otherwise than in the file; `renamed` has what robots call a feature by its
    /// name in the policy.
    pub(super) fn policy(
        &self,
        name: &str,
        renamed: &HashMap<String, String>,
    ) -> (PolicyConfig, Vec<String>) {
        let parts = self.inputs.iter().map(|feature| {
            let image = match feature.shape[..] {
                [_, height, width] => Some(ImageSize { height, width }),
                _ => None,
            };
            ObservationPart {
                array: renamed.get(&feature.name).unwrap_or(&feature.name).clone(),
                columns: image.is_none().then(|| (0..feature.shape[0]).collect()),
                image,
            }
        });
        let mut observation: Vec<ObservationPart> = parts.collect();
        let called = tell_cameras_apart(&mut observation);
        let policy = PolicyConfig {
            task: TaskConfig {
                name: name.to_owned(),
                observation,
                action: ACTION.into(),
                rate_hz: ASSUMED_RATE_HZ,
            },
            plan: PlanConfig {
                mode: PlanMode::Chunk,
                horizon: self.horizon,
                observation_steps: self.observation_steps,
                action_steps: self.action_steps,
                levels: Some(self.levels),
                alignment: Alignment::OldestObservation,
                primer: PlanInit::Zero,
                primer_columns: None,
                commit_ahead: 0,
                inpaint: None,
                iterate: None,
                restart: None,
                guidance: Vec::new(),
            },
            network: self.network.clone(),
            vision: self.vision.clone(),
            schedule: self.schedule.clone(),
            sampler: self.sampler.clone(),
        };
        (policy, called)
    }
}

/// Gives cameras whose short names are another's, or that of the numbers, their whole names, and says so.
fn tell_cameras_apart(parts: &mut [ObservationPart]) -> Vec<String> {
    let names: Vec<String> = parts
        .iter()
        .map(|part| part.short_name().to_owned())
        .collect();
    let mut called = Vec::new();
    for (at, part) in parts.iter_mut().enumerate() {
        let is_taken = names[at] == NUMBERS_KEY
            || names
                .iter()
                .enumerate()
                .any(|(other, name)| other != at && *name == names[at]);
        if part.image.is_some() && is_taken {
            let new = part.array.replace('.', "_");
            called.push(format!(
                "camera `{}` is obs/{new}, since obs/{} would be another's, too",
                part.array, names[at]
            ));
            part.array = new;
        }
    }
    called
}

/// Input features in the order of the condition: state, images, environment.
fn inputs(
    fields: &mut Fields,
    written: Vec<(String, Written)>,
    ignored: &mut Vec<String>,
) -> Vec<Feature> {
    let mut features = Vec::new();
    for (name, Written { kind, shape }) in written {
        let Some(known) = Kind::named(&kind) else {
            fields.problem(format!(
                "input feature `{name}` of type {kind} is not supported"
            ));
            continue;
        };
        let fits = match known {
            Kind::Visual => shape.len() == 3 && shape[0] == 3,
            _ => shape.len() == 1 && shape[0] > 0,
        };
        match known {
            _ if !fits => {
                let expected = match known {
                    Kind::Visual => "[3, height, width]",
                    _ => "[numbers]",
                };
                fields.problem(format!(
                    "input feature `{name}` has shape {shape:?}, expected {expected}"
                ));
            }
            Kind::State if name != STATE => ignored.push(format!(
                "input feature `{name}`: the policy observes `{STATE}` alone"
            )),
            Kind::Action => ignored.push(format!("input feature `{name}`: it is an action")),
            _ => features.push(Feature {
                name,
                kind: known,
                shape,
            }),
        }
    }
    if !features.iter().any(|feature| feature.kind == Kind::State) {
        fields.problem(format!("input feature `{STATE}` is missing"));
    }
    let count = |kind| {
        features
            .iter()
            .filter(|feature| feature.kind == kind)
            .count()
    };
    if count(Kind::Environment) > 1 {
        fields.problem("more than one input feature of type ENV, expected one");
    }
    let mut cameras = features
        .iter()
        .filter(|feature| feature.kind == Kind::Visual);
    if let Some(first) = cameras.next()
        && let Some(other) = cameras.find(|camera| camera.shape != first.shape)
    {
        fields.problem(format!(
            "input features `{}` {:?} and `{}` {:?}: LeRobot's images are of one size",
            first.name, first.shape, other.name, other.shape
        ));
    }
    features.sort_by_key(|feature| match feature.kind {
        Kind::State | Kind::Action => 0,
        Kind::Visual => 1,
        Kind::Environment => 2,
    });
    features
}

fn action(fields: &mut Fields, written: Vec<(String, Written)>) -> usize {
    match &written[..] {
        [(name, Written { shape, .. })] if name == ACTION && shape.len() == 1 => shape[0],
        _ => {
            let found: Vec<String> = written
                .iter()
                .map(|(name, Written { shape, .. })| format!("`{name}` {shape:?}"))
                .collect();
            fields.problem(format!(
                "output features are [{}], expected `{ACTION}` [numbers] alone",
                found.join(", ")
            ));
            1
        }
    }
}

/// Normalisation by kind of feature, from either layout.
fn modes(fields: &mut Fields) -> HashMap<Kind, Mode> {
    let none = HashMap::<String, String>::new;
    let mut modes = HashMap::new();
    let by_kind = fields.optional("normalization_mapping", none());
    let mut by_feature = fields.optional("input_normalization_modes", none());
    by_feature.extend(fields.optional("output_normalization_modes", none()));
    let kinds = by_kind
        .iter()
        .map(|(key, mode)| (key, Kind::named(key), mode));
    let features = by_feature
        .iter()
        .map(|(key, mode)| (key, Kind::of_feature(key), mode));
    for (key, kind, mode) in kinds.chain(features) {
        match (kind, Mode::named(mode)) {
            // What is not observed needs no normalisation.
            (None, _) => {}
            (_, None) => fields.problem(format!(
                "normalisation `{mode}` of `{key}` is not supported"
            )),
            (Some(kind), Some(mode)) => {
                if modes.insert(kind, mode).is_some_and(|other| other != mode) {
                    fields.problem(format!(
                        "features of the kind of `{key}` are normalised in different ways"
                    ));
                }
            }
        }
    }
    fields.values.remove("input_shapes");
    fields.values.remove("output_shapes");
    modes
}

fn network(fields: &mut Fields) -> NetworkConfig {
    let groups = fields.required("n_groups");
    if groups != LAST_GROUPS && groups != 0 {
        fields.problem(format!(
            "`n_groups` is {groups}, expected {LAST_GROUPS}, which the last block of LeRobot's U-Net \
             always has"
        ));
    }
    NetworkConfig::unet(
        UNetKind::DiffusionPolicy,
        UNetConfig {
            channels: fields.required("down_dims"),
            level_embedding: fields.required("diffusion_step_embed_dim"),
            // Not used by this kind of network.
            observation_embedding: 256,
            kernel_size: fields.required("kernel_size"),
            groups,
            activation: Activation::Mish,
            modulation_scale: fields.required("use_film_scale_modulation"),
            ..UNetConfig::default()
        },
    )
}

fn vision(fields: &mut Fields, separate: bool) -> VisionConfig {
    let resize: Option<[usize; 2]> = fields.optional("resize_shape", None);
    let crop: Option<[usize; 2]> = fields.optional("crop_shape", None);
    let ratio: f64 = fields.optional("crop_ratio", 1.0);
    let crop = match resize {
        // LeRobot derives the crop where it scales, and has none at ratio 1.
        Some(sides) => {
            (ratio < 1.0).then(|| sides.map(|side| (side as f64 * ratio).floor() as usize))
        }
        None => crop,
    };
    let backbone = fields.named(
        "vision_backbone",
        &[
            ("resnet18", Backbone::Resnet18),
            ("resnet34", Backbone::Resnet34),
        ],
    );
    let keypoints = fields.required("spatial_softmax_num_keypoints");
    let grouped: bool = fields.required("use_group_norm");
    VisionConfig {
        backbone,
        width: 64,
        stages: 4,
        norm: if grouped {
            BackboneNorm::Group
        } else {
            BackboneNorm::Batch
        },
        resize,
        antialias: true,
        crop,
        pool: Pool::SpatialSoftmax { keypoints },
        projection: Some(2 * keypoints),
        separate,
    }
}

/// The keys of a file, taken one by one, and all that is wrong with them.
struct Fields {
    values: Map<String, Value>,
    problems: Vec<String>,
}

impl Fields {
    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// A value that every version writes.
    fn required<T: DeserializeOwned + Default>(&mut self, key: &str) -> T {
        if !self.values.contains_key(key) {
            self.problem(format!("`{key}` is missing"));
        }
        self.optional(key, T::default())
    }

    /// A value that not every version writes.
    fn optional<T: DeserializeOwned>(&mut self, key: &str, default: T) -> T {
        let Some(value) = self.values.remove(key) else {
            return default;
        };
        let text = value.to_string();
        serde_json::from_value(value).unwrap_or_else(|error| {
            self.problem(format!("`{key}` is {text}: {error}"));
            default
        })
    }

    /// One of some names; the first where it is none of them.
    fn named<T: Copy>(&mut self, key: &str, known: &[(&str, T)]) -> T {
        let (_, first) = known[0];
        let before = self.problems.len();
        let found: String = self.required(key);
        match known.iter().find(|(name, _)| *name == found) {
            Some((_, value)) => *value,
            None => {
                if self.problems.len() == before {
                    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                    let names = names.join(" or ");
                    self.problem(format!("`{key}` is \"{found}\", expected {names}"));
                }
                first
            }
        }
    }

    /// Everything that is wrong, keys that nobody knows included, and what is passed over: null says nothing, and `ignored`
    /// are not asked about.
    fn finish(mut self, ignored: &[String]) -> (Vec<String>, Vec<String>) {
        let unknown = std::mem::take(&mut self.values)
            .into_iter()
            .filter(|(key, _)| !TRAINING.contains(&key.as_str()));
        let (mut refused, mut passed) = (Vec::new(), Vec::new());
        for (key, value) in unknown {
            if value.is_null() {
                passed.push(format!("config.json: `{key}`, which is null"));
            } else if ignored.contains(&key) {
                passed.push(format!(
                    "config.json: `{key}`, {value}, as --ignore-key asks"
                ));
            } else {
                refused.push(format!("`{key}` ({value})"));
            }
        }
        if !refused.is_empty() {
            self.problem(format!(
                "unknown: {}; what they change cannot be told: pass over what running does not need with --ignore-key KEY",
                refused.join(", ")
            ));
        }
        (self.problems, passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As LeRobot 0.6 writes it, without the keys of training.
    const RECENT: &str = r#"{
        "type": "diffusion", "n_obs_steps": 2, "horizon": 64, "n_action_steps": 32,
        "input_features": {
            "observation.environment_state": {"type": "ENV", "shape": [3]},
            "observation.images.wrist": {"type": "VISUAL", "shape": [3, 96, 128]},
            "observation.images.top": {"type": "VISUAL", "shape": [3, 96, 128]},
            "observation.state": {"type": "STATE", "shape": [6]},
            "observation.effort": {"type": "STATE", "shape": [6]}
        },
        "output_features": {"action": {"type": "ACTION", "shape": [7]}},
        "normalization_mapping": {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "QUANTILES"},
        "vision_backbone": "resnet34", "resize_shape": [64, 80], "crop_ratio": 0.9,
        "crop_shape": null, "use_group_norm": false, "spatial_softmax_num_keypoints": 32,
        "use_separate_rgb_encoder_per_camera": true, "down_dims": [512, 1024, 2048],
        "kernel_size": 5, "n_groups": 8, "diffusion_step_embed_dim": 128,
        "use_film_scale_modulation": false, "noise_scheduler_type": "DDPM",
        "num_train_timesteps": 100, "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001,
        "beta_end": 0.02, "prediction_type": "epsilon", "clip_sample": true,
        "clip_sample_range": 1.0, "num_inference_steps": null, "device": "cuda"
    }"#;

    fn read(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Config::read(&path, &[])
    }

    fn changed(change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut values = serde_json::from_str(RECENT).unwrap();
        change(&mut values);
        serde_json::to_string(&values).unwrap()
    }

    #[test]
    fn everything_is_taken_from_the_file() {
        let config = read(RECENT).unwrap();
        let names: Vec<_> = config
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        // In the order of the condition; cameras in that of the file.
        assert_eq!(
            names,
            [
                "observation.state",
                "observation.images.wrist",
                "observation.images.top",
                "observation.environment_state"
            ]
        );
        assert_eq!(config.modes[&Kind::Action], Mode::Quantiles);
        assert!(!config.modes.contains_key(&Kind::Environment));
        assert!(
            config.ignored[0].contains("observation.effort"),
            "{:?}",
            config.ignored
        );
        let renamed = [(
            "observation.images.top".to_owned(),
            "observation.images.up".to_owned(),
        )];
        let (policy, called) = config.policy("arm", &renamed.into());
        assert_eq!(called, [""; 0]);
        policy.check().unwrap();
        assert_eq!(policy.plan.levels, Some(100));
        assert_eq!(policy.condition_size(9), 9 + 2 * 64);
        let vision = policy.vision.as_ref().unwrap();
        assert_eq!(
            (vision.resize, vision.crop),
            (Some([64, 80]), Some([57, 72]))
        );
        assert!(vision.separate && !policy.network.unet_config().unwrap().modulation_scale);
        let cameras: Vec<_> = policy
            .cameras()
            .map(|(part, _)| part.short_name())
            .collect();
        assert_eq!(cameras, ["wrist", "up"]);
    }

    #[test]
    fn the_oldest_layout_is_read_too() {
        let text = changed(|values| {
            for key in [
                "type",
                "input_features",
                "output_features",
                "normalization_mapping",
            ] {
                values.remove(key);
            }
            let old = r#"{
                "input_shapes": {"observation.image": [3, 96, 96], "observation.state": [2]},
                "output_shapes": {"action": [2]},
                "input_normalization_modes": {
                    "observation.image": "mean_std", "observation.state": "min_max"
                },
                "output_normalization_modes": {"action": "min_max"}
            }"#;
            values.extend(serde_json::from_str::<Map<String, Value>>(old).unwrap());
        });
        let config = read(&text).unwrap();
        assert_eq!(config.numbers().count(), 1);
        assert_eq!(config.cameras().next().unwrap().shape, [3, 96, 96]);
        assert_eq!(config.modes[&Kind::Visual], Mode::MeanStd);
        assert_eq!(config.modes[&Kind::Action], Mode::MinMax);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = changed(|values| {
            values.remove("horizon");
            values.remove("kernel_size");
            values["n_groups"] = 4.into();
            values["vision_backbone"] = "resnet50".into();
            values["clip_sample"] = "yes".into();
            values.insert("use_flow".into(), true.into());
            values["input_features"]["observation.language"] =
                serde_json::json!({"type": "LANGUAGE", "shape": [1]});
        });
        let message = read(&text).unwrap_err().to_string();
        for part in [
            "config.json",
            "`horizon` is missing",
            "`kernel_size` is missing",
            "`n_groups` is 4, expected 8",
            "`vision_backbone` is \"resnet50\", expected resnet18 or resnet34",
            "`clip_sample` is \"yes\"",
            "unknown: `use_flow`",
            "`observation.language` of type LANGUAGE is not supported",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn cameras_of_one_short_name_keep_their_whole_ones() {
        let text = changed(|values| {
            let features = values["input_features"].as_object_mut().unwrap();
            features.remove("observation.images.wrist");
            for name in [
                "observation.image",
                "observation.images.image",
                "observation.images.state",
            ] {
                features.insert(
                    name.to_owned(),
                    serde_json::json!({"type": "VISUAL", "shape": [3, 96, 128]}),
                );
            }
        });
        let (policy, called) = read(&text).unwrap().policy("arm", &HashMap::new());
        let mut cameras: Vec<_> = policy
            .cameras()
            .map(|(part, _)| part.short_name())
            .collect();
        cameras.sort_unstable();
        let expected = [
            "observation_image",
            "observation_images_image",
            "observation_images_state",
            "top",
        ];
        assert_eq!(cameras, expected);
        assert_eq!(called.len(), 3, "{called:?}");
    }

    #[test]
    fn keys_that_say_nothing_or_are_said_to_are_passed_over() {
        let text = changed(|values| {
            values.insert("dtype".into(), Value::Null);
            values.insert("use_flow".into(), true.into());
        });
        let message = read(&text).unwrap_err().to_string();
        assert!(message.contains("unknown: `use_flow` (true)"), "{message}");
        assert!(
            message.contains("--ignore-key") && !message.contains("dtype"),
            "{message}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path, &["use_flow".to_owned()]).unwrap();
        assert!(
            config
                .ignored
                .iter()
                .any(|text| text.contains("`dtype`, which is null"))
        );
        assert!(
            config
                .ignored
                .iter()
                .any(|text| text.contains("`use_flow`, true"))
        );
    }

    #[test]
    fn a_file_without_a_type_is_known_by_its_scheduler() {
        let config = read(&changed(|values| drop(values.remove("type")))).unwrap();
        assert!(
            config.assumed[0].contains("no `type`"),
            "{:?}",
            config.assumed
        );
        let text = changed(|values| {
            values.remove("type");
            values.remove("noise_scheduler_type");
        });
        let message = read(&text).unwrap_err().to_string();
        assert!(message.contains("without `type`"), "{message}");
    }

    #[test]
    fn another_policy_is_named() {
        let message = read(r#"{"type": "act"}"#).unwrap_err().to_string();
        assert!(
            message.contains("\"act\"") && message.contains("diffusion"),
            "{message}"
        );
        let message = read("{").unwrap_err().to_string();
        assert!(message.contains("line 1"), "{message}");
    }
}
