//! Memory that several workers write at once, each its own part.

// Sharing mutable memory between threads is this file's subject.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;

use crate::isa::LANES;

/// A cache line.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
struct Line([f32; LANES]);

/// Numbers that are read and written through pointers; zero at first.
#[derive(Debug)]
pub(crate) struct Shared {
    lines: Box<[UnsafeCell<Line>]>,
}

// SAFETY: sharing gives out pointers alone; whoever uses them promises that no part is written while
// another thread uses it.
unsafe impl Sync for Shared {}

impl Shared {
    /// Room for `length` numbers.
    pub(crate) fn new(length: usize) -> Self {
        let lines = (0..length.div_ceil(LANES)).map(|_| UnsafeCell::new(Line([0.0; LANES])));
        Self {
            lines: lines.collect(),
        }
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len() * LANES
    }

    /// The number at `offset`, which is there.
    pub(crate) fn pointer(&self, offset: usize) -> *mut f32 {
        assert!(offset < self.len(), "{offset} of {}", self.len());
        let start = UnsafeCell::raw_get(self.lines.as_ptr()).cast::<f32>();
        // SAFETY: the offset lies within the lines, which are one allocation of numbers.
        unsafe { start.add(offset) }
    }

    /// All numbers.
    ///
    /// # Safety
    /// No other thread uses them as long as the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn all(&self) -> &mut [f32] {
        let start = UnsafeCell::raw_get(self.lines.as_ptr()).cast::<f32>();
        // SAFETY: the lines are one allocation of that many numbers; the caller promises the rest.
        unsafe { std::slice::from_raw_parts_mut(start, self.len()) }
    }
}
