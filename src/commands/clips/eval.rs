//! `kinestream eval` for models of whole clips.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kinestream_motion::Clip;
use kinestream_motion::data::Dataset;
use kinestream_motion::emdm::Emdm;
use kinestream_motion::model::MotionModel;
use kinestream_motion::recogniser::MotionClassifier;
use kinestream_motion_evaluation::clips::{
    ClipEvaluator, Judged, JudgingOptions, Measured, Repeated,
};
use kinestream_motion_evaluation::course::Ratio;
use kinestream_motion_evaluation::transitions::{TransitionOptions, transitions};
use serde::Serialize;
use tch::Device;

use crate::clips::{ClipsConfig, RECOGNISER};
use crate::commands::motion::train::read_clips;
use kinestream_command_line::EvalArguments;
use kinestream_runtime::{checkpoint, device};
use kinestream_terminal::{output, say};

/// Step counts of `--curve`, beside all.
const CURVE: [usize; 3] = [1, 2, 5];

#[derive(Debug, Serialize)]
struct Report {
    recogniser: PathBuf,
    threads: usize,
    options: JudgingOptions,
    /// Labels of held-out clips: those that are judged on.
    labels: Vec<String>,
    /// What held-out clips reach themselves.
    held_out: Measured,
    /// What the clips reach that models were trained on.
    trained_on: Measured,
    models: Vec<Row>,
}

/// One model with one number of denoise steps.
#[derive(Debug, Serialize)]
struct Row {
    checkpoint: PathBuf,
    steps: usize,
    guidance: f64,
    /// Denoise steps that are guided so.
    guided_steps: usize,
    /// Evaluations of the network for a clip.
    evaluations: usize,
    ms_per_clip: f64,
    ms_per_frame: f64,
    #[serde(flatten)]
    judged: Judged,
}

pub(crate) fn run(arguments: &EvalArguments) -> Result<()> {
    let (config, labels) = ClipsConfig::read(&arguments.config)?;
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(arguments.threads)?;
    let Some(data) = &arguments.data else {
        bail!(
            "--data is missing: a model of whole clips is judged beside held-out clips; name the folder of \
               the motion capture"
        );
    };
    let named = arguments.checkpoint.as_ref();
    let named = named.unwrap_or(&config.evaluation.checkpoint);
    let mut folders = vec![checkpoint::locate(named)];
    folders.extend(arguments.against.iter().map(|one| checkpoint::locate(one)));
    let own = folders[0].join(RECOGNISER);
    let recogniser_folder = if own.exists() {
        own
    } else {
        checkpoint::locate(&config.evaluation.recogniser)
    };
    let recogniser = MotionClassifier::load(&recogniser_folder, device)?;
    let names: Vec<&str> = labels.names().collect();
    ensure!(
        recogniser.labels() == names,
        "{}: its labels are not those of {}; train the recogniser again",
        recogniser_folder.display(),
        config.data.labels.display()
    );
    let within = || format!("in {}", arguments.config.display());
    let set = read_clips(data, &config.clips(&labels)).with_context(within)?;
    if let Some(requests) = arguments.transitions {
        let clips = Emdm::load(&folders[0], device)?;
        return seams(clips, &set, requests, arguments.json);
    }
    let line = output::status_line();
    line.set_message("measuring: held-out clips");
    let judge = ClipEvaluator::new(recogniser, &set, &labels, config.model.clips.longest)?;
    let options = JudgingOptions {
        runs: arguments.runs,
        clips: arguments.clips,
        ..JudgingOptions::default()
    };
    ensure!(
        options.runs >= 1 && options.clips >= 10,
        "--runs is {} and --clips {}, expected at least 1 and 10",
        options.runs,
        options.clips
    );
    let [held_out, trained_on] = judge.truth(&options)?;
    let mut report = Report {
        recogniser: recogniser_folder,
        threads,
        labels: judge
            .labels()
            .iter()
            .map(|label| names[*label].to_owned())
            .collect(),
        held_out,
        trained_on,
        models: Vec::new(),
        options,
    };
    for folder in &folders {
        let model = Emdm::load(folder, device)?;
        for steps in steps(arguments, &model)? {
            let guidance = guidance(arguments, &model)?;
            let row = judged(
                &judge,
                &model,
                folder,
                (
                    steps,
                    guidance,
                    guided_steps(arguments, &model, guidance, steps),
                ),
                &report.options,
                &line,
            )?;
            report.models.push(row);
        }
    }
    line.finish_and_clear();
    if arguments.json {
        return output::json(&report);
    }
    report.print();
    Ok(())
}

