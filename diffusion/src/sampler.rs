//! One denoise step for every position at its own noise level, without memory: DDPM and DDIM.
//! Solvers that remember earlier evaluations go down a ladder in [`crate::descent`].
//!
//! A step takes the network's output and brings each position from its timestep to the next one of
//! its own. Coefficients are computed on the host in double precision and sent to the device as one
//! small tensor, so a step neither reads back from the device nor depends on other positions.
//!
//! Formulas: DDPM, Ho et al. 2020, equations 6 and 7; DDIM, Song et al. 2021, equations 12 and 16;
//! v prediction, Salimans and Ho 2022, appendix D; the velocity of the straight path, Lipman et al.
//! 2023.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::guidance::Guidance;
use crate::schedule::{BetaSchedule, NoiseLevel};
use crate::{Error, NoiseSchedule, Result, TimestepSchedule};

pub use crate::solver::Solver;
pub use crate::transition::Transition;

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// The clean sample.
    Sample,
    /// Velocity: sqrt(alpha-bar) epsilon - sqrt(1 - alpha-bar) x0.
    #[serde(rename = "v_prediction")]
    Velocity,
    /// Velocity of the straight path of flow matching: epsilon - x0.
    FlowVelocity,
}

impl PredictionType {
    /// How the clean sample and the noise follow from sample and output at a level: both solve
    /// sample = signal x0 + noise epsilon together with what the output is.
    pub(crate) fn conversion(self, level: NoiseLevel) -> Conversion {
        let NoiseLevel { signal, noise, .. } = level;
        let (sample_in_x0, output_in_x0, sample_in_epsilon, output_in_epsilon) = match self {
            Self::Epsilon => (1.0 / signal, -noise / signal, 0.0, 1.0),
            Self::Sample => (0.0, 1.0, 1.0 / noise, -signal / noise),
            Self::Velocity => {
                let square = signal.powi(2) + noise.powi(2);
                let (signal, noise) = (signal / square, noise / square);
                (signal, -noise, noise, signal)
            }
            Self::FlowVelocity => {
                let sum = signal + noise;
                (1.0 / sum, -noise / sum, 1.0 / sum, signal / sum)
            }
        };
        Conversion {
            sample_in_x0,
            output_in_x0,
            sample_in_epsilon,
            output_in_epsilon,
        }
    }
}

/// x0 = `sample_in_x0` x + `output_in_x0` out, epsilon = `sample_in_epsilon` x +
/// `output_in_epsilon` out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversion {
    pub(crate) sample_in_x0: f64,
    pub(crate) output_in_x0: f64,
    pub(crate) sample_in_epsilon: f64,
    pub(crate) output_in_epsilon: f64,
}

/// Configuration of a sampler, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplerConfig {
    /// What the network predicts.
    pub prediction: PredictionType,
    /// How a step goes from one noise level to the next.
    pub solver: Solver,
    /// Largest magnitude of the predicted clean sample; absent for no clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_sample: Option<f64>,
}

/// Takes denoise steps with fixed rules on a fixed schedule.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SamplerConfig,
    schedule: NoiseSchedule,
}

/// Numbers of one position's step: x0 = `sample_in_x0` x + `output_in_x0` out (then clipped),
/// next = `x0` x0 + `sample` x + `epsilon` eps + `deviation` noise, where eps is the noise that the
/// unclipped prediction implies: eps = `sample_in_epsilon` x + `output_in_epsilon` out, less
/// `x0_in_epsilon` times what guidance adds to x0.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    sample_in_x0: f64,
    output_in_x0: f64,
    sample_in_epsilon: f64,
    output_in_epsilon: f64,
    x0: f64,
    sample: f64,
    epsilon: f64,
    deviation: f64,
    x0_in_epsilon: f64,
}

impl Coefficients {
    /// In the order of the columns that a step looks up.
    fn as_row(&self) -> [f64; COEFFICIENTS as usize] {
        [
            self.sample_in_x0,
            self.output_in_x0,
            self.sample_in_epsilon,
            self.output_in_epsilon,
            self.x0,
            self.sample,
            self.epsilon,
            self.deviation,
            self.x0_in_epsilon,
        ]
    }
}

const COEFFICIENTS: i64 = 9;

