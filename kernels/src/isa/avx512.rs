//! AVX-512, with and without VNNI: sixteen numbers are one register.
//!
//! # Safety
//! As in [`super::lanes`]: AVX-512F, BW, DQ and VL must be there, and VNNI for `Avx512<true>`.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::functions;
use super::lanes::Lanes;

pub(super) struct Avx512<const VNNI: bool>;

functions!(Avx512<false>, "avx512f,avx512bw,avx512dq,avx512vl,fma,f16c");

/// With VNNI.
pub(super) mod vnni {
    use super::{Avx512, functions};

    functions!(
        Avx512<true>,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c"
    );
}

impl<const VNNI: bool> Lanes for Avx512<VNNI> {
    type V = __m512;
    type I = __m512i;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        _mm512_set1_ps(value)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        _mm512_loadu_ps(from)
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        _mm512_storeu_ps(to, value);
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        _mm512_add_ps(a, b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        _mm512_sub_ps(a, b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        _mm512_mul_ps(a, b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        _mm512_div_ps(a, b)
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        _mm512_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        _mm512_min_ps(a, b)
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        _mm512_max_ps(a, b)
    }

    #[inline(always)]
    unsafe fn add_to_exponent(a: Self::V, power: Self::V) -> Self::V {
        let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(power));
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), power))
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self::V {
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    unsafe fn load_byte(from: *const i8) -> Self::V {
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        _mm512_maskz_loadu_ps(u16::MAX >> (16 - count), from)
    }

    #[inline(always)]
    unsafe fn pairs(low: Self::V, high: Self::V) -> Self::I {
        let high = _mm512_slli_epi32::<16>(_mm512_cvtps_epi32(high));
        _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_cvtps_epi32(low), high)
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut i32, value: Self::I) {
        _mm512_storeu_si512(to.cast(), value);
    }

    #[inline(always)]
    unsafe fn load_byte_pairs(from: *const i8) -> Self::I {
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: i32) -> Self::I {
        _mm512_set1_epi32(pair)
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        if VNNI {
            _mm512_dpwssd_epi32(sum, a, b)
        } else {
            _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
        }
    }

    #[inline(always)]
    unsafe fn from_sums(sums: Self::I) -> Self::V {
        _mm512_cvtepi32_ps(sums)
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}
