//! Solvers on a problem with a known answer: how fast their errors fall, in chunks and in rolling
//! plans, in double precision.
use kinestream_diffusion::mixture::{Component, Mixture};
use kinestream_diffusion::sampler::timestep_tensor;
use kinestream_diffusion::schedule::BetaSchedule;
use kinestream_diffusion::solver::families::dpm_solver_plus_plus::DpmSolverPlusPlus;
use kinestream_diffusion::{
    Denoiser, DiffusionSampler, Guidance, NoiseSchedule, PredictionType, Sampler, SamplerConfig,
    ScheduleConfig, Solver, Stepping, TargetGuidance, TimestepSchedule,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

/// Fine enough that a timestep is hardly a step, with alpha-bar from 1 to 5e-5.
fn fine() -> NoiseSchedule {
    NoiseSchedule::new(&ScheduleConfig {
        beta_schedule: BetaSchedule::Linear,
        train_timesteps: 10_000,
        beta_start: 1e-5,
        beta_end: 2e-3,
        ..ScheduleConfig::default()
    })
    .unwrap()
}

fn straight() -> NoiseSchedule {
    NoiseSchedule::new(&ScheduleConfig {
        beta_schedule: BetaSchedule::Flow,
        train_timesteps: 10_000,
        ..Default::default()
    })
    .unwrap()
}

fn sampler(solver: Solver, prediction: PredictionType, schedule: NoiseSchedule) -> Sampler {
    let config = SamplerConfig {
        prediction,
        solver,
        clip_sample: None,
    };
    Sampler::new(config, schedule).unwrap()
}

/// Root mean square of the difference.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    f64::try_from((a - b).square().mean(Kind::Double).sqrt()).unwrap()
}

/// One step of all positions down from `level`.
fn down(
    descent: &mut DiffusionSampler,
    problem: &Mixture,
    sample: &Tensor,
    level: usize,
) -> Tensor {
    let levels = vec![level; sample.size()[1] as usize];
    step(descent, problem, sample, &levels)
}

fn step(
    descent: &mut DiffusionSampler,
    problem: &Mixture,
    sample: &Tensor,
    levels: &[usize],
) -> Tensor {
    let timesteps = timestep_tensor(&descent.timesteps(levels), levels.len() as i64, Device::Cpu);
    let output = problem.evaluate(sample, &timesteps, sample);
    descent.step(&[0], sample, &output, levels, None, &[])
}

const POSITIONS: usize = 33;

/// Error of `steps` steps from timestep `from` to timestep `to`, and the evaluations they take. The
/// first ones, as many as the solver has history, begin from the answer, so that the order of the
/// formula shows and not that of its beginning.
fn error(solver: Solver, schedule: &NoiseSchedule, [from, to]: [i64; 2], steps: i64) -> (f64, f64) {
    let evaluations = steps * solver.stages() as i64;
    let timesteps = (0..=evaluations).map(|step| to + (from - to) * step / evaluations);
    let ladder = TimestepSchedule::new(timesteps.collect()).unwrap();
    let prediction = PredictionType::Sample;
    let problem = Mixture::three_peaks(schedule.clone(), prediction, POSITIONS);
    let sampler = sampler(solver, prediction, schedule.clone());
    let mut descent = DiffusionSampler::on(sampler, ladder, 1, POSITIONS);
    let start = Mixture::spread(POSITIONS);
    let answer = |descent: &DiffusionSampler, level| {
        problem.carried(&start, from, descent.ladder().timestep(level))
    };
    let mut sample = start.shallow_clone();
    let top = descent.ladder().levels();
    for level in (1..=top).rev() {
        let begins = solver.stages() == 1 && top - level <= solver.history();
        if begins {
            sample = answer(&descent, level);
        }
        sample = down(&mut descent, &problem, &sample, level);
    }
    (distance(&sample, &answer(&descent, 0)), evaluations as f64)
}

