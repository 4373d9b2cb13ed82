//! Which denoise steps a sampler takes, and their factors.

use kinestream_diffusion::NoiseSchedule;
use tch::{Device, Tensor};

/// One denoise step of a sampler. Factors are tensors, since a number in its place costs LibTorch
/// three times as long as the multiplication.
#[derive(Debug)]
pub(crate) struct DenoiseStep {
    pub(crate) timestep: i64,
    /// The timestep's sinusoids `[1, L]`.
    pub(crate) level: Tensor,
    /// Share of the signal's variance.
    pub(crate) signal: Tensor,
    /// What follows; after the last step nothing does.
    pub(crate) down: Option<Down>,
}

/// next = `clean` x0 + `sample` x + `deviation` noise.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) timestep: i64,
    pub(crate) clean: Tensor,
    pub(crate) sample: Tensor,
    pub(crate) deviation: Tensor,
}

/// The steps of a sampler that takes `evaluations` of the timesteps. Between neighbours it is the
/// schedule's posterior; over a gap it is that of the shorter schedule that the gaps leave (Nichol and
/// Dhariwal 2021).
pub(crate) fn plan(
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
pub(crate) fn factor(value: f64, device: Device) -> Tensor {
    Tensor::from(value as f32).to_device(device)
}

#[cfg(test)]
mod tests {
    use kinestream_diffusion::ScheduleConfig;
    use kinestream_diffusion::network::timestep_table;
    use kinestream_diffusion::schedule::BetaSchedule;

    use super::*;

    fn planned(timesteps: usize, evaluations: usize) -> (NoiseSchedule, Vec<DenoiseStep>) {
        let schedule = NoiseSchedule::new(&ScheduleConfig {
            beta_schedule: BetaSchedule::SquaredCosine,
            train_timesteps: timesteps,
            ..ScheduleConfig::default()
        })
        .unwrap();
        let levels = timestep_table(timesteps as i64, 8, Device::Cpu);
        let plan = plan(&schedule, &levels, evaluations);
        (schedule, plan)
    }

    fn value(tensor: &Tensor) -> f64 {
        f64::try_from(tensor).unwrap()
    }

    #[test]
    fn a_whole_plan_is_the_posterior_of_every_timestep() {
        let (schedule, plan) = planned(5, 5);
        let timesteps: Vec<i64> = plan.iter().map(|step| step.timestep).collect();
        assert_eq!(timesteps, [4, 3, 2, 1, 0]);
        for step in &plan[..4] {
            let expected = schedule.posterior(step.timestep);
            let down = step.down.as_ref().unwrap();
            assert_eq!(down.timestep, step.timestep - 1);
            assert!((value(&down.clean) - expected.clean).abs() < 1e-5);
            assert!((value(&down.sample) - expected.sample).abs() < 1e-5);
            assert!((value(&down.deviation) - expected.deviation).abs() < 1e-5);
        }
        assert!(plan[4].down.is_none());
    }

    #[test]
    fn a_spaced_plan_keeps_the_variance_of_the_schedule() {
        let (schedule, plan) = planned(200, 7);
        assert_eq!(plan.len(), 7);
        assert_eq!((plan[0].timestep, plan[6].timestep), (199, 0));
        for step in &plan[..6] {
            let down = step.down.as_ref().unwrap();
            let (alpha, previous) = (
                schedule.alpha_cumprod(step.timestep),
                schedule.alpha_cumprod(down.timestep),
            );
            let signal = value(&down.clean) + value(&down.sample) * alpha.sqrt();
            assert!((signal - previous.sqrt()).abs() < 1e-4);
            let noise =
                value(&down.sample).powi(2) * (1.0 - alpha) + value(&down.deviation).powi(2);
            assert!((noise - (1.0 - previous)).abs() < 1e-4);
        }
        let (_, single) = planned(200, 1);
        assert_eq!(single.len(), 1);
        assert!(single[0].down.is_none());
    }
}
