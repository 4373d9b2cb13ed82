//! Error against number of evaluations, for every solver, on the mixture of Gaussians whose
//! probability flow is known: what docs/SOLVERS.md shows.
//!
//!     cargo run --release -p kinestream-diffusion --example solvers [-- linear|cosine|flow]
//!
//! The error is the root mean square distance to where the flow ends, over 101 quantiles of the
//! noise within two deviations. `chunk` denoises all positions at one level, `rolling` one action
//! after the other in a plan in which position p waits at level p + 1, as streaming with Ta = 1.
//! DDPM and the stochastic solvers do not follow the flow and are left out.

use std::error::Error;

use kinestream_diffusion::mixture::Mixture;
use kinestream_diffusion::sampler::timestep_tensor;
use kinestream_diffusion::schedule::BetaSchedule;
use kinestream_diffusion::{
    Denoiser, DiffusionSampler, NoiseSchedule, PredictionType, Sampler, SamplerConfig,
    ScheduleConfig, Solver,
};
use tch::{Device, Kind, Tensor};

const EVALUATIONS: [usize; 7] = [2, 4, 6, 8, 12, 16, 32];
const QUANTILES: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    let shape = match std::env::args().nth(1).as_deref() {
        None | Some("cosine") => BetaSchedule::SquaredCosine,
        Some("linear") => BetaSchedule::Linear,
        Some("flow") => BetaSchedule::Flow,
        Some(other) => return Err(format!("`{other}`, expected cosine, linear or flow").into()),
    };
    let schedule = NoiseSchedule::new(&ScheduleConfig {
        beta_schedule: shape,
        train_timesteps: 1000,
        ..Default::default()
    })?;
    print!("| evaluations |");
    EVALUATIONS.iter().for_each(|count| print!(" {count} |"));
    println!("\n|---|{}", "---|".repeat(EVALUATIONS.len()));
    for (name, solver) in Solver::named_solvers() {
        let config = SamplerConfig {
            prediction: PredictionType::Sample,
            solver,
            clip_sample: None,
        };
        let sampler = Sampler::new(config, schedule.clone())?;
        if DiffusionSampler::new(sampler.clone(), 4, 1, 1)?.needs_noise(&[3]) {
            continue;
        }
        for (way, error) in [("chunk", chunk as Way), ("rolling", rolling as Way)] {
            print!("| {name}, {way} |");
            for evaluations in EVALUATIONS {
                print!(" {:.1e} |", error(&sampler, evaluations)?);
            }
            println!();
        }
    }
    Ok(())
}

type Way = fn(&Sampler, usize) -> kinestream_diffusion::Result<f64>;

/// All quantiles at one level.
fn chunk(sampler: &Sampler, evaluations: usize) -> kinestream_diffusion::Result<f64> {
    let mut descent = DiffusionSampler::new(sampler.clone(), evaluations, 1, QUANTILES)?;
    let problem = Mixture::three_peaks(
        sampler.schedule().clone(),
        PredictionType::Sample,
        QUANTILES,
    );
    let mut plan = Mixture::spread(QUANTILES);
    for level in (1..=evaluations).rev() {
        plan = step(&mut descent, &problem, &plan, &[level; QUANTILES]);
    }
    Ok(off(&problem, sampler, &plan))
}

/// One quantile after the other, at the end of a plan that rolls by one action per evaluation.
fn rolling(sampler: &Sampler, evaluations: usize) -> kinestream_diffusion::Result<f64> {
    let mut descent = DiffusionSampler::new(sampler.clone(), evaluations, 1, evaluations)?;
    let problem = Mixture::three_peaks(
        sampler.schedule().clone(),
        PredictionType::Sample,
        evaluations,
    );
    let levels: Vec<usize> = (1..=evaluations).collect();
    let kept = evaluations - 1;
    let noise = Mixture::spread(QUANTILES);
    let mut plan = Tensor::zeros([1, evaluations as i64, 1], (Kind::Double, Device::Cpu));
    let mut actions = Vec::new();
    for moment in 0..QUANTILES + evaluations {
        plan = step(&mut descent, &problem, &plan, &levels);
        actions.push(plan.narrow(1, 0, 1));
        let appended = noise.narrow(1, moment.min(QUANTILES - 1) as i64, 1);
        plan = Tensor::cat(&[plan.narrow(1, 1, kept as i64), appended], 1);
        descent.roll(0, 1, kept);
    }
    // The first actions were those of the plan that it began with.
    let plan = Tensor::cat(&actions[evaluations..], 1);
    Ok(off(&problem, sampler, &plan))
}

fn step(
    descent: &mut DiffusionSampler,
    problem: &Mixture,
    plan: &Tensor,
    levels: &[usize],
) -> Tensor {
    let timesteps = descent.timesteps(levels);
    let timesteps = timestep_tensor(&timesteps, levels.len() as i64, Device::Cpu);
    let output = problem.evaluate(plan, &timesteps, plan);
    descent.step(&[0], plan, &output, levels, None, &[])
}

fn off(problem: &Mixture, sampler: &Sampler, plan: &Tensor) -> f64 {
    let last = sampler.schedule().train_timesteps() as i64 - 1;
    let expected = problem.carried(&Mixture::spread(QUANTILES), last, -1);
    let square = (plan - expected).square().mean(Kind::Double);
    square.sqrt().double_value(&[])
}
