//! One denoise step for every position at its own noise level: DDPM and DDIM.
//!
//! A step takes the network's output and brings each position from its timestep to the next one of
//! its own. Coefficients are computed on the host in double precision and sent to the device as one
//! small tensor, so a step neither reads back from the device nor depends on other positions.
//!
//! Formulas: DDPM, Ho et al. 2020, equations 6 and 7; DDIM, Song et al. 2021, equations 12 and 16;
//! v prediction, Salimans and Ho 2022, appendix D.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::guidance::Guide;
use crate::{Error, NoiseSchedule, Result};

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise in the sample.
    Epsilon,
    /// The clean sample.
    Sample,
    /// Velocity: sqrt(alpha-bar) epsilon - sqrt(1 - alpha-bar) x0.
    #[serde(rename = "v_prediction")]
    Velocity,
}

/// How a step goes from one noise level to the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Solver {
    /// Ancestral sampling with the posterior variance ("fixed small").
    Ddpm,
    /// DDIM; `eta` 0 is deterministic, 1 has the variance of ancestral sampling.
    Ddim {
        /// Share of the ancestral noise, 0 to 1.
        #[serde(default)]
        eta: f64,
    },
}

/// Configuration of a sampler, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerConfig {
    /// What the network predicts.
    pub prediction: Prediction,
    /// How a step is taken.
    pub solver: Solver,
    /// Largest magnitude of the predicted clean sample; absent for no clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_sample: Option<f64>,
}

/// Where one position is and where a step takes it, as training timesteps (-1 is clean).
///
/// `from == to` leaves the position as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Timestep of the position now.
    pub from: i64,
    /// Timestep after the step.
    pub to: i64,
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
    fn as_row(&self) -> [f32; COEFFICIENTS as usize] {
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
        .map(|value| value as f32)
    }
}

const COEFFICIENTS: i64 = 9;

