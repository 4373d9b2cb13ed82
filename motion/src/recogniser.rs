//! Which label a clip shows, told by a network that is trained apart from every generator.
//!
//! As in the evaluation of EMDM and its forerunners (Guo et al., "Action2Motion", 2020), a classifier
//! of real clips judges made ones: how many of them show what was asked for, and, in the space of its
//! last hidden layer, how their distribution differs from that of real ones. It is trained on the
//! training clips alone, and committed, so that all models are judged by the same rule.

use std::path::Path;

use kinestream_diffusion::network::seeded;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::weights::{self, Precision};
use serde::{Deserialize, Serialize};
use tch::nn::{self, Module, VarStore};
use tch::{Device, Kind, Tensor};

use crate::data::MotionSet;
use crate::embedding::Statistics;
use crate::emdm::Labels;
use crate::emdm::pieces::{Piece, Pieces};
use crate::extractor::{WEIGHTS_FILE, columns};
use crate::features::Layout;
use crate::learner::OptimizerState;
use crate::training::config::OptimizerConfig;
use crate::training::{Losses, Stage, read_state, refuse};
use crate::{Error, Result, character};

/// File of the description in a recogniser's folder.
const CONFIG_FILE: &str = "config.json";
/// Version of the layout of the description.
const FORMAT: u32 = 1;
/// What kind of folder it is.
const KIND: &str = "motion recogniser";
/// Frames that a piece is a multiple of; what is left over is not seen.
const PATCH: usize = 4;

/// Configuration of a recogniser, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecogniserConfig {
    /// Channels of the convolutions.
    pub width: i64,
    /// Convolutions, each of which halves the frames.
    pub layers: usize,
    /// Numbers of a feature.
    pub features: i64,
    /// Frames of the longest clip.
    pub longest: usize,
    /// Deviation of the noise on the inputs in training, at unit size.
    pub noise: f64,
}

impl Default for RecogniserConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 3,
            features: 32,
            longest: 196,
            noise: 0.2,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    recogniser: RecogniserConfig,
    labels: Vec<String>,
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Tells labels of clips.
#[derive(Debug)]
pub struct MotionClassifier {
    store: VarStore,
    layers: Vec<nn::Conv1D>,
    feature: nn::Linear,
    answer: nn::Linear,
    config: RecogniserConfig,
    labels: Vec<String>,
    /// Of one frame's numbers.
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// What a recogniser makes of clips.
#[derive(Debug)]
pub struct Recognised {
    /// Features `[N, D]`, row by row.
    pub features: Vec<f64>,
    /// The label of each, by its number.
    pub labels: Vec<usize>,
}

impl MotionClassifier {
    fn new(
        config: &RecogniserConfig,
        labels: Vec<String>,
        (mean, deviation): (Vec<f32>, Vec<f32>),
        device: Device,
        seed: u64,
    ) -> Self {
        let (inputs, count) = (mean.len() as i64, labels.len() as i64);
        seeded(seed, move || {
            let store = VarStore::new(device);
            let root = store.root();
            let convolution = nn::ConvConfig {
                padding: 2,
                stride: 2,
                ..nn::ConvConfig::default()
            };
            let layers = (0..config.layers)
                .map(|layer| {
                    let inputs = if layer == 0 { inputs } else { config.width };
                    nn::conv1d(
                        &root / "layers" / layer,
                        inputs,
                        config.width,
                        5,
                        convolution,
                    )
                })
                .collect();
            let linear = |name: &str, inputs, outputs| {
                nn::linear(&root / name, inputs, outputs, nn::LinearConfig::default())
            };
            Self {
                layers,
                feature: linear("feature", config.width, config.features),
                answer: linear("answer", config.features, count),
                config: config.clone(),
                labels,
                mean,
                deviation,
                store,
            }
        })
    }

    /// Names of the labels by their numbers.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Numbers of a feature D.
    pub fn size(&self) -> usize {
        self.config.features as usize
    }

