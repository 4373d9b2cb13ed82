//! Networks that denoise one embedded frame, and the space that they work in.
//!
//! What is diffused is the innovation of the next embedded frame: what its change has beyond the
//! share of the last change that carries on, each number divided by its deviation over the data (see
//! [`crate::model`]). It has unit size, while next frames themselves differ from the last by a tenth
//! of theirs: a network that had to hit a frame within noise of unit size would spend its few steps
//! on finding where it already was.

use kinestream_diffusion::network::{seeded, timestep_table};
use kinestream_diffusion::schedule::{BetaSchedule, PosteriorBeta, TimestepSpacing};
use kinestream_diffusion::{Mlp, NoiseSchedule, ScheduleConfig};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::plan::{DenoiseStep, factor, plan};
use crate::steering;
use crate::{Error, Result};

/// Width of the timestep's sinusoids.
const LEVEL: i64 = 32;

/// Configuration of a network that denoises frames, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameConfig {
    /// Width of the layers.
    pub width: i64,
    /// Layers.
    pub layers: usize,
    /// Numbers of the random latent that makes a generator of the network; 0 for none.
    #[serde(default)]
    pub latent: i64,
    /// Sinusoids that every number of a sample is shown as beside itself, each twice as fast as the
    /// last: for samples of few numbers whose distribution is fine (Tancik et al., "Fourier features
    /// let networks learn high frequency functions", 2020); 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequencies: usize,
    /// The noise schedule: its timesteps are the denoise steps.
    pub schedule: ScheduleConfig,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Sizes of what a frame network works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSizes {
    /// Numbers of a sample.
    pub sample: i64,
    /// Numbers of the condition.
    pub condition: i64,
}

impl FrameSizes {
    /// For embedded frames of `embedded` numbers: the condition is the last frame, the change that
    /// led to it, the steering, whether there is any steering and, where a predictor tells it, the
    /// change to expect.
    pub fn motion(embedded: i64, predicted: bool) -> Self {
        Self {
            sample: embedded,
            condition: (2 + i64::from(predicted)) * embedded + steering::SIZE as i64 + 1,
        }
    }
}

/// Predicts the clean sample of one frame.
#[derive(Debug)]
pub struct FrameNetwork {
    store: VarStore,
    mlp: Mlp,
    levels: Tensor,
    schedule: NoiseSchedule,
    plan: Vec<DenoiseStep>,
    /// Factors of the clean sample and of the noise at the last timestep.
    last: [Tensor; 2],
    config: FrameConfig,
    sizes: FrameSizes,
}

/// What a sampler takes beside its network.
pub(crate) struct Sampling<'a> {
    /// Noise of a timestep `[B, E]`.
    pub(crate) noise: &'a dyn Fn(i64) -> Tensor,
    /// Latent of a timestep `[B, R]`, for a generator.
    pub(crate) latent: &'a dyn Fn(i64) -> Option<Tensor>,
    /// Changes a clean estimate `[B, E]`, given the share of the signal's variance.
    pub(crate) steer: &'a dyn Fn(Tensor, &Tensor) -> Tensor,
}

