//! From a stick or a path to what is wanted of a character.
//!
//! A stick names a velocity and a facing; the way towards them is that of a critically damped
//! spring, so that a wish changes at once and the steering does not jump. A path names places at
//! times. What is not finite is refused, what no data hold is clamped, and both are counted.

use nalgebra::Vector2;

use crate::data::FRAME_RATE;
use crate::rotation::wrapped;
use crate::steering::AHEAD;
use crate::steering::SteeringTarget;
use crate::trajectory::Root;

/// How a stick is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StickOptions {
    /// Seconds in which half of a change of velocity is made.
    pub velocity_half_life: f64,
    /// Seconds in which half of a turn is made.
    pub heading_half_life: f64,
    /// Largest speed that is asked of the model, m/s.
    pub fastest: f64,
    /// How much of the way to the wanted motion every estimate is drawn: displacement, turn.
    pub strength: (f64, f64),
}

impl Default for StickOptions {
    fn default() -> Self {
        Self {
            velocity_half_life: 0.3,
            heading_half_life: 0.17,
            fastest: 5.0,
            strength: (0.3, 0.3),
        }
    }
}

/// What a player asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JoystickInput {
    /// Wanted velocity over the ground, x and z of the world, m/s.
    pub velocity: Vector2<f64>,
    /// Wanted facing in radians; none: the way that it moves, or as it stands.
    pub facing: Option<f64>,
}

/// The spring between a stick and a character.
#[derive(Debug, Clone)]
pub struct StickFollower {
    options: StickOptions,
    velocity: Vector2<f64>,
    acceleration: Vector2<f64>,
    turn: f64,
    wanted: JoystickInput,
    clamped: u64,
}

/// Below this speed a character keeps the way that it faces.
const STANDING: f64 = 0.1;

impl StickFollower {
    /// For a character that stands.
    pub fn new(options: StickOptions) -> Self {
        Self {
            options,
            velocity: Vector2::zeros(),
            acceleration: Vector2::zeros(),
            turn: 0.0,
            wanted: JoystickInput::default(),
            clamped: 0,
        }
    }

    /// How the stick is followed.
    pub fn options_mut(&mut self) -> &mut StickOptions {
        &mut self.options
    }

    /// Goes on from a motion that something else has brought about: velocity over the ground in m/s,
    /// turn in rad/s.
    pub fn go_on(&mut self, velocity: Vector2<f64>, turn: f64) {
        self.velocity = velocity;
        self.acceleration = Vector2::zeros();
        self.turn = turn;
    }

    /// Takes a new wish. What is not finite leaves the last one as it is; what is too fast is
    /// slowed down. Both are counted, and the answer is whether the wish was taken as it was.
    pub fn want(&mut self, stick: JoystickInput) -> bool {
        let finite = stick.velocity.iter().all(|value| value.is_finite())
            && stick.facing.is_none_or(f64::is_finite);
        if !finite {
            self.clamped += 1;
            return false;
        }
        let speed = stick.velocity.norm();
        self.wanted = stick;
        if speed > self.options.fastest {
            self.wanted.velocity *= self.options.fastest / speed;
            self.clamped += 1;
            return false;
        }
        true
    }

    /// How many wishes were refused or clamped.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// What is wanted of a character whose root is there, and one frame further with the spring.
    pub fn wish(&mut self, root: &Root) -> SteeringTarget {
        let goal = self.wanted.velocity;
        let facing = self.wanted.facing.unwrap_or(if goal.norm() > STANDING {
            goal.x.atan2(goal.y)
        } else {
            root.heading
        });
        // Away from the way that it faces the turn must be decided: it goes on as it began.
        let mut off = wrapped(root.heading - facing);
        if off.abs() > 2.6 && self.turn.abs() > 0.5 && off.signum() == self.turn.signum() {
            off -= off.signum() * std::f64::consts::TAU;
        }
        let velocity = Spring::new(self.options.velocity_half_life);
        let heading = Spring::new(self.options.heading_half_life);
        let at = |seconds: f64| {
            let (mut position, mut speed) = (Vector2::zeros(), Vector2::zeros());
            for axis in 0..2 {
                let (moved, now, _) = velocity.towards_velocity(
                    self.velocity[axis],
                    self.acceleration[axis],
                    goal[axis],
                    seconds,
                );
                position[axis] = moved;
                speed[axis] = now;
            }
            let (angle, _) = heading.towards_zero(off, self.turn, seconds);
            let root = Root {
                position: root.position + position,
                heading: root.heading + angle - off,
            };
            (root, speed)
        };
        let frame = 1.0 / FRAME_RATE;
        let ahead = AHEAD.map(|seconds| at(seconds).0);
        let (next, _) = at(frame);
        let motion = (next.position - root.position) * FRAME_RATE;
        let turn = (next.heading - root.heading) * FRAME_RATE;
        for axis in 0..2 {
            let (_, speed, acceleration) = velocity.towards_velocity(
                self.velocity[axis],
                self.acceleration[axis],
                goal[axis],
                frame,
            );
            self.velocity[axis] = speed;
            self.acceleration[axis] = acceleration;
        }
        self.turn = heading.towards_zero(off, self.turn, frame).1;
        SteeringTarget {
            ahead: Some(ahead),
            motion: Some((motion, turn)),
            strength: self.options.strength,
        }
    }
}

