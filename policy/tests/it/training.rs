//! Training, resuming, saving and loading on a small synthetic data set, and every refusal on the
//! way.
use std::ops::ControlFlow;
use std::path::Path;

use kinestream_diffusion::network::{Activation, UNetConfig, UNetKind};
use kinestream_diffusion::weights;
use kinestream_diffusion::{
    Denoiser, NetworkConfig, PredictionType, SamplerConfig, ScheduleConfig, Solver,
};
use kinestream_policy::config::{
    Alignment, ObservationPart, PlanConfig, PlanInit, PlanMode, TaskConfig, TrainingConfig,
};
use kinestream_policy::data::{AffineMap, Episodes, PictureMirror, Symmetry};
use kinestream_policy::plan::Plan;
use kinestream_policy::training::{STATE_FILE, Trainer};
use kinestream_policy::{Checkpoint, Error, Observation, Policy, PolicyConfig, Result};
use tch::{Device, Kind, Tensor};

type Tensors = Vec<(String, Tensor)>;

// ---- training -----------------------------------------------------------------------------------

#[test]
fn the_loss_falls() {
    let folder = tempfile::tempdir().unwrap();
    let training = TrainingConfig {
        steps: 150,
        learning_rate: 2e-3,
        ..training()
    };
    let mut losses = Vec::new();
    let mut trainer = trainer(&policy(), &training, folder.path()).unwrap();
    trainer
        .run(|_, progress| {
            losses.push(progress.loss);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..15]), mean(&losses[135..]));
    println!("loss {first:.3} -> {last:.3}");
    assert_eq!((losses.len(), trainer.steps_done()), (150, 150));
    assert!(last < 0.4 * first, "{first} -> {last}");
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let (straight, resumed) = (
        folder.path().join("straight"),
        folder.path().join("resumed"),
    );
    let training = TrainingConfig {
        mirror: true,
        checkpoint_every: 7,
        ..training()
    };
    let policy = policy();
    trainer(&policy, &training, &straight)
        .unwrap()
        .run(|_, _| Ok(ControlFlow::Continue(())))
        .unwrap();

    // Killed in step 10: what was done since the checkpoint of step 7 is lost.
    let mut first = trainer(&policy, &training, &resumed).unwrap();
    let killed = first.run(|trainer, _| match trainer.steps_done() {
        10 => Err(Error::NonFinitePlan),
        _ => Ok(ControlFlow::Continue(())),
    });
    assert!(killed.is_err());
    drop(first);
    let mut second = trainer(&policy, &training, &resumed).unwrap();
    second.resume().unwrap();
    assert_eq!(second.steps_done(), 7);
    let mut steps = 0;
    second
        .run(|_, _| {
            steps += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(steps, 5);
    for file in [STATE_FILE, "model.safetensors", "config.json"] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert!(bytes(&straight) == bytes(&resumed), "{file} differs");
    }
}

#[test]
fn a_run_that_is_ended_early_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = trainer(&policy(), &training(), folder.path()).unwrap();
    first.run(|_, _| Ok(ControlFlow::Break(()))).unwrap();
    let mut second = trainer(&policy(), &training(), folder.path()).unwrap();
    second.resume().unwrap();
    assert_eq!(second.steps_done(), 1);
}

#[test]
fn resuming_refuses_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let resume = |policy: &PolicyConfig, training: &TrainingConfig| {
        trainer(policy, training, folder.path())
            .unwrap()
            .resume()
            .unwrap_err()
            .to_string()
    };
    says(
        &resume(&policy(), &training()),
        &[STATE_FILE, "leave --resume out"],
    );
    train(&policy(), &training(), folder.path());
    let seed = TrainingConfig {
        seed: 43,
        ..training()
    };
    says(
        &resume(&policy(), &seed),
        &[STATE_FILE, "training.seed = 42", "says 43"],
    );
    let mut wider = policy();
    let sizes = UNetConfig {
        channels: vec![16, 16, 32],
        ..wider.network.unet_config().unwrap().clone()
    };
    wider.network = NetworkConfig::unet(UNetKind::PerPosition, sizes);
    says(
        &resume(&wider, &training()),
        &[STATE_FILE, "`parameters`", "the configured network"],
    );
    let state = folder.path().join(STATE_FILE);
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    says(
        &resume(&policy(), &training()),
        &[STATE_FILE, "not a complete safetensors file"],
    );
    weights::write(&state, &[("seed".into(), Tensor::from_slice(&[42_i64]))]).unwrap();
    says(
        &resume(&policy(), &training()),
        &[STATE_FILE, "`parameters` is missing"],
    );
}

