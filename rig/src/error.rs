//! The one error type of this crate: what was wrong, where, and what to do about it.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong between a motion capture file and a pose.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of a configuration is outside its range.
    #[error("{key} is {found}, expected {expected}")]
    Config {
        /// The key as the user wrote it.
        key: &'static str,
        /// What was found.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A file that could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A motion capture file that does not say what it should.
    #[error("{path}:{line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What was found, what was expected.
        reason: String,
    },
    /// Joints that make no tree.
    #[error("skeleton: {0}")]
    Skeleton(String),
    /// Frames that nothing can be computed from.
    #[error("clip: {0}")]
    Clip(String),
    /// Numbers that a metric cannot be computed from.
    #[error("{metric}: {reason}")]
    Metric {
        /// The metric.
        metric: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// A data set, clip or checkpoint that is incomplete or inconsistent.
    #[error("{path}: {reason}")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl Error {
    /// An input or output error on a file.
    pub fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}
