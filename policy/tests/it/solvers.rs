//! Every solver on the shipped policy, streaming and in chunks.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::{Denoiser, GuidanceConfig, Solver};
use kinestream_policy::config::{PlanInit, PlanMode};
use kinestream_policy::plan::{self, Planner};
use kinestream_policy::{Checkpoint, Error, Normaliser, PolicyConfig};
use tch::{Device, Tensor};

/// The shipped network, for any number of planners, which may be told to answer NaN.
struct Shared(Arc<Mutex<Checkpoint>>, Arc<AtomicBool>);

impl Denoiser for Shared {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        match self.1.load(Ordering::Relaxed) {
            true => sample.full_like(f64::NAN),
            false => self
                .0
                .lock()
                .unwrap()
                .network()
                .evaluate(sample, timesteps, condition),
        }
    }

    fn dimensions(&self) -> Dimensions {
        self.0.lock().unwrap().network().dimensions()
    }

    fn takes_levels_per_position(&self) -> bool {
        true
    }
}

struct Shipped {
    config: PolicyConfig,
    network: Arc<Mutex<Checkpoint>>,
    broken: Arc<AtomicBool>,
}

impl Shipped {
    fn open() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/pusht-state");
        let checkpoint = Checkpoint::load(&folder, Device::Cpu).unwrap();
        Self {
            config: checkpoint.policy().clone(),
            network: Arc::new(Mutex::new(checkpoint)),
            broken: Arc::default(),
        }
    }

    fn planner(&self, solver: Solver, mode: PlanMode, levels: usize) -> Box<dyn Planner> {
        let mut config = self.config.clone();
        config.sampler.solver = solver;
        config.plan.mode = mode;
        config.plan.levels = Some(levels);
        let network = Shared(Arc::clone(&self.network), Arc::clone(&self.broken));
        plan::planner(&config, &identity(), Box::new(network), Device::Cpu, 2).unwrap()
    }
}

/// Plans in the units of the network.
fn identity() -> Normaliser {
    Normaliser::identity(2)
}

/// Observations of a table that moves a little, in normalised units.
fn condition(round: usize) -> Vec<f32> {
    (0..40)
        .map(|index| ((index * 7 + round) as f32 * 0.37).sin() * 0.6)
        .collect()
}

/// Plans of a stream for a few observations, four actions apart.
fn plans(planner: &mut dyn Planner, stream: usize, seed: u64) -> Vec<Vec<f32>> {
    planner.reset(stream, seed);
    (0..3)
        .map(|round| {
            planner.observe(stream, &condition(round), &[0.1, -0.2]);
            while planner.owed(stream) > 0 {
                planner.refine(&[stream]).unwrap();
            }
            let plan = planner.plan(stream).unwrap();
            planner.advance(stream, 4);
            plan.actions
        })
        .collect()
}

#[test]
fn every_solver_plans_and_repeats_itself_after_a_reset() {
    let shipped = Shipped::open();
    for (name, solver) in Solver::named_solvers() {
        for (mode, levels) in [
            (PlanMode::Streaming, 4),
            (PlanMode::Streaming, 8),
            (PlanMode::Chunk, 6),
        ] {
            let mut planner = shipped.planner(solver, mode, levels);
            let first = plans(&mut *planner, 0, 7);
            for action in first.iter().flat_map(|plan| &plan[..8]) {
                assert!(action.abs() < 1.2, "{name}, {mode:?} {levels}: {action}");
            }
            // A neighbour in the batch and whatever went on before leave nothing behind.
            planner.reset(0, 3);
            planner.observe(0, &condition(9), &[0.0, 0.0]);
            planner.refine(&[0]).unwrap();
            assert_eq!(
                plans(&mut *planner, 1, 7),
                first,
                "{name}, {mode:?} {levels}"
            );
            assert_eq!(
                plans(&mut *planner, 0, 7),
                first,
                "{name}, {mode:?} {levels}"
            );
        }
    }
}

