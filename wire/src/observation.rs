//! Observation: a named vector, measured by a sensor or a simulator.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::array::{Array, ArrayView, Element, require_count, write_array};
use super::header::{HEADER_BYTES, Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode, MAX_VALUES};

/// Bytes between the header and the values.
pub(super) const FIXED_BYTES: usize = 40;

/// A named vector; `V` is [`Values`], `&[f32]`, `&[f64]`, a `Vec` of either, or [`ValuesView`].
/// NaN and infinities travel: a sensor may report them, and the receiver asks [`Observation::is_finite`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observation<V = Values> {
    /// Sequence, times, stream.
    pub stamp: Stamp,
    /// Which observation, as in the key `obs/<name>`.
    pub name: Name,
    /// The numbers, 1 to [`MAX_VALUES`] of them.
    #[serde(flatten)]
    pub values: V,
}

/// An observation decoded in place.
pub type ObservationView<'a> = Observation<ValuesView<'a>>;

impl<V: ObservationValues> Observation<V> {
    /// Whether every value is a finite number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.values.all_finite()
    }

    /// Number of values.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.values.count()
    }
}

/// Owned values of an observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "element", content = "values", rename_all = "lowercase")]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Values {
    /// The values as f64, exactly.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.iter().map(f64::from).collect(),
            Self::F64(values) => values.clone(),
        }
    }
}

/// Values of an observation in received bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValuesView<'a> {
    /// Single precision.
    F32(ArrayView<'a, f32>),
    /// Double precision.
    F64(ArrayView<'a, f64>),
}

impl ValuesView<'_> {
    /// The value at `index` as f64, or none past the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<f64> {
        match self {
            Self::F32(values) => values.get(index).map(f64::from),
            Self::F64(values) => values.get(index),
        }
    }

    /// Copies the values into `out` as f64 without allocation; returns how many were copied.
    pub fn copy_to_f64(&self, out: &mut [f64]) -> usize {
        match self {
            Self::F32(values) => out
                .iter_mut()
                .zip(values.iter())
                .map(|(to, from)| *to = f64::from(from))
                .count(),
            Self::F64(values) => values.copy_to(out),
        }
    }

    /// Copies the values into `out` as f32 (rounded) without allocation; returns how many were copied.
    pub fn copy_to_f32(&self, out: &mut [f32]) -> usize {
        match self {
            Self::F32(values) => values.copy_to(out),
            Self::F64(values) => out
                .iter_mut()
                .zip(values.iter())
                .map(|(to, from)| *to = from as f32)
                .count(),
        }
    }
}

/// The forms that an observation's values can have.
pub trait ObservationValues {
    /// Number type on the wire.
    fn element(&self) -> Element;
    /// How many numbers.
    fn count(&self) -> usize;
    /// Whether all are finite.
    fn all_finite(&self) -> bool;
    /// Appends them in little-endian order.
    fn write(&self, out: &mut Vec<u8>);
}

macro_rules! array_values {
    ($type:ty, $element:expr) => {
        impl ObservationValues for $type {
            fn element(&self) -> Element {
                $element
            }

            fn count(&self) -> usize {
                Array::len(self)
            }

            fn all_finite(&self) -> bool {
                Array::iter(self).all(|value| value.is_finite())
            }

            fn write(&self, out: &mut Vec<u8>) {
                write_array(self, out);
            }
        }
    };
}

array_values!(Vec<f32>, Element::F32);
array_values!(Vec<f64>, Element::F64);
array_values!(&[f32], Element::F32);
array_values!(&[f64], Element::F64);
array_values!(ArrayView<'_, f32>, Element::F32);
array_values!(ArrayView<'_, f64>, Element::F64);

macro_rules! either_values {
    ($type:ty) => {
        impl ObservationValues for $type {
            fn element(&self) -> Element {
                match self {
                    Self::F32(_) => Element::F32,
                    Self::F64(_) => Element::F64,
                }
            }

            fn count(&self) -> usize {
                match self {
                    Self::F32(values) => values.count(),
                    Self::F64(values) => values.count(),
                }
            }

            fn all_finite(&self) -> bool {
                match self {
                    Self::F32(values) => values.all_finite(),
                    Self::F64(values) => values.all_finite(),
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    Self::F32(values) => values.write(out),
                    Self::F64(values) => values.write(out),
                }
            }
        }
    };
}

either_values!(Values);
either_values!(ValuesView<'_>);

/// An observation's name: 1 to 32 bytes of text, held inline so that copying one allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name {
    bytes: [u8; Self::MAX_BYTES],
    length: u8,
}

impl Name {
    /// Longest name in bytes of UTF-8.
    pub const MAX_BYTES: usize = 32;
    const ERROR: ContentError = ContentError::Text {
        field: "name",
        limit: Self::MAX_BYTES,
    };

    /// Takes a text of 1 to 32 bytes without control characters.
    ///
    /// # Errors
    /// [`ContentError::Text`] otherwise.
    pub fn new(text: &str) -> Result<Self, ContentError> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(Self::ERROR);
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            length: text.len() as u8,
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.length))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// The text with zeros behind it, as on the wire.
    pub(super) fn padded(&self) -> &[u8; Self::MAX_BYTES] {
        &self.bytes
    }

    pub(super) fn from_padded(bytes: [u8; Self::MAX_BYTES]) -> Result<Self, ContentError> {
        let length = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(Self::MAX_BYTES);
        if bytes[length..].iter().any(|byte| *byte != 0) {
            return Err(Self::ERROR);
        }
        Self::new(std::str::from_utf8(&bytes[..length]).map_err(|_| Self::ERROR)?)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Name {
    type Error = ContentError;

    fn try_from(text: String) -> Result<Self, ContentError> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl<V: ObservationValues> Encode for Observation<V> {
    const KIND: Kind = Kind::Observation;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        let (count, element) = (self.values.count(), self.values.element());
        require_count("dims", count, MAX_VALUES)?;
        Header::start(
            out,
            Self::KIND,
            &self.stamp,
            FIXED_BYTES + count * element.bytes(),
        );
        out.extend_from_slice(&(count as u32).to_le_bytes());
        out.extend_from_slice(&(element as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.name.bytes);
        self.values.write(out);
        Ok(())
    }
}

impl Decode for Observation {
    const KIND: Kind = Kind::Observation;
    type View<'a> = ObservationView<'a>;

    fn view(bytes: &[u8]) -> Result<ObservationView<'_>, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let dims = reader.u32()? as usize;
        require_count("dims", dims, MAX_VALUES)?;
        let element = reader.u16()?;
        reader.take(2)?;
        let name = Name::from_padded(reader.array()?)?;
        let values = if element == Element::F32 as u16 {
            ValuesView::F32(reader.view(dims)?)
        } else if element == Element::F64 as u16 {
            ValuesView::F64(reader.view(dims)?)
        } else {
            return Err(DecodeError::UnknownCode {
                field: "element",
                found: u32::from(element),
            });
        };
        reader.finish()?;
        Ok(Observation {
            stamp,
            name,
            values,
        })
    }

    fn from_view(view: &ObservationView<'_>) -> Self {
        let values = match &view.values {
            ValuesView::F32(values) => Values::F32(values.to_vec()),
            ValuesView::F64(values) => Values::F64(values.to_vec()),
        };
        Self {
            stamp: view.stamp,
            name: view.name,
            values,
        }
    }
}

const _: () = assert!(HEADER_BYTES + FIXED_BYTES == 80);