impl FrameNetwork {
    /// Fresh parameters, which depend on `seed` alone.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(config: &FrameConfig, sizes: FrameSizes, device: Device, seed: u64) -> Result<Self> {
        config.check()?;
        let schedule = NoiseSchedule::new(&config.schedule)?;
        let store = VarStore::new(device);
        let seen = lifted_size(sizes.sample, config.frequencies);
        let inputs = seen + sizes.condition + LEVEL + config.latent;
        let mlp = seeded(seed, || {
            Mlp::plain(
                &store.root(),
                inputs,
                sizes.sample,
                config.width,
                config.layers,
            )
        });
        let steps = config.schedule.train_timesteps;
        let levels = timestep_table(steps as i64, LEVEL, device);
        Ok(Self {
            last: {
                let alpha = schedule.alpha_cumprod(steps as i64 - 1);
                [alpha.sqrt(), (1.0 - alpha).sqrt()].map(|value| factor(value, device))
            },
            plan: plan(&schedule, &levels, steps),
            levels,
            store,
            mlp,
            schedule,
            config: config.clone(),
            sizes,
        })
    }

    /// The parameters.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The parameters, for freezing.
    pub fn store_mut(&mut self) -> &mut VarStore {
        &mut self.store
    }

    /// The schedule; its timesteps are the denoise steps.
    pub fn schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// The configuration.
    pub fn config(&self) -> &FrameConfig {
        &self.config
    }

    /// Sizes of inputs and outputs.
    pub fn sizes(&self) -> FrameSizes {
        self.sizes
    }

    /// Number of denoise steps.
    pub fn steps(&self) -> i64 {
        self.config.schedule.train_timesteps as i64
    }

    /// The network itself.
    pub(crate) fn mlp(&self) -> &Mlp {
        &self.mlp
    }

    /// The steps of a sample, in their order.
    pub(crate) fn plan(&self) -> &[DenoiseStep] {
        &self.plan
    }

    /// Factors of the clean sample and of the noise at the last timestep.
    pub(crate) fn last(&self) -> &[Tensor; 2] {
        &self.last
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.store.variables().values().map(Tensor::numel).sum()
    }

    /// The clean sample `[B, E]`: from a noisy one `[B, E]`, the timestep of each `[B]` int64, the
    /// condition `[B, C]` and, for a generator, its latent `[B, R]`.
    pub fn predict(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        condition: &Tensor,
        latent: Option<&Tensor>,
    ) -> Tensor {
        let levels = self.levels.index_select(0, timesteps);
        self.evaluate(sample, &levels, condition, latent)
    }

    /// As [`Self::predict`], with one timestep for all.
    pub fn predict_at(
        &self,
        sample: &Tensor,
        timestep: i64,
        condition: &Tensor,
        latent: Option<&Tensor>,
    ) -> Tensor {
        let levels = self
            .levels
            .narrow(0, timestep, 1)
            .expand([sample.size()[0], LEVEL], false);
        self.evaluate(sample, &levels, condition, latent)
    }

    fn evaluate(
        &self,
        sample: &Tensor,
        levels: &Tensor,
        condition: &Tensor,
        latent: Option<&Tensor>,
    ) -> Tensor {
        let sample = &lifted(sample, self.config.frequencies);
        let input = match latent {
            Some(latent) => Tensor::cat(&[sample, condition, levels, latent], -1),
            None => Tensor::cat(&[sample, condition, levels], -1),
        };
        self.mlp.forward(&input)
    }

    /// Makes samples with so many of the denoise steps, evenly spaced from the first to the last; 0
    /// and what is more than all for all of them, as without this call.
    pub fn space_out(&mut self, evaluations: usize) {
        let all = self.config.schedule.train_timesteps;
        let evaluations = if evaluations == 0 { all } else { evaluations };
        self.plan = plan(&self.schedule, &self.levels, evaluations.min(all));
    }

    /// A clean sample brought up to the noise of the last timestep, all `[B, E]`.
    pub(crate) fn raised(&self, clean: &Tensor, noise: &Tensor) -> Tensor {
        let [signal, deviation] = &self.last;
        (clean * signal).addcmul(noise, deviation)
    }

    /// The clean sample `[B, E]` of a noisy one `[B, E]` under a condition `[B, C]`, by the posterior
    /// of every step.
    pub(crate) fn denoise(
        &self,
        mut sample: Tensor,
        condition: &Tensor,
        sampling: &Sampling<'_>,
    ) -> Tensor {
        let count = sample.size()[0];
        for step in &self.plan {
            let latent = (sampling.latent)(step.timestep);
            let clean = if count == 1 {
                self.evaluate(&sample, &step.level, condition, latent.as_ref())
            } else {
                let levels = step.level.expand([count, LEVEL], false);
                self.evaluate(&sample, &levels, condition, latent.as_ref())
            };
            let clean = (sampling.steer)(clean, &step.signal);
            sample = match &step.down {
                None => clean,
                Some(down) => (clean * &down.clean)
                    .addcmul(&sample, &down.sample)
                    .addcmul(&(sampling.noise)(down.timestep), &down.deviation),
            };
        }
        sample
    }

    /// Noises clean samples `[B, E]` to the timestep of each.
    pub fn add_noise(&self, clean: &Tensor, noise: &Tensor, timesteps: &[i64]) -> Tensor {
        let column = |value: fn(f64) -> f64| {
            let values: Vec<f32> = timesteps
                .iter()
                .map(|timestep| value(self.schedule.alpha_cumprod(*timestep)) as f32)
                .collect();
            Tensor::from_slice(&values)
                .view([-1, 1])
                .to_device(clean.device())
        };
        clean * column(f64::sqrt) + noise * column(|alpha| (1.0 - alpha).sqrt())
    }

    /// One step down from the timestep of each, by the posterior: `clean`, `sample` and `noise` are
    /// `[B, E]`.
    pub fn step(
        &self,
        clean: &Tensor,
        sample: &Tensor,
        noise: &Tensor,
        timesteps: &[i64],
    ) -> Tensor {
        let mut table = [Vec::new(), Vec::new(), Vec::new()];
        for timestep in timesteps {
            let step = self.schedule.posterior(*timestep);
            for (column, value) in table
                .iter_mut()
                .zip([step.clean, step.sample, step.deviation])
            {
                column.push(value as f32);
            }
        }
        let [a, b, c] = table.map(|column| {
            Tensor::from_slice(&column)
                .view([-1, 1])
                .to_device(clean.device())
        });
        clean * a + sample * b + noise * c
    }
}

/// The critic of a denoising diffusion GAN: is `next` a true step down from `sample`?
#[derive(Debug)]
pub struct Critic {
    store: VarStore,
    mlp: Mlp,
    levels: Tensor,
    frequencies: usize,
}

