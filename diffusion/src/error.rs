//! The one error type of this crate: what was wrong, where, and what to do about it.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong between a configuration and a network evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The fused kernels cannot run the network.
    #[error("fused kernels: {0}; executor = \"libtorch\" runs any network")]
    Kernels(#[from] kinestream_kernels::Error),
    /// A value of a configuration is outside its range.
    #[error("{key} is {found}, expected {expected}")]
    Config {
        /// The key as the user wrote it, for example `schedule.train_timesteps`.
        key: &'static str,
        /// What was found.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A horizon that the U-Net cannot halve as often as it has stages.
    #[error(
        "horizon {horizon} does not fit a U-Net with {stages} stages: it must be a multiple of \
         {multiple}; use {lower} or {upper}, or fewer stages in network.channels"
    )]
    Horizon {
        /// The horizon asked for.
        horizon: i64,
        /// Number of resolution stages of the network.
        stages: usize,
        /// What the horizon must be a multiple of.
        multiple: i64,
        /// The next smaller horizon that fits.
        lower: i64,
        /// The next larger horizon that fits.
        upper: i64,
    },
    /// A tensor handed to a network has the wrong shape.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// The shape found.
        found: Vec<i64>,
        /// The shape expected; -1 stands for any size.
        expected: Vec<i64>,
    },
    /// A file that could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A weights file that cannot be read as one.
    #[error("{path}: {reason}")]
    BadWeightsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A weights file that does not belong to the network: every tensor that does not fit.
    #[error(
        "{path}: {}; the file belongs to another network configuration",
        joined(problems)
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// What does not fit, sorted by kind and name.
        problems: Vec<TensorProblem>,
    },
    /// Weights with a NaN or an infinity.
    #[error(
        "{path}: tensor `{name}` holds {count} values that are NaN or infinite; the training \
         diverged or the file is damaged"
    )]
    NonFiniteWeights {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// How many values are not finite.
        count: i64,
    },
    /// A TorchScript module that cannot be used.
    #[error(
        "{path}: not a TorchScript denoiser for this configuration ({reason}); write it with torch.jit.trace or \
         torch.jit.script and save it again"
    )]
    Script {
        /// The file.
        path: PathBuf,
        /// What LibTorch said, or what was expected.
        reason: String,
    },
    /// An AOTInductor package that cannot be used.
    #[error(
        "{path}: not an AOTInductor package for this configuration ({reason}); compile it for this device with \
         torch._inductor.aoti_compile_and_package of PyTorch 2.11"
    )]
    Package {
        /// The file.
        path: PathBuf,
        /// What LibTorch said, or what was expected.
        reason: String,
    },
    /// Capturing or replaying an evaluation failed.
    #[error(transparent)]
    Shim(#[from] kinestream_torch_shim::Error),
    /// LibTorch refused an operation.
    #[error("LibTorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Why a tensor of a weights file does not fit a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// The network needs it and the file does not have it.
    #[error("tensor `{name}` {expected:?} is missing")]
    Missing {
        /// Its name in the file.
        name: String,
        /// The shape that the network expects.
        expected: Vec<i64>,
    },
    /// It has another shape than the network's.
    #[error("tensor `{name}` has shape {found:?}, the network expects {expected:?}")]
    Shape {
        /// Its name in the file.
        name: String,
        /// Shape in the file.
        found: Vec<i64>,
        /// Shape in the network.
        expected: Vec<i64>,
    },
    /// It holds something else than floating-point numbers.
    #[error("tensor `{name}` has type {found}, expected floating-point numbers")]
    Kind {
        /// Its name in the file.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// The network does not know it.
    #[error("tensor `{name}` is unknown to this network")]
    Unknown {
        /// Its name in the file.
        name: String,
    },
}

fn joined(problems: &[TensorProblem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Refuses a value of a configuration by its key where it does not fit.
pub(crate) fn check_option(
    fits: bool,
    key: &'static str,
    found: impl std::fmt::Display,
    expected: impl Into<String>,
) -> Result<()> {
    match fits {
        true => Ok(()),
        false => Err(Error::Config {
            key,
            found: found.to_string(),
            expected: expected.into(),
        }),
    }
}
