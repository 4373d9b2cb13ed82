//! What a checkpoint holds and expects, whoever wrote it.

use anyhow::Result;
use kinestream_diffusion::Denoiser;
use kinestream_policy::config::PlanMode;
use kinestream_policy::import::{Format, ImportOptions, Imported};
use kinestream_policy::{Checkpoint, Normaliser, PolicyConfig, cautions};
use serde::Serialize;
use tch::Device;

use kinestream_command_line::InspectArguments;
use kinestream_runtime::checkpoint as checkpoints;
use kinestream_terminal::output;
use kinestream_terminal::say;

#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    format: Format,
    path: String,
    parameters: usize,
    parameters_of: Parts,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    schedule: serde_json::Value,
    evaluations_per_observation: f64,
    /// What the files do not say, and what was taken in its place.
    assumed: Vec<String>,
    /// What the files say and running does not need.
    ignored: Vec<String>,
    /// What deserves a warning.
    cautions: Vec<String>,
    /// In what the weights are kept, the commonest first; they are widened exactly.
    weights: Vec<&'static str>,
    policy: PolicyConfig,
}

#[derive(Debug, Serialize)]
struct Parts {
    denoiser: usize,
    image_encoders: usize,
}

/// An input or output: y = scale (x - centre) + offset is what the network sees, limits are those
/// of the training data where they are known.
#[derive(Debug, Serialize)]
struct Port {
    name: String,
    shape: Vec<usize>,
    minimum: Vec<f32>,
    maximum: Vec<f32>,
    scale: Vec<f32>,
    centre: Vec<f32>,
    offset: Vec<f32>,
}

impl Port {
    /// The numbers `from..from + count` of a normaliser.
    fn new(
        name: &str,
        shape: Vec<usize>,
        normaliser: &Normaliser,
        from: usize,
        count: usize,
    ) -> Self {
        // What is not known is empty.
        let part = |values: &[f32]| values.get(from..from + count).unwrap_or_default().to_vec();
        Self {
            name: name.to_owned(),
            shape,
            minimum: part(&normaliser.minimum),
            maximum: part(&normaliser.maximum),
            scale: part(&normaliser.scale),
            centre: part(&normaliser.centre),
            offset: part(&normaliser.offset),
        }
    }
}

/// Prints it.
pub(super) fn show(arguments: &InspectArguments) -> Result<()> {
    let Imported {
        checkpoint,
        format,
        assumed,
        ignored,
    } = checkpoints::open_with(
        &arguments.path,
        Device::Cpu,
        &ImportOptions {
            ignored_keys: arguments.reading.ignored_keys.clone(),
        },
    )?;
    let policy = checkpoint.policy().clone();
    let action = &checkpoint.normalisers().action;
    let action_shape = vec![policy.plan.horizon, action.size()];
    let (parameters, denoiser) = (checkpoint.parameters(), checkpoint.network().parameters());
    let report = Report {
        kind: "policy",
        format,
        path: checkpoints::locate(&arguments.path).display().to_string(),
        parameters,
        parameters_of: Parts {
            denoiser,
            image_encoders: parameters - denoiser,
        },
        inputs: inputs(&checkpoint),
        outputs: vec![Port::new(
            &policy.task.action,
            action_shape,
            action,
            0,
            action.size(),
        )],
        schedule: serde_json::to_value(&policy.schedule)?,
        evaluations_per_observation: match policy.plan.mode {
            PlanMode::Chunk => policy.plan.ladder_levels() as f64,
            _ => policy.plan.ladder_levels() as f64 / policy.plan.chunks() as f64,
        },
        assumed,
        ignored,
        cautions: cautions(&policy, checkpoint.normalisers()),
        weights: checkpoint.number_types().to_vec(),
        policy,
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report, checkpoint.network().dimensions().horizon);
    Ok(())
}

