//! The two modules of AAMDM on the toy: what remains of a distribution after three steps of a
//! denoising diffusion GAN and two of an autoregressive diffusion model.
//!
//! The networks, the step of the GAN and the posterior are those that characters are moved with; the
//! last point takes the place of the last frame. Points have two numbers and the modes are narrow,
//! so the networks see sinusoids of them too.

use kinestream_diffusion::ScheduleConfig;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::schedule::BetaSchedule;
use tch::{Device, Kind, Reduction, Tensor};

use super::{Coverage, DEVIATION, coverage, sample};
use crate::Result;
use crate::frame::{FrameConfig, FrameNetwork, FrameSizes, timestep_column};
use crate::learner::OptimizerState;
use crate::training::adversarial::{GanBatch, GanTrainer};
use crate::training::frames::normal;
use crate::training::{GenerationTraining, OptimizerConfig};

/// How the toy is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToyOptions {
    /// Seed of everything random.
    pub seed: u64,
    /// Steps of the generation module.
    pub generation_steps: u64,
    /// Steps of the polishing module.
    pub polishing_steps: u64,
    /// Points per step.
    pub batch: usize,
    /// Points that are made in the end.
    pub points: usize,
}

impl Default for ToyOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            generation_steps: 3000,
            polishing_steps: 3000,
            batch: 512,
            points: 9000,
        }
    }
}

/// What was found with the generation module alone, and with both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    /// Three steps.
    pub drafts: Coverage,
    /// Three steps and two.
    pub polished: Coverage,
}

/// Learns the toy with both modules and measures what they make of it.
///
/// # Errors
/// LibTorch refused.
pub fn learn(options: &ToyOptions, mut watch: impl FnMut(u64)) -> Result<Learned> {
    let mut random = NoiseStream::with_stream(options.seed, 1);
    let mut points = Points {
        seed: options.seed.wrapping_mul(1_000_003),
        batch: options.batch,
    };
    let sizes = FrameSizes {
        sample: 2,
        condition: 2,
    };
    let (batch, seed) = (options.batch as i64, options.seed);
    let network = |latent, schedule, seed| {
        let config = FrameConfig {
            width: 128,
            layers: 3,
            latent,
            frequencies: 3,
            schedule,
        };
        FrameNetwork::new(&config, sizes, Device::Cpu, seed)
    };
    let generator = network(4, three_steps(), seed)?;
    let training = GenerationTraining {
        descent: descent(options.generation_steps, options.batch, 5e-4),
        critic_rate: 1e-3,
        critic_width: 128,
        critic_layers: 3,
        penalty: 0.005,
        penalty_every: 1,
        // The mean of several modes is none of them.
        value: 0.0,
        adversarial: 1.0,
        ..GenerationTraining::default()
    };
    let mut adversaries = GanTrainer::new(&generator, &training, seed.wrapping_add(1));
    for step in 0..training.descent.steps {
        let (last, next) = (points.draw(), points.draw());
        let rate = training.descent.rate(step);
        let nothing = |_: &Tensor| Tensor::from(0.0_f32);
        let lesson = GanBatch {
            clean: &next,
            condition: &last,
            more: &nothing,
        };
        let _ = adversaries.step(&generator, &lesson, &mut random, rate, true);
        watch(step + 1);
    }
    adversaries.average_into(&generator)?;

    let polisher = network(0, two_small_steps(), seed.wrapping_add(2))?;
    let descent = descent(options.polishing_steps, options.batch, 2e-3);
    let mut learner = OptimizerState::new(polisher.store(), (0.9, 0.999), 0.0, descent.average);
    for step in 0..descent.steps {
        let (last, next) = (points.draw(), points.draw());
        let timesteps: Vec<i64> = (0..batch).map(|_| random.below(2) as i64).collect();
        let noise = normal(&mut random, &[batch, 2], Device::Cpu);
        let noisy = polisher.add_noise(&next, &noise, &timesteps);
        let column = timestep_column(&timesteps, Device::Cpu);
        let loss = polisher
            .predict(&noisy, &column, &last, None)
            .mse_loss(&next, Reduction::Mean);
        learner.descend(&loss, descent.rate(step), 1.0);
        watch(training.descent.steps + step + 1);
    }
    learner.average_into(polisher.store())?;

    let (drafts, polished) = tch::no_grad(|| {
        follow(
            &generator,
            &polisher,
            options.points,
            &mut points,
            &mut random,
        )
    });
    Ok(Learned {
        drafts: coverage(&to_points(&drafts)?),
        polished: coverage(&to_points(&polished)?),
    })
}

