//! NEON on AArch64: sixteen numbers are four registers.
//!
//! # Safety
//! As in [`super::lanes`]: NEON must be there, as it is on practically every AArch64 processor.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Loops over registers, which are unrolled.
#![allow(clippy::needless_range_loop)]

use std::arch::aarch64::*;

use super::functions;
use super::lanes::Lanes;

pub(super) struct Neon;

functions!(Neon, "neon");

/// One instruction on each of the four registers of two vectors.
macro_rules! each {
    ($function:ident, $a:expr, $b:expr) => {
        [
            $function($a[0], $b[0]),
            $function($a[1], $b[1]),
            $function($a[2], $b[2]),
            $function($a[3], $b[3]),
        ]
    };
}

impl Lanes for Neon {
    type V = [float32x4_t; 4];
    type I = [int32x4_t; 4];
    // Sixteen of the 32 registers for sums: the weights take four, a position's number one.
    const REGISTERS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [vdupq_n_f32(value); 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        [
            vld1q_f32(from),
            vld1q_f32(from.add(4)),
            vld1q_f32(from.add(8)),
            vld1q_f32(from.add(12)),
        ]
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        for part in 0..4 {
            vst1q_f32(to.add(4 * part), value[part]);
        }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each!(vaddq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each!(vsubq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each!(vmulq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each!(vdivq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        [
            vfmaq_f32(c[0], a[0], b[0]),
            vfmaq_f32(c[1], a[1], b[1]),
            vfmaq_f32(c[2], a[2], b[2]),
            vfmaq_f32(c[3], a[3], b[3]),
        ]
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each!(vminq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each!(vmaxq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn add_to_exponent(a: Self::V, power: Self::V) -> Self::V {
        let mut result = a;
        for part in 0..4 {
            let power = vshlq_n_u32::<23>(vreinterpretq_u32_f32(power[part]));
            result[part] = vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a[part]), power));
        }
        result
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self::V {
        // With integers, as `precision::from_half` does it: the instruction for it needs a type
        // that Rust has not had for long.
        let mut result = Self::splat(0.0);
        let bias = vdupq_n_f32(f32::from_bits((127 + 112) << 23));
        for part in 0..4 {
            let halves = vmovl_u16(vld1_u16(from.add(4 * part)));
            let magnitude = vshlq_n_u32::<13>(vandq_u32(halves, vdupq_n_u32(0x7fff)));
            let sign = vshlq_n_u32::<16>(vandq_u32(halves, vdupq_n_u32(0x8000)));
            let value = vmulq_f32(vreinterpretq_f32_u32(magnitude), bias);
            result[part] = vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(value), sign));
        }
        result
    }

    #[inline(always)]
    unsafe fn load_byte(from: *const i8) -> Self::V {
        let bytes = vld1q_s8(from);
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
        [
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
            vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_high_s16(high)),
        ]
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let mut first = [0.0_f32; 16];
        std::ptr::copy_nonoverlapping(from, first.as_mut_ptr(), count);
        Self::load(first.as_ptr())
    }

    #[inline(always)]
    unsafe fn pairs(low: Self::V, high: Self::V) -> Self::I {
        let mut result = [vdupq_n_s32(0); 4];
        for part in 0..4 {
            // The upper halves of `low` give way to those of `high`.
            let (low, high) = (vcvtnq_s32_f32(low[part]), vcvtnq_s32_f32(high[part]));
            result[part] = vsliq_n_s32::<16>(low, high);
        }
        result
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut i32, value: Self::I) {
        for part in 0..4 {
            vst1q_s32(to.add(4 * part), value[part]);
        }
    }

    #[inline(always)]
    unsafe fn load_byte_pairs(from: *const i8) -> Self::I {
        let (first, second) = (vld1q_s8(from), vld1q_s8(from.add(16)));
        [
            vreinterpretq_s32_s16(vmovl_s8(vget_low_s8(first))),
            vreinterpretq_s32_s16(vmovl_high_s8(first)),
            vreinterpretq_s32_s16(vmovl_s8(vget_low_s8(second))),
            vreinterpretq_s32_s16(vmovl_high_s8(second)),
        ]
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: i32) -> Self::I {
        [vdupq_n_s32(pair); 4]
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        let mut result = sum;
        for part in 0..4 {
            let (a, b) = (
                vreinterpretq_s16_s32(a[part]),
                vreinterpretq_s16_s32(b[part]),
            );
            let (first, second) = (
                vmull_s16(vget_low_s16(a), vget_low_s16(b)),
                vmull_high_s16(a, b),
            );
            result[part] = vaddq_s32(sum[part], vpaddq_s32(first, second));
        }
        result
    }

    #[inline(always)]
    unsafe fn from_sums(sums: Self::I) -> Self::V {
        [
            vcvtq_f32_s32(sums[0]),
            vcvtq_f32_s32(sums[1]),
            vcvtq_f32_s32(sums[2]),
            vcvtq_f32_s32(sums[3]),
        ]
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        std::arch::asm!("prfm pldl1strm, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
}
