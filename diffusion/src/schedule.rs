//! Noise schedules: how much of the signal is left at each training timestep.
//!
//! Tables are computed as the `diffusers` schedulers compute them (betas in single precision, the
//! cumulative product accumulated in double and rounded), so that imported checkpoints meet the
//! numbers that they were trained with.

use serde::{Deserialize, Serialize};

use crate::{Error, Ladder, Result};

/// Shape of the noise schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Betas evenly spaced between `beta_start` and `beta_end` (Ho et al. 2020).
    Linear,
    /// Square roots of the betas evenly spaced (Rombach et al. 2022).
    ScaledLinear,
    /// Squared cosine with each beta capped at 0.999 (Nichol and Dhariwal 2021).
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
}

/// Which timesteps the noise levels of a plan stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// The highest level is the last timestep, pure noise: [`Ladder::even`].
    #[default]
    Trailing,
    /// The lowest level is the first timestep, as the `diffusers` schedulers have it by default:
    /// [`Ladder::leading`]. For checkpoints that are compared with LeRobot or Diffusion Policy.
    Leading,
}

/// Configuration of a noise schedule, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Shape of the schedule.
    pub beta_schedule: BetaSchedule,
    /// Number of training timesteps N, 2 to 10,000.
    pub train_timesteps: usize,
    /// First beta of the linear schedules, in (0, 1).
    pub beta_start: f64,
    /// Last beta of the linear schedules, in (0, 1).
    pub beta_end: f64,
    /// Which timesteps the noise levels of a plan stand for.
    #[serde(skip_serializing_if = "is_default")]
    pub spacing: Spacing,
}

fn is_default(spacing: &Spacing) -> bool {
    *spacing == Spacing::default()
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            beta_schedule: BetaSchedule::SquaredCosine,
            train_timesteps: 100,
            beta_start: 1e-4,
            beta_end: 0.02,
            spacing: Spacing::default(),
        }
    }
}

/// A computed noise schedule: the table of cumulative signal fractions.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    betas: Vec<f32>,
    alphas_cumprod: Vec<f32>,
    spacing: Spacing,
}

/// Mean and deviation of a step: next = `clean` x0 + `sample` x + `deviation` noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// Factor of the clean sample.
    pub clean: f64,
    /// Factor of the sample now.
    pub sample: f64,
    /// Factor of standard normal noise.
    pub deviation: f64,
}

impl NoiseSchedule {
    /// Computes the tables.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(config: &ScheduleConfig) -> Result<Self> {
        let count = config.train_timesteps;
        if !(2..=10_000).contains(&count) {
            return Err(Error::Config {
                key: "schedule.train_timesteps",
                found: count.to_string(),
                expected: "2 to 10000".into(),
            });
        }
        for (key, value) in [
            ("schedule.beta_start", config.beta_start),
            ("schedule.beta_end", config.beta_end),
        ] {
            if !(value > 0.0 && value < 1.0) {
                return Err(Error::Config {
                    key,
                    found: value.to_string(),
                    expected: "a number between 0 and 1, both excluded".into(),
                });
            }
        }
        let evenly = |start: f64, end: f64, index: usize| {
            start + (end - start) * index as f64 / (count - 1) as f64
        };
        let betas: Vec<f32> = (0..count)
            .map(|index| match config.beta_schedule {
                BetaSchedule::Linear => evenly(config.beta_start, config.beta_end, index) as f32,
                BetaSchedule::ScaledLinear => {
                    let root =
                        evenly(config.beta_start.sqrt(), config.beta_end.sqrt(), index) as f32;
                    root * root
                }
                BetaSchedule::SquaredCosine => {
                    let signal = |time: f64| {
                        ((time + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2)
                            .cos()
                            .powi(2)
                    };
                    let (from, to) = (
                        index as f64 / count as f64,
                        (index + 1) as f64 / count as f64,
                    );
                    (1.0 - signal(to) / signal(from)).min(0.999) as f32
                }
            })
            .collect();
        let mut product = 1.0_f64;
        let alphas_cumprod = betas
            .iter()
            .map(|beta| {
                product *= f64::from(1.0 - beta);
                product as f32
            })
            .collect();
        Ok(Self {
            betas,
            alphas_cumprod,
            spacing: config.spacing,
        })
    }

    /// The ladder of `levels` noise levels, spaced as configured.
    ///
    /// # Errors
    /// No level at all, or more levels than timesteps.
    pub fn ladder(&self, levels: usize) -> Result<Ladder> {
        match self.spacing {
            Spacing::Trailing => Ladder::even(levels, self.train_timesteps()),
            Spacing::Leading => Ladder::leading(levels, self.train_timesteps()),
        }
    }

