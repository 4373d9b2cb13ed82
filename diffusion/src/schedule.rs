//! Noise schedules: how much of the signal is left at each training timestep.
//!
//! Tables are computed as the `diffusers` schedulers compute them (betas in single precision, the
//! cumulative product accumulated in double and rounded), so that imported checkpoints meet the
//! numbers that they were trained with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, TimestepSchedule};

/// Shape of the noise schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Betas evenly spaced between `beta_start` and `beta_end` (Ho et al. 2020).
    Linear,
    /// Square roots of the betas evenly spaced (Rombach et al. 2022).
    ScaledLinear,
    /// Squared cosine with each beta capped at 0.999 (Nichol and Dhariwal 2021).
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
    /// The straight path of flow matching (Lipman et al. 2023): (1 - t) x0 + t epsilon, with time
    /// t = (timestep + 1) / N, so that the last timestep is noise without any signal.
    Flow,
}

/// How much signal and how much noise a position holds: `signal` x0 + `noise` epsilon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel {
    /// Training timestep, -1 for clean.
    pub timestep: i64,
    /// Factor of the clean sample, alpha, 0 to 1.
    pub signal: f64,
    /// Standard deviation of the noise, sigma, 0 to 1.
    pub noise: f64,
}

impl NoiseLevel {
    /// Half the logarithm of the signal-to-noise ratio, lambda = ln(signal / noise): infinite for
    /// a clean position, minus infinite without any signal.
    pub fn log_ratio(&self) -> f64 {
        self.signal.ln() - self.noise.ln()
    }

    /// Noise over signal, rho: 0 for a clean position, infinite without any signal.
    pub fn noise_ratio(&self) -> f64 {
        self.noise / self.signal
    }

    /// Time on the straight path of equal signal-to-noise ratio, 0 (clean) to 1 (noise).
    pub fn flow_time(&self) -> f64 {
        self.noise / (self.signal + self.noise)
    }
}

/// Which timesteps the noise levels of a plan stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// The highest level is the last timestep, pure noise: [`TimestepSchedule::even`].
    #[default]
    Trailing,
    /// The lowest level is the first timestep, as the `diffusers` schedulers have it by default:
    /// [`TimestepSchedule::leading`]. For checkpoints that are compared with LeRobot or Diffusion Policy.
    Leading,
}

/// Where the beta of a step of DDPM comes from. Over one timestep all are the same but for the table's
/// single precision, which moves a plan of 100 steps by 3e-5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PosteriorBeta {
    /// The timestep's own, as in `diffusers` 0.11, which Diffusion Policy and SDP used; over more
    /// timesteps what the ratio of the alpha-bars leaves of 1.
    #[default]
    Own,
    /// What that ratio leaves of 1 in single precision, as in later versions, which LeRobot uses.
    Ratio,
}

/// Configuration of a noise schedule, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub spacing: TimestepSpacing,
    /// Where the betas of DDPM's steps come from.
    #[serde(skip_serializing_if = "is_default")]
    pub step_beta: PosteriorBeta,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            beta_schedule: BetaSchedule::SquaredCosine,
            train_timesteps: 100,
            beta_start: 1e-4,
            beta_end: 0.02,
            spacing: TimestepSpacing::default(),
            step_beta: PosteriorBeta::default(),
        }
    }
}

