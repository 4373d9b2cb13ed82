//! Training of image encoders, before the denoiser that is conditioned on them.
//!
//! Demonstrations often hold numbers that a picture shows and that a robot will not have: the places
//! of objects. The encoders learn to tell these targets from pictures, through a linear head that is
//! left behind. Then they stay as they are, every picture of the demonstrations is encoded once, and
//! the denoiser is trained on features at the price of one that observes numbers.
//!
//! As in [`super::Trainer`], a step depends on (seed, step) alone, so a run that was killed and
//! resumed ends with the same bits.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kinestream_diffusion::network::seeded;
use kinestream_diffusion::network::vision::VisionEncoder;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::optimiser::{AdamW, cosine_with_warmup};
use kinestream_diffusion::weights;
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};

use super::Progress;
use super::run::{self, Run, State};
use crate::config::{ImageSize, PolicyConfig, TrainingConfig, VisionTraining};
use crate::data::{Episodes, PictureMirror, Symmetry};
use crate::image::planes;
use crate::{Error, Normaliser, Result};

/// File of the encoders' training state in the output folder.
pub const ENCODER_STATE_FILE: &str = "encoder.training.safetensors";

/// Pictures of a camera that are encoded at a time.
const ENCODED_AT_ONCE: usize = 256;
/// Held-out pictures that the error is measured on.
const JUDGED: usize = 512;

/// Examples for image encoders: pictures, one of each camera a row, and what they show.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    /// For every camera red, green and blue, 0 to 255: [rows, H, W, 3].
    pub pictures: Vec<Vec<u8>>,
    /// Targets, row by row.
    pub targets: Vec<f32>,
}

/// Trained encoders, and what they make of the pictures of the demonstrations.
pub struct TrainedVision {
    /// The encoders, frozen.
    pub(super) encoder: VisionEncoder,
    /// From 0 to 1 to what the encoders take, for every camera.
    pub(super) normalisers: Vec<Normaliser>,
    /// For every camera [rows, F].
    pub(super) features: Vec<Tensor>,
    /// The same of the mirrored pictures.
    pub(super) mirrored: Option<Vec<Tensor>>,
}