    /// Rows of features `[N, F]` as this network sees them `[N, C]`.
    fn seen(&self, rows: &[f32], layout: Layout) -> Tensor {
        let device = self.store.device();
        let tensor = |list: &[f32]| Tensor::from_slice(list).to_device(device);
        let rows = tensor(rows)
            .view([-1, layout.size() as i64])
            .index_select(1, &Tensor::from_slice(&columns(layout)).to_device(device));
        (rows - tensor(&self.mean)) / tensor(&self.deviation)
    }

    /// Features and logits of clips `[B, L, C]`, zeros behind their ends, of `lengths` frames.
    fn forward(&self, clips: &Tensor, lengths: &[usize]) -> (Tensor, Tensor) {
        let mut state = clips.transpose(1, 2);
        let mut lengths = lengths.to_vec();
        let mut within = Tensor::new();
        for layer in &self.layers {
            state = layer.forward(&state).silu();
            lengths
                .iter_mut()
                .for_each(|length| *length = length.div_ceil(2));
            within = mask(&lengths, state.size()[2], state.device());
            state *= &within;
        }
        let count = within.sum_dim_intlist([2].as_slice(), false, Kind::Float);
        let mean = state.sum_dim_intlist([2].as_slice(), false, Kind::Float) / count;
        let features = self.feature.forward(&mean).tanh();
        let logits = self.answer.forward(&features);
        (features, logits)
    }

    /// What the clips of a set show.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn recognise(&self, set: &MotionSet) -> Result<Recognised> {
        let _guard = tch::no_grad_guard();
        let rows = self.seen(&set.rows, set.layout);
        let mut found = Recognised {
            features: Vec::new(),
            labels: Vec::new(),
        };
        for one in &set.sequences {
            let count = one.rows.len().min(self.config.longest);
            let clip = rows
                .narrow(0, one.rows.start as i64, count as i64)
                .unsqueeze(0);
            let (features, logits) = self.forward(&clip, &[count]);
            let features = features.to_kind(Kind::Double).flatten(0, -1);
            found.features.extend(Vec::<f64>::try_from(features)?);
            found
                .labels
                .push(i64::try_from(logits.argmax(1, false).squeeze())? as usize);
        }
        Ok(found)
    }

    /// Writes the recogniser's folder.
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
            kind: KIND.into(),
            recogniser: self.config.clone(),
            labels: self.labels.clone(),
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

    /// Reads a recogniser's folder.
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
            || found.kind != KIND
            || found.mean.len() != expected
            || found.deviation.len() != expected
        {
            return Err(refuse(format!(
                "kind `{}`, format {}, {} columns found; this version reads kind `{KIND}`, format \
                 {FORMAT}, {expected} columns",
                found.kind,
                found.format,
                found.mean.len()
            )));
        }
        let scales = (found.mean, found.deviation);
        let mut recogniser = Self::new(&found.recogniser, found.labels, scales, device, 0);
        weights::load(&folder.join(WEIGHTS_FILE), &recogniser.store)?;
        recogniser.store.freeze();
        Ok(recogniser)
    }
}

/// 1 within clips, 0 behind their ends `[B, 1, L]`.
fn mask(lengths: &[usize], most: i64, device: Device) -> Tensor {
    let numbers: Vec<f32> = lengths
        .iter()
        .flat_map(|length| (0..most).map(|frame| f32::from(u8::from(frame < *length as i64))))
        .collect();
    Tensor::from_slice(&numbers)
        .view([-1, 1, most])
        .to_device(device)
}

/// Trains a recogniser.
pub struct RecogniserStage {
    recogniser: MotionClassifier,
    learner: OptimizerState,
    descent: OptimizerConfig,
    pieces: Pieces,
    seed: u64,
    step: u64,
}

