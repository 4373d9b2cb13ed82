//! How well a character follows what it was asked for: a path, a heading, a speed.
//!
//! All errors are absolute, frame by frame. A mean of signed errors, which some published code
//! takes, lets those of a left and a right turn cancel.

use nalgebra::{UnitQuaternion, Vector2, Vector3};
use serde::Serialize;

use crate::{Error, Result};

/// Errors in one unit over all frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Errors {
    /// Root of the mean square.
    pub rmse: f64,
    /// Mean of the absolute errors.
    pub mean: f64,
    /// Largest absolute error.
    pub max: f64,
    /// Frames.
    pub frames: usize,
}

/// How far a character was from its path, in metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PathErrors {
    /// From the place asked for at the same time.
    pub in_time: Errors,
    /// From the nearest point of the path, at whatever time that was asked for.
    pub nearest: Errors,
}

impl Errors {
    /// Errors that are given one by one.
    ///
    /// # Errors
    /// No frame, or an error that is not finite.
    pub fn of(metric: &'static str, errors: impl IntoIterator<Item = f64>) -> Result<Self> {
        let (mut squares, mut sum, mut max, mut frames) = (0.0, 0.0, 0.0_f64, 0);
        for error in errors {
            if !error.is_finite() {
                return Err(Error::Metric {
                    metric,
                    reason: format!("frame {frames} is not finite"),
                });
            }
            squares += error * error;
            sum += error.abs();
            max = max.max(error.abs());
            frames += 1;
        }
        if frames == 0 {
            return Err(Error::Metric {
                metric,
                reason: "no frames".into(),
            });
        }
        let count = frames as f64;
        Ok(Self {
            rmse: (squares / count).sqrt(),
            mean: sum / count,
            max,
            frames,
        })
    }
}

/// Distance of a character from a path over the ground. `places` and `asked` are [x, z] in metres,
/// one of each per frame; the path is the line through all places asked for.
///
/// # Errors
/// Different numbers of frames, none at all, or a place that is not finite.
pub fn path_errors(places: &[Vector2<f64>], asked: &[Vector2<f64>]) -> Result<PathErrors> {
    const METRIC: &str = "path error";
    same_length(METRIC, places.len(), asked.len())?;
    let in_time = places
        .iter()
        .zip(asked)
        .map(|(place, asked)| (place - asked).norm());
    let nearest = places.iter().map(|place| {
        // One place alone is a path too.
        let first = asked.iter().take(1).map(|point| (place - point).norm());
        first
            .chain(
                asked
                    .windows(2)
                    .map(|ends| to_segment(place, &ends[0], &ends[1])),
            )
            .fold(f64::INFINITY, f64::min)
    });
    Ok(PathErrors {
        in_time: Errors::of(METRIC, in_time)?,
        nearest: Errors::of(METRIC, nearest)?,
    })
}

/// Difference of headings in degrees, the short way round. `headings` and `asked` are radians, one
/// of each per frame.
///
/// # Errors
/// As [`path_errors`].
pub fn heading_errors(headings: &[f64], asked: &[f64]) -> Result<Errors> {
    const METRIC: &str = "heading error";
    same_length(METRIC, headings.len(), asked.len())?;
    let errors = headings.iter().zip(asked);
    Errors::of(
        METRIC,
        errors.map(|(heading, asked)| turn_between(*asked, *heading).to_degrees()),
    )
}

/// Seconds from the first frame, in which a turn is asked for, to the first one after which the
/// heading stays within `tolerance` of what is asked, both in radians. None if it is outside in the
/// last frame.
///
/// # Errors
/// As [`path_errors`]; a rate or a tolerance that is not above 0.
pub fn settle_seconds(
    headings: &[f64],
    asked: &[f64],
    tolerance: f64,
    frame_rate: f64,
) -> Result<Option<f64>> {
    const METRIC: &str = "time to settle";
    same_length(METRIC, headings.len(), asked.len())?;
    above_zero(
        METRIC,
        &[("tolerance", tolerance), ("frame rate", frame_rate)],
    )?;
    // What is not finite is outside.
    let inside = |heading: &f64, asked: &f64| turn_between(*asked, *heading).abs() <= tolerance;
    let outside = headings
        .iter()
        .zip(asked)
        .rposition(|(heading, asked)| !inside(heading, asked));
    let settled = outside.map_or(0, |frame| frame + 1);
    Ok((settled < headings.len()).then(|| settled as f64 / frame_rate))
}

