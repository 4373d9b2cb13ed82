//! Demonstrations on disk: the zarr v2 replay buffers of Diffusion Policy, read and written, and windows over them.

mod blosc;
mod replay;
mod speeds;
mod windows;
mod writer;
mod zarr;

pub use replay::{AffineMap, Episodes, PictureMirror, Pictures, Symmetry};
pub use windows::{Window, Windows};
pub use writer::{RecordedArray, write_replay_buffer};
pub use zarr::{Array, ArrayInfo};
