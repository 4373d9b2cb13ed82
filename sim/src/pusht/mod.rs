//! Push-T: a disc pushes a T onto its goal.
//!
//! Promise: the environment of real-stanford/diffusion_policy (`PushTEnv` and
//! `PushTKeypointsEnv`, legacy reset order) on the arithmetic of pymunk 6.2.1, in plain f64
//! without I/O or clocks. Equal states and targets give equal results bit for bit.

mod environment;
mod keypoints;
mod physics;
mod random;
mod raster;
mod render;
mod scene;
mod score;
pub mod symmetry;
mod task;

pub use environment::{CONTROL_STEP, PHYSICS_STEP, PushT, PushTError, State, TARGET_LIMIT};
pub use keypoints::{KEYPOINTS, OBSERVATION_SIZE, T_KEYPOINTS, pose_of};
pub use render::IMAGE_SIZE;
pub use scene::{AGENT_RADIUS, GOAL_POSE, T_RECTANGLES, TABLE_SIZE};
pub use score::{SUCCESS_COVERAGE, StepOutcome};
pub use task::SPEC;
