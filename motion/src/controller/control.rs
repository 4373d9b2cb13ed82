//! What is asked of a live character, checked and brought within what the motion holds.

use nalgebra::Vector2;

use super::guard::shortened;
use crate::data::FRAME_RATE;
use crate::stick::{JoystickInput, TimedPath, Waypoint};
use crate::trajectory::Root;

/// Highest value of diversity and strength.
pub const MAX_KNOB: f64 = 2.0;
/// Farthest place from the origin of the world along either axis that a path may name, in metres.
pub const FARTHEST: f64 = 1e6;

/// Where a character is to go.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// A velocity and a facing; counts until the next goal, for [`super::ControllerOptions::patience`]
    /// at most.
    Stick(JoystickInput),
    /// Places at times, seconds from the moment at which they are taken. Counts until its end.
    Path(Vec<Waypoint>),
}

/// What became of something that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// As it was asked.
    AsAsked,
    /// Brought within what the motion holds.
    Clamped,
    /// Not at all: it was not finite, or no path. What was asked before counts on.
    Refused,
}

/// A stick within a speed; none if it is not finite.
pub(super) fn stick(mut stick: JoystickInput, fastest: f64) -> Option<(JoystickInput, bool)> {
    let is_finite = stick.velocity.iter().all(|value| value.is_finite())
        && stick.facing.is_none_or(f64::is_finite);
    if !is_finite {
        return None;
    }
    // Scaled down first: the length of the largest numbers is none.
    let largest = stick.velocity.amax();
    let is_clamped = largest > fastest || stick.velocity.norm() > fastest;
    if is_clamped {
        stick.velocity = shortened(stick.velocity / largest * fastest, fastest);
    }
    stick.facing = stick.facing.map(turned_back);
    Some((stick, is_clamped))
}

/// A path from where the character is, nowhere faster than `fastest`: its times are stretched.
/// None if it is no path.
pub(super) fn path(
    mut points: Vec<Waypoint>,
    root: &Root,
    fastest: f64,
) -> Option<(TimedPath, bool)> {
    TimedPath::new(points.clone()).ok()?;
    let mut is_clamped = false;
    for point in &mut points {
        let place = point.position.map(|at| at.clamp(-FARTHEST, FARTHEST));
        is_clamped |= place != point.position || point.seconds < 0.0;
        point.position = place;
        point.seconds = point.seconds.max(0.0);
        point.facing = point.facing.map(turned_back);
    }
    // Before its first point a path leads there from here.
    let mut before = (0.0, root.position);
    let mut delay = 0.0;
    let mut stretched = Vec::with_capacity(points.len() + 1);
    if points[0].seconds > 0.0 {
        stretched.push(Waypoint {
            seconds: 0.0,
            position: root.position,
            facing: points[0].facing.map(|_| root.heading),
        });
    }
    for (index, point) in points.into_iter().enumerate() {
        let (last, place) = before;
        let way = (point.position - place).norm();
        let asked = point.seconds + delay;
        // Where it is to be at once, it goes as fast as it can, whatever the path says.
        let at_once = index == 0 && point.seconds == 0.0;
        let seconds = if at_once {
            0.0
        } else {
            asked.max(last + way / fastest).max(last + 1e-6)
        };
        // Times that were clamped to 0 may coincide.
        is_clamped |= seconds > asked + 1e-6;
        delay += seconds - asked;
        stretched.push(Waypoint { seconds, ..point });
        before = (seconds, point.position);
    }
    Some((TimedPath::new(stretched).ok()?, is_clamped))
}

/// An angle of any size brought to -pi..pi.
fn turned_back(angle: f64) -> f64 {
    angle.sin().atan2(angle.cos())
}

/// A knob within its range; none if it is not finite.
pub(super) fn knob(value: f64) -> Option<(f64, bool)> {
    value.is_finite().then(|| {
        (
            value.clamp(0.0, MAX_KNOB),
            !(0.0..=MAX_KNOB).contains(&value),
        )
    })
}

