//! Which feet stand, found in motion capture: labels to train contact prediction on.
//!
//! A point of a foot (ankle for the heel, toe for the ball) stands when it is low and slow, in the
//! sense of two pairs of limits: contact begins below the lower pair and ends above the higher one,
//! so that noise at a limit does not make it flicker. Then contacts and gaps of too few frames are
//! removed. Height counts from the point's own height at rest; what is slow grows with the speed at
//! which the body travels.

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Limits of contact.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContactConfig {
    /// Contact begins at most this high over the height at rest, in metres.
    pub begin_height: f64,
    /// Contact ends above this height over the height at rest, in metres; at least `begin_height`.
    pub end_height: f64,
    /// Contact begins at most this fast, in m/s.
    pub begin_speed: f64,
    /// Contact ends when the point is faster, in m/s; at least `begin_speed`.
    pub end_speed: f64,
    /// Contact also begins up to this share of the speed at which the body travels: a foot that
    /// rolls under a runner is never quite at rest from one frame to the next.
    pub begin_share: f64,
    /// Contact ends above this share of that speed, where it is more than `end_speed`; at least
    /// `begin_share`.
    pub end_share: f64,
    /// Contacts and gaps of fewer seconds are removed: first gaps are filled, then contacts dropped.
    pub shortest_seconds: f64,
}

impl Default for ContactConfig {
    fn default() -> Self {
        Self {
            begin_height: 0.03,
            end_height: 0.05,
            begin_speed: 0.3,
            end_speed: 0.5,
            begin_share: 0.15,
            end_share: 0.3,
            shortest_seconds: 0.066,
        }
    }
}

impl ContactConfig {
    /// Whether all limits are in their ranges.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, found: f64, expected: String| {
            Err(Error::Config {
                key,
                found: found.to_string(),
                expected,
            })
        };
        let limits = [
            ("contacts.begin_height", self.begin_height, 0.0),
            ("contacts.end_height", self.end_height, self.begin_height),
            ("contacts.begin_speed", self.begin_speed, 0.0),
            ("contacts.end_speed", self.end_speed, self.begin_speed),
            ("contacts.begin_share", self.begin_share, 0.0),
            ("contacts.end_share", self.end_share, self.begin_share),
            ("contacts.shortest_seconds", self.shortest_seconds, 0.0),
        ];
        for (key, value, least) in limits {
            if !(value.is_finite() && value >= least) {
                return refuse(key, value, format!("a finite number of at least {least}"));
            }
        }
        Ok(())
    }
}

/// Contacts in every frame of a clip, from the positions of the four points in it.
///
/// The speed in a frame is that between its neighbours. A frame that is not finite has no contact.
///
/// # Errors
/// Limits that are out of range, or a frame rate that is not above 0.
pub fn contacts(
    frames: &[[Vector3<f64>; 4]],
    rest_heights: [f64; 4],
    floor: f64,
    frame_rate: f64,
    config: &ContactConfig,
) -> Result<Vec<[bool; 4]>> {
    config.check()?;
    if !(frame_rate.is_finite() && frame_rate > 0.0) {
        return Err(Error::Metric {
            metric: "contacts",
            reason: format!("the frame rate is {frame_rate}, expected a number above 0"),
        });
    }
    // Rounded up: at 30 frames per second, 0.066 s are two frames.
    let shortest = (config.shortest_seconds * frame_rate - 1e-9)
        .ceil()
        .max(0.0) as usize;
    let travel = travel(frames, frame_rate);
    let mut labels = vec![[false; 4]; frames.len()];
    for point in 0..4 {
        let mut stands = false;
        for frame in 0..frames.len() {
            let before = frame.saturating_sub(1);
            let after = (frame + 1).min(frames.len() - 1);
            let way = (frames[after][point] - frames[before][point]).norm();
            let speed = way * frame_rate / (after - before).max(1) as f64;
            let height = frames[frame][point].y - floor - rest_heights[point];
            let (highest, fastest) = if stands {
                (
                    config.end_height,
                    config.end_speed.max(config.end_share * travel[frame]),
                )
            } else {
                (
                    config.begin_height,
                    config.begin_speed.max(config.begin_share * travel[frame]),
                )
            };
            // A speed that is not a number is not below its limit.
            let finite = frames[frame][point].iter().all(|value| value.is_finite());
            stands = finite && height <= highest && speed <= fastest;
            labels[frame][point] = stands;
        }
        remove_short_runs(&mut labels, point, false, shortest);
        remove_short_runs(&mut labels, point, true, shortest);
    }
    Ok(labels)
}

/// Seconds to either side over which the speed of the body is taken: about a stride in all.
const TRAVEL_WINDOW: f64 = 1.0 / 3.0;

/// Speed over the ground of the middle of all four points around every frame, in m/s.
fn travel(frames: &[[Vector3<f64>; 4]], frame_rate: f64) -> Vec<f64> {
    let reach = (TRAVEL_WINDOW * frame_rate).round() as usize;
    let middle = |frame: usize| frames[frame].iter().sum::<Vector3<f64>>() / 4.0;
    (0..frames.len())
        .map(|frame| {
            let before = frame.saturating_sub(reach);
            let after = (frame + reach).min(frames.len() - 1);
            let way = middle(after) - middle(before);
            let speed = way.xz().norm() * frame_rate / (after - before).max(1) as f64;
            if speed.is_finite() { speed } else { 0.0 }
        })
        .collect()
}

