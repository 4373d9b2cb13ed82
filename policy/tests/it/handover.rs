//! What a plan takes over from the one before it: committed prefixes of both planners, and chunks
//! that are in-painted.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kinestream_diffusion::guidance::{gain, soft_mask};
use kinestream_diffusion::network::{Activation, Dimensions, UNetConfig, UNetKind};
use kinestream_diffusion::{
    Denoiser, Network, NetworkConfig, NoiseSchedule, PredictionType, Sampler, SamplerConfig,
    ScheduleConfig, Solver, TimestepSchedule,
};
use kinestream_policy::Error;
use kinestream_policy::config::{Alignment, InpaintConfig, PlanConfig, PlanInit, PlanMode};
use kinestream_policy::plan::{ChunkPlanner, Plan, Planner, StreamingPlanner};
use proptest::prelude::*;
use tch::{Device, Tensor};

const DDIM: Solver = Solver::DDIM;
const SOLVERS: [Solver; 2] = [DDIM, Solver::DDPM];
const OLDEST: Alignment = Alignment::OldestObservation;
const NEWEST: Alignment = Alignment::NewestObservation;
/// Numbers per action.
const WIDTH: usize = 2;

fn config(mode: PlanMode, commit_ahead: usize, action_steps: usize, levels: usize) -> PlanConfig {
    PlanConfig {
        mode,
        horizon: 16,
        observation_steps: 2,
        action_steps,
        levels: Some(levels),
        alignment: NEWEST,
        primer: PlanInit::Zero,
        primer_columns: None,
        commit_ahead,
        inpaint: None,
        iterate: None,
        restart: None,
        guidance: Vec::new(),
    }
}

fn inpainting(commit_ahead: usize, alignment: Alignment) -> PlanConfig {
    PlanConfig {
        inpaint: Some(InpaintConfig::default()),
        alignment,
        ..config(PlanMode::Chunk, commit_ahead, 6, 10)
    }
}

fn sampler(solver: Solver) -> Sampler {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let config = SamplerConfig {
        prediction: PredictionType::Sample,
        solver,
        clip_sample: Some(1.0),
    };
    Sampler::new(config, schedule).unwrap()
}

fn planner(
    config: &PlanConfig,
    solver: Solver,
    network: impl Denoiser + 'static,
    streams: usize,
) -> Box<dyn Planner> {
    let (network, sampler) = (Box::new(network), sampler(solver));
    match config.mode {
        PlanMode::Chunk => Box::new(
            ChunkPlanner::new(config.clone(), sampler, network, Device::Cpu, streams).unwrap(),
        ),
        _ => Box::new(
            StreamingPlanner::new(config.clone(), sampler, network, Device::Cpu, streams).unwrap(),
        ),
    }
}

/// Answers an observation; returns the plan, and what it cost.
fn answer(planner: &mut dyn Planner, stream: usize, observation: f32) -> (Plan, usize) {
    planner.observe(stream, &[observation], &[0.25; WIDTH]);
    let owed = planner.owed(stream);
    for left in (0..owed).rev() {
        assert_eq!(planner.refine(&[stream]).unwrap(), 1);
        assert_eq!(planner.owed(stream), left);
    }
    (planner.plan(stream).unwrap(), owed)
}

/// Some actions from the one that is current plus `skip` on.
fn actions(plan: &Plan, skip: usize, count: usize) -> &[f32] {
    &plan.actions[(plan.current + skip) * WIDTH..][..count * WIDTH]
}

// ---- streaming ---------------------------------------------------------------------------------

