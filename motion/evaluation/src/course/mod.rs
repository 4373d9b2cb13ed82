//! How a motion model is judged: distributions in a feature space, feet, smoothness, and how well it
//! goes where it is told.

mod legs;
mod quality;
mod reference;

use tch::Tensor;

pub use self::legs::{Done, Nearest};
pub use self::quality::{Quality, Ratio, SPEEDS, Tally, jerk_ratio, sliding_ratio};
pub use self::reference::{Reference, ReferenceFigures, Sample};
use kinestream_motion::character::skeleton;
use kinestream_motion::controller::ControllerOptions;
use kinestream_motion::course::course;
use kinestream_motion::crowd::{CharacterBatch, SteeringTarget};
use kinestream_motion::data::{FRAME_RATE, MotionSet};
use kinestream_motion::extractor::Extractor;
use kinestream_motion::foot::{Feet, FootLock, FootLockConfig};
use kinestream_motion::metrics::{Bootstrap, Estimate, Frechet, settle_seconds};
use kinestream_motion::model::MotionModel;
use kinestream_motion::stick::{JoystickInput, StickFollower, StickOptions};
use kinestream_motion::synthesis::{Take, perform};
use kinestream_motion::trajectory::Root;
use kinestream_motion::{Clip, Result};

/// Frames at the start of free motion that do not count: they are those of the data still.
const SETTLING: usize = 60;
/// Heading error below which a turn has settled, in radians.
const SETTLED: f64 = 0.175;
/// Speed of the half turn, m/s.
const RUN: f64 = 3.5;
/// How intervals are found.
const BOOTSTRAP: Bootstrap = Bootstrap {
    resamples: 100,
    seed: 1,
};

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
    /// Factor of all random numbers on the course.
    pub diversity: f64,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        let live = ControllerOptions::default();
        Self {
            characters: 64,
            seconds: 20.0,
            runs: 16,
            seed: 1,
            gain: live.path_gain,
            strength: live.path_strength,
            diversity: live.diversity,
        }
    }
}

