//! Foot sliding and jerk, by how fast the character goes: feet that run slide more than feet that
//! stand, in motion capture too, so that a ratio compares frames of like speed.

use kinestream_diffusion::noise::NoiseStream;
use nalgebra::Vector2;
use serde::{Deserialize, Serialize};

use super::BOOTSTRAP;
use kinestream_motion::character::skeleton;
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::foot::Feet;
use kinestream_motion::metrics::{Estimate, FootSliding, SlidingConfig, Smoothness};
use kinestream_motion::{Clip, GlobalPose, Result};

/// Speeds of the hips over the ground that bound the classes, m/s: standing, stepping, walking,
/// jogging, running.
pub const SPEEDS: [f64; 4] = [0.2, 0.8, 1.8, 2.8];
/// Frames before and after one over which its speed is taken: half a second in all.
const ABOUT: usize = 7;
/// A class of the ground truth with fewer frames than this compares with nothing.
const LEAST: u64 = 30;

/// Frames added up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Frames with a sliding.
    pub sliding_frames: u64,
    /// Their weighted sliding, cm.
    pub sliding: f64,
    /// Frames with a jerk.
    pub jerk_frames: u64,
    /// Their jerk, mean over joints, m/s³.
    pub jerk: f64,
}

/// Sliding and jerk of motion, one [`Tally`] for each class of [`SPEEDS`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quality([Tally; SPEEDS.len() + 1]);

/// How much of something a motion has against the ground truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Against ground truth of the same speeds in the same shares, with its interval over runs.
    pub matched: Estimate,
    /// Against all of the ground truth.
    pub overall: f64,
    /// Share of the frames whose speed the ground truth has; the others do not count in `matched`.
    pub covered: f64,
}

/// What one frame adds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    speed: f64,
    sliding: Option<f64>,
    jerk: Option<f64>,
}

/// Measures every frame of a clip of the character.
///
/// # Errors
/// Another skeleton.
pub(super) fn measure(clip: &Clip) -> Result<Vec<Measured>> {
    let feet = Feet::at_rest(&skeleton())?;
    let config = SlidingConfig::default();
    let mut sliding = FootSliding::new(feet.rest_heights(), 0.0, FRAME_RATE, config)?;
    let mut smoothness = Smoothness::new(FRAME_RATE)?;
    let mut global = GlobalPose::default();
    let hips: Vec<Vector2<f64>> = clip.frames.iter().map(|pose| pose.root.xz()).collect();
    let frames = clip.frames.iter().enumerate().map(|(frame, pose)| {
        clip.skeleton.forward_into(pose, &mut global);
        let (from, to) = (
            frame.saturating_sub(ABOUT),
            (frame + ABOUT).min(hips.len() - 1),
        );
        let way = (hips[to] - hips[from]).norm();
        Measured {
            speed: way * FRAME_RATE / (to - from).max(1) as f64,
            sliding: sliding.push(&feet.positions(&global)),
            jerk: smoothness.push(pose, &global),
        }
    });
    Ok(frames.collect())
}

impl Quality {
    /// Adds up clips.
    ///
    /// # Errors
    /// Another skeleton.
    pub fn of<'a>(clips: impl IntoIterator<Item = &'a Clip>) -> Result<Self> {
        let mut quality = Self::default();
        for clip in clips {
            quality.add(&measure(clip)?);
        }
        Ok(quality)
    }

    /// Adds frames.
    pub(super) fn add(&mut self, frames: &[Measured]) {
        for frame in frames {
            let tally = &mut self.0[SPEEDS.partition_point(|bound| *bound <= frame.speed)];
            if let Some(sliding) = frame.sliding {
                tally.sliding_frames += 1;
                tally.sliding += sliding;
            }
            if let Some(jerk) = frame.jerk {
                tally.jerk_frames += 1;
                tally.jerk += jerk;
            }
        }
    }

    /// The classes, slowest first.
    pub fn tallies(&self) -> &[Tally] {
        &self.0
    }

    /// Mean weighted sliding, cm per frame; not a number without a frame.
    pub fn sliding(&self) -> f64 {
        mean(self.0.iter().map(Tally::of_sliding))
    }

    /// Mean jerk, m/s³; not a number without a frame.
    pub fn jerk(&self) -> f64 {
        mean(self.0.iter().map(Tally::of_jerk))
    }

    /// Several together.
    fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for part in parts {
            for (tally, more) in sum.0.iter_mut().zip(&part.0) {
                tally.sliding_frames += more.sliding_frames;
                tally.sliding += more.sliding;
                tally.jerk_frames += more.jerk_frames;
                tally.jerk += more.jerk;
            }
        }
        sum
    }

    /// Against a ground truth of the same speeds; and the share of the frames that it has.
    fn matched(&self, truth: &Self, of: Of) -> (f64, f64) {
        let (mut own, mut expected, mut covered, mut frames) = (0.0, 0.0, 0, 0);
        for (tally, truth) in self.0.iter().zip(&truth.0) {
            let (count, sum) = of(tally);
            let (true_count, true_sum) = of(truth);
            frames += count;
            if true_count >= LEAST {
                own += sum;
                expected += count as f64 * true_sum / true_count as f64;
                covered += count;
            }
        }
        (own / expected, covered as f64 / frames.max(1) as f64)
    }
}

