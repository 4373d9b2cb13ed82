//! Parity of the compatibility mode with streaming rollouts of the released SDP code.
//!
//! Ten calls each, recorded from the unmodified reference code with random weights and every random
//! number that it drew; see `shared/golden/README.md` beside the checkout. Without that folder the
//! tests skip, and say so.
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kinestream_diffusion::network::{Activation, Dimensions, UNetConfig, UNetKind};
use kinestream_diffusion::sampler::Transition;
use kinestream_diffusion::{
    Denoiser, Network, NetworkConfig, NoiseSchedule, PredictionType, Sampler, SamplerConfig,
    ScheduleConfig, Solver, weights,
};
use kinestream_policy::Normaliser;
use kinestream_policy::config::{Alignment, PlanConfig, PlanInit, PlanMode};
use kinestream_policy::plan::{NoiseSource, Planner, ReleasedPlanner};
use tch::{Device, Kind, Tensor};

/// Of one evaluation that is fed the recorded input.
const OUTPUT_TOLERANCE: f64 = 5e-6;
/// Of one step that is fed the recorded sample, output and noise.
const STEP_TOLERANCE: f64 = 1e-6;
/// Of the plan after every call, normalised.
const BUFFER_TOLERANCE: f64 = 2e-5;
/// Of the actions, in the task's units (0 to 512).
const ACTION_TOLERANCE: f64 = 5e-3;

const DDPM: Solver = Solver::DDPM;
const DDIM: Solver = Solver::DDIM;

#[test]
fn ddim_with_16_levels() {
    check("ddim16_T16_Ta5", DDIM, 16, 5);
}

#[test]
fn ddpm_with_100_levels() {
    check("ddpm100_T16_Ta5", DDPM, 100, 5);
}

#[test]
fn ddpm_without_variance() {
    check("ddpm100_T16_Ta5_zerovar", DDPM, 100, 5);
}

#[test]
fn ddpm_one_action_at_a_time() {
    check("ddpm100_T16_Ta1", DDPM, 100, 1);
}

