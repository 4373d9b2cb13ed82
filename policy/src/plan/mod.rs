//! Planners: engines that keep an action plan and improve it by one network evaluation at a time.
//!
//! The anytime contract: after its first evaluations a planner always holds a valid plan; `refine`
//! is one network evaluation for a batch of streams and never damages a plan; the shell decides how
//! many of them happen. A plan rolls by the actions that were really consumed.

mod batch;
mod chunk;
mod guidance;
mod released;
mod restart;
mod streaming;

use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Denoiser, DiffusionSampler, NoiseSchedule, Sampler};

pub use chunk::ChunkPlanner;
pub use guidance::PlanGuidance;
pub use released::ReleasedPlanner;
pub use streaming::StreamingPlanner;

use crate::config::PlanMode;
use crate::{Normaliser, PolicyConfig, Result};

/// A plan as it stands, in normalised units.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Counts the plans of a stream; rises when the plan rolls.
    pub chunk: u64,
    /// Actions [Tp, Da], row by row.
    pub actions: Vec<f32>,
    /// Standard deviation of the noise left in every position, 0 (clean) to 1 (pure noise), Tp.
    pub noise: Vec<f32>,
    /// Denoise steps left for every position, 0 (clean) to K, Tp.
    pub levels: Vec<u32>,
    /// Position of the action due now.
    pub current: usize,
    /// How many positions from `current` on are clean.
    pub committed: usize,
}

/// An engine for any number of independent plans ("streams").
pub trait Planner: Send {
    /// Number of streams.
    fn streams(&self) -> usize;

    /// Begins a stream anew; its randomness depends on `seed` alone.
    fn reset(&mut self, stream: usize, seed: u64);

    /// Replaces a stream's random numbers until its next reset, for playing back recorded ones.
    fn set_noise(&mut self, stream: usize, source: Box<dyn NoiseSource>);

    /// Guides every denoise step from now on.
    fn set_guidance(&mut self, guidance: PlanGuidance);

    /// Takes in a new observation: the normalised history [To Do], and the current value of every
    /// action in normalised units `[Da]`, which the constant primer repeats.
    fn observe(&mut self, stream: usize, condition: &[f32], anchor: &[f32]);

    /// Network evaluations that are still needed until the committed prefix and the Ta actions
    /// behind it are clean.
    fn owed(&self, stream: usize) -> usize;

    /// Those of `streams` that owe an evaluation, in their order.
    fn owing(&self, streams: &[usize]) -> Vec<usize> {
        let owes = |stream: &usize| self.owed(*stream) > 0;
        streams.iter().copied().filter(owes).collect()
    }

    /// One network evaluation for those of `streams` that owe one. Returns for how many.
    ///
    /// # Errors
    /// A stream without an observation.
    fn refine(&mut self, streams: &[usize]) -> Result<usize>;

    /// Rolls a plan by the actions that were consumed since the last roll.
    fn advance(&mut self, stream: usize, consumed: usize);

    /// The plan as it stands.
    ///
    /// # Errors
    /// NaN or infinity in the plan; the last good plan is back in place then.
    fn plan(&mut self, stream: usize) -> Result<Plan>;
}

/// Random numbers for a stream, exchangeable so that recorded ones can be played back.
pub trait NoiseSource: Send {
    /// The next `count` standard normal numbers.
    fn draw(&mut self, count: usize) -> Vec<f32>;
}

impl NoiseSource for NoiseStream {
    fn draw(&mut self, count: usize) -> Vec<f32> {
        self.normals(count)
    }
}

/// Standard deviation of the noise at every level of a plan.
fn deviations(descent: &DiffusionSampler, levels: &[usize]) -> Vec<f32> {
    let timesteps = descent.timesteps(levels).into_iter();
    timesteps
        .map(|timestep| descent.schedule().noise_deviation(timestep) as f32)
        .collect()
}

/// The planner that a configuration asks for; `actions` is what normalised plans are brought back to
/// their units by.
///
/// # Errors
/// A configuration value out of its range, or a network that does not fit the mode.
pub fn planner(
    config: &PolicyConfig,
    actions: &Normaliser,
    network: Box<dyn Denoiser>,
    device: tch::Device,
    streams: usize,
) -> Result<Box<dyn Planner>> {
    config.check()?;
    config.plan.check_guidance(actions.size())?;
    let schedule = NoiseSchedule::new(&config.schedule)?;
    let sampler = Sampler::new(config.sampler.clone(), schedule)?;
    let plan = config.plan.clone();
    let guidance = PlanGuidance::new(plan.guidance.clone(), actions);
    let mut planner: Box<dyn Planner> = match config.plan.mode {
        PlanMode::Streaming => Box::new(StreamingPlanner::new(
            plan, sampler, network, device, streams,
        )?),
        PlanMode::Released => Box::new(ReleasedPlanner::new(
            plan, sampler, network, device, streams,
        )?),
        PlanMode::Chunk => Box::new(ChunkPlanner::new(plan, sampler, network, device, streams)?),
    };
    planner.set_guidance(guidance);
    Ok(planner)
}
