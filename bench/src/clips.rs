//! `kinestream bench clips`: time of whole clips by batch, threads and denoise steps, beside other
//! models in turns, as ratios within one run.

use std::time::Instant;

use anyhow::{Result, ensure};
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::emdm::{Emdm, Request};
use serde::Serialize;

use kinestream_command_line::bench::BenchClipsArguments;
use kinestream_runtime::{checkpoint, device};
use kinestream_terminal::{output, say};

/// Clips of a batch.
const BATCHES: [usize; 2] = [1, 32];
/// Step counts of the first model, beside all of its steps.
const STEPS: [usize; 3] = [1, 2, 5];
/// Turns; the fastest of each counts, since whatever else runs only makes it slower.
const TURNS: usize = 5;
/// Most seconds of a turn's single clip batch that is measured more than once.
const LONG: f64 = 5.0;

#[derive(Debug, Serialize)]
struct Report {
    device: String,
    cores: usize,
    seconds: f64,
    frames: usize,
    turns: usize,
    rows: Vec<Row>,
}

/// One model at one size.
#[derive(Debug, Serialize)]
struct Row {
    checkpoint: String,
    parameters: usize,
    steps: usize,
    guidance: f64,
    threads: usize,
    batch: usize,
    ms_per_clip: f64,
    ms_per_frame: f64,
    /// Frames made per second, in multiples of real time.
    real_time: f64,
    /// Time over that of the first model with all its steps, at this batch and these threads.
    ratio: f64,
}

/// What is timed.
struct Contender {
    checkpoint: String,
    model: Emdm,
    steps: usize,
}

pub(crate) fn run(arguments: &BenchClipsArguments) -> Result<()> {
    let device = device::parse(&arguments.device)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let named = arguments.checkpoint.clone();
    let first = named.unwrap_or_else(|| checkpoint::SHIPPED_CLIPS.into());
    let open = |folder: &std::path::Path, steps: Option<usize>| -> Result<Contender> {
        let folder = checkpoint::locate(folder);
        let model = Emdm::load(&folder, device)?;
        Ok(Contender {
            checkpoint: folder.display().to_string(),
            steps: steps.unwrap_or(model.config().clips.steps()),
            model,
        })
    };
    let mut contenders = vec![open(&first, None)?];
    let all = contenders[0].steps;
    for steps in STEPS.into_iter().filter(|steps| *steps < all) {
        contenders.push(open(&first, Some(steps))?);
    }
    for other in &arguments.against {
        contenders.push(open(other, None)?);
    }
    let seconds = arguments.seconds;
    let frames = contenders[0]
        .model
        .repertoire()
        .length(None, Some(seconds))?;
    let mut rows = Vec::new();
    let line = output::status_line();
    for threads in [1, cores.min(2)] {
        device::set_threads(Some(threads))?;
        for batch in BATCHES {
            line.set_message(format!("timing: {threads} threads, batches of {batch}"));
            let best = race(&contenders, batch, seconds)?;
            for (contender, took) in contenders.iter().zip(&best) {
                let clip = took / batch as f64;
                rows.push(Row {
                    checkpoint: contender.checkpoint.clone(),
                    parameters: contender.model.parameters(),
                    steps: contender.steps,
                    guidance: contender.model.config().clips.guidance,
                    threads,
                    batch,
                    ms_per_clip: 1e3 * clip,
                    ms_per_frame: 1e3 * clip / frames as f64,
                    real_time: frames as f64 / FRAME_RATE / clip,
                    ratio: took / best[0],
                });
            }
        }
        if cores < 2 {
            break;
        }
    }
    line.finish_and_clear();
    let report = Report {
        device: arguments.device.clone(),
        cores,
        seconds: frames as f64 / FRAME_RATE,
        frames,
        turns: TURNS,
        rows,
    };
    if arguments.json {
        return output::json(&report);
    }
    report.print();
    Ok(())
}

/// Seconds that a batch of clips takes each contender at its fastest; they take turns.
fn race(contenders: &[Contender], batch: usize, seconds: f64) -> Result<Vec<f64>> {
    let mut best = vec![f64::INFINITY; contenders.len()];
    for turn in 0..TURNS {
        for (contender, best) in contenders.iter().zip(&mut best) {
            if turn > 0 && *best > LONG {
                continue;
            }
            let requests: Vec<Request> = (0..batch)
                .map(|number| Request {
                    label: Some(number % contender.model.labels().len()),
                    seconds: Some(seconds),
                    seed: (turn * batch + number) as u64,
                    ..Request::default()
                })
                .collect();
            let model = &contender.model;
            let begun = Instant::now();
            model.generate(&requests, model.guidance(), contender.steps)?;
            *best = best.min(begun.elapsed().as_secs_f64());
        }
    }
    ensure!(best.iter().all(|one| one.is_finite()), "nothing was timed");
    Ok(best)
}

impl Report {
    fn print(&self) {
        say!(
            "clips of {:.2} s ({} frames) on {}; the fastest of {} turns\n",
            self.seconds,
            self.frames,
            self.device,
            self.turns
        );
        say!(
            "| clips | steps | threads | batch | ms a clip | ms a frame | times real time | ratio |"
        );
        say!("|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            say!(
                "| {} | {} | {} | {} | {:.1} | {:.3} | {:.0} | {:.2} |",
                row.checkpoint,
                row.steps,
                row.threads,
                row.batch,
                row.ms_per_clip,
                row.ms_per_frame,
                row.real_time,
                row.ratio
            );
        }
    }
}