impl Sampler {
    /// A sampler for a schedule.
    ///
    /// # Errors
    /// A value of the solver out of its range, a clipping bound that is not positive, or a predicted
    /// noise on the straight path, whose last level says nothing of the clean sample then.
    pub fn new(config: SamplerConfig, schedule: NoiseSchedule) -> Result<Self> {
        config.solver.check()?;
        if schedule.shape() == BetaSchedule::Flow && config.prediction == PredictionType::Epsilon {
            return Err(Error::Config {
                key: "sampler.prediction",
                found: "epsilon with schedule.beta_schedule flow".into(),
                expected: "flow_velocity, sample or v_prediction".into(),
            });
        }
        if let Some(bound) = config.clip_sample
            && !(bound > 0.0 && bound.is_finite())
        {
            return Err(Error::Config {
                key: "sampler.clip_sample",
                found: bound.to_string(),
                expected: "a positive number".into(),
            });
        }
        Ok(Self { config, schedule })
    }

    /// The timesteps of `levels` noise levels, spaced as the schedule says and laid out for the solver: those that plans are
    /// denoised on, and so those that a network has to be trained on.
    ///
    /// # Errors
    /// No level at all, or more levels than timesteps.
    pub fn ladder(&self, levels: usize) -> Result<TimestepSchedule> {
        let ladder = self.schedule.ladder(levels)?;
        Ok(ladder.laid_out_for(self.config.solver, &self.schedule))
    }

    /// The schedule that the steps follow.
    pub fn schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// The configuration.
    pub fn config(&self) -> &SamplerConfig {
        &self.config
    }

    /// Whether any of the transitions adds fresh noise.
    pub fn needs_noise(&self, transitions: &[Transition]) -> bool {
        transitions
            .iter()
            .any(|transition| self.position(*transition).deviation > 0.0)
    }

    /// Takes one step.
    ///
    /// `sample` and `output` (the network's) are [B, T, D]; `transitions` has B T entries, row by
    /// row; `noise`, standard normal [B, T, D], is needed where [`Self::needs_noise`] says so and
    /// counts as zero when absent. Returns the next sample [B, T, D]. Solvers of higher order need
    /// what [`crate::DiffusionSampler`] remembers; alone a step of theirs is that of DDIM.
    pub fn step(
        &self,
        sample: &Tensor,
        output: &Tensor,
        transitions: &[Transition],
        noise: Option<&Tensor>,
    ) -> Tensor {
        let is_plain = |tensor: &Tensor| {
            tensor.device() == Device::Cpu
                && tensor.kind() == Kind::Float
                && !tensor.requires_grad()
        };
        if [sample, output].into_iter().chain(noise).all(is_plain) {
            let numbers = |tensor: &Tensor| {
                let mut numbers = vec![0.0_f32; tensor.numel()];
                tensor.copy_data(&mut numbers, tensor.numel());
                numbers
            };
            let (mut next, output) = (numbers(sample), numbers(output));
            let noise = noise.map(numbers);
            self.step_on_host(&mut next, &output, transitions, noise.as_deref(), &[]);
            Tensor::from_slice(&next).view_as(sample)
        } else {
            self.any_step(sample, output, transitions, noise, &[])
        }
    }

