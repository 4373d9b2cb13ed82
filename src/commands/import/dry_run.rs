//! A dry run: what a policy does with synthetic observations.

use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_control::{Latencies, Percentiles, WatchdogConfig};
use kinestream_diffusion::Execution;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_policy::config::{ImageSize, IterateConfig, PlanMode};
use kinestream_policy::{Checkpoint, Image, Normaliser, Pixels, Policy};
use serde::Serialize;
use tch::Device;

use super::RUN_FILE;
use kinestream_runtime::device;
use kinestream_runtime::policy::Pace;
use kinestream_terminal::say;

/// Plans at most, the first of which warms up and is not measured.
const PLANS: usize = 11;
/// No further plan is made after this long.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

/// What a dry run showed.
#[derive(Debug, Serialize)]
pub(super) struct DryRun {
    plans: usize,
    threads: usize,
    /// Network evaluations of a plan.
    evaluations: usize,
    /// From an observation to its plan.
    plan_ms: Percentiles,
    /// From an observation to its place in the history: normalisation and images.
    observation_ms: Percentiles,
    /// Executed actions: smallest and largest of every number.
    action_minimum: Vec<f32>,
    action_maximum: Vec<f32>,
    /// Of the training data; empty where nobody kept them.
    training_minimum: Vec<f32>,
    training_maximum: Vec<f32>,
    /// Why the policy cannot keep up, if it cannot, by the watchdog that `import` configures.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_slow: Option<String>,
    /// The same where every observation is answered, by one evaluation that goes on from the last
    /// chunk (`plan.iterate`); for policies that denoise chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    every_observation: Option<Box<Self>>,
}

/// Feeds observations from within the ranges of the training data, and images of noise. `reopen` opens
/// the checkpoint again.
pub(super) fn run(
    checkpoint: Checkpoint,
    reopen: impl FnOnce() -> Result<Checkpoint>,
    threads: usize,
) -> Result<DryRun> {
    let threads = device::set_threads(Some(threads))?;
    let plan = &checkpoint.policy().plan;
    let in_chunks = plan.mode == PlanMode::Chunk && plan.iterate.is_none();
    let mut found = measure(checkpoint, threads)?;
    if in_chunks {
        let mut checkpoint = reopen()?;
        let plan = &mut checkpoint.policy_mut().plan;
        (plan.action_steps, plan.iterate) = (1, Some(IterateConfig { steps: 1 }));
        found.every_observation = Some(Box::new(measure(checkpoint, threads)?));
    }
    Ok(found)
}

