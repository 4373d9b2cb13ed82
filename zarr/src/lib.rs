//! Reading of zarr arrays, formats 2 and 3, from folders and zip archives.
//!
//! Promise: whatever the files say, an error is one line that names the file, and no memory is asked for because of a size
//! that is only announced.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use kinestream_zarr::{ArrayInfo, Store};
//!
//! # fn main() -> kinestream_zarr::Result<()> {
//! let store = Store::open(Path::new("demonstrations.zarr"))?;
//! let actions = ArrayInfo::open(&store, "data/action")?.read()?;
//! println!("{:?}", actions.shape);
//! # Ok(())
//! # }
//! ```

mod array;
mod blocks;
mod chain;
mod codecs;
mod element;
mod error;
mod layout;
mod shards;
mod store;
mod v2;
mod v3;
pub mod zip;

pub use array::{Array, ArrayInfo};
pub use error::{Error, Result};
pub use store::Store;

/// The array of a replay buffer that has the row after the last one of every episode.
pub const EPISODE_ENDS: &str = "meta/episode_ends";

/// Numbers that there may be for every number in a chunk that is there: zarr leaves out chunks that hold nothing but the
/// fill value, but an array that is nearly all of them is one that was not copied.
const MAX_FILL_RATIO: usize = 64;
