//! One step of a denoising diffusion GAN (Xiao et al. 2022), for whatever is diffused.
//!
//! The critic sees a sample and its successor, one step less noisy, and tells true successors from
//! those that the generator's clean estimate leads to. Beside the critic's word the generator is
//! told the distance of its estimate from the data, as in EMDM.

use kinestream_diffusion::noise::NoiseStream;
use tch::{Kind, Reduction, Tensor};

use super::config::GenerationTraining;
use super::frames::normal;
use crate::Result;
use crate::frame::{Critic, FrameNetwork, timestep_column};
use crate::learner::OptimizerState;

/// The critic of a generator, and the learners of both.
#[derive(Debug)]
pub(crate) struct GanTrainer {
    critic: Critic,
    generator_learner: OptimizerState,
    critic_learner: OptimizerState,
    training: GenerationTraining,
}

/// Losses of a step: all of the generator's, its distance from the data, the critic's word on it,
/// the critic's own, and what was added.
pub(crate) type Parts = [(&'static str, Tensor); 5];

/// What a step is made on.
#[derive(Clone, Copy)]
pub(crate) struct GanBatch<'a> {
    /// Clean samples `[B, E]`.
    pub(crate) clean: &'a Tensor,
    /// Conditions `[B, C]`.
    pub(crate) condition: &'a Tensor,
    /// What else a clean estimate `[B, E]` costs.
    pub(crate) more: &'a dyn Fn(&Tensor) -> Tensor,
}

impl GanTrainer {
    /// A critic for a generator that has just been built.
    pub(crate) fn new(generator: &FrameNetwork, training: &GenerationTraining, seed: u64) -> Self {
        let critic = Critic::new(
            generator,
            training.critic_width,
            training.critic_layers,
            seed,
        );
        let descent = &training.descent;
        // Hardly any momentum of the first order, as GANs are usually trained.
        let betas = (0.5, 0.9);
        let learner =
            |store| OptimizerState::new(store, betas, descent.weight_decay, descent.average);
        Self {
            generator_learner: learner(generator.store()),
            critic_learner: learner(critic.store()),
            critic,
            training: training.clone(),
        }
    }

    /// One step of the critic and one of the generator. `penalised` adds the gradient penalty.
    pub(crate) fn step(
        &mut self,
        generator: &FrameNetwork,
        lesson: &GanBatch<'_>,
        random: &mut NoiseStream,
        rate: f64,
        penalised: bool,
    ) -> Parts {
        let GanBatch {
            clean,
            condition,
            more,
        } = *lesson;
        let training = &self.training;
        let (size, device) = (clean.size(), clean.device());
        let steps = generator.steps() as usize;
        let timesteps: Vec<i64> = (0..size[0]).map(|_| random.below(steps) as i64).collect();
        let column = timestep_column(&timesteps, device);
        let before: Vec<i64> = timesteps.iter().map(|timestep| timestep - 1).collect();
        let next = generator.add_noise(clean, &normal(random, &size, device), &before);
        let betas: Vec<f32> = timesteps
            .iter()
            .map(|timestep| generator.schedule().beta(*timestep) as f32)
            .collect();
        let beta = Tensor::from_slice(&betas).view([-1, 1]).to_device(device);
        let kept: Tensor = 1.0 - &beta;
        let sample = &next * kept.sqrt() + normal(random, &size, device) * beta.sqrt();
        let latents = generator.config().latent;
        let latent = (latents > 0).then(|| normal(random, &[size[0], latents], device));
        let estimate = generator.predict(&sample, &column, condition, latent.as_ref());
        let noise = normal(random, &size, device);
        let made = generator.step(&estimate, &sample, &noise, &timesteps);

        let next = next.detach().set_requires_grad(penalised);
        let truth = self.critic.score(&next, &sample, &column, condition);
        let untruth = self
            .critic
            .score(&made.detach(), &sample, &column, condition);
        let judged = (-&truth).softplus().mean(Kind::Float) + untruth.softplus().mean(Kind::Float);
        let critic_loss = if penalised {
            let gradients = Tensor::run_backward(&[truth.sum(Kind::Float)], &[&next], true, true);
            let length = gradients[0]
                .square()
                .sum_dim_intlist([-1].as_slice(), false, Kind::Float)
                .mean(Kind::Float);
            &judged + length * (0.5 * training.penalty * training.penalty_every as f64)
        } else {
            judged.shallow_clone()
        };
        let critic_rate = rate * training.critic_rate / training.descent.learning_rate;
        self.critic_learner.descend(&critic_loss, critic_rate, 0.0);

        let adversarial = (-self.critic.score(&made, &sample, &column, condition))
            .softplus()
            .mean(Kind::Float);
        let value = estimate.smooth_l1_loss(clean, Reduction::Mean, 1.0);
        let more = more(&estimate);
        let loss = &adversarial * training.adversarial + &value * training.value + &more;
        self.generator_learner
            .descend(&loss, rate, training.descent.gradient_norm);
        [
            ("loss", loss.detach()),
            ("value", value.detach()),
            ("adversarial", adversarial.detach()),
            ("critic", judged.detach()),
            ("more", more.detach()),
        ]
    }

    /// Copies the averaged weights of the generator into a network of the same build.
    pub(crate) fn average_into(&self, generator: &FrameNetwork) -> Result<()> {
        self.generator_learner.average_into(generator.store())
    }

    /// Everything that continuing needs.
    pub(crate) fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.generator_learner.state("generator");
        state.extend(self.critic_learner.state("critic"));
        state
    }

    /// Restores [`Self::state`]. Says which tensor is missing or does not fit.
    pub(crate) fn restore(
        &mut self,
        state: &[(String, Tensor)],
    ) -> std::result::Result<(), String> {
        self.generator_learner.restore("generator", state)?;
        self.critic_learner.restore("critic", state)
    }
}

