//! What follows a product of a perceptron, for any instruction set: activation, the sum with what was
//! there before, and the layer normalisation that the next product wants.
//!
//! # Safety
//! As in [`super::lanes`]; and the pointers of an [`Advance`] must reach as far as its sizes say.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use super::Activation;
use super::finish::EPSILON;
use super::lanes::{LANES, Lanes, mish, silu};

/// A layer after its product, in pointers and sizes. All arrays are rows of whole vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advance {
    /// What the product made.
    pub(crate) sums: *const f32,
    /// What it is added to, replaced by the sum.
    pub(crate) state: *mut f32,
    /// Whether there is nothing to add to yet.
    pub(crate) begins: bool,
    /// The non-linearity of the sums.
    pub(crate) activation: Activation,
    /// Rows.
    pub(crate) rows: usize,
    /// Numbers from one row to the next, a multiple of 16; zeros behind the row's own.
    pub(crate) length: usize,
    /// Numbers of a row.
    pub(crate) width: usize,
    /// The layer normalisation of the result, if any.
    pub(crate) norm: Option<LayerNorm>,
}

/// A layer normalisation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerNorm {
    /// Learned scale of every number, with zeros behind.
    pub(crate) gamma: *const f32,
    /// Learned shift, likewise.
    pub(crate) beta: *const f32,
    /// Where the normalised rows go.
    pub(crate) output: *mut f32,
}

/// Advances all rows by a layer.
#[inline(always)]
pub(super) unsafe fn advance<L: Lanes>(job: &Advance) {
    match job.activation {
        Activation::Mish => activated::<L, true>(job),
        Activation::Silu => activated::<L, false>(job),
    }
    if let Some(norm) = &job.norm {
        for row in 0..job.rows {
            normalise::<L>(job, norm, row * job.length);
        }
    }
}

#[inline(always)]
unsafe fn activated<L: Lanes, const MISH: bool>(job: &Advance) {
    for at in (0..job.rows * job.length).step_by(LANES) {
        let sum = L::load(job.sums.add(at));
        let mut value = if MISH { mish::<L>(sum) } else { silu::<L>(sum) };
        if !job.begins {
            value = L::add(L::load(job.state.add(at)), value);
        }
        L::store(job.state.add(at), value);
    }
}

/// Normalises the row that begins at `start`.
#[inline(always)]
unsafe fn normalise<L: Lanes>(job: &Advance, norm: &LayerNorm, start: usize) {
    let values = job.state.add(start).cast_const();
    let mut sums = L::splat(0.0);
    for at in (0..job.length).step_by(LANES) {
        sums = L::add(sums, L::load(values.add(at)));
    }
    let mean = total::<L>(sums) / job.width as f32;
    let means = L::splat(mean);
    let whole = job.width / LANES * LANES;
    let mut squares = L::splat(0.0);
    for at in (0..whole).step_by(LANES) {
        let distance = L::sub(L::load(values.add(at)), means);
        squares = L::fma(distance, distance, squares);
    }
    let mut variance = total::<L>(squares);
    for at in whole..job.width {
        let distance = *values.add(at) - mean;
        variance += distance * distance;
    }
    let gains = L::splat(1.0 / (variance / job.width as f32 + EPSILON).sqrt());
    for at in (0..job.length).step_by(LANES) {
        let value = L::sub(L::load(values.add(at)), means);
        let gain = L::mul(gains, L::load(norm.gamma.add(at)));
        let value = L::fma(value, gain, L::load(norm.beta.add(at)));
        L::store(norm.output.add(start + at), value);
    }
}

/// The sum of the lanes.
#[inline(always)]
unsafe fn total<L: Lanes>(sums: L::V) -> f32 {
    let mut lanes = [0.0; LANES];
    L::store(lanes.as_mut_ptr(), sums);
    lanes.iter().sum()
}
