//! `kinestream eval --long-run`: hours of many characters.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kinestream_motion::controller::ControllerOptions;
use kinestream_motion_evaluation::long_run::{
    LongRun, LongRunOptions, LongRunReport, MINUTE, Trouble,
};
use serde::Serialize;
use tch::Device;

use super::Judge;
use kinestream_command_line::EvalArguments;
use kinestream_runtime::recording::CheckpointIdentity;
use kinestream_runtime::shutdown;
use kinestream_terminal::{output, say};

/// Minutes of a period whose distance is compared with that of others.
const PERIOD: u64 = 10;
/// Where a run is kept that nobody gave a place.
const USUAL_STATE: &str = "long-run.safetensors";
/// Between two lines about how far it is, where there is no terminal.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Most characters and hours.
const MOST_CHARACTERS: usize = 100_000;
const MOST_HOURS: f64 = 1000.0;

#[derive(Debug, Serialize)]
struct Report {
    checkpoint: String,
    characters: usize,
    hours: f64,
    seed: u64,
    /// Factor of the model's random numbers.
    diversity: f64,
    period_minutes: u64,
    /// Over the time that this process ran.
    frames_per_second: Option<f64>,
    #[serde(flatten)]
    found: LongRunReport,
}

pub(super) fn run(
    arguments: &EvalArguments,
    judge: &Judge,
    folder: &Path,
    device: Device,
) -> Result<()> {
    let (characters, hours) = (arguments.characters, arguments.hours);
    ensure!(
        (1..=MOST_CHARACTERS).contains(&characters),
        "--characters is {characters}, expected 1 to {MOST_CHARACTERS}"
    );
    ensure!(
        hours > 0.0 && hours <= MOST_HOURS,
        "--hours is {hours}, expected above 0, at most {MOST_HOURS}"
    );
    let minutes = ((hours * 60.0).round() as u64).max(1);
    let period = PERIOD.min(minutes.div_ceil(3));
    let options = LongRunOptions {
        characters,
        seed: judge.options.seed,
        diversity: arguments
            .diversity
            .unwrap_or(ControllerOptions::default().diversity),
    };
    let state: PathBuf = arguments
        .state
        .clone()
        .unwrap_or_else(|| USUAL_STATE.into());
    let identity = CheckpointIdentity::of_motion(folder)?.weights_sha256;
    let mut model = judge.open(folder, device)?;
    let mut run = LongRun::new(&model, options)?;
    if state.exists() {
        run.restore(&state, &identity)?;
        eprintln!(
            "going on after {} of {minutes} minutes, from {}",
            run.minutes(),
            state.display()
        );
    }
    let stop = shutdown::flag()?;
    let bar = output::progress(minutes * MINUTE as u64, "frames");
    bar.set_position(run.minutes() * MINUTE as u64);
    bar.reset_eta();
    let (begun, first) = (Instant::now(), run.minutes());
    let mut told = Instant::now();
    while run.minutes() < minutes {
        model = run.minute(model, &judge.extractor, |_| bar.inc(1))?;
        run.save(&state, &identity)
            .with_context(|| format!("the run cannot be kept in {}", state.display()))?;
        if bar.is_hidden() && told.elapsed() >= TOLD_EVERY {
            eprintln!("{} of {minutes} minutes", run.minutes());
            told = Instant::now();
        }
        if stop.load(Ordering::SeqCst) && run.minutes() < minutes {
            bar.finish_and_clear();
            eprintln!(
                "stopped after {} of {minutes} minutes; the same command goes on from {}",
                run.minutes(),
                state.display()
            );
            return Ok(());
        }
    }
    bar.finish_and_clear();
    let made = (run.minutes() - first) * (MINUTE * characters) as u64;
    let report = Report {
        checkpoint: folder.display().to_string(),
        characters,
        hours: minutes as f64 / 60.0,
        seed: options.seed,
        diversity: options.diversity,
        period_minutes: period,
        frames_per_second: (made > 0).then(|| made as f64 / begun.elapsed().as_secs_f64()),
        found: run.report(&judge.reference.held_out, period)?,
    };
    if arguments.json {
        return output::json(&report);
    }
    report.print();
    Ok(())
}

impl Report {
    fn print(&self) {
        let Self {
            checkpoint,
            characters,
            hours,
            found,
            ..
        } = self;
        say!("{checkpoint}: {characters} characters of {hours:.2} h");
        say!(
            "  frames           {}, {} refused",
            found.frames,
            found.frames_refused
        );
        say!(
            "  nothing wrong    {} of {characters} characters",
            found.healthy
        );
        for (name, trouble) in [
            ("not finite", found.not_finite),
            ("frozen", found.frozen),
            ("fallen", found.fallen),
            ("flying", found.flying),
            ("below the floor", found.sunk),
            ("stretched", found.stretched),
        ] {
            let Trouble { characters, times } = trouble;
            say!("  {name:16} {characters} characters, {times} times");
        }
        let list: Vec<String> = found.fid.iter().map(|fid| format!("{fid:.1}")).collect();
        say!(
            "  Fréchet distance to held-out clips, by {} minutes: {}",
            self.period_minutes,
            list.join(" ")
        );
        say!("  the last over the first  {:.3}", found.fid_ratio);
        if let Some(rate) = self.frames_per_second {
            say!("  frames per second        {rate:.0}");
        }
    }
}
