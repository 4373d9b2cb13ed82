//! Training of policies from demonstrations.
//!
//! Every optimiser step draws its windows, noise levels and noise from a stream of its own (seed,
//! step), and the whole state is written in one file that replaces the last one atomically. So a
//! run that was killed at any moment and resumed ends with the same bits as one that was not, on
//! the same machine and device.

mod encoder;
mod kept;
mod levels;
mod run;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kinestream_diffusion::network::Dimensions;
use kinestream_diffusion::network::vision::VisionEncoder;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::optimiser::{AdamW, cosine_with_warmup, unflatten};
use kinestream_diffusion::sampler::timestep_tensor;
use kinestream_diffusion::{Denoiser, Network, NoiseSchedule, Sampler, weights};
use tch::{Device, Tensor};

pub use encoder::{ENCODER_STATE_FILE, EncoderTrainer, Examples, TrainedVision};
pub use levels::LevelSampler;

use self::kept::STEP_FOLDER;
use self::run::{Run, State};
use crate::checkpoint::Normalisers;
use crate::config::{PolicyConfig, TrainingConfig};
use crate::data::{Episodes, Symmetry, Windows};
use crate::observer::{self, Piece};
use crate::{Checkpoint, Error, Normaliser, Result};

/// File of the training state in the output folder.
pub const STATE_FILE: &str = "training.safetensors";

/// What a training run tells its shell after every step.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Loss of the step.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Whether a checkpoint was just written.
    pub saved: bool,
}

/// A training run.
pub struct Trainer {
    policy: PolicyConfig,
    training: TrainingConfig,
    device: Device,
    network: Network,
    optimiser: AdamW,
    average: Tensor,
    sampler: Sampler,
    levels: LevelSampler,
    windows: Windows,
    data: DeviceData,
    dimensions: Dimensions,
    normalisers: Normalisers,
    vision: Option<VisionEncoder>,
    out: PathBuf,
    step: u64,
}

struct DeviceData {
    observations: Tensor,
    actions: Tensor,
    /// Normalised observations and actions of the mirrored world.
    mirrored: Option<(Tensor, Tensor)>,
}

impl Trainer {
    /// Prepares a run; `symmetry` is used where the configuration asks for mirroring. Where images
    /// are observed, `vision` has been trained before ([`EncoderTrainer`]).
    ///
    /// # Errors
    /// A configuration value out of its range, or a data set that is too small.
    pub fn new(
        policy: &PolicyConfig,
        training: &TrainingConfig,
        episodes: &Episodes,
        vision: Option<TrainedVision>,
        symmetry: Option<&Symmetry>,
        device: Device,
        out: &Path,
    ) -> Result<Self> {
        policy.check()?;
        training.check()?;
        let plan = &policy.plan;
        plan.check_guidance(episodes.action_size)?;
        let dimensions = policy.dimensions(episodes.observation_size, episodes.action_size);
        let network = Network::new(&policy.network, dimensions, device, training.seed)?;
        let (chosen, _) = episodes.split(training.validation, training.max_episodes, training.seed);
        let windows = Windows::new(
            episodes,
            &chosen,
            plan.horizon,
            plan.observation_steps,
            plan.alignment,
            training.pad_after.unwrap_or(plan.action_steps - 1),
        );
        if windows.is_empty() {
            return Err(Error::Config {
                key: "training.max_episodes",
                found: format!("{} episodes without a single window", chosen.len()),
                expected: "episodes longer than plan.horizon".into(),
            });
        }
        let mirror = match (training.mirror, symmetry) {
            (false, _) => None,
            (true, Some(symmetry)) => Some((
                symmetry.observation.apply(&episodes.observations),
                symmetry.action.apply(&episodes.actions),
            )),
            (true, None) => {
                return Err(Error::Config {
                    key: "training.mirror",
                    found: "true".into(),
                    expected: format!("false: task `{}` has no known symmetry", policy.task.name),
                });
            }
        };
        let mut normalisers = fit(episodes, mirror.as_ref());
        let (encoder, features, mirrored_features) = match vision {
            Some(vision) => {
                normalisers.images = vision.normalisers;
                (Some(vision.encoder), vision.features, vision.mirrored)
            }
            None => (None, Vec::new(), None),
        };
        if policy.cameras().count() != features.len() {
            return Err(Error::Config {
                key: "training.vision",
                found: format!("{} trained encoders", features.len()),
                expected: format!("{}, one for every image observed", policy.cameras().count()),
            });
        }
        let tensors = |observations: &[f32], actions: &[f32], features: &[Tensor]| {
            let shaped = |values: &[f32], size: usize, normaliser: &Normaliser| {
                let tensor = Tensor::from_slice(values)
                    .view([-1, size as i64])
                    .to_device(device);
                normaliser.normalise_tensor(&tensor)
            };
            let numbers = shaped(
                observations,
                episodes.observation_size,
                &normalisers.observation,
            );
            (
                condition_rows(policy, &numbers, features),
                shaped(actions, episodes.action_size, &normalisers.action),
            )
        };
        let (observations, actions) = tensors(&episodes.observations, &episodes.actions, &features);
        let data = DeviceData {
            observations,
            actions,
            mirrored: mirror.map(|(observations, actions)| {
                let features = mirrored_features.unwrap_or_default();
                tensors(&observations, &actions, &features)
            }),
        };
        let schedule = NoiseSchedule::new(&policy.schedule)?;
        // Every position is trained at every level; a committed prefix concerns only running.
        let mut layout = plan.clone();
        layout.commit_ahead = 0;
        if let Some(steps) = training.noise_action_steps {
            let most = plan.horizon - plan.past();
            if !(1..=most).contains(&steps) {
                return Err(Error::Config {
                    key: "training.noise_action_steps",
                    found: steps.to_string(),
                    expected: format!("1 to {most}"),
                });
            }
            (layout.action_steps, layout.levels) = (steps, None);
        }
        let sampler = Sampler::new(policy.sampler.clone(), schedule)?;
        let optimiser = AdamW::new(
            network.store(),
            (training.beta1, training.beta2),
            training.weight_decay,
        );
        std::fs::create_dir_all(out).map_err(Error::io(out))?;
        Ok(Self {
            average: optimiser.parameters.copy(),
            levels: LevelSampler::new(&training.noise, &layout, &sampler)?,
            sampler,
            policy: policy.clone(),
            training: training.clone(),
            device,
            network,
            optimiser,
            windows,
            data,
            dimensions,
            normalisers,
            vision: encoder,
            out: out.to_path_buf(),
            step: 0,
        })
    }

