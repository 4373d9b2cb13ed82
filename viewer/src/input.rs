//! What a person does on a page: what all pages' inputs have in common.

use std::fmt::{Debug, Display};

/// One thing a person did on a page, checked before anybody reads it.
pub trait PageInput: Clone + Debug + Send + 'static {
    /// Why a message was refused.
    type Error: Display;

    /// Parses and checks one message of the page.
    ///
    /// # Errors
    /// For text that is not such a message, or holds a number that is not finite.
    fn from_json(text: &str) -> Result<Self, Self::Error>;

    /// Whether `earlier`, still unread, has lost its meaning now that `self` came.
    fn supersedes(&self, earlier: &Self) -> bool;

    /// What is to be done for a page that vanishes after this input, such as letting go of what
    /// it holds. `before` is what would have been done until now.
    fn parting(&self, before: Option<Self>) -> Option<Self>;
}

/// Why a message of a page was refused.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Not JSON, not a known kind of input, or a field missing, unknown or of the wrong type.
    #[error("not an input of the viewer page ({source}); expected for example {example}")]
    Malformed {
        /// What is wrong, with its place.
        source: serde_json::Error,
        /// A message that would do.
        example: &'static str,
    },
    /// NaN or infinity.
    #[error("field {field} is not a finite number")]
    NotFinite {
        /// Which one.
        field: &'static str,
    },
    /// A list that is too long.
    #[error("field {field}: expected at most {limit} of them, found {found}")]
    TooMany {
        /// Which one.
        field: &'static str,
        /// The most there may be.
        limit: usize,
        /// How many there are.
        found: usize,
    },
}

/// The value, if it is a finite number.
pub(super) fn finite(field: &'static str, value: f64) -> Result<f64, InputError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(InputError::NotFinite { field })
    }
}
