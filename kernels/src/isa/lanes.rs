//! Sixteen fp32 numbers at a time, whatever the instruction set makes of them, and the functions
//! that are written with them once for all.
//!
//! # Safety
//! Every function here may be called only where the instruction set of the [`Lanes`] in question is
//! there, and is to be inlined into a function that enables it: hence `inline(always)` throughout.

// The contract above holds for whole files: a block around every instruction would say nothing.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

/// Numbers in a vector.
pub(crate) const LANES: usize = 16;

/// Sixteen fp32 numbers and what can be done with them; and sixteen pairs of 16-bit numbers, or sums of
/// their products.
pub(crate) trait Lanes {
    /// The sixteen numbers.
    type V: Copy;
    /// Sixteen whole numbers of 32 bits, or sixteen pairs of 16 bits.
    type I: Copy;
    /// Vectors that fit into registers beside what a product needs otherwise.
    const REGISTERS: usize;

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, value: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// a b + c
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Adds the lowest bits of `power`, as an integer, to the exponents of `a`.
    unsafe fn add_to_exponent(a: Self::V, power: Self::V) -> Self::V;
    /// Sixteen binary16 numbers.
    unsafe fn load_half(from: *const u16) -> Self::V;
    /// Sixteen signed bytes.
    unsafe fn load_byte(from: *const i8) -> Self::V;
    /// The first `count` of sixteen numbers, 1 to 16, and zeros; no other is read.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V;
    /// Pairs of the nearest whole numbers, ties to even, of what is at most 32,767: `low` in the lower
    /// halves.
    unsafe fn pairs(low: Self::V, high: Self::V) -> Self::I;
    unsafe fn store_pairs(to: *mut i32, value: Self::I);
    /// Sixteen pairs of signed bytes.
    unsafe fn load_byte_pairs(from: *const i8) -> Self::I;
    unsafe fn splat_pair(pair: i32) -> Self::I;
    /// sum + a.0 b.0 + a.1 b.1, in 32 bits.
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    unsafe fn from_sums(sums: Self::I) -> Self::V;
    /// Asks for a cache line, which need not exist.
    unsafe fn prefetch(at: *const u8);
}

/// e^x within 2e-7 of it, for x up to 88; e^-86 below -86.
#[inline(always)]
pub(super) unsafe fn exp<L: Lanes>(x: L::V) -> L::V {
    // 1.5 2^23: adding it rounds to a whole number, which is then in the lowest bits.
    let magic = L::splat(12_582_912.0);
    let x = L::max(L::min(x, L::splat(88.0)), L::splat(-86.0));
    let shifted = L::fma(x, L::splat(std::f32::consts::LOG2_E), magic);
    let power = L::sub(shifted, magic);
    // ln 2 in two parts, of which the first has few enough bits for an exact product.
    let rest = L::fma(power, L::splat(-0.693_359_4), x);
    let rest = L::fma(power, L::splat(2.121_944_4e-4), rest);
    // Taylor's polynomial; |rest| is at most 0.35, and the next term 5e-9.
    let mut sum = L::splat(1.0 / 5040.0);
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = L::fma(sum, rest, L::splat(coefficient));
    }
    L::add_to_exponent(sum, shifted)
}

/// x / (1 + e^-x)
#[inline(always)]
pub(super) unsafe fn silu<L: Lanes>(x: L::V) -> L::V {
    let one = L::splat(1.0);
    L::div(x, L::add(one, exp::<L>(L::sub(L::splat(0.0), x))))
}

/// x tanh(ln(1 + e^x)): with n = e^x (e^x + 2) that is x n / (n + 2), and x itself above 20.
#[inline(always)]
pub(super) unsafe fn mish<L: Lanes>(x: L::V) -> L::V {
    let two = L::splat(2.0);
    let exponential = exp::<L>(L::min(x, L::splat(20.0)));
    let n = L::mul(exponential, L::add(exponential, two));
    L::div(L::mul(x, n), L::add(n, two))
}
