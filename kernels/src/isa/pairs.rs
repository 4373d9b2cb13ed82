//! The product with weights of one byte in whole numbers, for any instruction set: inputs are rounded to
//! 16 bits by one scale for all, and pairs of input channels are multiplied and added at a time.
//!
//! Weights lie as [block of outputs][pair of inputs][tap][output of the block][2]. Sums are exact, so all
//! instruction sets agree to the bit but for how they round the last two operations on them.
//!
//! # Safety
//! As in [`super::multiply`]; and the scratch has as many numbers as [`Scratch::length`] says.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Loops over registers, which are unrolled.
#![allow(clippy::needless_range_loop)]

use super::lanes::{LANES, Lanes};
use super::multiply::{AHEAD, Product, Tiles, stride, tiled};

/// The largest rounded input.
const LARGEST: f32 = 32767.0;
/// Pairs whose products a sum of 32 bits holds whatever they are: 256 times 2 times 127 times 32,767 is
/// below 2^31.
const EXACT: usize = 256;

/// Where the rounded input goes: [pair of channels][position], in pairs of 16 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scratch(pub(crate) *mut i32);

impl Scratch {
    /// Numbers for a product of `inputs` channels.
    pub(crate) fn length(inputs: usize, positions: usize, stride: usize, taps: usize) -> usize {
        // Whole vectors are written.
        inputs.div_ceil(2) * span(positions, stride, taps) + LANES
    }
}

/// Positions of the input that a product reads.
fn span(positions: usize, stride: usize, taps: usize) -> usize {
    (positions - 1) * stride + taps
}

/// Computes a product.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes>(product: &Product, scratch: &Scratch) {
    let span = span(product.positions, product.stride, product.taps);
    let job = Job {
        product,
        rounded: scratch.0,
        span,
        unit: round::<L>(product, span, scratch.0),
    };
    tiled::<L, _>(&job);
}

struct Job<'a> {
    product: &'a Product,
    rounded: *const i32,
    span: usize,
    /// What 1 of a rounded input stands for.
    unit: f32,
}

impl<L: Lanes> Tiles<L> for Job<'_> {
    #[inline(always)]
    fn product(&self) -> &Product {
        self.product
    }

    #[inline(always)]
    unsafe fn tile<const P: usize, const N: usize, const STRIDE: usize>(
        &self,
        block: usize,
        first: usize,
    ) {
        tile::<L, P, N, STRIDE>(self, block, first);
    }
}

/// Rounds the input and returns what 1 of it stands for.
#[inline(always)]
unsafe fn round<L: Lanes>(product: &Product, span: usize, rounded: *mut i32) -> f32 {
    let mut largest = L::splat(0.0);
    for input in 0..product.inputs {
        let row = product.input.add(input * product.row);
        let mut at = 0;
        while at < span {
            let values = L::load_first(row.add(at), LANES.min(span - at));
            let negative = L::sub(L::splat(0.0), values);
            largest = L::max(largest, L::max(values, negative));
            at += LANES;
        }
    }
    let mut lanes = [0.0_f32; LANES];
    L::store(lanes.as_mut_ptr(), largest);
    let largest = lanes.iter().fold(0.0_f32, |most, value| most.max(*value));
    // Infinity or NaN in an input: its products are neither finite nor sensible in any format.
    let factor = LARGEST / largest.max(f32::MIN_POSITIVE * LARGEST);
    let factors = L::splat(factor);
    for pair in 0..product.inputs.div_ceil(2) {
        let row = product.input.add(2 * pair * product.row);
        let is_whole = 2 * pair + 1 < product.inputs;
        let mut at = 0;
        while at < span {
            let count = LANES.min(span - at);
            let low = L::load_first(row.add(at), count);
            let high = match is_whole {
                true => L::load_first(row.add(product.row + at), count),
                false => L::splat(0.0),
            };
            // In order, so that what is written behind a row is overwritten by the next.
            let both = L::pairs(L::mul(low, factors), L::mul(high, factors));
            L::store_pairs(rounded.add(pair * span + at), both);
            at += LANES;
        }
    }
    1.0 / factor
}

/// `P` positions from `first` on, of `N` vectors of outputs.
#[inline(always)]
unsafe fn tile<L: Lanes, const P: usize, const N: usize, const STRIDE: usize>(
    job: &Job<'_>,
    block: usize,
    first: usize,
) {
    let product = job.product;
    let vector = 2 * LANES;
    let stride = stride::<STRIDE>(product);
    let pairs = product.inputs.div_ceil(2);
    let mut weights = product
        .weights
        .add(block * pairs * product.taps * N * vector);
    let mut column = job.rounded.add(first * stride);
    let mut done = 0;
    while done < pairs {
        let end = pairs.min(done + (EXACT / product.taps).max(1));
        let mut sums = [[L::splat_pair(0); N]; P];
        for _ in done..end {
            for tap in 0..product.taps {
                let mut line = 0;
                while line < N * vector {
                    L::prefetch(weights.wrapping_add(AHEAD + line));
                    line += 64;
                }
                let mut loaded = [L::splat_pair(0); N];
                for n in 0..N {
                    loaded[n] = L::load_byte_pairs(weights.add(n * vector).cast());
                }
                for p in 0..P {
                    let value = L::splat_pair(*column.add(tap + p * stride));
                    for n in 0..N {
                        sums[p][n] = L::dot(sums[p][n], loaded[n], value);
                    }
                }
                weights = weights.add(N * vector);
            }
            column = column.add(job.span);
        }
        for n in 0..N {
            let panel = block * N + n;
            let scale = L::mul(
                L::load(product.scale.add(panel * LANES)),
                L::splat(job.unit),
            );
            let output = product
                .output
                .add(panel * product.panel + first * product.step);
            for p in 0..P {
                let place = output.add(p * product.step);
                let before = match done {
                    0 => L::load(product.bias.add(panel * LANES)),
                    _ => L::load(place),
                };
                L::store(place, L::fma(L::from_sums(sums[p][n]), scale, before));
            }
        }
        done = end;
    }
}
