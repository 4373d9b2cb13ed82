//! `kinestream eval`: scores of a policy with their intervals.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use kinestream_control::Percentiles;
use kinestream_diffusion::Solver;
use kinestream_policy::config::{PlanConfig, PlanMode};
use kinestream_policy::{Checkpoint, Policy};
use kinestream_sim::evaluation::{self, Episode, Summary};
use serde::Serialize;
use tch::Device;

use crate::cli::{EvalArguments, SolverName};
use crate::config::Config;
use crate::controller::PolicyController;
use crate::output::say;
use crate::{checkpoint, device, output};

/// Observations after which latency alone, at batch 1, is measured.
const LATENCY_OBSERVATIONS: usize = 300;

#[derive(Debug, Serialize)]
struct Report {
    task: String,
    observation: String,
    checkpoint: String,
    mode: PlanMode,
    solver: Solver,
    seeds: Vec<u32>,
    scores: Vec<f64>,
    #[serde(flatten)]
    summary: Summary,
    evaluations_per_action: f64,
    evaluations_per_observation: f64,
    action_steps: usize,
    latency_ms: Percentiles,
    latency_batch: usize,
    threads: usize,
    wall_s: f64,
}

pub(crate) fn run(arguments: &EvalArguments) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(arguments.threads)?;
    ensure!(arguments.batch > 0, "--batch is 0, expected at least 1");
    let folder = arguments
        .checkpoint
        .clone()
        .unwrap_or_else(|| config.runtime.checkpoint.clone());
    let load = || -> Result<Checkpoint> {
        let mut checkpoint = checkpoint::open(&folder, device)?;
        let policy = checkpoint.policy_mut();
        ensure!(
            policy.task.name == "pusht",
            "{}: the checkpoint is for task `{}`, the simulator knows `pusht`",
            folder.display(),
            policy.task.name
        );
        match arguments.solver {
            Some(SolverName::Ddpm) => policy.sampler.solver = Solver::Ddpm,
            Some(SolverName::Ddim) => policy.sampler.solver = Solver::Ddim { eta: 0.0 },
            None => {}
        }
        override_plan(&mut policy.plan, arguments)?;
        Ok(checkpoint)
    };
    let seeds = arguments.seeds.to_vec();
    let begun = Instant::now();
    let mut episodes = Vec::new();
    let mut evaluations = Vec::new();
    let bar = output::progress(seeds.len() as u64 * evaluation::MAX_STEPS as u64, "steps");
    for batch in seeds.chunks(arguments.batch) {
        let policy = Policy::new(load()?, device, batch.len())?;
        let mut controller = PolicyController::new(policy)?;
        episodes.extend(score(&mut controller, batch, |_, running| {
            bar.inc(running as u64)
        })?);
        evaluations.push((controller.evaluations_per_action(), batch.len()));
    }
    bar.finish_and_clear();
    let wall_s = begun.elapsed().as_secs_f64();
    let timed = load()?;
    let (plan, solver) = (timed.policy().plan.clone(), timed.policy().sampler.solver);
    let latency = latency(timed, device, seeds[0])?;
    let weighted = evaluations
        .iter()
        .map(|(count, size)| count * *size as f64)
        .sum::<f64>();
    let report = Report {
        task: "pusht".into(),
        observation: "state".into(),
        checkpoint: folder.display().to_string(),
        mode: plan.mode,
        solver,
        scores: episodes.iter().map(|episode| episode.score).collect(),
        summary: evaluation::summarise(&episodes),
        evaluations_per_action: weighted / seeds.len() as f64,
        evaluations_per_observation: match plan.mode {
            PlanMode::Chunk => plan.ladder_levels() as f64,
            _ => plan.ladder_levels() as f64 / plan.chunks() as f64,
        },
        action_steps: plan.action_steps,
        latency_ms: latency,
        latency_batch: 1,
        threads,
        wall_s,
        seeds,
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

/// Runs episodes with a controller.
pub(crate) fn score(
    controller: &mut PolicyController,
    seeds: &[u32],
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Episode>> {
    evaluation::evaluate(controller, seeds, evaluation::MAX_STEPS, progress)
        .map_err(|error| anyhow!("{error}"))
}

/// Latency of single observations on an episode of its own, the first plan left out.
fn latency(checkpoint: Checkpoint, device: Device, seed: u32) -> Result<Percentiles> {
    let mut controller = PolicyController::new(Policy::new(checkpoint, device, 1)?)?;
    let steps = LATENCY_OBSERVATIONS;
    evaluation::evaluate(&mut controller, &[seed], steps, |_, _| {})
        .map_err(|error| anyhow!("{error}"))?;
    Ok(controller.latencies().percentiles_ms())
}

fn override_plan(plan: &mut PlanConfig, arguments: &EvalArguments) -> Result<()> {
    if arguments.chunk {
        plan.mode = PlanMode::Chunk;
        plan.action_steps = (plan.horizon - plan.past()).min(8);
        plan.levels = Some(100);
    }
    if let Some(steps) = arguments.action_steps {
        let most = plan.horizon - plan.past();
        ensure!(
            (1..=most).contains(&steps),
            "--action-steps is {steps}, expected 1 to {most}, the actions that a plan of this checkpoint holds"
        );
        plan.action_steps = steps;
    }
    let Some(steps) = arguments.steps else {
        return Ok(());
    };
    ensure!(
        steps > 0.0 && steps.is_finite(),
        "--steps is {steps}, expected a number above 0 such as 0.25, 1 or 100"
    );
    plan.levels = Some(if plan.mode == PlanMode::Chunk {
        steps.round().max(1.0) as usize
    } else {
        if arguments.action_steps.is_none() && steps < 1.0 {
            // Fewer evaluations than actions: one evaluation serves several.
            plan.action_steps = (1.0 / steps).round() as usize;
        }
        (steps * (plan.chunks() * plan.action_steps) as f64).round() as usize
    });
    Ok(())
}

fn print(report: &Report) {
    let figure = |value: Option<f64>, bounds: Option<[f64; 2]>| match (value, bounds) {
        (Some(value), Some([low, high])) => format!("{value:.3} [{low:.3}, {high:.3}]"),
        (Some(value), None) => format!("{value:.3} (one seed: no interval)"),
        (None, _) => "unknown".into(),
    };
    let Summary {
        mean_max_reward,
        mean_max_reward_interval,
        success_rate,
        success_interval,
    } = report.summary;
    say!("{} ({} seeds)", report.checkpoint, report.seeds.len());
    say!(
        "  mean of max reward      {}",
        figure(mean_max_reward, mean_max_reward_interval)
    );
    say!(
        "  success (coverage>0.95) {}",
        figure(success_rate, success_interval)
    );
    say!(
        "  evaluations per action  {:.2}",
        report.evaluations_per_action
    );
    let Percentiles { p50, p99, .. } = report.latency_ms;
    say!("  latency, batch 1        p50 {p50:.2} ms, p99 {p99:.2} ms");
    say!(
        "  wall time               {:.1} s on {} threads",
        report.wall_s,
        report.threads
    );
}