    /// [`Self::step`] in place and without LibTorch, whose two dozen small operations take longer than
    /// all the arithmetic of a plan. The operations and their order are the same, and so is every bit.
    /// Guidances are applied as in [`Self::guided_step`].
    pub fn step_on_host(
        &self,
        next: &mut [f32],
        output: &[f32],
        transitions: &[Transition],
        noise: Option<&[f32]>,
        guidances: &[&dyn Guidance],
    ) {
        let noise = noise.filter(|_| self.needs_noise(transitions));
        let keeps_noise = self.keeps_noise();
        let bound = self.config.clip_sample.map(|bound| bound as f32);
        let width = next.len() / transitions.len().max(1);
        let table = transitions
            .iter()
            .map(|&transition| self.position(transition).as_row().map(|value| value as f32));
        let clipped = |x0: f32| bound.map_or(x0, |bound| x0.clamp(-bound, bound));
        if guidances.is_empty() {
            for (position, c) in table.enumerate() {
                for at in position * width..(position + 1) * width {
                    let (sample, output) = (next[at], output[at]);
                    next[at] = clipped(sample * c[0] + output * c[1]) * c[4] + sample * c[5];
                    if keeps_noise {
                        next[at] += (sample * c[2] + output * c[3]) * c[6];
                    }
                    if let Some(noise) = noise {
                        next[at] += noise[at] * c[7];
                    }
                }
            }
            return;
        }
        let table: Vec<_> = table.collect();
        let implied = |at: usize, sample: f32| {
            let c = &table[at / width];
            clipped(sample * c[0] + output[at] * c[1])
        };
        let free: Vec<f32> = (0..next.len()).map(|at| implied(at, next[at])).collect();
        let mut guided = free.clone();
        for guidance in guidances {
            guidance.apply(&mut guided);
        }
        for (at, next) in next.iter_mut().enumerate() {
            let (c, sample, x0) = (&table[at / width], *next, clipped(guided[at]));
            *next = x0 * c[4] + sample * c[5];
            if keeps_noise {
                *next += (sample * c[2] + output[at] * c[3] - (x0 - free[at]) * c[8]) * c[6];
            }
            if let Some(noise) = noise {
                *next += noise[at] * c[7];
            }
        }
    }

    /// As [`Self::step`], with the clean estimate changed by guidances, one after the other.
    ///
    /// The estimate is clipped before and after. The noise that the step keeps is the noise that the
    /// guided estimate implies: the step is that of the guided velocity, as in real-time chunking.
    pub fn guided_step(
        &self,
        sample: &Tensor,
        output: &Tensor,
        transitions: &[Transition],
        noise: Option<&Tensor>,
        guidances: &[&dyn Guidance],
    ) -> Tensor {
        self.any_step(sample, output, transitions, noise, guidances)
    }

    fn any_step(
        &self,
        sample: &Tensor,
        output: &Tensor,
        transitions: &[Transition],
        noise: Option<&Tensor>,
        guidances: &[&dyn Guidance],
    ) -> Tensor {
        let table = self.coefficients(sample, transitions);
        let column = |index: i64| table.select(2, index).unsqueeze(-1);
        let free = self.clipped(sample * column(0) + output * column(1));
        let x0 = self.guided(&free, guidances);
        let mut next = &x0 * column(4) + sample * column(5);
        if self.keeps_noise() {
            let mut epsilon = sample * column(2) + output * column(3);
            if !guidances.is_empty() {
                epsilon -= (x0 - free) * column(8);
            }
            next += epsilon * column(6);
        }
        match noise {
            Some(noise) if self.needs_noise(transitions) => next + noise * column(7),
            _ => next,
        }
    }

    /// A clipped estimate as guidances change it, clipped again where there are any.
    pub(crate) fn guided(&self, free: &Tensor, guidances: &[&dyn Guidance]) -> Tensor {
        let Some((first, others)) = guidances.split_first() else {
            return free.shallow_clone();
        };
        let change = |x0: Tensor, guidance: &&dyn Guidance| guidance.apply_to_tensor(&x0);
        self.clipped(others.iter().fold(first.apply_to_tensor(free), change))
    }

    /// The clean sample that the network's output implies, clipped, [B, T, D].
    ///
    /// `timesteps` has B T entries, row by row.
    pub fn clean_estimate(&self, sample: &Tensor, output: &Tensor, timesteps: &[i64]) -> Tensor {
        let transitions: Vec<_> = timesteps
            .iter()
            .map(|&from| Transition { from, to: -1 })
            .collect();
        let table = self.coefficients(sample, &transitions);
        self.clipped(
            sample * table.select(2, 0).unsqueeze(-1) + output * table.select(2, 1).unsqueeze(-1),
        )
    }

    pub(crate) fn clipped(&self, x0: Tensor) -> Tensor {
        match self.config.clip_sample {
            Some(bound) => x0.clamp(-bound, bound),
            None => x0,
        }
    }

    /// Noises clean positions to their own timesteps: signal x0 + deviation noise, all [B, T, D].
    ///
    /// `timesteps` has B T entries, row by row.
    pub fn add_noise(&self, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
        let column = |value: fn(NoiseLevel) -> f64| self.column(clean, timesteps, value);
        clean * column(|level| level.signal) + noise * column(|level| level.noise)
    }