impl Sampler {
    /// A sampler for a schedule.
    ///
    /// # Errors
    /// `eta` outside 0..=1 or a clipping bound that is not positive.
    pub fn new(config: SamplerConfig, schedule: NoiseSchedule) -> Result<Self> {
        if let Solver::Ddim { eta } = config.solver
            && !(0.0..=1.0).contains(&eta)
        {
            return Err(Error::Config {
                key: "sampler.solver.eta",
                found: eta.to_string(),
                expected: "0 to 1".into(),
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
            .any(|transition| self.deviation(*transition) > 0.0)
    }

    /// Takes one step.
    ///
    /// `sample` and `output` (the network's) are [B, T, D]; `transitions` has B T entries, row by
    /// row; `noise`, standard normal [B, T, D], is needed where [`Self::needs_noise`] says so and
    /// counts as zero when absent. Returns the next sample [B, T, D].
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
            self.step_on_host(sample, output, transitions, noise)
        } else {
            self.any_step(sample, output, transitions, noise, None)
        }
    }

    /// A step without LibTorch, whose two dozen small operations take longer than all the
    /// arithmetic of a plan. The operations and their order are the same, and so is every bit.
    fn step_on_host(
        &self,
        sample: &Tensor,
        output: &Tensor,
        transitions: &[Transition],
        noise: Option<&Tensor>,
    ) -> Tensor {
        let numbers = |tensor: &Tensor| {
            let mut numbers = vec![0.0_f32; tensor.numel()];
            tensor.copy_data(&mut numbers, tensor.numel());
            numbers
        };
        let (mut next, output) = (numbers(sample), numbers(output));
        let noise = noise.filter(|_| self.needs_noise(transitions)).map(numbers);
        let is_ddim = matches!(self.config.solver, Solver::Ddim { .. });
        let bound = self.config.clip_sample.map(|bound| bound as f32);
        let width = next.len() / transitions.len().max(1);
        for (position, &transition) in transitions.iter().enumerate() {
            let c = self.position(transition).as_row();
            for at in position * width..(position + 1) * width {
                let (sample, output) = (next[at], output[at]);
                let mut x0 = sample * c[0] + output * c[1];
                if let Some(bound) = bound {
                    x0 = x0.clamp(-bound, bound);
                }
                next[at] = x0 * c[4] + sample * c[5];
                if is_ddim {
                    next[at] += (sample * c[2] + output * c[3]) * c[6];
                }
                if let Some(noise) = &noise {
                    next[at] += noise[at] * c[7];
                }
            }
        }
        Tensor::from_slice(&next).view_as(sample)
    }

    /// As [`Self::step`], with the clean estimate drawn towards a target.
    ///
    /// The estimate is clipped before, so that a network that predicts noise cannot drown the
    /// target where there is almost no signal, and after, since a pull above 1 overshoots. The
    /// noise that the step keeps is the noise that the drawn estimate implies: the step is that of
    /// the guided velocity, as in the paper.
    pub fn guided_step(
        &self,
        sample: &Tensor,
        output: &Tensor,
        transitions: &[Transition],
        noise: Option<&Tensor>,
        guide: &Guide,
    ) -> Tensor {
        self.any_step(sample, output, transitions, noise, Some(guide))
    }

    fn any_step(
        &self,
        sample: &Tensor,
        output: &Tensor,
        transitions: &[Transition],
        noise: Option<&Tensor>,
        guide: Option<&Guide>,
    ) -> Tensor {
        let table = self.coefficients(sample, transitions);
        let column = |index: i64| table.select(2, index).unsqueeze(-1);
        let mut x0 = self.clipped(sample * column(0) + output * column(1));
        let free = x0.shallow_clone();
        if let Some(guide) = guide {
            x0 = self.clipped(guide.draw(&free));
        }
        let mut next = &x0 * column(4) + sample * column(5);
        if matches!(self.config.solver, Solver::Ddim { .. }) {
            let mut epsilon = sample * column(2) + output * column(3);
            if guide.is_some() {
                epsilon -= (x0 - free) * column(8);
            }
            next += epsilon * column(6);
        }
        match noise {
            Some(noise) if self.needs_noise(transitions) => next + noise * column(7),
            _ => next,
        }
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

    fn clipped(&self, x0: Tensor) -> Tensor {
        match self.config.clip_sample {
            Some(bound) => x0.clamp(-bound, bound),
            None => x0,
        }
    }

    /// Noises clean positions to their own timesteps:
    /// sqrt(alpha-bar) x0 + sqrt(1 - alpha-bar) noise, all [B, T, D].
    ///
    /// `timesteps` has B T entries, row by row.
    pub fn add_noise(&self, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
        let (signal, deviation): (Vec<f32>, Vec<f32>) = timesteps
            .iter()
            .map(|&timestep| {
                let alpha = self.schedule.alpha_cumprod(timestep);
                (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32)
            })
            .unzip();
        let size = clean.size();
        let shaped = |values: &[f32]| {
            Tensor::from_slice(values)
                .to_device(clean.device())
                .view([size[0], size[1], 1])
        };
        clean * shaped(&signal) + noise * shaped(&deviation)
    }

    /// The training target for clean samples, noise and timesteps, all [B, T, D] and B T.
    pub fn target(&self, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
        match self.config.prediction {
            Prediction::Epsilon => noise.shallow_clone(),
            Prediction::Sample => clean.shallow_clone(),
            // v has the form of add_noise with the roles of signal and noise exchanged.
            Prediction::Velocity => {
                let size = clean.size();
                let column = |value: fn(f64) -> f64| {
                    let values: Vec<f32> = timesteps
                        .iter()
                        .map(|&timestep| value(self.schedule.alpha_cumprod(timestep)) as f32)
                        .collect();
                    Tensor::from_slice(&values)
                        .to_device(clean.device())
                        .view([size[0], size[1], 1])
                };
                noise * column(f64::sqrt) - clean * column(|alpha| (1.0 - alpha).sqrt())
            }
        }
    }

    fn coefficients(&self, sample: &Tensor, transitions: &[Transition]) -> Tensor {
        let values: Vec<f32> = transitions
            .iter()
            .flat_map(|&transition| self.position(transition).as_row())
            .collect();
        let size = sample.size();
        Tensor::from_slice(&values)
            .view([size[0], size[1], COEFFICIENTS])
            .to_device_(sample.device(), Kind::Float, true, false)
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
        let (alpha, previous) = (
            self.schedule.alpha_cumprod(from),
            self.schedule.alpha_cumprod(to),
        );
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let (sample_in_x0, output_in_x0, sample_in_epsilon, output_in_epsilon) =
            match self.config.prediction {
                Prediction::Epsilon => (1.0 / signal, -noise / signal, 0.0, 1.0),
                Prediction::Sample => (0.0, 1.0, 1.0 / noise, -signal / noise),
                Prediction::Velocity => (signal, -noise, noise, signal),
            };
        let deviation = self.deviation(transition);
        let (x0, sample, epsilon) = match self.config.solver {
            Solver::Ddpm => {
                let step_beta = self.step_beta(transition);
                (
                    previous.sqrt() * step_beta / (1.0 - alpha),
                    (1.0 - step_beta).sqrt() * (1.0 - previous) / (1.0 - alpha),
                    0.0,
                )
            }
            Solver::Ddim { .. } => (
                previous.sqrt(),
                0.0,
                (1.0 - previous - deviation.powi(2)).max(0.0).sqrt(),
            ),
        };
        Coefficients {
            sample_in_x0,
            output_in_x0,
            sample_in_epsilon,
            output_in_epsilon,
            x0,
            sample,
            epsilon,
            deviation,
            x0_in_epsilon: signal / noise,
        }
    }

    /// Beta of the step taken: over one timestep the schedule's own, over more what the ratio of
    /// the alpha-bars leaves of 1. At low noise that ratio is so near 1 that the table's single
    /// precision shows: used over one timestep, it would move a plan of 100 steps by 3e-5.
    fn step_beta(&self, Transition { from, to }: Transition) -> f64 {
        if to == from - 1 {
            self.schedule.beta(from)
        } else {
            1.0 - self.schedule.alpha_cumprod(from) / self.schedule.alpha_cumprod(to)
        }
    }

    fn deviation(&self, transition: Transition) -> f64 {
        let Transition { from, to } = transition;
        if from <= to || to < 0 {
            return 0.0;
        }
        let (alpha, previous) = (
            self.schedule.alpha_cumprod(from),
            self.schedule.alpha_cumprod(to),
        );
        let variance = (1.0 - previous) / (1.0 - alpha) * self.step_beta(transition);
        match self.config.solver {
            // The floor is that of the reference implementation's "fixed_small".
            Solver::Ddpm => variance.max(1e-20).sqrt(),
            Solver::Ddim { eta } => eta * variance.max(0.0).sqrt(),
        }
    }
}

/// A tensor [rows, columns] of timesteps on a device.
pub fn timestep_tensor(timesteps: &[i64], columns: i64, device: Device) -> Tensor {
    Tensor::from_slice(timesteps)
        .view([-1, columns])
        .to_device_(device, Kind::Int64, true, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ScheduleConfig;

    fn sampler(prediction: Prediction, solver: Solver) -> Sampler {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        Sampler::new(
            SamplerConfig {
                prediction,
                solver,
                clip_sample: None,
            },
            schedule,
        )
        .unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    /// What a perfect network would answer.
    fn output(sampler: &Sampler, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
        sampler.target(clean, noise, timesteps)
    }

    #[test]
    fn steps_on_the_host_are_those_of_libtorch_bit_for_bit() {
        let mut random = crate::noise::NoiseStream::new(3);
        let mut tensor = || Tensor::from_slice(&random.normals(48)).view([2, 8, 3]);
        let moves: Vec<Transition> = (0..16)
            .map(|at| Transition {
                from: 6 * at - 1,
                to: (6 * at - 4).max(-1),
            })
            .collect();
        for prediction in [
            Prediction::Epsilon,
            Prediction::Sample,
            Prediction::Velocity,
        ] {
            for solver in [
                Solver::Ddpm,
                Solver::Ddim { eta: 0.0 },
                Solver::Ddim { eta: 0.7 },
            ] {
                for clip_sample in [None, Some(0.8)] {
                    let mut sampler = sampler(prediction, solver);
                    sampler.config.clip_sample = clip_sample;
                    let (sample, output, noise) = (tensor(), tensor(), tensor());
                    // Not contiguous, as a network's output may be.
                    let output = output.transpose(0, 1).contiguous().transpose(0, 1);
                    let host = sampler.step_on_host(&sample, &output, &moves, Some(&noise));
                    let torch = sampler.any_step(&sample, &output, &moves, Some(&noise), None);
                    let bits = |tensor: &Tensor| -> Vec<u32> {
                        values(tensor).into_iter().map(f32::to_bits).collect()
                    };
                    assert_eq!(bits(&host), bits(&torch), "{prediction:?} {solver:?}");
                }
            }
        }
    }

    #[test]
    fn a_perfect_prediction_is_recovered_whatever_is_predicted() {
        let clean = Tensor::from_slice(&[0.3_f32, -0.7, 0.9, 0.1]).view([1, 4, 1]);
        let noise = Tensor::from_slice(&[1.1_f32, -0.4, 0.2, -1.9]).view([1, 4, 1]);
        let timesteps = [2_i64, 30, 60, 90];
        for prediction in [
            Prediction::Epsilon,
            Prediction::Sample,
            Prediction::Velocity,
        ] {
            let sampler = sampler(prediction, Solver::Ddim { eta: 0.0 });
            let sample = sampler.add_noise(&clean, &noise, &timesteps);
            let out = output(&sampler, &clean, &noise, &timesteps);
            let estimate = sampler.clean_estimate(&sample, &out, &timesteps);
            let error = f64::try_from((estimate - &clean).abs().max()).unwrap();
            assert!(error < 1e-4, "{prediction:?}: {error}");
            // DDIM with a perfect prediction lands on the same noise at the lower level.
            let lower = [1_i64, 20, 60, -1];
            let moves: Vec<_> = timesteps
                .iter()
                .zip(lower)
                .map(|(&from, to)| Transition { from, to })
                .collect();
            let next = sampler.step(&sample, &out, &moves, None);
            let expected = sampler.add_noise(&clean, &noise, &lower);
            let error = f64::try_from((next - expected).abs().max()).unwrap();
            assert!(error < 1e-4, "{prediction:?}: {error}");
        }
    }

    #[test]
    fn clipping_bounds_the_clean_estimate() {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        let config = SamplerConfig {
            prediction: Prediction::Sample,
            solver: Solver::Ddim { eta: 0.0 },
            clip_sample: Some(1.0),
        };
        let sampler = Sampler::new(config, schedule).unwrap();
        let sample = Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu));
        let out = Tensor::from_slice(&[5.0_f32, -5.0]).view([1, 1, 2]);
        let next = sampler.step(&sample, &out, &[Transition { from: 3, to: -1 }], None);
        assert_eq!(values(&next), [1.0, -1.0]);
    }

    #[test]
    fn the_last_ddpm_step_adds_no_noise() {
        let sampler = sampler(Prediction::Epsilon, Solver::Ddpm);
        assert!(!sampler.needs_noise(&[Transition { from: 0, to: -1 }]));
        assert!(sampler.needs_noise(&[Transition { from: 1, to: 0 }]));
    }

    #[test]
    fn bad_settings_are_refused_by_name() {
        let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
        let config = SamplerConfig {
            prediction: Prediction::Epsilon,
            solver: Solver::Ddim { eta: 1.5 },
            clip_sample: None,
        };
        let message = Sampler::new(config, schedule).unwrap_err().to_string();
        assert!(message.contains("sampler.solver.eta"), "{message}");
    }

    proptest! {
        #[test]
        fn positions_do_not_influence_each_other(
            from in prop::collection::vec(-1_i64..100, 6), seed in 0_u64..1000
        ) {
            for solver in [Solver::Ddpm, Solver::Ddim { eta: 0.5 }] {
                let sampler = sampler(Prediction::Epsilon, solver);
                let mut noise = crate::noise::NoiseStream::new(seed);
                let mut random = || Tensor::from_slice(&noise.normals(12)).view([1, 6, 2]);
                let (sample, out, fresh) = (random(), random(), random());
                let moves: Vec<_> = from
                    .iter()
                    .map(|&from| Transition { from, to: (from - 7).max(-1) })
                    .collect();
                let together = sampler.step(&sample, &out, &moves, Some(&fresh));
                for (index, transition) in moves.iter().enumerate() {
                    let at = |tensor: &Tensor| tensor.narrow(1, index as i64, 1);
                    let alone =
                        sampler.step(&at(&sample), &at(&out), &[*transition], Some(&at(&fresh)));
                    prop_assert_eq!(values(&alone), values(&at(&together)));
                    if transition.from < 0 {
                        prop_assert_eq!(values(&alone), values(&at(&sample)));
                    }
                }
            }
        }
    }
}
