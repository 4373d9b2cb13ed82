//! `kinestream eval`: scores of a policy with their intervals.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use kinestream_control::Percentiles;
use kinestream_diffusion::{Execution, Executor, Precision, Solver};
use kinestream_policy::config::{PlanConfig, PlanMode, RestartConfig};
use kinestream_policy::{Checkpoint, Policy};
use kinestream_sim::delay::Delayed;
use kinestream_sim::evaluation::{self, Controller, Episode, Summary};
use serde::Serialize;
use tch::Device;

use super::variant::Variant;
use super::{delay_curve, steps_curve};
use crate::cli::{EvalArguments, Join};
use crate::config::Config;
use crate::controller::PolicyController;
use crate::output::say;
use crate::{checkpoint, device, output};

/// Observations after which latency alone, at batch 1, is measured.
const LATENCY_OBSERVATIONS: usize = 300;

/// Where and on what variants are run.
pub(super) struct Setup<'a> {
    pub(super) folder: PathBuf,
    pub(super) device: Device,
    pub(super) execution: Execution,
    pub(super) arguments: &'a EvalArguments,
}

/// What a variant scored.
pub(super) struct Scored {
    pub(super) episodes: Vec<Episode>,
    pub(super) executor: Executor,
    pub(super) evaluations_per_action: f64,
    pub(super) plan: PlanConfig,
    pub(super) solver: Solver,
    /// What was observed: `state` or `image`.
    pub(super) observation: &'static str,
}