#[cfg(test)]
mod tests {
    use kinestream_diffusion::schedule::{BetaSchedule, ScheduleConfig};
    use tch::Device;

    use super::*;
    use crate::frame::{FrameConfig, FrameSizes};
    use crate::training::config::OptimizerConfig;

    /// Points about -1 and 1 with deviation 0.2, as a column.
    fn two_modes(random: &mut NoiseStream, count: usize) -> Tensor {
        let numbers: Vec<f32> = (0..count)
            .map(|_| 2.0 * random.below(2) as f32 - 1.0 + 0.2 * random.normal())
            .collect();
        Tensor::from_slice(&numbers).view([-1, 1])
    }

    #[test]
    fn a_generator_learns_both_of_two_modes() {
        let config = FrameConfig {
            width: 32,
            layers: 2,
            latent: 4,
            frequencies: 3,
            schedule: ScheduleConfig {
                beta_schedule: BetaSchedule::SquaredCosine,
                train_timesteps: 3,
                ..ScheduleConfig::default()
            },
        };
        let sizes = FrameSizes {
            sample: 1,
            condition: 1,
        };
        let generator = FrameNetwork::new(&config, sizes, Device::Cpu, 1).unwrap();
        let training = GenerationTraining {
            descent: OptimizerConfig {
                steps: 1000,
                batch: 64,
                learning_rate: 5e-4,
                warmup_steps: 50,
                gradient_norm: 0.0,
                weight_decay: 0.0,
                average: 0.99,
            },
            critic_rate: 1e-3,
            critic_width: 64,
            critic_layers: 3,
            penalty: 0.01,
            value: 0.0,
            adversarial: 1.0,
            ..GenerationTraining::default()
        };
        let mut adversaries = GanTrainer::new(&generator, &training, 2);
        let mut random = NoiseStream::new(3);
        let condition = Tensor::zeros([64, 1], (Kind::Float, Device::Cpu));
        for step in 0..training.descent.steps {
            let clean = two_modes(&mut random, 64);
            let rate = training.descent.rate(step);
            let penalised = step.is_multiple_of(training.penalty_every);
            let lesson = GanBatch {
                clean: &clean,
                condition: &condition,
                more: &|_| Tensor::from(0.0_f32),
            };
            let _ = adversaries.step(&generator, &lesson, &mut random, rate, penalised);
        }
        adversaries.average_into(&generator).unwrap();
        let count = 2000;
        let condition = Tensor::zeros([count, 1], (Kind::Float, Device::Cpu));
        let mut sample = normal(&mut random, &[count, 1], Device::Cpu);
        for timestep in (0..3_i64).rev() {
            let latent = normal(&mut random, &[count, 4], Device::Cpu);
            let noise = normal(&mut random, &[count, 1], Device::Cpu);
            let clean = generator.predict_at(&sample, timestep, &condition, Some(&latent));
            sample = generator.step(&clean, &sample, &noise, &vec![timestep; count as usize]);
        }
        let points = Vec::<f32>::try_from(sample.flatten(0, -1)).unwrap();
        let share = |mode: f32| {
            let near = points.iter().filter(|point| (**point - mode).abs() < 0.6);
            near.count() as f64 / count as f64
        };
        assert!(
            share(-1.0) > 0.3 && share(1.0) > 0.3,
            "{} {}",
            share(-1.0),
            share(1.0)
        );
    }
}
