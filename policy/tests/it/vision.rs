//! Training of a policy that sees, on a small synthetic data set: image encoders first, then the denoiser.
use std::ops::ControlFlow;
use std::path::Path;

use kinestream_diffusion::network::vision::{Backbone, BackboneNorm, Pool, VisionConfig};
use kinestream_diffusion::network::{Activation, UNetConfig, UNetKind};
use kinestream_diffusion::{NetworkConfig, PredictionType, SamplerConfig, ScheduleConfig, Solver};
use kinestream_policy::config::{
    Alignment, ImageSize, ObservationPart, PlanConfig, PlanInit, PlanMode, TaskConfig,
    TrainingConfig, VisionTraining,
};
use kinestream_policy::data::{AffineMap, Episodes, PictureMirror, Pictures, Symmetry};
use kinestream_policy::training::{EncoderTrainer, Examples, Trainer};
use kinestream_policy::{
    Checkpoint, Error, Image, Observation, Pixels, Policy, PolicyConfig, Result,
};
use tch::Device;

/// Pixels of a side.
const SIDE: usize = 16;
const SIZE: ImageSize = ImageSize {
    height: SIDE,
    width: SIDE,
};

#[test]
fn encoders_learn_to_tell_where_things_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoders = encoders(&policy(), &training(150), folder.path()).unwrap();
    assert_eq!(encoders.examples(), 9 * 20 - 20 + 20);
    let before = encoders.held_out_error().unwrap();
    let mut steps = 0;
    encoders
        .run(|_, _| {
            steps += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    let after = encoders.held_out_error().unwrap();
    println!("error {before:.2} -> {after:.2} pixels");
    assert_eq!((steps, encoders.steps_done()), (150, 150));
    assert!(after < 0.4 * before, "{before} -> {after}");
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits_and_can_be_run() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let (straight, resumed) = (
        folder.path().join("straight"),
        folder.path().join("resumed"),
    );
    let training = training(9);
    train(
        encoders(&policy(), &training, &straight).unwrap(),
        &training,
        &straight,
    );

    // Killed in step 6: what was done since step 4 is lost.
    let mut first = encoders(&policy(), &training, &resumed).unwrap();
    let killed = first.run(|trainer, _| match trainer.steps_done() {
        6 => Err(Error::NonFinitePlan),
        _ => Ok(ControlFlow::Continue(())),
    });
    assert!(killed.is_err());
    let mut second = encoders(&policy(), &training, &resumed).unwrap();
    second.resume().unwrap();
    assert_eq!(second.steps_done(), 4);
    train(second, &training, &resumed);
    for file in [
        "encoder.training.safetensors",
        "model.safetensors",
        "config.json",
    ] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert!(bytes(&straight) == bytes(&resumed), "{file} differs");
    }

    let checkpoint = Checkpoint::load(&straight, Device::Cpu).unwrap();
    let mut policy = Policy::new(checkpoint, Device::Cpu, 1).unwrap();
    policy.reset(0, 1).unwrap();
    let mut act = |at: [usize; 2]| {
        let bytes = picture(at);
        let images = [Image {
            size: SIZE,
            pixels: Pixels::Bytes(&bytes),
        }];
        let observation = Observation {
            numbers: &[0.0],
            images: &images,
        };
        policy.step(&[0], &[observation]).unwrap().remove(0)
    };
    let actions: Vec<Vec<f32>> = [[3, 3], [4, 4], [5, 5], [9, 12], [9, 12]]
        .map(&mut act)
        .into();
    assert!(actions.iter().flatten().all(|value| value.is_finite()));
    assert_ne!(actions[0], actions[4]);
}

#[test]
fn encoders_that_cannot_be_trained_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |policy: &PolicyConfig, training: &TrainingConfig| {
        encoders(policy, training, folder.path())
            .err()
            .unwrap()
            .to_string()
    };
    let none = TrainingConfig {
        vision: None,
        ..training(5)
    };
    assert!(refusal(&policy(), &none).contains("training.vision is absent"));
    let mut still = training(5);
    still.vision.as_mut().unwrap().steps = 0;
    assert!(refusal(&policy(), &still).contains("training.vision.steps is 0"));
    let mut wide = policy();
    wide.task.observation[0].image = Some(ImageSize {
        height: SIDE,
        width: 2 * SIDE,
    });
    assert!(refusal(&wide, &training(5)).contains("square pictures"));
    let trainer = Trainer::new(
        &policy(),
        &training(5),
        &episodes(),
        None,
        Some(&symmetry()),
        Device::Cpu,
        folder.path(),
    );
    let message = trainer.err().unwrap().to_string();
    assert!(message.contains("0 trained encoders"), "{message}");
}

// ---- a small task ---------------------------------------------------------------------------------

/// A white square of 3 x 3 pixels around a place on black.
fn picture([row, column]: [usize; 2]) -> Vec<u8> {
    let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
    let pixels = (0..SIDE * SIDE).map(|at| near(at / SIDE, row) && near(at % SIDE, column));
    pixels
        .flat_map(|white| [if white { 255 } else { 0 }; 3])
        .collect()
}