/// A wish whose motion is nowhere faster than `fastest`, with places ahead that can be reached; and
/// whether it is another one.
pub(super) fn within_reach(
    mut wish: crate::crowd::SteeringTarget,
    root: &Root,
    fastest: f64,
) -> (crate::crowd::SteeringTarget, bool) {
    let mut is_clamped = false;
    if let Some((motion, turn)) = &mut wish.motion {
        let limited = shortened(*motion, fastest);
        let most = std::f64::consts::PI * FRAME_RATE;
        is_clamped |= limited != *motion;
        (*motion, *turn) = (limited, turn.clamp(-most, most));
    }
    if let Some(ahead) = &mut wish.ahead {
        for (place, seconds) in ahead.iter_mut().zip(crate::steering::AHEAD) {
            let way: Vector2<f64> = place.position - root.position;
            let limited = shortened(way, fastest * seconds);
            is_clamped |= limited != way;
            place.position = root.position + limited;
        }
    }
    (wish, is_clamped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seconds: f64, x: f64, z: f64) -> Waypoint {
        Waypoint {
            seconds,
            position: Vector2::new(x, z),
            facing: None,
        }
    }

    #[test]
    fn sticks_keep_their_direction() {
        let asked = |x: f64, z: f64| JoystickInput {
            velocity: Vector2::new(x, z),
            facing: Some(7.0),
        };
        let (taken, is_clamped) = stick(asked(1.0, -2.0), 5.0).unwrap();
        assert_eq!(
            (taken.velocity, is_clamped),
            (Vector2::new(1.0, -2.0), false)
        );
        assert!((taken.facing.unwrap() - (7.0 - std::f64::consts::TAU)).abs() < 1e-12);
        for large in [30.0, 1e300] {
            let (taken, is_clamped) = stick(asked(3.0 * large, 4.0 * large), 5.0).unwrap();
            assert!(is_clamped && (taken.velocity - Vector2::new(3.0, 4.0)).norm() < 1e-9);
        }
        assert!(stick(asked(f64::NAN, 0.0), 5.0).is_none());
        assert!(stick(asked(f64::INFINITY, 0.0), 5.0).is_none());
    }

    #[test]
    fn paths_begin_here_and_are_stretched_to_what_can_be_run() {
        let root = Root {
            position: Vector2::new(1.0, 0.0),
            heading: 0.3,
        };
        let easy = vec![point(2.0, 1.0, 4.0), point(4.0, 1.0, 8.0)];
        let (taken, is_clamped) = path(easy, &root, 5.0).unwrap();
        assert!(!is_clamped && (taken.end() - 4.0).abs() < 1e-12);
        assert!((taken.at(1.0).position - Vector2::new(1.0, 2.0)).norm() < 1e-12);
        let (taken, is_clamped) = path(vec![point(0.5, 1.0, 100.0)], &root, 5.0).unwrap();
        assert!(is_clamped && (taken.end() - 20.0).abs() < 1e-9);
        // A place at once is no speed.
        let (taken, is_clamped) = path(vec![point(0.0, 9.0, 0.0)], &root, 5.0).unwrap();
        assert!(!is_clamped && taken.end() == 0.0);
        let (taken, is_clamped) = path(vec![point(1.0, 1e30, 0.0)], &root, 5.0).unwrap();
        assert!(is_clamped && taken.at(1e9).position.x == FARTHEST);
        assert!(path(vec![], &root, 5.0).is_none());
        assert!(path(vec![point(1.0, f64::NAN, 0.0)], &root, 5.0).is_none());
        assert!(path(vec![point(1.0, 0.0, 0.0), point(0.5, 0.0, 0.0)], &root, 5.0).is_none());
        let (taken, is_clamped) = path(
            vec![point(-2.0, 1.0, 0.0), point(-1.0, 1.0, 1.0)],
            &root,
            5.0,
        )
        .unwrap();
        assert!(is_clamped && taken.end() > 0.19);
    }

    #[test]
    fn knobs_stay_in_their_range() {
        assert_eq!(knob(1.5), Some((1.5, false)));
        assert_eq!(knob(-1.0), Some((0.0, true)));
        assert_eq!(knob(1e30), Some((2.0, true)));
        assert_eq!(knob(f64::NAN), None);
    }
}
