//! The chunk planner (plain Diffusion Policy): whole plans, one after the other.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::{
    Denoiser, NoiseSchedule, PredictionType, Sampler, SamplerConfig, ScheduleConfig, Solver,
};
use kinestream_policy::Error;
use kinestream_policy::config::{
    Alignment, IterateConfig, PlanConfig, PlanInit, PlanMode, RestartConfig,
};
use kinestream_policy::plan::{ChunkPlanner, Planner};
use tch::{Device, Tensor};

#[test]
fn a_plan_lasts_for_its_action_steps_and_costs_all_levels() {
    for (solver, levels) in [(Solver::DDPM, 100), (Solver::DDIM, 10)] {
        let mut planner = planner(solver, levels, &Arc::default());
        planner.reset(0, 1);
        for chunk in 0..3 {
            assert_eq!(settle(&mut planner), levels);
            let plan = planner.plan(0).unwrap();
            assert_eq!((plan.chunk, plan.current, plan.committed), (chunk, 1, 15));
            assert!(
                plan.actions
                    .iter()
                    .all(|action| (action - 0.5).abs() < 1e-5)
            );
            // Until they are used up, observations cost nothing and the plan stays.
            for consumed in 1..8 {
                planner.advance(0, 1);
                assert_eq!(settle(&mut planner), 0);
                let later = planner.plan(0).unwrap();
                assert_eq!((later.current, later.chunk), (1 + consumed, chunk));
                assert_eq!(later.actions, plan.actions);
            }
            planner.advance(0, 1);
        }
    }
}

#[test]
fn plans_depend_on_the_seed_alone() {
    let mut planner = planner(Solver::DDPM, 100, &Arc::default());
    let mut noise = |seed| {
        planner.reset(0, seed);
        planner.observe(0, &[0.0], &[0.0]);
        planner.refine(&[0]).unwrap();
        planner.plan(0).unwrap().actions
    };
    let first = noise(1);
    assert_ne!(first, noise(2));
    assert_eq!(first, noise(1));
}

/// A plan that was denoised once is improved from where it stands, by few steps for each action.
#[test]
fn chunks_go_on_from_the_one_before() {
    let mut config = config(10);
    (config.iterate, config.action_steps) = (Some(IterateConfig { steps: 3 }), 1);
    let mut planner = planner_of(config, Solver::DDIM, &Arc::default());
    planner.reset(0, 1);
    // The first one comes from noise.
    assert_eq!(settle(&mut planner), 10);
    for chunk in 1..20 {
        let before = planner.plan(0).unwrap().actions;
        planner.advance(0, 1);
        planner.observe(0, &[0.0], &[0.0]);
        // One action further, the last one twice.
        let begun = planner.plan(0).unwrap();
        assert_eq!((begun.chunk, begun.levels[0]), (chunk, 3));
        assert_eq!(begun.actions[..15], before[1..]);
        assert_eq!(begun.actions[15], before[15]);
        assert_eq!(settle(&mut planner), 3);
        let plan = planner.plan(0).unwrap();
        assert_eq!(plan.committed, 15);
        assert!(
            plan.actions
                .iter()
                .all(|action| (action - 0.5).abs() < 1e-5)
        );
    }
    // Nothing is left after a pause as long as the plan.
    planner.advance(0, 16);
    assert_eq!(settle(&mut planner), 10);
}

/// A chunk begins near its end where nothing is new, and from noise where everything is.
#[test]
fn chunks_restart_from_what_the_one_before_was_on_its_way() {
    let mut config = config(8);
    let within = 0.1;
    (config.restart, config.action_steps) = (Some(RestartConfig { steps: 2, within }), 4);
    let sampler = sampler(Solver::DDIM);
    let network = Box::new(Follow);
    let mut planner = ChunkPlanner::new(config, sampler, network, Device::Cpu, 2).unwrap();
    let mut chunk = |streams: &[usize], observed: [f32; 2]| {
        for stream in streams {
            planner.observe(*stream, &[observed[*stream]], &[0.0]);
        }
        let mut evaluations = 0;
        loop {
            match planner.refine(streams).unwrap() {
                0 => break,
                count => evaluations += count,
            }
        }
        for stream in streams {
            let plan = planner.plan(*stream).unwrap();
            let expected = observed[*stream];
            let right = |action: &f32| (action - expected).abs() < 1e-5;
            assert!(plan.actions.iter().all(right), "{:?}", plan.actions);
            planner.advance(*stream, 4);
        }
        evaluations
    };
    assert_eq!(chunk(&[0], [0.2, 0.0]), 8);
    assert_eq!(chunk(&[0], [0.2, 0.0]), 2);
    // What is a little new is made up for on the way.
    assert_eq!(chunk(&[0], [0.25, 0.0]), 2);
    // Two and four steps from the end the old plan shines through; so it begins from noise.
    assert_eq!(chunk(&[0], [-0.6, 0.0]), 1 + 1 + 8);
    assert_eq!(chunk(&[0], [-0.6, 0.0]), 2);
    // A stream of its own, beside one that is on trial.
    assert_eq!(chunk(&[0, 1], [-0.6, 0.9]), 2 + 8);
    assert_eq!(chunk(&[0, 1], [0.9, 0.9]), 1 + 1 + 8 + 2);
}

