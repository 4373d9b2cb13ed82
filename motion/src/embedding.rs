//! The embedded space of AAMDM: a hand-made part x that steering can reach, and a learned part z
//! that carries the rest of the pose.
//!
//! An encoder turns the features of a frame into z; a decoder turns x and z into the rotations of
//! all joints, from which forward kinematics makes the pose. The latent is a variational one with a
//! small weight, and noise is added before decoding: a plain autoencoder reconstructs best and
//! generates worst (MotionStreamer's ablation). It moves smoothly from frame to frame, which is a
//! loss of its own: what jumps cannot be foreseen. Other losses are those of AAMDM (arXiv
//! 2401.06146): the pose, its forward kinematics, and their change from frame to frame.

use kinestream_diffusion::network::seeded;
use kinestream_diffusion::{Mlp, weights};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::features::Layout;
use crate::kinematics::{Kinematics, matrices};
use crate::{Error, Result, Skeleton};

/// Configuration of the embedding, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingConfig {
    /// Numbers of the learned part z, 1 to 512.
    pub latent: i64,
    /// Width of encoder and decoder.
    pub width: i64,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder, which runs for every frame.
    pub decoder_layers: usize,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        Self {
            latent: 42,
            width: 512,
            encoder_layers: 3,
            decoder_layers: 2,
        }
    }
}

/// Means and deviations that bring features, and the learned part, to unit size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Mean of every feature `[F]`.
    pub mean: Vec<f32>,
    /// Deviation of every feature `[F]`, above 0.
    pub deviation: Vec<f32>,
    /// Mean of the learned part `[Z]`.
    pub latent_mean: Vec<f32>,
    /// Deviation of the learned part `[Z]`, above 0.
    pub latent_deviation: Vec<f32>,
}

/// Share of its group's deviation that a feature's own is raised to: a joint that hardly moves must
/// not be blown up.
const SMALLEST_SHARE: f64 = 0.2;

impl Statistics {
    /// Measures rows of features `[N, F]`; the learned part counts as standard normal until
    /// [`Embedding::measure`].
    pub fn of(rows: &Tensor, layout: Layout, latent: i64) -> Result<Self> {
        let mean = rows.mean_dim([0].as_slice(), false, Kind::Float);
        let deviation = rows.std_dim([0].as_slice(), false, false);
        let mean = Vec::<f32>::try_from(mean)?;
        let mut deviation = Vec::<f32>::try_from(deviation)?;
        let mut bounds = vec![
            Layout::ROOT,
            Layout::ROOT + 2,
            Layout::HIPS,
            Layout::FEET,
            Layout::FEET_VELOCITY,
            Layout::CONTACTS,
            Layout::ROTATIONS,
        ];
        bounds.extend([layout.positions(), layout.velocities(), layout.size()]);
        for group in bounds.windows(2) {
            let group = &mut deviation[group[0]..group[1]];
            let count = group.len() as f64;
            let sum: f64 = group.iter().map(|value| f64::from(*value)).sum();
            let smallest = (SMALLEST_SHARE * sum / count).max(1e-3) as f32;
            group
                .iter_mut()
                .for_each(|value| *value = value.max(smallest));
        }
        Ok(Self {
            mean,
            deviation,
            latent_mean: vec![0.0; latent as usize],
            latent_deviation: vec![1.0; latent as usize],
        })
    }

    /// Checks lengths and ranges; `path` is the file that they came from.
    ///
    /// # Errors
    /// A list of the wrong length, or a number out of its range.
    pub fn check(&self, layout: Layout, latent: i64, path: &Path) -> Result<()> {
        let refuse = |key: &str, reason: String| {
            Err(Error::Data {
                path: path.to_path_buf(),
                reason: format!("statistics.{key}: {reason}"),
            })
        };
        let lists: [(&str, &[f32], usize, bool); 4] = [
            ("mean", &self.mean, layout.size(), false),
            ("deviation", &self.deviation, layout.size(), true),
            ("latent_mean", &self.latent_mean, latent as usize, false),
            (
                "latent_deviation",
                &self.latent_deviation,
                latent as usize,
                true,
            ),
        ];
        for (key, list, expected, positive) in lists {
            if list.len() != expected {
                let found = list.len();
                return refuse(key, format!("{found} numbers found, {expected} expected"));
            }
            let fits = |x: &&f32| x.is_finite() && (!positive || **x > 0.0);
            if let Some(wrong) = list.iter().find(|x| !fits(x)) {
                return refuse(key, format!("{wrong} is out of range"));
            }
        }
        Ok(())
    }
}