fn check(name: &str, solver: Solver, levels: usize, action_steps: usize) {
    let Some(folder) = golden() else { return };
    let recorded: HashMap<String, Tensor> =
        weights::read(&folder.join(format!("sdp_rollout_{name}.safetensors")))
            .unwrap()
            .into_iter()
            .collect();
    let output = check_evaluations(&folder, &recorded);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let network = Observed {
        network: network(&folder),
        seen: Arc::clone(&seen),
    };
    let sampler = Sampler::new(
        SamplerConfig {
            prediction: PredictionType::Epsilon,
            solver,
            clip_sample: Some(1.0),
        },
        NoiseSchedule::new(&ScheduleConfig::default()).unwrap(),
    )
    .unwrap();
    let step = check_steps(&recorded, &sampler, levels);
    let plan = PlanConfig {
        mode: PlanMode::Released,
        horizon: 16,
        observation_steps: 2,
        action_steps,
        levels: Some(levels),
        alignment: Alignment::OldestObservation,
        primer: PlanInit::Zero,
        primer_columns: None,
        commit_ahead: 0,
        inpaint: None,
        iterate: None,
        restart: None,
        guidance: Vec::new(),
    };
    let mut planner =
        ReleasedPlanner::new(plan, sampler, Box::new(network), Device::Cpu, 1).unwrap();
    let noise = Recorded::new(&recorded);
    let undrawn = Arc::clone(&noise.0);
    planner.set_noise(0, Box::new(noise));

    let (observing, acting) = (
        normaliser(&recorded, "obs"),
        normaliser(&recorded, "action"),
    );
    let past = 1;
    let mut worst_buffer = 0.0_f64;
    let mut worst_action = 0.0_f64;
    let mut worst_condition = 0.0_f64;
    let mut evaluations = 0;
    for call in 0..10 {
        let mut condition = values(&recorded["obs"].narrow(0, call, 2));
        condition
            .chunks_exact_mut(20)
            .for_each(|row| observing.normalise(row));
        worst_condition =
            worst_condition.max(distance(&condition, &values(&recorded["nobs"].get(call))));
        planner.observe(0, &condition, &[0.0, 0.0]);
        let expected = usize::try_from(recorded["nfe_per_call"].int64_value(&[call])).unwrap();
        assert_eq!(planner.owed(0), expected, "evaluations owed in call {call}");
        let mut spent = 0;
        while planner.refine(&[0]).unwrap() > 0 {
            spent += 1;
        }
        assert_eq!(spent, expected, "evaluations spent in call {call}");
        evaluations += spent;

        let done = planner.plan(0).unwrap();
        assert!(
            done.committed >= action_steps,
            "{} in call {call}",
            done.committed
        );
        let mut actions = done.actions;
        actions
            .chunks_exact_mut(2)
            .for_each(|row| acting.restore(row));
        let due = &actions[2 * past..2 * (past + action_steps)];
        let difference = distance(due, &values(&recorded["action"].get(call)));
        assert!(
            difference <= ACTION_TOLERANCE,
            "actions of call {call} differ by {difference:e}"
        );
        worst_action = worst_action.max(difference);

        planner.advance(0, action_steps);
        let carried = planner.plan(0).unwrap().actions;
        let difference = distance(&carried, &values(&recorded["buffer_after_call"].get(call)));
        assert!(
            difference <= BUFFER_TOLERANCE,
            "plan after call {call} differs by {difference:e}"
        );
        worst_buffer = worst_buffer.max(difference);
        let expected = Vec::<i64>::try_from(recorded["diff_steps_after_call"].get(call)).unwrap();
        assert_eq!(planner.levels(0), expected, "levels after call {call}");
    }
    assert!(
        undrawn.lock().unwrap().is_empty(),
        "random numbers were left over"
    );

    // What the network was told, evaluation by evaluation.
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), evaluations);
    let mut worst_sample = 0.0_f64;
    for (at, (sample, timesteps)) in seen.iter().enumerate() {
        let at = at as i64;
        let expected = Vec::<i64>::try_from(recorded["nfe.diff_steps"].get(at)).unwrap();
        assert_eq!(timesteps, &expected, "timesteps of evaluation {at}");
        worst_sample = worst_sample.max(distance(sample, &values(&recorded["nfe.sample"].get(at))));
    }
    assert!(worst_sample <= BUFFER_TOLERANCE, "{worst_sample:e}");
    assert!(worst_condition <= 1e-6, "{worst_condition:e}");
    println!(
        "{name}: {evaluations} evaluations; output fed the recorded input {output:.1e}, step {step:.1e}, network \
         input {worst_sample:.1e}, plan {worst_buffer:.1e}, actions {worst_action:.1e} of 512"
    );
}

/// Feeds every recorded input to the network; returns the largest difference of its output.
fn check_evaluations(folder: &Path, recorded: &HashMap<String, Tensor>) -> f64 {
    let network = network(folder);
    let (samples, steps, outputs) = (
        &recorded["nfe.sample"],
        &recorded["nfe.diff_steps"],
        &recorded["nfe.model_output"],
    );
    let mut worst = 0.0_f64;
    for at in 0..samples.size()[0] {
        let call = recorded["nfe.call"].int64_value(&[at]);
        let condition = recorded["nobs"].get(call).flatten(0, -1).unsqueeze(0);
        let found = tch::no_grad(|| {
            network.evaluate(
                &samples.narrow(0, at, 1),
                &steps.narrow(0, at, 1),
                &condition,
            )
        });
        let difference = distance(&values(&found), &values(&outputs.get(at)));
        assert!(
            difference <= OUTPUT_TOLERANCE,
            "evaluation {at} differs by {difference:e}"
        );
        worst = worst.max(difference);
    }
    worst
}

