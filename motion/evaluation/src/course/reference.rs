//! What a judgement needs of the motion capture, so that models are judged where it is not at hand:
//! features of the held-out clips, figures of the ground truth, and what it carries of the course.
//! No pose of the capture is in it.

use std::path::Path;

use kinestream_diffusion::weights;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::BOOTSTRAP;
use super::legs::{Nearest, nearest};
use super::quality::Quality;
use kinestream_motion::course::course;
use kinestream_motion::data::{Dataset, MotionSet, Sequence};
use kinestream_motion::extractor::Extractor;
use kinestream_motion::metrics::{
    Bootstrap, Estimate, Features, Frechet, FrechetConfig, Pairs, diversity, frechet,
};
use kinestream_motion::{Error, Result};

const NUMBERS_FILE: &str = "reference.safetensors";
const FIGURES_FILE: &str = "reference.json";
const FORMAT: u32 = 1;

/// Features of a set, and the clip of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    values: DMatrix<f64>,
    clips: Vec<usize>,
}

/// What a judgement needs of the motion capture.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The held-out clips.
    pub held_out: Sample,
    /// The rest.
    pub figures: ReferenceFigures,
}

/// Figures of the ground truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFigures {
    format: u32,
    /// SHA-256 of the extractor's weights that made the features.
    pub extractor: String,
    /// Names of the held-out clips; an m at the end is a mirror image.
    pub clips: Vec<String>,
    /// The training clips against the held-out clips.
    pub train: Frechet,
    /// Diversity of the held-out clips.
    pub diversity: Estimate,
    /// The held-out clips as they were captured.
    pub truth: Quality,
    /// The clips that come nearest to each leg of the course, in its order.
    pub nearest: Vec<Nearest>,
}

impl Reference {
    /// Takes it from the data.
    ///
    /// # Errors
    /// Sets that are too small to be compared, or LibTorch refused.
    pub fn of(extractor: &Extractor, fingerprint: &str, data: &Dataset) -> Result<Self> {
        let held_out = Sample::of(extractor, &data.held_out)?;
        let train = Sample::of(extractor, &data.train.captured())?;
        Ok(Self {
            figures: ReferenceFigures {
                format: FORMAT,
                extractor: fingerprint.to_owned(),
                clips: data
                    .held_out
                    .sequences
                    .iter()
                    .map(Sequence::title)
                    .collect(),
                train: train.distance(&held_out)?,
                diversity: held_out.diversity()?,
                truth: Quality::of(data.held_out.sequences.iter().map(|one| &one.clip))?,
                nearest: nearest(&course()?, &[&data.train, &data.held_out])?,
            },
            held_out,
        })
    }

