//! How often a thread uses the heap.
//!
//! [`CountingAllocator`] is the system's allocator with a counter per thread. A program that installs it can prove what
//! the control loop promises, that a tick allocates nothing:
//!
//! ```
//! use kinestream_control::allocations::{CountingAllocator, is_counting, thread_allocations};
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator;
//!
//! assert!(is_counting());
//! let before = thread_allocations();
//! drop(vec![1, 2, 3]);
//! assert_eq!(thread_allocations() - before, 2);
//! ```
//!
//! Rust's allocations are counted; what C and C++ libraries take from `malloc` is not.

// `GlobalAlloc` is an unsafe trait: there is no other way to see allocations.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Constant and without a destructor: reaching it allocates nothing, so that the allocator cannot call itself.
    static USES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator; counts its uses per thread, at the cost of one addition each.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator;

/// Allocations, reallocations and releases that this thread made so far; 0 where [`CountingAllocator`] is not installed.
#[must_use]
pub fn thread_allocations() -> u64 {
    USES.try_with(Cell::get).unwrap_or(0)
}

/// Whether [`CountingAllocator`] is this program's allocator. Allocates once to find out.
#[must_use]
pub fn is_counting() -> bool {
    let before = thread_allocations();
    drop(std::hint::black_box(Box::new(0_u8)));
    thread_allocations() != before
}

fn count() {
    // Fails only while a thread is being torn down.
    let _ = USES.try_with(|uses| uses.set(uses.get().wrapping_add(1)));
}

// SAFETY: every call goes to the system's allocator unchanged, which keeps the contract. Counting touches a thread-local
// cell, neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_nothing_where_it_is_not_installed() {
        assert!(!is_counting());
        assert_eq!(thread_allocations(), 0);
    }
}