/// Turns around runs of a value that have fewer frames than `shortest` and do not touch an end of
/// the clip, where their length is not known.
fn remove_short_runs(labels: &mut [[bool; 4]], point: usize, value: bool, shortest: usize) {
    let mut start = 0;
    while start < labels.len() {
        let end = (start..labels.len())
            .find(|frame| labels[*frame][point] != labels[start][point])
            .unwrap_or(labels.len());
        let inside = start > 0 && end < labels.len();
        if labels[start][point] == value && inside && end - start < shortest {
            labels[start..end]
                .iter_mut()
                .for_each(|label| label[point] = !value);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: [f64; 4] = [0.08, 0.02, 0.08, 0.02];

    fn detect(path: impl Fn(usize) -> Vector3<f64>, frames: usize) -> Vec<bool> {
        let frames: Vec<_> = (0..frames)
            .map(|frame| REST.map(|rest| path(frame) + Vector3::new(0.0, rest, 0.0)))
            .collect();
        let labels = contacts(&frames, REST, 0.0, 30.0, &ContactConfig::default()).unwrap();
        assert!(
            labels
                .iter()
                .all(|label| label.iter().all(|one| *one == label[0]))
        );
        labels.iter().map(|label| label[0]).collect()
    }

    #[test]
    fn a_step_is_two_contacts_and_a_swing() {
        // Stands for 15 frames, swings 0.8 m in 12 frames, stands again.
        let path = |frame: usize| {
            let phase = (frame as f64 - 15.0).clamp(0.0, 12.0) / 12.0;
            let along = 0.4 * (1.0 - (std::f64::consts::PI * phase).cos());
            Vector3::new(0.0, 0.12 * (std::f64::consts::PI * phase).sin(), along)
        };
        let labels = detect(path, 45);
        assert!(labels[..15].iter().all(|stands| *stands));
        assert!(labels[18..25].iter().all(|stands| !stands), "{labels:?}");
        assert!(labels[28..].iter().all(|stands| *stands), "{labels:?}");
        let changes = labels.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(changes, 2, "{labels:?}");
    }

    #[test]
    fn a_foot_that_rolls_under_a_runner_stands() {
        // Both feet in turn: 0.2 s on the ground, where they creep at 0.4 m/s, and 0.5 s in the air.
        let place = |seconds: f64| {
            let (stride, within) = ((seconds / 0.7).floor(), seconds.rem_euclid(0.7));
            let along = 3.0 * 0.7 * stride;
            if within < 0.2 {
                Vector3::new(0.0, 0.0, along + 0.4 * within)
            } else {
                let share = (within - 0.2) / 0.5;
                let height = 0.3 * (std::f64::consts::PI * share).sin();
                Vector3::new(0.0, height, along + 0.08 + 2.02 * share)
            }
        };
        let frames: Vec<_> = (0..84)
            .map(|frame| {
                let seconds = f64::from(frame) / 30.0;
                let (left, right) = (place(seconds), place(seconds + 0.35));
                let up = |rest: f64| Vector3::new(0.0, rest, 0.0);
                [
                    left + up(0.08),
                    left + up(0.02),
                    right + up(0.08),
                    right + up(0.02),
                ]
            })
            .collect();
        let share = |config: &ContactConfig| {
            let labels = contacts(&frames, REST, 0.0, 30.0, config).unwrap();
            labels.iter().filter(|label| label[1]).count() as f64 / labels.len() as f64
        };
        let found = share(&ContactConfig::default());
        assert!((0.1..0.35).contains(&found), "{found}");
        let slow = ContactConfig {
            begin_share: 0.0,
            end_share: 0.0,
            ..ContactConfig::default()
        };
        assert!(share(&slow) < 0.5 * found);
    }

    #[test]
    fn noise_between_the_limits_does_not_flicker() {
        // Swings up and down between the two heights, slowly enough in speed to count.
        let labels = detect(
            |frame| Vector3::new(0.0, if frame % 8 < 4 { 0.025 } else { 0.04 }, 0.0),
            64,
        );
        assert!(labels.iter().all(|stands| *stands));
        let high = detect(
            |frame| Vector3::new(0.0, if frame % 8 < 4 { 0.035 } else { 0.045 }, 0.0),
            64,
        );
        assert!(high.iter().all(|stands| !stands));
    }

    #[test]
    fn short_gaps_and_contacts_are_removed_but_not_at_the_ends() {
        let mut labels: Vec<[bool; 4]> = [1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1]
            .map(|bit| [bit == 1; 4])
            .to_vec();
        remove_short_runs(&mut labels, 0, false, 2);
        remove_short_runs(&mut labels, 0, true, 2);
        let bits: Vec<_> = labels.iter().map(|label| u8::from(label[0])).collect();
        assert_eq!(bits, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(labels[8][1]);
    }

    #[test]
    fn what_is_not_finite_has_no_contact_and_limits_are_checked() {
        let labels = detect(
            |frame| Vector3::new(0.0, 0.0, if frame == 5 { f64::NAN } else { 0.0 }),
            12,
        );
        assert!(!labels[5] && labels[0] && labels[11]);
        let config = ContactConfig {
            end_height: 0.01,
            ..ContactConfig::default()
        };
        let message = contacts(&[], REST, 0.0, 30.0, &config)
            .unwrap_err()
            .to_string();
        assert!(message.contains("contacts.end_height is 0.01"), "{message}");
        assert!(
            contacts(&[], REST, 0.0, 30.0, &ContactConfig::default())
                .unwrap()
                .is_empty()
        );
    }
}
