//! Demonstrations on disk: the zarr replay buffers of Diffusion Policy, read and written, and windows over them.

mod format;
mod replay;
mod speeds;
mod windows;
mod writer;
mod zarr;

pub use format::DatasetFormat;
pub use replay::{AffineMap, Episodes, PictureMirror, Pictures, Symmetry};
pub use windows::{Window, Windows};
pub use writer::{RecordedArray, write_replay_buffer};
pub use zarr::{Array, ArrayInfo, Store};

/// The array of a replay buffer that has the row after the last one of every episode.
const EPISODE_ENDS: &str = "meta/episode_ends";
