//! Measures of generated motion, and of the motion capture that it is compared with.
//!
//! All of them are functions of numbers: no clock, no file, and every random choice from a seed.
//! Measures that are no use alone (sliding, jerk) are meant to be divided by those of the ground
//! truth, measured by the same code.

pub mod contacts;
pub mod diversity;
pub mod foot;
pub mod frechet;
pub mod health;
pub mod smoothness;
pub mod statistics;
pub mod tracking;

pub use contacts::{ContactConfig, contacts};
pub use diversity::{Pairs, average_pairwise_distance, diversity, multimodality};
pub use foot::{FootSliding, Sliding, SlidingConfig};
pub use frechet::{Frechet, FrechetConfig, Gaussian, frechet};
pub use health::{Health, HealthConfig, HealthReport, HealthRules};
pub use smoothness::{Magnitudes, Smoothness};
pub use statistics::{Bootstrap, Estimate, Features};
pub use tracking::{
    Errors, PathErrors, heading, heading_errors, path_errors, settle_seconds, speed_errors,
    turn_between,
};
