//! The product, for any instruction set: packed weights times the positions of a plan.
//!
//! Weights lie as [block of outputs][input][tap][outputs of the block]. A tile of positions keeps
//! its sums in registers while the weights of a block stream by, each loaded once and used for all
//! positions of the tile.
//!
//! # Safety
//! As in [`super::lanes`]; and the pointers of a [`Product`] must reach as far as its sizes say.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Loops over registers, which are unrolled.
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;

use super::lanes::{LANES, Lanes};

/// How far ahead weights are asked for, bytes: far enough to hide the memory's latency at its full rate.
pub(super) const AHEAD: usize = 4096;

/// A product, in pointers and sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// Packed weights of the first block.
    pub(crate) weights: *const u8,
    /// Factor of every output, or null for none.
    pub(crate) scale: *const f32,
    /// Added to every output.
    pub(crate) bias: *const f32,
    /// What the first tap of the first output position reads: inputs [channel][position].
    pub(crate) input: *const f32,
    /// Numbers from one input channel to the next.
    pub(crate) row: usize,
    /// Input channels.
    pub(crate) inputs: usize,
    /// Width of the convolution.
    pub(crate) taps: usize,
    /// Input positions from one output position to the next: 1 or 2 for columns, the numbers of a row for
    /// rows.
    pub(crate) stride: usize,
    /// Output positions.
    pub(crate) positions: usize,
    /// First and last-but-one block.
    pub(crate) blocks: (usize, usize),
    /// Vectors of outputs in a block: 1, 2 or 4.
    pub(crate) width: usize,
    /// Where the first panel begins; outputs are [panel of 16 channels][position][16].
    pub(crate) output: *mut f32,
    /// Numbers from one panel to the next.
    pub(crate) panel: usize,
    /// Numbers from one output position to the next.
    pub(crate) step: usize,
}

/// A number format of packed weights.
pub(super) trait Format {
    const BYTES: usize;
    unsafe fn load<L: Lanes>(from: *const u8) -> L::V;
}

pub(super) struct Single;
pub(super) struct Half;
pub(super) struct Byte;

impl Format for Single {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u8) -> L::V {
        L::load(from.cast())
    }
}

impl Format for Half {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u8) -> L::V {
        L::load_half(from.cast())
    }
}

impl Format for Byte {
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const u8) -> L::V {
        L::load_byte(from.cast())
    }
}

/// A product in tiles of positions and vectors of outputs.
pub(super) trait Tiles<L: Lanes> {
    fn product(&self) -> &Product;
    /// Computes `P` positions from `first` on, of the `N` vectors of a block. A `STRIDE` of 0 stands for
    /// that of the product, which is known when it runs.
    unsafe fn tile<const P: usize, const N: usize, const STRIDE: usize>(
        &self,
        block: usize,
        first: usize,
    );
}

/// Computes all tiles, each as large as the registers hold.
#[inline(always)]
pub(super) unsafe fn tiled<L: Lanes, T: Tiles<L>>(tiles: &T) {
    let product = tiles.product();
    match (product.width, product.stride) {
        (4, 1) => blocks::<L, T, 4, 1>(tiles),
        (2, 1) => blocks::<L, T, 2, 1>(tiles),
        (1, 1) => blocks::<L, T, 1, 1>(tiles),
        (4, 2) => blocks::<L, T, 4, 2>(tiles),
        (2, 2) => blocks::<L, T, 2, 2>(tiles),
        (1, 2) => blocks::<L, T, 1, 2>(tiles),
        (4, _) => blocks::<L, T, 4, 0>(tiles),
        (2, _) => blocks::<L, T, 2, 0>(tiles),
        _ => blocks::<L, T, 1, 0>(tiles),
    }
}

