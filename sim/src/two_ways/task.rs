//! Two ways as an environment of the registry, and its score.

use super::demonstrator::TwoWaysDemonstrator;
use super::environment::{ROUTES, TABLE_SIZE, TwoWays};
use super::geometry::Disc;
use crate::environment::{
    ActionSpec, ArraySpec, Environment, EnvironmentError, EnvironmentSpec, EpisodeEnd, SavedState,
    ScoreProtocol, StepResult,
};

/// Two ways: the score of an episode is its success weighted by path length (Anderson 2018, "On Evaluation of Embodied
/// Navigation Agents", SPL): the length of the shortest way over that of the way taken where the goal was reached, else 0.
pub static SPEC: EnvironmentSpec = EnvironmentSpec {
    name: "two_ways",
    title: "Two ways",
    action: ActionSpec {
        low: &[0.0; 2],
        high: &[TABLE_SIZE; 2],
        meaning: "target x, y of the robot in meters",
    },
    rate_hz: 10.0,
    max_steps: 100,
    score: ScoreProtocol::MaxReward,
    success: "goal reached",
    arrays: &[
        ArraySpec {
            name: "state",
            shape: &[7],
            meaning: "x, y of the robot, x, y of the goal, x, y and radius of the obstacle in meters",
        },
        ArraySpec {
            name: "agent_pos",
            shape: &[2],
            meaning: "x, y of the robot in meters",
        },
    ],
    cameras: &[],
    observations: &[],
    routes: &ROUTES,
    configuration: "configs/two-ways.toml",
    make: || Box::new(TwoWays::new()),
    demonstrator: Some(|seed| Box::new(TwoWaysDemonstrator::new(seed))),
};

impl Environment for TwoWays {
    fn spec(&self) -> &'static EnvironmentSpec {
        &SPEC
    }

    fn reset(&mut self, seed: u32) {
        *self = Self::of_seed(seed);
    }

    fn step(&mut self, action: &[f64]) -> Result<StepResult, EnvironmentError> {
        let target = self.progress.checked_action(&SPEC, action)?;
        let end = self.drive(target);
        let end = self.progress.advance(&SPEC, end);
        let success = end == Some(EpisodeEnd::Success);
        Ok(StepResult {
            reward: match success {
                true => self.path_efficiency(),
                false => 0.0,
            },
            end,
            route: success.then(|| self.route()),
        })
    }

    fn array(&self, name: &str) -> Option<Vec<f64>> {
        let ([x, y], [goal_x, goal_y]) = (self.robot, self.goal);
        let Disc {
            center: [obstacle_x, obstacle_y],
            radius,
        } = self.obstacle;
        match name {
            "state" => Some(vec![x, y, goal_x, goal_y, obstacle_x, obstacle_y, radius]),
            "agent_pos" => Some(vec![x, y]),
            _ => None,
        }
    }

    fn picture(&self, _camera: &str) -> Option<Vec<u8>> {
        None
    }

    fn hold_action(&self) -> Vec<f64> {
        self.robot.to_vec()
    }

    fn save(&self) -> SavedState {
        SavedState::new(&SPEC, self.clone())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), EnvironmentError> {
        self.clone_from(state.of(&SPEC)?);
        Ok(())
    }
}