/// Takes every step within a call with the recorded sample, output and noise; returns the largest
/// difference of what comes next.
fn check_steps(recorded: &HashMap<String, Tensor>, sampler: &Sampler, levels: usize) -> f64 {
    let call_of = |at: i64| recorded["nfe.call"].int64_value(&[at]);
    let stride = if sampler.config().solver == DDPM {
        1
    } else {
        100 / levels as i64
    };
    let samples = &recorded["nfe.sample"];
    let mut worst = 0.0_f64;
    let mut of_call = 0;
    for at in 0..samples.size()[0] - 1 {
        let call = call_of(at);
        of_call = if at > 0 && call == call_of(at - 1) {
            of_call + 1
        } else {
            0
        };
        if call_of(at + 1) != call {
            continue;
        }
        let steps = Vec::<i64>::try_from(recorded["nfe.diff_steps"].get(at)).unwrap();
        let moves: Vec<Transition> = steps
            .iter()
            .map(|&from| Transition {
                from,
                to: (from - stride).max(-1),
            })
            .collect();
        // The first call begins with the noise of the plan itself.
        let first = recorded["noise.call_range"].int64_value(&[call, 0]) + i64::from(call == 0);
        let noise = sampler
            .needs_noise(&moves)
            .then(|| &recorded[&format!("noise.{:04}", first + of_call)]);
        let next = sampler.step(
            &samples.narrow(0, at, 1),
            &recorded["nfe.model_output"].narrow(0, at, 1),
            &moves,
            noise,
        );
        let difference = distance(&values(&next), &values(&samples.get(at + 1)));
        assert!(
            difference <= STEP_TOLERANCE,
            "step {at} differs by {difference:e}"
        );
        worst = worst.max(difference);
    }
    worst
}

/// Sample and timesteps that a network was given.
type Evaluation = (Vec<f32>, Vec<i64>);

/// A network whose inputs are kept: sample and timesteps of every evaluation.
struct Observed {
    network: Network,
    seen: Arc<Mutex<Vec<Evaluation>>>,
}

impl Denoiser for Observed {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let timestep = Vec::<i64>::try_from(timesteps.flatten(0, -1)).unwrap();
        self.seen.lock().unwrap().push((values(sample), timestep));
        self.network.evaluate(sample, timesteps, condition)
    }

    fn dimensions(&self) -> Dimensions {
        self.network.dimensions()
    }

    fn takes_levels_per_position(&self) -> bool {
        self.network.takes_levels_per_position()
    }
}

/// The recorded random numbers, draw by draw.
struct Recorded(Arc<Mutex<VecDeque<Vec<f32>>>>);

impl Recorded {
    fn new(recorded: &HashMap<String, Tensor>) -> Self {
        let draws = (0..)
            .map_while(|at| recorded.get(&format!("noise.{at:04}")))
            .map(values)
            .collect::<VecDeque<_>>();
        assert!(!draws.is_empty());
        Self(Arc::new(Mutex::new(draws)))
    }
}

impl NoiseSource for Recorded {
    fn draw(&mut self, count: usize) -> Vec<f32> {
        let draw = self
            .0
            .lock()
            .unwrap()
            .pop_front()
            .expect("one draw more than was recorded");
        assert_eq!(draw.len(), count, "size of a draw");
        draw
    }
}

fn network(folder: &Path) -> Network {
    let config = NetworkConfig::unet(
        UNetKind::StreamingDiffusionPolicy,
        UNetConfig {
            channels: vec![32, 64, 128],
            level_embedding: 256,
            observation_embedding: 256,
            kernel_size: 5,
            groups: 8,
            activation: Activation::Mish,
            modulation_scale: true,
            ..UNetConfig::default()
        },
    );
    let dimensions = Dimensions {
        horizon: 16,
        action: 2,
        condition: 40,
        train_timesteps: 100,
    };
    let mut network = Network::new(&config, dimensions, Device::Cpu, 0).unwrap();
    weights::load(&folder.join("sdp_unet_small.safetensors"), network.store()).unwrap();
    network.freeze();
    network
}

fn normaliser(recorded: &HashMap<String, Tensor>, name: &str) -> Normaliser {
    let part = |part: &str| values(&recorded[&format!("normalizer.{name}.{part}")]);
    let scale = part("scale");
    let unknown = vec![0.0; scale.len()];
    Normaliser {
        centre: Vec::new(),
        scale,
        offset: part("offset"),
        minimum: unknown.clone(),
        maximum: unknown,
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max)
}

/// The folder of the recordings, if it is there.
fn golden() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden/sdp_dp");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}