/// Encoder, decoder and their statistics.
#[derive(Debug)]
pub struct Embedding {
    store: VarStore,
    encoder: Mlp,
    decoder: Mlp,
    config: EmbeddingConfig,
    layout: Layout,
    statistics: Statistics,
    scales: Scales,
    kinematics: Kinematics,
}

#[derive(Debug)]
struct Scales {
    mean: Tensor,
    deviation: Tensor,
    latent_mean: Tensor,
    latent_deviation: Tensor,
}

impl Scales {
    fn new(statistics: &Statistics, device: Device) -> Self {
        let tensor = |list: &[f32]| Tensor::from_slice(list).to_device(device);
        Self {
            mean: tensor(&statistics.mean),
            deviation: tensor(&statistics.deviation),
            latent_mean: tensor(&statistics.latent_mean),
            latent_deviation: tensor(&statistics.latent_deviation),
        }
    }
}

/// Deviations and means around the decoder, on the host.
#[derive(Debug)]
pub(crate) struct DecoderScales {
    /// Of the hand-made part.
    pub(crate) hand_made: [Vec<f32>; 2],
    /// Of the learned part.
    pub(crate) latent: [Vec<f32>; 2],
    /// Of the rotations as six numbers.
    pub(crate) rotations: [Vec<f32>; 2],
}

/// What the decoder makes of embedded frames.
#[derive(Debug)]
pub struct Decoded {
    /// Rotations as six numbers, not yet orthonormal `[N, J, 6]`.
    pub six: Tensor,
    /// Places of all joints as the root sees them, metres `[N, J, 3]`.
    pub positions: Tensor,
}

