//! What a robot's joints may do, as configured and checked.
//!
//! Nothing is limited unless it is configured; numbers that are not finite are refused without any limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::orientation::Orientations;

/// Limits on commands, table `[control.limits]`. A joint is a number of the action that is not part of an orientation.
///
/// Units are the action's: where it is an angle in radians, velocities are in radians per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Least position. A command never lies below it.
    pub lower: Option<PerJoint>,
    /// Greatest position, above the least.
    pub upper: Option<PerJoint>,
    /// Greatest speed in units per s, above 0.
    pub velocity: Option<PerJoint>,
    /// Greatest acceleration in units per s^2, above 0. Needs a velocity.
    pub acceleration: Option<PerJoint>,
    /// Greatest jerk in units per s^3, above 0. Needs an acceleration.
    pub jerk: Option<PerJoint>,
    /// Greatest angular velocity of every orientation in rad per s, above 0.
    pub angular_velocity: Option<f64>,
}

/// One number for all joints or one for each, in the order of the action's numbers, those of orientations left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a number for all joints, or a list with a number for each joint"
)]
pub enum PerJoint {
    /// The same for all.
    All(f64),
    /// One for each joint.
    Each(Vec<f64>),
}

impl From<f64> for PerJoint {
    fn from(all: f64) -> Self {
        Self::All(all)
    }
}

impl From<Vec<f64>> for PerJoint {
    fn from(each: Vec<f64>) -> Self {
        Self::Each(each)
    }
}

/// Why limits were refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LimitsError {
    /// A list that is too long or too short.
    #[error(
        "control.limits.{key} has {found} numbers, expected one number or {joints}, one for each number of the action \
         that is not part of an orientation"
    )]
    Length {
        /// Key in the table.
        key: &'static str,
        /// Joints of the action.
        joints: usize,
        /// Numbers given.
        found: usize,
    },
    /// A limit that limits nothing, or everything.
    #[error("control.limits.{key} is {found} for joint {joint}, expected {expected}")]
    Value {
        /// Key in the table.
        key: &'static str,
        /// The joint, from 0.
        joint: usize,
        /// What stands there.
        found: f64,
        /// What could.
        expected: &'static str,
    },
    /// No room to be in.
    #[error(
        "control.limits.lower is {lower} for joint {joint} and upper is {upper}, expected lower < upper"
    )]
    Empty {
        /// The joint, from 0.
        joint: usize,
        /// Least position.
        lower: f64,
        /// Greatest position.
        upper: f64,
    },
    /// A limit on a derivative without one on the derivative before it.
    #[error(
        "control.limits has {key} but no {missing}: expected both, since what bounds a change must know how far it may go"
    )]
    Missing {
        /// Key in the table.
        key: &'static str,
        /// The key that it needs.
        missing: &'static str,
    },
    /// The limiter works at a fixed rate.
    #[error("a limiter's period is 0 ns, expected at least 1 (1 kHz is 1000000)")]
    NoPeriod,
}

/// The limits of one joint; infinite where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct JointLimits {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) velocity: f64,
    pub(crate) acceleration: f64,
    pub(crate) jerk: f64,
}

const POSITIVE: &str = "a finite number above 0";
const FINITE: &str = "a finite number";

