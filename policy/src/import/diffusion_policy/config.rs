//! `cfg` of a checkpoint: which policy it is and how it is run.

use kinestream_diffusion::schedule::{BetaSchedule, PosteriorBeta, TimestepSpacing};
use kinestream_diffusion::{Ddim, PredictionType, SamplerConfig, ScheduleConfig, Solver};
use serde_json::Value as Json;

use super::class::{Class, known};
use super::denoiser;
use super::observed::{self, Encoder, Observed, Shape};
use crate::PolicyConfig;
use crate::config::{Alignment, ObservationPart, PlanConfig, PlanInit, PlanMode, TaskConfig};
use crate::import::fields::Fields;

/// Actions per second where no environment says otherwise.
const ASSUMED_RATE_HZ: f64 = 10.0;

/// The policies that can be run, by the names of their classes.
const POLICIES: [(&str, (Class, Encoder)); 7] = [
    ("DiffusionUnetLowdimPolicy", (Class::Unet, Encoder::None)),
    (
        "DiffusionTransformerLowdimPolicy",
        (Class::Transformer, Encoder::None),
    ),
    ("TEDiUnetLowdimPolicy", (Class::Streaming, Encoder::None)),
    (
        "DiffusionUnetHybridImagePolicy",
        (Class::Unet, Encoder::Robomimic),
    ),
    (
        "DiffusionUnetImagePolicy",
        (Class::Unet, Encoder::MultiImage),
    ),
    (
        "DiffusionTransformerHybridImagePolicy",
        (Class::Transformer, Encoder::Robomimic),
    ),
    (
        "TEDIUnetHybridImagePolicy",
        (Class::Streaming, Encoder::Robomimic),
    ),
];

/// What a `cfg` says.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) policy: PolicyConfig,
    pub(super) observed: Observed,
    /// Numbers per action.
    pub(super) action: usize,
    /// Whether averaged weights were kept, which are the ones to run.
    pub(super) averaged: bool,
    pub(super) assumed: Vec<String>,
}

/// Reads a `cfg`; `order` is that of the keys of `policy.shape_meta.obs`, which JSON does not keep.
///
/// # Errors
/// In words: everything that is missing, wrong, or cannot be run.
pub(super) fn describe(cfg: &Json, order: &[String]) -> Result<Description, String> {
    let mut fields = Fields::new(cfg, "cfg");
    let target = fields.text("policy._target_").unwrap_or_default();
    let Some((class, encoder)) = known(target, &POLICIES) else {
        let names: Vec<&str> = POLICIES.iter().map(|(name, _)| *name).collect();
        fields.unexpected("policy._target_", &names.join(" or "));
        return Err(fields.finish().join("; "));
    };
    let mut assumed = Vec::new();
    let observed = Observed::read(&mut fields, encoder, order, &mut assumed);
    let action = observed::action(&mut fields, encoder);
    let locally = conditioning(&mut fields, class, encoder);
    let schedule = schedule(&mut fields);
    let sampler = sampler(&mut fields);
    let levels = fields.optional(
        "policy.num_inference_steps",
        "a number of steps",
        schedule.train_timesteps,
    );
    let plan = plan(&mut fields, class, levels);
    let spacing = match class {
        // One level per timestep is the same either way.
        Class::Streaming => TimestepSpacing::default(),
        _ if levels == schedule.train_timesteps => TimestepSpacing::default(),
        _ => TimestepSpacing::Leading,
    };
    let network = match class {
        Class::Transformer => denoiser::transformer(&mut fields, encoder, plan.observation_steps),
        Class::Unet | Class::Streaming => {
            let local = locally.then_some(plan.observation_steps);
            denoiser::unet(&mut fields, class, encoder, local)
        }
    };
    let task = task(&mut fields, &observed, &mut assumed);
    let averaged = fields.optional("training.use_ema", "true or false", true);
    let policy = PolicyConfig {
        plan: PlanConfig {
            primer_columns: measured(&task, &observed),
            ..plan
        },
        task,
        network,
        vision: observed.vision.clone(),
        schedule: ScheduleConfig {
            spacing,
            ..schedule
        },
        sampler,
    };
    let problems = fields.finish();
    if problems.is_empty() {
        Ok(Description {
            policy,
            observed,
            action,
            averaged,
            assumed,
        })
    } else {
        Err(problems.join("; "))
    }
}

const INPAINTED: &str = "true: observations that are in-painted into the plan cannot be run";

