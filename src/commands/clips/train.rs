//! `kinestream train` for models of whole clips: recogniser, embedding, and the network that makes
//! clips in it.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use kinestream_motion::data::Dataset;
use kinestream_motion::emdm::{Emdm, Labels, spans};
use kinestream_motion::recogniser::RecogniserStage;
use kinestream_motion::training::{EmbeddingStage, EmdmStage};

use crate::clips::{ClipsConfig, RECOGNISER};
use crate::commands::motion::train::{Run, read_clips, refuse_to_begin_anew};
use kinestream_command_line::TrainArguments;
use kinestream_runtime::{device, shutdown};

pub(crate) fn run(arguments: &TrainArguments) -> Result<()> {
    let (mut config, labels) = ClipsConfig::read(&arguments.config)?;
    if arguments.embedding_from.is_some() {
        bail!("--embedding-from is for motion models; copy embedding.training.safetensors instead");
    }
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
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let stop = shutdown::flag()?;
    let set = read_clips(&arguments.data, &config.clips(&labels)).with_context(within)?;
    tell(&set, &labels);
    eprintln!("{device:?}, {threads} threads");
    let mut run = Run {
        out,
        resume: arguments.resume,
        every: config.training.checkpoint_every,
        stop: &stop,
        begun: Instant::now(),
    };
    let seed = config.training.seed;
    if let Some(table) = &config.recogniser {
        let data = (&set.train, &labels);
        let mut stage = RecogniserStage::new(&table.network, &table.descent, data, device, seed)
            .with_context(within)?;
        if run.train(&mut stage)?.is_break() {
            return Ok(());
        }
        stage
            .finish()?
            .save(&out.join(RECOGNISER), config.training.export)?;
    }
    let training = config.training.of_embedding();
    let mut stage = EmbeddingStage::new(&config.model.embedding, &training, &set.train, device)
        .with_context(within)?;
    if run.train(&mut stage)?.is_break() {
        return Ok(());
    }
    let embedding = stage.finish()?;
    let clips = &config.model.clips;
    let spans = spans(&set.train, &labels, clips.patch, clips.longest)?;
    let statistics = embedding.statistics().clone();
    let mut model = Emdm::new(&config.model, statistics, labels, spans, device, seed)?;
    model.take_embedding(&embedding)?;
    let mut stage = EmdmStage::new(model, &config.training, &set.train).with_context(within)?;
    if run.train(&mut stage)?.is_break() {
        return Ok(());
    }
    stage.finish()?.save(out, config.training.export)?;
    eprintln!("done: weights in {}", out.display());
    Ok(())
}

/// What there is to train on.
fn tell(set: &Dataset, labels: &Labels) {
    eprintln!(
        "{} frames to train on ({:.0} s of clips, mirrored and at other speeds), {} held out ({:.0} s), \
         {} labels",
        set.train.len(),
        set.train.seconds(),
        set.held_out.len(),
        set.held_out.seconds(),
        labels.len(),
    );
}
