//! Demonstrations on disk: the zarr v2 replay buffers of Diffusion Policy, and windows over them.

mod blosc;
mod replay;
mod speeds;
mod zarr;

pub use replay::{AffineMap, Episodes, PictureMirror, Pictures, Symmetry, Window, Windows};
pub use zarr::{Array, ArrayInfo};