/// What is observed, part by part where the size of every part is known.
fn inputs(checkpoint: &Checkpoint) -> Vec<Port> {
    let policy = checkpoint.policy();
    let normalisers = checkpoint.normalisers();
    let (parts, steps) = (&policy.task.observation, policy.plan.observation_steps);
    let numbers = &normalisers.observation;
    let counted = |part: &kinestream_policy::config::ObservationPart| {
        part.image.is_some() || part.columns.is_some()
    };
    if !parts.iter().all(counted) {
        let names: Vec<&str> = parts.iter().map(|part| part.array.as_str()).collect();
        let shape = vec![steps, numbers.size()];
        return vec![Port::new(
            &names.join("+"),
            shape,
            numbers,
            0,
            numbers.size(),
        )];
    }
    let (mut from, mut images) = (0, normalisers.images.iter());
    let mut ports = Vec::new();
    for part in parts {
        match (part.image, &part.columns) {
            (Some(size), _) => {
                let shape = vec![steps, 3, size.height, size.width];
                let normaliser = images.next();
                ports.extend(normaliser.map(|it| Port::new(&part.array, shape, it, 0, 3)));
            }
            (None, columns) => {
                let count = columns.as_ref().map_or(0, Vec::len);
                ports.push(Port::new(
                    &part.array,
                    vec![steps, count],
                    numbers,
                    from,
                    count,
                ));
                from += count;
            }
        }
    }
    ports
}

fn print(report: &Report, horizon: i64) {
    let policy = &report.policy;
    say!(
        "{}: a {} for task `{}`, written by {:?}",
        report.path,
        report.kind,
        policy.task.name,
        report.format
    );
    say!(
        "  network     {}, {} parameters",
        policy.network.summary(),
        report.parameters_of.denoiser
    );
    if let Some(vision) = &policy.vision {
        say!(
            "  images      {:?} with {:?} norm, {:?}, {} features a camera, {}, {} parameters",
            vision.backbone,
            vision.norm,
            vision.pool,
            vision.features(),
            if vision.separate {
                "one encoder each"
            } else {
                "one encoder for all"
            },
            report.parameters_of.image_encoders
        );
        say!(
            "              scaled to {}, middle {} of it",
            sides(vision.resize, "their own size"),
            sides(vision.crop, "all")
        );
    }
    say!(
        "  plan        {:?}, {horizon} positions, {} executed, {} network evaluations each",
        policy.plan.mode,
        policy.plan.action_steps,
        report.evaluations_per_observation
    );
    say!(
        "  schedule    {:?}, {} timesteps, {:?}; {:?}, {:?}, clean estimates clipped at {}",
        policy.schedule.beta_schedule,
        policy.schedule.train_timesteps,
        policy.schedule.spacing,
        policy.sampler.prediction,
        policy.sampler.solver,
        policy
            .sampler
            .clip_sample
            .map_or("nothing".into(), |bound| bound.to_string())
    );
    for (direction, ports) in [("input", &report.inputs), ("output", &report.outputs)] {
        for port in ports {
            say!("  {direction:<11} {} {:?}", port.name, port.shape);
            for (what, values) in [
                ("minimum", &port.minimum),
                ("maximum", &port.maximum),
                ("scale", &port.scale),
                ("centre", &port.centre),
                ("offset", &port.offset),
            ] {
                if !values.is_empty() {
                    say!("              {what} {values:?}");
                }
            }
        }
    }
    if !report.weights.is_empty() {
        say!("  {:<11} kept as {}", "weights", report.weights.join(", "));
    }
    for (what, texts) in [
        ("assumed", &report.assumed),
        ("left out", &report.ignored),
        ("caution", &report.cautions),
    ] {
        for text in texts {
            say!("  {what:<11} {text}");
        }
    }
}

fn sides(sides: Option<[usize; 2]>, otherwise: &str) -> String {
    sides.map_or(otherwise.into(), |[height, width]| {
        format!("{height} x {width}")
    })
}
