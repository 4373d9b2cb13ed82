//! `kinestream eval --curve` and `--against`: score against network evaluations per action, over training runs.
//!
//! Rows are printed and drawn as they are done: a run that is ended half-way has said what it knows.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use kinestream_policy::config::RestartConfig;
use kinestream_sim::evaluation::{self, Summary};
use kinestream_sim::statistics;
use serde::Serialize;

use super::scoring::EvalContext;
use super::variant::RunOverrides;
use kinestream_command_line::ChunkTransition;
use kinestream_terminal::plot::{Plot, Point, Series};
use kinestream_terminal::{output, say};

/// Network evaluations per action and how they are spent, by way of running.
///
/// Chunks of eight actions in so many DDIM steps; chunks that go on from the last one, or restart from it,
/// in the way that docs/IMPORT.md found best at the price; rolling plans of four actions.
const CHUNK_STEPS: [f64; 6] = [2.0, 4.0, 8.0, 16.0, 40.0, 100.0];
/// Denoise steps and actions of chunks that go on from the one before them.
const ITERATIONS: [(usize, usize); 4] = [(1, 4), (2, 4), (2, 2), (5, 1)];
/// Denoise steps and actions of chunks that restart.
const RESTARTS: [(usize, usize); 4] = [(1, 8), (2, 8), (3, 4), (5, 2)];
/// Evaluations per action of rolling plans that bring four actions each.
const ROLLING: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 5.0];
/// The same where each brings two, or one.
const ROLLING_TWO: [f64; 3] = [0.5, 1.0, 5.0];
const ROLLING_ONE: [f64; 2] = [1.0, 5.0];
/// Levels of the ladders of chunks that go on or restart.
const SHORT_LADDER: f64 = 10.0;

#[derive(Debug, Serialize)]
struct Report {
    task: &'static str,
    checkpoints: Vec<String>,
    seeds: Vec<u32>,
    rows: Vec<Row>,
    threads: usize,
    wall_s: f64,
}

/// One way of running at one price.
#[derive(Debug, Serialize)]
struct Row {
    way: &'static str,
    /// Options of `kinestream eval` that score it alone.
    options: String,
    /// Of the first checkpoint; surprises make restarts dearer.
    evaluations_per_action: f64,
    /// One for every checkpoint.
    runs: Vec<Summary>,
    /// Mean over the checkpoints of the mean of max reward, with its 95 % interval over them where there are
    /// several.
    mean: Option<f64>,
    mean_interval: Option<[f64; 2]>,
    mean_success: Option<f64>,
}

/// A way of running, before it is.
struct Asked {
    way: &'static str,
    options: String,
    variant: RunOverrides,
}

/// Scores `variant`, or with `--curve` every way at every price, for all checkpoints.
pub(super) fn run(setup: &EvalContext<'_>, variant: &RunOverrides, threads: usize) -> Result<()> {
    let arguments = setup.arguments;
    let mut folders = vec![setup.folder.clone()];
    folders.extend(arguments.against.iter().cloned());
    let seeds = arguments.seeds.to_vec();
    let asked = match arguments.curve {
        true => every_way(variant, arguments.within),
        false => vec![Asked {
            way: "as asked",
            options: String::new(),
            variant: *variant,
        }],
    };
    let begun = Instant::now();
    let steps = seeds.len() as u64 * setup.environment.max_steps as u64;
    let bar = output::progress(asked.len() as u64 * folders.len() as u64 * steps, "steps");
    if !arguments.json {
        say!("{} seeds; score and success of", seeds.len());
        for (index, folder) in folders.iter().enumerate() {
            say!("  [{}] {}", index + 1, folder.display());
        }
    }
    let mut report = Report {
        task: setup.environment.name,
        checkpoints: folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect(),
        seeds,
        rows: Vec::new(),
        threads,
        wall_s: 0.0,
    };
    for Asked {
        way,
        options,
        variant,
    } in asked
    {
        bar.set_message(format!("{way} {options}"));
        let row = row(
            setup,
            &folders,
            (way, options),
            &variant,
            &report.seeds,
            &|count| {
                bar.inc(count as u64);
            },
        )?;
        if !arguments.json {
            bar.suspend(|| say!("{}", told(&row)));
        }
        report.rows.push(row);
        report.wall_s = begun.elapsed().as_secs_f64();
        if let Some(folder) = &arguments.pictures {
            draw(&report, setup.environment.title, folder)?;
        }
    }
    bar.finish_and_clear();
    if arguments.json {
        return output::json(&report);
    }
    say!("wall time {:.1} s on {threads} threads", report.wall_s);
    Ok(())
}