/// A training run of image encoders.
pub struct EncoderTrainer {
    seed: u64,
    training: VisionTraining,
    checkpoint_every: u64,
    device: Device,
    encoder: VisionEncoder,
    head: nn::Linear,
    _head_store: VarStore,
    /// With what the names of their vectors begin with.
    optimisers: [(&'static str, AdamW); 2],
    /// For every camera [rows, H, W, 3], bytes: the demonstrations' and then the others.
    pictures: Vec<Tensor>,
    /// Normalised, [rows, T].
    targets: Tensor,
    mirrored_targets: Option<Tensor>,
    mirror: Option<PictureMirror>,
    target_normaliser: Normaliser,
    /// Rows of the demonstrations.
    rows: i64,
    trained_on: Vec<i64>,
    held_out: Vec<i64>,
    out: PathBuf,
    step: u64,
}

impl EncoderTrainer {
    /// Prepares a run on the pictures of `episodes`, whose `targets` are given row by row, and on
    /// `more` examples. `symmetry` is used where the configuration asks for mirroring.
    ///
    /// # Errors
    /// No images or no `training.vision` in the configuration, a value out of its range, or targets
    /// that do not fit.
    pub fn new(
        policy: &PolicyConfig,
        training: &TrainingConfig,
        (episodes, targets): (&Episodes, &[f32]),
        more: Examples,
        symmetry: Option<&Symmetry>,
        device: Device,
        out: &Path,
    ) -> Result<Self> {
        policy.check()?;
        training.check()?;
        let (Some(config), Some(vision)) = (&policy.vision, &training.vision) else {
            return Err(Error::Config {
                key: "training.vision",
                found: "absent".into(),
                expected: "what image encoders are trained on, since images are observed".into(),
            });
        };
        let square = |(_, size): (_, ImageSize)| size.height == size.width;
        if training.mirror && !policy.cameras().all(square) {
            return Err(Error::Config {
                key: "training.mirror",
                found: "true".into(),
                expected: "false: a mirror needs square pictures".into(),
            });
        }
        let encoder = VisionEncoder::new(config, policy.cameras().count(), device, training.seed);
        let rows = episodes.ends.last().copied().unwrap_or(0);
        let size = targets.len() / rows.max(1);
        let misfit = |beside: usize| Error::Config {
            key: "training.vision.targets",
            found: format!("{rows} rows, and {beside} beside the demonstrations"),
            expected: "one row for every picture, and at least one to train on".into(),
        };
        if size == 0 || targets.len() != rows * size {
            return Err(misfit(0));
        }
        let features = (policy.cameras().count() * config.features()) as i64;
        let head_store = VarStore::new(device);
        let head = seeded(training.seed, || {
            nn::linear(
                head_store.root(),
                features,
                size as i64,
                nn::LinearConfig::default(),
            )
        });
        let mirror = match symmetry {
            Some(symmetry) if training.mirror => Some(symmetry),
            _ => None,
        };
        let all: Vec<f32> = [targets, &more.targets].concat();
        let mirrored = mirror.map(|symmetry| symmetry.targets.apply(&all));
        let known = all.chunks_exact(size);
        let mirrored_rows = mirrored.as_deref().unwrap_or_default().chunks_exact(size);
        let target_normaliser = Normaliser::fit(known.chain(mirrored_rows), size);
        let normalised = |rows: &[f32]| {
            let rows = Tensor::from_slice(rows).view([-1, size as i64]);
            target_normaliser.normalise_tensor(&rows).to_device(device)
        };
        let beside = more.targets.len() / size;
        let mut pictures = Vec::new();
        for (camera, seen) in episodes.pictures.iter().enumerate() {
            let shape = [-1, seen.size.height as i64, seen.size.width as i64, 3];
            let mut parts = vec![Tensor::from_slice(&seen.bytes).view(shape)];
            if let Some(bytes) = more.pictures.get(camera) {
                parts.push(Tensor::from_slice(bytes).view(shape));
            }
            pictures.push(Tensor::cat(&parts, 0));
        }
        let (chosen, held_out) =
            episodes.split(training.validation, training.max_episodes, training.seed);
        let of = |chosen: &[usize]| -> Vec<i64> {
            let bounds = chosen.iter().map(|episode| episodes.bounds(*episode));
            bounds
                .flat_map(|(first, end)| first as i64..end as i64)
                .collect()
        };
        let mut trained_on = of(&chosen);
        trained_on.extend(rows as i64..(rows + beside) as i64);
        let complete = |all: &Tensor| all.size()[0] == (rows + beside) as i64;
        if trained_on.is_empty() || !pictures.iter().all(complete) {
            return Err(misfit(beside));
        }
        let optimiser =
            |store: &VarStore| AdamW::new(store, (0.9, training.beta2), training.weight_decay);
        std::fs::create_dir_all(out).map_err(Error::io(out))?;
        Ok(Self {
            seed: training.seed,
            training: vision.clone(),
            checkpoint_every: training.checkpoint_every,
            device,
            optimisers: [
                ("encoder.", optimiser(encoder.store())),
                ("head.", optimiser(&head_store)),
            ],
            encoder,
            head,
            _head_store: head_store,
            pictures,
            targets: normalised(&all),
            mirrored_targets: mirrored.as_deref().map(normalised),
            mirror: mirror.map(|symmetry| symmetry.pictures),
            target_normaliser,
            rows: rows as i64,
            trained_on,
            held_out: of(&held_out),
            out: out.to_path_buf(),
            step: 0,
        })
    }

    /// Number of parameters of the encoders.
    pub fn parameters(&self) -> usize {
        self.encoder.parameters()
    }

    /// Number of pictures of every camera that are trained on.
    pub fn examples(&self) -> usize {
        self.trained_on.len()
    }

    /// Steps done so far.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.training.steps
    }

    /// Trains until the configured number of steps, telling `watch` after every step. `watch` may
    /// end the run early; the state is saved then, and at the end.
    ///
    /// # Errors
    /// A loss that is not finite, or a state that cannot be written.
    pub fn run(
        &mut self,
        watch: impl FnMut(&Self, Progress) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        run::run(self, watch)
    }

    /// Root of the mean squared error over held-out demonstrations, in the targets' units; none
    /// where no demonstration is held out.
    pub fn held_out_error(&self) -> Option<f64> {
        let apart = self.held_out.len().div_ceil(JUDGED).max(1);
        let rows: Vec<i64> = self.held_out.iter().copied().step_by(apart).collect();
        if rows.is_empty() {
            return None;
        }
        let _guard = tch::no_grad_guard();
        let rows = Tensor::from_slice(&rows);
        let told = self.head_of(&self.pixels(&rows, None));
        let scale = Tensor::from_slice(&self.target_normaliser.scale).to_device(self.device);
        let wrong = (told - self.targets.index_select(0, &rows.to_device(self.device))) / scale;
        f64::try_from(wrong.square().mean(Kind::Double).sqrt()).ok()
    }

    /// The encoders, and the features of every picture of the demonstrations.
    ///
    /// # Errors
    /// LibTorch could not copy the weights.
    pub fn finish(self) -> Result<TrainedVision> {
        let _guard = tch::no_grad_guard();
        let all = |mirrored: bool| {
            let mut features: Vec<Vec<Tensor>> = self.pictures.iter().map(|_| Vec::new()).collect();
            for first in (0..self.rows).step_by(ENCODED_AT_ONCE) {
                let end = self.rows.min(first + ENCODED_AT_ONCE as i64);
                let rows: Vec<i64> = (first..end).collect();
                let mask = Tensor::from_slice(&vec![mirrored; rows.len()]).to_device(self.device);
                let pixels = self.pixels(&Tensor::from_slice(&rows), Some(&mask));
                for (camera, pixels) in pixels.iter().enumerate() {
                    features[camera].push(self.encoder.encode(camera, pixels));
                }
            }
            features.iter().map(|parts| Tensor::cat(parts, 0)).collect()
        };
        Ok(TrainedVision {
            features: all(false),
            mirrored: self.mirror.map(|_| all(true)),
            normalisers: vec![normaliser(); self.pictures.len()],
            encoder: self.encoder.frozen_copy()?,
        })
    }

    /// Continues from the state in the output folder, if there is one.
    ///
    /// # Errors
    /// A state of another network or seed.
    pub fn resume(&mut self) -> Result<()> {
        let path = self.out.join(ENCODER_STATE_FILE);
        if !path.exists() {
            return Ok(());
        }
        let state = State::read(path, self.seed)?;
        for (part, optimiser) in &mut self.optimisers {
            state.restore_optimiser(part, optimiser)?;
        }
        self.step = state.step()?;
        Ok(())
    }

    /// Normalised pictures [B, 3, H, W] of every camera, those of `mask` mirrored.
    fn pixels(&self, rows: &Tensor, mask: Option<&Tensor>) -> Vec<Tensor> {
        let one = |all: &Tensor| {
            let plain = planes(&all.index_select(0, rows).to_device(self.device));
            let seen = match (self.mirror, mask) {
                (Some(mirror), Some(mask)) => {
                    reflect(&plain, mirror).where_self(&mask.view([-1, 1, 1, 1]), &plain)
                }
                _ => plain,
            };
            normaliser().normalise_channels(&seen)
        };
        self.pictures.iter().map(one).collect()
    }

    /// What the head tells of pictures, [B, T], normalised.
    fn head_of(&self, pixels: &[Tensor]) -> Tensor {
        let cameras = pixels.iter().enumerate();
        let features: Vec<Tensor> = cameras
            .map(|(camera, pixels)| self.encoder.encode(camera, pixels))
            .collect();
        Tensor::cat(&features, 1).apply(&self.head)
    }
}

impl Run for EncoderTrainer {
    fn step(&self) -> u64 {
        self.step
    }

