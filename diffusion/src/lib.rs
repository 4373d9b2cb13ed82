//! The arithmetic of diffusion: noise schedules, ladders of noise levels, sampling steps that take
//! one level *per position*, denoiser networks, weight averaging, and weights on disk.
//!
//! Nothing here knows a clock, a thread or a file format other than its own weights. Every random
//! number comes from a seeded [`noise::NoiseStream`], so equal seeds give equal plans.
//!
//! Vocabulary: a *timestep* is an index into the training schedule (0 is the least noisy, -1 stands
//! for a clean position); a *level* is an index into a [`ladder::TimestepSchedule`] (0 is clean); a *position*
//! is a place in the horizon of a plan.

pub mod descent;
pub mod ema;
pub mod error;
pub mod executor;
pub mod guidance;
pub mod ladder;
pub mod mixture;
pub mod network;
pub mod optimiser;
mod registry;
pub mod sampler;
pub mod schedule;
pub mod solver;
mod transition;
pub mod weights;

pub use descent::DiffusionSampler;
pub use error::{Error, Result};
pub use executor::{Execution, Executor, Precision};
pub use guidance::{Guidance, GuidanceConfig, TargetGuidance};
pub use kinestream_random as noise;
pub use ladder::TimestepSchedule;
pub use network::{Denoiser, Mlp, Network, NetworkConfig};
pub use sampler::{PredictionType, Sampler, SamplerConfig};
pub use schedule::{NoiseSchedule, ScheduleConfig};
pub use solver::{Ddim, Solver, Stepping};
