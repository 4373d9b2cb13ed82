//! The scripted course: what a player might ask for within a minute, as a path with times.
//!
//! The script names velocities and facings; the path is what a character would take that followed
//! the spring of [`crate::stick`] exactly. A course that no body can follow would measure nothing.

use nalgebra::Vector2;

use crate::data::FRAME_RATE;
use crate::stick::{JoystickInput, StickFollower, StickOptions, TimedPath, Waypoint};
use crate::trajectory::Root;
use crate::{Error, Result};

/// A stretch of the course.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leg {
    /// What is asked for.
    pub name: &'static str,
    /// How long, in seconds.
    pub seconds: f64,
    /// Speed in m/s.
    pub speed: f64,
    /// Direction of motion in degrees, 0 along +Z, positive to the left.
    pub direction: f64,
    /// Facing in degrees; none: where it moves.
    pub facing: Option<f64>,
    /// Half the width of a slalom about the direction, in degrees; 0 for straight on.
    pub sway: f64,
}

const fn leg(name: &'static str, seconds: f64, speed: f64, direction: f64) -> Leg {
    Leg {
        name,
        seconds,
        speed,
        direction,
        facing: None,
        sway: 0.0,
    }
}

/// The course: walk, turns of 90 and 180 degrees, run, turns at a run, stop, side step, slalom.
pub const COURSE: [Leg; 14] = [
    leg("stand", 1.0, 0.0, 0.0),
    leg("walk", 4.0, 1.3, 0.0),
    leg("turn left 90 at a walk", 3.0, 1.3, 90.0),
    leg("turn right 90 at a walk", 3.0, 1.3, 0.0),
    leg("turn 180 at a walk", 3.0, 1.3, 180.0),
    leg("run", 4.0, 3.5, 180.0),
    leg("turn left 90 at a run", 3.0, 3.5, 270.0),
    leg("turn right 90 at a run", 3.0, 3.5, 180.0),
    leg("turn 180 at a run", 3.0, 3.5, 0.0),
    leg("walk again", 2.0, 1.3, 0.0),
    leg("stop", 2.0, 0.0, 0.0),
    Leg {
        facing: Some(0.0),
        ..leg("side step", 2.5, 0.6, 90.0)
    },
    Leg {
        sway: 40.0,
        ..leg("slalom", 8.0, 1.3, 0.0)
    },
    leg("stop again", 2.0, 0.0, 0.0),
];

/// Period of the slalom in seconds.
const SLALOM: f64 = 4.0;

/// A course as a path, and when each of its legs begins.
#[derive(Debug, Clone)]
pub struct TestCourse {
    /// Where to be at which time.
    pub path: TimedPath,
    /// Legs with the seconds at which they begin.
    pub legs: Vec<(f64, Leg)>,
    /// Length in seconds.
    pub seconds: f64,
}

/// The spring that the course is laid out by. Captured people take a second from a stand to a walk
/// and 1.3 to 1.6 s for a half turn at a run: a stick that answers faster is for players, and a
/// course laid out by it would ask for what no clip holds.
pub const SPRING: StickOptions = StickOptions {
    velocity_half_life: 0.4,
    heading_half_life: 0.4,
    fastest: 5.0,
    strength: (0.5, 0.5),
};

/// The course as characters are judged by it.
///
/// # Errors
/// Never: its legs are finite.
pub fn course() -> Result<TestCourse> {
    lay_out(&COURSE, SPRING)
}

/// Lays out legs one after the other from the origin, facing +Z.
///
/// # Errors
/// No leg, or numbers that are not finite.
pub fn lay_out(legs: &[Leg], options: StickOptions) -> Result<TestCourse> {
    let mut follower = StickFollower::new(options);
    let mut root = Root::default();
    let mut points = vec![Waypoint {
        seconds: 0.0,
        position: root.position,
        facing: Some(root.heading),
    }];
    let mut begun = Vec::with_capacity(legs.len());
    let mut frame = 0_u64;
    for one in legs {
        let start = frame as f64 / FRAME_RATE;
        begun.push((start, *one));
        let frames = (one.seconds * FRAME_RATE).round() as u64;
        for _ in 0..frames {
            let within = frame as f64 / FRAME_RATE - start;
            let sway = one.sway * (std::f64::consts::TAU * within / SLALOM).sin();
            let direction = (one.direction + sway).to_radians();
            follower.want(JoystickInput {
                velocity: Vector2::new(direction.sin(), direction.cos()) * one.speed,
                facing: one.facing.map(f64::to_radians),
            });
            if let Some((motion, turn)) = follower.wish(&root).motion {
                root.position += motion / FRAME_RATE;
                root.heading += turn / FRAME_RATE;
            }
            frame += 1;
            points.push(Waypoint {
                seconds: frame as f64 / FRAME_RATE,
                position: root.position,
                facing: Some(root.heading),
            });
        }
    }
    Ok(TestCourse {
        path: TimedPath::new(points).map_err(|reason| Error::Config {
            key: "course",
            found: reason,
            expected: "legs that a character can take".into(),
        })?,
        legs: begun,
        seconds: frame as f64 / FRAME_RATE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_runs_turns_and_comes_to_rest() {
        let course = course().unwrap();
        let seconds: f64 = COURSE.iter().map(|leg| leg.seconds).sum();
        assert!((course.seconds - seconds).abs() < 1e-9);
        let speed = |time: f64| {
            let step = course.path.at(time + 0.1).position - course.path.at(time).position;
            step.norm() / 0.1
        };
        let at = |name: &str| {
            let (start, leg) = course
                .legs
                .iter()
                .find(|(_, leg)| leg.name == name)
                .unwrap();
            start + leg.seconds - 0.3
        };
        assert!((speed(at("run")) - 3.5).abs() < 0.05);
        assert!((speed(at("walk")) - 1.3).abs() < 0.05);
        assert!(speed(at("stop")) < 0.02);
        let side = course.path.at(at("side step"));
        assert!(side.heading.sin().abs() < 0.05 && side.heading.cos() > 0.99);
        for frame in 0..(seconds * 30.0) as usize {
            let time = frame as f64 / 30.0;
            assert!(speed(time) < 3.6);
        }
    }
}