    fn last_step(&self) -> u64 {
        self.training.steps
    }

    fn checkpoint_every(&self) -> u64 {
        self.checkpoint_every
    }

    fn learning_rate(&self) -> f64 {
        let VisionTraining {
            steps,
            warmup_steps,
            learning_rate,
            ..
        } = self.training;
        cosine_with_warmup(self.step, steps, warmup_steps, learning_rate)
    }

    fn descend(&mut self, loss: &Tensor, learning_rate: f64) {
        for (_, optimiser) in &mut self.optimisers {
            optimiser.zero_gradients();
        }
        loss.backward();
        for (_, optimiser) in &mut self.optimisers {
            optimiser.step(self.step, learning_rate, 1.0);
        }
        self.step += 1;
    }

    fn save(&self) -> Result<()> {
        let mut state = Vec::from(run::counted(self.seed, self.step));
        for (part, optimiser) in &self.optimisers {
            state.extend(optimiser.state(part));
        }
        Ok(weights::write(&self.out.join(ENCODER_STATE_FILE), &state)?)
    }

    fn loss(&self) -> Tensor {
        // Streams of the denoiser's steps begin at 0.
        let mut random = NoiseStream::with_stream(self.seed, u64::MAX / 2 + self.step);
        let mut rows = Vec::with_capacity(self.training.batch);
        let mut mask = Vec::with_capacity(self.training.batch);
        for _ in 0..self.training.batch {
            rows.push(self.trained_on[random.below(self.trained_on.len())]);
            mask.push(random.below(2) == 1);
        }
        let rows = Tensor::from_slice(&rows);
        let mask = Tensor::from_slice(&mask).to_device(self.device);
        let told = self.head_of(&self.pixels(&rows, Some(&mask)));
        let on_device = rows.to_device(self.device);
        let plain = self.targets.index_select(0, &on_device);
        let wanted = match &self.mirrored_targets {
            Some(mirrored) => {
                let mirrored = mirrored.index_select(0, &on_device);
                mirrored.where_self(&mask.unsqueeze(1), &plain)
            }
            None => plain,
        };
        told.mse_loss(&wanted, tch::Reduction::Mean)
    }
}

/// Brightnesses 0 to 1 go to -1 to 1.
fn normaliser() -> Normaliser {
    Normaliser {
        scale: vec![2.0; 3],
        offset: vec![-1.0; 3],
        ..Normaliser::identity(3)
    }
}

/// Square pictures [B, 3, H, W] in a mirror.
fn reflect(pixels: &Tensor, mirror: PictureMirror) -> Tensor {
    let mut seen = match mirror.transpose {
        true => pixels.transpose(2, 3),
        false => pixels.shallow_clone(),
    };
    for (axis, flip) in [(2, mirror.flip_rows), (3, mirror.flip_columns)] {
        if flip {
            seen = seen.flip([axis]);
        }
    }
    seen
}