    /// Writes it to the folder of its extractor.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let (rows, columns) = self.held_out.values.shape();
        let numbers: Vec<f32> = self
            .held_out
            .values
            .transpose()
            .iter()
            .map(|number| *number as f32)
            .collect();
        let clips: Vec<i64> = self
            .held_out
            .clips
            .iter()
            .map(|clip| *clip as i64)
            .collect();
        weights::write(
            &folder.join(NUMBERS_FILE),
            &[
                (
                    "features".into(),
                    Tensor::from_slice(&numbers).view([rows as i64, columns as i64]),
                ),
                ("clips".into(), Tensor::from_slice(&clips)),
            ],
        )?;
        let path = folder.join(FIGURES_FILE);
        let text = serde_json::to_string(&self.figures).map_err(|error| Error::Data {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        std::fs::write(&path, text + "\n").map_err(|error| Error::io(&path, error))
    }

    /// Reads it from the folder of an extractor whose weights have this SHA-256.
    ///
    /// # Errors
    /// Files that are missing, broken, or of another extractor.
    pub fn load(folder: &Path, fingerprint: &str) -> Result<Self> {
        let path = folder.join(FIGURES_FILE);
        let refuse = |path: &Path, reason: String| Error::Data {
            path: path.to_path_buf(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
        let figures: ReferenceFigures =
            serde_json::from_str(&text).map_err(|error| refuse(&path, error.to_string()))?;
        if figures.format != FORMAT {
            let found = figures.format;
            return Err(refuse(
                &path,
                format!("format {found}, this version reads {FORMAT}"),
            ));
        }
        if figures.extractor != fingerprint {
            return Err(refuse(
                &path,
                format!(
                    "it belongs to the extractor with SHA-256 {}, the one here has {fingerprint}; \
                     write it again with --write-reference",
                    figures.extractor
                ),
            ));
        }
        let path = folder.join(NUMBERS_FILE);
        let tensors = weights::read(&path)?;
        let find = |name: &str| {
            let found = tensors.iter().find(|(found, _)| found == name);
            found
                .map(|(_, tensor)| tensor.shallow_clone())
                .ok_or_else(|| refuse(&path, format!("no tensor `{name}`")))
        };
        let (features, clips) = (find("features")?, find("clips")?);
        let size = features.size();
        let numbers: Vec<f64> = Vec::try_from(features.to_kind(Kind::Double).flatten(0, -1))?;
        let clips: Vec<i64> = Vec::try_from(clips)?;
        let named = figures.clips.len() as i64;
        if size.len() != 2
            || size[0] as usize != clips.len()
            || clips.iter().any(|clip| !(0..named).contains(clip))
        {
            return Err(refuse(
                &path,
                format!(
                    "features {size:?} of {} clips, expected [N, D] and N of the {named} clips named",
                    clips.len()
                ),
            ));
        }
        Ok(Self {
            held_out: Sample {
                values: DMatrix::from_row_slice(clips.len(), size[1] as usize, &numbers),
                clips: clips.iter().map(|clip| *clip as usize).collect(),
            },
            figures,
        })
    }
}

impl Sample {
    /// Features `[N, D]`, and the clip that each is from.
    pub fn new(values: DMatrix<f64>, clips: Vec<usize>) -> Self {
        Self { values, clips }
    }

    /// Features of all windows of a set.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn of(extractor: &Extractor, set: &MotionSet) -> Result<Self> {
        let (mut numbers, mut clips) = (Vec::new(), Vec::new());
        let width = extractor.config().features as usize;
        for (clip, sequence) in set.sequences.iter().enumerate() {
            let rows = [sequence.rows.clone()];
            let Some(windows) = extractor.windows(&set.rows, set.layout, &rows) else {
                continue;
            };
            let found = extractor.features(&windows)?;
            clips.extend(std::iter::repeat_n(clip, found.len() / width));
            numbers.extend(found);
        }
        Ok(Self {
            values: DMatrix::from_row_slice(clips.len(), width, &numbers),
            clips,
        })
    }

    /// The features, and the clip of each.
    pub fn features(&self) -> Features<'_> {
        Features {
            values: &self.values,
            clips: Some(&self.clips),
        }
    }

    /// Fréchet distance to another sample, with its interval by clip.
    ///
    /// # Errors
    /// Too few features.
    pub fn distance(&self, other: &Self) -> Result<Frechet> {
        let config = FrechetConfig {
            shrinkage: 0.0,
            bootstrap: BOOTSTRAP,
        };
        Ok(frechet(&self.features(), &other.features(), &config)?)
    }

    /// Diversity over all pairs, with its interval by clip.
    ///
    /// # Errors
    /// Too few features.
    pub fn diversity(&self) -> Result<Estimate> {
        let bootstrap: Bootstrap = BOOTSTRAP;
        Ok(diversity(&self.features(), Pairs::All, &bootstrap)?)
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{UnitQuaternion, Vector3};

    use super::*;
    use kinestream_motion::extractor::{ExtractorConfig, ExtractorStage};
    use kinestream_motion::training::Stage;
    use kinestream_motion::training::config::OptimizerConfig;
    use kinestream_motion::{Clip, Pose, character};

    /// Characters that walk on and swing one arm, each at its own pace.
    fn set(paces: std::ops::Range<usize>) -> MotionSet {
        let skeleton = character::skeleton();
        MotionSet::of(paces.map(|pace| {
            let frames = (0..120).map(|frame| {
                let time = f64::from(frame) / 30.0;
                let mut pose = Pose {
                    root: skeleton.joints()[0].offset,
                    rotations: vec![UnitQuaternion::identity(); skeleton.len()],
                };
                pose.root += Vector3::z() * (0.3 * pace as f64 * time);
                let swing = 0.3 * (time * (1.0 + pace as f64)).sin();
                pose.rotations[5] = UnitQuaternion::from_scaled_axis(Vector3::x() * swing);
                pose
            });
            let clip = Clip {
                skeleton: skeleton.clone(),
                frame_rate: 30.0,
                frames: frames.collect(),
            };
            (pace.to_string(), clip)
        }))
        .unwrap()
    }

    #[test]
    fn it_comes_back_from_its_files_to_the_last_digit_and_knows_its_extractor() {
        let data = Dataset {
            train: set(1..6),
            held_out: set(6..10),
        };
        let config = ExtractorConfig {
            width: 16,
            features: 4,
            ..ExtractorConfig::default()
        };
        let descent = OptimizerConfig {
            steps: 5,
            batch: 8,
            ..OptimizerConfig::default()
        };
        let device = tch::Device::Cpu;
        let mut stage = ExtractorStage::new(&config, &descent, &data.train, device, 1).unwrap();
        for _ in 0..5 {
            stage.advance().unwrap();
        }
        let extractor = stage.finish().unwrap();
        let reference = Reference::of(&extractor, "abc", &data).unwrap();
        assert!(reference.figures.train.distance.value > 0.0);
        assert_eq!(reference.figures.nearest[0].leg, "stand");
        assert!(reference.figures.nearest[0].clip.is_some());
        let folder = tempfile::tempdir().unwrap();
        reference.save(folder.path()).unwrap();
        assert!(Reference::load(folder.path(), "abc").unwrap() == reference);
        let refused = Reference::load(folder.path(), "abd")
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--write-reference"), "{refused}");
        let path = folder.path().join(FIGURES_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        let refused = Reference::load(folder.path(), "abc")
            .unwrap_err()
            .to_string();
        assert!(refused.contains(FIGURES_FILE), "{refused}");
    }
}
