//! What a person did on the page.
//!
//! Promises that an [`Input`] that leaves [`Input::from_json`] is finite and inside its range,
//! whatever the text was, and that anything else is an error, never a panic.

use serde::Deserialize;

use crate::input::finite;
use crate::{InputError, PageInput};

/// Highest speed that a person may ask for, m/s. What the motion holds is less.
pub const MAX_SPEED: f64 = 10.0;
/// Most points of a path.
pub const MAX_PATH_POINTS: usize = 256;
/// Most letters of an action's name.
const MAX_ACTION_LETTERS: usize = 200;
/// Highest value of diversity and strength.
pub const MAX_KNOB: f64 = 2.0;
/// Slowest slow motion, in seconds of the character per second of the clock.
pub const MIN_PACE: f64 = 0.05;
/// Farthest place from the origin along either axis, m.
const MAX_PLACE: f64 = 1e6;

/// One thing a person did. In JSON: `{"type": "stick", "velocity": [0, 1.4], "facing": [0, 0]}`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// Move with this velocity until told otherwise; takes the character off its path. Zero is
    /// also sent for a page that vanishes while it steers.
    Stick {
        /// `[x, z]` in the world, m/s, at most [`MAX_SPEED`] long.
        velocity: [f64; 2],
        /// Direction `[x, z]` to look in, of length 1; zero: where it moves.
        facing: [f64; 2],
    },
    /// Walk along these points, from where the character is. Without points: stop.
    Path {
        /// `[x, z]` in the world, m, at most [`MAX_PATH_POINTS`].
        points: Vec<[f64; 2]>,
        /// m/s, 0 to [`MAX_SPEED`].
        speed: f64,
    },
    /// How the motion is drawn.
    Knobs {
        /// How freely it varies, 0 to [`MAX_KNOB`].
        diversity: f64,
        /// How strongly the control bends it, 0 to [`MAX_KNOB`].
        strength: f64,
    },
    /// Slow motion.
    Pace {
        /// Seconds of the character per second of the clock, [`MIN_PACE`] to 1.
        pace: f64,
    },
    /// Perform something.
    Act {
        /// Its name, of those that the page was told.
        action: String,
    },
    /// Hold time still.
    Pause,
    /// Go on.
    Resume,
    /// Begin afresh at the origin.
    Reset {
        /// The new seed; `None` repeats the present one.
        #[serde(default)]
        seed: Option<u32>,
    },
}

impl PageInput for Input {
    type Error = InputError;

    /// Speeds, places and knobs are clamped to their range, directions brought to length 1.
    fn from_json(text: &str) -> Result<Self, InputError> {
        serde_json::from_str::<Self>(text)
            .map_err(|source| InputError::Malformed {
                source,
                example: r#"{"type": "stick", "velocity": [0, 1.4], "facing": [0, 0]}"#,
            })?
            .checked()
    }

    fn supersedes(&self, earlier: &Self) -> bool {
        matches!(
            (self, earlier),
            (Self::Stick { .. }, Self::Stick { .. })
                | (Self::Path { .. }, Self::Path { .. })
                | (Self::Knobs { .. }, Self::Knobs { .. })
                | (Self::Pace { .. }, Self::Pace { .. })
        )
    }

    fn parting(&self, before: Option<Self>) -> Option<Self> {
        match self {
            Self::Stick { velocity, .. } if *velocity != [0.0; 2] => Some(Self::Stick {
                velocity: [0.0; 2],
                facing: [0.0; 2],
            }),
            // A path ends by itself.
            Self::Stick { .. } | Self::Path { .. } | Self::Reset { .. } | Self::Act { .. } => None,
            _ => before,
        }
    }
}

impl Input {
    fn checked(self) -> Result<Self, InputError> {
        Ok(match self {
            Self::Stick { velocity, facing } => {
                let (velocity, facing) = (pair("velocity", velocity)?, pair("facing", facing)?);
                let speed = length(velocity);
                Self::Stick {
                    velocity: if speed > MAX_SPEED {
                        directed(velocity).map(|share| share * MAX_SPEED)
                    } else {
                        velocity
                    },
                    facing: directed(facing),
                }
            }
            Self::Path { points, speed } => {
                if points.len() > MAX_PATH_POINTS {
                    return Err(InputError::TooMany {
                        field: "points",
                        limit: MAX_PATH_POINTS,
                        found: points.len(),
                    });
                }
                let points = points
                    .into_iter()
                    .map(|point| {
                        let place = pair("points", point)?;
                        Ok(place.map(|at| at.clamp(-MAX_PLACE, MAX_PLACE)))
                    })
                    .collect::<Result<_, InputError>>()?;
                Self::Path {
                    points,
                    speed: finite("speed", speed)?.clamp(0.0, MAX_SPEED),
                }
            }
            Self::Knobs {
                diversity,
                strength,
            } => Self::Knobs {
                diversity: finite("diversity", diversity)?.clamp(0.0, MAX_KNOB),
                strength: finite("strength", strength)?.clamp(0.0, MAX_KNOB),
            },
            Self::Pace { pace } => Self::Pace {
                pace: finite("pace", pace)?.clamp(MIN_PACE, 1.0),
            },
            Self::Act { action } => {
                let found = action.chars().count();
                if found > MAX_ACTION_LETTERS {
                    return Err(InputError::TooMany {
                        field: "action",
                        limit: MAX_ACTION_LETTERS,
                        found,
                    });
                }
                Self::Act { action }
            }
            other => other,
        })
    }
}

fn pair(field: &'static str, [x, z]: [f64; 2]) -> Result<[f64; 2], InputError> {
    Ok([finite(field, x)?, finite(field, z)?])
}