#[test]
fn a_committed_prefix_keeps_its_bits_and_the_rest_rests_on_the_ladder() {
    for solver in SOLVERS {
        for alignment in [NEWEST, OLDEST] {
            // 2 committed, chunks of 4: three chunks; 12 levels are 4 evaluations per observation.
            let config = PlanConfig {
                alignment,
                ..config(PlanMode::Streaming, 2, 4, 12)
            };
            let ladder = TimestepSchedule::even(12, 100).unwrap();
            let chunks = config.chunks();
            assert_eq!(chunks, 3);
            let mut planner = planner(&config, solver, network(&config), 1);
            planner.reset(0, 4);
            let mut before: Option<Plan> = None;
            for round in 0..8 {
                let (plan, evaluations) = answer(planner.as_mut(), 0, (round as f32).sin());
                assert_eq!((plan.committed, evaluations), (6, 4), "{solver:?} {round}");
                let rest = plan.levels[plan.current + 6..].iter().enumerate();
                for (index, level) in rest {
                    let chunk = (1 + index / 4).min(chunks - 1);
                    assert_eq!(*level as usize, ladder.resting_level(chunk - 1, chunks));
                }
                if let Some(before) = before.replace(plan.clone()) {
                    assert_eq!(actions(&plan, 0, 2), actions(&before, 4, 2), "{solver:?}");
                    assert_ne!(actions(&plan, 2, 4), actions(&before, 6, 4));
                }
                planner.advance(0, 4);
            }
        }
    }
}

#[test]
fn the_network_is_told_that_the_prefix_is_clean_and_sees_it() {
    let config = config(PlanMode::Streaming, 2, 4, 3);
    let seen = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let mut planner = planner(&config, DDIM, Witness(Arc::clone(&seen)), 1);
    answer(planner.as_mut(), 0, 0.0);
    // The first plan has no prefix: its first chunk is longer.
    let rest = |level: i64| vec![level; 4];
    let told = |first: i64| [vec![first; 2], rest(32), rest(65), vec![99; 6]].concat();
    assert_eq!(seen.lock().unwrap().0, told(32));
    planner.advance(0, 4);
    let before = planner.plan(0).unwrap();
    answer(planner.as_mut(), 0, 0.0);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.0, told(-1));
    assert_eq!(seen.1[..2 * WIDTH], *actions(&before, 0, 2));
}