    /// Number of parameters of the network.
    pub fn parameters(&self) -> usize {
        self.network.parameters()
    }

    /// Number of training windows.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Steps done so far.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Trains until the configured number of steps, telling `watch` after every step. `watch` may
    /// end the run early; the state is saved then, and at the end.
    ///
    /// # Errors
    /// A loss that is not finite, or a checkpoint that cannot be written.
    pub fn run(
        &mut self,
        watch: impl FnMut(&Self, Progress) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if self.step >= self.training.last_step() {
            // Nothing left to train: the weights are written again, in the configured format.
            return self.save();
        }
        run::run(self, watch)
    }

    /// The averaged weights as a checkpoint that a policy can run.
    ///
    /// # Errors
    /// LibTorch could not copy the weights.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let network = Network::new(
            &self.policy.network,
            self.dimensions,
            self.device,
            self.training.seed,
        )?;
        unflatten(&self.average, network.store())?;
        let vision = self.vision.as_ref().map(VisionEncoder::frozen_copy);
        let checkpoint = Checkpoint::new(&self.policy, &self.normalisers, network);
        Ok(checkpoint.with_vision(vision.transpose()?))
    }

    /// Continues from the state in the output folder.
    ///
    /// # Errors
    /// No state there, or one of another network or seed.
    pub fn resume(&mut self) -> Result<()> {
        let path = self.out.join(STATE_FILE);
        if !path.exists() {
            let reason = "no training state to resume; leave --resume out to begin".into();
            return Err(Error::Resume { path, reason });
        }
        let state = State::read(path, self.training.seed)?;
        state.restore_optimiser("", &mut self.optimiser)?;
        state.restore("average", &mut self.average)?;
        self.step = state.step()?;
        Ok(())
    }
}

impl Run for Trainer {
    fn step(&self) -> u64 {
        self.step
    }

    fn last_step(&self) -> u64 {
        self.training.last_step()
    }

    fn checkpoint_every(&self) -> u64 {
        self.training.checkpoint_every
    }

    fn learning_rate(&self) -> f64 {
        cosine_with_warmup(
            self.step,
            self.training.steps,
            self.training.warmup_steps,
            self.training.learning_rate,
        )
    }

    fn descend(&mut self, loss: &Tensor, learning_rate: f64) {
        self.optimiser.zero_gradients();
        loss.backward();
        self.optimiser
            .step(self.step, learning_rate, self.training.gradient_norm);
        tch::no_grad(|| {
            self.training
                .ema
                .update(&mut self.average, &self.optimiser.parameters, self.step);
        });
        self.step += 1;
    }

