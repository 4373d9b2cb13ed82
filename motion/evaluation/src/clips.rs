//! How good made clips are, by the measures of EMDM's paper: Fréchet distance, accuracy, diversity
//! and multimodality in the space of a recogniser, each over repeated runs, beside what real clips
//! that were held out reach; and how feet slide and joints jerk against theirs.
//!
//! A run draws pieces of the held-out clips, makes clips of the same labels and lengths, and measures
//! both alike. All distances are to one larger draw of held-out pieces, the reference.

use std::time::{Duration, Instant};

use kinestream_diffusion::noise::NoiseStream;
use nalgebra::DMatrix;
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::course::{Quality, Ratio, jerk_ratio, locked, sliding_ratio};
use kinestream_motion::data::{Dataset, FRAME_RATE, MotionSet};
use kinestream_motion::emdm::Conditions;
use kinestream_motion::emdm::pieces::{Piece, Pieces};
use kinestream_motion::emdm::{Emdm, Guidance, Labels};
use kinestream_motion::metrics::statistics::{Bootstrap, Features};
use kinestream_motion::metrics::{FrechetConfig, Pairs, diversity, frechet, multimodality};
use kinestream_motion::placing::DecodedFrames;
use kinestream_motion::recogniser::MotionClassifier;
use kinestream_motion::synthesis::Take;
use kinestream_motion::trajectory::Root;
use kinestream_motion::{Clip, Result};

/// Pieces of the reference.
const REFERENCE: usize = 400;
/// Clips made in one batch.
const BATCH: usize = 25;
/// No interval of a single measure: they come of the runs.
const PLAIN: Bootstrap = Bootstrap {
    resamples: 0,
    seed: 0,
};

/// How clips are judged.
#[derive(Debug, Clone, Serialize)]
pub struct JudgingOptions {
    /// Runs; 20 in the papers.
    pub runs: usize,
    /// Clips of a run.
    pub clips: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Denoise steps; 0 for all.
    pub steps: usize,
    /// Weight of the label.
    pub guidance: f64,
    /// Denoise steps at which it counts so, the first ones; 0 for all.
    pub guided_steps: usize,
}

impl Default for JudgingOptions {
    fn default() -> Self {
        Self {
            runs: 20,
            clips: 100,
            seed: 0,
            steps: 0,
            guidance: 1.0,
            guided_steps: 0,
        }
    }
}

/// A measure over runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Repeated {
    /// Mean.
    pub value: f64,
    /// 95 %: 1.96 standard errors to either side, as the papers give it.
    pub interval: [f64; 2],
    /// Runs.
    pub runs: usize,
}

impl Repeated {
    fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let error = (squares.sum::<f64>() / (count - 1.0).max(1.0) / count).sqrt();
        Self {
            value: mean,
            interval: [mean - 1.96 * error, mean + 1.96 * error],
            runs: values.len(),
        }
    }
}

/// Measures in the space of the recogniser.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Fréchet distance to the reference.
    pub fid: Repeated,
    /// Share of the clips whose label the recogniser tells.
    pub accuracy: Repeated,
    /// Mean distance of two clips.
    pub diversity: Repeated,
    /// Mean distance of two clips of one label.
    pub multimodality: Repeated,
}

/// What a model's clips are like.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Measures of its clips.
    pub made: Measured,
    /// Foot sliding against held-out clips of like speed, as the model makes them.
    pub sliding: Ratio,
    /// The same after the foot lock.
    pub sliding_locked: Ratio,
    /// Jerk likewise, as the model makes them.
    pub jerk: Ratio,
    /// And after the foot lock.
    pub jerk_locked: Ratio,
    /// Clips made in all, and frames of them.
    pub clips: usize,
    /// See above.
    pub frames: usize,
    /// Wall-clock seconds of the denoise steps.
    pub seconds: f64,
}

/// What clips are judged by.
#[derive(Debug)]
pub struct ClipEvaluator {
    recogniser: MotionClassifier,
    held_out: MotionSet,
    pieces: Pieces,
    train: MotionSet,
    train_pieces: Pieces,
    reference: DMatrix<f64>,
    quality: Quality,
}

/// Features and labels of one draw.
struct Draw {
    features: DMatrix<f64>,
    asked: Vec<usize>,
    told: Vec<usize>,
}