#[test]
fn a_plan_that_was_consumed_further_makes_up_for_it() {
    let config = config(PlanMode::Streaming, 2, 4, 3);
    let mut planner = planner(&config, DDIM, network(&config), 1);
    planner.reset(0, 1);
    answer(planner.as_mut(), 0, 0.0);
    // Five in place of four: one action is left of the prefix; two chunks are due.
    planner.advance(0, 5);
    let before = planner.plan(0).unwrap();
    assert_eq!(before.committed, 1);
    let (plan, evaluations) = answer(planner.as_mut(), 0, 0.5);
    assert_eq!(evaluations, 2);
    assert!(plan.committed >= 6);
    assert_eq!(actions(&plan, 0, 1), actions(&before, 0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_clean_stays_until_it_is_consumed(
        (oldest, commit_ahead) in (any::<bool>(), 0_usize..5),
        (steps, chunks, tail) in (1_usize..6, 1_usize..4, 0_usize..5),
        more in 0_usize..6,
        primer in prop_oneof![Just(PlanInit::Zero), Just(PlanInit::Constant), Just(PlanInit::Denoise)],
        consumed in prop::collection::vec(0_usize..14, 1..10),
    ) {
        let alignment = if oldest { OLDEST } else { NEWEST };
        let horizon =
            alignment.past_actions(2) + commit_ahead + steps * chunks + tail % steps;
        let config = PlanConfig {
            horizon,
            alignment,
            primer,
            ..config(PlanMode::Streaming, commit_ahead, steps, chunks + more)
        };
        prop_assert_eq!(config.chunks(), chunks);
        let mut planner = planner(&config, Solver::DDPM, Halving(horizon, true), 1);
        let mut before: Option<(Plan, usize)> = None;
        for (round, count) in consumed.into_iter().enumerate() {
            let (plan, _) = answer(planner.as_mut(), 0, round as f32);
            prop_assert!(plan.committed >= commit_ahead + steps);
            prop_assert!(plan.levels[plan.current..].is_sorted());
            if let Some((before, count)) = before {
                // A tail that fills no chunk is drawn anew, clean or not.
                let owned = before.committed.min(commit_ahead + steps * chunks);
                let count: usize = owned.min(count);
                let kept = owned - count;
                prop_assert_eq!(actions(&plan, 0, kept), actions(&before, count, kept));
            }
            planner.advance(0, count);
            before = Some((plan, count));
        }
    }
}

// ---- chunks ------------------------------------------------------------------------------------

#[test]
fn a_chunk_begins_with_the_committed_actions_of_the_one_before() {
    for solver in SOLVERS {
        for alignment in [NEWEST, OLDEST] {
            for inpaint in [None, Some(InpaintConfig::default())] {
                for per_position in [true, false] {
                    let config = PlanConfig {
                        inpaint,
                        ..inpainting(3, alignment)
                    };
                    let mut planner = planner(&config, solver, Halving(16, per_position), 1);
                    planner.reset(0, 8);
                    let (mut before, evaluations) = answer(planner.as_mut(), 0, 0.1);
                    assert_eq!(evaluations, 10);
                    // As many consumed as planned, and more, and less of the overlap than d.
                    for consumed in [6, 8, 14, 6] {
                        planner.advance(0, consumed);
                        let (plan, evaluations) = answer(planner.as_mut(), 0, 0.2);
                        assert_eq!(evaluations, 10);
                        let held = 16 - before.current - consumed;
                        let kept = held.min(3);
                        assert_eq!(actions(&plan, 0, kept), actions(&before, consumed, kept));
                        if let Some(past) = plan.current.checked_sub(1) {
                            let at = |plan: &Plan, position: usize| {
                                plan.actions[position * WIDTH..][..WIDTH].to_vec()
                            };
                            assert_eq!(at(&plan, past), at(&before, past + consumed));
                        }
                        before = plan;
                    }
                }
            }
        }
    }
}

#[test]
fn a_network_of_levels_per_position_sees_the_prefix_clean_and_one_of_one_level_noised() {
    let config = config(PlanMode::Chunk, 3, 6, 10);
    let seen = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let mut planner = planner(&config, DDIM, Witness(Arc::clone(&seen)), 1);
    answer(planner.as_mut(), 0, 0.0);
    planner.advance(0, 6);
    planner.observe(0, &[0.0], &[0.0; WIDTH]);
    let plan = planner.plan(0).unwrap();
    assert_eq!((plan.committed, &plan.levels[..4]), (3, &[0, 0, 0, 10][..]));
    planner.refine(&[0]).unwrap();
    assert_eq!(seen.lock().unwrap().0, [vec![-1; 3], vec![99; 13]].concat());
}

#[test]
fn in_painting_a_perfect_plan_reproduces_it() {
    // Whatever the pull, the network and the plan before say the same.
    for solver in SOLVERS {
        for per_position in [true, false] {
            let config = inpainting(2, NEWEST);
            let mut planner = planner(&config, solver, Perfect(per_position), 1);
            for _ in 0..4 {
                let (plan, _) = answer(planner.as_mut(), 0, 0.0);
                assert!(
                    plan.actions
                        .iter()
                        .all(|action| (action - 0.5).abs() < 1e-5),
                    "{solver:?} {:?}",
                    plan.actions
                );
                planner.advance(0, 6);
            }
        }
    }
}

#[test]
fn in_painting_draws_the_overlap_and_leaves_what_lies_beyond() {
    // The network sees no other position than its own, so those beyond the overlap know nothing.
    let guided = inpainting(2, NEWEST);
    let free = PlanConfig {
        inpaint: None,
        iterate: None,
        restart: None,
        guidance: Vec::new(),
        commit_ahead: 0,
        ..guided.clone()
    };
    let run = |config: &PlanConfig| {
        let mut planner = planner(config, DDIM, Halving(16, false), 1);
        planner.reset(0, 5);
        let (first, _) = answer(planner.as_mut(), 0, 0.0);
        planner.advance(0, 6);
        (first, answer(planner.as_mut(), 0, 0.0).0)
    };
    let ((first, guided), (same, free)) = (run(&guided), run(&free));
    assert_eq!(first, same);
    assert_eq!(guided.actions[10 * WIDTH..], free.actions[10 * WIDTH..]);
    let distance = |plan: &Plan, position: usize| {
        let pairs = actions(plan, position, 1)
            .iter()
            .zip(actions(&first, 6 + position, 1));
        pairs.map(|(a, b)| (a - b).abs()).sum::<f32>()
    };
    for position in 2..10 {
        assert!(
            distance(&guided, position) < distance(&free, position),
            "{position}"
        );
    }
    // One position followed by hand through its ten steps.
    let (sampler, ladder) = (sampler(DDIM), TimestepSchedule::even(10, 100).unwrap());
    let mask = f64::from(soft_mask(16, 2, 10)[4]);
    let mut random = kinestream_diffusion::noise::NoiseStream::new(5);
    random.normals(16 * WIDTH);
    let mut x = f64::from(random.normals(16 * WIDTH)[4 * WIDTH]);
    let target = f64::from(first.actions[10 * WIDTH]);
    for level in (1..=10).rev() {
        let alpha = sampler.schedule().alpha_cumprod(ladder.timestep(level));
        let next = sampler.schedule().alpha_cumprod(ladder.timestep(level - 1));
        let estimate = (0.5 * x).clamp(-1.0, 1.0);
        let drawn = estimate + gain(alpha, 5.0) * mask * (target - estimate);
        let drawn = drawn.clamp(-1.0, 1.0);
        let implied =
            (x - alpha.sqrt() * 0.5 * x - alpha.sqrt() * (drawn - estimate)) / (1.0 - alpha).sqrt();
        x = next.sqrt() * drawn + (1.0 - next).sqrt() * implied;
    }
    let error = (f64::from(guided.actions[4 * WIDTH]) - x).abs();
    assert!(error < 1e-5, "{error}");
}

#[test]
fn streams_in_one_batch_take_over_as_if_alone() {
    // A network that works on each number alone gives the same bits in any batch.
    for solver in SOLVERS {
        for mode in [PlanMode::Streaming, PlanMode::Chunk] {
            let config = match mode {
                PlanMode::Chunk => inpainting(2, OLDEST),
                _ => config(mode, 2, 4, 6),
            };
            let steps = config.action_steps;
            let run = |planner: &mut dyn Planner, stream: usize| {
                planner.reset(stream, 70 + stream as u64);
                let mut plans = Vec::new();
                for round in 0..4 {
                    plans.push(answer(planner, stream, round as f32).0);
                    planner.advance(stream, steps);
                }
                plans
            };
            let network = || Halving(16, mode == PlanMode::Streaming);
            let alone: Vec<Vec<Plan>> = (0..3)
                .map(|stream| run(planner(&config, solver, network(), 3).as_mut(), stream))
                .collect();
            let mut planner = planner(&config, solver, network(), 3);
            let mut together = vec![Vec::new(); 3];
            // Stream s begins with round s: first and later plans in one batch.
            for round in 0..6 {
                let active: Vec<usize> = (0..3).filter(|s| (*s..s + 4).contains(&round)).collect();
                for stream in &active {
                    if round == *stream {
                        planner.reset(*stream, 70 + *stream as u64);
                    }
                    planner.observe(*stream, &[(round - stream) as f32], &[0.25; WIDTH]);
                }
                while planner.refine(&active).unwrap() > 0 {}
                for stream in active {
                    together[stream].push(planner.plan(stream).unwrap());
                    planner.advance(stream, steps);
                }
            }
            assert_eq!(together, alone, "{solver:?} {mode:?}");
        }
    }
}

#[test]
fn after_nan_the_next_chunk_takes_over_from_the_last_good_one() {
    let broken = Arc::new(AtomicBool::new(false));
    let config = inpainting(3, NEWEST);
    let mut planner = planner(&config, DDIM, Breaking(Arc::clone(&broken)), 1);
    planner.reset(0, 2);
    let (good, _) = answer(planner.as_mut(), 0, 0.0);
    planner.advance(0, 6);
    broken.store(true, Ordering::Relaxed);
    planner.observe(0, &[0.0], &[0.0; WIDTH]);
    while planner.refine(&[0]).unwrap() > 0 {}
    assert!(matches!(planner.plan(0), Err(Error::NonFinitePlan)));
    let kept = planner.plan(0).unwrap();
    assert_eq!((&kept.actions, kept.current), (&good.actions, 6));
    // It goes on being executed while the network is broken.
    planner.advance(0, 2);
    assert_eq!(planner.plan(0).unwrap().current, 8);
    broken.store(false, Ordering::Relaxed);
    let (plan, evaluations) = answer(planner.as_mut(), 0, 0.0);
    assert_eq!((plan.current, evaluations), (0, 10));
    assert_eq!(actions(&plan, 0, 3), actions(&good, 8, 3));
    // A reset forgets what was executed.
    planner.reset(0, 2);
    assert_eq!(answer(planner.as_mut(), 0, 0.0).0, good);
}

// ---- networks ----------------------------------------------------------------------------------

fn dimensions(horizon: usize) -> Dimensions {
    Dimensions {
        horizon: horizon as i64,
        action: WIDTH as i64,
        condition: 1,
        train_timesteps: 100,
    }
}

/// Predicts half of what it sees, at a horizon, each number alone.
struct Halving(usize, bool);

impl Denoiser for Halving {
    fn evaluate(&self, sample: &Tensor, _: &Tensor, _: &Tensor) -> Tensor {
        sample * 0.5
    }

    fn dimensions(&self) -> Dimensions {
        dimensions(self.0)
    }

    fn takes_levels_per_position(&self) -> bool {
        self.1
    }
}

/// Predicts the one plan that there is.
struct Perfect(bool);

impl Denoiser for Perfect {
    fn evaluate(&self, sample: &Tensor, _: &Tensor, _: &Tensor) -> Tensor {
        sample.full_like(0.5)
    }

    fn dimensions(&self) -> Dimensions {
        dimensions(16)
    }

    fn takes_levels_per_position(&self) -> bool {
        self.0
    }
}

/// As [`Halving`], or NaN while its switch is on.
struct Breaking(Arc<AtomicBool>);

impl Denoiser for Breaking {
    fn evaluate(&self, sample: &Tensor, _: &Tensor, _: &Tensor) -> Tensor {
        let broken = self.0.load(Ordering::Relaxed);
        sample * if broken { f64::NAN } else { 0.5 }
    }

    fn dimensions(&self) -> Dimensions {
        dimensions(16)
    }

    fn takes_levels_per_position(&self) -> bool {
        true
    }
}

/// Notes the timesteps and the sample that it saw last.
struct Witness(Arc<Mutex<(Vec<i64>, Vec<f32>)>>);

impl Denoiser for Witness {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, _: &Tensor) -> Tensor {
        *self.0.lock().unwrap() = (
            Vec::try_from(timesteps.flatten(0, -1)).unwrap(),
            Vec::try_from(sample.flatten(0, -1)).unwrap(),
        );
        sample * 0.5
    }

    fn dimensions(&self) -> Dimensions {
        dimensions(16)
    }

    fn takes_levels_per_position(&self) -> bool {
        true
    }
}

/// A real network with random weights.
fn network(config: &PlanConfig) -> Network {
    let network = NetworkConfig::unet(
        UNetKind::PerPosition,
        UNetConfig {
            channels: vec![8, 16],
            level_embedding: 8,
            observation_embedding: 8,
            kernel_size: 3,
            groups: 4,
            activation: Activation::Mish,
            modulation_scale: true,
            ..UNetConfig::default()
        },
    );
    let mut network = Network::new(&network, dimensions(config.horizon), Device::Cpu, 11).unwrap();
    network.freeze();
    network
}
