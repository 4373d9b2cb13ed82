//! The scripted demonstrator: past the obstacle on a side drawn at random, along tangents.

use kinestream_random::NoiseStream;

use super::environment::MAX_STEP;
use super::geometry::{self, Disc, Point};
use crate::environment::{Demonstrator, Environment};

/// Ranges from which a demonstrator draws: the clearance that it keeps from the obstacle, meters, and its share of the
/// largest speed.
const CLEARANCE: (f64, f64) = (0.03, 0.08);
const SPEED_SHARE: (f64, f64) = (0.7, 1.0);
/// The stream of random numbers that demonstrators draw from; the places of the environment come from another.
const CHOICES: u64 = 1;

/// Drives to the goal on the left or on the right of the obstacle, both equally likely wherever it starts, and keeps one
/// speed and one clearance for the whole episode.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoWaysDemonstrator {
    /// 1 to pass the obstacle on its left, seen from the start, -1 on its right.
    side: f64,
    clearance: f64,
    /// Meters per control step.
    step: f64,
}

impl TwoWaysDemonstrator {
    /// A demonstrator whose side, clearance and speed depend on `seed` alone.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut random = NoiseStream::with_stream(u64::from(seed), CHOICES);
        let side = if random.below(2) == 0 { 1.0 } else { -1.0 };
        let mut within = |(low, high): (f64, f64)| low + random.uniform() * (high - low);
        Self {
            side,
            clearance: within(CLEARANCE),
            step: MAX_STEP * within(SPEED_SHARE),
        }
    }

    /// The direction to drive in: to the goal where that keeps the clearance, else along the tangent on its side.
    fn direction(&self, robot: Point, goal: Point, obstacle: Disc) -> Point {
        let to_goal = geometry::difference(goal, robot);
        // A little less than it keeps: on its tangents, rounding decides what is a contact.
        let kept = Disc {
            radius: obstacle.radius + 0.999 * self.clearance,
            ..obstacle
        };
        if kept.contact(robot, goal).is_none() {
            return to_goal;
        }
        let [x, y] = geometry::difference(obstacle.center, robot);
        let away = geometry::length([x, y]);
        let sine = self.side * ((obstacle.radius + self.clearance) / away).min(1.0);
        let cosine = (1.0 - sine * sine).sqrt();
        [cosine * x - sine * y, sine * x + cosine * y]
    }
}

impl Demonstrator for TwoWaysDemonstrator {
    fn act(&mut self, environment: &dyn Environment) -> Vec<f64> {
        let state = environment.array("state").unwrap_or_default();
        let [x, y, goal_x, goal_y, obstacle_x, obstacle_y, radius] = state[..] else {
            // Another environment: nothing to do there.
            return environment.hold_action();
        };
        let obstacle = Disc {
            center: [obstacle_x, obstacle_y],
            radius,
        };
        let direction = self.direction([x, y], [goal_x, goal_y], obstacle);
        let share = (self.step / geometry::length(direction)).min(1.0);
        vec![x + share * direction[0], y + share * direction[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::StepResult;
    use crate::two_ways::TwoWays;

    fn demonstrate(start: u32, seed: u32) -> StepResult {
        let mut world = TwoWays::new();
        world.reset(start);
        let mut demonstrator = TwoWaysDemonstrator::new(seed);
        loop {
            let action = demonstrator.act(&world);
            let result = world.step(&action).unwrap();
            if result.end.is_some() {
                return result;
            }
        }
    }

    #[test]
    fn both_ways_occur_equally_often_from_one_start() {
        for start in [1, 2, 3] {
            let results = (0..400).map(|seed| demonstrate(start, seed));
            let left = results.filter(|result| result.route == Some("left"));
            let left = left.count();
            // Four standard deviations of a fair coin.
            assert!((160..=240).contains(&left), "{left} of 400 on the left");
        }
    }

    #[test]
    fn every_demonstration_succeeds_near_the_shortest_way() {
        for seed in 0..500 {
            let result = demonstrate(seed, seed);
            assert!(result.success(), "seed {seed}: {result:?}");
            assert!(result.reward > 0.8, "seed {seed}: {result:?}");
        }
    }
}