impl Embedding {
    /// Fresh parameters, which depend on `seed` alone.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &EmbeddingConfig,
        skeleton: &Skeleton,
        statistics: Statistics,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let layout = Layout::new(skeleton.len());
        let store = VarStore::new(device);
        let (encoder, decoder) = seeded(seed, || {
            let root = store.root();
            let inputs = layout.size() as i64;
            let rotations = 6 * layout.joints() as i64;
            let encoder = Mlp::new(
                &(&root / "encoder"),
                inputs,
                2 * config.latent,
                config.width,
                config.encoder_layers,
            );
            let decoder = Mlp::new(
                &(&root / "decoder"),
                Layout::HAND_MADE as i64 + config.latent,
                rotations,
                config.width,
                config.decoder_layers,
            );
            (encoder, decoder)
        });
        Ok(Self {
            scales: Scales::new(&statistics, device),
            kinematics: Kinematics::new(skeleton, device),
            store,
            encoder,
            decoder,
            config: config.clone(),
            layout,
            statistics,
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

    /// The configuration.
    pub fn config(&self) -> &EmbeddingConfig {
        &self.config
    }

    /// The statistics.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The decoder: from the hand-made part at unit size and the learned part as the encoder gave it to
    /// rotations at unit size.
    pub(crate) fn decoder(&self) -> &Mlp {
        &self.decoder
    }

    /// What [`Self::hand_made`] and [`Self::decode_rotations`] multiply by and add.
    pub(crate) fn decoder_scales(&self) -> DecoderScales {
        let Statistics {
            mean,
            deviation,
            latent_mean,
            latent_deviation,
        } = &self.statistics;
        let of = |from: usize, count: usize| {
            [deviation, mean].map(|list| list[from..from + count].to_vec())
        };
        DecoderScales {
            hand_made: of(0, Layout::HAND_MADE),
            latent: [latent_deviation.clone(), latent_mean.clone()],
            rotations: of(Layout::ROTATIONS, 6 * self.layout.joints()),
        }
    }

    /// Where the numbers of a row of features stand.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Numbers of an embedded frame E: the hand-made part and the learned one.
    pub fn size(&self) -> i64 {
        Layout::HAND_MADE as i64 + self.config.latent
    }

    /// Features `[N, F]` brought to unit size.
    pub fn normalise(&self, rows: &Tensor) -> Tensor {
        (rows - &self.scales.mean) / &self.scales.deviation
    }

    /// The hand-made part of embedded frames `[N, E]` in its own units `[N, 22]`.
    pub fn hand_made(&self, embedded: &Tensor) -> Tensor {
        let count = Layout::HAND_MADE as i64;
        embedded.narrow(-1, 0, count) * self.scales.deviation.narrow(0, 0, count)
            + self.scales.mean.narrow(0, 0, count)
    }

    /// Mean and logarithm of the variance of the learned part, both `[N, Z]`, for normalised
    /// features.
    pub fn posterior(&self, normalised: &Tensor) -> (Tensor, Tensor) {
        let both = self.encoder.forward(normalised);
        let latent = self.config.latent;
        (
            both.narrow(-1, 0, latent),
            both.narrow(-1, latent, latent).clamp(-12.0, 4.0),
        )
    }

    /// Embeds features `[N, F]`: `[N, E]`, every number of about unit size.
    pub fn encode(&self, rows: &Tensor) -> Tensor {
        let normalised = self.normalise(rows);
        let (mean, _) = self.posterior(&normalised);
        let learned = (mean - &self.scales.latent_mean) / &self.scales.latent_deviation;
        let hand_made = normalised.narrow(-1, 0, Layout::HAND_MADE as i64);
        Tensor::cat(&[hand_made, learned], -1)
    }

    /// Rotations as six numbers `[N, J, 6]` from the hand-made part at unit size and the learned
    /// part as the encoder gave it.
    pub fn rotations(&self, hand_made: &Tensor, learned: &Tensor) -> Tensor {
        let joints = self.layout.joints() as i64;
        let (start, count) = (Layout::ROTATIONS as i64, 6 * joints);
        let output = self
            .decoder
            .forward(&Tensor::cat(&[hand_made, learned], -1));
        let numbers = output * self.scales.deviation.narrow(0, start, count)
            + self.scales.mean.narrow(0, start, count);
        numbers.view([-1, joints, 6])
    }

    /// Rotations as six numbers `[N, J, 6]` of embedded frames `[N, E]`.
    pub fn decode_rotations(&self, embedded: &Tensor) -> Tensor {
        let hand_made = Layout::HAND_MADE as i64;
        let learned = embedded.narrow(-1, hand_made, self.config.latent)
            * &self.scales.latent_deviation
            + &self.scales.latent_mean;
        self.rotations(&embedded.narrow(-1, 0, hand_made), &learned)
    }

    /// Places of all joints as the root sees them `[N, J, 3]`.
    pub fn positions(&self, six: &Tensor, hips: &Tensor) -> Tensor {
        self.kinematics.positions(&matrices(six), hips)
    }

    /// Decodes embedded frames `[N, E]`.
    pub fn decode(&self, embedded: &Tensor) -> Decoded {
        let six = self.decode_rotations(embedded);
        let hips = self.hand_made(embedded).narrow(-1, Layout::HIPS as i64, 3);
        Decoded {
            positions: self.positions(&six, &hips),
            six,
        }
    }

    /// Measures the learned part over rows of features, so that it has unit size afterwards.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn measure(&mut self, rows: &Tensor) -> Result<()> {
        let (mean, _) = tch::no_grad(|| self.posterior(&self.normalise(rows)));
        let deviation = mean.std_dim([0].as_slice(), false, false).clamp_min(1e-3);
        self.statistics.latent_mean =
            Vec::try_from(mean.mean_dim([0].as_slice(), false, Kind::Float))?;
        self.statistics.latent_deviation = Vec::try_from(deviation)?;
        self.scales = Scales::new(&self.statistics, self.store.device());
        Ok(())
    }

    /// Fills the parameters from a file.
    ///
    /// # Errors
    /// A file that does not fit.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        Ok(weights::load(path, &self.store)?)
    }
}

impl EmbeddingConfig {
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
        if !(1..=512).contains(&self.latent) {
            return refuse("embedding.latent", self.latent.to_string(), "1 to 512");
        }
        if !(8..=8192).contains(&self.width) {
            return refuse("embedding.width", self.width.to_string(), "8 to 8192");
        }
        for (key, layers) in [
            ("embedding.encoder_layers", self.encoder_layers),
            ("embedding.decoder_layers", self.decoder_layers),
        ] {
            if !(1..=16).contains(&layers) {
                return refuse(key, layers.to_string(), "1 to 16");
            }
        }
        Ok(())
    }
}
