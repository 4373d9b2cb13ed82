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

use super::Guidance;

/// Draws the clean estimate to a target.
#[derive(Debug)]
pub struct TargetGuidance {
    /// Target Y, [B, T, D].
    pub target: Tensor,
    /// g W, [B, T, 1]; 0 leaves a position alone, 1 puts the target in place of the estimate, more
    /// overshoots.
    pub pull: Tensor,
}

impl Guidance for TargetGuidance {
    /// A pull of 1 gives the bits of the target.
    fn apply(&self, estimate: &mut [f32]) {
        let numbers = |tensor: &Tensor| {
            let mut numbers = vec![0.0_f32; tensor.numel()];
            tensor.copy_data(&mut numbers, tensor.numel());
            numbers
        };
        let (target, pull) = (numbers(&self.target), numbers(&self.pull));
        let width = estimate.len() / pull.len().max(1);
        for (at, estimate) in estimate.iter_mut().enumerate() {
            let pull = pull[at / width];
            *estimate = *estimate * (1.0 - pull) + target[at] * pull;
        }
    }

    fn apply_to_tensor(&self, estimate: &Tensor) -> Tensor {
        estimate * (1.0 - &self.pull) + &self.target * &self.pull
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::{Device, Kind};

    use super::*;
    use crate::noise::NoiseStream;
    use crate::sampler::Transition;
    use crate::{
        Ddim, NoiseSchedule, PredictionType, Sampler, SamplerConfig, ScheduleConfig, Solver,
    };

    fn sampler(prediction: PredictionType, solver: Solver, clip_sample: Option<f64>) -> Sampler {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        let config = SamplerConfig {
            prediction,
            solver,
            clip_sample,
        };
        Sampler::new(config, schedule).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    fn furthest(a: &Tensor, b: &Tensor) -> f64 {
        f64::try_from((a - b).abs().max()).unwrap()
    }

    fn guide(target: &Tensor, pull: &[f32]) -> TargetGuidance {
        TargetGuidance {
            target: target.shallow_clone(),
            pull: Tensor::from_slice(pull).view([1, -1, 1]),
        }
    }

    #[test]
    fn the_gain_is_beta_in_noise_and_zero_at_clean() {
        assert!((gain(0.0, 5.0) - 5.0).abs() < 1e-12);
        assert_eq!(gain(1.0, 5.0), 0.0);
        // tau = 1/2: min(5 / 2, 1).
        assert!((flow_time(0.5) - 0.5).abs() < 1e-12);
        assert!((gain(0.5, 5.0) - 1.0).abs() < 1e-12);
        // In the velocity form of the paper, at some tau of its own.
        let tau = 0.3_f64;
        let odds = (tau / (1.0 - tau)).powi(2);
        let alpha = odds / (1.0 + odds);
        assert!((flow_time(alpha) - tau).abs() < 1e-12);
        let spread = (1.0 - tau).powi(2) / (tau.powi(2) + (1.0 - tau).powi(2));
        let weight = ((1.0 - tau) / (tau * spread)).min(5.0);
        assert!((gain(alpha, 5.0) - (1.0 - tau) * weight).abs() < 1e-12);
        for level in 0..=1000 {
            let (alpha, tau) = (f64::from(level) / 1e3, flow_time(f64::from(level) / 1e3));
            let gain = gain(alpha, 5.0);
            assert!((0.0..=5.0).contains(&gain));
            // From the middle on the target is never overshot.
            assert!(tau < 0.5 || gain <= 1.0 + 1e-12, "{tau} {gain}");
        }
    }

    #[test]
    fn the_mask_is_that_of_the_paper() {
        // H = 8, s = 2, d = 2: c of actions 2 to 5 is 4/5, 3/5, 2/5, 1/5.
        let mask = soft_mask(8, 2, 6);
        let decayed = |c: f64| (c * (c.exp() - 1.0) / (1.0_f64.exp() - 1.0)) as f32;
        let expected = [
            1.0,
            1.0,
            decayed(0.8),
            decayed(0.6),
            decayed(0.4),
            decayed(0.2),
            0.0,
            0.0,
        ];
        for (weight, expected) in mask.iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-6, "{mask:?}");
        }
        assert_eq!(soft_mask(3, 0, 0), [0.0; 3]);
        // More committed than the old chunk holds.
        assert_eq!(soft_mask(4, 3, 2), [1.0, 1.0, 0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn masks_fall_from_one_to_zero(
            actions in 1_usize..40, committed in 0_usize..40, overlap in 0_usize..40
        ) {
            let overlap = overlap.min(actions);
            let mask = soft_mask(actions, committed, overlap);
            prop_assert_eq!(mask.len(), actions);
            prop_assert!(mask.is_sorted_by(|a, b| a >= b));
            prop_assert!(mask[..committed.min(overlap)].iter().all(|weight| *weight == 1.0));
            let soft = &mask[committed.min(overlap)..overlap];
            prop_assert!(soft.iter().all(|weight| *weight > 0.0 && *weight < 1.0));
            prop_assert!(mask[overlap..].iter().all(|weight| *weight == 0.0));
        }

        /// The step in the paper's variables: A + (tau' - tau) (v + weight W (Y - x0)).
        #[test]
        fn a_guided_ddim_step_is_the_guided_flow_step(
            from in 1_i64..95, by in 1_i64..30, weight in 0.0_f32..1.0, seed in 0_u64..1000
        ) {
            let to = (from - by).max(-1);
            let mut random = NoiseStream::new(seed);
            let mut draw = || Tensor::from_slice(&random.normals(6)).view([1, 3, 2]);
            let (sample, x0, target) = (draw(), draw(), draw());
            let sampler = sampler(PredictionType::Sample, Solver::DDIM, None);
            let (before, after) = (
                sampler.schedule().alpha_cumprod(from),
                sampler.schedule().alpha_cumprod(to),
            );
            let pull = gain(before, 5.0) as f32 * weight;
            let moves = [Transition { from, to }; 3];
            let next =
                sampler.guided_step(&sample, &x0, &moves, None, &[&guide(&target, &[pull; 3])]);
            let scale = |alpha: f64| alpha.sqrt() + (1.0 - alpha).sqrt();
            let (tau, later) = (flow_time(before), flow_time(after));
            let flow = &sample / scale(before);
            let velocity = (&x0 - &flow) / (1.0 - tau)
                + (&target - &x0) * (f64::from(pull) / (1.0 - tau));
            let expected = (flow + velocity * (later - tau)) * scale(after);
            let error = furthest(&next, &expected);
            prop_assert!(error < 2e-4, "{}", error);
        }
    }

    #[test]
    fn a_pull_of_zero_changes_no_bit_and_one_ends_at_the_target() {
        let mut random = NoiseStream::new(3);
        let mut draw = || Tensor::from_slice(&random.normals(8)).view([1, 4, 2]);
        let (sample, output, noise) = (draw(), draw(), draw());
        let target = draw().clamp(-1.0, 1.0);
        for solver in [Solver::DDPM, Solver::DDIM, Solver::Ddim(Ddim { eta: 0.5 })] {
            for prediction in [
                PredictionType::Epsilon,
                PredictionType::Sample,
                PredictionType::Velocity,
            ] {
                let sampler = sampler(prediction, solver, Some(1.0));
                let moves = [(99, 80), (50, 49), (3, -1), (-1, -1)]
                    .map(|(from, to)| Transition { from, to });
                let free = sampler.step(&sample, &output, &moves, Some(&noise));
                let none = guide(&target, &[0.0; 4]);
                let unguided =
                    sampler.guided_step(&sample, &output, &moves, Some(&noise), &[&none]);
                assert_eq!(
                    values(&unguided),
                    values(&free),
                    "{solver:?} {prediction:?}"
                );
                let all = guide(&target, &[1.0; 4]);
                let next = sampler.guided_step(&sample, &output, &moves, Some(&noise), &[&all]);
                assert_eq!(values(&next)[4..6], values(&target)[4..6]);
                // What is clean already stays.
                assert_eq!(values(&next)[6..], values(&sample)[6..]);
            }
        }
    }

    #[test]
    fn an_overshooting_pull_stays_within_the_clipping_bound() {
        let sampler = sampler(PredictionType::Sample, Solver::DDIM, Some(1.0));
        let zeros = Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu));
        let target = Tensor::from_slice(&[0.5_f32, -0.5]).view([1, 1, 2]);
        let moves = [Transition { from: 3, to: -1 }];
        let next = sampler.guided_step(&zeros, &zeros, &moves, None, &[&guide(&target, &[5.0])]);
        assert_eq!(values(&next), [1.0, -1.0]);
    }
}