/// How observations enter: as a condition, which is told to all positions or, as returned here, to
/// those that they belong to. In-painting is not run.
fn conditioning(fields: &mut Fields<'_>, class: Class, encoder: Encoder) -> bool {
    // Policies with cameras condition where nothing is said.
    let default = encoder != Encoder::None;
    let path = match class {
        Class::Transformer => "policy.obs_as_cond",
        Class::Unet | Class::Streaming => "policy.obs_as_global_cond",
    };
    let globally = fields.optional(path, "true or false", default);
    let local_path = "policy.obs_as_local_cond";
    if fields.optional(local_path, "true or false", false) {
        if class == Class::Unet && encoder == Encoder::None {
            // The released code refuses both together.
            let path = "policy.pred_action_steps_only";
            if fields.optional(path, "true or false", false) {
                fields.unexpected(path, "false, with a local condition");
            }
            return true;
        }
        fields.unexpected(local_path, "false, except for DiffusionUnetLowdimPolicy");
    }
    if !globally {
        fields.unexpected(path, INPAINTED);
    }
    false
}

/// Defaults are those of the `diffusers` schedulers.
fn schedule(fields: &mut Fields<'_>) -> ScheduleConfig {
    let default = ScheduleConfig::default();
    for key in ["trained_betas", "thresholding", "rescale_betas_zero_snr"] {
        let path = format!("policy.noise_scheduler.{key}");
        if fields
            .find(&path)
            .is_some_and(|value| *value != Json::Bool(false))
        {
            fields.unexpected(&path, "nothing");
        }
    }
    ScheduleConfig {
        beta_schedule: fields.named(
            "policy.noise_scheduler.beta_schedule",
            &[
                ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
                ("linear", BetaSchedule::Linear),
                ("scaled_linear", BetaSchedule::ScaledLinear),
            ],
            "linear",
        ),
        train_timesteps: fields.optional(
            "policy.noise_scheduler.num_train_timesteps",
            "a number of timesteps",
            1000,
        ),
        beta_start: fields.optional(
            "policy.noise_scheduler.beta_start",
            "a number",
            default.beta_start,
        ),
        beta_end: fields.optional(
            "policy.noise_scheduler.beta_end",
            "a number",
            default.beta_end,
        ),
        spacing: TimestepSpacing::default(),
        step_beta: PosteriorBeta::Own,
    }
}

fn sampler(fields: &mut Fields<'_>) -> SamplerConfig {
    let target = "policy.noise_scheduler._target_";
    let solvers = [
        ("DDPMScheduler", true),
        ("DDIMScheduler", false),
        ("DDPMTEDiScheduler", true),
        ("DDIMTEDiScheduler", false),
    ];
    let ancestral = known(fields.text(target).unwrap_or_default(), &solvers).unwrap_or_else(|| {
        fields.unexpected(target, &solvers.map(|(name, _)| name).join(" or "));
        true
    });
    let solver = if ancestral {
        fields.named(
            "policy.noise_scheduler.variance_type",
            &[("fixed_small", ())],
            "fixed_small",
        );
        Solver::DDPM
    } else {
        let path = "policy.noise_scheduler.set_alpha_to_one";
        if !fields.optional(path, "true or false", true) {
            fields.unexpected(path, "true");
        }
        let path = "policy.noise_scheduler.steps_offset";
        if fields.optional(path, "a number", 0) != 0 {
            fields.unexpected(path, "0");
        }
        fields.named(
            "policy.noise_scheduler.timestep_spacing",
            &[("leading", ())],
            "leading",
        );
        Solver::Ddim(Ddim {
            eta: fields.optional("policy.eta", "0 to 1", 0.0),
        })
    };
    let clips = fields.optional("policy.noise_scheduler.clip_sample", "true or false", true);
    let bound = fields.optional("policy.noise_scheduler.clip_sample_range", "a number", 1.0);
    SamplerConfig {
        prediction: fields.named(
            "policy.noise_scheduler.prediction_type",
            &[
                ("epsilon", PredictionType::Epsilon),
                ("sample", PredictionType::Sample),
                ("v_prediction", PredictionType::Velocity),
            ],
            "epsilon",
        ),
        solver,
        clip_sample: clips.then_some(bound),
    }
}