fn assert_order(solver: Solver, schedule: &NoiseSchedule, span: [i64; 2], order: f64) {
    // As many as bring the error down to where the order shows, and not so many that whole timesteps
    // (single-step solvers) or the schedule's single precision (high orders) do.
    let steps: &[i64] = match solver.stages() {
        1 => &[40, 80],
        _ => &[20],
    };
    let shown: Vec<(f64, f64, f64)> = steps
        .iter()
        .map(|steps| {
            let (coarse, few) = error(solver, schedule, span, *steps);
            let (fine, many) = error(solver, schedule, span, 2 * steps);
            let slope = (coarse / fine).ln() / (many / few).ln();
            (coarse, fine, slope)
        })
        .collect();
    let fits = |(coarse, _, slope): &(f64, f64, f64)| *slope > order - 0.4 && *coarse < 0.03;
    assert!(
        shown.iter().any(fits),
        "{solver:?}: errors and orders {shown:?} in place of order {order}"
    );
}

#[test]
fn errors_fall_with_the_order_of_every_solver() {
    let schedule = fine();
    let mut deterministic = 0;
    for (_, solver) in Solver::named_solvers() {
        if let Some(order) = solver.order() {
            assert_order(solver, &schedule, [7000, 600], order);
            deterministic += 1;
        }
    }
    assert!(deterministic >= 18, "{deterministic}");
}

#[test]
fn orders_hold_on_the_straight_path_of_flow_matching() {
    let schedule = straight();
    for (name, solver) in Solver::named_solvers() {
        let Some(order) = solver.order() else {
            continue;
        };
        // Integrators of the logarithm have none at pure noise, and PNDM's step doesn't fit this path.
        if ["euler", "dpmpp-2m", "unipc-2"].contains(&name) {
            assert_order(solver, &schedule, [8999, 1000], order);
        } else if solver.is_on_the_straight_path() {
            assert_order(solver, &schedule, [9999, 1000], order);
        }
    }
}

/// As many levels as timesteps leave the least room for evaluations between.
#[test]
fn the_finest_ladders_end_where_the_flow_does() {
    for train_timesteps in [8, 12, 100] {
        for beta_schedule in [BetaSchedule::Flow, BetaSchedule::SquaredCosine] {
            let schedule = NoiseSchedule::new(&ScheduleConfig {
                beta_schedule,
                train_timesteps,
                ..Default::default()
            })
            .unwrap();
            for (name, solver) in Solver::named_solvers() {
                if solver.order().is_none() {
                    continue;
                }
                let prediction = PredictionType::Sample;
                let problem = Mixture::three_peaks(schedule.clone(), prediction, POSITIONS);
                let sampler = sampler(solver, prediction, schedule.clone());
                let mut descent =
                    DiffusionSampler::new(sampler, train_timesteps, 1, POSITIONS).unwrap();
                let mut sample = Mixture::spread(POSITIONS);
                for level in (1..=train_timesteps).rev() {
                    sample = down(&mut descent, &problem, &sample, level);
                }
                let top = train_timesteps as i64 - 1;
                let expected = problem.carried(&Mixture::spread(POSITIONS), top, -1);
                let error = distance(&sample, &expected);
                let allowed = if train_timesteps < 100 { 0.25 } else { 0.05 };
                assert!(
                    error < allowed,
                    "{name} {train_timesteps} {beta_schedule:?}: {error}"
                );
            }
        }
    }
}

