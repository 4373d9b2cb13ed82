//! How a motion begins, as configured: tables `[control.start]` and `control.home`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::PerJoint;

/// Where a motion begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// Where the robot was measured: no command leaves before that is known.
    Measured,
    /// At the plan's first action, wherever the robot is: for actions that are no positions.
    Plan,
}

/// Table `[control.start]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartConfig {
    /// `measured` or `plan`. Default: `measured` where it is known which columns of the observation say where the robot is,
    /// else `plan`, with a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<StartFrom>,
    /// Columns of the observation that are the action's present values, one for each number of the action. Default:
    /// `plan.primer_columns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<usize>>,
    /// A motion whose plan begins farther than this from the measured position is refused: one number for all, or a list with
    /// one for each number of the action, in the action's units; absent for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farthest: Option<PerJoint>,
    /// Whether nothing moves unless a keeper of stops answers on `cmd/estop`: a button's queryable, say.
    pub keeper: bool,
}

/// A value of `[control.start]` or `control.home` that cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StartConfigError {
    /// A list of another length than an action has.
    #[error(
        "control.{key} has {found} numbers, expected {expected}, one for each number of the action"
    )]
    Length {
        /// The key below `control`.
        key: &'static str,
        /// Numbers of an action.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// A bound that is none.
    #[error(
        "control.start.farthest is {found} for number {column}, expected a finite number above 0"
    )]
    Farthest {
        /// The number of the action, from 0.
        column: usize,
        /// What stands there.
        found: f64,
    },
    /// A way home without a speed.
    #[error(
        "control.home needs a speed at which to go there: set control.limits.velocity for every joint{}",
        if *orientations { " and control.limits.angular_velocity" } else { "" }
    )]
    HomeSpeed {
        /// Whether the action has orientations.
        orientations: bool,
    },
    /// A home that the limits do not allow.
    #[error("control.home: {0}")]
    Home(#[from] crate::limiter::StartError),
}

impl StartConfig {
    /// The bound of every number of an action, infinite where there is none.
    ///
    /// # Errors
    /// A list of another length, a number that is not above 0.
    pub(crate) fn bounds(&self, action_size: usize) -> Result<Vec<f64>, StartConfigError> {
        let bounds = match &self.farthest {
            None => return Ok(vec![f64::INFINITY; action_size]),
            Some(PerJoint::All(bound)) => vec![*bound; action_size],
            Some(PerJoint::Each(bounds)) => bounds.clone(),
        };
        if bounds.len() != action_size {
            return Err(StartConfigError::Length {
                key: "start.farthest",
                expected: action_size,
                found: bounds.len(),
            });
        }
        match bounds
            .iter()
            .position(|&bound| !(bound.is_finite() && bound > 0.0))
        {
            Some(column) => Err(StartConfigError::Farthest {
                column,
                found: bounds[column],
            }),
            None => Ok(bounds),
        }
    }
}
