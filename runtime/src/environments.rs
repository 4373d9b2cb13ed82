//! Policies in the bundled environments: as their controllers, with scenes to learn to see from, and demonstrations.

pub mod controller;
pub mod demonstrations;
pub mod scenes;
