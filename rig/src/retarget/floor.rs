//! Where the floor is under a clip of the character.
//!
//! Captured floors are neither at zero nor level: within one CMU clip, feet that stand differ by up
//! to 5 cm in height from step to step, in ACCAD's by 3 cm.

use crate::Clip;
use crate::character::{ANKLE_HEIGHT, Bone, TOE_HEIGHT};
use crate::skeleton::GlobalPose;

/// What is taken for the floor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Floor {
    /// What the feet stand on at each time, as long as that is within 6 cm of one height for nine
    /// of ten standing feet; else as [`Floor::Level`].
    #[default]
    Followed,
    /// One height for the whole clip, the median of standing feet: for stairs and slopes.
    Level,
    /// The source's own zero.
    Source,
}

/// How far the floor may be from its one height, in metres.
const UNEVEN: f64 = 0.06;

/// Share of standing feet that must be within that.
const AGREE: f64 = 0.9;

/// Over what time the floor follows, as the deviation of a bell curve in seconds.
const FOLLOWS: f64 = 0.35;

/// Weight of the one height beside the feet, in feet that stand for a second.
const INERTIA: f64 = 0.02;

/// Heights of the floor under the frames, in metres.
pub(super) fn heights(clip: &Clip, floor: Floor) -> Vec<f64> {
    let level = |height| vec![height; clip.frames.len()];
    if floor == Floor::Source {
        return level(0.0);
    }
    let (feet, share) = standing(clip);
    let mut sorted: Vec<f64> = feet.iter().map(|(_, height)| *height).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(&middle) = sorted.get((share * sorted.len() as f64) as usize) else {
        return level(0.0);
    };
    let near: Vec<(f64, f64)> = feet
        .iter()
        .copied()
        .filter(|(_, height)| (height - middle).abs() < UNEVEN)
        .collect();
    if floor == Floor::Level || (near.len() as f64) < AGREE * feet.len() as f64 {
        return level(middle);
    }
    (0..clip.frames.len())
        .map(|frame| {
            let now = frame as f64 / clip.frame_rate;
            let first = near.partition_point(|(time, _)| *time < now - 4.0 * FOLLOWS);
            let (mut sum, mut weights) = (0.0, INERTIA * clip.frame_rate);
            for (time, height) in near[first..]
                .iter()
                .take_while(|(time, _)| *time < now + 4.0 * FOLLOWS)
            {
                let weight = (-0.5 * ((time - now) / FOLLOWS).powi(2)).exp();
                sum += weight * (height - middle);
                weights += weight;
            }
            middle + sum / weights
        })
        .collect()
}

/// Feet that stand, as (time, height of the sole): of every frame the lower foot, if its lower end
/// moves at less than 0.15 m/s. And the share of them that the floor is above: half.
///
/// The height of a foot is that of the lower of ankle and ball, less what these are above the sole
/// at rest. Fast clips with fewer than 8 such frames are tried with 0.6 m/s and a quarter, since
/// that catches feet that come and go, and in the end with any speed and a tenth.
fn standing(clip: &Clip) -> (Vec<(f64, f64)>, f64) {
    const FEW: usize = 8;
    let mut feet: Vec<(f64, f64, f64)> = Vec::new();
    let mut global = GlobalPose::default();
    let mut before = GlobalPose::default();
    for (frame, pose) in clip.frames.iter().enumerate() {
        std::mem::swap(&mut global, &mut before);
        clip.skeleton.forward_into(pose, &mut global);
        let lowest = [
            (Bone::LeftFoot, ANKLE_HEIGHT),
            (Bone::LeftToe, TOE_HEIGHT),
            (Bone::RightFoot, ANKLE_HEIGHT),
            (Bone::RightToe, TOE_HEIGHT),
        ]
        .map(|(joint, above)| {
            let place = global.positions[joint.index()];
            let last = before.positions.get(joint.index()).unwrap_or(&place);
            (place.y - above, (place - last).norm() * clip.frame_rate)
        })
        .into_iter()
        .min_by(|one, other| one.0.total_cmp(&other.0));
        // Of the first frame no speed is known.
        if let Some((height, speed)) = lowest.filter(|_| frame > 0) {
            feet.push((frame as f64 / clip.frame_rate, height, speed));
        }
    }
    for (limit, share) in [(0.15, 0.5), (0.6, 0.25), (f64::INFINITY, 0.1)] {
        let slow: Vec<(f64, f64)> = feet
            .iter()
            .filter(|(.., speed)| *speed < limit)
            .map(|(time, height, _)| (*time, *height))
            .collect();
        if slow.len() >= FEW {
            return (slow, share);
        }
    }
    let all = feet.iter().map(|(time, height, _)| (*time, *height));
    (all.collect(), 0.0)
}
