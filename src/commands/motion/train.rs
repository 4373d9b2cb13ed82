//! `kinestream train` for motion models: embedding, then what makes frames in it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kinestream_motion::data::{DataConfig, Dataset};
use kinestream_motion::extractor::ExtractorStage;
use kinestream_motion::model::{
    FrameDeltaStats, GeneratorConfig, ModelConfig, ModulesConfig, MotionModel,
};
use kinestream_motion::training::{
    self, EmbeddingStage, Frames, GenerationStage, Losses, MotionVaeStage, PolishingStage,
    PredictorStage, SettlingStage, Stage, TrainingConfig, state_file,
};
use serde_json::json;

use super::reuse::Reuse;
use crate::motion::{EXTRACTOR, MotionConfig};
use kinestream_command_line::TrainArguments;
use kinestream_runtime::{device, shutdown};
use kinestream_terminal::output;

/// One JSON object a line: losses.
const LOG_FILE: &str = "log.jsonl";
/// Steps between two lines of the log.
const LOG_EVERY: u64 = 100;

pub(crate) fn run(arguments: &TrainArguments) -> Result<()> {
    let mut config = MotionConfig::read(&arguments.config)?;
    let within = || format!("in {}", arguments.config.display());
    for (key, descent) in config.descents() {
        descent.steps = arguments.steps.unwrap_or(descent.steps);
        descent.check(key).with_context(within)?;
    }
    config.model.check().with_context(within)?;
    config.training.check().with_context(within)?;
    let device = device::parse(&arguments.device)?;
    let threads = device::set_threads(arguments.threads)?;
    let out = &arguments.out;
    refuse_to_begin_anew(out, arguments.resume)?;
    let reuse = Reuse::open(arguments.embedding_from.as_deref(), out, &config, device)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let stop = shutdown::flag()?;
    let set = read_data(&arguments.data, &config).with_context(within)?;
    eprintln!(
        "{} frames to train on ({:.0} s of clips, mirrored and at other speeds), {} held out \
         ({:.0} s); {device:?}, {threads} threads",
        set.train.len(),
        set.train.seconds(),
        set.held_out.len(),
        set.held_out.seconds(),
    );
    let mut run = Run {
        out,
        resume: arguments.resume,
        every: config.training.checkpoint_every,
        stop: &stop,
        begun: Instant::now(),
    };
    match (&config.extractor, &reuse) {
        (None, _) => {}
        (Some(_), Some(reuse)) => reuse.copy_extractor()?,
        (Some(table), None) => {
            let seed = config.training.seed;
            let mut stage = {
                let captured = set.train.captured();
                ExtractorStage::new(&table.network, &table.descent, &captured, device, seed)
            }
            .with_context(within)?;
            if run.train(&mut stage)?.is_break() {
                return Ok(());
            }
            stage
                .finish()?
                .save(&out.join(EXTRACTOR), config.training.export)?;
        }
    }
    let embedding = match reuse {
        Some(reuse) => reuse.embedding(config.training.export, &set.train)?,
        None => {
            let table = &config.model.embedding;
            let mut stage = EmbeddingStage::new(table, &config.training, &set.train, device)
                .with_context(within)?;
            if run.train(&mut stage)?.is_break() {
                return Ok(());
            }
            stage.finish()?
        }
    };
    let frames = Frames::new(&embedding, &set.train, device);
    let changes = frames.changes()?;
    let within_space = |generator, changes: &FrameDeltaStats| {
        let model = ModelConfig {
            generator,
            ..config.model.clone()
        };
        let (statistics, changes) = (embedding.statistics().clone(), changes.clone());
        let model = MotionModel::new(&model, statistics, changes, device, config.training.seed)?;
        model.copy_embedding(&embedding)?;
        anyhow::Ok(model)
    };
    let first = within_space(config.model.generator.clone(), &changes)?;
    let (told, changes, frames) =
        match predicted(first, changes, &config.training, frames, &mut run)? {
            ControlFlow::Continue(done) => done,
            ControlFlow::Break(()) => return Ok(()),
        };
    let build = |generator| {
        let mut model = within_space(generator, &changes)?;
        model.take_predictor(&told)?;
        anyhow::Ok(model)
    };
    let trained = match &config.model.generator {
        GeneratorConfig::Diffusion(modules) => {
            modules_of(modules, &build, &config.training, frames, &mut run)?
        }
        vae @ GeneratorConfig::MotionVae(_) => {
            let mut stage = MotionVaeStage::new(build(vae.clone())?, &config.training, frames)?;
            match run.train(&mut stage)? {
                ControlFlow::Continue(()) => ControlFlow::Continue(stage.finish()?.0),
                ControlFlow::Break(()) => ControlFlow::Break(()),
            }
        }
    };
    if let ControlFlow::Continue(model) = trained {
        model.save(out, config.training.export)?;
        eprintln!("done: weights in {}", out.display());
    }
    Ok(())
}

/// Refuses to train over what another run has trained.
pub(crate) fn refuse_to_begin_anew(out: &Path, resume: bool) -> Result<()> {
    let begun = training::begun_parts(out)?;
    if !begun.is_empty() && !resume {
        bail!(
            "{} already holds a training run ({}); add --resume to continue it, or name another --out",
            out.display(),
            begun.join(", ")
        );
    }
    Ok(())
}