type Of = fn(&Tally) -> (u64, f64);

/// Sliding of runs, or takes, against a ground truth.
pub fn sliding_ratio(runs: &[Quality], truth: &Quality) -> Ratio {
    ratio(runs, truth, Tally::of_sliding)
}

/// Jerk likewise.
pub fn jerk_ratio(runs: &[Quality], truth: &Quality) -> Ratio {
    ratio(runs, truth, Tally::of_jerk)
}

fn ratio(runs: &[Quality], truth: &Quality, of: Of) -> Ratio {
    let whole = Quality::sum(runs);
    let (matched, covered) = whole.matched(truth, of);
    let mut stream = NoiseStream::new(BOOTSTRAP.seed);
    let resamples = if runs.len() > 1 {
        BOOTSTRAP.resamples
    } else {
        0
    };
    let resampled = (0..resamples).map(|_| {
        let drawn = (0..runs.len()).map(|_| &runs[stream.below(runs.len())]);
        Quality::sum(drawn).matched(truth, of).0
    });
    Ratio {
        matched: Estimate::new(matched, resampled.collect()),
        overall: mean(whole.0.iter().map(of)) / mean(truth.0.iter().map(of)),
        covered,
    }
}

impl Tally {
    fn of_sliding(&self) -> (u64, f64) {
        (self.sliding_frames, self.sliding)
    }

    fn of_jerk(&self) -> (u64, f64) {
        (self.jerk_frames, self.jerk)
    }
}

fn mean(parts: impl Iterator<Item = (u64, f64)>) -> f64 {
    let (count, sum) = parts.fold((0, 0.0), |(count, sum), (more, part)| {
        (count + more, sum + part)
    });
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(speed: f64, sliding: f64, count: usize) -> Vec<Measured> {
        let frame = Measured {
            speed,
            sliding: Some(sliding),
            jerk: None,
        };
        vec![frame; count]
    }

    fn quality(parts: &[(f64, f64, usize)]) -> Quality {
        let mut quality = Quality::default();
        for (speed, sliding, count) in parts {
            quality.add(&frames(*speed, *sliding, *count));
        }
        quality
    }

    #[test]
    fn a_motion_that_runs_more_is_not_blamed_for_running() {
        let truth = quality(&[(1.3, 0.2, 900), (3.5, 0.6, 100)]);
        let made = quality(&[(1.3, 0.2, 100), (3.5, 0.6, 100)]);
        let ratio = sliding_ratio(&[made, made], &truth);
        assert!((ratio.matched.value - 1.0).abs() < 1e-9, "{ratio:?}");
        let [low, high] = ratio.matched.interval.unwrap();
        assert!(low > 0.999 && high < 1.001, "{ratio:?}");
        assert!((ratio.overall - 0.4 / 0.24).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ratio.covered, 1.0);
    }

    #[test]
    fn speeds_that_the_truth_lacks_do_not_count_and_are_told() {
        let truth = quality(&[(1.3, 0.2, 900), (3.5, 0.6, 3)]);
        let made = quality(&[(1.3, 0.4, 100), (3.5, 9.0, 300)]);
        let ratio = sliding_ratio(&[made], &truth);
        assert!((ratio.matched.value - 2.0).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ratio.matched.interval, None);
        assert_eq!(ratio.covered, 0.25);
    }
}
