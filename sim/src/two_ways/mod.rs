//! Two ways: a point robot drives to a goal past a round obstacle, on the left or on the right, with equal right.
//!
//! The smallest task whose demonstrations have two modes: from any start both ways occur equally often, and their mean
//! leads into the obstacle. It shows whether a policy, or one that was distilled from it, has lost a mode.
//!
//! Promise: dynamics in closed form, in plain f64, without I/O or clocks. Equal seeds and actions give equal results bit for
//! bit.

mod demonstrator;
mod environment;
mod geometry;
mod task;

pub use demonstrator::TwoWaysDemonstrator;
pub use environment::{GOAL_RADIUS, MAX_SPEED, TABLE_SIZE, TwoWays};
pub use task::SPEC;
