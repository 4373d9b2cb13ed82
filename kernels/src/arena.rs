//! Memory for packed weights: a few large segments on large pages, filled front to back.
//!
//! Weights that are read one after the other lie one after the other, so that prefetching across the
//! end of a layer fetches what comes next. Large pages are asked for, not demanded: with pages of
//! 4 KiB everything works, more slowly.

// Mapping memory, and handing out slices of it, are this file's subject.
#![allow(unsafe_code)]

use std::ptr::NonNull;

#[cfg(target_os = "linux")]
use rustix::mm::Advice;
use rustix::mm::{MapFlags, ProtFlags};

use crate::{Error, Result};

/// Size of a large page on x86-64 and, with pages of 4 KiB, on AArch64.
const LARGE_PAGE: usize = 2 << 20;
/// Address space that a segment takes; memory is taken as it is filled.
const SEGMENT: usize = 64 << 20;
/// Alignment of everything in an arena: a cache line, and a vector of AVX-512.
const ALIGNMENT: usize = 64;

/// Packed weights; they stay where they are until the arena is dropped.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    segments: Vec<Segment>,
}

/// A place in an arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    segment: usize,
    offset: usize,
    length: usize,
}

#[derive(Debug)]
struct Segment {
    start: NonNull<u8>,
    length: usize,
    used: usize,
    /// What was mapped, which is more: `start` lies on the boundary of a large page.
    mapped: NonNull<u8>,
    mapped_length: usize,
}

// SAFETY: a segment owns its memory like a `Box<[u8]>`.
unsafe impl Send for Segment {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Segment {}

impl Arena {
    /// Takes `length` bytes, all zero, for writing.
    ///
    /// # Errors
    /// The system gives no more address space.
    pub(crate) fn take(&mut self, length: usize) -> Result<(Span, &mut [u8])> {
        let rounded = length.next_multiple_of(ALIGNMENT);
        let fits = |segment: &Segment| segment.length - segment.used >= rounded;
        if !self.segments.last().is_some_and(fits) {
            self.segments.push(Segment::new(rounded.max(SEGMENT))?);
        }
        let index = self.segments.len() - 1;
        let segment = &mut self.segments[index];
        let span = Span {
            segment: index,
            offset: segment.used,
            length,
        };
        segment.used += rounded;
        // SAFETY: the bytes lie within the segment, were zeroed by the system, and no other slice
        // of them is out: the arena is borrowed mutably.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(segment.start.as_ptr().add(span.offset), length)
        };
        Ok((span, bytes))
    }

    /// What was written there.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        let segment = &self.segments[span.segment];
        // SAFETY: spans come from `take` alone, and lie within their segment.
        unsafe { std::slice::from_raw_parts(segment.start.as_ptr().add(span.offset), span.length) }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.segments.iter().map(|segment| segment.used).sum()
    }
}

impl Segment {
    fn new(length: usize) -> Result<Self> {
        let length = length.next_multiple_of(LARGE_PAGE);
        let mapped_length = length + LARGE_PAGE;
        // SAFETY: a new private mapping at an address of the system's choice touches nothing else.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                mapped_length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let mapped = mapped.map_err(|error| Error::System {
            what: "memory for weights",
            source: error.into(),
        })?;
        let skipped = mapped.align_offset(LARGE_PAGE);
        let refused = || Error::System {
            what: "memory for weights",
            source: std::io::ErrorKind::OutOfMemory.into(),
        };
        let mapped = NonNull::new(mapped.cast::<u8>()).ok_or_else(refused)?;
        let skipped = skipped.min(LARGE_PAGE);
        // SAFETY: `skipped` is below a large page, by which the mapping is longer than the segment.
        let start = unsafe { mapped.add(skipped) };
        // SAFETY: the range lies within the mapping; the advice changes no contents. A system that
        // has no large pages refuses, and loses nothing but speed.
        #[cfg(target_os = "linux")]
        let _ =
            unsafe { rustix::mm::madvise(start.as_ptr().cast(), length, Advice::LinuxHugepage) };
        Ok(Self {
            start,
            length,
            used: 0,
            mapped,
            mapped_length,
        })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the mapping is this segment's, and no borrow of it outlives the arena.
        let _ = unsafe { rustix::mm::munmap(self.mapped.as_ptr().cast(), self.mapped_length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_apart_aligned_and_keep_what_was_written() {
        let mut arena = Arena::default();
        let sizes = [1, 64, 100, SEGMENT, 5 << 20, 3];
        let spans: Vec<Span> = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| {
                let (span, bytes) = arena.take(*size).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 0));
                assert_eq!(bytes.as_ptr() as usize % ALIGNMENT, 0);
                bytes[0] = index as u8 + 1;
                bytes[size - 1] = index as u8 + 1;
                span
            })
            .collect();
        for (index, (span, size)) in spans.iter().zip(sizes).enumerate() {
            let bytes = arena.bytes(*span);
            assert_eq!(bytes.len(), size);
            assert_eq!([bytes[0], bytes[size - 1]], [index as u8 + 1; 2]);
        }
        assert!(arena.used() >= sizes.iter().sum());
    }
}
