//! What a person did on the page.
//!
//! Promises that an [`Input`] that leaves [`Input::from_json`] is finite and inside its range,
//! whatever the text was, and that anything else is an error, never a panic.

use std::f64::consts::{PI, TAU};

use serde::Deserialize;

use crate::input::finite;
use crate::{InputError, PageInput};
use kinestream_sim::pusht::TABLE_SIZE;

/// Highest speed, in pixels per second and per axis, at which a person may push the agent.
pub const MAX_PUSH_SPEED: f64 = 2000.0;

/// One thing a person did. In JSON: `{"type": "drag_block", "x": 10, "y": 20, "angle": 0}`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// Hold the T at this pose until [`Input::ReleaseBlock`].
    DragBlock {
        /// Of the body's position, px, 0 to [`TABLE_SIZE`].
        x: f64,
        /// As `x`.
        y: f64,
        /// rad, in (-pi, pi].
        angle: f64,
    },
    /// Let go of the T. Also sent for a page that vanishes while it holds the T.
    ReleaseBlock,
    /// Give the agent this velocity now; its controller takes it on from there.
    PushAgent {
        /// px/s, at most [`MAX_PUSH_SPEED`] either way.
        vx: f64,
        /// As `vx`.
        vy: f64,
    },
    /// Stop the simulator.
    Pause,
    /// Go on.
    Resume,
    /// Start a new episode.
    Reset {
        /// The new seed; `None` repeats the present one.
        #[serde(default)]
        seed: Option<u32>,
    },
}

impl PageInput for Input {
    type Error = InputError;

    /// Positions and speeds are clamped to their range, the angle is reduced to (-pi, pi].
    fn from_json(text: &str) -> Result<Self, InputError> {
        serde_json::from_str::<Self>(text)
            .map_err(|source| InputError::Malformed {
                source,
                example: r#"{"type": "drag_block", "x": 256, "y": 256, "angle": 0}"#,
            })?
            .checked()
    }

    fn supersedes(&self, earlier: &Self) -> bool {
        matches!(
            (self, earlier),
            (Self::DragBlock { .. }, Self::DragBlock { .. })
                | (Self::PushAgent { .. }, Self::PushAgent { .. })
        )
    }

    fn parting(&self, before: Option<Self>) -> Option<Self> {
        match self {
            Self::DragBlock { .. } => Some(Self::ReleaseBlock),
            Self::ReleaseBlock => None,
            _ => before,
        }
    }
}

impl Input {
    fn checked(self) -> Result<Self, InputError> {
        Ok(match self {
            Self::DragBlock { x, y, angle } => Self::DragBlock {
                x: finite("x", x)?.clamp(0.0, TABLE_SIZE),
                y: finite("y", y)?.clamp(0.0, TABLE_SIZE),
                angle: wrapped(finite("angle", angle)?),
            },
            Self::PushAgent { vx, vy } => Self::PushAgent {
                vx: finite("vx", vx)?.clamp(-MAX_PUSH_SPEED, MAX_PUSH_SPEED),
                vy: finite("vy", vy)?.clamp(-MAX_PUSH_SPEED, MAX_PUSH_SPEED),
            },
            other => other,
        })
    }
}

/// The same angle in (-pi, pi].
fn wrapped(angle: f64) -> f64 {
    let turned = angle.rem_euclid(TAU);
    if turned > PI { turned - TAU } else { turned }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_parses() {
        let cases = [
            (
                r#"{"type":"drag_block","x":1,"y":2.5,"angle":-3}"#,
                Input::DragBlock {
                    x: 1.0,
                    y: 2.5,
                    angle: -3.0,
                },
            ),
            (r#"{"type":"release_block"}"#, Input::ReleaseBlock),
            (
                r#"{"type":"push_agent","vx":-5,"vy":7}"#,
                Input::PushAgent { vx: -5.0, vy: 7.0 },
            ),
            (r#"{"type":"pause"}"#, Input::Pause),
            (r#"{"type":"resume"}"#, Input::Resume),
            (r#"{"type":"reset"}"#, Input::Reset { seed: None }),
            (
                r#"{"type":"reset","seed":null}"#,
                Input::Reset { seed: None },
            ),
            (
                r#"{"type":"reset","seed":4294967295}"#,
                Input::Reset {
                    seed: Some(u32::MAX),
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Input::from_json(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "drag",
            r#"{"type":"fly"}"#,
            r#"{"type":"drag_block","x":1,"y":2}"#,
            r#"{"type":"drag_block","x":1,"y":2,"angle":"0"}"#,
            r#"{"type":"drag_block","x":1,"y":2,"angle":0,"z":1}"#,
            r#"{"type":"drag_block","x":1e999,"y":2,"angle":0}"#,
            r#"{"type":"drag_block","x":NaN,"y":2,"angle":0}"#,
            r#"{"type":"reset","seed":-1}"#,
            r#"{"type":"reset","seed":4294967296}"#,
            r#"{"type":"reset","seed":1.5}"#,
        ] {
            assert!(Input::from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_by_name() {
        let error = Input::PushAgent {
            vx: 0.0,
            vy: f64::NAN,
        }
        .checked()
        .unwrap_err();
        assert!(error.to_string().contains("vy"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let _ = Input::from_json(&text);
        }

        #[test]
        fn drags_end_inside_the_table_at_the_same_angle(x: f64, y: f64, angle in -1e6..1e6) {
            let checked = Input::DragBlock { x, y, angle }.checked();
            prop_assert_eq!(checked.is_ok(), x.is_finite() && y.is_finite());
            if let Ok(Input::DragBlock { x, y, angle: wrapped }) = checked {
                prop_assert!((0.0..=TABLE_SIZE).contains(&x) && (0.0..=TABLE_SIZE).contains(&y));
                prop_assert!(wrapped > -PI - 1e-12 && wrapped <= PI);
                let apart: f64 = angle - wrapped;
                prop_assert!((apart / TAU - (apart / TAU).round()).abs() < 1e-8);
            }
        }

        #[test]
        fn pushes_are_limited(vx: f64, vy: f64) {
            if let Ok(Input::PushAgent { vx, vy }) = (Input::PushAgent { vx, vy }).checked() {
                prop_assert!(vx.abs() <= MAX_PUSH_SPEED && vy.abs() <= MAX_PUSH_SPEED);
            }
        }
    }
}