#[inline(always)]
unsafe fn blocks<L: Lanes, T: Tiles<L>, const N: usize, const STRIDE: usize>(tiles: &T) {
    let product = tiles.product();
    for block in product.blocks.0..product.blocks.1 {
        let mut first = 0;
        while first < product.positions {
            let left = product.positions - first;
            if 16 * N <= L::REGISTERS && left >= 16 {
                tiles.tile::<16, N, STRIDE>(block, first);
                first += 16;
            } else if 8 * N <= L::REGISTERS && left >= 8 {
                tiles.tile::<8, N, STRIDE>(block, first);
                first += 8;
            } else if 4 * N <= L::REGISTERS && left >= 4 {
                tiles.tile::<4, N, STRIDE>(block, first);
                first += 4;
            } else if 2 * N <= L::REGISTERS && left >= 2 {
                tiles.tile::<2, N, STRIDE>(block, first);
                first += 2;
            } else {
                tiles.tile::<1, N, STRIDE>(block, first);
                first += 1;
            }
        }
    }
}

/// Input positions from one output position to the next, known to the compiler where they can be.
#[inline(always)]
pub(super) fn stride<const STRIDE: usize>(product: &Product) -> usize {
    match STRIDE {
        0 => product.stride,
        known => known,
    }
}

/// A product of numbers, whatever their weights are kept in.
struct Numbers<'a, F>(&'a Product, PhantomData<F>);

impl<L: Lanes, F: Format> Tiles<L> for Numbers<'_, F> {
    #[inline(always)]
    fn product(&self) -> &Product {
        self.0
    }

    #[inline(always)]
    unsafe fn tile<const P: usize, const N: usize, const STRIDE: usize>(
        &self,
        block: usize,
        first: usize,
    ) {
        tile::<L, F, P, N, STRIDE>(self.0, block, first);
    }
}

/// Computes a product with weights in one format.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes, F: Format>(product: &Product) {
    tiled::<L, _>(&Numbers::<F>(product, PhantomData));
}

/// `P` positions from `first` on, of `N` vectors of outputs.
#[inline(always)]
unsafe fn tile<L: Lanes, F: Format, const P: usize, const N: usize, const STRIDE: usize>(
    product: &Product,
    block: usize,
    first: usize,
) {
    let vector = LANES * F::BYTES;
    let stride = stride::<STRIDE>(product);
    let mut sums = [[L::splat(0.0); N]; P];
    let mut weights = product
        .weights
        .add(block * product.inputs * product.taps * N * vector);
    let mut column = product.input.add(first * stride);
    for _ in 0..product.inputs {
        for tap in 0..product.taps {
            let mut line = 0;
            while line < N * vector {
                L::prefetch(weights.wrapping_add(AHEAD + line));
                line += 64;
            }
            let mut loaded = [L::splat(0.0); N];
            for n in 0..N {
                loaded[n] = F::load::<L>(weights.add(n * vector));
            }
            for p in 0..P {
                let value = L::splat(*column.add(tap + p * stride));
                for n in 0..N {
                    sums[p][n] = L::fma(loaded[n], value, sums[p][n]);
                }
            }
            weights = weights.add(N * vector);
        }
        column = column.add(product.row);
    }
    for n in 0..N {
        let panel = block * N + n;
        let bias = L::load(product.bias.add(panel * LANES));
        let output = product
            .output
            .add(panel * product.panel + first * product.step);
        for p in 0..P {
            let sum = if product.scale.is_null() {
                L::add(sums[p][n], bias)
            } else {
                L::fma(sums[p][n], L::load(product.scale.add(panel * LANES)), bias)
            };
            L::store(output.add(p * product.step), sum);
        }
    }
}

/// Sums `count` numbers, a multiple of 64.
#[inline(always)]
pub(super) unsafe fn read<L: Lanes>(from: *const f32, count: usize) -> f32 {
    let mut sums = [L::splat(0.0); 4];
    let mut at = 0;
    while at < count {
        for (index, sum) in sums.iter_mut().enumerate() {
            let place = from.add(at + index * LANES);
            L::prefetch(place.cast::<u8>().wrapping_add(AHEAD));
            *sum = L::add(*sum, L::load(place));
        }
        at += 4 * LANES;
    }
    let mut lanes = [0.0; LANES];
    for sum in sums {
        let mut part = [0.0; LANES];
        L::store(part.as_mut_ptr(), sum);
        for lane in 0..LANES {
            lanes[lane] += part[lane];
        }
    }
    lanes.iter().sum()
}
