//! The environment: reset, control, state, and disturbances by hand.

use super::keypoints::{self, OBSERVATION_SIZE};
use super::physics::Vector;
use super::random::RandomState;
use super::render;
use super::scene::{self, Scene, TABLE_SIZE};
use super::score::{self, StepOutcome};
use crate::environment::{ACTION_LIMIT, EpisodeProgress};

/// Seconds of one physics step.
pub const PHYSICS_STEP: f64 = 0.01;
/// Seconds of one control step.
pub const CONTROL_STEP: f64 = PHYSICS_STEP * PHYSICS_STEPS_PER_CONTROL as f64;
/// Largest magnitude of a target's or a position's coordinate, pixels; guards the arithmetic
/// against overflow.
pub const TARGET_LIMIT: f64 = ACTION_LIMIT;

const PHYSICS_STEPS_PER_CONTROL: u32 = 10;
/// Proportional gain of the agent's controller, 1/s².
const POSITION_GAIN: f64 = 100.0;
/// Derivative gain of the agent's controller, 1/s.
const VELOCITY_GAIN: f64 = 20.0;

/// Why a request was refused. The environment is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PushTError {
    /// A number was NaN or infinite, or too large.
    #[error(
        "Push-T {what}: {value} is not a finite number within ±{limit}; \
         check the policy's output and its normaliser"
    )]
    OutOfRange {
        /// What the number was meant for.
        what: &'static str,
        /// The number.
        value: f64,
        /// Largest permitted magnitude.
        limit: f64,
    },
}

/// The bodies' placement and motion. Pixels, radians, seconds; y points down on the table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Centre of the agent's disc.
    pub agent_position: [f64; 2],
    /// Velocity of the agent.
    pub agent_velocity: [f64; 2],
    /// Origin of the T: the middle of its bar's outer edge.
    pub block_position: [f64; 2],
    /// Angle of the T, not wrapped.
    pub block_angle: f64,
    /// Velocity of the T's centre of gravity.
    pub block_velocity: [f64; 2],
    /// Angular velocity of the T.
    pub block_angular_velocity: f64,
}

/// One Push-T environment. A clone continues exactly as the original would.
#[derive(Clone, Debug)]
pub struct PushT {
    scene: Scene,
    goal: [[Vector; 4]; 2],
    /// Of the steps that [`Environment`](crate::environment::Environment) takes alone.
    pub(super) progress: EpisodeProgress,
}

impl Default for PushT {
    fn default() -> Self {
        Self::new()
    }
}

impl PushT {
    /// The environment before its first reset: agent at (256, 400), T at (256, 300, 0).
    #[must_use]
    pub fn new() -> Self {
        Self {
            scene: Scene::new(),
            goal: scene::goal_rectangles(),
            progress: EpisodeProgress::default(),
        }
    }

    /// Starts the episode of `seed`, drawn as the reference draws it, and returns its state.
    pub fn reset(&mut self, seed: u32) -> State {
        let mut random = RandomState::new(seed);
        let agent_x = f64::from(random.integer(50, 450));
        let agent_y = f64::from(random.integer(50, 450));
        let block_x = f64::from(random.integer(100, 400));
        let block_y = f64::from(random.integer(100, 400));
        let pi = std::f64::consts::PI;
        let angle = random.normal() * 2.0 * pi - pi;
        self.start([agent_x, agent_y, block_x, block_y, angle])
    }

    /// Starts an episode from `state` = agent x, y, T x, y, angle. As in the reference's legacy
    /// order the T is placed before it is turned about its centre of gravity, so that it ends
    /// up elsewhere than at x, y; demonstrations are recorded that way.
    ///
    /// # Errors
    /// [`PushTError::OutOfRange`] for a number that is not finite or beyond [`TARGET_LIMIT`].
    pub fn reset_to_state(&mut self, state: [f64; 5]) -> Result<State, PushTError> {
        for value in state {
            check("initial state", value)?;
        }
        Ok(self.start(state))
    }

