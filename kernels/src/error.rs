//! The one error type of this crate.

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a network cannot be run by this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the configuration that the executor does not take.
    #[error("{key} is {found}, expected {expected}")]
    Config {
        /// The field.
        key: &'static str,
        /// What was found.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A tensor that the network needs.
    #[error("tensor `{name}` {expected:?} is missing")]
    MissingTensor {
        /// Its name.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` is {found:?}, expected {expected:?}")]
    WrongShape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A weight beyond the range of 16-bit floating point, or none at all.
    #[error("a weight of `{name}` is {value}, beyond the range of {precision}; use fp32")]
    OutOfRange {
        /// Name of the tensor.
        name: String,
        /// The weight.
        value: f32,
        /// The precision that was asked for.
        precision: &'static str,
    },
    /// An instruction set that this processor lacks.
    #[error("this processor has no {0}; use the instruction set that is detected")]
    NoSuchIsa(&'static str),
    /// The system gave no memory or no thread.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}
