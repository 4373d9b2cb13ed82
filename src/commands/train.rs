//! `kinestream train`: weights from demonstrations.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use kinestream_policy::data::{Episodes, Symmetry};
use kinestream_policy::training::{
    ENCODER_STATE_FILE, EncoderTrainer, Examples, Progress, STATE_FILE, Trainer,
};
use kinestream_policy::{Checkpoint, Error, Policy};
use kinestream_sim::environment::EnvironmentSpec;
use kinestream_sim::evaluation::{self, EpisodeSet};
use kinestream_sim::{pusht, registry};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::commands::scoring;
use kinestream_command_line::TrainArguments;
use kinestream_runtime::environments::controller::PolicyController;
use kinestream_terminal::output;

use kinestream_runtime::config::Config;
use kinestream_runtime::environments::scenes;
use kinestream_runtime::{device, shutdown};

/// First seed of the evaluations during training; the published protocol tests on 100000 and up.
const VALIDATION_SEED: u32 = 200_000;
/// Folder of the best evaluated checkpoint within the output folder.
const BEST: &str = "best";
/// One JSON object a line: losses and scores.
const LOG_FILE: &str = "log.jsonl";

#[derive(Debug, Serialize, Deserialize)]
struct LogLine {
    step: u64,
    loss: f64,
    learning_rate: f64,
    seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    success_rate: Option<f64>,
}

