//! Demonstrations on disk: the zarr replay buffers of Diffusion Policy, read and written, and windows over them.

mod format;
mod replay;
mod speeds;
mod windows;
mod writer;

pub use format::DatasetFormat;
use kinestream_zarr::EPISODE_ENDS;
pub use kinestream_zarr::{Array, ArrayInfo, Store};
pub use replay::{AffineMap, Episodes, PictureMirror, Pictures, Symmetry};
pub use windows::{Window, Windows};
pub use writer::{RecordedArray, write_replay_buffer};
