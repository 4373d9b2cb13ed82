//! Push-T as an environment of the registry.

use super::keypoints::KEYPOINTS;
use super::render::IMAGE_SIZE;
use super::{PushT, TABLE_SIZE};
use crate::environment::{
    ActionSpec, ArraySpec, CameraSpec, Environment, EnvironmentError, EnvironmentSpec, EpisodeEnd,
    ObservationSpec, SavedState, ScoreProtocol, StepResult,
};

/// Push-T under its published protocol: at most 300 control steps, an episode ends with its success, and its score is
/// the largest reward in it.
pub static SPEC: EnvironmentSpec = EnvironmentSpec {
    name: "pusht",
    title: "Push-T",
    action: ActionSpec {
        low: &[0.0; 2],
        high: &[TABLE_SIZE; 2],
        meaning: "target x, y of the agent in pixels",
    },
    rate_hz: 10.0,
    max_steps: 300,
    score: ScoreProtocol::MaxReward,
    success: "coverage>0.95",
    arrays: &[
        ArraySpec {
            name: "keypoint",
            shape: &[KEYPOINTS, 2],
            meaning: "x, y of nine points of the T in pixels",
        },
        ArraySpec {
            name: "state",
            shape: &[5],
            meaning: "x, y of the agent, x, y of the T in pixels, angle of the T in radians",
        },
        ArraySpec {
            name: "agent_pos",
            shape: &[2],
            meaning: "x, y of the agent in pixels",
        },
    ],
    cameras: &[CameraSpec {
        name: "img",
        height: IMAGE_SIZE,
        width: IMAGE_SIZE,
    }],
    observations: &[
        ObservationSpec {
            arrays: &["keypoint", "agent_pos"],
            cameras: &[],
        },
        ObservationSpec {
            arrays: &["agent_pos"],
            cameras: &["img"],
        },
    ],
    routes: &[],
    configuration: "configs/pusht-state.toml",
    make: || Box::new(PushT::new()),
    demonstrator: None,
};

impl Environment for PushT {
    fn spec(&self) -> &'static EnvironmentSpec {
        &SPEC
    }

    fn reset(&mut self, seed: u32) {
        Self::reset(self, seed);
    }

    fn step(&mut self, action: &[f64]) -> Result<StepResult, EnvironmentError> {
        let target = self.progress.checked_action(&SPEC, action)?;
        let outcome = self.drive(target);
        let solved = outcome.success.then_some(EpisodeEnd::Success);
        Ok(StepResult {
            reward: outcome.reward,
            end: self.progress.advance(&SPEC, solved),
            route: None,
        })
    }

    fn array(&self, name: &str) -> Option<Vec<f64>> {
        let state = self.state();
        match name {
            "keypoint" => Some(self.observation()[..2 * KEYPOINTS].to_vec()),
            "state" => {
                let ([x, y], [block_x, block_y]) = (state.agent_position, state.block_position);
                Some(vec![x, y, block_x, block_y, state.block_angle])
            }
            "agent_pos" => Some(state.agent_position.to_vec()),
            _ => None,
        }
    }

    fn picture(&self, camera: &str) -> Option<Vec<u8>> {
        (camera == "img").then(|| self.render(IMAGE_SIZE))
    }

    fn hold_action(&self) -> Vec<f64> {
        self.state().agent_position.to_vec()
    }

    fn save(&self) -> SavedState {
        SavedState::new(&SPEC, self.clone())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), EnvironmentError> {
        self.clone_from(state.of(&SPEC)?);
        Ok(())
    }
}
