//! `kinestream inspect`: what a checkpoint holds and expects.

use anyhow::Result;
use kinestream_diffusion::Denoiser;
use kinestream_policy::{Normaliser, PolicyConfig};
use serde::Serialize;
use tch::Device;

use crate::cli::InspectArguments;
use crate::output::say;
use crate::{checkpoint, output};

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

pub(crate) fn run(arguments: &InspectArguments) -> Result<()> {
    let loaded = checkpoint::open(&arguments.path, Device::Cpu)?;
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
        path: checkpoint::locate(&arguments.path).display().to_string(),
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