/// Points that follow others, as drafts and polished.
fn follow(
    generator: &FrameNetwork,
    polisher: &FrameNetwork,
    count: usize,
    points: &mut Points,
    random: &mut NoiseStream,
) -> (Tensor, Tensor) {
    points.batch = count;
    let last = points.draw();
    let size = [count as i64, 2];
    let mut noise = |columns: i64| normal(random, &[size[0], columns], Device::Cpu);
    let mut sample = noise(2);
    for timestep in (0..generator.steps()).rev() {
        let latent = noise(generator.config().latent);
        let clean = generator.predict_at(&sample, timestep, &last, Some(&latent));
        sample = generator.step(&clean, &sample, &noise(2), &vec![timestep; count]);
    }
    let drafts = sample.copy();
    let highest = polisher.steps() - 1;
    sample = polisher.add_noise(&sample, &noise(2), &vec![highest; count]);
    for timestep in (0..=highest).rev() {
        let clean = polisher.predict_at(&sample, timestep, &last, None);
        sample = polisher.step(&clean, &sample, &noise(2), &vec![timestep; count]);
    }
    (drafts, sample)
}

/// Points of the distribution at unit size, anew at every draw.
struct Points {
    seed: u64,
    batch: usize,
}

/// Deviation of a coordinate over all modes.
fn scale() -> f64 {
    (2.0 / 3.0 + DEVIATION * DEVIATION).sqrt()
}

impl Points {
    fn draw(&mut self) -> Tensor {
        self.seed = self.seed.wrapping_add(1);
        let numbers: Vec<f32> = sample(self.seed, self.batch)
            .iter()
            .flatten()
            .map(|value| (value / scale()) as f32)
            .collect();
        Tensor::from_slice(&numbers).view([-1, 2])
    }
}

fn to_points(tensor: &Tensor) -> Result<Vec<[f64; 2]>> {
    let numbers = Vec::<f32>::try_from(tensor.to_kind(Kind::Float).flatten(0, -1))?;
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| [0, 1].map(|axis| f64::from(pair[axis]) * scale()))
        .collect())
}

fn descent(steps: u64, batch: usize, learning_rate: f64) -> OptimizerConfig {
    OptimizerConfig {
        steps,
        batch,
        learning_rate,
        warmup_steps: 100,
        weight_decay: 0.0,
        gradient_norm: 0.0,
        average: 0.995,
    }
}

fn three_steps() -> ScheduleConfig {
    ScheduleConfig {
        beta_schedule: BetaSchedule::SquaredCosine,
        train_timesteps: 3,
        ..ScheduleConfig::default()
    }
}

/// Noise of deviation 0.1 and 0.22: small against the distance of two modes, 1.2.
fn two_small_steps() -> ScheduleConfig {
    ScheduleConfig {
        beta_schedule: BetaSchedule::Linear,
        train_timesteps: 2,
        beta_start: 0.01,
        beta_end: 0.04,
        ..ScheduleConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::MODES;

    #[test]
    fn three_and_two_steps_find_all_nine_modes() {
        let found = learn(&ToyOptions::default(), |_| {}).unwrap();
        println!("{found:?}");
        assert_eq!(found.polished.modes_found, MODES, "{found:?}");
        assert!(found.polished.mode_mass_error < 0.12, "{found:?}");
        assert!(found.polished.outside < 0.1, "{found:?}");
    }
}
