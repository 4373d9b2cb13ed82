//! Tests of the public face, one program: LibTorch is linked once.

#![allow(clippy::unwrap_used)]

mod architectures;
mod golden_networks;
mod guidance;
mod solvers;
