//! The course leg by leg, and beside each leg the stretch of captured motion whose path comes
//! nearest to it: what the data carry of what is asked.

use serde::{Deserialize, Serialize};

use super::SETTLED;
use super::quality::{Quality, measure};
use kinestream_motion::course::TestCourse;
use kinestream_motion::data::{FRAME_RATE, MotionSet, Sequence};
use kinestream_motion::metrics::tracking::Errors;
use kinestream_motion::metrics::{settle_seconds, turn_between};
use kinestream_motion::trajectory::Root;
use kinestream_motion::{Clip, Result};

/// Metres that a radian of heading counts when paths are compared.
const RADIAN: f64 = 1.5;

/// How a leg was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Distance from the path at the same time, root mean square, metres.
    pub path_rmse_m: f64,
    /// Mean absolute error of the heading, degrees.
    pub heading_error_deg: f64,
    /// Seconds after which the heading stays within 10 degrees of that at the leg's end; none where
    /// it does not.
    pub settled_s: Option<f64>,
    /// Weighted sliding, cm per frame.
    pub foot_sliding: f64,
    /// Mean jerk, m/s³.
    pub jerk: f64,
}

/// Captured motion that comes nearest to a leg, laid over its beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nearest {
    /// The leg.
    pub leg: String,
    /// The clip; an m at the end is its mirror image. None where all clips are shorter.
    pub clip: Option<String>,
    /// Where in the clip it begins, seconds.
    pub from_s: f64,
    /// What it does of the leg.
    pub done: Option<Done>,
}

/// Judges one leg: `clip` and `roots` are of its frames alone, `asked` the roots asked for.
///
/// # Errors
/// A number that is not finite, or a leg without a frame.
pub(super) fn judge(clips: &[(&Clip, &[Root])], asked: &[Root]) -> Result<Done> {
    let (mut ways, mut turns, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let mut quality = Quality::default();
    let goal = vec![asked.last().copied().unwrap_or_default().heading; asked.len()];
    for (clip, roots) in clips {
        for (root, asked) in roots.iter().zip(asked) {
            ways.push((root.position - asked.position).norm());
            turns.push(turn_between(asked.heading, root.heading).to_degrees());
        }
        let headings: Vec<f64> = roots.iter().map(|root| root.heading).collect();
        settled
            .push(settle_seconds(&headings, &goal, SETTLED, FRAME_RATE)?.unwrap_or(f64::INFINITY));
        quality.add(&measure(clip)?);
    }
    settled.sort_by(f64::total_cmp);
    Ok(Done {
        path_rmse_m: Errors::of("path error", ways)?.rmse,
        heading_error_deg: Errors::of("heading error", turns)?.mean,
        settled_s: settled
            .get(settled.len() / 2)
            .copied()
            .filter(|seconds| seconds.is_finite()),
        foot_sliding: quality.sliding(),
        jerk: quality.jerk(),
    })
}

/// Frames of a leg by its number, the first included.
pub(super) fn frames(course: &TestCourse, leg: usize) -> std::ops::Range<usize> {
    let frame = |seconds: f64| (seconds * FRAME_RATE).round() as usize;
    let end = course
        .legs
        .get(leg + 1)
        .map_or(course.seconds, |(start, _)| *start);
    frame(course.legs[leg].0)..frame(end)
}

/// The roots asked for at every frame of a course, its first included.
pub(super) fn asked(course: &TestCourse) -> Vec<Root> {
    (0..=(course.seconds * FRAME_RATE).round() as usize)
        .map(|frame| course.path.at(frame as f64 / FRAME_RATE))
        .collect()
}

/// What comes nearest to each leg among the sequences of sets that go at their own speed.
///
/// # Errors
/// Another skeleton.
pub(super) fn nearest(course: &TestCourse, sets: &[&MotionSet]) -> Result<Vec<Nearest>> {
    let asked = asked(course);
    let captured: Vec<(&Sequence, &[Root])> = sets
        .iter()
        .flat_map(|set| {
            let all = set.sequences.iter().filter(|one| one.is_captured());
            all.map(|one| (one, &set.roots[one.rows.clone()]))
        })
        .collect();
    let mut found = Vec::with_capacity(course.legs.len());
    for (number, (_, leg)) in course.legs.iter().enumerate() {
        let asked = &asked[frames(course, number)];
        let local: Vec<Root> = asked.iter().map(|root| asked[0].local(root)).collect();
        let mut best: Option<(f64, usize, usize)> = None;
        for (sequence, (_, roots)) in captured.iter().enumerate() {
            for start in 0..(roots.len() + 1).saturating_sub(asked.len()) {
                let bound = best.map_or(f64::INFINITY, |(off, ..)| off);
                let off = off(&roots[start..], &local, bound);
                if off < bound {
                    best = Some((off, sequence, start));
                }
            }
        }
        let Some((_, sequence, start)) = best else {
            found.push(Nearest {
                leg: leg.name.to_owned(),
                clip: None,
                from_s: 0.0,
                done: None,
            });
            continue;
        };
        let (one, roots) = captured[sequence];
        let rows = start..start + asked.len();
        let laid: Vec<Root> = roots[rows.clone()]
            .iter()
            .map(|root| asked[0].global(&roots[start].local(root)))
            .collect();
        // The first row describes frame 1 of the clip.
        let clip = Clip {
            frames: one.clip.frames[rows.start + 1..=rows.end].to_vec(),
            ..one.clip.clone()
        };
        found.push(Nearest {
            leg: leg.name.to_owned(),
            clip: Some(one.title()),
            from_s: start as f64 / FRAME_RATE,
            done: Some(judge(&[(&clip, &laid)], asked)?),
        });
    }
    Ok(found)
}

/// Mean distance of a path from a leg after both begin alike; given up beyond `bound`.
fn off(roots: &[Root], leg: &[Root], bound: f64) -> f64 {
    let limit = bound * leg.len() as f64;
    let mut sum = 0.0;
    for (root, asked) in roots.iter().zip(leg) {
        let root = roots[0].local(root);
        sum += (root.position - asked.position).norm()
            + RADIAN * turn_between(asked.heading, root.heading).abs();
        if sum > limit {
            return f64::INFINITY;
        }
    }
    sum / leg.len() as f64
}
