//! Policies: data sets, normalisation, observation history, the streaming engine, checkpoints and
//! training.
//!
//! Engines know neither clock nor network: they are told what was observed and how many actions
//! were consumed, and return plans. The shell decides when, and how often, they refine.

pub mod arrivals;
pub mod cautions;
pub mod checkpoint;
pub mod config;
pub mod data;
pub mod dispatch;
pub mod engine;
pub mod error;
pub mod frames;
pub mod history;
pub mod image;
pub mod import;
pub mod normaliser;
mod observer;
pub mod oddity;
pub mod plan;
pub mod policy;
pub mod roll;
pub mod training;

pub use cautions::cautions;
pub use checkpoint::Checkpoint;
pub use config::PolicyConfig;
pub use engine::Engine;
pub use error::{Error, Result};
pub use image::{Image, Pixels};
pub use normaliser::Normaliser;
pub use policy::{Observation, Policy};