fn plan(fields: &mut Fields<'_>, class: Class, levels: usize) -> PlanConfig {
    let mut required = |key: &str| fields.required(&format!("policy.{key}"), "a number");
    let (horizon, observation_steps) = (required("horizon"), required("n_obs_steps"));
    let action_steps = required("n_action_steps");
    if !fields.optional("policy.oa_step_convention", "true or false", true) {
        fields.unexpected(
            "policy.oa_step_convention",
            "true: the first action is the one due at the newest observation",
        );
    }
    // Then a plan is no longer than what is executed of it.
    let path = "policy.pred_action_steps_only";
    let due_only = fields.optional(path, "true or false", false);
    if due_only && class != Class::Unet {
        fields.unexpected(
            path,
            "false, except for the U-Net of DiffusionUnetLowdimPolicy",
        );
    }
    let primer = match class {
        Class::Unet | Class::Transformer => PlanInit::Zero,
        Class::Streaming => fields.named(
            "policy.buffer_init",
            &[
                ("zero", PlanInit::Zero),
                ("constant", PlanInit::Constant),
                ("denoise", PlanInit::Denoise),
            ],
            "zero",
        ),
    };
    let mode = match class {
        Class::Unet | Class::Transformer => PlanMode::Chunk,
        Class::Streaming => PlanMode::Released,
    };
    PlanConfig {
        mode,
        horizon: if due_only { action_steps } else { horizon },
        observation_steps,
        action_steps,
        levels: Some(levels),
        alignment: if due_only {
            Alignment::NewestObservation
        } else {
            Alignment::OldestObservation
        },
        primer,
        primer_columns: None,
        commit_ahead: 0,
        inpaint: None,
        iterate: None,
        restart: None,
        guidance: Vec::new(),
    }
}

fn task(fields: &mut Fields<'_>, observed: &Observed, assumed: &mut Vec<String>) -> TaskConfig {
    let dataset = fields.text("task.dataset._target_").unwrap_or_default();
    // Its observations are the keypoints of the T and the position of the robot, or a picture of the
    // table and that position.
    let sizes = [("PushTLowdimDataset", 20), ("PushTImageDataset", 2)];
    let pusht = known(dataset, &sizes) == Some(observed.numbers());
    let named = fields.text("task.name").or(fields.text("task_name"));
    let part = |array: &str, columns: Option<Vec<usize>>| ObservationPart {
        array: array.into(),
        columns,
        image: None,
    };
    let rate = fields.find("task.env_runner.fps").and_then(Json::as_f64);
    if rate.is_none() {
        assumed.push(format!(
            "actions per second: {ASSUMED_RATE_HZ}, since cfg.task.env_runner.fps is not there"
        ));
    }
    let agent = || part("state", Some(vec![0, 1]));
    let observation = if observed.vision.is_some() {
        let parts = observed.parts.iter();
        let of = |found: &observed::Part| match found.shape {
            Shape::Image(size) => ObservationPart {
                image: Some(size),
                ..part(if pusht { "img" } else { &found.key }, None)
            },
            Shape::Numbers(_) if pusht => agent(),
            Shape::Numbers(size) => part(&found.key, Some((0..size).collect())),
        };
        parts.map(of).collect()
    } else if pusht {
        vec![part("keypoint", None), agent()]
    } else {
        vec![part("obs", None)]
    };
    TaskConfig {
        name: if pusht {
            "pusht".into()
        } else {
            named.unwrap_or("imported").into()
        },
        observation,
        action: "action".into(),
        rate_hz: rate.unwrap_or(ASSUMED_RATE_HZ),
    }
}