#[test]
fn impossible_runs_are_refused_before_they_begin() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |policy: &PolicyConfig, training: &TrainingConfig, episodes: &Episodes| {
        Trainer::new(
            policy,
            training,
            episodes,
            None,
            None,
            Device::Cpu,
            folder.path(),
        )
        .err()
        .unwrap()
        .to_string()
    };
    let mirror = TrainingConfig {
        mirror: true,
        ..training()
    };
    let found = refusal(&policy(), &mirror, &episodes());
    says(
        &found,
        &["training.mirror", "task `circle` has no known symmetry"],
    );
    let mut odd = policy();
    odd.plan.horizon = 15;
    let found = refusal(&odd, &training(), &episodes());
    says(
        &found,
        &["horizon 15", "3 stages", "multiple of 4", "use 12 or 16"],
    );
    let short = Episodes {
        observations: vec![0.0; 6],
        actions: vec![0.0; 6],
        observation_size: 2,
        action_size: 2,
        pictures: Vec::new(),
        ends: vec![3],
    };
    let found = refusal(&policy(), &training(), &short);
    says(
        &found,
        &["without a single window", "longer than plan.horizon"],
    );
    let long = Episodes {
        ends: vec![360],
        ..episodes()
    };
    assert!(
        Trainer::new(
            &policy(),
            &training(),
            &long,
            None,
            None,
            Device::Cpu,
            folder.path()
        )
        .is_ok()
    );
    for (key, training) in [
        (
            "training.batch",
            TrainingConfig {
                batch: 0,
                ..training()
            },
        ),
        (
            "training.steps",
            TrainingConfig {
                steps: 0,
                ..training()
            },
        ),
        (
            "training.learning_rate",
            TrainingConfig {
                learning_rate: f64::NAN,
                ..training()
            },
        ),
        (
            "training.validation",
            TrainingConfig {
                validation: 1.0,
                ..training()
            },
        ),
    ] {
        says(&refusal(&policy(), &training, &episodes()), &[key]);
    }
    let mut many = policy();
    many.plan.levels = Some(101);
    says(
        &refusal(&many, &training(), &episodes()),
        &["plan.levels is 101", "schedule.train_timesteps"],
    );
    many.plan.levels = Some(2);
    says(
        &refusal(&many, &training(), &episodes()),
        &["plan.levels is 2", "the plan's chunks"],
    );
}

// ---- checkpoints ----------------------------------------------------------------------------------

#[test]
fn a_saved_and_loaded_policy_makes_identical_plans() {
    let folder = tempfile::tempdir().unwrap();
    let trained = train(&policy(), &training(), folder.path());
    let loaded = Checkpoint::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(loaded.policy(), trained.policy());
    assert_eq!(loaded.normalisers(), trained.normalisers());
    let expected = plans(trained);
    assert_eq!(plans(loaded), expected);
    assert!(expected.iter().all(|plan| plan.committed >= 4));
}

/// Every architecture of the registry that is built from weights.
#[test]
fn every_architecture_learns_and_makes_the_plans_that_it_saved() {
    for network in NetworkConfig::small(policy().dimensions(2, 2)) {
        let mut policy = policy();
        if !network.takes_levels_per_position() {
            policy.plan.mode = PlanMode::Chunk;
        }
        let kind = network.kind();
        policy.network = network;
        let folder = tempfile::tempdir().unwrap();
        let training = TrainingConfig {
            steps: 60,
            learning_rate: 3e-3,
            ..training()
        };
        let mut losses = Vec::new();
        let mut trainer = trainer(&policy, &training, folder.path()).unwrap();
        trainer
            .run(|_, progress| {
                losses.push(progress.loss);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..10]), mean(&losses[50..]));
        assert!(last < 0.8 * first, "{kind}: {first} -> {last}");
        let load = || Checkpoint::load(folder.path(), Device::Cpu).unwrap();
        let made = plans(load());
        assert!(!made.is_empty(), "{kind}");
        assert_eq!(made, plans(load()), "{kind}");
    }
}

