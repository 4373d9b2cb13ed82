//! Arrays of little-endian numbers, or of small groups of them: owned, borrowed for encoding, or viewed in received bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::ContentError;

/// The number type of an observation's values, by its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u16)]
pub enum Element {
    /// IEEE 754 binary32.
    F32 = 1,
    /// IEEE 754 binary64.
    F64 = 2,
}

impl Element {
    /// Bytes of one number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// What arrays on the wire hold: `f32`, `f64` or `u32` numbers, quaternions `[f32; 4]`, or points of a path.
pub trait Entry: Copy + PartialEq + fmt::Debug + private::Sealed + 'static {
    /// Bytes of one entry.
    const BYTES: usize;

    /// Reads one entry from exactly [`Entry::BYTES`] bytes (missing ones count as zero).
    fn from_le(bytes: &[u8]) -> Self;

    /// Appends the entry.
    fn write_le(self, out: &mut Vec<u8>);

    /// False where one of its numbers is NaN or infinite.
    fn is_finite(self) -> bool;
}

/// A sequence of entries of one type, wherever it lies.
pub trait Array {
    /// The type of an entry.
    type Item: Entry;

    /// Count of entries.
    fn len(&self) -> usize;

    /// The entry at `index`, or none past the end.
    fn get(&self, index: usize) -> Option<Self::Item>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    fn iter(&self) -> impl Iterator<Item = Self::Item> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// Entries in received bytes, at any alignment.
#[derive(Clone, Copy)]
pub struct ArrayView<'a, T> {
    bytes: &'a [u8],
    item: PhantomData<T>,
}

impl<'a, T: Entry> ArrayView<'a, T> {
    /// `bytes` holds whole entries; a remainder is ignored.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            item: PhantomData,
        }
    }

    /// Copies the entries into a new vector.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.bytes.chunks_exact(T::BYTES).map(T::from_le).collect()
    }

    /// Copies the entries into `out` without allocation; returns how many were copied (the shorter of the two lengths).
    pub fn copy_to(&self, out: &mut [T]) -> usize {
        let mut copied = 0;
        for (to, from) in out.iter_mut().zip(self.bytes.chunks_exact(T::BYTES)) {
            *to = T::from_le(from);
            copied += 1;
        }
        copied
    }
}

impl<T: Entry> Array for ArrayView<'_, T> {
    type Item = T;

    fn len(&self) -> usize {
        self.bytes.len() / T::BYTES
    }

    fn get(&self, index: usize) -> Option<T> {
        let start = index.checked_mul(T::BYTES)?;
        self.bytes
            .get(start..start.checked_add(T::BYTES)?)
            .map(T::from_le)
    }

    fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.bytes.chunks_exact(T::BYTES).map(T::from_le)
    }
}

impl<T: Entry> fmt::Debug for ArrayView<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Entry> PartialEq for ArrayView<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Entry> Array for Vec<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, index: usize) -> Option<T> {
        self.as_slice().get(index).copied()
    }
}

impl<T: Entry> Array for &[T] {
    type Item = T;

    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn get(&self, index: usize) -> Option<T> {
        <[T]>::get(self, index).copied()
    }
}

/// Appends every entry of `array`.
pub(super) fn write_array(array: &impl Array, out: &mut Vec<u8>) {
    for value in array.iter() {
        value.write_le(out);
    }
}

/// Refuses NaN and infinities, naming the first entry that holds one.
pub(super) fn require_finite(field: &'static str, array: &impl Array) -> Result<(), ContentError> {
    match array.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ContentError::NotFinite { field, index }),
        None => Ok(()),
    }
}

/// Refuses a count of zero or above `limit`.
pub(super) fn require_count(
    field: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), ContentError> {
    if found == 0 {
        Err(ContentError::OutOfRange {
            field,
            expected: "at least 1",
            found: 0.0,
        })
    } else if found > limit {
        Err(ContentError::TooLarge {
            field,
            limit: limit as u64,
            found: found as u64,
        })
    } else {
        Ok(())
    }
}

macro_rules! number {
    ($type:ty, $finite:expr) => {
        impl private::Sealed for $type {}
        impl Entry for $type {
            const BYTES: usize = size_of::<Self>();

            fn from_le(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<Self>()];
                for (to, from) in array.iter_mut().zip(bytes) {
                    *to = *from;
                }
                Self::from_le_bytes(array)
            }

            fn write_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn is_finite(self) -> bool {
                $finite(self)
            }
        }
    };
}

number!(f32, f32::is_finite);
number!(f64, f64::is_finite);
number!(u32, |_| true);

impl private::Sealed for [f32; 4] {}
impl Entry for [f32; 4] {
    const BYTES: usize = 16;

    fn from_le(bytes: &[u8]) -> Self {
        let mut numbers = [0.0; 4];
        for (to, from) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
            *to = f32::from_le(from);
        }
        numbers
    }

    fn write_le(self, out: &mut Vec<u8>) {
        for number in self {
            number.write_le(out);
        }
    }

    fn is_finite(self) -> bool {
        self.iter().all(|number| number.is_finite())
    }
}

/// Only this crate says what arrays may hold.
pub(super) mod private {
    pub trait Sealed {}
}