/// The stochastic solvers, on one Gaussian: a step is linear in sample and noise, so the variance
/// in the end follows from one run for every noise, without any sampling.
#[test]
fn stochastic_steps_end_with_the_right_variance() {
    let schedule = fine();
    let error = |order: usize, steps: usize| {
        let solver = Solver::from(DpmSolverPlusPlus {
            order,
            steps: Stepping::Multi,
            sde: true,
        });
        let (from, to) = (8000, 600);
        let timesteps = (0..=steps as i64).map(|step| to + (from - to) * step / steps as i64);
        let ladder = TimestepSchedule::new(timesteps.collect()).unwrap();
        let component = Component {
            share: 1.0,
            mean: 0.0,
            deviation: 0.5,
        };
        // Position 0 has the initial noise, position k the noise of step k - 1.
        let runs = steps + 1;
        let prediction = PredictionType::Sample;
        let problem = Mixture::new(vec![component], schedule.clone(), prediction, runs);
        let sampler = sampler(solver, prediction, schedule.clone());
        let mut descent = DiffusionSampler::on(sampler, ladder, 1, runs);
        let unit = |position: i64| {
            let unit = Tensor::zeros([1, runs as i64, 1], (Kind::Double, Device::Cpu));
            let _ = unit.select(1, position).fill_(1.0);
            unit
        };
        let deviation = |timestep: i64| {
            let level = schedule.level(timestep);
            (level.signal * 0.5).hypot(level.noise)
        };
        let mut sample = unit(0) * deviation(from);
        for index in 0..steps {
            let levels = vec![steps - index; runs];
            assert!(descent.needs_noise(&levels));
            let timesteps = timestep_tensor(&descent.timesteps(&levels), runs as i64, Device::Cpu);
            let output = problem.evaluate(&sample, &timesteps, &sample);
            let noise = unit(index as i64 + 1);
            sample = descent.step(&[0], &sample, &output, &levels, Some(&noise), &[]);
        }
        let variance = f64::try_from(sample.square().sum(Kind::Double)).unwrap();
        (variance.sqrt() / deviation(to) - 1.0).abs()
    };
    for order in [1, 2] {
        let (coarse, fine) = (error(order, 40), error(order, 80));
        let slope = (coarse / fine).log2();
        assert!(
            (order as f64 - 0.3..order as f64 + 0.5).contains(&slope),
            "order {order}: {coarse:e} {fine:e}, {slope:.2}"
        );
    }
    assert!(error(3, 40) < error(1, 40) / 5.0);
}

/// Pure noise of one position, the `moment`-th that was drawn.
fn fresh(moment: usize) -> f64 {
    ((moment * 37 % 101) as f64 / 50.0 - 1.0) * 2.0
}

fn numbers(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).view([1, -1, 1])
}

#[test]
fn a_rolling_plan_ends_where_the_chunk_does() {
    const LEVELS: usize = 7;
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let problem = Mixture::three_peaks(schedule.clone(), PredictionType::Sample, LEVELS);
    for (name, solver) in Solver::named_solvers() {
        let sampler = sampler(solver, PredictionType::Sample, schedule.clone());
        let mut chunk = DiffusionSampler::new(sampler.clone(), LEVELS, 1, LEVELS).unwrap();
        let mut expected = numbers(&(LEVELS..2 * LEVELS).map(fresh).collect::<Vec<_>>());
        for level in (1..=LEVELS).rev() {
            expected = down(&mut chunk, &problem, &expected, level);
        }
        // Position p waits at level p + 1; the first LEVELS actions began without history.
        let mut rolling = DiffusionSampler::new(sampler, LEVELS, 1, LEVELS).unwrap();
        let levels: Vec<usize> = (1..=LEVELS).collect();
        let mut plan = numbers(&(0..LEVELS).map(fresh).collect::<Vec<_>>());
        let mut done = Vec::new();
        for moment in 0..2 * LEVELS {
            plan = step(&mut rolling, &problem, &plan, &levels);
            done.push(f64::try_from(plan.select(1, 0)).unwrap());
            let kept = LEVELS as i64 - 1;
            let next = numbers(&[fresh(LEVELS + moment)]);
            plan = Tensor::cat(&[plan.narrow(1, 1, kept), next], 1);
            rolling.roll(0, 1, kept as usize);
        }
        let ended = numbers(&done[LEVELS..]);
        let error = f64::try_from((ended - &expected).abs().max()).unwrap();
        assert!(error < 1e-12, "{name}: {error:e}");
    }
}