#[test]
fn damaged_checkpoints_are_refused_by_file_and_remedy() {
    let source = tempfile::tempdir().unwrap();
    train(&policy(), &training(), source.path());
    let refusal = |damage: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(source.path().join(file), folder.path().join(file)).unwrap();
        }
        damage(folder.path());
        Checkpoint::load(folder.path(), Device::Cpu)
            .err()
            .unwrap()
            .to_string()
    };
    for missing in ["config.json", "model.safetensors"] {
        let found = refusal(&|folder| std::fs::remove_file(folder.join(missing)).unwrap());
        says(&found, &[missing, "is missing", "kinestream train"]);
    }
    for share in [0, 1, 50, 99] {
        let found = refusal(&|folder| {
            let path = folder.join("model.safetensors");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() * share / 100]).unwrap();
        });
        says(
            &found,
            &[
                "model.safetensors",
                "not a complete",
                "copy or train it again",
            ],
        );
    }
    let reweighted = |change: &dyn Fn(&mut Tensors)| {
        refusal(&|folder| {
            let path = folder.join("model.safetensors");
            let mut tensors = weights::read(&path).unwrap();
            tensors.sort_by(|a, b| a.0.cmp(&b.0));
            change(&mut tensors);
            weights::write(&path, &tensors).unwrap();
        })
    };
    let found =
        reweighted(&|tensors| tensors[0].1 = Tensor::zeros([3], (Kind::Float, Device::Cpu)));
    says(
        &found,
        &[
            "model.safetensors",
            "has shape [3]",
            "another network configuration",
        ],
    );
    let found = reweighted(&|tensors| {
        let _ = tensors[0].1.fill_(f64::NAN);
    });
    says(
        &found,
        &[
            "model.safetensors",
            "NaN or infinite",
            "diverged or the file is damaged",
        ],
    );
    let found = reweighted(&|tensors| drop(tensors.remove(0)));
    says(
        &found,
        &[
            "model.safetensors",
            "is missing",
            "another network configuration",
        ],
    );
    let found = reweighted(&|tensors| tensors[0].0 = "another".into());
    says(&found, &["model.safetensors", "is missing"]);
    let found = reweighted(&|tensors| {
        tensors.push((
            "another".into(),
            Tensor::zeros([3], (Kind::Float, Device::Cpu)),
        ));
    });
    says(
        &found,
        &[
            "model.safetensors",
            "`another` is unknown",
            "another network configuration",
        ],
    );

    let reworded = |from: &str, to: &str| {
        refusal(&|folder| {
            let path = folder.join("config.json");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        })
    };
    says(
        &reworded("\"horizon\"", "\"horizont\""),
        &["config.json", "unknown field `horizont`", "line"],
    );
    let found = reworded("\"format\": 1", "\"format\": 9, \"new\": 0");
    says(
        &found,
        &[
            "config.json",
            "format 9",
            "format 1",
            "train the policy again",
        ],
    );
    says(
        &reworded("\"kind\": \"policy\"", "\"kind\": \"motion\""),
        &["config.json", "kind `motion`"],
    );
    says(&reworded("{", ""), &["config.json", "line"]);
    says(
        &reworded("\"action_steps\": 4", "\"action_steps\": 0"),
        &["config.json", "plan.action_steps"],
    );
    says(
        &reworded("\"observation_steps\": 2", "\"observation_steps\": 0"),
        &["config.json", "plan.observation_steps"],
    );
    says(
        &reworded("\"groups\": 4", "\"groups\": 0"),
        &["config.json", "network.groups"],
    );
    says(
        &reworded("\"condition\": 4", "\"condition\": 5"),
        &["config.json", "contradict"],
    );
    says(
        &reworded("\"action\": 2", "\"action\": -2"),
        &["config.json"],
    );
    says(
        &reworded("\"scale\": [", "\"scale\": [0.5, "),
        &["config.json", "normalisers.observation"],
    );
    let found = refusal(&|folder| std::fs::write(folder.join("config.json"), [0xff, 0]).unwrap());
    says(&found, &["config.json"]);
    let nowhere = Checkpoint::load(Path::new("no/such/folder"), Device::Cpu)
        .err()
        .unwrap();
    says(
        &nowhere.to_string(),
        &["no/such/folder", "not a checkpoint folder"],
    );
}

