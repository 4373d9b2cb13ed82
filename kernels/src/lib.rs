//! Denoiser networks on the CPU at batch 1, without LibTorch: U-Nets and multilayer perceptrons.
//!
//! At batch 1 a U-Net is a chain of narrow matrix products that read every weight once, so its cost
//! is that of streaming the weights from memory. Here they are packed in the order in which they
//! are read, in four, two or one bytes each, into memory of large pages; products keep the sums of
//! all positions in registers; normalisation, activation, modulation and residual follow while the
//! sums are in the cache; and what depends on the noise levels alone, or on the observation alone,
//! is computed once and kept.
//!
//! The instruction set is chosen at run time ([`Isa`]). Results depend on it and on the precision
//! of the weights, and on nothing else: not on the number of threads, not on timing.
//!
//! A multilayer perceptron is the same with rows in place of positions: any number of vectors, none of
//! which depends on its neighbours.
//!
//! Nothing here knows a file or a tensor library, and no result a clock: threads alone look how long
//! they waited for one another. After an evaluation with known noise
//! levels and a known number of observations nothing is allocated.

mod arena;
mod balance;
mod cache;
mod error;
mod executor;
mod isa;
mod perceptron;
mod precision;
mod processors;
mod product;
mod shared;
mod steps;
mod stream;
mod unet;
mod weights;
mod workers;

pub use error::{Error, Result};
pub use executor::Executor;
pub use isa::{Activation, Isa};
pub use perceptron::{Perceptron, PerceptronConfig};
pub use precision::Precision;
pub use stream::Stream;
pub use unet::{Observer, UNet, UNetConfig, UNetKind};
pub use weights::{NamedTensor, Weights};
