//! `kinestream eval`: scores of a policy with their intervals.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use kinestream_control::Percentiles;
use kinestream_diffusion::Solver;
use kinestream_policy::config::{PlanConfig, PlanMode};
use kinestream_policy::{Checkpoint, Policy};
use kinestream_sim::delay::{Delay, Delayed, Entry};
use kinestream_sim::evaluation::{self, Controller, Episode, Summary};
use serde::Serialize;
use tch::Device;

use super::delay_curve;
use crate::cli::{EvalArguments, Join, SolverName};
use crate::config::Config;
use crate::controller::PolicyController;
use crate::output::say;
use crate::{checkpoint, device, output};

/// Observations after which latency alone, at batch 1, is measured.
const LATENCY_OBSERVATIONS: usize = 300;

/// A way of running a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Variant {
    /// Whole chunks and how late ones join, in place of the checkpoint's own mode.
    pub(super) chunk: Option<Join>,
    pub(super) steps: Option<f64>,
    pub(super) action_steps: Option<usize>,
    pub(super) solver: Option<SolverName>,
    pub(super) commit_ahead: Option<usize>,
    pub(super) delay_ms: f64,
}

/// Where and on what variants are run.
pub(super) struct Bench<'a> {
    pub(super) folder: PathBuf,
    pub(super) device: Device,
    pub(super) arguments: &'a EvalArguments,
}

/// What a variant scored.
pub(super) struct Scored {
    pub(super) episodes: Vec<Episode>,
    pub(super) evaluations_per_action: f64,
    pub(super) plan: PlanConfig,
    pub(super) solver: Solver,
}

#[derive(Debug, Serialize)]
struct Report {
    task: String,
    observation: String,
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
    let bench = Bench {
        folder,
        device,
        arguments,
    };
    if arguments.delay_curve {
        return delay_curve::run(&bench, threads);
    }
    let variant = Variant {
        chunk: arguments
            .chunk
            .then(|| arguments.join.unwrap_or(Join::Restart)),
        steps: arguments.steps,
        action_steps: arguments.action_steps,
        solver: arguments.solver,
        commit_ahead: arguments.commit_ahead,
        delay_ms: arguments.delay_ms,
    };
    let seeds = arguments.seeds.to_vec();
    let begun = Instant::now();
    let bar = output::progress(seeds.len() as u64 * evaluation::MAX_STEPS as u64, "steps");
    let scored = bench.score(&variant, &seeds, |running| bar.inc(running as u64))?;
    bar.finish_and_clear();
    let wall_s = begun.elapsed().as_secs_f64();
    let latency = latency(bench.open(&variant)?, device, seeds[0])?;
    let plan = scored.plan;
    let report = Report {
        task: "pusht".into(),
        observation: "state".into(),
        checkpoint: bench.folder.display().to_string(),
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

impl Bench<'_> {
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
        for batch in seeds.chunks(self.arguments.batch) {
            let opened = match checkpoint.take() {
                Some(checkpoint) => checkpoint,
                None => self.open(variant)?,
            };
            let policy = Policy::new(opened, self.device, batch.len())?;
            let mut controller = PolicyController::new(policy)?;
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
            evaluations_per_action: evaluations / seeds.len() as f64,
            plan,
            solver,
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
        match variant.solver {
            Some(SolverName::Ddpm) => policy.sampler.solver = Solver::Ddpm,
            Some(SolverName::Ddim) => policy.sampler.solver = Solver::Ddim { eta: 0.0 },
            None => {}
        }
        let delay_steps = variant.delay_steps(policy.task.rate_hz)?;
        variant.override_plan(&mut policy.plan, delay_steps)?;
        Ok(checkpoint)
    }
}

impl Variant {
    fn delay_steps(&self, rate_hz: f64) -> Result<usize> {
        let (delay, period) = (self.delay_ms, 1e3 / rate_hz);
        let steps = (delay / period).round();
        ensure!(
            (0.0..1e6).contains(&steps) && (steps * period - delay).abs() < 1e-6,
            "--delay-ms is {delay}, expected a multiple of the control period, {period} ms, such \
             as {}: an evaluation goes in lock step",
            period * (delay / period).clamp(1.0, 1e6).floor()
        );
        Ok(steps as usize)
    }