/// A computed noise schedule: the table of cumulative signal fractions.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    betas: Vec<f32>,
    alphas_cumprod: Vec<f32>,
    shape: BetaSchedule,
    spacing: TimestepSpacing,
    step_beta: PosteriorBeta,
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
        // Of the straight path: the alpha-bar of equal signal-to-noise ratio.
        let straight = |index: usize| {
            let time = index as f64 / count as f64;
            (1.0 - time).powi(2) / ((1.0 - time).powi(2) + time.powi(2))
        };
        let betas: Vec<f32> = (0..count)
            .map(|index| match config.beta_schedule {
                BetaSchedule::Flow => (1.0 - straight(index + 1) / straight(index)) as f32,
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
            shape: config.beta_schedule,
            spacing: config.spacing,
            step_beta: config.step_beta,
        })
    }

    /// The ladder of `levels` noise levels, spaced as configured.
    ///
    /// # Errors
    /// No level at all, or more levels than timesteps.
    pub fn ladder(&self, levels: usize) -> Result<TimestepSchedule> {
        match self.spacing {
            TimestepSpacing::Trailing => TimestepSchedule::even(levels, self.train_timesteps()),
            TimestepSpacing::Leading => TimestepSchedule::leading(levels, self.train_timesteps()),
        }
    }

    /// Number of training timesteps N.
    pub fn train_timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Shape of the schedule.
    pub fn shape(&self) -> BetaSchedule {
        self.shape
    }

    /// Signal and noise of a position at `timestep`, -1 for a clean one.
    ///
    /// Timesteps above N - 1 count as N - 1.
    pub fn level(&self, timestep: i64) -> NoiseLevel {
        let timestep = timestep.clamp(-1, self.train_timesteps() as i64 - 1);
        let (signal, noise) = match self.shape {
            BetaSchedule::Flow => {
                let time = (timestep + 1) as f64 / self.train_timesteps() as f64;
                (1.0 - time, time)
            }
            _ => {
                let alpha = self.alpha_cumprod(timestep);
                (alpha.sqrt(), (1.0 - alpha).sqrt())
            }
        };
        NoiseLevel {
            timestep,
            signal,
            noise,
        }
    }

    /// Fraction of signal variance left at `timestep` (alpha-bar), 1 for a clean position (-1); of
    /// the straight path that of equal signal-to-noise ratio.
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
        self.ancestral(timestep, timestep - 1)
    }

    /// As [`Self::posterior`], down to any lower timestep; to -1 it is the clean sample.
    pub fn ancestral(&self, from: i64, to: i64) -> Posterior {
        if self.shape == BetaSchedule::Flow {
            let (now, next) = (self.level(from), self.level(to));
            let kept = now.signal / next.signal;
            let added = now.noise.powi(2) - (kept * next.noise).powi(2);
            let variance = now.noise.powi(2);
            return Posterior {
                clean: next.signal * added / variance,
                sample: kept * next.noise.powi(2) / variance,
                deviation: next.noise * (added.max(0.0) / variance).sqrt(),
            };
        }
        let (alpha, previous) = (self.alpha_cumprod(from), self.alpha_cumprod(to));
        let beta = self.step_beta(from, to);
        Posterior {
            clean: previous.sqrt() * beta / (1.0 - alpha),
            sample: (1.0 - beta).sqrt() * (1.0 - previous) / (1.0 - alpha),
            deviation: ((1.0 - previous) / (1.0 - alpha) * beta).max(0.0).sqrt(),
        }
    }

    fn step_beta(&self, from: i64, to: i64) -> f64 {
        let (alpha, previous) = (self.alpha_cumprod(from), self.alpha_cumprod(to));
        match self.step_beta {
            PosteriorBeta::Own if to == from - 1 => self.beta(from),
            PosteriorBeta::Own => 1.0 - alpha / previous,
            PosteriorBeta::Ratio => f64::from(1.0 - alpha as f32 / previous as f32),
        }
    }

    /// Standard deviation of the noise at `timestep` when the signal has unit variance, between 0
    /// (clean) and 1 (pure noise).
    pub fn noise_deviation(&self, timestep: i64) -> f64 {
        self.level(timestep).noise
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
            BetaSchedule::Flow,
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
    fn the_straight_path_goes_evenly_from_clean_to_nothing_but_noise() {
        let schedule = schedule(BetaSchedule::Flow);
        let level = schedule.level(24);
        assert_eq!((level.signal, level.noise), (0.75, 0.25));
        assert_eq!(
            (schedule.level(99).signal, schedule.level(99).noise),
            (0.0, 1.0)
        );
        assert_eq!(schedule.level(99).log_ratio(), f64::NEG_INFINITY);
        for timestep in 0..100 {
            // Signal and noise of the next sample, and the alpha-bar of the same ratio.
            let (now, next) = (schedule.level(timestep), schedule.level(timestep - 1));
            let step = schedule.posterior(timestep);
            assert!((step.clean + step.sample * now.signal - next.signal).abs() < 1e-12);
            let noise = (step.sample * now.noise).hypot(step.deviation);
            assert!((noise - next.noise).abs() < 1e-12, "{timestep}");
            let alpha = schedule.alpha_cumprod(timestep);
            let ratio = now.signal.powi(2) / (now.signal.powi(2) + now.noise.powi(2));
            assert!((alpha - ratio).abs() < 1e-5, "{timestep}: {alpha} {ratio}");
        }
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