pub(crate) fn run(arguments: &TrainArguments) -> Result<()> {
    let mut config = Config::read(&arguments.config)?;
    config.check_trainable(&arguments.config)?;
    if let Some(steps) = arguments.steps {
        config.training.steps = steps;
    }
    if arguments.embedding_from.is_some() {
        bail!("--embedding-from is for motion models; a policy has no embedding");
    }
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(arguments.threads)?;
    let states = [STATE_FILE, ENCODER_STATE_FILE];
    if !arguments.resume && states.iter().any(|file| arguments.out.join(file).exists()) {
        bail!(
            "{} already holds a training run; add --resume to continue it, or name another --out",
            arguments.out.display()
        );
    }
    let episodes = Episodes::read(&arguments.data, &config.task)?;
    let targets = config
        .training
        .vision
        .as_ref()
        .map(|vision| vision.targets.as_slice());
    let symmetry = match is_pusht(&config) {
        true => scenes::mirror(&config.task, targets.unwrap_or_default()),
        false => None,
    };
    let environment = environment(&config);
    let stop = shutdown::flag()?;
    let vision = match config.policy().cameras().count() {
        0 => None,
        _ => {
            let mut encoders = encoders(arguments, &config, &episodes, symmetry.as_ref(), device)?;
            if !train_encoders(&mut encoders, &stop)? {
                return Ok(());
            }
            Some(encoders.finish()?)
        }
    };
    let mut trainer = Trainer::new(
        &config.policy(),
        &config.training,
        &episodes,
        vision,
        symmetry.as_ref(),
        device,
        &arguments.out,
    )
    .map_err(|error| in_file(error, arguments))?;
    // A run that ended while its encoders were trained has no state of its denoiser yet.
    let begun = |file: &str| arguments.out.join(file).exists();
    if arguments.resume && (begun(STATE_FILE) || !begun(ENCODER_STATE_FILE)) {
        trainer.resume()?;
    }
    eprintln!(
        "training {} parameters on {} windows of {} episodes, steps {} to {}, {device:?}, {threads} \
         threads",
        trainer.parameters(),
        trainer.windows(),
        episodes.len(),
        trainer.steps_done(),
        config.training.last_step(),
    );
    let mut log = Log::open(&arguments.out)?;
    let bar = output::progress(config.training.last_step(), "steps");
    bar.set_position(trainer.steps_done());
    bar.reset_eta();
    let begun = Instant::now();
    let mut best = if arguments.resume {
        best_score(&arguments.out)
    } else {
        None
    };
    let mut smoothed = f64::NAN;
    trainer.run(|trainer, progress| {
        let Progress {
            step,
            loss,
            learning_rate,
            ..
        } = progress;
        smoothed = smooth(smoothed, loss);
        bar.set_position(step);
        bar.set_message(format!("loss {smoothed:.5}"));
        let every = config.training.evaluate_every;
        let evaluate = every > 0 && (step.is_multiple_of(every) || step == progress.steps);
        if progress.saved || evaluate {
            let mut line = LogLine {
                step,
                loss: smoothed,
                learning_rate,
                seconds: begun.elapsed().as_secs_f64(),
                score: None,
                success_rate: None,
            };
            if let (true, Some(environment)) = (evaluate, environment) {
                let (score, success) = validate(
                    environment,
                    trainer.checkpoint()?,
                    device,
                    config.training.evaluation_seeds,
                )
                .map_err(|error| Error::Watcher(format!("{error:#}").into()))?;
                (line.score, line.success_rate) = (Some(score), Some(success));
                bar.suspend(|| eprintln!("step {step}: score {score:.3}, success {success:.2}"));
                if best.is_none_or(|best| score > best) {
                    best = Some(score);
                    trainer
                        .checkpoint()?
                        .save(&arguments.out.join(BEST), config.training.export)?;
                }
            }
            log.write(&line)?;
        }
        Ok(if stop.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    bar.finish_and_clear();
    let done = trainer.steps_done();
    if done < config.training.last_step() {
        eprintln!("stopped at step {done}; the state is saved, continue with --resume");
    } else {
        eprintln!(
            "done: {} steps, weights in {}",
            done,
            arguments.out.display()
        );
    }
    Ok(())
}

fn is_pusht(config: &Config) -> bool {
    config.task.name == pusht::SPEC.name
}

/// Where the policy is evaluated while it is trained; none where nothing simulates its task, which is said if the
/// configuration asks for it.
fn environment(config: &Config) -> Option<&'static EnvironmentSpec> {
    match registry::find(&config.task.name) {
        Ok(environment) => Some(environment),
        Err(error) => {
            if config.training.evaluate_every > 0 {
                tracing::warn!(
                    "training.evaluate_every is {}, but task.name is `{}` and {error}: the policy is not evaluated",
                    config.training.evaluate_every,
                    config.task.name
                );
            }
            None
        }
    }
}

/// The keys that these errors name stand in the configuration file.
fn in_file(error: Error, arguments: &TrainArguments) -> anyhow::Error {
    match error {
        Error::Config { .. } | Error::Diffusion(_) => {
            anyhow::Error::from(error).context(format!("in {}", arguments.config.display()))
        }
        other => other.into(),
    }
}

/// A training run of image encoders, as far as it was resumed.
fn encoders(
    arguments: &TrainArguments,
    config: &Config,
    episodes: &Episodes,
    symmetry: Option<&Symmetry>,
    device: Device,
) -> Result<EncoderTrainer> {
    let mut targets = Vec::new();
    let mut more = Examples::default();
    if let Some(vision) = &config.training.vision {
        targets =
            episodes.read_more(&arguments.data, "training.vision.targets", &vision.targets)?;
        if vision.scenes > 0 {
            ensure!(
                is_pusht(config),
                "in {}: training.vision.scenes is {}, but the simulator draws no scenes of task `{}`; expected 0",
                arguments.config.display(),
                vision.scenes,
                config.task.name
            );
            more = scenes::random(vision.scenes, &vision.targets, config.training.seed)
                .with_context(|| format!("in {}", arguments.config.display()))?;
        }
    }
    let mut encoders = EncoderTrainer::new(
        &config.policy(),
        &config.training,
        (episodes, &targets),
        more,
        symmetry,
        device,
        &arguments.out,
    )
    .map_err(|error| in_file(error, arguments))?;
    if arguments.resume {
        encoders.resume()?;
    }
    Ok(encoders)
}

/// Trains image encoders to their end; whether it came to that.
fn train_encoders(encoders: &mut EncoderTrainer, stop: &AtomicBool) -> Result<bool> {
    eprintln!(
        "training image encoders, {} parameters, on {} pictures, from step {}",
        encoders.parameters(),
        encoders.examples(),
        encoders.steps_done()
    );
    let bar = output::progress(encoders.steps(), "steps");
    let mut smoothed = f64::NAN;
    encoders.run(|encoders, progress| {
        smoothed = smooth(smoothed, progress.loss);
        bar.set_position(progress.step);
        bar.set_message(format!("loss {smoothed:.5}"));
        if progress.saved {
            let error = encoders.held_out_error();
            let error =
                error.map_or_else(String::new, |error| format!(", held-out error {error:.3}"));
            let step = progress.step;
            bar.suspend(|| eprintln!("encoders, step {step}: loss {smoothed:.6}{error}"));
        }
        Ok(match stop.load(Ordering::SeqCst) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    bar.finish_and_clear();
    let done = encoders.steps_done();
    let ended = done >= encoders.steps();
    if !ended {
        eprintln!(
            "stopped at step {done} of the encoders; the state is saved, continue with --resume"
        );
    }
    Ok(ended)
}

fn smooth(smoothed: f64, loss: f64) -> f64 {
    if smoothed.is_nan() {
        loss
    } else {
        0.98 * smoothed + 0.02 * loss
    }
}

/// Score and success rate on seeds that are no test seeds.
fn validate(
    environment: &'static EnvironmentSpec,
    checkpoint: Checkpoint,
    device: Device,
    seeds: u64,
) -> Result<(f64, f64)> {
    let seeds: Vec<u32> = (0..seeds as u32)
        .map(|index| VALIDATION_SEED + index)
        .collect();
    let policy = Policy::new(checkpoint, device, seeds.len())?;
    let mut controller = PolicyController::new(policy, environment)?;
    let episodes = EpisodeSet::new(environment, &seeds);
    let summary = evaluation::summarise(&scoring::score(&mut controller, &episodes, |_, _| {})?);
    Ok((
        summary.mean_max_reward.unwrap_or(0.0),
        summary.success_rate.unwrap_or(0.0),
    ))
}

/// The best score in the log of a run; lines that were cut off by a kill are passed over.
fn best_score(out: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(out.join(LOG_FILE)).ok()?;
    text.lines()
        .filter_map(|line| serde_json::from_str::<LogLine>(line).ok()?.score)
        .max_by(f64::total_cmp)
}

struct Log {
    file: std::fs::File,
    path: std::path::PathBuf,
}

impl Log {
    fn open(out: &Path) -> Result<Self> {
        let path = out.join(LOG_FILE);
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path })
    }

    fn write(&mut self, line: &LogLine) -> Result<(), Error> {
        let failed = |source: std::io::Error| Error::Io {
            path: self.path.clone(),
            source,
        };
        let mut text = serde_json::to_string(line).map_err(|error| failed(error.into()))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(failed)
    }
}
