//! The feature space in which distributions of motion are compared.
//!
//! A denoising autoencoder over windows of a second: root motion, place of the hips and places of
//! all joints as the root sees them go through a narrow layer, and what passes there is the feature.
//! It is trained once, on the training clips alone, and committed, so that all models and the held
//! out clips are measured with the same rule.

use std::ops::Range;
use std::path::Path;

use kinestream_diffusion::Mlp;
use kinestream_diffusion::network::seeded;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::weights::{self, Precision};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::data::MotionSet;
use crate::features::Layout;
use crate::learner::OptimizerState;
use crate::training::config::OptimizerConfig;
use crate::training::{Losses, Stage, read_state, refuse};
use crate::{Error, Result, character};

/// File of the description in the extractor's folder.
const CONFIG_FILE: &str = "config.json";
/// File of the weights in an extractor's folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Version of the layout of the description.
const FORMAT: u32 = 1;

/// Configuration of an extractor, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractorConfig {
    /// Frames of a window.
    pub window: usize,
    /// Frames from the beginning of one window to that of the next.
    pub stride: usize,
    /// Width of the layers.
    pub width: i64,
    /// Numbers of a feature.
    pub features: i64,
    /// Deviation of the noise on the inputs in training, at unit size.
    pub noise: f64,
}

