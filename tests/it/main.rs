//! End-to-end tests: all of them are one program, so that LibTorch is linked once. `cargo nextest run --workspace --test it
//! safety::` runs those of one file.

#![allow(clippy::unwrap_used)]

mod support;

mod bad_input;
mod bench_bridge;
mod bench_control;
mod cameras;
mod character;
mod clips;
mod decoders;
mod delay;
mod engines;
mod environments;
mod evaluation;
mod examples;
mod fault_matrix;
mod import;
mod motion;
mod nodes;
mod recording;
mod recording_losses;
mod resimulation;
mod ros2;
mod run_page;
mod safety;
mod secure;
mod top;
mod training;
mod usage;
