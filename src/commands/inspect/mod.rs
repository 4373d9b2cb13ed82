//! `kinestream inspect`: what a checkpoint holds and expects, or what has survived of a recording.

mod checkpoint;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kinestream_bridge::recording::{Recording, Survey};
use kinestream_policy::data::DatasetFormat;
use kinestream_policy::import;
use serde::Serialize;

use kinestream_command_line::InspectArguments;
use kinestream_runtime::checkpoint::locate;
use kinestream_runtime::recording::RecordingHeader;
use kinestream_terminal::output;
use kinestream_terminal::say;

#[derive(Debug, Serialize)]
struct RecordingReport {
    kind: &'static str,
    path: String,
    duration_s: f64,
    /// Whether nothing is known to be missing.
    complete: bool,
    /// Messages that numbers say are missing, and the jumps of these numbers.
    missing: u64,
    gaps: u64,
    survived: Survey,
    /// The recording's first message.
    opening: Option<RecordingHeader>,
}

pub(crate) fn run(arguments: &InspectArguments) -> Result<()> {
    let path = &arguments.path;
    let Err(error) = import::detect(&locate(path)) else {
        return checkpoint::show(arguments);
    };
    if let Some(format) = DatasetFormat::detect(path) {
        bail!("{}: {format}", path.display());
    }
    if DatasetFormat::is_replay_buffer(path) {
        bail!(
            "{}: a replay buffer, not a checkpoint; `kinestream train --data` reads it",
            path.display()
        );
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let is_of_checkpoint = CHECKPOINT_EXTENSIONS.contains(&&*extension);
    if !path.is_file() || is_of_checkpoint && !is_recording(path) {
        return Err(error.into());
    }
    recording(arguments)
}

/// How files of checkpoints are called.
const CHECKPOINT_EXTENSIONS: [&str; 7] = ["ckpt", "safetensors", "json", "bin", "pt", "pth", "pt2"];

/// Whether a file begins as recordings do.
fn is_recording(path: &Path) -> bool {
    const BEGINNING: &[u8] = b"\x89MCAP";
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(5).read_to_end(&mut start));
    read.is_ok() && start == BEGINNING
}

fn recording(arguments: &InspectArguments) -> Result<()> {
    let recording = Recording::open(&arguments.path).with_context(|| {
        format!(
            "{}: neither a checkpoint nor a recording",
            arguments.path.display()
        )
    })?;
    let survived = recording.survey()?;
    let first = recording.messages()?.next().transpose()?;
    let report = RecordingReport {
        kind: "recording",
        path: arguments.path.display().to_string(),
        duration_s: survived.duration_s(),
        complete: survived.complete,
        missing: survived.missing,
        gaps: survived.gaps,
        survived,
        // Recordings of other programs begin otherwise.
        opening: first.and_then(|first| RecordingHeader::decode(&first.bytes).ok()),
    };
    if arguments.json {
        return output::json(&report);
    }
    let survived = &report.survived;
    say!(
        "{}: a recording of {:.2} s, {}",
        report.path,
        report.duration_s,
        state(survived)
    );
    say!(
        "  {} messages, {} bytes; {} bytes lost at the end, {} chunks left out, {} messages without \
         a checksum",
        survived.messages,
        survived.bytes,
        survived.bytes_lost,
        survived.skipped_chunks,
        survived.unverified
    );
    if let Some(opening) = &report.opening {
        say!("  recorded by `{}` of {}", opening.command, opening.program);
        if let Some(checkpoint) = &opening.checkpoint {
            say!(
                "  checkpoint {}, weights {:.16}",
                checkpoint.folder.display(),
                checkpoint.weights_sha256
            );
        }
    }
    for (name, topic) in &survived.topics {
        say!(
            "  {name:<16} {:>8} messages {:>10} bytes, {} missing in {} gaps",
            topic.messages,
            topic.bytes,
            topic.missing,
            topic.gaps
        );
    }
    Ok(())
}

/// What is wrong with a recording, all of it.
fn state(survived: &Survey) -> String {
    let mut wrong: Vec<String> = survived.problem.iter().cloned().collect();
    if survived.missing > 0 {
        wrong.push(format!(
            "{} messages are missing in {} gaps",
            survived.missing, survived.gaps
        ));
    }
    if survived.skipped_chunks > 0 {
        wrong.push(format!("{} chunks are damaged", survived.skipped_chunks));
    }
    if wrong.is_empty() {
        "complete".to_owned()
    } else {
        wrong.join("; ")
    }
}