#[test]
fn nan_does_not_stay_in_the_history() {
    let shipped = Shipped::open();
    for (name, solver) in Solver::named_solvers() {
        for mode in [PlanMode::Streaming, PlanMode::Chunk] {
            let mut planner = shipped.planner(solver, mode, 8);
            plans(&mut *planner, 0, 7);
            shipped.broken.store(true, Ordering::Relaxed);
            planner.observe(0, &condition(4), &[0.0, 0.0]);
            while planner.owed(0) > 0 {
                planner.refine(&[0]).unwrap();
            }
            assert!(
                matches!(planner.plan(0), Err(Error::NonFinitePlan)),
                "{name}"
            );
            shipped.broken.store(false, Ordering::Relaxed);
            planner.observe(0, &condition(5), &[0.0, 0.0]);
            while planner.owed(0) > 0 {
                planner.refine(&[0]).unwrap();
            }
            planner.plan(0).unwrap();
            planner.advance(0, 4);
        }
    }
}

/// What is executed costs nothing, in plans that go where they may not without guidance.
#[test]
fn every_guidance_guides_every_kind_of_plan() {
    let shipped = Shipped::open();
    for mode in [PlanMode::Streaming, PlanMode::Chunk, PlanMode::Released] {
        let planned = |guidance: &[GuidanceConfig], units: &Normaliser| {
            let mut config = shipped.config.clone();
            config.plan.mode = mode;
            config.plan.guidance = guidance.to_vec();
            // A clipped estimate stays in the range of the training data, zone or not.
            config.sampler.clip_sample = None;
            if mode == PlanMode::Released {
                config.plan.primer = PlanInit::Zero;
            }
            let network = Box::new(Shared(Arc::clone(&shipped.network), Arc::default()));
            let planner = plan::planner(&config, units, network, Device::Cpu, 1);
            plans(&mut *planner.unwrap(), 0, 7)
        };
        let past = shipped.config.plan.past();
        let cost = |guidance: &GuidanceConfig, units: &Normaliser, plans: &[Vec<f32>]| {
            let executed = |plan: &Vec<f32>| {
                let mut actions = plan[2 * past..][..8].to_vec();
                let rows = actions.chunks_exact_mut(2);
                rows.for_each(|action| units.restore(action));
                guidance.cost(2, &actions)
            };
            plans.iter().map(executed).fold(0.0, f64::max)
        };
        let free = planned(&[], &identity());
        for guidance in GuidanceConfig::examples(2) {
            // Units in which the plans go where they may not.
            let places = (-4..=4).flat_map(|x| (-4..=4).map(move |y| [x, y]));
            let units = places
                .map(|place| Normaliser {
                    scale: vec![2.0, 2.0],
                    offset: place.map(|at| at as f32 / 4.0).to_vec(),
                    ..Normaliser::identity(2)
                })
                .max_by(|a, b| cost(&guidance, a, &free).total_cmp(&cost(&guidance, b, &free)))
                .unwrap();
            let before = cost(&guidance, &units, &free);
            assert!(before > 0.1, "{mode:?} {guidance:?}: {before}");
            let guided = planned(std::slice::from_ref(&guidance), &units);
            let after = cost(&guidance, &units, &guided);
            assert!(after < 1e-5, "{mode:?} {guidance:?}: {before} {after}");
        }
    }
}

#[test]
fn the_released_streaming_knows_two_solvers() {
    let shipped = Shipped::open();
    let mut config = shipped.config.clone();
    config.plan.mode = PlanMode::Released;
    config.plan.primer = PlanInit::Zero;
    for (name, solver) in Solver::named_solvers() {
        config.sampler.solver = solver;
        let network = Shared(Arc::clone(&shipped.network), Arc::default());
        let planner = plan::planner(&config, &identity(), Box::new(network), Device::Cpu, 1);
        match planner {
            Ok(_) => assert!(["ddpm", "ddim"].contains(&name), "{name}"),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("sampler.solver"), "{message}");
            }
        }
    }
}
