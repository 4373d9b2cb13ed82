//! What follows a product while its sums are in the cache, for any instruction set: group
//! normalisation, activation, modulation, residual, and the layout that the next product reads.
//!
//! # Safety
//! As in [`super::lanes`]; and the pointers of a [`Epilogue`] must reach as far as its sizes say.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use super::Activation;
use super::lanes::{LANES, Lanes, mish, silu};

/// Added to variances, as in PyTorch.
pub(super) const EPSILON: f32 = 1e-5;

/// What is done with the sums of a product, in pointers and sizes.
///
/// All arrays of panels are [panel of 16 channels][position][16].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue {
    /// The sums, replaced by the result.
    pub(crate) panels: *mut f32,
    /// Positions.
    pub(crate) positions: usize,
    /// First and last-but-one panel.
    pub(crate) range: (usize, usize),
    /// Channels, of which the last panel may have fewer than 16.
    pub(crate) channels: usize,
    /// Normalisation, activation and modulation, if any.
    pub(crate) normalise: Option<Normalise>,
    /// Panels that are added at the end, or null.
    pub(crate) residual: *const f32,
    /// Where position 0 of channel 0 goes, as [channel][position], or null.
    pub(crate) columns: *mut f32,
    /// Numbers from one channel to the next there.
    pub(crate) row: usize,
}

/// Group normalisation, activation, modulation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normalise {
    /// Channels of a group; the range of panels holds whole groups.
    pub(crate) group: usize,
    /// Learned scale and shift of every channel, padded to whole panels.
    pub(crate) gamma: *const f32,
    /// See `gamma`.
    pub(crate) beta: *const f32,
    /// Room for two numbers per channel, padded to whole panels.
    pub(crate) means: *mut f32,
    /// See `means`.
    pub(crate) gains: *mut f32,
    /// The non-linearity.
    pub(crate) activation: Activation,
    /// Scale and shift after it.
    pub(crate) modulation: Option<Modulation>,
}

/// Scale and shift (FiLM) in two halves, of the noise levels and of the observation, in panels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modulation {
    /// Of the levels, or null where nothing is scaled.
    pub(crate) level_scale: *const f32,
    /// Of the levels.
    pub(crate) level_shift: *const f32,
    /// Positions of the levels' halves: all, or one for all.
    pub(crate) level_positions: usize,
    /// Of the observation, with one position; null where nothing is scaled.
    pub(crate) observation_scale: *const f32,
    /// Of the observation.
    pub(crate) observation_shift: *const f32,
}

/// Finishes a range of panels.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes>(job: &Epilogue) {
    if let Some(normalise) = &job.normalise {
        statistics::<L>(job, normalise);
        match normalise.activation {
            Activation::Mish => normalised::<L, true>(job, normalise),
            Activation::Silu => normalised::<L, false>(job, normalise),
        }
    }
    if !job.columns.is_null() {
        transpose(job);
    }
}

/// Mean and reciprocal deviation of every group, written for each of its channels.
#[inline(always)]
unsafe fn statistics<L: Lanes>(job: &Epilogue, normalise: &Normalise) {
    let length = job.positions * LANES;
    for panel in job.range.0..job.range.1 {
        let values = job.panels.add(panel * length);
        let mut sum = L::load(values);
        for position in 1..job.positions {
            sum = L::add(sum, L::load(values.add(position * LANES)));
        }
        L::store(normalise.means.add(panel * LANES), sum);
    }
    over_groups(job, normalise, normalise.means, |mean| mean);
    for panel in job.range.0..job.range.1 {
        let values = job.panels.add(panel * length);
        let mean = L::load(normalise.means.add(panel * LANES));
        let mut sum = L::splat(0.0);
        for position in 0..job.positions {
            let distance = L::sub(L::load(values.add(position * LANES)), mean);
            sum = L::fma(distance, distance, sum);
        }
        L::store(normalise.gains.add(panel * LANES), sum);
    }
    over_groups(job, normalise, normalise.gains, |variance| {
        1.0 / (variance + EPSILON).sqrt()
    });
}

/// Replaces the sums of a group's channels by a function of their mean over the group.
#[inline(always)]
unsafe fn over_groups(
    job: &Epilogue,
    normalise: &Normalise,
    sums: *mut f32,
    function: impl Fn(f32) -> f32,
) {
    let end = (job.range.1 * LANES).min(job.channels);
    let count = (normalise.group * job.positions) as f32;
    let mut first = job.range.0 * LANES;
    while first < end {
        let mut sum = 0.0;
        for channel in first..first + normalise.group {
            sum += *sums.add(channel);
        }
        let value = function(sum / count);
        for channel in first..first + normalise.group {
            *sums.add(channel) = value;
        }
        first += normalise.group;
    }
}

#[inline(always)]
unsafe fn normalised<L: Lanes, const MISH: bool>(job: &Epilogue, normalise: &Normalise) {
    for panel in job.range.0..job.range.1 {
        let channel = panel * LANES;
        let mean = L::load(normalise.means.add(channel));
        let gain = L::mul(
            L::load(normalise.gains.add(channel)),
            L::load(normalise.gamma.add(channel)),
        );
        let beta = L::load(normalise.beta.add(channel));
        for position in 0..job.positions {
            let at = (panel * job.positions + position) * LANES;
            let value = L::sub(L::load(job.panels.add(at)), mean);
            let value = L::fma(value, gain, beta);
            let mut value = if MISH {
                mish::<L>(value)
            } else {
                silu::<L>(value)
            };
            if let Some(modulation) = &normalise.modulation {
                let level = if modulation.level_positions == 1 {
                    channel
                } else {
                    at
                };
                let shift = L::add(
                    L::load(modulation.level_shift.add(level)),
                    L::load(modulation.observation_shift.add(channel)),
                );
                value = if modulation.level_scale.is_null() {
                    L::add(value, shift)
                } else {
                    let scale = L::add(
                        L::load(modulation.level_scale.add(level)),
                        L::load(modulation.observation_scale.add(channel)),
                    );
                    L::fma(value, scale, shift)
                };
            }
            if !job.residual.is_null() {
                value = L::add(value, L::load(job.residual.add(at)));
            }
            L::store(job.panels.add(at), value);
        }
    }
}

/// Writes the channels of the range as [channel][position].
#[inline(always)]
unsafe fn transpose(job: &Epilogue) {
    for panel in job.range.0..job.range.1 {
        let values = job.panels.add(panel * job.positions * LANES);
        let first = panel * LANES;
        for channel in first..(first + LANES).min(job.channels) {
            let from = values.add(channel - first);
            let to = job.columns.add(channel * job.row);
            for position in 0..job.positions {
                *to.add(position) = *from.add(position * LANES);
            }
        }
    }
}

/// Applies the activation to `count` numbers, a multiple of 16.
#[inline(always)]
pub(super) unsafe fn activate<L: Lanes>(values: *mut f32, count: usize, activation: Activation) {
    let mut at = 0;
    while at < count {
        let value = L::load(values.add(at));
        let value = match activation {
            Activation::Mish => mish::<L>(value),
            Activation::Silu => silu::<L>(value),
        };
        L::store(values.add(at), value);
        at += LANES;
    }
}