    /// Writes the training state and the averaged weights.
    fn save(&self) -> Result<()> {
        let mut state = vec![("average".to_owned(), self.average.copy())];
        state.extend(self.optimiser.state(""));
        state.extend(run::counted(self.training.seed, self.step));
        weights::write(&self.out.join(STATE_FILE), &state)?;
        let checkpoint = self.checkpoint()?;
        checkpoint.save(&self.out, self.training.export)?;
        let kept = self.training.keep_checkpoints;
        if kept > 0 {
            let own = self.out.join(format!("{STEP_FOLDER}{}", self.step));
            checkpoint.save(&own, self.training.export)?;
            kept::prune(&self.out, kept)?;
        }
        Ok(())
    }

    fn loss(&self) -> Tensor {
        let mut random = NoiseStream::with_stream(self.training.seed, self.step);
        let (batch, horizon) = (self.training.batch, self.policy.plan.horizon);
        let history = self.policy.plan.observation_steps;
        let mut observed = Vec::with_capacity(batch * history);
        let mut acted = Vec::with_capacity(batch * horizon);
        let mut timesteps = Vec::with_capacity(batch * horizon);
        let mut mirror = Vec::with_capacity(batch);
        for _ in 0..batch {
            let window = self.windows.get(random.below(self.windows.len()));
            observed.extend(window.observations.iter().map(|row| *row as i64));
            acted.extend(window.actions.iter().map(|row| *row as i64));
            self.levels.draw(&mut random, &mut timesteps);
            mirror.push(random.below(2) == 1);
        }
        let noise = random.normals(acted.len() * self.dimensions.action as usize);
        let shape = [batch as i64, horizon as i64, self.dimensions.action];
        let gather = |plain: &Tensor, mirrored: Option<&Tensor>, rows: &[i64], shape: &[i64]| {
            let rows = Tensor::from_slice(rows).to_device(self.device);
            let plain = plain.index_select(0, &rows).view_(shape);
            let Some(mirrored) = mirrored else {
                return plain;
            };
            let mut broadcast = vec![1; shape.len()];
            broadcast[0] = shape[0];
            let mask = Tensor::from_slice(&mirror)
                .to_device(self.device)
                .view_(broadcast);
            mirrored
                .index_select(0, &rows)
                .view_(shape)
                .where_self(&mask, &plain)
        };
        let mirrored = self.data.mirrored.as_ref();
        let condition = gather(
            &self.data.observations,
            mirrored.map(|(observations, _)| observations),
            &observed,
            &[batch as i64, self.dimensions.condition],
        );
        let clean = gather(
            &self.data.actions,
            mirrored.map(|(_, actions)| actions),
            &acted,
            &shape,
        );
        let noise = Tensor::from_slice(&noise)
            .view_(shape)
            .to_device(self.device);
        let sample = self.sampler.add_noise(&clean, &noise, &timesteps);
        let target = self.sampler.target(&clean, &noise, &timesteps);
        let levels = timestep_tensor(&timesteps, horizon as i64, self.device);
        let output = self.network.evaluate(&sample, &levels, &condition);
        output.mse_loss(&target, tch::Reduction::Mean)
    }
}

/// Rows of the condition, [rows, F + Do], in the order of `task.observation`.
fn condition_rows(policy: &PolicyConfig, numbers: &Tensor, features: &[Tensor]) -> Tensor {
    let count = numbers.size()[1] as usize;
    let pieces = observer::layout(policy, count).into_iter();
    let parts: Vec<Tensor> = pieces
        .map(|piece| match piece {
            Piece::Numbers(range) => numbers.narrow(1, range.start as i64, range.len() as i64),
            Piece::Camera(camera) => features[camera].shallow_clone(),
        })
        .collect();
    Tensor::cat(&parts, 1)
}

fn fit(episodes: &Episodes, mirror: Option<&(Vec<f32>, Vec<f32>)>) -> Normalisers {
    let rows = |plain: &[f32], mirrored: Option<&Vec<f32>>, size: usize| {
        let more = mirrored.map(Vec::as_slice).unwrap_or_default();
        Normaliser::fit(
            plain.chunks_exact(size).chain(more.chunks_exact(size)),
            size,
        )
    };
    Normalisers {
        observation: rows(
            &episodes.observations,
            mirror.map(|(observations, _)| observations),
            episodes.observation_size,
        ),
        action: rows(
            &episodes.actions,
            mirror.map(|(_, actions)| actions),
            episodes.action_size,
        ),
        images: Vec::new(),
    }
}