#[test]
fn a_torch_script_denoiser_makes_the_plans_of_the_network_it_was_traced_from() {
    let folder = tempfile::tempdir().unwrap();
    let trained = train(&policy(), &training(), folder.path());
    let sizes = trained.network().dimensions();
    let inputs = [
        Tensor::zeros([1, sizes.horizon, sizes.action], (Kind::Float, Device::Cpu)),
        Tensor::zeros([1, sizes.horizon], (Kind::Int64, Device::Cpu)),
        Tensor::zeros([1, sizes.condition], (Kind::Float, Device::Cpu)),
    ];
    let mut run = |inputs: &[Tensor]| {
        let [sample, timesteps, condition] = inputs else {
            unreachable!()
        };
        let network = trained.network();
        vec![network.evaluate(sample, timesteps, condition)]
    };
    let module = tch::no_grad(|| {
        tch::CModule::create_by_tracing("Denoiser", "forward", &inputs, &mut run).unwrap()
    });
    // The folder as a person writes it: what the network is made of is in the module.
    let scripted = tempfile::tempdir().unwrap();
    module.save(scripted.path().join("model.pt")).unwrap();
    let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["policy"]["network"] =
        serde_json::json!({ "kind": "torch_script", "script": { "level_per_position": true } });
    let path = scripted.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let loaded = || Checkpoint::load(scripted.path(), Device::Cpu).unwrap();
    let copy = tempfile::tempdir().unwrap();
    loaded()
        .save(copy.path(), weights::Precision::Fp32)
        .unwrap();
    let expected = plans(trained);
    for checkpoint in [
        loaded(),
        Checkpoint::load(copy.path(), Device::Cpu).unwrap(),
    ] {
        for (found, expected) in plans(checkpoint).iter().zip(&expected) {
            for (found, expected) in found.actions.iter().zip(&expected.actions) {
                assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            }
        }
    }
    std::fs::remove_file(scripted.path().join("model.pt")).unwrap();
    let refused = Checkpoint::load(scripted.path(), Device::Cpu)
        .err()
        .unwrap();
    says(&refused.to_string(), &["model.pt", "is missing"]);
}

#[test]
fn a_package_makes_plans_in_place_of_weights() {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        eprintln!("skipped: the package is compiled for Linux on x86-64");
        return;
    }
    // A horizon of 8, actions of 2 numbers, conditions of 6: what the package was made for.
    let shaped = PolicyConfig {
        plan: PlanConfig {
            horizon: 8,
            observation_steps: 3,
            ..policy().plan
        },
        ..policy()
    };
    let folder = tempfile::tempdir().unwrap();
    let training = TrainingConfig {
        steps: 1,
        ..training()
    };
    drop(train(&shaped, &training, folder.path()));
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../torch-shim/tests/package/model.pt2"
    );
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["policy"]["network"] =
        serde_json::json!({ "kind": "aot_inductor", "script": { "level_per_position": true } });
    std::fs::write(&path, config.to_string()).unwrap();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let load = || Checkpoint::load(folder.path(), Device::Cpu);
    says(
        &load().err().unwrap().to_string(),
        &["model.pt2", "is missing"],
    );
    std::fs::copy(program, folder.path().join("model.pt2")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let loaded = load().unwrap();
    loaded.save(copy.path(), weights::Precision::Fp32).unwrap();
    let copied = Checkpoint::load(copy.path(), Device::Cpu).unwrap();
    let found = plans(loaded);
    assert_eq!(found, plans(copied));
    assert!(found.iter().all(|plan| plan.committed >= 4));
    assert_ne!(found[0].actions, found[5].actions);
}

#[test]
fn bad_observations_are_refused_and_the_plan_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut policy =
        Policy::new(train(&policy(), &training(), folder.path()), Device::Cpu, 1).unwrap();
    policy.reset(0, 1).unwrap();
    assert!(matches!(
        policy.refine(&[0]),
        Err(Error::NoObservation { stream: 0 })
    ));
    policy.reset(0, 1).unwrap();
    policy
        .step(&[0], &[Observation::numbers(&[0.5, 0.5])])
        .unwrap();
    let (before, owed) = (policy.plan(0).unwrap(), policy.owed(0));
    for value in [f32::NAN, f32::INFINITY] {
        let message = policy.observe(0, &[0.5, value]).unwrap_err().to_string();
        says(&message, &["observation number 1", "the plan kept"]);
    }
    let message = policy.observe(0, &[0.5]).unwrap_err().to_string();
    says(&message, &["observation has 1 numbers", "expects 2"]);
    let message = policy.observe(3, &[0.5, 0.5]).unwrap_err().to_string();
    says(&message, &["stream 3 does not exist"]);
    assert_eq!((policy.plan(0).unwrap(), policy.owed(0)), (before, owed));
    assert_eq!(
        policy
            .step(&[0], &[Observation::numbers(&[0.5, 0.5])])
            .unwrap()[0]
            .len(),
        2
    );
}