    /// Drives the agent towards `target` (pixels) for one control step of 0.1 s.
    ///
    /// # Errors
    /// [`PushTError::OutOfRange`] for a target that is not finite or beyond [`TARGET_LIMIT`].
    pub fn step(&mut self, target: [f64; 2]) -> Result<StepOutcome, PushTError> {
        checked_vector("target", target)?;
        Ok(self.drive(target))
    }

    /// One control step towards a target whose numbers are within [`TARGET_LIMIT`].
    pub(super) fn drive(&mut self, [x, y]: [f64; 2]) -> StepOutcome {
        let target = Vector::new(x, y);
        for _ in 0..PHYSICS_STEPS_PER_CONTROL {
            self.advance(target);
        }
        self.outcome()
    }

    /// Drives the agent towards `target` (pixels) for one physics step of 0.01 s.
    ///
    /// # Errors
    /// [`PushTError::OutOfRange`] for a target that is not finite or beyond [`TARGET_LIMIT`].
    pub fn physics_step(&mut self, target: [f64; 2]) -> Result<(), PushTError> {
        self.advance(checked_vector("target", target)?);
        Ok(())
    }

    /// How well the T covers the goal now.
    #[must_use]
    pub fn outcome(&self) -> StepOutcome {
        StepOutcome::from_coverage(score::coverage(&self.scene.block_rectangles(), &self.goal))
    }

    /// The present state.
    #[must_use]
    pub fn state(&self) -> State {
        let (agent, block) = (self.scene.agent(), self.scene.block());
        let array = |v: Vector| [v.x, v.y];
        State {
            agent_position: array(agent.position()),
            agent_velocity: array(agent.velocity),
            block_position: array(block.position()),
            block_angle: block.angle(),
            block_velocity: array(block.velocity),
            block_angular_velocity: block.angular_velocity,
        }
    }

    /// The low-dimensional observation, pixels: x, y of the nine keypoints of the T, then x, y
    /// of the agent.
    #[must_use]
    pub fn observation(&self) -> [f64; OBSERVATION_SIZE] {
        let (agent, block) = (self.scene.agent(), self.scene.block());
        keypoints::observation(block.transform(), agent.position())
    }

    /// The image observation with `size` pixels a side ([`super::IMAGE_SIZE`] in the data set):
    /// RGB, row by row, `size * size * 3` bytes.
    #[must_use]
    pub fn render(&self, size: usize) -> Vec<u8> {
        render::render(&self.scene, size)
    }

    /// False once the T has been squeezed out between agent and wall, which the reference's
    /// physics permits too. [`PushT::move_block`] brings it back.
    #[must_use]
    pub fn block_is_on_table(&self) -> bool {
        let on_table =
            |v: &Vector| (0.0..=TABLE_SIZE).contains(&v.x) && (0.0..=TABLE_SIZE).contains(&v.y);
        self.scene.block_rectangles().iter().flatten().all(on_table)
    }

    /// Puts the T's origin at `position` (pixels) under `angle` (radians), shifted as far as
    /// needed to lie within the walls, and at rest.
    ///
    /// # Errors
    /// [`PushTError::OutOfRange`] for a number that is not finite or beyond [`TARGET_LIMIT`].
    pub fn move_block(&mut self, position: [f64; 2], angle: f64) -> Result<(), PushTError> {
        let position = checked_vector("position of the T", position)?;
        check("angle of the T", angle)?;
        let block = self.scene.block_mut();
        block.set_angle(angle);
        block.set_position(position);
        block.stop();
        let shift = shift_within_walls(&self.scene.block_rectangles());
        self.scene.block_mut().set_position(position + shift);
        self.scene.forget_contacts();
        Ok(())
    }

