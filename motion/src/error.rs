//! The one error type of this crate: what was wrong, where, and what to do about it.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong with a model of motion.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Schedule, network or weights.
    #[error(transparent)]
    Diffusion(#[from] kinestream_diffusion::Error),
    /// Skeletons, clips and what is measured of them.
    #[error(transparent)]
    Rig(#[from] kinestream_rig::Error),
    /// LibTorch refused an operation.
    #[error("LibTorch: {0}")]
    Torch(#[from] tch::TchError),
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
    /// Numbers that a figure cannot be computed from.
    #[error("{metric}: {reason}")]
    Metric {
        /// The figure.
        metric: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// Networks and parameters that do not belong together, or a model without what is asked of it.
    #[error("the model's weights: {0}")]
    Weights(String),
    /// A data set, clip or checkpoint that is incomplete or inconsistent.
    #[error("{path}: {reason}")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A text that means no label.
    #[error("no motion is known for `{text}`; the nearest are `{nearest}`, all are: {all}")]
    UnknownLabel {
        /// What was asked for.
        text: String,
        /// Labels that are spelt most like it.
        nearest: String,
        /// All labels.
        all: String,
    },
    /// A request that cannot be met.
    #[error("{key} is {found}, expected {expected}")]
    Request {
        /// Which part of the request.
        key: &'static str,
        /// What was found.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A loss that is not finite.
    #[error(
        "the loss is {loss} at step {step}; resume from the last state with a lower learning rate"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A state that training cannot go on from.
    #[error("{path}: {reason}")]
    Resume {
        /// The file.
        path: PathBuf,
        /// What does not fit.
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
