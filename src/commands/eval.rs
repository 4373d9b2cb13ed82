//! `kinestream eval`: scores of a policy with their intervals.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kinestream_control::Percentiles;
use kinestream_diffusion::{Denoiser, Execution, Executor, Precision, Solver};
use kinestream_policy::config::{PlanMode, RestartConfig};
use kinestream_policy::{Checkpoint, Policy};
use kinestream_sim::evaluation::{self, EpisodeSet, Summary};
use kinestream_sim::routes::RouteSummary;
use serde::Serialize;

use super::scoring::{self, EvalContext};
use super::variant::{RunOverrides, named_solver};
use super::{delay_curve, steps_curve};
use kinestream_command_line::{ChunkTransition, EvalArguments};
use kinestream_runtime::config::Config;
use kinestream_runtime::environments::controller::PolicyController;
use kinestream_runtime::{checkpoint, device, run_settings};
use kinestream_terminal::output;
use kinestream_terminal::say;

/// Observations after which latency alone, at batch 1, is measured.
const LATENCY_OBSERVATIONS: usize = 300;

#[derive(Debug, Serialize)]
struct Report {
    task: &'static str,
    observation: &'static str,
    checkpoint: String,
    mode: PlanMode,
    solver: Solver,
    delay_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<ChunkTransition>,
    commit_ahead: usize,
    seeds: Vec<u32>,
    /// Seed of the state that every episode began from, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u32>,
    scores: Vec<f64>,
    #[serde(flatten)]
    summary: Summary,
    /// When an episode counts as a success, for the text alone.
    #[serde(skip)]
    success: &'static str,
    /// The ways taken, where the environment tells several right ones apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<RouteSummary>,
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
    let is_drawn = arguments.curve || !arguments.against.is_empty();
    ensure!(
        arguments.pictures.is_none() || is_drawn,
        "--pictures draws the scores of --curve or --against, and neither is given"
    );
    let opened = checkpoint::open(&folder, device)?;
    let action = opened.network().dimensions().action as usize;
    for (at, guidance) in config.plan.guidance.iter().enumerate() {
        let place = || {
            format!(
                "in {}, [[plan.guidance]] no. {}",
                arguments.config.display(),
                at + 1
            )
        };
        guidance.check(action).with_context(place)?;
    }
    let task = opened.policy().task.name.clone();
    drop(opened);
    let setup = EvalContext {
        environment: scoring::environment_of(&task, &folder)?,
        folder,
        device,
        execution: Execution {
            executor: arguments.executor.unwrap_or(config.runtime.executor),
            precision: arguments.precision.unwrap_or(config.runtime.precision),
            threads,
        },
        arguments,
        config: &config,
    };
    if setup.folder != config.runtime.checkpoint {
        let trained = run_settings::trained_policy(&setup.folder)?;
        for text in run_settings::differences(&config.written, &config.policy(), &trained)? {
            if !text.starts_with("plan.guidance") {
                tracing::warn!(
                    "{}: {text}: --checkpoint runs as it was trained, but for the options of `eval`",
                    arguments.config.display()
                );
            }
        }
    }
    if arguments.delay_curve {
        return delay_curve::run(&setup, threads);
    }
    let variant = RunOverrides {
        chunk: arguments
            .chunk
            .then(|| arguments.join.unwrap_or(ChunkTransition::Restart)),
        steps: arguments.steps,
        action_steps: arguments.action_steps,
        solver: named_solver(arguments),
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
    let environment = setup.environment;
    let bar = output::progress(seeds.len() as u64 * environment.max_steps as u64, "steps");
    let scored = setup.score(&variant, &seeds, |running| bar.inc(running as u64))?;
    bar.finish_and_clear();
    let wall_s = begun.elapsed().as_secs_f64();
    let latency = latency(&setup, setup.open(&variant)?, seeds[0])?;
    let plan = scored.plan;
    let report = Report {
        task: environment.name,
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
        success: environment.success,
        routes: RouteSummary::of(environment, &scored.episodes),
        start: arguments.start,
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

/// Latency of single observations on episodes of its own, from `seed` on, the first plan left out.
fn latency(setup: &EvalContext<'_>, checkpoint: Checkpoint, seed: u32) -> Result<Percentiles> {
    let policy = Policy::executed(checkpoint, setup.device, 1, setup.execution)?;
    let mut controller = PolicyController::new(policy, setup.environment)?;
    let mut left = LATENCY_OBSERVATIONS;
    let mut seeds = [seed];
    while left > 0 {
        let episodes = EpisodeSet {
            max_steps: left,
            ..EpisodeSet::new(setup.environment, &seeds)
        };
        let done = scoring::score(&mut controller, &episodes, |_, _| {})?;
        left = left.saturating_sub(done[0].steps.max(1));
        seeds[0] = seeds[0].wrapping_add(1);
    }
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
        "  {:<23} {}",
        format!("success ({})", report.success),
        figure(success_rate, success_interval)
    );
    if let Some(routes) = &report.routes {
        say!("  routes                  {routes}");
    }
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