    /// Brings a T that has been squeezed off the table back, to the nearest place at least 100 pixels
    /// from the table's edges; returns whether it had been off.
    ///
    /// # Errors
    /// As [`PushT::move_block`].
    pub fn return_block(&mut self) -> Result<bool, PushTError> {
        if self.block_is_on_table() {
            return Ok(false);
        }
        let State {
            block_position: [x, y],
            block_angle,
            ..
        } = self.state();
        let (low, high) = (100.0, TABLE_SIZE - 100.0);
        self.move_block([x.clamp(low, high), y.clamp(low, high)], block_angle)?;
        Ok(true)
    }

    /// Puts the agent at `position` (pixels), limited to the table, and at rest.
    ///
    /// # Errors
    /// [`PushTError::OutOfRange`] for a number that is not finite or beyond [`TARGET_LIMIT`].
    pub fn move_agent(&mut self, position: [f64; 2]) -> Result<(), PushTError> {
        let position = checked_vector("position of the agent", position)?;
        let agent = self.scene.agent_mut();
        agent.set_position(Vector::new(
            position.x.clamp(0.0, TABLE_SIZE),
            position.y.clamp(0.0, TABLE_SIZE),
        ));
        agent.stop();
        self.scene.forget_contacts();
        Ok(())
    }

    /// Adds `velocity` (pixels per second) to the agent's; the sum stays within
    /// [`TARGET_LIMIT`].
    ///
    /// # Errors
    /// [`PushTError::OutOfRange`] for a number that is not finite or beyond [`TARGET_LIMIT`].
    pub fn push_agent(&mut self, velocity: [f64; 2]) -> Result<(), PushTError> {
        let velocity = checked_vector("push of the agent", velocity)?;
        let agent = self.scene.agent_mut();
        let pushed = agent.velocity + velocity;
        agent.velocity = Vector::new(
            pushed.x.clamp(-TARGET_LIMIT, TARGET_LIMIT),
            pushed.y.clamp(-TARGET_LIMIT, TARGET_LIMIT),
        );
        Ok(())
    }

    fn start(&mut self, [agent_x, agent_y, block_x, block_y, angle]: [f64; 5]) -> State {
        self.scene = Scene::new();
        self.progress = EpisodeProgress::default();
        let agent = self.scene.agent_mut();
        agent.set_position(Vector::new(agent_x, agent_y));
        let block = self.scene.block_mut();
        block.set_position(Vector::new(block_x, block_y));
        block.set_angle(angle);
        self.scene.step(PHYSICS_STEP);
        self.state()
    }

    fn advance(&mut self, target: Vector) {
        let agent = self.scene.agent_mut();
        let acceleration = (target - agent.position()) * POSITION_GAIN
            + (Vector::ZERO - agent.velocity) * VELOCITY_GAIN;
        agent.velocity = agent.velocity + acceleration * PHYSICS_STEP;
        self.scene.step(PHYSICS_STEP);
    }
}

fn check(what: &'static str, value: f64) -> Result<(), PushTError> {
    // Written so that NaN fails too.
    if value.abs() <= TARGET_LIMIT {
        Ok(())
    } else {
        Err(PushTError::OutOfRange {
            what,
            value,
            limit: TARGET_LIMIT,
        })
    }
}

fn checked_vector(what: &'static str, [x, y]: [f64; 2]) -> Result<Vector, PushTError> {
    check(what, x)?;
    check(what, y)?;
    Ok(Vector::new(x, y))
}

/// The shift that brings the T's rectangles between the walls.
fn shift_within_walls(rectangles: &[[Vector; 4]; 2]) -> Vector {
    let low = scene::WALL_LOW + scene::WALL_RADIUS;
    let high = scene::WALL_HIGH - scene::WALL_RADIUS;
    let along = |coordinate: fn(&Vector) -> f64| {
        let values = rectangles.iter().flatten().map(coordinate);
        let smallest = values.clone().fold(f64::INFINITY, f64::min);
        let largest = values.fold(f64::NEG_INFINITY, f64::max);
        (low - smallest).max(0.0) + (high - largest).min(0.0)
    };
    Vector::new(along(|v| v.x), along(|v| v.y))
}

#[cfg(test)]
mod tests;