#[test]
fn what_the_network_predicts_changes_nothing() {
    let cosine = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    for (name, solver) in Solver::named_solvers() {
        for (schedule, predictions) in [
            (&cosine, [PredictionType::Epsilon, PredictionType::Velocity]),
            (
                &straight(),
                [PredictionType::FlowVelocity, PredictionType::Velocity],
            ),
        ] {
            let end = |prediction| {
                let problem = Mixture::three_peaks(schedule.clone(), prediction, 9);
                let sampler = sampler(solver, prediction, schedule.clone());
                let mut descent = DiffusionSampler::new(sampler, 10, 1, 9).unwrap();
                let mut sample = Mixture::spread(9);
                for level in (1..=10).rev() {
                    sample = down(&mut descent, &problem, &sample, level);
                }
                sample
            };
            let expected = end(PredictionType::Sample);
            assert!(bool::try_from(expected.isfinite().all()).unwrap(), "{name}");
            for prediction in predictions {
                let error = distance(&end(prediction), &expected);
                assert!(error < 1e-6, "{name} {prediction:?}: {error:e}");
            }
        }
    }
}

#[test]
fn single_precision_is_enough() {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    for (name, solver) in Solver::named_solvers() {
        for prediction in [
            PredictionType::Epsilon,
            PredictionType::Sample,
            PredictionType::Velocity,
        ] {
            let problem = Mixture::three_peaks(schedule.clone(), prediction, 9);
            let end = |kind: Kind| {
                let sampler = sampler(solver, prediction, schedule.clone());
                let mut descent = DiffusionSampler::new(sampler, 12, 1, 9).unwrap();
                let mut sample = Mixture::spread(9).to_kind(kind);
                for level in (1..=12).rev() {
                    let levels = [level; 9];
                    let timesteps = timestep_tensor(&descent.timesteps(&levels), 9, Device::Cpu);
                    let output =
                        problem.evaluate(&sample.to_kind(Kind::Double), &timesteps, &sample);
                    sample = descent.step(&[0], &sample, &output.to_kind(kind), &levels, None, &[]);
                }
                assert_eq!(sample.kind(), kind);
                sample.to_kind(Kind::Double)
            };
            let error = distance(&end(Kind::Float), &end(Kind::Double));
            // A noise says little of the clean sample where there is hardly any signal.
            let allowed = if prediction == PredictionType::Epsilon {
                2e-2
            } else {
                1e-5
            };
            assert!(error < allowed, "{name} {prediction:?}: {error:e}");
        }
    }
}

