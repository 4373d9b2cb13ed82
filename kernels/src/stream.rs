//! Reading memory as the products read their weights, to find out how fast that can be.

// Hands a checked range to an instruction set.
#![allow(unsafe_code)]

use crate::Result;
use crate::arena::{Arena, Span};
use crate::isa::{Functions, Isa};

/// Memory like that of packed weights, on large pages where the system has them.
#[derive(Debug)]
pub struct Stream {
    arena: Arena,
    span: Span,
    functions: Functions,
}

impl Stream {
    /// Takes at least `bytes` bytes and writes each of them.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new(bytes: usize) -> Result<Self> {
        let mut arena = Arena::default();
        let (span, memory) = arena.take(bytes.next_multiple_of(256))?;
        memory.fill(1);
        Ok(Self {
            arena,
            span,
            functions: Isa::detect().functions()?,
        })
    }

    /// How many bytes there are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.bytes(self.span).len()
    }

    /// Reads the given share of `shares`, and returns a number that depends on all of it.
    ///
    /// # Panics
    /// A share that is not below `shares`.
    #[must_use]
    pub fn read(&self, share: usize, shares: usize) -> f32 {
        assert!(share < shares);
        let bytes = self.arena.bytes(self.span);
        let lines = bytes.len() / 256;
        let range = lines * share / shares * 256..lines * (share + 1) / shares * 256;
        let part = &bytes[range];
        // SAFETY: the part is whole vectors of numbers, aligned like the arena.
        unsafe { self.functions.read(part.as_ptr().cast(), part.len() / 4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything() {
        let stream = Stream::new(10_000).unwrap();
        assert_eq!(stream.bytes(), 10_240);
        let one = f32::from_ne_bytes([1; 4]);
        let whole = stream.read(0, 1);
        assert!((whole - one * 2560.0).abs() < 1e-3 * whole);
        let parts: f32 = (0..3).map(|share| stream.read(share, 3)).sum();
        assert!((parts - whole).abs() < 1e-3 * whole);
    }
}
