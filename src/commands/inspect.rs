//! `kinestream inspect`: what a checkpoint holds and expects, or what has survived of a recording.

use anyhow::{Context, Result};
use kinestream_bridge::recording::{Recording, Survey};
use kinestream_diffusion::Denoiser;
use kinestream_policy::{Normaliser, PolicyConfig};
use serde::Serialize;
use tch::Device;

use crate::cli::InspectArguments;
use crate::output::say;
use crate::recording::Opening;
use crate::{checkpoint as checkpoints, output};

#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    path: String,
    parameters: usize,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    schedule: serde_json::Value,
    evaluations_per_observation: f64,
    policy: PolicyConfig,
}

#[derive(Debug, Serialize)]
struct Port {
    name: String,
    shape: Vec<usize>,
    minimum: Vec<f32>,
    maximum: Vec<f32>,
}

#[derive(Debug, Serialize)]
struct RecordingReport {
    kind: &'static str,
    path: String,
    duration_s: f64,
    survived: Survey,
    /// The recording's first message.
    opening: Option<Opening>,
}

pub(crate) fn run(arguments: &InspectArguments) -> Result<()> {
    if arguments.path.is_file() {
        return recording(arguments);
    }
    checkpoint(arguments)
}

fn recording(arguments: &InspectArguments) -> Result<()> {
    let recording = Recording::open(&arguments.path).with_context(|| {
        format!(
            "{}: neither a checkpoint folder nor a recording",
            arguments.path.display()
        )
    })?;
    let survived = recording.survey()?;
    let first = recording.messages()?.next().transpose()?;
    let report = RecordingReport {
        kind: "recording",
        path: arguments.path.display().to_string(),
        duration_s: survived.duration_s(),
        survived,
        // Recordings of other programs begin otherwise.
        opening: first.and_then(|first| Opening::decode(&first.bytes).ok()),
    };
    if arguments.json {
        return output::json(&report);
    }
    let survived = &report.survived;
    say!(
        "{}: a recording of {:.2} s, {}",
        report.path,
        report.duration_s,
        survived.problem.as_deref().unwrap_or("complete")
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
            "  {name:<16} {:>8} messages {:>10} bytes, {} not recorded",
            topic.messages,
            topic.bytes,
            topic.missing
        );
    }
    Ok(())
}

fn checkpoint(arguments: &InspectArguments) -> Result<()> {
    let loaded = checkpoints::open(&arguments.path, Device::Cpu)?;
    let policy = loaded.policy().clone();
    let normalisers = loaded.normalisers();
    let port = |name: String, steps: usize, normaliser: &Normaliser| Port {
        name,
        shape: vec![steps, normaliser.size()],
        minimum: normaliser.minimum.clone(),
        maximum: normaliser.maximum.clone(),
    };
    let names: Vec<&str> = policy
        .task
        .observation
        .iter()
        .map(|part| part.array.as_str())
        .collect();
    let report = Report {
        kind: "policy",
        path: checkpoints::locate(&arguments.path).display().to_string(),
        parameters: loaded.network().parameters(),
        inputs: vec![port(
            names.join("+"),
            policy.plan.observation_steps,
            &normalisers.observation,
        )],
        outputs: vec![port(
            policy.task.action.clone(),
            policy.plan.horizon,
            &normalisers.action,
        )],
        schedule: serde_json::to_value(&policy.schedule)?,
        evaluations_per_observation: policy.plan.ladder_levels() as f64
            / policy.plan.chunks() as f64,
        policy,
    };
    if arguments.json {
        return output::json(&report);
    }
    let dimensions = loaded.network().dimensions();
    say!(
        "{}: a {} for task `{}`",
        report.path,
        report.kind,
        report.policy.task.name
    );
    say!(
        "  network     {:?}, channels {:?}, {} parameters",
        report.policy.network.kind,
        report.policy.network.channels,
        report.parameters
    );
    say!(
        "  plan        {:?}, {} positions, {} executed per observation, {} network evaluations each",
        report.policy.plan.mode,
        dimensions.horizon,
        report.policy.plan.action_steps,
        report.evaluations_per_observation
    );
    say!(
        "  schedule    {:?}, {} timesteps; {:?}, {:?}",
        report.policy.schedule.beta_schedule,
        report.policy.schedule.train_timesteps,
        report.policy.sampler.prediction,
        report.policy.sampler.solver
    );
    for (direction, ports) in [("input", &report.inputs), ("output", &report.outputs)] {
        for port in ports {
            say!("  {direction:<11} {} {:?}", port.name, port.shape);
            say!("              minimum {:?}", port.minimum);
            say!("              maximum {:?}", port.maximum);
        }
    }
    Ok(())
}
