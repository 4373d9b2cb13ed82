//! Measures of generated motion, and of the motion capture that it is compared with.
//!
//! All of them are functions of numbers: no clock, no file, and every random choice from a seed.
//! Measures that are no use alone (sliding, jerk) are meant to be divided by those of the ground
//! truth, measured by the same code.

pub mod contacts;
pub mod foot;

pub use contacts::{ContactConfig, contacts};
pub use foot::{FootSliding, Sliding, SlidingConfig};
