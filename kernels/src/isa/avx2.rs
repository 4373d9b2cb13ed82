//! AVX2 with FMA and F16C: sixteen numbers are two registers.
//!
//! # Safety
//! As in [`super::lanes`]: AVX2, FMA and F16C must be there.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Loops over registers, which are unrolled.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::functions;
use super::lanes::Lanes;

pub(super) struct Avx2;

functions!(Avx2, "avx2,fma,f16c");

impl Lanes for Avx2 {
    type V = [__m256; 2];
    type I = [__m256i; 2];
    // Eight of the sixteen registers for sums: the weights take two, a position's number one.
    const REGISTERS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [_mm256_set1_ps(value); 2]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))]
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        _mm256_storeu_ps(to, value[0]);
        _mm256_storeu_ps(to.add(8), value[1]);
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        [
            _mm256_fmadd_ps(a[0], b[0], c[0]),
            _mm256_fmadd_ps(a[1], b[1], c[1]),
        ]
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn add_to_exponent(a: Self::V, power: Self::V) -> Self::V {
        let mut result = a;
        for half in 0..2 {
            let power = _mm256_slli_epi32::<23>(_mm256_castps_si256(power[half]));
            let sum = _mm256_add_epi32(_mm256_castps_si256(a[half]), power);
            result[half] = _mm256_castsi256_ps(sum);
        }
        result
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self::V {
        [
            _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast())),
        ]
    }

    #[inline(always)]
    unsafe fn load_byte(from: *const i8) -> Self::V {
        [
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(8).cast()))),
        ]
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let half = |at: usize| {
            let left = _mm256_set1_epi32(count.saturating_sub(at) as i32);
            // Lanes that are masked out are not read.
            _mm256_maskload_ps(from.wrapping_add(at), _mm256_cmpgt_epi32(left, lanes))
        };
        [half(0), half(8)]
    }

    #[inline(always)]
    unsafe fn pairs(low: Self::V, high: Self::V) -> Self::I {
        let half = |low, high| {
            let high = _mm256_slli_epi32::<16>(_mm256_cvtps_epi32(high));
            _mm256_blend_epi16::<0xaa>(_mm256_cvtps_epi32(low), high)
        };
        [half(low[0], high[0]), half(low[1], high[1])]
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut i32, value: Self::I) {
        _mm256_storeu_si256(to.cast(), value[0]);
        _mm256_storeu_si256(to.add(8).cast(), value[1]);
    }

    #[inline(always)]
    unsafe fn load_byte_pairs(from: *const i8) -> Self::I {
        [
            _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(16).cast())),
        ]
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: i32) -> Self::I {
        [_mm256_set1_epi32(pair); 2]
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        [
            _mm256_add_epi32(sum[0], _mm256_madd_epi16(a[0], b[0])),
            _mm256_add_epi32(sum[1], _mm256_madd_epi16(a[1], b[1])),
        ]
    }

    #[inline(always)]
    unsafe fn from_sums(sums: Self::I) -> Self::V {
        [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])]
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}