    /// [`Self::add_noise`] in place and on the host, to the same bits.
    pub fn add_noise_on_host(&self, clean: &mut [f32], noise: &[f32], timesteps: &[i64]) {
        let width = (clean.len() / timesteps.len().max(1)).max(1);
        let rows = clean.chunks_exact_mut(width).zip(noise.chunks_exact(width));
        for ((clean, noise), timestep) in rows.zip(timesteps) {
            let level = self.schedule.level(*timestep);
            let (signal, deviation) = (level.signal as f32, level.noise as f32);
            for (clean, noise) in clean.iter_mut().zip(noise) {
                *clean = *clean * signal + noise * deviation;
            }
        }
    }

    /// A number of every position's level, [B, T, 1] in the kind of `like`.
    fn column(
        &self,
        like: &Tensor,
        timesteps: &[i64],
        value: impl Fn(NoiseLevel) -> f64,
    ) -> Tensor {
        let values: Vec<f64> = timesteps
            .iter()
            .map(|&timestep| value(self.schedule.level(timestep)))
            .collect();
        let size = like.size();
        table(&values, like).view([size[0], size[1], 1])
    }

    /// The training target for clean samples, noise and timesteps, all [B, T, D] and B T.
    pub fn target(&self, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
        match self.config.prediction {
            PredictionType::Epsilon => noise.shallow_clone(),
            PredictionType::Sample => clean.shallow_clone(),
            // v has the form of add_noise with the roles of signal and noise exchanged.
            PredictionType::Velocity => {
                let column = |value: fn(NoiseLevel) -> f64| self.column(clean, timesteps, value);
                noise * column(|level| level.signal) - clean * column(|level| level.noise)
            }
            PredictionType::FlowVelocity => noise - clean,
        }
    }

    /// Whether steps of the solver have a term of the noise that the prediction implies.
    fn keeps_noise(&self) -> bool {
        let anywhere = Transition { from: 0, to: -1 };
        let step = self.config.solver.transition(&self.schedule, anywhere);
        step.epsilon.is_some()
    }

    fn coefficients(&self, sample: &Tensor, transitions: &[Transition]) -> Tensor {
        let values: Vec<f64> = transitions
            .iter()
            .flat_map(|&transition| self.position(transition).as_row())
            .collect();
        let size = sample.size();
        table(&values, sample).view([size[0], size[1], COEFFICIENTS])
    }

    fn position(&self, transition: Transition) -> Coefficients {
        let Transition { from, to } = transition;
        if from == to || from < 0 {
            return Coefficients {
                sample_in_x0: 1.0,
                output_in_x0: 0.0,
                sample_in_epsilon: 0.0,
                output_in_epsilon: 0.0,
                x0: 0.0,
                sample: 1.0,
                epsilon: 0.0,
                deviation: 0.0,
                x0_in_epsilon: 0.0,
            };
        }
        let now = self.schedule.level(from);
        let conversion = self.config.prediction.conversion(now);
        let step = self.config.solver.transition(&self.schedule, transition);
        Coefficients {
            sample_in_x0: conversion.sample_in_x0,
            output_in_x0: conversion.output_in_x0,
            sample_in_epsilon: conversion.sample_in_epsilon,
            output_in_epsilon: conversion.output_in_epsilon,
            x0: step.clean,
            sample: step.sample,
            epsilon: step.epsilon.unwrap_or(0.0),
            deviation: step.deviation,
            x0_in_epsilon: now.signal / now.noise,
        }
    }
}

/// Numbers computed in double precision, on the device of `like`: in double precision as well
/// where `like` is, in single precision otherwise.
pub(crate) fn table(values: &[f64], like: &Tensor) -> Tensor {
    let kind = match like.kind() {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    };
    Tensor::from_slice(values)
        .to_kind(kind)
        .to_device_(like.device(), kind, true, false)
}

/// A tensor [rows, columns] of timesteps on a device.
pub fn timestep_tensor(timesteps: &[i64], columns: i64, device: Device) -> Tensor {
    Tensor::from_slice(timesteps)
        .view([-1, columns])
        .to_device_(device, Kind::Int64, true, false)
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