/// Difference of speeds in m/s, of means over a window of `seconds` (a step of a walk speeds up and
/// slows down by itself). `places` are [x, z] in metres per frame, `asked` speeds in m/s per frame.
///
/// # Errors
/// As [`path_errors`]; a rate that is not above 0, or fewer frames than the window has.
pub fn speed_errors(
    places: &[Vector2<f64>],
    asked: &[f64],
    seconds: f64,
    frame_rate: f64,
) -> Result<Errors> {
    const METRIC: &str = "speed error";
    same_length(METRIC, places.len(), asked.len())?;
    above_zero(METRIC, &[("window", seconds), ("frame rate", frame_rate)])?;
    let window = ((seconds * frame_rate).round() as usize).max(1);
    let errors = (window..places.len()).map(|frame| {
        let steps = frame - window..frame;
        let way: f64 = steps
            .clone()
            .map(|step| (places[step + 1] - places[step]).norm())
            .sum();
        let wanted: f64 = steps.map(|step| asked[step]).sum();
        (way * frame_rate - wanted) / window as f64
    });
    Errors::of(METRIC, errors)
}

/// Which way a rotation faces: the angle from +Z, positive towards +X (to the left), in radians.
/// None if it faces straight up or down.
#[must_use]
pub fn heading(rotation: &UnitQuaternion<f64>) -> Option<f64> {
    let facing = rotation * Vector3::z();
    (facing.xz().norm() > 1e-6).then(|| facing.x.atan2(facing.z))
}

/// The turn from one heading to another, -pi to pi.
#[must_use]
pub fn turn_between(from: f64, to: f64) -> f64 {
    let turn = (to - from).rem_euclid(std::f64::consts::TAU);
    if turn > std::f64::consts::PI {
        turn - std::f64::consts::TAU
    } else {
        turn
    }
}

