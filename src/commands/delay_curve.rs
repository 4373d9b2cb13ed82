//! `kinestream eval --delay-curve`: what delay costs, for every way to live with it.

use std::time::Instant;

use anyhow::Result;
use kinestream_sim::evaluation::{self, Episode, Summary};
use kinestream_sim::statistics;
use serde::Serialize;

use super::scoring::EvalContext;
use super::variant::{RunOverrides, named_solver};
use kinestream_command_line::ChunkTransition;
use kinestream_terminal::{output, say};

/// Delays of the curve, in milliseconds.
const DELAYS_MS: [f64; 4] = [0.0, 100.0, 200.0, 400.0];

/// Evaluations of a chunk, unless --steps says otherwise.
const CHUNK_STEPS: f64 = 10.0;

#[derive(Debug, Serialize)]
struct Report {
    checkpoint: String,
    seeds: Vec<u32>,
    curve: Vec<Point>,
    threads: usize,
    wall_s: f64,
}

/// One way to live with delay, at one delay.
#[derive(Debug, Serialize)]
struct Point {
    way: &'static str,
    delay_ms: f64,
    #[serde(flatten)]
    summary: Summary,
    /// Mean of the differences of the same seeds to no delay, and its 95 % interval; absent without
    /// delay, and the interval for one seed.
    difference: Option<f64>,
    difference_interval: Option<[f64; 2]>,
    action_steps: usize,
    commit_ahead: usize,
    evaluations_per_action: f64,
    scores: Vec<f64>,
}

/// What is compared: name, and how chunks join (none: the checkpoint's own streaming).
const WAYS: [(&str, Option<ChunkTransition>); 5] = [
    ("naive chunking", Some(ChunkTransition::Restart)),
    ("chunking, consumed dropped", Some(ChunkTransition::Skip)),
    ("in-painting", Some(ChunkTransition::Inpaint)),
    ("committed prefix", Some(ChunkTransition::Prefix)),
    ("streaming", None),
];

pub(super) fn run(setup: &EvalContext<'_>, threads: usize) -> Result<()> {
    let arguments = setup.arguments;
    let seeds = arguments.seeds.to_vec();
    let begun = Instant::now();
    let runs = (WAYS.len() * DELAYS_MS.len()) as u64;
    let length = runs * seeds.len() as u64 * setup.environment.max_steps as u64;
    let bar = output::progress(length, "steps");
    let mut curve = Vec::new();
    for (way, chunk) in WAYS {
        let mut undelayed: Option<Vec<Episode>> = None;
        for delay_ms in DELAYS_MS {
            bar.set_message(format!("{way}, {delay_ms} ms"));
            let variant = RunOverrides {
                chunk,
                steps: chunk.map(|_| arguments.steps.unwrap_or(CHUNK_STEPS)),
                action_steps: arguments.action_steps,
                solver: named_solver(arguments),
                commit_ahead: None,
                iterate: None,
                restart: None,
                delay_ms,
            };
            let scored = setup.score(&variant, &seeds, |running| bar.inc(running as u64))?;
            let (difference, difference_interval) = match &undelayed {
                Some(before) => paired(before, &scored.episodes),
                None => (None, None),
            };
            curve.push(Point {
                way,
                delay_ms,
                summary: evaluation::summarise(&scored.episodes),
                difference,
                difference_interval,
                action_steps: scored.plan.action_steps,
                commit_ahead: scored.plan.commit_ahead,
                evaluations_per_action: scored.evaluations_per_action,
                scores: scored
                    .episodes
                    .iter()
                    .map(|episode| episode.score)
                    .collect(),
            });
            undelayed.get_or_insert(scored.episodes);
        }
    }
    bar.finish_and_clear();
    let report = Report {
        checkpoint: setup.folder.display().to_string(),
        seeds,
        curve,
        threads,
        wall_s: begun.elapsed().as_secs_f64(),
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

/// Mean and interval of the differences of the same seeds.
fn paired(before: &[Episode], after: &[Episode]) -> (Option<f64>, Option<[f64; 2]>) {
    let differences: Vec<f64> = before
        .iter()
        .zip(after)
        .map(|(before, after)| after.score - before.score)
        .collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let interval = statistics::mean(&differences).map(|mean| [mean.low, mean.high]);
    (Some(mean), interval)
}

fn print(report: &Report) {
    say!("{} ({} seeds)", report.checkpoint, report.seeds.len());
    say!(
        "{:<28} {:>8} {:>5} {:<22} {:<26} {:>18}",
        "",
        "delay",
        "Ta",
        " score",
        " to no delay, same seeds",
        "evaluations/action"
    );
    for point in &report.curve {
        let score = point.summary.mean_max_reward.unwrap_or(f64::NAN);
        let score = format!(
            "{score:.3}{}",
            output::bounds(point.summary.mean_max_reward_interval)
        );
        let difference = point.difference.map_or(String::new(), |difference| {
            format!(
                "{difference:+.3}{}",
                output::bounds(point.difference_interval)
            )
        });
        say!(
            "{:<28} {:>5} ms {:>5}  {score:<22} {difference:<26} {:>17.2}",
            point.way,
            point.delay_ms,
            point.action_steps,
            point.evaluations_per_action
        );
    }
    say!(
        "wall time {:.1} s on {} threads",
        report.wall_s,
        report.threads
    );
}
