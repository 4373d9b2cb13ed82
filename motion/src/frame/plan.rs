//! Which denoise steps a sampler takes, and their factors.

use kinestream_diffusion::NoiseSchedule;
use tch::{Device, Tensor};

/// One denoise step of a sampler. Factors are tensors, since a number in its place costs LibTorch
/// three times as long as the multiplication.
#[derive(Debug)]
pub(super) struct DenoiseStep {
    pub(super) timestep: i64,
    /// The timestep's sinusoids `[1, L]`.
    pub(super) level: Tensor,
    /// Share of the signal's variance.
    pub(super) signal: Tensor,
    /// What follows; after the last step nothing does.
    pub(super) down: Option<Down>,
}

/// next = `clean` x0 + `sample` x + `deviation` noise.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) timestep: i64,
    pub(super) clean: Tensor,
    pub(super) sample: Tensor,
    pub(super) deviation: Tensor,
}

/// The steps of a sampler that takes `evaluations` of the timesteps. Between neighbours it is the
/// schedule's posterior; over a gap it is that of the shorter schedule that the gaps leave (Nichol and
/// Dhariwal 2021).
pub(super) fn plan(
    schedule: &NoiseSchedule,
    levels: &Tensor,
    evaluations: usize,
) -> Vec<DenoiseStep> {
    let last = schedule.train_timesteps() as i64 - 1;
    let at = |index: usize| match evaluations {
        1 => last,
        count => (last as f64 * index as f64 / (count - 1) as f64).round() as i64,
    };
    let factor = |value: f64| factor(value, levels.device());
    let step = |index: usize| {
        let timestep = at(index);
        let alpha = schedule.alpha_cumprod(timestep);
        let down = index.checked_sub(1).map(at).map(|next| {
            let previous = schedule.alpha_cumprod(next);
            let kept = alpha / previous;
            let share = (1.0 - previous) / (1.0 - alpha);
            Down {
                timestep: next,
                clean: factor(previous.sqrt() * (1.0 - kept) / (1.0 - alpha)),
                sample: factor(kept.sqrt() * share),
                deviation: factor((share * (1.0 - kept)).sqrt()),
            }
        });
        DenoiseStep {
            timestep,
            level: levels.narrow(0, timestep, 1),
            signal: factor(alpha),
            down,
        }
    };
    (0..evaluations).rev().map(step).collect()
}

/// A number as a tensor without a dimension.
pub(super) fn factor(value: f64, device: Device) -> Tensor {
    Tensor::from(value as f32).to_device(device)
}

#[cfg(test)]
mod tests {
    use kinestream_diffusion::ScheduleConfig;
    use kinestream_diffusion::schedule::BetaSchedule;

    use super::*;
    use crate::frame::{FrameConfig, FrameNetwork, FrameSizes};

    fn network(timesteps: usize) -> FrameNetwork {
        let config = FrameConfig {
            width: 16,
            layers: 2,
            latent: 0,
            frequencies: 0,
            schedule: ScheduleConfig {
                beta_schedule: BetaSchedule::SquaredCosine,
                train_timesteps: timesteps,
                ..ScheduleConfig::default()
            },
        };
        let sizes = FrameSizes {
            sample: 2,
            condition: 3,
        };
        FrameNetwork::new(&config, sizes, Device::Cpu, 1).unwrap()
    }

    fn value(tensor: &Tensor) -> f64 {
        f64::try_from(tensor).unwrap()
    }

    #[test]
    fn a_whole_plan_is_the_posterior_of_every_timestep() {
        let network = network(5);
        let timesteps: Vec<i64> = network.plan.iter().map(|step| step.timestep).collect();
        assert_eq!(timesteps, [4, 3, 2, 1, 0]);
        for step in &network.plan[..4] {
            let (expected, down) = (
                network.schedule.posterior(step.timestep),
                step.down.as_ref().unwrap(),
            );
            assert_eq!(down.timestep, step.timestep - 1);
            assert!((value(&down.clean) - expected.clean).abs() < 1e-5);
            assert!((value(&down.sample) - expected.sample).abs() < 1e-5);
            assert!((value(&down.deviation) - expected.deviation).abs() < 1e-5);
        }
        assert!(network.plan[4].down.is_none());
    }

    #[test]
    fn a_spaced_plan_keeps_the_variance_of_the_schedule() {
        let mut network = network(200);
        network.space_out(7);
        assert_eq!(network.plan.len(), 7);
        assert_eq!(
            (network.plan[0].timestep, network.plan[6].timestep),
            (199, 0)
        );
        for step in &network.plan[..6] {
            let down = step.down.as_ref().unwrap();
            let (alpha, previous) = (
                network.schedule.alpha_cumprod(step.timestep),
                network.schedule.alpha_cumprod(down.timestep),
            );
            let signal = value(&down.clean) + value(&down.sample) * alpha.sqrt();
            assert!((signal - previous.sqrt()).abs() < 1e-4);
            let noise =
                value(&down.sample).powi(2) * (1.0 - alpha) + value(&down.deviation).powi(2);
            assert!((noise - (1.0 - previous)).abs() < 1e-4);
        }
        network.space_out(1);
        assert_eq!(network.plan.len(), 1);
        assert!(network.plan[0].down.is_none());
        network.space_out(0);
        assert_eq!(network.plan.len(), 200);
    }
}
