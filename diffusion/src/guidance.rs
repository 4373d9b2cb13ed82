//! Guidance of a denoise step towards a target, as real-time chunking in-paints a new chunk of
//! actions with the rest of the chunk that is being executed.
//!
//! Black, Galliker and Levine, "Real-Time Execution of Action Chunking Flow Policies", 2025. In
//! flow time tau (0 noise, 1 clean) the sample is A = tau x0 + (1 - tau) eps, the network gives a
//! velocity v and the clean estimate x0 = A + (1 - tau) v. Guidance adds to the velocity
//!
//! ```text
//! min(beta, (1 - tau) / (tau r^2)) J^T W (Y - x0),   r^2 = (1 - tau)^2 / (tau^2 + (1 - tau)^2),
//! ```
//!
//! with J the derivative of x0 by A, W the soft mask and Y the target. With J the identity no
//! backward pass is needed, and in terms of the clean estimate a step becomes
//!
//! ```text
//! x0' = x0 + g W (Y - x0),   g = (1 - tau) min(beta, (tau^2 + (1 - tau)^2) / (tau (1 - tau)))
//!                              = min(beta (1 - tau), (tau^2 + (1 - tau)^2) / tau).
//! ```
//!
//! A diffusion sample has its signal-to-noise ratio at the flow time with
//! tau / (1 - tau) = sqrt(alpha-bar) / sqrt(1 - alpha-bar); scaling does not change x0.

use tch::Tensor;

/// Where a step draws the clean estimate to, and how strongly.
#[derive(Debug)]
pub struct Guide {
    /// Target Y, [B, T, D].
    pub target: Tensor,
    /// g W, [B, T, 1]; 0 leaves a position alone, 1 puts the target in place of the estimate, more
    /// overshoots.
    pub pull: Tensor,
}

impl Guide {
    /// The clean estimate [B, T, D], drawn. A pull of 1 gives the bits of the target.
    pub(crate) fn draw(&self, x0: &Tensor) -> Tensor {
        x0 * (1.0 - &self.pull) + &self.target * &self.pull
    }
}

/// Flow time of a noise level, 0 (noise) to 1 (clean), by equal signal-to-noise ratio.
pub fn flow_time(alpha_cumprod: f64) -> f64 {
    let (signal, noise) = (alpha_cumprod.sqrt(), (1.0 - alpha_cumprod).sqrt());
    signal / (signal + noise)
}

/// Gain g of a step from a noise level, beta at pure noise and 0 at clean; `limit` is beta.
pub fn gain(alpha_cumprod: f64, limit: f64) -> f64 {
    let tau = flow_time(alpha_cumprod);
    (limit * (1.0 - tau)).min((tau.powi(2) + (1.0 - tau).powi(2)) / tau)
}

/// Soft mask W of a new chunk's actions: 1 for the `committed` ones (d), then falling over those
/// that the old chunk still holds (`overlap`, H - s) as c (e^c - 1) / (e - 1) with
/// c = (overlap - i) / (overlap - d + 1), and 0 from there on.
pub fn soft_mask(actions: usize, committed: usize, overlap: usize) -> Vec<f32> {
    let committed = committed.min(overlap);
    let weight = |index: usize| {
        if index < committed {
            1.0
        } else if index < overlap {
            let c = (overlap - index) as f64 / (overlap - committed + 1) as f64;
            c * c.exp_m1() / 1.0_f64.exp_m1()
        } else {
            0.0
        }
    };
    (0..actions).map(|index| weight(index) as f32).collect()
}
