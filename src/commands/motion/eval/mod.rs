//! `kinestream eval` for motion models.

mod long_run;
mod pictures;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kinestream_diffusion::Execution;
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::extractor::Extractor;
use kinestream_motion::model::MotionModel;
use kinestream_motion::toy::{Learned, ToyOptions, learn};
use kinestream_motion_evaluation::course::{EvaluationOptions, Reference, evaluate};
use tch::Device;

use self::report::{Comparison, Report};
use super::train::read_data;
use crate::motion::MotionConfig;
use kinestream_bench::{frames_per_second, prepared};
use kinestream_command_line::EvalArguments;
use kinestream_runtime::{checkpoint, device};
use kinestream_terminal::output;

/// Seconds that each crowd of a comparison is timed for, and its sizes.
const TIMED: f64 = 3.0;
const CROWDS: [usize; 2] = [1, 1000];

pub(crate) fn run(arguments: &EvalArguments) -> Result<()> {
    let config = MotionConfig::read(&arguments.config)?;
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(arguments.threads)?;
    let named = arguments
        .checkpoint
        .as_ref()
        .unwrap_or(&config.evaluation.checkpoint);
    let mut folders = vec![checkpoint::locate(named)];
    folders.extend(arguments.against.iter().map(|one| checkpoint::locate(one)));
    for folder in &folders {
        ensure!(
            folder.exists(),
            "{}: there is no motion model here; train one with `kinestream train {} --data MOCAP \
             --out {}`",
            folder.display(),
            arguments.config.display(),
            folder.display()
        );
    }
    let judge = Judge::new(arguments, &config, &folders[0], device)?;
    if arguments.write_reference {
        judge.reference.save(&judge.extractor_folder)?;
        eprintln!(
            "wrote the reference of the held-out clips to {}",
            judge.extractor_folder.display()
        );
    }
    if arguments.long_run {
        return long_run::run(arguments, &judge, &folders[0], device);
    }
    if let Some(folder) = &arguments.pictures {
        pictures::write(folder, judge.open(&folders[0], device)?)?;
    }
    let mut reports = Vec::with_capacity(folders.len());
    for folder in &folders {
        reports.push(judge.report(folder, device)?);
    }
    if arguments.against.is_empty() {
        let mut report = reports.remove(0);
        report.toy = toy(arguments.skip_toy)?;
        if arguments.json {
            return output::json(&report);
        }
        report.print();
        return Ok(());
    }
    let comparison = Comparison {
        threads,
        frames_per_second: judge.speeds(&folders, device)?,
        models: reports,
    };
    if arguments.json {
        return output::json(&comparison);
    }
    comparison.print();
    Ok(())
}

/// What models are judged by.
struct Judge {
    extractor: Extractor,
    extractor_folder: PathBuf,
    reference: Reference,
    options: EvaluationOptions,
    execution: Execution,
}

impl Judge {
    fn new(
        arguments: &EvalArguments,
        config: &MotionConfig,
        model: &std::path::Path,
        device: Device,
    ) -> Result<Self> {
        let own = model.join(crate::motion::EXTRACTOR);
        let extractor_folder = if own.exists() {
            own
        } else {
            checkpoint::locate(&config.evaluation.extractor)
        };
        let extractor = Extractor::load(&extractor_folder, device)?;
        let fingerprint = kinestream_runtime::recording::sha256(&[
            extractor_folder.join(kinestream_motion::extractor::WEIGHTS_FILE)
        ])?;
        let reference = match &arguments.data {
            None => Reference::load(&extractor_folder, &fingerprint).with_context(|| {
                format!(
                    "without --data a motion model is judged by the reference beside its extractor, \
                     in {}; name the folder of the motion capture with --data",
                    extractor_folder.display()
                )
            })?,
            Some(folder) => {
                let data = read_data(folder, config)
                    .with_context(|| format!("in {}", arguments.config.display()))?;
                let line = output::status_line();
                line.set_message("measuring: captured motion");
                let reference = Reference::of(&extractor, &fingerprint, &data)?;
                line.finish_and_clear();
                reference
            }
        };
        Ok(Self {
            extractor,
            extractor_folder,
            reference,
            options: options(arguments)?,
            execution: (config.runtime).execution(arguments.executor, arguments.precision),
        })
    }

    /// A model, ready to make frames.
    fn open(
        &self,
        folder: &std::path::Path,
        device: Device,
    ) -> kinestream_motion::Result<MotionModel> {
        let mut model = MotionModel::load(folder, device)?;
        model.execute_by(&self.execution)?;
        Ok(model)
    }

    fn report(&self, folder: &std::path::Path, device: Device) -> Result<Report> {
        let line = output::status_line();
        let found = evaluate(
            || self.open(folder, device),
            &self.extractor,
            &self.reference,
            &self.options,
            |part| line.set_message(format!("measuring {}: {part}", folder.display())),
        )?;
        line.finish_and_clear();
        Report::new(
            folder.display().to_string(),
            &self.options,
            &self.reference,
            &found,
        )
    }

    /// Frames per second of crowds, by model and size; the models take turns.
    fn speeds(&self, folders: &[PathBuf], device: Device) -> Result<Vec<Vec<f64>>> {
        const TURNS: usize = 3;
        let mut speeds = vec![Vec::with_capacity(CROWDS.len()); folders.len()];
        for size in CROWDS {
            let mut groups = Vec::with_capacity(folders.len());
            for folder in folders {
                groups.push(prepared(self.open(folder, device)?, size)?);
            }
            let mut best = vec![0.0_f64; folders.len()];
            for _ in 0..TURNS {
                for (group, best) in groups.iter_mut().zip(&mut best) {
                    *best = best.max(frames_per_second(group, TIMED / TURNS as f64)?);
                }
            }
            for (speeds, best) in speeds.iter_mut().zip(best) {
                speeds.push(best);
            }
        }
        Ok(speeds)
    }
}

fn options(arguments: &EvalArguments) -> Result<EvaluationOptions> {
    let usual = EvaluationOptions::default();
    let within = |name: &str, value: Option<f64>, most: f64, usual: f64| {
        let value = value.unwrap_or(usual);
        ensure!(
            (0.0..=most).contains(&value),
            "--{name} is {value}, expected 0 to {most}"
        );
        Ok(value)
    };
    let strength = within("strength", arguments.strength, 1.0, usual.strength.0)?;
    Ok(EvaluationOptions {
        diversity: within("diversity", arguments.diversity, 2.0, usual.diversity)?,
        strength: (strength, strength),
        gain: within("gain", arguments.gain, FRAME_RATE, usual.gain)?,
        ..usual
    })
}

/// The toy distribution of the paper, learned anew by modules of the same kind.
fn toy(skip: bool) -> Result<Option<Learned>> {
    if skip {
        return Ok(None);
    }
    let options = ToyOptions::default();
    let line = output::status_line();
    let learned = learn(&options, |step| {
        line.set_message(format!("learning the toy distribution: step {step}"));
    })?;
    line.finish_and_clear();
    Ok(Some(learned))
}