impl LimitsConfig {
    /// The limits of every joint of an action.
    ///
    /// # Errors
    /// Lists of another length than there are joints, numbers that are not finite or not positive where they should be,
    /// `lower` not below `upper`, `acceleration` without `velocity`, `jerk` without `acceleration`.
    pub(crate) fn joints(
        &self,
        orientations: &Orientations,
    ) -> Result<Vec<JointLimits>, LimitsError> {
        for (key, needing, missing, needed) in [
            (
                "acceleration",
                &self.acceleration,
                "velocity",
                &self.velocity,
            ),
            ("jerk", &self.jerk, "acceleration", &self.acceleration),
        ] {
            if needing.is_some() && needed.is_none() {
                return Err(LimitsError::Missing { key, missing });
            }
        }
        if let Some(found) = self.angular_velocity.filter(|&found| !is_positive(found)) {
            return Err(LimitsError::Value {
                key: "angular_velocity",
                joint: 0,
                found,
                expected: POSITIVE,
            });
        }
        let joints = orientations.joints();
        let read = |key, limit: &Option<PerJoint>, default, expected, allowed: fn(f64) -> bool| {
            let values = match limit {
                None => return Ok(vec![default; joints]),
                Some(PerJoint::All(value)) => vec![*value; joints],
                Some(PerJoint::Each(values)) => values.clone(),
            };
            if values.len() != joints {
                return Err(LimitsError::Length {
                    key,
                    joints,
                    found: values.len(),
                });
            }
            match values.iter().position(|&value| !allowed(value)) {
                None => Ok(values),
                Some(joint) => Err(LimitsError::Value {
                    key,
                    joint,
                    found: values[joint],
                    expected,
                }),
            }
        };
        let lower = read(
            "lower",
            &self.lower,
            f64::NEG_INFINITY,
            FINITE,
            f64::is_finite,
        )?;
        let upper = read("upper", &self.upper, f64::INFINITY, FINITE, f64::is_finite)?;
        let rate = |key, limit| read(key, limit, f64::INFINITY, POSITIVE, is_positive);
        let velocity = rate("velocity", &self.velocity)?;
        let acceleration = rate("acceleration", &self.acceleration)?;
        let jerk = rate("jerk", &self.jerk)?;
        let limits = (0..joints).map(|joint| {
            let (lower, upper) = (lower[joint], upper[joint]);
            if lower >= upper {
                return Err(LimitsError::Empty {
                    joint,
                    lower,
                    upper,
                });
            }
            Ok(JointLimits {
                lower,
                upper,
                velocity: velocity[joint],
                acceleration: acceleration[joint],
                jerk: jerk[joint],
            })
        });
        limits.collect()
    }
}

fn is_positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: f64) -> Option<PerJoint> {
        Some(PerJoint::All(value))
    }

    fn each(values: &[f64]) -> Option<PerJoint> {
        Some(PerJoint::Each(values.to_vec()))
    }

    fn refused(config: &LimitsConfig) -> String {
        let orientations = Orientations::new(&[[1, 2, 3, 4].into()], 7).unwrap();
        config.joints(&orientations).unwrap_err().to_string()
    }

    #[test]
    fn joints_are_the_numbers_outside_orientations() {
        let config = LimitsConfig {
            lower: all(-1.0),
            velocity: each(&[1.0, 2.0, 3.0]),
            ..LimitsConfig::default()
        };
        let orientations = Orientations::new(&[[1, 2, 3, 4].into()], 7).unwrap();
        let joints = config.joints(&orientations).unwrap();
        let expected = JointLimits {
            lower: -1.0,
            upper: f64::INFINITY,
            velocity: 2.0,
            acceleration: f64::INFINITY,
            jerk: f64::INFINITY,
        };
        assert_eq!((joints.len(), joints[1]), (3, expected));
        assert_eq!(
            LimitsConfig::default().joints(&Orientations::none(0)),
            Ok(vec![])
        );
    }

    #[test]
    fn errors_name_the_key_and_what_was_found_and_expected() {
        let none = LimitsConfig::default();
        let length = LimitsConfig {
            lower: each(&[1.0; 4]),
            ..none.clone()
        };
        assert_eq!(
            refused(&length),
            "control.limits.lower has 4 numbers, expected one number or 3, one for each number of the action that is not \
             part of an orientation"
        );
        for (limits, expected) in [
            (
                LimitsConfig {
                    velocity: each(&[1.0, -2.0, 1.0]),
                    ..none.clone()
                },
                "control.limits.velocity is -2 for joint 1, expected a finite number above 0",
            ),
            (
                LimitsConfig {
                    upper: all(f64::NAN),
                    ..none.clone()
                },
                "control.limits.upper is NaN for joint 0, expected a finite number",
            ),
            (
                LimitsConfig {
                    angular_velocity: Some(0.0),
                    ..none.clone()
                },
                "control.limits.angular_velocity is 0 for joint 0, expected a finite number above 0",
            ),
            (
                LimitsConfig {
                    lower: all(2.0),
                    upper: each(&[3.0, 2.5, 2.0]),
                    ..none.clone()
                },
                "control.limits.lower is 2 for joint 2 and upper is 2, expected lower < upper",
            ),
        ] {
            assert_eq!(refused(&limits), expected);
        }
        let acceleration = LimitsConfig {
            acceleration: all(1.0),
            ..none.clone()
        };
        assert!(
            refused(&acceleration).starts_with("control.limits has acceleration but no velocity")
        );
        let jerk = LimitsConfig {
            velocity: all(1.0),
            jerk: all(1.0),
            ..none
        };
        assert!(refused(&jerk).starts_with("control.limits has jerk but no acceleration"));
    }
}