impl ClipEvaluator {
    /// Prepares the held-out clips of a data set.
    ///
    /// # Errors
    /// A clip without a label, or LibTorch refused.
    pub fn new(
        recogniser: MotionClassifier,
        data: &Dataset,
        labels: &Labels,
        longest: usize,
    ) -> Result<Self> {
        let blank =
            |set: &MotionSet| Tensor::zeros([set.len() as i64, 1], (Kind::Float, tch::Device::Cpu));
        let size = (4, longest);
        let captured = data.train.captured();
        let pieces = Pieces::new(blank(&data.held_out), &data.held_out, labels, size)?;
        let train_pieces = Pieces::new(blank(&captured), &captured, labels, size)?;
        let mut judge = Self {
            quality: Quality::of(data.held_out.sequences.iter().map(|one| &one.clip))?,
            held_out: data.held_out.clone(),
            train: captured,
            pieces,
            train_pieces,
            reference: DMatrix::zeros(0, 0),
            recogniser,
        };
        let mut random = NoiseStream::with_stream(0, u64::MAX);
        let drawn = judge.pieces.some(REFERENCE, &mut random);
        judge.reference = judge.real(&judge.held_out, &drawn)?.features;
        Ok(judge)
    }

    /// Labels that are judged on: those of held-out clips.
    pub fn labels(&self) -> Vec<usize> {
        self.pieces.labels()
    }

    /// What held-out clips themselves reach, and what those reach that models are trained on.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn truth(&self, options: &JudgingOptions) -> Result<[Measured; 2]> {
        let (mut own, mut trained) = (Vec::new(), Vec::new());
        for run in 0..options.runs {
            let mut random = NoiseStream::with_stream(options.seed, run as u64);
            let drawn = self.pieces.some(options.clips, &mut random);
            own.push(self.real(&self.held_out, &drawn)?);
            // The same labels, of training clips.
            let drawn: Vec<Piece> = drawn
                .iter()
                .map(|piece| self.train_pieces.of(piece.label, &mut random))
                .collect();
            trained.push(self.real(&self.train, &drawn)?);
        }
        Ok([self.measured(&own)?, self.measured(&trained)?])
    }

    /// Judges a model. `watch` hears of every run done.
    ///
    /// # Errors
    /// LibTorch refused, or a clip that is not finite.
    pub fn judge(
        &self,
        model: &Emdm,
        options: &JudgingOptions,
        mut watch: impl FnMut(usize),
    ) -> Result<Judged> {
        let (mut draws, mut raw, mut fixed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut frames, mut took) = (0, Duration::ZERO);
        for run in 0..options.runs {
            let mut random = NoiseStream::with_stream(options.seed, run as u64);
            let drawn = self.pieces.some(options.clips, &mut random);
            let (takes, seconds) = make(model, &drawn, options, run)?;
            took += seconds;
            frames += takes.iter().map(|take| take.poses.len()).sum::<usize>();
            let clips: Vec<Clip> = takes.iter().map(Take::clip).collect();
            let lock = takes.iter().map(locked).collect::<Result<Vec<Clip>>>()?;
            raw.push(Quality::of(&clips)?);
            fixed.push(Quality::of(&lock)?);
            let asked = drawn.iter().map(|piece| piece.label).collect();
            draws.push(self.draw(clips, asked)?);
            watch(run + 1);
        }
        Ok(Judged {
            made: self.measured(&draws)?,
            sliding: sliding_ratio(&raw, &self.quality),
            sliding_locked: sliding_ratio(&fixed, &self.quality),
            jerk: jerk_ratio(&raw, &self.quality),
            jerk_locked: jerk_ratio(&fixed, &self.quality),
            clips: options.runs * options.clips,
            frames,
            seconds: took.as_secs_f64(),
        })
    }

    fn real(&self, set: &MotionSet, pieces: &[Piece]) -> Result<Draw> {
        let clips = pieces.iter().map(|piece| cut(set, piece)).collect();
        self.draw(clips, pieces.iter().map(|piece| piece.label).collect())
    }

    fn draw(&self, clips: Vec<Clip>, asked: Vec<usize>) -> Result<Draw> {
        let set = MotionSet::of(clips.into_iter().map(|clip| (String::new(), clip)))?;
        let found = self.recogniser.recognise(&set)?;
        let size = self.recogniser.size();
        Ok(Draw {
            features: DMatrix::from_row_slice(asked.len(), size, &found.features),
            told: found.labels,
            asked,
        })
    }

    fn measured(&self, draws: &[Draw]) -> Result<Measured> {
        let reference = Features::independent(&self.reference);
        let config = FrechetConfig {
            shrinkage: 0.0,
            bootstrap: PLAIN,
        };
        let each = |measure: &dyn Fn(&Draw) -> Result<f64>| -> Result<Repeated> {
            let values = draws.iter().map(measure).collect::<Result<Vec<f64>>>()?;
            Ok(Repeated::of(&values))
        };
        Ok(Measured {
            fid: each(&|draw| {
                let own = Features::independent(&draw.features);
                Ok(frechet(&own, &reference, &config)?.distance.value)
            })?,
            accuracy: each(&|draw| {
                let pairs = draw.asked.iter().zip(&draw.told);
                let right = pairs.filter(|(asked, told)| asked == told).count();
                Ok(right as f64 / draw.asked.len().max(1) as f64)
            })?,
            diversity: each(&|draw| {
                let own = Features::independent(&draw.features);
                Ok(diversity(&own, Pairs::All, &PLAIN)?.value)
            })?,
            multimodality: each(&|draw| {
                let (values, labels) = of_several(draw);
                Ok(multimodality(&values, &labels, Pairs::All, &PLAIN)?.value)
            })?,
        })
    }
}