impl Default for ExtractorConfig {
    fn default() -> Self {
        Self {
            window: 30,
            stride: 10,
            width: 256,
            features: 32,
            noise: 0.1,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    extractor: ExtractorConfig,
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Turns windows of motion into features.
#[derive(Debug)]
pub struct Extractor {
    store: VarStore,
    encoder: Mlp,
    decoder: Mlp,
    config: ExtractorConfig,
    /// Of one frame's numbers.
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Columns of the features that a window sees.
pub(crate) fn columns(layout: Layout) -> Vec<i64> {
    let root: Range<usize> = Layout::ROOT..Layout::FEET;
    let joints = layout.positions()..layout.velocities();
    root.chain(joints).map(|column| column as i64).collect()
}

impl Extractor {
    fn new(
        config: &ExtractorConfig,
        mean: Vec<f32>,
        deviation: Vec<f32>,
        device: Device,
        seed: u64,
    ) -> Self {
        let inputs = (mean.len() * config.window) as i64;
        let store = VarStore::new(device);
        let (encoder, decoder) = seeded(seed, || {
            let root = store.root();
            (
                Mlp::new(
                    &(&root / "encoder"),
                    inputs,
                    config.features,
                    config.width,
                    2,
                ),
                Mlp::new(
                    &(&root / "decoder"),
                    config.features,
                    inputs,
                    config.width,
                    2,
                ),
            )
        });
        Self {
            store,
            encoder,
            decoder,
            config: config.clone(),
            mean,
            deviation,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &ExtractorConfig {
        &self.config
    }

    /// All windows of sequences of feature rows, at unit size `[W, window columns]`; none where no
    /// sequence is as long as a window.
    pub fn windows(
        &self,
        rows: &[f32],
        layout: Layout,
        sequences: &[Range<usize>],
    ) -> Option<Tensor> {
        let device = self.store.device();
        let rows = Tensor::from_slice(rows)
            .view([-1, layout.size() as i64])
            .to_device(device)
            .index_select(1, &Tensor::from_slice(&columns(layout)).to_device(device));
        let tensor = |list: &[f32]| Tensor::from_slice(list).to_device(device);
        let rows = (rows - tensor(&self.mean)) / tensor(&self.deviation);
        let window = self.config.window;
        let starts: Vec<usize> = sequences
            .iter()
            .flat_map(|rows| {
                let end = (rows.end + 1).saturating_sub(window).max(rows.start);
                (rows.start..end).step_by(self.config.stride)
            })
            .collect();
        if starts.is_empty() {
            return None;
        }
        let indices: Vec<i64> = starts
            .iter()
            .flat_map(|start| (*start..start + window).map(|row| row as i64))
            .collect();
        let count = starts.len() as i64;
        Some(
            rows.index_select(0, &Tensor::from_slice(&indices).to_device(device))
                .view([count, -1]),
        )
    }

    /// Features `[W, D]`, row by row, of windows as [`Self::windows`] gives them.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn features(&self, windows: &Tensor) -> Result<Vec<f64>> {
        let features = tch::no_grad(|| self.encoder.forward(windows));
        Ok(Vec::try_from(
            features.to_kind(Kind::Double).flatten(0, -1),
        )?)
    }

    /// Features `[W, D]` of a whole set.
    ///
    /// # Errors
    /// No sequence as long as a window, or LibTorch refused.
    pub fn features_of(&self, set: &MotionSet) -> Result<Vec<f64>> {
        let sequences: Vec<_> = set.sequences.iter().map(|one| one.rows.clone()).collect();
        let windows = self
            .windows(&set.rows, set.layout, &sequences)
            .ok_or_else(|| Error::Config {
                key: "extractor.window",
                found: self.config.window.to_string(),
                expected: "at most the length of the longest clip".into(),
            })?;
        self.features(&windows)
    }

    /// Writes the extractor's folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        weights::write(
            &folder.join(WEIGHTS_FILE),
            &weights::snapshot(&self.store, precision),
        )?;
        let description = Description {
            format: FORMAT,
            kind: "motion extractor".into(),
            extractor: self.config.clone(),
            mean: self.mean.clone(),
            deviation: self.deviation.clone(),
        };
        let path = folder.join(CONFIG_FILE);
        let text = serde_json::to_string(&description).map_err(|error| Error::Data {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        std::fs::write(&path, text + "\n").map_err(|error| Error::io(&path, error))
    }

    /// Reads an extractor's folder.
    ///
    /// # Errors
    /// Files that are missing or do not fit, by name.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let refuse = |reason: String| Error::Data {
            path: path.clone(),
            reason,
        };
        let found: Description =
            serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        let expected = columns(Layout::new(character::JOINTS)).len();
        if found.format != FORMAT
            || found.kind != "motion extractor"
            || found.mean.len() != expected
            || found.deviation.len() != expected
        {
            return Err(refuse(format!(
                "kind `{}`, format {}, {} columns found; this version reads kind `motion extractor`, \
                 format {FORMAT}, {expected} columns",
                found.kind,
                found.format,
                found.mean.len()
            )));
        }
        let mut extractor = Self::new(&found.extractor, found.mean, found.deviation, device, 0);
        weights::load(&folder.join(WEIGHTS_FILE), &extractor.store)?;
        extractor.store.freeze();
        Ok(extractor)
    }
}

/// Trains an extractor.
pub struct ExtractorStage {
    extractor: Extractor,
    learner: OptimizerState,
    descent: OptimizerConfig,
    windows: Tensor,
    seed: u64,
    step: u64,
}

impl ExtractorStage {
    /// Prepares the training on a set.
    ///
    /// # Errors
    /// No sequence as long as a window.
    pub fn new(
        config: &ExtractorConfig,
        descent: &OptimizerConfig,
        set: &MotionSet,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        let statistics = crate::embedding::Statistics::of(
            &Tensor::from_slice(&set.rows).view([-1, set.layout.size() as i64]),
            set.layout,
            1,
        )?;
        let chosen = columns(set.layout);
        let pick = |list: &[f32]| -> Vec<f32> {
            chosen.iter().map(|column| list[*column as usize]).collect()
        };
        // Every window counts, not only those of the stride.
        let training = ExtractorConfig {
            stride: 1,
            ..config.clone()
        };
        let (mean, deviation) = (pick(&statistics.mean), pick(&statistics.deviation));
        let mut extractor = Extractor::new(&training, mean, deviation, device, seed);
        let sequences: Vec<_> = set.sequences.iter().map(|one| one.rows.clone()).collect();
        let windows = extractor
            .windows(&set.rows, set.layout, &sequences)
            .ok_or_else(|| Error::Config {
                key: "extractor.window",
                found: config.window.to_string(),
                expected: "at most the length of the longest clip".into(),
            })?;
        extractor.config = config.clone();
        Ok(Self {
            learner: OptimizerState::new(
                &extractor.store,
                (0.9, 0.999),
                descent.weight_decay,
                descent.average,
            ),
            extractor,
            descent: descent.clone(),
            windows,
            seed,
            step: 0,
        })
    }

    /// The extractor with its averaged weights.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<Extractor> {
        self.learner.average_into(&self.extractor.store)?;
        self.extractor.store.freeze();
        Ok(self.extractor)
    }
}

impl Stage for ExtractorStage {
    fn name(&self) -> &'static str {
        "extractor"
    }

    fn steps(&self) -> u64 {
        self.descent.steps
    }

    fn done(&self) -> u64 {
        self.step
    }

    fn advance(&mut self) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed, self.step);
        let count = self.windows.size()[0] as usize;
        let chosen: Vec<i64> = (0..self.descent.batch)
            .map(|_| random.below(count) as i64)
            .collect();
        let device = self.windows.device();
        let clean = self
            .windows
            .index_select(0, &Tensor::from_slice(&chosen).to_device(device));
        let noise = Tensor::from_slice(&random.normals(clean.numel()))
            .view_as(&clean)
            .to_device(device);
        let noisy = &clean + noise * self.extractor.config.noise;
        let back = self
            .extractor
            .decoder
            .forward(&self.extractor.encoder.forward(&noisy));
        let loss = back.mse_loss(&clean, tch::Reduction::Mean);
        let losses = Losses::new(self.step, &loss)?;
        let rate = self.descent.rate(self.step);
        self.learner
            .descend(&loss, rate, self.descent.gradient_norm);
        self.step += 1;
        Ok(losses)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.learner.state("extractor")
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.learner
            .restore("extractor", &state)
            .map_err(|reason| refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

/// For tests, here and of what measures by an extractor.
#[doc(hidden)]
pub mod testing {
    use super::*;

    /// An extractor of four features that was never trained.
    pub fn untrained(device: Device) -> Extractor {
        let count = columns(Layout::new(character::JOINTS)).len();
        let config = ExtractorConfig {
            width: 16,
            features: 4,
            ..ExtractorConfig::default()
        };
        Extractor::new(&config, vec![0.0; count], vec![1.0; count], device, 1)
    }
}
