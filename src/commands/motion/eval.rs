//! `kinestream eval` for motion models.

use anyhow::{Context, Result};
use kinestream_motion::evaluation::{Evaluation, EvaluationOptions, evaluate};
use kinestream_motion::extractor::Extractor;
use kinestream_motion::metrics::Estimate;
use kinestream_motion::model::MotionModel;
use serde::Serialize;

use super::train::read_data;
use crate::cli::EvalArguments;
use crate::motion::MotionConfig;
use crate::output::say;
use crate::{checkpoint, device, output};

/// The result; distances are those of sets of different sizes, and so comparable between models
/// that were measured with the same options only.
#[derive(Debug, Serialize)]
struct Report {
    checkpoint: String,
    seed: u64,
    characters: usize,
    seconds: f64,
    runs: usize,
    fid: f64,
    fid_interval: Option<[f64; 2]>,
    fid_train_heldout: f64,
    fid_train_heldout_interval: Option<[f64; 2]>,
    diversity: f64,
    diversity_interval: Option<[f64; 2]>,
    diversity_ground_truth: f64,
    foot_sliding_ratio: f64,
    jerk_ratio: f64,
    path_rmse_m: f64,
    heading_error_deg: f64,
    turn_180_settle_s: Option<f64>,
    frames_refused: u64,
}

pub(crate) fn run(arguments: &EvalArguments) -> Result<()> {
    let config = MotionConfig::read(&arguments.config)?;
    let folder = arguments.data.as_ref().context(
        "a motion model is judged against held-out clips: name the folder of the motion capture \
         with --data",
    )?;
    let device = device::parse(&arguments.device)?;
    device::set_threads(arguments.threads)?;
    let named = arguments
        .checkpoint
        .as_ref()
        .unwrap_or(&config.evaluation.checkpoint);
    let model = checkpoint::locate(named);
    let own = model.join(crate::motion::EXTRACTOR);
    let extractor = if own.exists() {
        own
    } else {
        checkpoint::locate(&config.evaluation.extractor)
    };
    let extractor = Extractor::load(&extractor, device)?;
    let data =
        read_data(folder, &config).with_context(|| format!("in {}", arguments.config.display()))?;
    let options = EvaluationOptions::default();
    let line = output::status_line();
    let found = evaluate(
        || MotionModel::load(&model, device),
        &extractor,
        &data,
        &options,
        |part| line.set_message(format!("measuring: {part}")),
    )?;
    line.finish_and_clear();
    let report = Report::new(model.display().to_string(), &options, &found);
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

impl Report {
    fn new(checkpoint: String, options: &EvaluationOptions, found: &Evaluation) -> Self {
        let interval = |estimate: &Estimate| estimate.interval;
        Self {
            checkpoint,
            seed: options.seed,
            characters: options.characters,
            seconds: options.seconds,
            runs: options.runs,
            fid: found.free.distance.value,
            fid_interval: interval(&found.free.distance),
            fid_train_heldout: found.train.distance.value,
            fid_train_heldout_interval: interval(&found.train.distance),
            diversity: found.diversity.value,
            diversity_interval: interval(&found.diversity),
            diversity_ground_truth: found.diversity_ground_truth.value,
            foot_sliding_ratio: found.foot_sliding_ratio,
            jerk_ratio: found.jerk_ratio,
            path_rmse_m: found.path_rmse_m,
            heading_error_deg: found.heading_error_deg,
            turn_180_settle_s: found.turn_180_settle_s,
            frames_refused: found.refused,
        }
    }
}

fn print(report: &Report) {
    let Report {
        checkpoint,
        characters,
        seconds,
        runs,
        ..
    } = report;
    say!("{checkpoint}: {characters} characters of {seconds} s, {runs} runs of the course");
    let ratio = report.fid / report.fid_train_heldout;
    say!(
        "  Fréchet distance to held-out clips  {:.3}, {ratio:.2} times that of the training clips",
        report.fid
    );
    say!(
        "  diversity                           {:.3}, of the held-out clips {:.3}",
        report.diversity,
        report.diversity_ground_truth
    );
    say!(
        "  on the course, over held-out clips  foot sliding {:.2}, jerk {:.2}",
        report.foot_sliding_ratio,
        report.jerk_ratio
    );
    say!(
        "  off the course                      {:.3} m, {:.1} degrees",
        report.path_rmse_m,
        report.heading_error_deg
    );
    match report.turn_180_settle_s {
        Some(seconds) => say!("  half turn at a run                  settled in {seconds:.2} s"),
        None => say!("  half turn at a run                  not settled within 3 s"),
    }
    say!(
        "  frames refused                      {}",
        report.frames_refused
    );
}
