//! The one error type of this crate: what was wrong, where, and what to do about it.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong between a data set and an action.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Schedule, network or weights.
    #[error(transparent)]
    Diffusion(#[from] kinestream_diffusion::Error),
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
    /// A JSON file that does not say what it should.
    #[error("{path}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        reason: String,
    },
    /// A folder that is no checkpoint.
    #[error(
        "{path}: not a checkpoint folder ({missing} is missing); name a folder that `kinestream train` \
         or `kinestream import` wrote"
    )]
    NotACheckpoint {
        /// The folder.
        path: PathBuf,
        /// The file that it lacks.
        missing: &'static str,
    },
    /// A data set that is incomplete or inconsistent.
    #[error("{path}: {reason}")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// An observation that does not fit the policy.
    #[error("observation has {found} numbers, the policy expects {expected}")]
    ObservationSize {
        /// Numbers found.
        found: usize,
        /// Numbers expected.
        expected: usize,
    },
    /// An observation with a NaN or an infinity.
    #[error("observation number {index} is {value}; the observation was refused and the plan kept")]
    NonFiniteObservation {
        /// Which number.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// An observation without the images that the policy needs, or with more.
    #[error("observation has {found} images, the policy expects one of each of: {expected}")]
    ImageCount {
        /// Images found.
        found: usize,
        /// Names of the cameras; empty for none.
        expected: String,
    },
    /// An image that does not fit the policy.
    #[error("image `{camera}` {reason}; the observation was refused and the plan kept")]
    Image {
        /// Which camera.
        camera: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A foreign checkpoint that cannot be run.
    #[error("{path}: {reason}")]
    Import {
        /// The file.
        path: PathBuf,
        /// Everything that stands in the way, and what to do.
        reason: String,
    },
    /// The network produced NaN or infinity.
    #[error("the network returned a plan with NaN or infinity; the last good plan was kept")]
    NonFinitePlan,
    /// A stream that was asked for before its first observation.
    #[error("stream {stream} has no observation yet")]
    NoObservation {
        /// Which stream.
        stream: usize,
    },
    /// A stream index beyond the engine's batch.
    #[error("stream {stream} does not exist, there are {streams}")]
    NoSuchStream {
        /// Which stream.
        stream: usize,
        /// How many there are.
        streams: usize,
    },
    /// Training state that belongs to another run.
    #[error("{path}: {reason}")]
    Resume {
        /// The file.
        path: PathBuf,
        /// What differs and what to do.
        reason: String,
    },
    /// What watches a training run failed.
    #[error("evaluation during training: {0}")]
    Watcher(Box<dyn std::error::Error + Send + Sync>),
    /// The loss became NaN or infinite.
    #[error(
        "the loss is {loss} at step {step}; the last checkpoint was kept. Lower \
         training.learning_rate, or look for outliers in the data"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
}

impl From<kinestream_zarr::Error> for Error {
    fn from(error: kinestream_zarr::Error) -> Self {
        match error {
            kinestream_zarr::Error::Io { path, source } => Self::Io { path, source },
            kinestream_zarr::Error::Data { path, reason } => Self::Data { path, reason },
        }
    }
}

impl Error {
    /// An [`Error::Io`] for a path.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::Data`].
    pub(crate) fn data(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Data {
            path: path.into(),
            reason: reason.into(),
        }
    }
}