/// Distance of a point from the piece of a line between two others.
fn to_segment(point: &Vector2<f64>, from: &Vector2<f64>, to: &Vector2<f64>) -> f64 {
    let line = to - from;
    let length = line.norm_squared();
    let share = if length > 0.0 {
        ((point - from).dot(&line) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (point - (from + line * share)).norm()
}

fn same_length(metric: &'static str, found: usize, asked: usize) -> Result<()> {
    if found == asked {
        return Ok(());
    }
    Err(Error::Metric {
        metric,
        reason: format!("{found} frames against {asked} asked for, expected one of each per frame"),
    })
}

fn above_zero(metric: &'static str, values: &[(&str, f64)]) -> Result<()> {
    match values
        .iter()
        .find(|(_, value)| !(value.is_finite() && *value > 0.0))
    {
        None => Ok(()),
        Some((name, value)) => Err(Error::Metric {
            metric,
            reason: format!("the {name} is {value}, expected a number above 0"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_PI_2, PI};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lagging_behind_on_the_path_is_an_error_in_time_only() {
        let asked: Vec<_> = (0..100)
            .map(|frame| Vector2::new(0.05 * f64::from(frame), 0.0))
            .collect();
        let places: Vec<_> = (0..100_i32)
            .map(|frame| Vector2::new(0.05 * f64::from((frame - 2).max(0)), 0.0))
            .collect();
        let errors = path_errors(&places, &asked).unwrap();
        assert!((errors.in_time.max - 0.1).abs() < 1e-12);
        assert!(errors.nearest.max < 1e-12);
    }

    #[test]
    fn distances_to_a_path_around_a_corner() {
        let corner = [
            Vector2::new(0.0, 0.0),
            Vector2::new(1.0, 0.0),
            Vector2::new(1.0, 1.0),
        ];
        let places = [
            Vector2::new(0.5, -0.3),
            Vector2::new(1.3, -0.4),
            Vector2::new(0.8, 0.5),
        ];
        let errors = path_errors(&places, &corner).unwrap().nearest;
        assert!(
            (errors.mean - (0.3 + 0.5 + 0.2) / 3.0).abs() < 1e-12,
            "{errors:?}"
        );
        assert!((errors.max - 0.5).abs() < 1e-12);
        assert!((errors.rmse - ((0.09 + 0.25 + 0.04) / 3.0_f64).sqrt()).abs() < 1e-12);
        let standing = path_errors(&places[..1], &corner[..1]).unwrap();
        assert_eq!(standing.nearest, standing.in_time);
    }

    #[test]
    fn errors_to_both_sides_do_not_cancel_and_wrap_around() {
        let errors = heading_errors(&[0.1, -0.1, PI - 0.1], &[0.0, 0.0, -PI + 0.1]).unwrap();
        let degrees = [0.1_f64, 0.1, 0.2].map(f64::to_degrees);
        assert!(
            (errors.mean - degrees.iter().sum::<f64>() / 3.0).abs() < 1e-9,
            "{errors:?}"
        );
        assert!((errors.max - degrees[2]).abs() < 1e-9);
    }

    #[test]
    fn a_turn_settles_when_it_stays() {
        // In tolerance at frames 3 and 4, out again at 5, in from 6 on.
        let headings = [0.0, 1.0, 2.0, 3.05, 3.2, 3.6, 3.1, -PI + 0.05, PI];
        let asked = [PI; 9];
        let settle = |frames: usize| {
            settle_seconds(
                &headings[..frames],
                &asked[..frames],
                10.0_f64.to_radians(),
                30.0,
            )
            .unwrap()
        };
        assert_eq!(settle(9), Some(6.0 / 30.0));
        assert_eq!(settle(5), Some(3.0 / 30.0));
        assert_eq!(settle(6), None);
        assert_eq!(
            settle_seconds(&[0.0], &[0.0], 0.1, 30.0).unwrap(),
            Some(0.0)
        );
        assert_eq!(
            settle_seconds(&[0.0, f64::NAN], &[0.0; 2], 0.1, 30.0).unwrap(),
            None
        );
    }

    #[test]
    fn speed_is_compared_over_a_window() {
        // 1 m/s with a wave of two frames, which a window of two frames does not see.
        let mut x = 0.0;
        let places: Vec<_> = (0..61)
            .map(|frame| {
                x += if frame % 2 == 0 {
                    0.02
                } else {
                    2.0 / 30.0 - 0.02
                };
                Vector2::new(x, 0.0)
            })
            .collect();
        let errors = speed_errors(&places, &[1.2; 61], 2.0 / 30.0, 30.0).unwrap();
        assert!(
            (errors.mean - 0.2).abs() < 1e-9 && (errors.max - 0.2).abs() < 1e-9,
            "{errors:?}"
        );
        assert_eq!(errors.frames, 59);
        assert!(speed_errors(&places[..2], &[1.0; 2], 1.0, 30.0).is_err());
    }

    #[test]
    fn headings_of_known_rotations() {
        let left = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), FRAC_PI_2);
        assert!((heading(&left).unwrap() - FRAC_PI_2).abs() < 1e-12);
        let down = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), FRAC_PI_2);
        assert_eq!(heading(&down), None);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert!(path_errors(&[], &[]).is_err());
        let message = heading_errors(&[0.0; 3], &[0.0; 2])
            .unwrap_err()
            .to_string();
        assert!(message.contains("3 frames against 2"), "{message}");
        assert!(settle_seconds(&[0.0], &[0.0], 0.0, 30.0).is_err());
        let message = heading_errors(&[0.0, f64::NAN], &[0.0; 2])
            .unwrap_err()
            .to_string();
        assert!(message.contains("frame 1 is not finite"), "{message}");
    }

    proptest! {
        #[test]
        fn turns_are_short_and_arrive(from in -20.0_f64..20.0, to in -20.0_f64..20.0) {
            let turn = turn_between(from, to);
            prop_assert!((-PI..=PI).contains(&turn));
            prop_assert!(((from + turn - to) / std::f64::consts::TAU).round().mul_add(
                -std::f64::consts::TAU, from + turn - to).abs() < 1e-9);
        }
    }
}
