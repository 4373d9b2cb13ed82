//! A cursor over received bytes that never reads past their end.

use super::DecodeError;
use super::array::{ArrayView, Entry};

/// Position in a message; every read checks what is left.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.position.saturating_add(count);
        let taken = self
            .bytes
            .get(self.position..end)
            .ok_or(DecodeError::Truncated {
                expected: end,
                found: self.bytes.len(),
            })?;
        self.position = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self) -> Result<f32, DecodeError> {
        self.array().map(f32::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_le_bytes)
    }

    /// The next `count` entries, left where they are.
    pub(super) fn view<T: Entry>(&mut self, count: usize) -> Result<ArrayView<'a, T>, DecodeError> {
        self.take(count.saturating_mul(T::BYTES))
            .map(ArrayView::new)
    }

    /// Refuses bytes that no field explains.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.position == self.bytes.len() {
            Ok(())
        } else {
            Err(DecodeError::Length {
                expected: self.position,
                found: self.bytes.len(),
            })
        }
    }
}