#[test]
fn nan_keeps_the_last_plan_and_the_next_observation_begins_anew() {
    let broken = Arc::new(AtomicBool::new(true));
    let mut planner = planner(Solver::DDIM, 10, &broken);
    settle(&mut planner);
    assert!(matches!(planner.plan(0), Err(Error::NonFinitePlan)));
    broken.store(false, Ordering::Relaxed);
    assert_eq!(settle(&mut planner), 10);
    let good = planner.plan(0).unwrap();
    planner.advance(0, 8);
    broken.store(true, Ordering::Relaxed);
    settle(&mut planner);
    assert!(matches!(planner.plan(0), Err(Error::NonFinitePlan)));
    let kept = planner.plan(0).unwrap();
    assert_eq!((kept.actions, kept.current), (good.actions, 9));
    broken.store(false, Ordering::Relaxed);
    assert_eq!(settle(&mut planner), 10);
    assert_eq!(planner.plan(0).unwrap().current, 1);
}

fn settle(planner: &mut ChunkPlanner) -> usize {
    planner.observe(0, &[0.0], &[0.0]);
    let owed = planner.owed(0);
    for left in (0..owed).rev() {
        assert_eq!(planner.refine(&[0]).unwrap(), 1);
        assert_eq!(planner.owed(0), left);
    }
    owed
}

fn planner(solver: Solver, levels: usize, broken: &Arc<AtomicBool>) -> ChunkPlanner {
    planner_of(config(levels), solver, broken)
}

fn planner_of(config: PlanConfig, solver: Solver, broken: &Arc<AtomicBool>) -> ChunkPlanner {
    let network = Box::new(Half(Arc::clone(broken)));
    ChunkPlanner::new(config, sampler(solver), network, Device::Cpu, 1).unwrap()
}

fn sampler(solver: Solver) -> Sampler {
    Sampler::new(
        SamplerConfig {
            prediction: PredictionType::Sample,
            solver,
            clip_sample: Some(1.0),
        },
        NoiseSchedule::new(&ScheduleConfig::default()).unwrap(),
    )
    .unwrap()
}

fn config(levels: usize) -> PlanConfig {
    PlanConfig {
        mode: PlanMode::Chunk,
        horizon: 16,
        observation_steps: 2,
        action_steps: 8,
        levels: Some(levels),
        alignment: Alignment::OldestObservation,
        primer: PlanInit::Zero,
        primer_columns: None,
        commit_ahead: 0,
        inpaint: None,
        iterate: None,
        restart: None,
        guidance: Vec::new(),
    }
}

/// Predicts what is observed.
struct Follow;

impl Denoiser for Follow {
    fn evaluate(&self, sample: &Tensor, _: &Tensor, condition: &Tensor) -> Tensor {
        condition.unsqueeze(1).expand_as(sample).contiguous()
    }

    fn dimensions(&self) -> Dimensions {
        Half(Arc::default()).dimensions()
    }

    fn takes_levels_per_position(&self) -> bool {
        false
    }
}

/// Predicts a half everywhere, or NaN while its switch is on.
struct Half(Arc<AtomicBool>);

impl Denoiser for Half {
    fn evaluate(&self, sample: &Tensor, _: &Tensor, _: &Tensor) -> Tensor {
        let broken = self.0.load(Ordering::Relaxed);
        sample.full_like(if broken { f64::NAN } else { 0.5 })
    }

    fn dimensions(&self) -> Dimensions {
        Dimensions {
            horizon: 16,
            action: 1,
            condition: 1,
            train_timesteps: 100,
        }
    }

    fn takes_levels_per_position(&self) -> bool {
        false
    }
}