/// Numbers of an observation that hold the current value of every action, where that is known: the
/// last two of Push-T.
fn measured(task: &TaskConfig, observed: &Observed) -> Option<Vec<usize>> {
    let size = observed.numbers();
    (task.name == "pusht").then(|| vec![size - 2, size - 1])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use kinestream_diffusion::NetworkConfig;
    use kinestream_diffusion::network::TransformerConfig;

    fn cfg() -> Json {
        json!({
            "task": {
                "name": "pusht_lowdim",
                "dataset": {"_target_": "diffusion_policy.dataset.pusht_dataset.PushTLowdimDataset"},
                "env_runner": {"fps": 10}
            },
            "policy": {
                "_target_": "diffusion_policy.policy.tedi_unet_lowdim_policy.TEDiUnetLowdimPolicy",
                "model": {
                    "_target_": "diffusion_policy.model.diffusion.conditional_unet1d_tedi.ConditionalUnet1D",
                    "diffusion_step_embed_dim": 256, "down_dims": [256, 512, 1024],
                    "kernel_size": 5, "n_groups": 8, "cond_predict_scale": true
                },
                "noise_scheduler": {
                    "_target_": "diffusion_policy.policy.schedulers.DDIMTEDiScheduler",
                    "num_train_timesteps": 100, "beta_start": 0.0001, "beta_end": 0.02,
                    "beta_schedule": "squaredcos_cap_v2", "clip_sample": true,
                    "set_alpha_to_one": true, "steps_offset": 0, "prediction_type": "epsilon"
                },
                "horizon": 16, "obs_dim": 20, "action_dim": 2, "n_action_steps": 5,
                "n_obs_steps": 2, "num_inference_steps": 16, "obs_as_local_cond": false,
                "obs_as_global_cond": true, "pred_action_steps_only": false,
                "oa_step_convention": true, "buffer_init": "zero"
            },
            "training": {"use_ema": true}
        })
    }

    /// With the keys of `shape_meta` as they are written above.
    fn read(cfg: &Json) -> Result<Description, String> {
        describe(cfg, &["image", "agent_pos"].map(str::to_owned))
    }

    /// A `cfg` with other values at some paths.
    fn changed(changes: &[(&str, Json)]) -> Json {
        let mut cfg = cfg();
        for (path, value) in changes {
            let pointer = format!("/{}", path.replace('.', "/"));
            match cfg.pointer_mut(&pointer) {
                Some(place) => *place = value.clone(),
                None => {
                    let (parent, key) = pointer.rsplit_once('/').unwrap();
                    let parent = cfg.pointer_mut(parent).unwrap();
                    parent
                        .as_object_mut()
                        .unwrap()
                        .insert(key.into(), value.clone());
                }
            }
        }
        cfg
    }

    fn transformer_sizes(policy: &PolicyConfig) -> TransformerConfig {
        let NetworkConfig::Transformer(network) = &policy.network else {
            panic!("{:?}", policy.network);
        };
        network.transformer
    }

    #[test]
    fn streaming_policies_run_as_the_released_code_does() {
        let found = read(&cfg()).unwrap();
        found.policy.check().unwrap();
        let plan = &found.policy.plan;
        assert_eq!(plan.mode, PlanMode::Released);
        assert_eq!(
            (plan.horizon, plan.action_steps, plan.levels),
            (16, 5, Some(16))
        );
        assert_eq!(plan.primer_columns, Some(vec![18, 19]));
        assert_eq!(found.policy.task.name, "pusht");
        assert_eq!((found.observed.numbers(), found.action), (20, 2));
        assert!(
            found.averaged && found.assumed.is_empty(),
            "{:?}",
            found.assumed
        );
        let other = read(&changed(&[("policy.buffer_init", json!("denoise"))])).unwrap();
        assert_eq!(other.policy.plan.mode, PlanMode::Released);
        assert_eq!(other.policy.plan.primer, PlanInit::Denoise);
        assert!(other.assumed.is_empty(), "{:?}", other.assumed);
    }

    #[test]
    fn plain_policies_run_in_chunks() {
        let unet = [
            ("policy._target_", json!("x.DiffusionUnetLowdimPolicy")),
            (
                "policy.noise_scheduler._target_",
                json!("diffusers.DDIMScheduler"),
            ),
            ("policy.num_inference_steps", json!(8)),
            ("policy.obs_dim", json!(7)),
        ];
        let found = read(&changed(&unet)).unwrap().policy;
        found.check().unwrap();
        assert_eq!(found.plan.mode, PlanMode::Chunk);
        assert_eq!(found.schedule.spacing, TimestepSpacing::Leading);
        assert_eq!(found.plan.past(), 1);
        assert_eq!(found.task.observation[0].array, "obs");
        let mut due_only = unet.to_vec();
        due_only.push(("policy.pred_action_steps_only", json!(true)));
        due_only.push(("policy.n_action_steps", json!(8)));
        let found = read(&changed(&due_only)).unwrap().policy;
        assert_eq!((found.plan.horizon, found.plan.past()), (8, 0));
    }

    #[test]
    fn transformers_have_sizes_of_their_own() {
        let found = read(&changed(&[
            ("policy._target_", json!("x.DiffusionTransformerLowdimPolicy")),
            ("policy.noise_scheduler._target_", json!("diffusers.DDPMScheduler")),
            ("policy.num_inference_steps", json!(100)),
            ("policy.obs_as_cond", json!(true)),
            ("policy.model", json!({
                "_target_": "diffusion_policy.model.diffusion.transformer_for_diffusion.TransformerForDiffusion",
                "n_layer": 8, "n_head": 4, "n_emb": 256, "causal_attn": true, "time_as_cond": true
            })),
        ]))
        .unwrap()
        .policy;
        found.check().unwrap();
        assert_eq!((found.plan.mode, found.plan.past()), (PlanMode::Chunk, 1));
        let sizes = transformer_sizes(&found);
        assert_eq!(
            (sizes.layers, sizes.width, sizes.observation_steps),
            (8, 256, 2)
        );
        assert!(sizes.causal);
    }

    #[test]
    fn policies_with_cameras_see_the_table() {
        let shapes = json!({
            "obs": {"agent_pos": {"shape": [2]}, "image": {"shape": [3, 96, 96], "type": "rgb"}},
            "action": {"shape": [2]}
        });
        let hybrid = [
            (
                "task.dataset._target_",
                json!("diffusion_policy.dataset.pusht_image_dataset.PushTImageDataset"),
            ),
            ("policy.shape_meta", shapes),
            ("policy._target_", json!("x.DiffusionUnetHybridImagePolicy")),
            (
                "policy.noise_scheduler._target_",
                json!("diffusers.DDPMScheduler"),
            ),
            ("policy.num_inference_steps", json!(100)),
            ("policy.down_dims", json!([64, 128])),
            ("policy.crop_shape", json!([84, 84])),
            ("policy.eval_fixed_crop", json!(true)),
        ];
        let found = read(&changed(&hybrid)).unwrap();
        let policy = found.policy;
        policy.check().unwrap();
        assert!(found.assumed.is_empty(), "{:?}", found.assumed);
        let arrays: Vec<_> = policy
            .task
            .observation
            .iter()
            .map(|part| part.array.as_str())
            .collect();
        assert_eq!(
            (policy.task.name.as_str(), arrays),
            ("pusht", vec!["img", "state"])
        );
        assert_eq!(policy.plan.primer_columns, Some(vec![0, 1]));
        let sizes = policy.network.unet_config().unwrap();
        assert_eq!(sizes.channels, [64, 128]);
        assert!(sizes.modulation_scale && sizes.kernel_size == 5);
        assert_eq!(policy.vision.unwrap().crop, Some([84, 84]));

        let mut transformer = hybrid.to_vec();
        transformer[2].1 = json!("x.DiffusionTransformerHybridImagePolicy");
        let policy = read(&changed(&transformer)).unwrap().policy;
        policy.check().unwrap();
        assert_eq!(transformer_sizes(&policy).width, 256);

        let mut streaming = hybrid.to_vec();
        streaming[2].1 = json!("x.TEDIUnetHybridImagePolicy");
        let policy = read(&changed(&streaming)).unwrap().policy;
        policy.check().unwrap();
        assert_eq!(policy.plan.mode, PlanMode::Released);
    }

    #[test]
    fn observations_may_be_told_to_their_positions() {
        let local = [
            ("policy._target_", json!("x.DiffusionUnetLowdimPolicy")),
            (
                "policy.noise_scheduler._target_",
                json!("diffusers.DDIMScheduler"),
            ),
            ("policy.obs_as_local_cond", json!(true)),
            ("policy.obs_as_global_cond", json!(false)),
        ];
        let policy = read(&changed(&local)).unwrap().policy;
        policy.check().unwrap();
        let sizes = policy.network.unet_config().unwrap();
        assert_eq!(sizes.local_observation_steps, Some(2));
        let mut streaming = local.to_vec();
        streaming.remove(0);
        let message = read(&changed(&streaming)).unwrap_err();
        assert!(
            message.contains("obs_as_local_cond` is true, expected false"),
            "{message}"
        );
    }

    #[test]
    fn everything_that_cannot_be_run_is_named() {
        let message = read(&changed(&[
            ("policy.obs_as_global_cond", json!(false)),
            ("policy.oa_step_convention", json!(false)),
            ("policy.model.n_groups", json!(4)),
            ("policy.noise_scheduler.set_alpha_to_one", json!(false)),
            ("policy.noise_scheduler.beta_schedule", json!("sigmoid")),
            ("policy.horizon", Json::Null),
            ("policy.n_obs_steps", json!("${n_obs_steps}")),
        ]))
        .unwrap_err();
        for expected in [
            "`cfg.policy.obs_as_global_cond` is false, expected true",
            "`cfg.policy.oa_step_convention` is false",
            "`cfg.policy.model.n_groups` is 4, expected 8",
            "set_alpha_to_one` is false",
            "beta_schedule` is \"sigmoid\", expected squaredcos_cap_v2 or linear",
            "`cfg.policy.horizon` is missing, expected a number",
            "`cfg.policy.n_obs_steps` is \"${n_obs_steps}\", expected a number",
        ] {
            assert!(
                message.contains(expected),
                "{expected} is not in: {message}"
            );
        }
        let message = read(&json!({})).unwrap_err();
        assert!(
            message.contains("`cfg.policy._target_` is missing"),
            "{message}"
        );
    }
}
