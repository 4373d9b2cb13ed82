//! How a motion model is judged: distributions in a feature space, feet, smoothness, and how well it
//! goes where it is told.

use nalgebra::{DMatrix, Vector2};
use tch::Tensor;

use crate::character::skeleton;
use crate::course::{COURSE, lay_out};
use crate::crowd::{Crowd, Wish};
use crate::data::{Dataset, FRAME_RATE, MotionSet};
use crate::extractor::Extractor;
use crate::foot::{Feet, FootLock, FootLockConfig};
use crate::metrics::{
    Bootstrap, Estimate, Features, FootSliding, Frechet, FrechetConfig, Pairs, SlidingConfig,
    Smoothness, diversity, frechet, heading_errors, path_errors, settle_seconds,
};
use crate::model::MotionModel;
use crate::stick::{Stick, StickFollower, StickOptions};
use crate::synthesis::{Take, perform};
use crate::trajectory::Root;
use crate::{Clip, Error, GlobalPose, Result};

/// Frames at the start of free motion that do not count: they are those of the data still.
const SETTLING: usize = 60;
/// Heading error below which a turn has settled, in radians.
const SETTLED: f64 = 0.175;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvaluationOptions {
    /// Characters of the free motion.
    pub characters: usize,
    /// Seconds that each of them moves.
    pub seconds: f64,
    /// Runs of the course, each with a seed of its own.
    pub runs: usize,
    /// First seed.
    pub seed: u64,
    /// How much of its distance from the path a character is asked to make good within a second.
    pub gain: f64,
    /// How much of the way to the wanted motion every estimate is drawn: displacement, turn.
    pub strength: (f64, f64),
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self {
            characters: 64,
            seconds: 20.0,
            runs: 8,
            seed: 1,
            gain: 4.0,
            strength: (0.5, 0.5),
        }
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Motion without steering against the held-out clips.
    pub free: Frechet,
    /// The training clips against the held-out clips: what another sample of people is worth.
    pub train: Frechet,
    /// Diversity of the free motion.
    pub diversity: Estimate,
    /// Diversity of the held-out clips.
    pub diversity_ground_truth: Estimate,
    /// Weighted sliding on the course after the foot lock over that of the held-out clips.
    pub foot_sliding_ratio: f64,
    /// Mean jerk on the course after the foot lock over that of the held-out clips.
    pub jerk_ratio: f64,
    /// Distance from the course at the same time, root mean square, metres.
    pub path_rmse_m: f64,
    /// Mean absolute error of the heading on the course, degrees.
    pub heading_error_deg: f64,
    /// Seconds until a half turn at a run has settled within 10 degrees, the median of the runs;
    /// none if it did not.
    pub turn_180_settle_s: Option<f64>,
    /// Frames that were refused.
    pub refused: u64,
}

/// Judges a model. `load` gives it anew for each part; `watch` hears which part begins.
///
/// # Errors
/// Sets that are too small to be compared, or LibTorch refused.
pub fn evaluate(
    load: impl Fn() -> Result<MotionModel>,
    extractor: &Extractor,
    data: &Dataset,
    options: &EvaluationOptions,
    mut watch: impl FnMut(&str),
) -> Result<Evaluation> {
    let bootstrap = Bootstrap {
        resamples: 100,
        seed: options.seed,
    };
    let config = FrechetConfig {
        shrinkage: 0.0,
        bootstrap,
    };
    watch("captured motion");
    let held_out = Sample::of(extractor, &data.held_out)?;
    let train = Sample::of(extractor, &data.train)?;
    let train = frechet(&train.features(), &held_out.features(), &config)?;
    let truth = Quality::of(data.held_out.sequences.iter().map(|one| &one.clip))?;

    watch("motion without steering");
    let model = load()?;
    let starts = spread(&model.starts(), options.characters);
    let seeds: Vec<u64> = (0..options.characters as u64)
        .map(|character| options.seed + character)
        .collect();
    let mut crowd = Crowd::new(model, &starts, &seeds)?;
    let frames = SETTLING + (options.seconds * FRAME_RATE) as usize;
    let takes = perform(&mut crowd, frames, |_, _, _| Wish::default(), |_| {})?;
    let mut refused: u64 = (0..crowd.len()).map(|one| crowd.refused(one)).sum();
    let clips = takes.iter().enumerate().map(|(number, take)| {
        let mut clip = take.clip();
        clip.frames.drain(..SETTLING);
        (number.to_string(), clip)
    });
    let free = Sample::of(extractor, &MotionSet::of(clips)?)?;

    watch("the course");
    let course = lay_out(&COURSE, StickOptions::default()).map_err(Error::Skeleton)?;
    let model = load()?;
    let starts = model
        .starts()
        .narrow(0, 0, 1)
        .repeat([options.runs as i64, 1]);
    let seeds: Vec<u64> = (0..options.runs as u64)
        .map(|run| options.seed + run)
        .collect();
    let mut crowd = Crowd::new(model, &starts, &seeds)?;
    let frames = (course.seconds * FRAME_RATE) as usize;
    let takes = perform(
        &mut crowd,
        frames,
        |_, frame, root| {
            let seconds = frame as f64 / FRAME_RATE;
            course
                .path
                .wish(seconds, root, options.gain, options.strength)
        },
        |_| {},
    )?;
    refused += (0..crowd.len()).map(|one| crowd.refused(one)).sum::<u64>();
    let asked: Vec<Root> = (1..=frames)
        .map(|frame| course.path.at(frame as f64 / FRAME_RATE))
        .collect();
    let places =
        |roots: &[Root]| -> Vec<Vector2<f64>> { roots.iter().map(|root| root.position).collect() };
    let headings = |roots: &[Root]| -> Vec<f64> { roots.iter().map(|root| root.heading).collect() };
    let (mut square, mut heading) = (0.0, 0.0);
    for take in &takes {
        let path = path_errors(&places(&take.roots), &places(&asked))?;
        square += path.in_time.rmse.powi(2) / takes.len() as f64;
        heading +=
            heading_errors(&headings(&take.roots), &headings(&asked))?.mean / takes.len() as f64;
    }
    let locked: Vec<Clip> = takes.iter().map(locked).collect::<Result<_>>()?;
    let made = Quality::of(locked.iter())?;

    watch("half turns at a run");
    let turn_180_settle_s = half_turn(load()?, options)?;
    Ok(Evaluation {
        diversity: diversity(&free.features(), Pairs::All, &bootstrap)?,
        diversity_ground_truth: diversity(&held_out.features(), Pairs::All, &bootstrap)?,
        free: frechet(&free.features(), &held_out.features(), &config)?,
        train,
        foot_sliding_ratio: made.sliding / truth.sliding,
        jerk_ratio: made.jerk / truth.jerk,
        path_rmse_m: square.sqrt(),
        heading_error_deg: heading,
        turn_180_settle_s,
        refused,
    })
}