    /// Number of training timesteps N.
    pub fn train_timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Fraction of signal variance left at `timestep` (alpha-bar), 1 for a clean position (-1).
    ///
    /// Timesteps above N - 1 count as N - 1.
    pub fn alpha_cumprod(&self, timestep: i64) -> f64 {
        match usize::try_from(timestep) {
            Err(_) => 1.0,
            Ok(index) => f64::from(self.alphas_cumprod[index.min(self.train_timesteps() - 1)]),
        }
    }

    /// Beta of a training timestep, 0 for a clean position (-1).
    pub fn beta(&self, timestep: i64) -> f64 {
        match usize::try_from(timestep) {
            Err(_) => 0.0,
            Ok(index) => f64::from(self.betas[index.min(self.train_timesteps() - 1)]),
        }
    }

    /// The posterior of one step down from `timestep` (0 or above): what the next sample is, given
    /// the clean one and this one (Ho et al. 2020, equations 6 and 7). From timestep 0 it is the
    /// clean sample.
    pub fn posterior(&self, timestep: i64) -> Posterior {
        let (alpha, previous) = (
            self.alpha_cumprod(timestep),
            self.alpha_cumprod(timestep - 1),
        );
        let beta = self.beta(timestep);
        Posterior {
            clean: previous.sqrt() * beta / (1.0 - alpha),
            sample: (1.0 - beta).sqrt() * (1.0 - previous) / (1.0 - alpha),
            deviation: ((1.0 - previous) / (1.0 - alpha) * beta).sqrt(),
        }
    }

    /// Standard deviation of the noise at `timestep` when the signal has unit variance:
    /// sqrt(1 - alpha-bar), between 0 (clean) and 1 (pure noise).
    pub fn noise_deviation(&self, timestep: i64) -> f64 {
        (1.0 - self.alpha_cumprod(timestep)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(beta_schedule: BetaSchedule) -> NoiseSchedule {
        NoiseSchedule::new(&ScheduleConfig {
            beta_schedule,
            ..Default::default()
        })
        .unwrap()
    }

    #[test]
    fn signal_falls_from_one_and_clean_is_clean() {
        for kind in [
            BetaSchedule::Linear,
            BetaSchedule::ScaledLinear,
            BetaSchedule::SquaredCosine,
        ] {
            let schedule = schedule(kind);
            assert_eq!(schedule.alpha_cumprod(-1), 1.0);
            assert_eq!(schedule.noise_deviation(-1), 0.0);
            for timestep in 0..100 {
                assert!(schedule.alpha_cumprod(timestep) < schedule.alpha_cumprod(timestep - 1));
            }
        }
    }

    #[test]
    fn linear_ends_are_the_configured_betas() {
        let schedule = schedule(BetaSchedule::Linear);
        assert_eq!(schedule.beta(0), f64::from(1e-4_f32));
        assert_eq!(schedule.beta(99), f64::from(0.02_f32));
    }

    #[test]
    fn posteriors_keep_the_variance_of_the_schedule() {
        let schedule = schedule(BetaSchedule::SquaredCosine);
        for timestep in 0..100 {
            let step = schedule.posterior(timestep);
            // A clean sample of variance 1: the next one has its signal and its noise.
            let (alpha, previous) = (
                schedule.alpha_cumprod(timestep),
                schedule.alpha_cumprod(timestep - 1),
            );
            let signal = step.clean + step.sample * alpha.sqrt();
            assert!((signal - previous.sqrt()).abs() < 1e-4, "{timestep}");
            let noise = step.sample.powi(2) * (1.0 - alpha) + step.deviation.powi(2);
            assert!((noise - (1.0 - previous)).abs() < 1e-4, "{timestep}");
        }
        assert_eq!(schedule.posterior(0).deviation, 0.0);
    }

    #[test]
    fn released_signal_at_timestep_15_is_the_documented_933() {
        let schedule = schedule(BetaSchedule::SquaredCosine);
        assert!((schedule.alpha_cumprod(15) - 0.933).abs() < 1e-3);
    }

    #[test]
    fn out_of_range_values_are_refused_by_name() {
        let bad = ScheduleConfig {
            train_timesteps: 1,
            ..Default::default()
        };
        let message = NoiseSchedule::new(&bad).unwrap_err().to_string();
        assert!(message.contains("schedule.train_timesteps"), "{message}");
        let bad = ScheduleConfig {
            beta_end: f64::NAN,
            ..Default::default()
        };
        let message = NoiseSchedule::new(&bad).unwrap_err().to_string();
        assert!(message.contains("schedule.beta_end"), "{message}");
    }
}