fn measure(checkpoint: Checkpoint, threads: usize) -> Result<DryRun> {
    let normalisers = checkpoint.normalisers().clone();
    let config = checkpoint.policy().clone();
    let mut policy = Policy::executed(checkpoint, Device::Cpu, 1, Execution::auto(threads))?;
    let (steps, size) = (policy.config().plan.action_steps, policy.action_size());
    let cameras: Vec<ImageSize> = policy.cameras().map(|(_, size)| size).collect();
    let mut random = NoiseStream::new(0);
    // One that goes on from the last begins with a plan from noise.
    let mut evaluations_measured = 0;
    let (mut plan_latencies, mut observation_latencies) = (Latencies::new(), Latencies::new());
    let mut minimum = vec![f32::INFINITY; size];
    let mut maximum = vec![f32::NEG_INFINITY; size];
    let begun = Instant::now();
    let mut plans = 0;
    policy.reset(0, 0)?;
    while plans < PLANS && (plans < 2 || begun.elapsed() < LONG_ENOUGH) {
        for _ in 0..steps {
            let numbers = numbers(&normalisers.observation, &mut random);
            let pixels: Vec<Vec<u8>> = cameras
                .iter()
                .map(|size| noise(*size, &mut random))
                .collect();
            let images: Vec<Image<'_>> = cameras
                .iter()
                .zip(&pixels)
                .map(|(size, bytes)| Image {
                    size: *size,
                    pixels: Pixels::Bytes(bytes),
                })
                .collect();
            let arrived = Instant::now();
            policy.observe_images(0, &numbers, &images)?;
            let observed = arrived.elapsed();
            let evaluations_before = policy.evaluations();
            while policy.refine(&[0])? > 0 {}
            let plan = policy.plan(0)?;
            if plans > 0 {
                observation_latencies.record(observed.as_nanos() as u64);
                if policy.evaluations() > evaluations_before {
                    plan_latencies.record(arrived.elapsed().as_nanos() as u64);
                    evaluations_measured = policy.evaluations() - evaluations_before;
                }
            }
            let action = &plan.actions[plan.current * size..][..size];
            for (index, value) in action.iter().enumerate() {
                minimum[index] = minimum[index].min(*value);
                maximum[index] = maximum[index].max(*value);
            }
            policy.advance(0, 1);
        }
        plans += 1;
    }
    let plan_ms = plan_latencies.percentiles_ms();
    let pace = Pace {
        plan_ms: plan_ms.p50,
        evaluations: evaluations_measured as usize,
        plan_timeout_ms: WatchdogConfig::default().plan_timeout_ms,
    };
    Ok(DryRun {
        plans,
        threads,
        evaluations: evaluations_measured as usize,
        too_slow: pace.complaint(&config),
        plan_ms,
        observation_ms: observation_latencies.percentiles_ms(),
        action_minimum: minimum,
        action_maximum: maximum,
        training_minimum: normalisers.action.minimum,
        training_maximum: normalisers.action.maximum,
        every_observation: None,
    })
}

/// Numbers from within the training data's limits, or that normalise to -1 to 1.
fn numbers(normaliser: &Normaliser, random: &mut NoiseStream) -> Vec<f32> {
    let uniform: Vec<f32> = (0..normaliser.size())
        .map(|_| random.uniform() as f32)
        .collect();
    if normaliser.minimum.is_empty() || normaliser.maximum.is_empty() {
        let mut row: Vec<f32> = uniform.iter().map(|share| 2.0 * share - 1.0).collect();
        normaliser.restore(&mut row);
        return row;
    }
    let limits = normaliser.minimum.iter().zip(&normaliser.maximum);
    uniform
        .iter()
        .zip(limits)
        .map(|(share, (low, high))| low + share * (high - low))
        .collect()
}

fn noise(size: ImageSize, random: &mut NoiseStream) -> Vec<u8> {
    (0..3 * size.height * size.width)
        .map(|_| (256.0 * random.uniform()) as u8)
        .collect()
}

impl DryRun {
    /// Prints it as lines.
    pub(super) fn print(&self) {
        say!(
            "  dry run     {} plans of {} network evaluations from synthetic observations, {} threads",
            self.plans,
            self.evaluations,
            self.threads
        );
        let figures = |percentiles: &Percentiles| {
            format!(
                "p50 {:.2} ms, max {:.2} ms",
                percentiles.p50, percentiles.max
            )
        };
        say!("  plan        {}", figures(&self.plan_ms));
        if let Some(every) = &self.every_observation {
            say!(
                "  each        {}: one evaluation for every observation, from the last plan on",
                figures(&every.plan_ms)
            );
        }
        say!("  observation {}", figures(&self.observation_ms));
        if let Some(complaint) = &self.too_slow {
            say!("  too slow    {complaint}");
            if let Some(every) = &self.every_observation
                && every.too_slow.is_none()
            {
                say!(
                    "              or plan.iterate = {{ steps = 1 }} with plan.action_steps = 1 in {RUN_FILE}: {:.0} ms",
                    every.plan_ms.p50
                );
            }
        }
        say!(
            "  actions     {:.4?} to {:.4?}",
            self.action_minimum,
            self.action_maximum
        );
        if !self.training_minimum.is_empty() {
            say!(
                "  in training {:.4?} to {:.4?}",
                self.training_minimum,
                self.training_maximum
            );
        }
    }
}