/// Sliding and jerk of motion against the held-out clips as they were captured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgainstTruth {
    /// Weighted sliding.
    pub foot_sliding: Ratio,
    /// Mean jerk.
    pub jerk: Ratio,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Motion without steering against the held-out clips.
    pub free: Frechet,
    /// Diversity of the free motion.
    pub diversity: Estimate,
    /// The free motion after the foot lock.
    pub free_locked: AgainstTruth,
    /// The course after the foot lock.
    pub locked: AgainstTruth,
    /// The course as the model made it.
    pub unlocked: AgainstTruth,
    /// The whole course, after the foot lock.
    pub course: Done,
    /// The course leg by leg.
    pub legs: Vec<Done>,
    /// Seconds until a half turn at a run under stick control has settled within 10 degrees, the
    /// median of the runs; none if it did not.
    pub turn_180_settle_s: Option<f64>,
    /// The three seconds from that half turn on, after the foot lock.
    pub turn_180: AgainstTruth,
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
    reference: &Reference,
    options: &EvaluationOptions,
    mut watch: impl FnMut(&str),
) -> Result<Evaluation> {
    let truth = &reference.figures.truth;
    let against = |runs: &[Quality]| AgainstTruth {
        foot_sliding: sliding_ratio(runs, truth),
        jerk: jerk_ratio(runs, truth),
    };
    let each = |clips: &[Clip]| -> Result<Vec<Quality>> {
        clips.iter().map(|clip| Quality::of([clip])).collect()
    };

    watch("motion without steering");
    let (takes, free_refused) = move_freely(load()?, options)?;
    let clips = takes.iter().enumerate();
    let clips = clips.map(|(number, take)| (number.to_string(), take.clip()));
    let free = Sample::of(extractor, &MotionSet::of(clips)?)?;
    let free_locked: Vec<Clip> = takes.iter().map(locked).collect::<Result<_>>()?;

    watch("the course");
    let (takes, refused) = run_course(load()?, options)?;
    let asked = legs::asked(&course()?);
    let locked: Vec<Clip> = takes.iter().map(locked).collect::<Result<_>>()?;
    let raw: Vec<Clip> = takes.iter().map(Take::clip).collect();
    // A take has no frame for the start of the course.
    let part = |rows: std::ops::Range<usize>| -> Result<Done> {
        let (start, end) = (rows.start.max(1), rows.end);
        let clips: Vec<Clip> = locked
            .iter()
            .map(|clip| Clip {
                frames: clip.frames[start - 1..end - 1].to_vec(),
                ..clip.clone()
            })
            .collect();
        let roots = takes.iter().map(|take| &take.roots[start - 1..end - 1]);
        let parts: Vec<(&Clip, &[Root])> = clips.iter().zip(roots).collect();
        legs::judge(&parts, &asked[start..end])
    };
    let laid = course()?;
    let legs = (0..laid.legs.len()).map(|leg| part(legs::frames(&laid, leg)));

    watch("half turns at a run");
    let (turns, turn_180_settle_s) = half_turn(load()?, options)?;
    let turns: Vec<Clip> = turns.iter().map(locked_turn).collect::<Result<_>>()?;
    Ok(Evaluation {
        legs: legs.collect::<Result<_>>()?,
        course: part(1..asked.len())?,
        free: free.distance(&reference.held_out)?,
        diversity: free.diversity()?,
        free_locked: against(&each(&free_locked)?),
        locked: against(&each(&locked)?),
        unlocked: against(&each(&raw)?),
        turn_180_settle_s,
        turn_180: against(&each(&turns)?),
        refused: refused + free_refused,
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

/// Motion without steering after it has settled; and how many frames were refused.
fn move_freely(model: MotionModel, options: &EvaluationOptions) -> Result<(Vec<Take>, u64)> {
    let starts = spread(&model.starts(), options.characters);
    let mut crowd = CharacterBatch::new(model, &starts, &seeds(options, options.characters))?;
    let frames = SETTLING + (options.seconds * FRAME_RATE) as usize;
    let mut takes = perform(
        &mut crowd,
        frames,
        |_, _, _| SteeringTarget::default(),
        |_| {},
    )?;
    for take in &mut takes {
        take.skip(SETTLING);
    }
    Ok((takes, refused(&crowd)))
}

/// Runs of the course, each frame from the second on; and how many frames were refused.
///
/// # Errors
/// LibTorch refused.
pub fn run_course(model: MotionModel, options: &EvaluationOptions) -> Result<(Vec<Take>, u64)> {
    let course = course()?;
    let mut crowd = standing(model, options)?;
    crowd.set_diversity(options.diversity);
    let takes = perform(
        &mut crowd,
        (course.seconds * FRAME_RATE).round() as usize,
        |_, frame, root| {
            let seconds = frame as f64 / FRAME_RATE;
            let path = &course.path;
            path.wish(seconds, root, options.gain, options.strength)
        },
        |_| {},
    )?;
    Ok((takes, refused(&crowd)))
}

/// A half turn after the foot lock, without the run before it.
fn locked_turn(take: &Take) -> Result<Clip> {
    let mut clip = locked(take)?;
    clip.frames.drain(..BEFORE);
    Ok(clip)
}

/// Frames of the run before a half turn, and from it on.
const BEFORE: usize = 90;
const AFTER: usize = 90;

/// Runs, turns about, and says when the heading has settled: the median of the runs.
fn half_turn(model: MotionModel, options: &EvaluationOptions) -> Result<(Vec<Take>, Option<f64>)> {
    let mut crowd = standing(model, options)?;
    crowd.set_diversity(options.diversity);
    let mut followers = vec![StickFollower::new(StickOptions::default()); options.runs];
    let takes = perform(
        &mut crowd,
        BEFORE + AFTER,
        |character, frame, root| {
            let ahead = if frame < BEFORE { 1.0 } else { -1.0 };
            let follower = &mut followers[character];
            follower.want(JoystickInput {
                velocity: nalgebra::Vector2::new(0.0, RUN * ahead),
                facing: None,
            });
            follower.wish(root)
        },
        |_| {},
    )?;
    let mut settled: Vec<f64> = takes
        .iter()
        .map(|take| {
            let after = take.roots[BEFORE..].iter();
            let headings: Vec<f64> = after.map(|root| root.heading).collect();
            let asked = vec![std::f64::consts::PI; headings.len()];
            settle_seconds(&headings, &asked, SETTLED, FRAME_RATE)
                .map(|seconds| seconds.unwrap_or(f64::INFINITY))
        })
        .collect::<std::result::Result<_, kinestream_rig::Error>>()?;
    settled.sort_by(f64::total_cmp);
    let median = settled.get(settled.len() / 2).copied();
    Ok((takes, median.filter(|seconds| seconds.is_finite())))
}

/// Characters that stand, one for each run.
fn standing(model: MotionModel, options: &EvaluationOptions) -> Result<CharacterBatch> {
    let first = model.starts().narrow(0, 0, 1);
    let starts = first.repeat([options.runs as i64, 1]);
    CharacterBatch::new(model, &starts, &seeds(options, options.runs))
}

fn seeds(options: &EvaluationOptions, count: usize) -> Vec<u64> {
    (0..count as u64).map(|one| options.seed + one).collect()
}

fn refused(crowd: &CharacterBatch) -> u64 {
    (0..crowd.len()).map(|one| crowd.refused(one)).sum()
}

/// `count` first frames, taken in turn from those that there are `[count, E]`.
fn spread(starts: &Tensor, count: usize) -> Tensor {
    let rows: Vec<i64> = (0..count as i64)
        .map(|row| row % starts.size()[0])
        .collect();
    starts.index_select(0, &Tensor::from_slice(&rows).to_device(starts.device()))
}
