//! Tests of the public face, one program: LibTorch is linked once.

#![allow(clippy::unwrap_used)]

mod chunk;
mod engine;
mod golden_rollouts;
mod handover;
mod import_ckpt;
mod lerobot;
mod solvers;
mod training;
mod vision;
mod zarr;
mod zarr_formats;