/// A critically damped spring, given by the time in which it makes half of its way.
#[derive(Debug, Clone, Copy)]
struct Spring {
    rate: f64,
}

impl Spring {
    fn new(half_life: f64) -> Self {
        // (1 + rate t) exp(-rate t) is about one half at rate t = 1.678.
        Self {
            rate: 1.678 / half_life.max(1e-3),
        }
    }

    /// Distance, velocity and acceleration after a time, on the way to a velocity.
    fn towards_velocity(
        self,
        velocity: f64,
        acceleration: f64,
        goal: f64,
        seconds: f64,
    ) -> (f64, f64, f64) {
        let rate = self.rate;
        let (first, fading) = (velocity - goal, (-rate * seconds).exp());
        let second = acceleration + first * rate;
        let distance = goal * seconds + first / rate + second / (rate * rate)
            - fading * ((first + second * seconds) / rate + second / (rate * rate));
        (
            distance,
            goal + fading * (first + second * seconds),
            fading * (acceleration - second * rate * seconds),
        )
    }

    /// Place and velocity after a time, on the way to zero.
    fn towards_zero(self, place: f64, velocity: f64, seconds: f64) -> (f64, f64) {
        let second = velocity + place * self.rate;
        let fading = (-self.rate * seconds).exp();
        (
            fading * (place + second * seconds),
            fading * (velocity - second * self.rate * seconds),
        )
    }
}

/// A place to be at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waypoint {
    /// Seconds from the start of the path.
    pub seconds: f64,
    /// Place on the ground, x and z.
    pub position: Vector2<f64>,
    /// Facing in radians; none: along the path.
    pub facing: Option<f64>,
}

/// A path of places with times.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedPath {
    points: Vec<Waypoint>,
}

impl TimedPath {
    /// A path through points.
    ///
    /// # Errors
    /// No point, numbers that are not finite, or times that do not rise: says which.
    pub fn new(points: Vec<Waypoint>) -> Result<Self, String> {
        if points.is_empty() {
            return Err("a path has at least one point".into());
        }
        for (index, point) in points.iter().enumerate() {
            let numbers = [point.seconds, point.position.x, point.position.y];
            if !numbers.iter().all(|value| value.is_finite())
                || point.facing.is_some_and(|facing| !facing.is_finite())
            {
                return Err(format!("point {index} of the path is not finite"));
            }
        }
        if let Some(index) = points
            .windows(2)
            .position(|pair| pair[1].seconds <= pair[0].seconds)
        {
            return Err(format!(
                "times must rise: point {} comes at {} s after one at {} s",
                index + 1,
                points[index + 1].seconds,
                points[index].seconds
            ));
        }
        Ok(Self { points })
    }

    /// The points, times rising.
    pub fn points(&self) -> &[Waypoint] {
        &self.points
    }