/// Asks a steered character for clips, and looks at the seams.
fn seams(clips: Emdm, set: &Dataset, requests: usize, json: bool) -> Result<()> {
    ensure!(
        (1..=100_000).contains(&requests),
        "--transitions is {requests}, expected 1 to 100000 requests"
    );
    let folder = checkpoint::locate(checkpoint::SHIPPED_MOTION.as_ref());
    let model = MotionModel::load(&folder, Device::Cpu)?;
    let captured = set.train.captured();
    let sequences = captured.sequences.iter().chain(&set.held_out.sequences);
    let truth: Vec<&Clip> = sequences.map(|one| &one.clip).collect();
    let options = TransitionOptions {
        requests,
        ..TransitionOptions::default()
    };
    let bar = output::progress(requests as u64, "requests");
    let found = transitions(model, clips, &truth, &options, |done| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if json {
        return output::json(&found);
    }
    say!(
        "{} requests, {} frames, {} of them at seams; {} jumps there\n",
        found.requests,
        found.frames,
        found.seam_frames,
        found.jumps
    );
    say!("| from frame to frame | body, cm | turn of joints, ° | hips, cm |");
    say!("|---|---|---|---|");
    for (name, one) in [
        ("captured, 99.9 %", &found.limit),
        ("largest at a seam", &found.largest),
        ("all frames, 99.9 %", &found.all),
    ] {
        say!(
            "| {name} | {:.2} | {:.2} | {:.2} |",
            100.0 * one.body_m,
            one.turn_rad.to_degrees(),
            100.0 * one.hips_m
        );
    }
    Ok(())
}

/// The step counts that a model is judged at.
fn steps(arguments: &EvalArguments, model: &Emdm) -> Result<Vec<usize>> {
    let all = model.config().clips.steps();
    if let Some(steps) = arguments.steps {
        ensure!(
            steps >= 1.0 && steps.fract() == 0.0,
            "--steps is {steps}, expected a whole number of denoise steps, 1 or more"
        );
        return Ok(vec![(steps as usize).min(all)]);
    }
    let mut steps = vec![all];
    if arguments.curve {
        steps.splice(0..0, CURVE.into_iter().filter(|steps| *steps < all));
    }
    Ok(steps)
}

/// The weight of the label: what was asked for, or what the model says.
fn guidance(arguments: &EvalArguments, model: &Emdm) -> Result<f64> {
    let guidance = arguments.guidance.unwrap_or(model.config().clips.guidance);
    ensure!(
        (0.0..=20.0).contains(&guidance),
        "--guidance is {guidance}, expected 0 to 20"
    );
    Ok(guidance)
}

/// How many of the denoise steps are guided: none where the label counts as trained.
fn guided_steps(arguments: &EvalArguments, model: &Emdm, guidance: f64, steps: usize) -> usize {
    let asked = arguments.guided_steps;
    match asked.unwrap_or(model.config().clips.guided_steps) {
        _ if guidance == 1.0 => 0,
        0 => steps,
        guided => guided.min(steps),
    }
}

fn judged(
    judge: &ClipEvaluator,
    model: &Emdm,
    folder: &Path,
    (steps, guidance, guided_steps): (usize, f64, usize),
    options: &JudgingOptions,
    line: &indicatif::ProgressBar,
) -> Result<Row> {
    let options = JudgingOptions {
        steps,
        guidance,
        guided_steps,
        ..options.clone()
    };
    let found = judge.judge(model, &options, |run| {
        let runs = options.runs;
        line.set_message(format!(
            "measuring {} at {steps} steps: run {run} of {runs}",
            folder.display()
        ));
    })?;
    let ms = found.seconds * 1e3;
    Ok(Row {
        checkpoint: folder.to_path_buf(),
        steps,
        guidance,
        guided_steps,
        evaluations: steps + guided_steps,
        ms_per_clip: ms / found.clips.max(1) as f64,
        ms_per_frame: ms / found.frames.max(1) as f64,
        judged: found,
    })
}

impl Report {
    fn print(&self) {
        let options = &self.options;
        say!(
            "{} runs of {} clips, {} labels; {} threads; intervals are 95 % over runs\n",
            options.runs,
            options.clips,
            self.labels.len(),
            self.threads
        );
        say!(
            "| clips | steps | FID | accuracy | diversity | multimodality | sliding, locked | jerk, locked | ms a clip |"
        );
        say!("|---|---|---|---|---|---|---|---|---|");
        for (name, measured) in [
            ("held out", &self.held_out),
            ("trained on", &self.trained_on),
        ] {
            say!("| {name} | | {} | | | |", cells(measured));
        }
        for row in &self.models {
            let judged = &row.judged;
            say!(
                "| {} | {} | {} | {}, {} | {}, {} | {:.1} |",
                row.checkpoint.display(),
                row.steps,
                cells(&judged.made),
                ratio(&judged.sliding),
                ratio(&judged.sliding_locked),
                ratio(&judged.jerk),
                ratio(&judged.jerk_locked),
                row.ms_per_clip
            );
        }
    }
}

fn cells(measured: &Measured) -> String {
    let cell = |one: &Repeated| {
        let margin = (one.interval[1] - one.interval[0]) / 2.0;
        format!("{:.3} ± {margin:.3}", one.value)
    };
    [
        &measured.fid,
        &measured.accuracy,
        &measured.diversity,
        &measured.multimodality,
    ]
    .map(cell)
    .join(" | ")
}

fn ratio(ratio: &Ratio) -> String {
    format!("{:.2}", ratio.matched.value)
}