fn length([x, z]: [f64; 2]) -> f64 {
    x.hypot(z)
}

/// The same direction at length 1; zero stays zero.
fn directed(direction: [f64; 2]) -> [f64; 2] {
    // Scaled first, so that neither the largest nor the smallest numbers get lost on the way.
    let largest = direction[0].abs().max(direction[1].abs());
    if largest == 0.0 {
        return [0.0; 2];
    }
    let scaled = direction.map(|part| part / largest);
    let long = length(scaled);
    scaled.map(|part| part / long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_parses() {
        let cases = [
            (
                r#"{"type":"stick","velocity":[0.5,-1],"facing":[0,2]}"#,
                Input::Stick {
                    velocity: [0.5, -1.0],
                    facing: [0.0, 1.0],
                },
            ),
            (
                r#"{"type":"stick","velocity":[30,-40],"facing":[0,0]}"#,
                Input::Stick {
                    velocity: [6.0, -8.0],
                    facing: [0.0, 0.0],
                },
            ),
            (
                r#"{"type":"path","points":[[1,2],[-1e9,3.5]],"speed":1.5}"#,
                Input::Path {
                    points: vec![[1.0, 2.0], [-1e6, 3.5]],
                    speed: 1.5,
                },
            ),
            (
                r#"{"type":"path","points":[],"speed":99}"#,
                Input::Path {
                    points: vec![],
                    speed: MAX_SPEED,
                },
            ),
            (
                r#"{"type":"knobs","diversity":-1,"strength":7}"#,
                Input::Knobs {
                    diversity: 0.0,
                    strength: MAX_KNOB,
                },
            ),
            (
                r#"{"type":"pace","pace":0}"#,
                Input::Pace { pace: MIN_PACE },
            ),
            (r#"{"type":"pause"}"#, Input::Pause),
            (r#"{"type":"resume"}"#, Input::Resume),
            (r#"{"type":"reset"}"#, Input::Reset { seed: None }),
            (
                r#"{"type":"reset","seed":7}"#,
                Input::Reset { seed: Some(7) },
            ),
        ];
        for (text, expected) in cases {
            let found = Input::from_json(text).unwrap();
            let (Input::Stick { velocity: a, .. }, Input::Stick { velocity: b, .. }) =
                (&found, &expected)
            else {
                assert_eq!(found, expected, "{text}");
                continue;
            };
            assert!(length([a[0] - b[0], a[1] - b[1]]) < 1e-12, "{text}");
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        let long = format!(
            r#"{{"type":"path","points":[{}[0,0]],"speed":1}}"#,
            "[0,0],".repeat(MAX_PATH_POINTS)
        );
        for text in [
            "",
            "null",
            "{}",
            r#"{"type":"fly"}"#,
            r#"{"type":"stick","velocity":[1,2]}"#,
            r#"{"type":"stick","velocity":[1],"facing":[0,0]}"#,
            r#"{"type":"stick","velocity":[1,2,3],"facing":[0,0]}"#,
            r#"{"type":"stick","velocity":[1,2],"facing":[0,0],"up":1}"#,
            r#"{"type":"stick","velocity":[1e999,2],"facing":[0,0]}"#,
            r#"{"type":"stick","velocity":[null,2],"facing":[0,0]}"#,
            r#"{"type":"path","points":[[1,2]]}"#,
            r#"{"type":"path","points":[1,2],"speed":1}"#,
            r#"{"type":"knobs","diversity":"1","strength":1}"#,
            r#"{"type":"pace"}"#,
            r#"{"type":"reset","seed":-1}"#,
            &long,
        ] {
            assert!(Input::from_json(text).is_err(), "{text}");
        }
        let error = Input::from_json(&long).unwrap_err().to_string();
        assert_eq!(
            error,
            "field points: expected at most 256 of them, found 257"
        );
    }

    #[test]
    fn the_longest_path_fits_into_a_message() {
        use crate::Page;
        let point = "[-1000000.123456,-1000000.123456],";
        let length = MAX_PATH_POINTS * point.len() + 100;
        assert!(length < super::super::Character::MAX_INPUT_BYTES);
    }

    #[test]
    fn who_steers_and_vanishes_stops_the_character() {
        let stick = |velocity| Input::Stick {
            velocity,
            facing: [0.0, 1.0],
        };
        let stop = Some(Input::Stick {
            velocity: [0.0; 2],
            facing: [0.0; 2],
        });
        let steering = stick([0.0, 1.0]).parting(None);
        assert_eq!(steering, stop);
        assert_eq!(Input::Pause.parting(steering.clone()), stop);
        assert_eq!(stick([0.0; 2]).parting(steering.clone()), None);
        let path = Input::Path {
            points: vec![[0.0, 1.0]],
            speed: 1.0,
        };
        assert_eq!(path.parting(steering), None);
        assert_eq!(Input::Pause.parting(None), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let _ = Input::from_json(&text);
        }

        #[test]
        fn sticks_are_limited_and_keep_their_direction(x: f64, z: f64, fx: f64, fz: f64) {
            let checked = Input::Stick { velocity: [x, z], facing: [fx, fz] }.checked();
            prop_assert_eq!(checked.is_ok(), [x, z, fx, fz].iter().all(|number| number.is_finite()));
            if let Ok(Input::Stick { velocity, facing }) = checked {
                prop_assert!(length(velocity) <= MAX_SPEED * (1.0 + 1e-12));
                prop_assert!(velocity[0] * x >= 0.0 && velocity[1] * z >= 0.0);
                let long = length(facing);
                prop_assert!(long == 0.0 || (long - 1.0).abs() < 1e-12, "{}", long);
                prop_assert_eq!(long == 0.0, fx == 0.0 && fz == 0.0);
            }
        }
    }
}
