//! The configuration that goes with an imported checkpoint.

use std::path::Path;

use anyhow::{Context, Result};
use kinestream_control::LimitsConfig;
use kinestream_control::limits::PerJoint;
use kinestream_diffusion::network::vision::VisionConfig;
use kinestream_diffusion::sampler::SamplerConfig;
use kinestream_diffusion::{NetworkConfig, ScheduleConfig};
use kinestream_policy::config::{PlanConfig, TaskConfig};
use kinestream_policy::{Checkpoint, Normaliser};
use serde::Serialize;

/// A range of 0 leaves a command no room; it gets this much of its place, at least this much.
const LEAST_RANGE: f64 = 1e-6;

/// The tables that say something; all others have their defaults.
#[derive(Serialize)]
struct Tables<'a> {
    task: &'a TaskConfig,
    plan: &'a PlanConfig,
    network: &'a NetworkConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    vision: Option<&'a VisionConfig>,
    schedule: &'a ScheduleConfig,
    sampler: &'a SamplerConfig,
    runtime: Runtime<'a>,
    control: Control,
    session: Session,
}

#[derive(Serialize)]
struct Runtime<'a> {
    checkpoint: &'a Path,
    robot: &'a str,
    device: &'a str,
    threads: usize,
}

#[derive(Serialize)]
struct Control {
    rate_hz: f64,
    interpolation: &'static str,
    limits: LimitsConfig,
}

#[derive(Serialize)]
struct Session {
    namespace: &'static str,
    listen: [&'static str; 1],
}

/// A configuration in TOML: keys and rates, and limits from the statistics of the training data.
pub(super) fn text(folder: &Path, checkpoint: &Checkpoint) -> Result<String> {
    let policy = checkpoint.policy();
    let cameras = policy.cameras().map(|(part, _)| part.short_name());
    let keys: Vec<String> = ["state"]
        .into_iter()
        .chain(cameras)
        .map(|name| format!("<namespace>/<robot>/obs/{name}"))
        .collect();
    let limits = limits(&checkpoint.normalisers().action);
    let known = if limits.lower.is_some() {
        "# Positions in [control.limits] are the smallest and largest actions of the training data."
    } else {
        "# The training data's smallest and largest actions are not known: no position is limited."
    };
    let tables = Tables {
        task: &policy.task,
        plan: &policy.plan,
        network: &policy.network,
        vision: policy.vision.as_ref(),
        schedule: &policy.schedule,
        sampler: &policy.sampler,
        runtime: Runtime {
            checkpoint: folder,
            robot: "robot",
            device: "cpu",
            threads: 1,
        },
        control: Control {
            rate_hz: 100.0,
            interpolation: "linear",
            limits,
        },
        session: Session {
            namespace: "kinestream",
            listen: ["tcp/127.0.0.1:7447"],
        },
    };
    let tables = toml::to_string(&tables).context("cannot write the configuration")?;
    Ok(format!(
        "# Written by `kinestream import`. Observations come in on\n#   {}\n# and task.rate_hz is the \
         rate of the actions.\n{known}\n# How fast the robot may move is nothing that a policy knows: \
         set velocity, acceleration and\n# jerk there, and read docs/SAFETY.md, before the first \
         motion.\n\n{tables}",
        keys.join("\n#   ")
    ))
}

fn limits(action: &Normaliser) -> LimitsConfig {
    if action.minimum.is_empty() || action.maximum.is_empty() {
        return LimitsConfig::default();
    }
    let (lower, upper) = action
        .minimum
        .iter()
        .zip(&action.maximum)
        .map(|(low, high)| {
            let (low, high) = (f64::from(*low), f64::from(*high));
            let room = LEAST_RANGE * high.abs().max(1.0);
            (low, high.max(low + room))
        })
        .unzip();
    LimitsConfig {
        lower: Some(PerJoint::Each(lower)),
        upper: Some(PerJoint::Each(upper)),
        ..LimitsConfig::default()
    }
}
