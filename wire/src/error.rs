//! Why bytes, or a message about to become bytes, were refused.

use super::header::{Kind, MAGIC, VERSION};

/// A field that breaks the limits of the format, whether found while encoding or while decoding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ContentError {
    /// A count is above its bound.
    #[error("{field}: expected at most {limit}, found {found}")]
    TooLarge {
        /// The field's name in docs/WIRE.md.
        field: &'static str,
        /// The largest value allowed.
        limit: u64,
        /// The value found.
        found: u64,
    },
    /// A number lies outside its range.
    #[error("{field}: expected {expected}, found {found}")]
    OutOfRange {
        /// The field's name in docs/WIRE.md.
        field: &'static str,
        /// The range in words.
        expected: &'static str,
        /// The value found.
        found: f64,
    },
    /// An array has another length than the fields beside it say (only while encoding).
    #[error("{field}: expected {expected} values, found {found}")]
    ArrayLength {
        /// The array's name in docs/WIRE.md.
        field: &'static str,
        /// The length that the other fields ask for.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// A NaN or infinity where a command or plan must be finite.
    #[error("{field}[{index}]: expected a finite number, found NaN or infinity")]
    NotFinite {
        /// The array's name in docs/WIRE.md.
        field: &'static str,
        /// Position of the first such value.
        index: usize,
    },
    /// A rotation that is none.
    #[error(
        "{field}[{index}]: expected a quaternion of unit length (within 0.001), found length {found}"
    )]
    NotUnit {
        /// The array's name in docs/WIRE.md.
        field: &'static str,
        /// Position of the first such quaternion.
        index: usize,
        /// Its length.
        found: f64,
    },
    /// A name that is empty, too long, or not plain text.
    #[error("{field}: expected 1 to {limit} bytes of UTF-8 without control characters")]
    Text {
        /// The field's name in docs/WIRE.md.
        field: &'static str,
        /// Longest text in bytes.
        limit: usize,
    },
}

/// Why received bytes are not a message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the fields do.
    #[error("message of {found} bytes is cut short: expected at least {expected}")]
    Truncated {
        /// Bytes needed to go on.
        expected: usize,
        /// Bytes received.
        found: usize,
    },
    /// The length is not the one that the header and the counts say.
    #[error("message length: expected {expected} bytes, found {found}")]
    Length {
        /// Length by the fields of the message.
        expected: usize,
        /// Bytes received.
        found: usize,
    },
    /// The first four bytes are not those of a kinestream message.
    #[error("magic: expected {MAGIC:?} (\"KNST\"), found {found:?}; the sender is not kinestream")]
    Magic {
        /// The bytes found.
        found: [u8; 4],
    },
    /// Another version of the format.
    #[error(
        "version: expected {VERSION}, found {found}; bring sender and receiver to the same release"
    )]
    Version {
        /// The version found.
        found: u16,
    },
    /// A kind that this version does not know.
    #[error("kind: expected 1 to {}, found {found}", Kind::ALL.len())]
    UnknownKind {
        /// The number found.
        found: u16,
    },
    /// A good message of another kind than asked for.
    #[error("kind: expected {expected}, found {found}")]
    WrongKind {
        /// The kind asked for.
        expected: Kind,
        /// The kind received.
        found: Kind,
    },
    /// An enumeration's number that this version does not know.
    #[error("{field}: found the unknown code {found}")]
    UnknownCode {
        /// The field's name in docs/WIRE.md.
        field: &'static str,
        /// The number found.
        found: u32,
    },
    /// A field breaks the limits of the format.
    #[error(transparent)]
    Content(#[from] ContentError),
}
