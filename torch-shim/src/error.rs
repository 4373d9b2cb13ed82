//! The one error type of this crate.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of CUDA was asked for.
    #[error("this LibTorch has no CUDA; `cargo xtask setup --cuda` fetches one that has")]
    NoCuda,
    /// A device that streams and graphs do not know.
    #[error("device {0:?} has no streams, expected a CUDA device")]
    Device(tch::Device),
    /// Numbers that do not fit a buffer.
    #[error("{found} numbers of {found_kind}, expected {expected} of {expected_kind:?}")]
    Size {
        /// How many there are.
        found: usize,
        /// What they are.
        found_kind: &'static str,
        /// How many the buffer holds.
        expected: usize,
        /// What it holds.
        expected_kind: tch::Kind,
    },
    /// A tensor that does not fit a buffer.
    #[error("a tensor {found:?} of {found_kind:?}, expected {expected:?} of {expected_kind:?}")]
    Shape {
        /// Its shape.
        found: Vec<i64>,
        /// What it holds.
        found_kind: tch::Kind,
        /// The buffer's shape.
        expected: Vec<i64>,
        /// What the buffer holds.
        expected_kind: tch::Kind,
    },
    /// An AOTInductor package that cannot be used.
    #[error("{path}: {reason}")]
    Package {
        /// The file.
        path: PathBuf,
        /// What LibTorch said, or what was expected.
        reason: String,
    },
    /// What was to be captured panicked.
    #[error("{0}")]
    Work(String),
    /// LibTorch threw an exception.
    #[error("LibTorch: {0}")]
    Torch(String),
    /// LibTorch refused an operation.
    #[error("LibTorch: {0}")]
    Tch(#[from] tch::TchError),
}

impl Error {
    /// LibTorch's own explanations go on for pages: the first lines say what is wrong.
    pub(crate) fn first_lines(text: &str) -> String {
        text.lines().take(3).collect::<Vec<_>>().join(" ")
    }
}