fn row(
    setup: &EvalContext<'_>,
    folders: &[PathBuf],
    (way, options): (&'static str, String),
    variant: &RunOverrides,
    seeds: &[u32],
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Row> {
    let mut runs = Vec::new();
    let mut evaluations_per_action = None;
    for folder in folders {
        let setup = EvalContext {
            folder: folder.clone(),
            ..*setup
        };
        let scored = setup
            .score(variant, seeds, progress)
            .with_context(|| folder.display().to_string())?;
        evaluations_per_action.get_or_insert(scored.evaluations_per_action);
        runs.push(evaluation::summarise(&scored.episodes));
    }
    let scores: Vec<f64> = runs.iter().filter_map(|run| run.mean_max_reward).collect();
    let success: Vec<f64> = runs.iter().filter_map(|run| run.success_rate).collect();
    let average = |values: &[f64]| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Ok(Row {
        way,
        options,
        evaluations_per_action: evaluations_per_action.unwrap_or(f64::NAN),
        mean: average(&scores),
        mean_interval: statistics::mean(&scores).map(|mean| [mean.low, mean.high]),
        mean_success: average(&success),
        runs,
    })
}

/// Every way of running at every price; solver and executor as asked.
fn every_way(asked: &RunOverrides, within: f64) -> Vec<Asked> {
    let plain = RunOverrides {
        chunk: None,
        steps: None,
        action_steps: None,
        commit_ahead: None,
        iterate: None,
        restart: None,
        delay_ms: 0.0,
        ..*asked
    };
    let chunk = RunOverrides {
        chunk: Some(ChunkTransition::Restart),
        ..plain
    };
    let mut all = Vec::new();
    let mut add = |way, options: String, variant| {
        all.push(Asked {
            way,
            options,
            variant,
        });
    };
    for steps in CHUNK_STEPS {
        let variant = RunOverrides {
            steps: Some(steps),
            ..chunk
        };
        add("whole chunks", format!("--chunk --steps {steps}"), variant);
    }
    for (steps, actions) in ITERATIONS {
        let variant = RunOverrides {
            steps: Some(SHORT_LADDER),
            action_steps: Some(actions),
            iterate: Some(steps),
            ..chunk
        };
        let options =
            format!("--chunk --steps {SHORT_LADDER} --iterate {steps} --action-steps {actions}");
        add("iteration", options, variant);
    }
    for (steps, actions) in RESTARTS {
        let variant = RunOverrides {
            steps: Some(SHORT_LADDER),
            action_steps: Some(actions),
            restart: Some(RestartConfig { steps, within }),
            ..chunk
        };
        let options =
            format!("--chunk --steps {SHORT_LADDER} --restart {steps} --action-steps {actions}");
        add("restarts", options, variant);
    }
    let rolling = [
        ("rolling, four actions", 4, &ROLLING[..]),
        ("rolling, two actions", 2, &ROLLING_TWO[..]),
        ("rolling, one action", 1, &ROLLING_ONE[..]),
    ];
    for (way, actions, prices) in rolling {
        for steps in prices {
            let variant = RunOverrides {
                steps: Some(*steps),
                action_steps: Some(actions),
                ..plain
            };
            let options = format!("--action-steps {actions} --steps {steps}");
            add(way, options, variant);
        }
    }
    all
}

fn told(row: &Row) -> String {
    let runs: Vec<String> = row.runs.iter().map(score).collect();
    let mean = match (row.mean, row.mean_interval) {
        (Some(mean), interval @ Some(_)) => {
            format!("; mean {mean:.3}{}", output::bounds(interval))
        }
        _ => String::new(),
    };
    format!(
        "{:<22} {:>6.2} per action  {}{mean}  {}",
        row.way,
        row.evaluations_per_action,
        runs.join(", "),
        row.options
    )
}

fn score(run: &Summary) -> String {
    format!(
        "{:.3}{} {:.1} %",
        run.mean_max_reward.unwrap_or(f64::NAN),
        output::bounds(run.mean_max_reward_interval),
        100.0 * run.success_rate.unwrap_or(f64::NAN)
    )
}

/// Writes the scores as a picture.
fn draw(report: &Report, environment: &str, folder: &Path) -> Result<()> {
    let mut series: Vec<Series> = Vec::new();
    for row in &report.rows {
        let (Some(value), [run, others @ ..]) = (row.mean, &row.runs[..]) else {
            continue;
        };
        let interval = match others {
            [] => run.mean_max_reward_interval,
            _ => row.mean_interval,
        };
        // An interval over few training runs reaches beyond what a score can be.
        let interval = interval.map(|bounds| bounds.map(|bound| bound.clamp(0.0, 1.0)));
        let point = Point {
            x: row.evaluations_per_action,
            y: value,
            interval,
        };
        match series.iter_mut().find(|one| one.name == row.way) {
            Some(one) => one.points.push(point),
            None => series.push(Series {
                name: row.way.into(),
                points: vec![point],
            }),
        }
    }
    let plot = Plot {
        title: format!(
            "{environment}, {} seeds, {} training runs",
            report.seeds.len(),
            report.checkpoints.len()
        ),
        x: "network evaluations per action".into(),
        y: "mean of max reward".into(),
        series,
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join("steps.svg");
    std::fs::write(&path, plot.svg()).with_context(|| format!("cannot write {}", path.display()))
}
