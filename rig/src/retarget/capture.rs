//! What is no motion in a clip: poses that an exporter put before it, and places where the capture
//! broke.

use std::ops::Range;

use nalgebra::Vector3;

use super::fit::Fit;
use crate::character::{Bone, JOINTS};
use crate::skeleton::GlobalPose;
use crate::{Clip, Pose};

/// Number of frames at the start that are poses of their own: those before the last of the first
/// six steps in which the joints move, against the root, by more than 5 % of the skeleton's extent
/// on average, and more than four times as far as in any of the four steps that follow.
pub(super) fn rest_frames(clip: &Clip) -> usize {
    const FIRST: usize = 6;
    const AFTER: usize = 4;
    let shapes: Vec<GlobalPose> = clip
        .frames
        .iter()
        .take(FIRST + AFTER + 1)
        .map(|pose| {
            clip.skeleton.forward(&Pose {
                root: Vector3::zeros(),
                rotations: pose.rotations.clone(),
            })
        })
        .collect();
    let steps: Vec<f64> = shapes
        .windows(2)
        .map(|pair| {
            let moved = pair[0].positions.iter().zip(&pair[1].positions);
            moved.map(|(from, to)| (to - from).norm()).sum::<f64>() / clip.skeleton.len() as f64
        })
        .collect();
    let Some(first) = shapes.first().filter(|_| steps.len() == FIRST + AFTER) else {
        return 0;
    };
    let extent = first
        .positions
        .iter()
        .map(Vector3::norm)
        .fold(0.0, f64::max);
    (0..FIRST)
        .rfind(|at| {
            let after = steps[at + 1..][..AFTER].iter().copied().fold(0.0, f64::max);
            steps[*at] > (4.0 * after).max(0.05 * extent)
        })
        .map_or(0, |at| at + 1)
}

/// Where joints of the source move, against its hips, faster than 14 m/s: no limb of a person does
/// (the fastest in the clips of acrobatics, kicks and runs is 11). A tenth of a second around them
/// is counted in, and what lies within half a second of two of them.
pub(super) fn glitches(source: &Clip, fit: &Fit, frame_rate: f64) -> Vec<Range<usize>> {
    const FASTEST: f64 = 14.0;
    const AROUND: f64 = 0.1;
    const JOINED: f64 = 0.5;
    let against_hips = |pose: &Pose| {
        let global = source.skeleton.forward(pose);
        let hips = fit.place(&global, Bone::Hips).unwrap_or_default();
        Bone::ALL.map(|bone| fit.place(&global, bone).unwrap_or(hips) - hips)
    };
    let mut glitches: Vec<Range<usize>> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    let mut before = None;
    for (index, pose) in source.frames.iter().enumerate() {
        let places = against_hips(pose);
        let fastest = before
            .replace(places)
            .map_or(0.0, |before: [Vector3<f64>; JOINTS]| {
                let steps = places
                    .iter()
                    .zip(&before)
                    .map(|(to, from)| (to - from).norm());
                steps.fold(0.0, f64::max) * source.frame_rate
            });
        if fastest < FASTEST {
            continue;
        }
        let time = index as f64 / source.frame_rate;
        let from = ((time - AROUND).max(0.0) * frame_rate).floor() as usize;
        let to = ((time + AROUND) * frame_rate).ceil() as usize + 1;
        match glitches.last_mut().filter(|_| time - last < JOINED) {
            Some(glitch) => glitch.end = to,
            None => glitches.push(from..to),
        }
        last = time;
    }
    let count = (source.seconds() * frame_rate + 1e-6).floor() as usize + 1;
    for glitch in &mut glitches {
        glitch.end = glitch.end.min(count);
    }
    glitches
}
