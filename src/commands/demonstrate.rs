//! `kinestream demonstrate`: demonstrations by an environment's own script, as a data set to train on.

use anyhow::{Context, Result, ensure};
use kinestream_policy::data::write_replay_buffer;
use kinestream_sim::environment::EnvironmentSpec;
use kinestream_sim::evaluation::TEST_SEED;
use kinestream_sim::registry;
use kinestream_sim::routes::RouteSummary;
use serde::Serialize;

use kinestream_command_line::DemonstrateArguments;
use kinestream_runtime::config::Config;
use kinestream_runtime::environments::demonstrations::{self, Demonstrations};
use kinestream_terminal::{output, say};

#[derive(Debug, Serialize)]
struct Report {
    task: &'static str,
    out: String,
    episodes: usize,
    /// Seeds of demonstrations that failed and are not recorded.
    failed: Vec<u32>,
    rows: usize,
    first_seed: u32,
    last_seed: u32,
    /// Of the recorded episodes.
    mean_score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<RouteSummary>,
}

pub(crate) fn run(arguments: &DemonstrateArguments) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    let task = &config.task;
    let environment = registry::find(&task.name)
        .with_context(|| format!("in {}: task.name", arguments.config.display()))?;
    ensure!(
        environment.demonstrator.is_some(),
        "{}: `{}` has no demonstrator; record demonstrations of it elsewhere and train on them with --data",
        arguments.config.display(),
        environment.name
    );
    ensure!(
        task.rate_hz == environment.rate_hz,
        "in {}: task.rate_hz is {}, expected {}, the rate of `{}`",
        arguments.config.display(),
        task.rate_hz,
        environment.rate_hz,
        environment.name
    );
    ensure!(
        environment
            .arrays
            .iter()
            .all(|array| array.name != task.action),
        "in {}: task.action is `{}`, which is an observation of `{}`; expected a name of its own such as `action`",
        arguments.config.display(),
        task.action,
        environment.name
    );
    for part in &task.observation {
        ensure!(
            part.image.is_none(),
            "in {}: task.observation has the picture `{}`; demonstrations hold numbers only",
            arguments.config.display(),
            part.array
        );
        ensure!(
            environment
                .arrays
                .iter()
                .any(|array| array.name == part.array),
            "in {}: task.observation has `{}`, expected one of {}",
            arguments.config.display(),
            part.array,
            names(environment)
        );
    }
    // Known before any work is done; the writer looks again.
    ensure!(
        !arguments.out.exists(),
        "{}: already exists and is not replaced; remove it or name another --out",
        arguments.out.display()
    );
    let demonstrations = usize::try_from(arguments.episodes)?;
    let recording =
        demonstrations::record(environment, &task.action, arguments.seed, demonstrations)?;
    write_replay_buffer(&arguments.out, &recording.arrays, &recording.ends)?;
    tell(environment, &recording, arguments)
}

fn names(environment: &EnvironmentSpec) -> String {
    let names = environment.arrays.iter().map(|array| array.name);
    names.collect::<Vec<_>>().join(", ")
}

fn tell(
    environment: &'static EnvironmentSpec,
    recording: &Demonstrations,
    arguments: &DemonstrateArguments,
) -> Result<()> {
    let (episodes, count) = (&recording.episodes, recording.episodes.len());
    let scores = episodes.iter().map(|episode| episode.score);
    let seeds = episodes.iter().map(|episode| episode.seed);
    let report = Report {
        task: environment.name,
        out: arguments.out.display().to_string(),
        episodes: count,
        failed: recording.failed.clone(),
        rows: recording.ends.last().copied().unwrap_or(0),
        first_seed: arguments.seed,
        last_seed: seeds.max().unwrap_or(arguments.seed),
        mean_score: scores.sum::<f64>() / count.max(1) as f64,
        routes: RouteSummary::of(environment, episodes),
    };
    if report.last_seed >= TEST_SEED {
        tracing::warn!(
            "seeds {} to {} reach those that policies are tested on, {TEST_SEED} and up; choose a smaller --seed",
            report.first_seed,
            report.last_seed
        );
    }
    if arguments.json {
        return output::json(&report);
    }
    say!(
        "{}: {} episodes of {}, {} rows, mean score {:.3}, {} failed and left out",
        report.out,
        report.episodes,
        environment.title,
        report.rows,
        report.mean_score,
        report.failed.len()
    );
    if let Some(routes) = &report.routes {
        say!("  routes                  {routes}");
    }
    Ok(())
}