#[derive(Debug, Serialize)]
struct Report {
    task: String,
    observation: &'static str,
    checkpoint: String,
    mode: PlanMode,
    solver: Solver,
    delay_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<Join>,
    commit_ahead: usize,
    seeds: Vec<u32>,
    scores: Vec<f64>,
    #[serde(flatten)]
    summary: Summary,
    /// What evaluated the network, and with which weights.
    executor: Executor,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
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
    let setup = Setup {
        folder,
        device,
        execution: Execution {
            executor: arguments.executor.unwrap_or(config.runtime.executor),
            precision: arguments.precision.unwrap_or(config.runtime.precision),
            threads,
        },
        arguments,
    };
    if arguments.delay_curve {
        return delay_curve::run(&setup, threads);
    }
    let variant = Variant {
        chunk: arguments
            .chunk
            .then(|| arguments.join.unwrap_or(Join::Restart)),
        steps: arguments.steps,
        action_steps: arguments.action_steps,
        solver: arguments.solver,
        commit_ahead: arguments.commit_ahead,
        iterate: arguments.iterate,
        restart: arguments.restart.map(|steps| RestartConfig {
            steps,
            within: arguments.within,
        }),
        delay_ms: arguments.delay_ms,
    };
    if arguments.curve || !arguments.against.is_empty() {
        return steps_curve::run(&setup, &variant, threads);
    }
    let seeds = arguments.seeds.to_vec();
    let begun = Instant::now();
    let bar = output::progress(seeds.len() as u64 * evaluation::MAX_STEPS as u64, "steps");
    let scored = setup.score(&variant, &seeds, |running| bar.inc(running as u64))?;
    bar.finish_and_clear();
    let wall_s = begun.elapsed().as_secs_f64();
    let latency = latency(setup.open(&variant)?, device, setup.execution, seeds[0])?;
    let plan = scored.plan;
    let report = Report {
        task: "pusht".into(),
        observation: scored.observation,
        checkpoint: setup.folder.display().to_string(),
        mode: plan.mode,
        solver: scored.solver,
        delay_ms: variant.delay_ms,
        join: variant.chunk,
        commit_ahead: plan.commit_ahead,
        scores: scored
            .episodes
            .iter()
            .map(|episode| episode.score)
            .collect(),
        summary: evaluation::summarise(&scored.episodes),
        executor: scored.executor,
        precision: (scored.executor == Executor::Fused).then_some(setup.execution.precision),
        evaluations_per_action: scored.evaluations_per_action,
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

impl Setup<'_> {
    /// Runs every seed, telling `progress` how many episodes took each control step.
    pub(super) fn score(
        &self,
        variant: &Variant,
        seeds: &[u32],
        mut progress: impl FnMut(usize),
    ) -> Result<Scored> {
        let checkpoint = self.open(variant)?;
        let policy = checkpoint.policy();
        let (plan, solver) = (policy.plan.clone(), policy.sampler.solver);
        let delay = variant.delay(&plan, policy.task.rate_hz)?;
        let mut checkpoint = Some(checkpoint);
        let mut episodes = Vec::new();
        let mut evaluations = 0.0;
        let mut executor = self.execution.executor;
        let mut observation = "state";
        for batch in seeds.chunks(self.arguments.batch) {
            let opened = match checkpoint.take() {
                Some(checkpoint) => checkpoint,
                None => self.open(variant)?,
            };
            let policy = Policy::executed(opened, self.device, batch.len(), self.execution)?;
            executor = policy.executor();
            let mut controller = PolicyController::new(policy)?;
            observation = controller.sight().name();
            let progress = |_, running| progress(running);
            let per_action = if delay.steps == 0 {
                episodes.extend(score(&mut controller, batch, progress)?);
                controller.evaluations_per_action()
            } else {
                let mut delayed = Delayed::new(controller, delay);
                episodes.extend(score(&mut delayed, batch, progress)?);
                delayed.planning().evaluations_per_action()
            };
            evaluations += per_action * batch.len() as f64;
        }
        Ok(Scored {
            episodes,
            executor,
            evaluations_per_action: evaluations / seeds.len() as f64,
            plan,
            solver,
            observation,
        })
    }

    fn open(&self, variant: &Variant) -> Result<Checkpoint> {
        let mut checkpoint = checkpoint::open(&self.folder, self.device)?;
        let policy = checkpoint.policy_mut();
        ensure!(
            policy.task.name == "pusht",
            "{}: the checkpoint is for task `{}`, the simulator knows `pusht`",
            self.folder.display(),
            policy.task.name
        );
        if let Some(solver) = variant.solver {
            policy.sampler.solver = solver;
        }
        let delay_steps = variant.delay_steps(policy.task.rate_hz)?;
        variant.override_plan(&mut policy.plan, delay_steps)?;
        policy.check()?;
        Ok(checkpoint)
    }
}

/// Runs episodes with a controller.
pub(crate) fn score<C: Controller<Error = kinestream_policy::Error>>(
    controller: &mut C,
    seeds: &[u32],
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Episode>> {
    evaluation::evaluate(controller, seeds, evaluation::MAX_STEPS, progress)
        .map_err(|error| anyhow!("{error}"))
}

/// Latency of single observations on an episode of its own, the first plan left out.
fn latency(
    checkpoint: Checkpoint,
    device: Device,
    execution: Execution,
    seed: u32,
) -> Result<Percentiles> {
    let mut controller =
        PolicyController::new(Policy::executed(checkpoint, device, 1, execution)?)?;
    let steps = LATENCY_OBSERVATIONS;
    evaluation::evaluate(&mut controller, &[seed], steps, |_, _| {})
        .map_err(|error| anyhow!("{error}"))?;
    Ok(controller.latencies().percentiles_ms())
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
    if report.delay_ms > 0.0 {
        say!(
            "  delay                   {} ms, {} actions committed ahead",
            report.delay_ms,
            report.commit_ahead
        );
    }
    say!(
        "  evaluations per action  {:.2}",
        report.evaluations_per_action
    );
    let Percentiles { p50, p99, .. } = report.latency_ms;
    say!("  latency, batch 1        p50 {p50:.2} ms, p99 {p99:.2} ms");
    say!(
        "  wall time               {:.1} s on {} threads, {}",
        report.wall_s,
        report.threads,
        output::executed(report.executor, report.precision)
    );
}
