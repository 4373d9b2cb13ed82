//! Plain Rust: what runs where nothing better is known, and what the others are compared with.
//!
//! # Safety
//! As in [`super::lanes`]; no instruction set is demanded.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Loops over registers, which are unrolled.
#![allow(clippy::needless_range_loop)]

use super::functions;
use super::lanes::{LANES, Lanes};
use crate::precision::from_half;

pub(super) struct Portable;

functions!(Portable);

#[inline(always)]
fn each(a: [f32; LANES], b: [f32; LANES], function: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut result = [0.0; LANES];
    for lane in 0..LANES {
        result[lane] = function(a[lane], b[lane]);
    }
    result
}

impl Lanes for Portable {
    type V = [f32; LANES];
    type I = [i32; LANES];
    const REGISTERS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        from.cast::<Self::V>().read_unaligned()
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        to.cast::<Self::V>().write_unaligned(value);
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // In two roundings: one is slow where the processor cannot do it.
        each(each(a, b, |a, b| a * b), c, |product, c| product + c)
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn add_to_exponent(a: Self::V, power: Self::V) -> Self::V {
        each(a, power, |a, power| {
            f32::from_bits(a.to_bits().wrapping_add(power.to_bits() << 23))
        })
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self::V {
        let halves = from.cast::<[u16; LANES]>().read_unaligned();
        halves.map(from_half)
    }

    #[inline(always)]
    unsafe fn load_byte(from: *const i8) -> Self::V {
        let bytes = from.cast::<[i8; LANES]>().read_unaligned();
        bytes.map(f32::from)
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let mut first = [0.0; LANES];
        std::ptr::copy_nonoverlapping(from, first.as_mut_ptr(), count);
        first
    }

    #[inline(always)]
    unsafe fn pairs(low: Self::V, high: Self::V) -> Self::I {
        let mut result = [0; LANES];
        for lane in 0..LANES {
            let [low, high] = [low[lane], high[lane]].map(|value| value.round_ties_even() as i32);
            result[lane] = low & 0xffff | high << 16;
        }
        result
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut i32, value: Self::I) {
        to.cast::<Self::I>().write_unaligned(value);
    }

    #[inline(always)]
    unsafe fn load_byte_pairs(from: *const i8) -> Self::I {
        let pairs = from.cast::<[[i8; 2]; LANES]>().read_unaligned();
        pairs.map(|[low, high]| i32::from(low) & 0xffff | i32::from(high) << 16)
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: i32) -> Self::I {
        [pair; LANES]
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        let mut result = sum;
        for lane in 0..LANES {
            let low = i32::from(a[lane] as i16) * i32::from(b[lane] as i16);
            result[lane] += low + (a[lane] >> 16) * (b[lane] >> 16);
        }
        result
    }

    #[inline(always)]
    unsafe fn from_sums(sums: Self::I) -> Self::V {
        sums.map(|sum| sum as f32)
    }

    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
}
