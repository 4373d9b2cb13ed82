//! What LibTorch has and its Rust bindings lack: inference mode, streams, copies from pinned memory, CUDA graphs, and
//! AOTInductor packages.
//!
//! Everything compiles and runs with a LibTorch without CUDA. There a [`Captured`] work is done again where a graph would be
//! replayed, [`Staging`] is ordinary memory, and [`Stream`] says that there is no CUDA.
//!
//! The C++ of `cpp/` lets no exception out: what is thrown comes back as an [`Error`]. Each `unsafe` block says why it may.

mod bindings;
mod captured;
mod error;
mod inference;
mod package;
mod staging;
mod stream;

pub use captured::Captured;
pub use error::{Error, Result};
pub use inference::InferenceMode;
pub use package::Package;
pub use staging::{Element, Staging};
pub use stream::{OnStream, Stream};

/// Whether LibTorch has CUDA, be there a device or not.
pub fn has_cuda() -> bool {
    bindings::cuda_is_linked()
}