    fn delay(&self, plan: &PlanConfig, rate_hz: f64) -> Result<Delay> {
        let entry = match self.chunk {
            Some(Join::Restart) => Entry::First,
            _ => Entry::Due,
        };
        let delay = Delay {
            steps: self.delay_steps(rate_hz)?,
            action_steps: plan.action_steps,
            entry,
        };
        let dropped = if entry == Entry::Due { delay.steps } else { 0 };
        let most = plan.horizon - plan.past();
        let executed = delay.action_steps.max(delay.steps);
        ensure!(
            dropped + executed <= most,
            "--delay-ms {} is {} actions: with {executed} executed per plan a plan of {most} runs \
             out; lower it or --action-steps",
            self.delay_ms,
            delay.steps
        );
        Ok(delay)
    }

    fn override_plan(&self, plan: &mut PlanConfig, delay_steps: usize) -> Result<()> {
        if self.chunk.is_some() {
            plan.mode = PlanMode::Chunk;
            plan.action_steps = (plan.horizon - plan.past()).min(8);
            plan.levels = Some(100);
        }
        if let Some(steps) = self.action_steps {
            let most = plan.horizon - plan.past();
            ensure!(
                (1..=most).contains(&steps),
                "--action-steps is {steps}, expected 1 to {most}, the actions that a plan of this checkpoint holds"
            );
            plan.action_steps = steps;
        }
        if let Some(steps) = self.steps {
            ensure!(
                steps > 0.0 && steps.is_finite(),
                "--steps is {steps}, expected a number above 0 such as 0.25, 1 or 100"
            );
            if plan.mode != PlanMode::Chunk && self.action_steps.is_none() && steps < 1.0 {
                // Fewer evaluations than actions: one evaluation serves several.
                plan.action_steps = (1.0 / steps).round() as usize;
            }
        }
        self.override_prefix(plan, delay_steps)?;
        if let Some(steps) = self.steps {
            plan.levels = Some(if plan.mode == PlanMode::Chunk {
                steps.round().max(1.0) as usize
            } else {
                (steps * (plan.chunks() * plan.action_steps) as f64).round() as usize
            });
        }
        Ok(())
    }

    /// What is committed while a plan is computed, at the same evaluations per observation.
    fn override_prefix(&self, plan: &mut PlanConfig, delay_steps: usize) -> Result<()> {
        let commits = match self.chunk {
            None => plan.mode == PlanMode::Streaming,
            Some(join) => matches!(join, Join::Inpaint | Join::Prefix),
        };
        let (levels, chunks) = (plan.ladder_levels(), plan.chunks());
        plan.commit_ahead = match self.commit_ahead {
            Some(actions) => actions,
            None if delay_steps == 0 && self.chunk.is_none() => plan.commit_ahead,
            None if commits => {
                ensure!(
                    delay_steps <= plan.action_steps,
                    "--delay-ms {} is {delay_steps} actions, more than the {} that a plan brings; \
                     add --action-steps {delay_steps} or lower the delay",
                    self.delay_ms,
                    plan.action_steps
                );
                delay_steps
            }
            None => 0,
        };
        plan.inpaint = match self.chunk {
            Some(Join::Inpaint) => Some(plan.inpaint.unwrap_or_default()),
            _ => None,
        };
        if plan.mode == PlanMode::Streaming && plan.chunks() != chunks {
            plan.levels = Some((levels * plan.chunks() + chunks / 2) / chunks);
        }
        Ok(())
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
fn latency(checkpoint: Checkpoint, device: Device, seed: u32) -> Result<Percentiles> {
    let mut controller = PolicyController::new(Policy::new(checkpoint, device, 1)?)?;
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
        "  wall time               {:.1} s on {} threads",
        report.wall_s,
        report.threads
    );
}