/// Four steps of two streams that begin at the given levels, in the given order of turns.
fn steps_of(
    descent: &mut DiffusionSampler,
    problem: &Mixture,
    noise: &Tensor,
    levels: &[Vec<usize>],
) -> Tensor {
    let mut plans: Vec<Tensor> = (0..levels.len() as i64)
        .map(|row| noise.narrow(0, row, 1))
        .collect();
    let mut levels = levels.to_vec();
    for turn in 0..4 {
        // Together, then each by itself.
        let turns: Vec<Vec<usize>> = match turn % 2 {
            0 => vec![(0..plans.len()).collect()],
            _ => (0..plans.len()).rev().map(|stream| vec![stream]).collect(),
        };
        for streams in turns {
            let rows: Vec<&Tensor> = streams.iter().map(|stream| &plans[*stream]).collect();
            let sample = Tensor::cat(&rows, 0);
            let all: Vec<usize> = streams
                .iter()
                .flat_map(|stream| levels[*stream].clone())
                .collect();
            let columns = sample.size()[1];
            let timesteps = timestep_tensor(&descent.timesteps(&all), columns, Device::Cpu);
            let output = problem.evaluate(&sample, &timesteps, &sample);
            let next = descent.step(&streams, &sample, &output, &all, None, &[]);
            for (row, stream) in streams.iter().enumerate() {
                plans[*stream] = next.narrow(0, row as i64, 1);
                levels[*stream]
                    .iter_mut()
                    .for_each(|level| *level = level.saturating_sub(1));
            }
        }
    }
    Tensor::cat(&plans, 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn positions_and_streams_do_not_influence_each_other(
        levels in prop::collection::vec(prop::collection::vec(0_usize..9, 5), 2), seed in 0_i64..1000
    ) {
        tch::manual_seed(seed);
        let noise = Tensor::randn([2, 5, 1], (Kind::Double, Device::Cpu));
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        let problem = Mixture::three_peaks(schedule.clone(), PredictionType::Sample, 5);
        for (name, solver) in Solver::named_solvers() {
            let sampler = sampler(solver, PredictionType::Sample, schedule.clone());
            let mut descent = DiffusionSampler::new(sampler.clone(), 8, 2, 5).unwrap();
            let together = steps_of(&mut descent, &problem, &noise, &levels);
            for (row, levels) in levels.iter().enumerate() {
                for (position, level) in levels.iter().enumerate() {
                    let own = |tensor: &Tensor| {
                        tensor.narrow(0, row as i64, 1).narrow(1, position as i64, 1)
                    };
                    let mut descent = DiffusionSampler::new(sampler.clone(), 8, 1, 1).unwrap();
                    let alone = steps_of(&mut descent, &problem, &own(&noise), &[vec![*level]]);
                    let error = distance(&alone, &own(&together));
                    prop_assert!(error < 1e-12, "{} {} {}: {:e}", name, row, position, error);
                    if *level == 0 {
                        prop_assert_eq!(distance(&own(&noise), &own(&together)), 0.0);
                    }
                }
            }
        }
    }
}

/// A position that begins anew has no history, even where that was NaN.
#[test]
fn what_is_forgotten_leaves_nothing_behind() {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let problem = Mixture::three_peaks(schedule.clone(), PredictionType::Sample, 4);
    let noise = Mixture::spread(4);
    for (name, solver) in Solver::named_solvers() {
        let sampler = sampler(solver, PredictionType::Sample, schedule.clone());
        let run = |broken: bool| {
            let mut descent = DiffusionSampler::new(sampler.clone(), 6, 1, 4).unwrap();
            if broken {
                for level in [6, 5, 4] {
                    let _ = down(&mut descent, &problem, &noise.full_like(f64::NAN), level);
                }
                descent.forget_positions(0, &[1]);
                descent.roll(0, 1, 1);
            }
            let mut sample = noise.shallow_clone();
            for level in (1..=6).rev() {
                sample = down(&mut descent, &problem, &sample, level);
            }
            sample
        };
        assert_eq!(distance(&run(true), &run(false)), 0.0, "{name}");
    }
}

/// The last step is the clean estimate: clipped, and the target where it is drawn all the way.
#[test]
fn guidance_ends_at_its_target() {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    let problem = Mixture::three_peaks(schedule.clone(), PredictionType::Sample, 3);
    let target = numbers(&[0.3, -0.9, 0.5]);
    let guide = |pull: f64| TargetGuidance {
        target: target.shallow_clone(),
        pull: target.full_like(pull),
    };
    for (name, solver) in Solver::named_solvers() {
        let config = SamplerConfig {
            prediction: PredictionType::Sample,
            solver,
            clip_sample: Some(1.0),
        };
        let sampler = Sampler::new(config, schedule.clone()).unwrap();
        let end = |guidances: &[&dyn Guidance]| {
            let mut descent = DiffusionSampler::new(sampler.clone(), 6, 1, 3).unwrap();
            let mut sample = Mixture::spread(3);
            for level in (1..=6).rev() {
                let levels = [level; 3];
                let timesteps = timestep_tensor(&descent.timesteps(&levels), 3, Device::Cpu);
                let output = problem.evaluate(&sample, &timesteps, &sample) * 1.5;
                sample = descent.step(&[0], &sample, &output, &levels, None, guidances);
            }
            sample
        };
        let free = end(&[]);
        assert!(f64::try_from(free.abs().max()).unwrap() <= 1.0, "{name}");
        assert_eq!(distance(&end(&[&guide(0.0)]), &free), 0.0, "{name}");
        assert_eq!(distance(&end(&[&guide(1.0)]), &target), 0.0, "{name}");
    }
}