    /// Seconds at which the last point is due.
    pub fn end(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.seconds)
    }

    /// Where the root should be at a time: on straight lines between the points, before the first
    /// and after the last at these.
    pub fn at(&self, seconds: f64) -> Root {
        let after = self
            .points
            .partition_point(|point| point.seconds <= seconds);
        let last = self.points.len() - 1;
        let (from, to) = (
            &self.points[after.saturating_sub(1).min(last)],
            &self.points[after.min(last)],
        );
        let length = to.seconds - from.seconds;
        let share = if length > 0.0 {
            ((seconds - from.seconds) / length).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let along = |index: usize| {
            let next = (index + 1).min(last);
            let way = self.points[next].position - self.points[next - 1.min(next)].position;
            (way.norm() > 1e-6).then(|| way.x.atan2(way.y))
        };
        let segment = after.saturating_sub(1).min(last.saturating_sub(1));
        let heading = match (from.facing, to.facing) {
            (Some(first), Some(second)) => first + share * wrapped(second - first),
            (Some(facing), None) | (None, Some(facing)) => facing,
            (None, None) => along(segment).unwrap_or(0.0),
        };
        Root {
            position: from.position.lerp(&to.position, share),
            heading,
        }
    }

    /// What is wanted of a character at a time on the path; `gain` is how much of its distance from
    /// the path is made good within a second.
    pub fn wish(
        &self,
        seconds: f64,
        root: &Root,
        gain: f64,
        strength: (f64, f64),
    ) -> SteeringTarget {
        let frame = 1.0 / FRAME_RATE;
        let (now, next) = (self.at(seconds), self.at(seconds + frame));
        let motion =
            (next.position - now.position) * FRAME_RATE + (now.position - root.position) * gain;
        let turn = wrapped(next.heading - now.heading) * FRAME_RATE
            + wrapped(now.heading - root.heading) * gain;
        SteeringTarget {
            ahead: Some(AHEAD.map(|ahead| self.at(seconds + ahead))),
            motion: Some((motion, turn)),
            strength,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn springs_arrive_and_pass_half_way_in_time() {
        let spring = Spring::new(0.2);
        let (_, speed, _) = spring.towards_velocity(0.0, 0.0, 2.0, 0.2);
        assert!((speed - 1.0).abs() < 0.01, "{speed}");
        let (place, velocity) = spring.towards_zero(1.0, 0.0, 2.0);
        assert!(place.abs() < 1e-4 && velocity.abs() < 1e-3);
        // The distance is the integral of the speed.
        let steps = 10_000;
        let sum: f64 = (0..steps)
            .map(|step| {
                let time = (f64::from(step) + 0.5) / f64::from(steps);
                spring.towards_velocity(0.3, -1.0, 2.0, time).1 / f64::from(steps)
            })
            .sum();
        let (distance, _, _) = spring.towards_velocity(0.3, -1.0, 2.0, 1.0);
        assert!((distance - sum).abs() < 1e-6);
    }

    #[test]
    fn a_stick_leads_ahead_and_turns_the_shorter_way() {
        let mut follower = StickFollower::new(StickOptions::default());
        assert!(follower.want(JoystickInput {
            velocity: Vector2::new(1.0, 0.0),
            facing: None,
        }));
        let root = Root::default();
        let wish = follower.wish(&root);
        let ahead = wish.ahead.unwrap();
        assert!(ahead[2].position.x > 0.5 && ahead[2].position.y.abs() < 1e-9);
        assert!(ahead[2].heading > 1.4 && ahead[2].heading < 1.7);
        assert!(ahead[0].heading > 0.0);
    }

    #[test]
    fn wishes_that_are_none_are_counted_and_too_fast_ones_slowed() {
        let mut follower = StickFollower::new(StickOptions::default());
        let wrong = JoystickInput {
            velocity: Vector2::new(f64::NAN, 0.0),
            facing: None,
        };
        assert!(!follower.want(wrong));
        let fast = JoystickInput {
            velocity: Vector2::new(0.0, 99.0),
            facing: Some(0.0),
        };
        assert!(!follower.want(fast));
        assert_eq!(follower.clamped(), 2);
        assert!((follower.wanted.velocity.norm() - 5.0).abs() < 1e-12);
    }

    #[test]
    fn paths_are_straight_between_their_points() {
        let point = |seconds: f64, x: f64, z: f64| Waypoint {
            seconds,
            position: Vector2::new(x, z),
            facing: None,
        };
        let path = TimedPath::new(vec![
            point(0.0, 0.0, 0.0),
            point(2.0, 0.0, 2.0),
            point(3.0, 1.0, 2.0),
        ])
        .unwrap();
        assert!((path.at(1.0).position - Vector2::new(0.0, 1.0)).norm() < 1e-12);
        assert!(path.at(1.0).heading.abs() < 1e-12);
        assert!((path.at(2.5).heading - std::f64::consts::FRAC_PI_2).abs() < 1e-12);
        assert!((path.at(9.0).position - Vector2::new(1.0, 2.0)).norm() < 1e-12);
        assert!(TimedPath::new(vec![]).is_err());
        assert!(TimedPath::new(vec![point(1.0, 0.0, 0.0), point(1.0, 1.0, 0.0)]).is_err());
        assert!(TimedPath::new(vec![point(f64::NAN, 0.0, 0.0)]).is_err());
    }
}