impl Critic {
    /// Fresh parameters for a generator.
    pub fn new(generator: &FrameNetwork, width: i64, layers: usize, seed: u64) -> Self {
        let (sizes, device) = (generator.sizes(), generator.store().device());
        let frequencies = generator.config().frequencies;
        let store = VarStore::new(device);
        let inputs = 2 * lifted_size(sizes.sample, frequencies) + sizes.condition + LEVEL;
        let mlp = seeded(seed, || Mlp::plain(&store.root(), inputs, 1, width, layers));
        Self {
            levels: timestep_table(generator.steps(), LEVEL, device),
            frequencies,
            store,
            mlp,
        }
    }

    /// The parameters.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// Scores `[B, 1]`, positive for true: `next` has one step less noise than `sample`, both
    /// `[B, E]`.
    pub fn score(
        &self,
        next: &Tensor,
        sample: &Tensor,
        timesteps: &Tensor,
        condition: &Tensor,
    ) -> Tensor {
        let levels = self.levels.index_select(0, timesteps);
        let [next, sample] = [next, sample].map(|numbers| lifted(numbers, self.frequencies));
        self.mlp
            .forward(&Tensor::cat(&[&next, &sample, condition, &levels], -1))
    }
}

/// Samples with their sinusoids `[B, E (1 + 2 F)]`, the slowest with a period of 4.
fn lifted(sample: &Tensor, frequencies: usize) -> Tensor {
    if frequencies == 0 {
        return sample.shallow_clone();
    }
    let waves = (0..frequencies as i32).flat_map(|octave| {
        let phase = sample * (2_f64.powi(octave) * std::f64::consts::FRAC_PI_2);
        [phase.sin(), phase.cos()]
    });
    let all: Vec<Tensor> = std::iter::once(sample.shallow_clone())
        .chain(waves)
        .collect();
    Tensor::cat(&all, -1)
}

fn lifted_size(size: i64, frequencies: usize) -> i64 {
    size * (1 + 2 * frequencies as i64)
}

/// Timesteps on the device `[B]`.
pub fn timestep_column(timesteps: &[i64], device: Device) -> Tensor {
    Tensor::from_slice(timesteps).to_device_(device, Kind::Int64, true, false)
}

/// Refuses schedules that the loops of this crate do not know: they take the posterior of a variance-preserving schedule over
/// whichever timesteps they visit.
pub(crate) fn check_schedule(schedule: &ScheduleConfig) -> Result<()> {
    let refuse = |key, found: &str, expected: &str| {
        Err(Error::Config {
            key,
            found: found.into(),
            expected: expected.into(),
        })
    };
    if schedule.beta_schedule == BetaSchedule::Flow {
        let expected =
            "linear, scaled_linear or squaredcos_cap_v2: motion models have no flow matching";
        return refuse("schedule.beta_schedule", "flow", expected);
    }
    if schedule.spacing != TimestepSpacing::default() {
        let expected =
            "trailing: motion models spread their steps from the first timestep to the last";
        return refuse("schedule.spacing", "leading", expected);
    }
    if schedule.step_beta != PosteriorBeta::default() {
        let expected = "own: motion models step by the schedule's posterior";
        return refuse("schedule.step_beta", "ratio", expected);
    }
    Ok(())
}

impl FrameConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        if !(8..=8192).contains(&self.width) {
            return refuse("width", self.width.to_string(), "8 to 8192");
        }
        if !(1..=32).contains(&self.layers) {
            return refuse("layers", self.layers.to_string(), "1 to 32");
        }
        if self.frequencies > 8 {
            return refuse("frequencies", self.frequencies.to_string(), "0 to 8");
        }
        if !(0..=512).contains(&self.latent) {
            return refuse("latent", self.latent.to_string(), "0 to 512");
        }
        check_schedule(&self.schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::EmbeddingConfig;
    use crate::emdm::{ClipConfig, EmdmConfig};

    #[test]
    fn schedules_that_are_only_half_used_are_refused_by_key() {
        let plain = ScheduleConfig::default();
        let refused = [
            (
                "schedule.beta_schedule",
                ScheduleConfig {
                    beta_schedule: BetaSchedule::Flow,
                    ..plain.clone()
                },
            ),
            (
                "schedule.spacing",
                ScheduleConfig {
                    spacing: TimestepSpacing::Leading,
                    ..plain.clone()
                },
            ),
            (
                "schedule.step_beta",
                ScheduleConfig {
                    step_beta: PosteriorBeta::Ratio,
                    ..plain.clone()
                },
            ),
        ];
        for (key, schedule) in refused {
            let frame = FrameConfig {
                width: 64,
                layers: 2,
                latent: 0,
                frequencies: 0,
                schedule: plain.clone(),
            };
            frame.check().unwrap();
            let frame = FrameConfig {
                schedule: schedule.clone(),
                ..frame
            };
            let message = frame.check().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
            let mut clips = EmdmConfig {
                embedding: EmbeddingConfig::default(),
                clips: ClipConfig::default(),
            };
            clips.check().unwrap();
            clips.clips.schedule = schedule;
            let message = clips.check().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}