impl RecogniserStage {
    /// Prepares the training on a labelled set.
    ///
    /// # Errors
    /// A sequence without a label.
    pub fn new(
        config: &RecogniserConfig,
        descent: &OptimizerConfig,
        (set, labels): (&MotionSet, &Labels),
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        let rows = Tensor::from_slice(&set.rows).view([-1, set.layout.size() as i64]);
        let statistics = Statistics::of(&rows, set.layout, 1)?;
        let chosen = columns(set.layout);
        let pick = |list: &[f32]| -> Vec<f32> {
            chosen.iter().map(|column| list[*column as usize]).collect()
        };
        let scales = (pick(&statistics.mean), pick(&statistics.deviation));
        let names = labels.names().map(str::to_owned).collect();
        let recogniser = MotionClassifier::new(config, names, scales, device, seed);
        let seen = recogniser.seen(&set.rows, set.layout);
        Ok(Self {
            pieces: Pieces::new(seen, set, labels, (PATCH, config.longest))?,
            learner: OptimizerState::new(
                &recogniser.store,
                (0.9, 0.99),
                descent.weight_decay,
                descent.average,
            ),
            recogniser,
            descent: descent.clone(),
            seed,
            step: 0,
        })
    }

    /// The recogniser with its averaged weights.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn finish(mut self) -> Result<MotionClassifier> {
        self.learner.average_into(&self.recogniser.store)?;
        self.recogniser.store.freeze();
        Ok(self.recogniser)
    }
}

impl Stage for RecogniserStage {
    fn name(&self) -> &'static str {
        "recogniser"
    }

    fn steps(&self) -> u64 {
        self.descent.steps
    }

    fn done(&self) -> u64 {
        self.step
    }

    fn advance(&mut self) -> Result<Losses> {
        let mut random = NoiseStream::with_stream(self.seed ^ 0x7265_636f, self.step);
        let pieces: Vec<Piece> = self.pieces.draw(self.descent.batch, &mut random);
        let clips = self.pieces.frames(&pieces);
        let noise = Tensor::from_slice(&random.normals(clips.numel()))
            .view_as(&clips)
            .to_device(clips.device());
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.rows.len()).collect();
        let within = mask(&lengths, clips.size()[1], clips.device()).transpose(1, 2);
        let noisy = (clips + noise * self.recogniser.config.noise) * within;
        let (_, logits) = self.recogniser.forward(&noisy, &lengths);
        let labels: Vec<i64> = pieces.iter().map(|piece| piece.label as i64).collect();
        let labels = Tensor::from_slice(&labels).to_device(logits.device());
        let loss = logits.cross_entropy_for_logits(&labels);
        let mut losses = Losses::new(self.step, &loss)?;
        losses.push("accuracy", &logits.accuracy_for_logits(&labels))?;
        let rate = self.descent.rate(self.step);
        self.learner
            .descend(&loss, rate, self.descent.gradient_norm);
        self.step += 1;
        Ok(losses)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.learner.state("recogniser")
    }

    fn restore(&mut self, path: &Path) -> Result<()> {
        let (step, state) = read_state(path, self.seed)?;
        self.learner
            .restore("recogniser", &state)
            .map_err(|reason| refuse(path, reason))?;
        self.step = step;
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emdm::testing;

    #[test]
    fn two_motions_are_told_apart_and_by_the_saved_one_too() {
        let (set, labels) = (testing::set(), testing::labels());
        let config = RecogniserConfig {
            width: 16,
            layers: 2,
            features: 4,
            longest: 40,
            noise: 0.01,
        };
        let descent = OptimizerConfig {
            steps: 80,
            batch: 8,
            learning_rate: 1e-2,
            warmup_steps: 5,
            average: 0.9,
            ..OptimizerConfig::default()
        };
        let data = (&set, &labels);
        let mut stage = RecogniserStage::new(&config, &descent, data, Device::Cpu, 1).unwrap();
        while stage.done() < stage.steps() {
            stage.advance().unwrap();
        }
        let recogniser = stage.finish().unwrap();
        let found = recogniser.recognise(&set).unwrap();
        assert_eq!(found.labels, [0, 1]);
        assert_eq!(found.features.len(), 2 * recogniser.size());
        let folder = tempfile::tempdir().unwrap();
        recogniser.save(folder.path(), Precision::Fp32).unwrap();
        let again = MotionClassifier::load(folder.path(), Device::Cpu).unwrap();
        assert_eq!(again.recognise(&set).unwrap().features, found.features);
        assert_eq!(again.labels(), ["walk", "kick"]);
        std::fs::write(folder.path().join(CONFIG_FILE), "{}").unwrap();
        assert!(MotionClassifier::load(folder.path(), Device::Cpu).is_err());
    }
}