/// The motion of a take after the foot lock.
///
/// # Errors
/// Never for takes of the character.
pub fn locked(take: &Take) -> Result<Clip> {
    let skeleton = skeleton();
    let feet = Feet::at_rest(&skeleton)?;
    let mut lock = FootLock::new(&skeleton, &feet, FootLockConfig::default())?;
    let mut clip = take.clip();
    for (pose, contacts) in clip.frames.iter_mut().zip(&take.contacts) {
        lock.apply(pose, contacts, 1.0 / FRAME_RATE);
    }
    Ok(clip)
}

/// `count` first frames, taken in turn from those that there are `[count, E]`.
fn spread(starts: &Tensor, count: usize) -> Tensor {
    let rows: Vec<i64> = (0..count as i64)
        .map(|row| row % starts.size()[0])
        .collect();
    starts.index_select(0, &Tensor::from_slice(&rows).to_device(starts.device()))
}

/// Runs, turns about, and says when the heading has settled: the median of the runs.
fn half_turn(model: MotionModel, options: &EvaluationOptions) -> Result<Option<f64>> {
    const BEFORE: usize = 90;
    const AFTER: usize = 90;
    let starts = model
        .starts()
        .narrow(0, 0, 1)
        .repeat([options.runs as i64, 1]);
    let seeds: Vec<u64> = (0..options.runs as u64)
        .map(|run| options.seed + run)
        .collect();
    let mut crowd = Crowd::new(model, &starts, &seeds)?;
    let mut followers = vec![StickFollower::new(StickOptions::default()); options.runs];
    let takes = perform(
        &mut crowd,
        BEFORE + AFTER,
        |character, frame, root| {
            let ahead = if frame < BEFORE { 1.0 } else { -1.0 };
            let follower = &mut followers[character];
            follower.want(Stick {
                velocity: Vector2::new(0.0, 3.5 * ahead),
                facing: None,
            });
            follower.wish(root)
        },
        |_| {},
    )?;
    let mut settled: Vec<f64> = takes
        .iter()
        .map(|take| {
            let headings: Vec<f64> = take.roots[BEFORE..]
                .iter()
                .map(|root| root.heading)
                .collect();
            let asked = vec![std::f64::consts::PI; headings.len()];
            settle_seconds(&headings, &asked, SETTLED, FRAME_RATE)
                .map(|seconds| seconds.unwrap_or(f64::INFINITY))
        })
        .collect::<Result<_>>()?;
    settled.sort_by(f64::total_cmp);
    Ok(settled
        .get(settled.len() / 2)
        .copied()
        .filter(|seconds| seconds.is_finite()))
}

/// Features of a set, and the clip of each.
struct Sample {
    values: DMatrix<f64>,
    clips: Vec<usize>,
}

impl Sample {
    fn of(extractor: &Extractor, set: &MotionSet) -> Result<Self> {
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

    fn features(&self) -> Features<'_> {
        Features {
            values: &self.values,
            clips: Some(&self.clips),
        }
    }
}

/// Sliding and jerk of clips.
struct Quality {
    sliding: f64,
    jerk: f64,
}

impl Quality {
    fn of<'a>(clips: impl IntoIterator<Item = &'a Clip>) -> Result<Self> {
        let feet = Feet::at_rest(&skeleton())?;
        let config = SlidingConfig::default();
        let mut sliding = FootSliding::new(feet.rest_heights(), 0.0, FRAME_RATE, config)?;
        let mut smoothness = Smoothness::new(FRAME_RATE)?;
        let mut global = GlobalPose::default();
        for clip in clips {
            sliding.begin_clip();
            smoothness.begin_clip();
            for pose in &clip.frames {
                clip.skeleton.forward_into(pose, &mut global);
                sliding.push(&feet.positions(&global));
                smoothness.push(pose, &global);
            }
        }
        let nothing = |metric| Error::Metric {
            metric,
            reason: "clips of four frames or more are needed".into(),
        };
        Ok(Self {
            sliding: sliding
                .sliding()
                .ok_or_else(|| nothing("foot sliding"))?
                .weighted_cm_per_frame,
            jerk: smoothness.jerk().ok_or_else(|| nothing("jerk"))?.mean,
        })
    }
}