fn places() -> Vec<[usize; 2]> {
    (0..9 * 20)
        .map(|row| {
            [
                (7 * (row / 20) + row % 20) % SIDE,
                (3 * (row % 20) + 5 * (row / 20)) % SIDE,
            ]
        })
        .collect()
}

/// Where the square is: x and y.
fn told(places: &[[usize; 2]]) -> Vec<f32> {
    let points = places
        .iter()
        .flat_map(|[row, column]| [*column as f32, *row as f32]);
    points.collect()
}

fn episodes() -> Episodes {
    let places = places();
    Episodes {
        observations: (0..places.len()).map(|row| (row % 3) as f32).collect(),
        actions: told(&places),
        observation_size: 1,
        action_size: 2,
        pictures: vec![Pictures {
            size: SIZE,
            bytes: places.iter().flat_map(|place| picture(*place)).collect(),
        }],
        ends: (1..=9).map(|episode| 20 * episode).collect(),
    }
}

/// Rows and columns exchanged.
fn symmetry() -> Symmetry {
    let exchanged = AffineMap {
        matrix: vec![0.0, 1.0, 1.0, 0.0],
        offset: vec![0.0, 0.0],
    };
    Symmetry {
        observation: AffineMap {
            matrix: vec![1.0],
            offset: vec![0.0],
        },
        action: exchanged.clone(),
        targets: exchanged,
        pictures: PictureMirror {
            transpose: true,
            flip_rows: false,
            flip_columns: false,
        },
    }
}

fn part(array: &str, columns: Option<Vec<usize>>, image: Option<ImageSize>) -> ObservationPart {
    ObservationPart {
        array: array.into(),
        columns,
        image,
    }
}

fn policy() -> PolicyConfig {
    PolicyConfig {
        task: TaskConfig {
            name: "square".into(),
            observation: vec![
                part("top", None, Some(SIZE)),
                part("state", Some(vec![0]), None),
            ],
            action: "action".into(),
            rate_hz: 10.0,
        },
        plan: PlanConfig {
            mode: PlanMode::Streaming,
            horizon: 8,
            observation_steps: 2,
            action_steps: 2,
            levels: None,
            alignment: Alignment::NewestObservation,
            primer: PlanInit::Zero,
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
                channels: vec![8, 16],
                level_embedding: 8,
                observation_embedding: 16,
                kernel_size: 3,
                groups: 4,
                activation: Activation::Silu,
                modulation_scale: true,
                ..UNetConfig::default()
            },
        ),
        vision: Some(VisionConfig {
            backbone: Backbone::Resnet18,
            width: 16,
            stages: 1,
            norm: BackboneNorm::Group,
            resize: None,
            antialias: true,
            crop: None,
            pool: Pool::SpatialSoftmax { keypoints: 4 },
            projection: None,
            separate: false,
        }),
        schedule: ScheduleConfig::default(),
        sampler: SamplerConfig {
            prediction: PredictionType::Sample,
            solver: Solver::DDIM,
            clip_sample: Some(1.0),
        },
    }
}

fn training(encoder_steps: u64) -> TrainingConfig {
    TrainingConfig {
        steps: 3,
        batch: 8,
        warmup_steps: 1,
        learning_rate: 1e-3,
        validation: 0.1,
        mirror: true,
        checkpoint_every: 4,
        vision: Some(VisionTraining {
            targets: vec![part("place", None, None)],
            steps: encoder_steps,
            batch: 16,
            learning_rate: 5e-3,
            warmup_steps: 5,
            scenes: 0,
        }),
        ..TrainingConfig::default()
    }
}

fn encoders(
    policy: &PolicyConfig,
    training: &TrainingConfig,
    out: &Path,
) -> Result<EncoderTrainer> {
    let more: Vec<[usize; 2]> = (0..20).map(|at| [at % SIDE, (5 * at) % SIDE]).collect();
    let more = Examples {
        pictures: vec![more.iter().flat_map(|place| picture(*place)).collect()],
        targets: told(&more),
    };
    EncoderTrainer::new(
        policy,
        training,
        (&episodes(), &told(&places())),
        more,
        Some(&symmetry()),
        Device::Cpu,
        out,
    )
}

/// Trains the encoders to their end, and the denoiser on them.
fn train(mut encoders: EncoderTrainer, training: &TrainingConfig, out: &Path) {
    encoders.run(|_, _| Ok(ControlFlow::Continue(()))).unwrap();
    let vision = encoders.finish().unwrap();
    let mut trainer = Trainer::new(
        &policy(),
        training,
        &episodes(),
        Some(vision),
        Some(&symmetry()),
        Device::Cpu,
        out,
    )
    .unwrap();
    trainer.run(|_, _| Ok(ControlFlow::Continue(()))).unwrap();
}