/// The rows whose label comes more than once.
fn of_several(draw: &Draw) -> (DMatrix<f64>, Vec<usize>) {
    let count = |label: usize| draw.asked.iter().filter(|one| **one == label).count();
    let rows: Vec<usize> = (0..draw.asked.len())
        .filter(|row| count(draw.asked[*row]) > 1)
        .collect();
    let labels = rows.iter().map(|row| draw.asked[*row]).collect();
    (draw.features.select_rows(&rows), labels)
}

/// A piece as a clip.
fn cut(set: &MotionSet, piece: &Piece) -> Clip {
    let holds = |rows: &std::ops::Range<usize>| rows.contains(&piece.rows.start);
    let whole = set.sequences.iter().find(|one| holds(&one.rows));
    let frames = whole.map_or(&[][..], |one| {
        // The first row describes the second frame.
        let first = piece.rows.start - one.rows.start + 1;
        &one.clip.frames[first..first + piece.rows.len()]
    });
    Clip {
        skeleton: kinestream_motion::character::skeleton(),
        frame_rate: FRAME_RATE,
        frames: frames.to_vec(),
    }
}

/// Clips of the labels and lengths of pieces, and how long the denoise steps took.
fn make(
    model: &Emdm,
    pieces: &[Piece],
    options: &JudgingOptions,
    run: usize,
) -> Result<(Vec<Take>, Duration)> {
    let patch = model.config().clips.patch;
    let guidance = Guidance {
        label: options.guidance,
        steps: options.guided_steps,
        ..Guidance::default()
    };
    // Together what is of like length, so that little is computed behind ends.
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|one| pieces[*one].rows.len());
    let mut takes = vec![Take::default(); pieces.len()];
    let mut took = Duration::ZERO;
    for batch in order.chunks(BATCH) {
        let lengths: Vec<usize> = batch
            .iter()
            .map(|one| pieces[*one].rows.len() / patch)
            .collect();
        let labels: Vec<i64> = batch.iter().map(|one| pieces[*one].label as i64).collect();
        let seeds: Vec<u64> = batch
            .iter()
            .map(|one| options.seed ^ ((run as u64) << 32 | *one as u64))
            .collect();
        let (count, size) = (model.labels().len(), model.embedding.size());
        let conditions = Conditions::new(&lengths, count, size, model.device()).labelled(&labels);
        let begun = Instant::now();
        let frames = model.sample(conditions, guidance, &seeds, options.steps);
        took += begun.elapsed();
        let most = frames.size()[1] as usize;
        let told = DecodedFrames::of(&model.embedding, &frames.flatten(0, 1))?;
        for (row, (one, length)) in batch.iter().zip(&lengths).enumerate() {
            let first = row * most;
            takes[*one] = told.take(first..first + length * patch, Root::default());
        }
    }
    Ok((takes, took))
}