// ---- a small task ---------------------------------------------------------------------------------

/// The agent's place on a circle is observed; the action is the place some steps ahead.
fn episodes() -> Episodes {
    let place = |episode: usize, step: usize| {
        let angle = episode as f32 + 0.15 * step as f32;
        [200.0 + 100.0 * angle.cos(), 150.0 + 80.0 * angle.sin()]
    };
    let rows = |ahead: usize| {
        (0..9)
            .flat_map(move |e| (0..40).flat_map(move |s| place(e, s + ahead)))
            .collect()
    };
    Episodes {
        observations: rows(0),
        actions: rows(2),
        observation_size: 2,
        action_size: 2,
        pictures: Vec::new(),
        ends: (1..=9).map(|episode| 40 * episode).collect(),
    }
}

/// Left and right exchanged.
fn symmetry() -> Symmetry {
    let map = AffineMap {
        matrix: vec![-1.0, 0.0, 0.0, 1.0],
        offset: vec![400.0, 0.0],
    };
    Symmetry {
        observation: map.clone(),
        action: map.clone(),
        targets: map,
        pictures: PictureMirror {
            transpose: false,
            flip_rows: false,
            flip_columns: true,
        },
    }
}

fn policy() -> PolicyConfig {
    PolicyConfig {
        task: TaskConfig {
            name: "circle".into(),
            observation: vec![ObservationPart {
                array: "state".into(),
                columns: None,
                image: None,
            }],
            action: "action".into(),
            rate_hz: 10.0,
        },
        plan: PlanConfig {
            mode: PlanMode::Streaming,
            horizon: 16,
            observation_steps: 2,
            action_steps: 4,
            levels: None,
            alignment: Alignment::NewestObservation,
            primer: PlanInit::Constant,
            primer_columns: None,
            commit_ahead: 0,
            inpaint: None,
            iterate: None,
            restart: None,
            guidance: Vec::new(),
        },
        network: NetworkConfig::unet(
            UNetKind::PerPosition,
            UNetConfig {
                channels: vec![8, 16, 32],
                level_embedding: 16,
                observation_embedding: 32,
                kernel_size: 3,
                groups: 4,
                activation: Activation::Silu,
                modulation_scale: true,
                ..UNetConfig::default()
            },
        ),
        vision: None,
        schedule: ScheduleConfig::default(),
        sampler: SamplerConfig {
            prediction: PredictionType::Sample,
            solver: Solver::DDIM,
            clip_sample: Some(1.0),
        },
    }
}

fn training() -> TrainingConfig {
    TrainingConfig {
        steps: 12,
        batch: 32,
        warmup_steps: 5,
        learning_rate: 1e-3,
        validation: 0.1,
        checkpoint_every: 1000,
        ..TrainingConfig::default()
    }
}

fn trainer(policy: &PolicyConfig, training: &TrainingConfig, out: &Path) -> Result<Trainer> {
    Trainer::new(
        policy,
        training,
        &episodes(),
        None,
        Some(&symmetry()),
        Device::Cpu,
        out,
    )
}

fn train(policy: &PolicyConfig, training: &TrainingConfig, out: &Path) -> Checkpoint {
    let mut trainer = trainer(policy, training, out).unwrap();
    trainer.run(|_, _| Ok(ControlFlow::Continue(()))).unwrap();
    trainer.checkpoint().unwrap()
}

/// Plans over some observations, four actions consumed each time.
fn plans(checkpoint: Checkpoint) -> Vec<Plan> {
    let mut policy = Policy::new(checkpoint, Device::Cpu, 1).unwrap();
    policy.reset(0, 6).unwrap();
    (0..6)
        .map(|round| {
            policy
                .observe(0, &[200.0 + 10.0 * round as f32, 150.0])
                .unwrap();
            while policy.refine(&[0]).unwrap() > 0 {}
            let plan = policy.plan(0).unwrap();
            policy.advance(0, 4);
            plan
        })
        .collect()
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}