/// Trains the predictor, if the model has one, and measures what it does not tell.
fn predicted(
    model: MotionModel,
    changes: FrameDeltaStats,
    training: &TrainingConfig,
    frames: Frames,
    run: &mut Run<'_>,
) -> Result<ControlFlow<(), (MotionModel, FrameDeltaStats, Frames)>> {
    if model.predictor.is_none() {
        return Ok(ControlFlow::Continue((model, changes, frames)));
    }
    let mut stage = PredictorStage::new(model, training, frames)?;
    if run.train(&mut stage)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let (model, frames) = stage.finish()?;
    let residual = frames.residual(&model)?;
    let changes = FrameDeltaStats {
        residual,
        ..changes
    };
    Ok(ControlFlow::Continue((model, changes, frames)))
}

/// Trains the generation module, and then the polishing module on what it drafts.
fn modules_of(
    modules: &ModulesConfig,
    build: &dyn Fn(GeneratorConfig) -> Result<MotionModel>,
    training: &TrainingConfig,
    frames: Frames,
    run: &mut Run<'_>,
) -> Result<ControlFlow<(), MotionModel>> {
    let alone = ModulesConfig {
        polishing: None,
        ..modules.clone()
    };
    let first = build(GeneratorConfig::Diffusion(alone))?;
    let (model, frames) = match generation_of(first, training, frames, run)? {
        ControlFlow::Continue(done) => done,
        ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
    };
    if modules.polishing.is_none() {
        return Ok(ControlFlow::Continue(model));
    }
    let whole = build(GeneratorConfig::Diffusion(modules.clone()))?;
    whole.copy_generation(&model)?;
    let mut stage = PolishingStage::new(whole, training, frames)?;
    if run.train(&mut stage)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let (polished, frames) = stage.finish()?;
    if training.settling.is_none() {
        return Ok(ControlFlow::Continue(polished));
    }
    // With gradients again.
    let model = build(GeneratorConfig::Diffusion(modules.clone()))?;
    model.copy_modules(&polished)?;
    let mut stage = SettlingStage::new(model, training, frames)?;
    if run.train(&mut stage)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    Ok(ControlFlow::Continue(stage.finish()?))
}

/// Trains the generation module: as a GAN where it has a latent, by diffusion where it has none.
fn generation_of(
    model: MotionModel,
    training: &TrainingConfig,
    frames: Frames,
    run: &mut Run<'_>,
) -> Result<ControlFlow<(), (MotionModel, Frames)>> {
    if model.modules()?.generation.config().latent > 0 {
        let mut stage = GenerationStage::new(model, training, frames)?;
        if run.train(&mut stage)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        return Ok(ControlFlow::Continue(stage.finish()?));
    }
    let mut stage = PolishingStage::new(model, training, frames)?;
    if run.train(&mut stage)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    Ok(ControlFlow::Continue(stage.finish()?))
}

/// Reads the clips with a progress bar.
pub(crate) fn read_data(folder: &Path, config: &MotionConfig) -> Result<Dataset> {
    read_clips(folder, &config.data)
}

/// As [`read_data`], for any choice of clips.
pub(crate) fn read_clips(folder: &Path, config: &DataConfig) -> Result<Dataset> {
    let bar = output::progress(0, "clips");
    let set = Dataset::read(folder, config, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(set)
}

/// What the parts of one training have in common.
pub(crate) struct Run<'a> {
    pub(crate) out: &'a Path,
    pub(crate) resume: bool,
    pub(crate) every: u64,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) begun: Instant,
}

impl Run<'_> {
    /// Trains one part to its end, unless it is asked to stop.
    pub(crate) fn train(&mut self, stage: &mut dyn Stage) -> Result<ControlFlow<()>> {
        let state = state_file(self.out, stage.name());
        if self.resume && state.exists() {
            stage.restore(&state)?;
        }
        eprintln!(
            "{}: steps {} to {}",
            stage.name(),
            stage.done(),
            stage.steps()
        );
        let path = self.out.join(LOG_FILE);
        let mut log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let bar = output::progress(stage.steps(), "steps");
        bar.set_position(stage.done());
        bar.reset_eta();
        let mut sums: Vec<(&str, f64)> = Vec::new();
        let mut count = 0.0;
        let outcome = training::run(stage, self.out, self.every, |stage, losses: &Losses| {
            count += 1.0;
            if sums.is_empty() {
                sums = losses.parts.iter().map(|(name, _)| (*name, 0.0)).collect();
            }
            for ((_, sum), (_, value)) in sums.iter_mut().zip(&losses.parts) {
                *sum += value;
            }
            bar.set_position(stage.done());
            if stage.done().is_multiple_of(LOG_EVERY) || stage.done() == stage.steps() {
                let means: serde_json::Map<String, serde_json::Value> = sums
                    .drain(..)
                    .map(|(name, sum)| (name.to_owned(), json!(sum / count)))
                    .collect();
                count = 0.0;
                bar.set_message(format!(
                    "loss {:.4}",
                    means["loss"].as_f64().unwrap_or(f64::NAN)
                ));
                let line = json!({
                    "part": stage.name(),
                    "step": stage.done(),
                    "seconds": self.begun.elapsed().as_secs_f64(),
                    "losses": means,
                });
                writeln!(log, "{line}").map_err(|error| kinestream_motion::Error::Io {
                    path: path.clone(),
                    source: error,
                })?;
            }
            Ok(if self.stop.load(Ordering::SeqCst) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        bar.finish_and_clear();
        if outcome.is_break() {
            eprintln!(
                "stopped in {} at step {}; the state is saved, continue with --resume",
                stage.name(),
                stage.done()
            );
        }
        Ok(outcome)
    }
}
