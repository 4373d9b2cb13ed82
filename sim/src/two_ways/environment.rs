//! The world: places drawn by a seed, a robot of limited speed, and contact.

use kinestream_random::NoiseStream;

use super::geometry::{self, Disc, Point};
use crate::environment::{EpisodeEnd, EpisodeProgress};

/// Side of the square table, meters; x and y go from 0 to this.
pub const TABLE_SIZE: f64 = 1.0;
/// Largest speed of the robot, m/s.
pub const MAX_SPEED: f64 = 0.4;
/// Radius of the region around the goal in which an episode is solved, meters.
pub const GOAL_RADIUS: f64 = 0.05;

/// Seconds of one control step.
const CONTROL_STEP: f64 = 0.1;
/// Farthest the robot gets in a control step, meters.
pub(super) const MAX_STEP: f64 = MAX_SPEED * CONTROL_STEP;
/// Ranges from which a reset draws, meters. The obstacle always lies across the straight way to the goal, and both ways
/// past it differ in length by a few per cent at most.
const START: [(f64, f64); 2] = [(0.45, 0.55), (0.05, 0.10)];
const GOAL: [(f64, f64); 2] = [(0.45, 0.55), (0.90, 0.95)];
const OBSTACLE: [(f64, f64); 2] = [(0.48, 0.52), (0.47, 0.53)];
const OBSTACLE_RADIUS: (f64, f64) = (0.10, 0.14);
/// The stream of random numbers that places are drawn from; demonstrators have others.
const PLACES: u64 = 0;

/// The sides of the obstacle, seen from the start.
pub(super) const ROUTES: [&str; 2] = ["left", "right"];
/// Why an episode fails.
const CONTACT: &str = "obstacle";

/// One two-ways environment. A clone continues exactly as the original would.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoWays {
    pub(super) robot: Point,
    pub(super) goal: Point,
    pub(super) obstacle: Disc,
    /// Length of the shortest way from the start into the goal region, meters.
    shortest: f64,
    /// Length of the way so far, meters.
    length: f64,
    /// How far the direction from the obstacle to the robot has turned since the reset, counterclockwise, radians.
    turned: f64,
    pub(super) progress: EpisodeProgress,
}

impl Default for TwoWays {
    fn default() -> Self {
        Self::new()
    }
}

impl TwoWays {
    /// The environment of seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::of_seed(0)
    }

    pub(super) fn of_seed(seed: u32) -> Self {
        let mut random = NoiseStream::with_stream(u64::from(seed), PLACES);
        let mut within = |(low, high): (f64, f64)| low + random.uniform() * (high - low);
        let robot = START.map(&mut within);
        let goal = GOAL.map(&mut within);
        let obstacle = Disc {
            center: OBSTACLE.map(&mut within),
            radius: within(OBSTACLE_RADIUS),
        };
        Self {
            robot,
            goal,
            obstacle,
            // The shortest way to the goal ends straight, so it enters the goal region this much earlier.
            shortest: obstacle.shortest_way(robot, goal) - GOAL_RADIUS,
            length: 0.0,
            turned: 0.0,
            progress: EpisodeProgress::default(),
        }
    }

    /// Drives straight towards `target`, limited to the table, as far as a control step goes; returns how the episode ended
    /// with it by the task's own rules.
    pub(super) fn drive(&mut self, target: Point) -> Option<EpisodeEnd> {
        let target = target.map(|coordinate| coordinate.clamp(0.0, TABLE_SIZE));
        let wanted = geometry::distance(target, self.robot);
        let next = match wanted > MAX_STEP {
            true => geometry::between(self.robot, target, MAX_STEP / wanted),
            false => target,
        };
        if let Some(share) = self.obstacle.contact(self.robot, next) {
            self.robot = geometry::between(self.robot, next, share);
            return Some(EpisodeEnd::Failure(CONTACT));
        }
        self.length += geometry::distance(next, self.robot);
        self.turned += geometry::turn(self.obstacle.center, self.robot, next);
        self.robot = next;
        let is_there = geometry::distance(next, self.goal) <= GOAL_RADIUS;
        is_there.then_some(EpisodeEnd::Success)
    }

    /// The side of the obstacle on which the robot passed.
    pub(super) fn route(&self) -> &'static str {
        ROUTES[usize::from(self.turned > 0.0)]
    }

    /// Length of the shortest way over that of the way so far, 0 to 1.
    pub(super) fn path_efficiency(&self) -> f64 {
        self.shortest / self.shortest.max(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Environment, StepResult};

    /// Drives through corners, each until it is reached, and returns the last result.
    fn drive(world: &mut TwoWays, corners: &[Point]) -> StepResult {
        let mut last = None;
        for corner in corners {
            while world.robot != *corner {
                let result = world.step(corner).unwrap();
                last = Some(result);
                if result.end.is_some() {
                    return result;
                }
            }
        }
        last.unwrap()
    }

    #[test]
    fn the_straight_way_leads_into_the_obstacle() {
        for seed in 0..500 {
            let mut world = TwoWays::of_seed(seed);
            let goal = world.goal;
            let result = drive(&mut world, &[goal]);
            assert_eq!(result.end, Some(EpisodeEnd::Failure("obstacle")));
            assert_eq!((result.reward, result.route), (0.0, None));
            // It stands where it touched.
            let away = geometry::distance(world.robot, world.obstacle.center);
            assert!((away - world.obstacle.radius).abs() < 1e-9, "{away}");
        }
    }

    #[test]
    fn both_ways_lead_to_the_goal_and_are_told_apart() {
        for (x, route) in [(0.3, "left"), (0.7, "right")] {
            let mut world = TwoWays::of_seed(3);
            let goal = world.goal;
            let result = drive(&mut world, &[[x, 0.5], goal]);
            assert_eq!(result.end, Some(EpisodeEnd::Success));
            assert_eq!(result.route, Some(route));
            assert!(result.reward > 0.7 && result.reward < 1.0, "{result:?}");
        }
    }

    #[test]
    fn a_detour_costs_score() {
        let score = |corners: &[Point]| {
            let mut world = TwoWays::of_seed(3);
            let goal = world.goal;
            drive(&mut world, &[corners, &[goal]].concat()).reward
        };
        assert!(score(&[[0.05, 0.5]]) < 0.9 * score(&[[0.3, 0.5]]));
    }

    #[test]
    fn the_robot_is_as_fast_as_it_may_be_and_stays_on_the_table() {
        let mut world = TwoWays::of_seed(3);
        let before = world.robot;
        world.step(&[-5.0, before[1]]).unwrap();
        assert!((before[0] - world.robot[0] - MAX_STEP).abs() < 1e-12);
        for _ in 0..20 {
            world.step(&[-5.0, before[1]]).unwrap();
        }
        assert_eq!(world.robot, [0.0, before[1]]);
    }
}
