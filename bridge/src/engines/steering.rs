//! What an engine asks of a character over a WebSocket, as JSON in its own axes:
//!
//! ```json
//! {"velocity": [0, 1.5], "facing": [1, 0], "diversity": 1, "strength": 1}
//! ```
//!
//! The text may be anybody's. It is read strictly, and what comes of it is held to the limits of a [`Control`] of the
//! wire; what goes beyond a character's abilities is then clamped by it, as over zenoh.

use serde::Deserialize;

use super::axes::Axes;
use crate::wire::{ContentError, Control, ControlMode, Stamp};

/// A message that would do.
const EXAMPLE: &str = r#"{"velocity": [0, 1.5], "facing": [0, 1]}"#;

/// What is asked, in kinestream's axes and metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steering {
    /// Desired velocity x, z, m/s.
    pub velocity: [f32; 2],
    /// Direction x, z to look in, of any length; zero: where it moves.
    pub facing: [f32; 2],
    /// How freely the motion varies; none: as it is.
    pub diversity: Option<f32>,
    /// How strongly the control bends the motion; none: as it is.
    pub strength: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    velocity: [f64; 2],
    #[serde(default)]
    facing: [f64; 2],
    diversity: Option<f64>,
    strength: Option<f64>,
}

impl Steering {
    /// Reads a message of a client: velocity and facing along its two axes on the ground, in its unit per second.
    ///
    /// # Errors
    /// [`SteeringError`] says what was expected.
    pub fn parse(text: &str, axes: Axes) -> Result<Self, SteeringError> {
        let text: Text = serde_json::from_str(text).map_err(SteeringError::Json)?;
        let metres = text.velocity.map(|part| part / axes.units_per_metre());
        let ground = |theirs| axes.ground_direction_back(theirs).map(|part| part as f32);
        let steering = Self {
            velocity: ground(metres),
            facing: ground(text.facing),
            diversity: text.diversity.map(|knob| knob as f32),
            strength: text.strength.map(|knob| knob as f32),
        };
        steering.control(Stamp::default(), (1.0, 1.0)).check()?;
        Ok(steering)
    }

    /// As a message of the wire; `knobs` are diversity and strength as they are.
    #[must_use]
    pub fn control(&self, stamp: Stamp, knobs: (f32, f32)) -> Control {
        Control {
            stamp,
            mode: ControlMode::Stick,
            velocity: self.velocity,
            facing: self.facing,
            diversity: self.diversity.unwrap_or(knobs.0),
            strength: self.strength.unwrap_or(knobs.1),
            points: Vec::new(),
        }
    }
}

/// Why a message is no steering.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// Not JSON, or a field that is missing, unknown or of the wrong type.
    #[error("{0}; expected for example {EXAMPLE}")]
    Json(serde_json::Error),
    /// A number that a control may not hold.
    #[error(transparent)]
    Content(#[from] ContentError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_engine_steers_in_its_own_axes() {
        let parse = |text: &str, axes| Steering::parse(text, axes).unwrap();
        // Ahead at 1.5 m/s, looking to the left.
        for (axes, text) in [
            (Axes::Gltf, r#"{"velocity": [0, 1.5], "facing": [1, 0]}"#),
            (Axes::Godot, r#"{"velocity": [0, 1.5], "facing": [1, 0]}"#),
            (Axes::Unity, r#"{"velocity": [0, 1.5], "facing": [-1, 0]}"#),
            (Axes::Unreal, r#"{"velocity": [150, 0], "facing": [0, -1]}"#),
            (
                Axes::Blender,
                r#"{"velocity": [0, -1.5], "facing": [1, 0]}"#,
            ),
        ] {
            let steering = parse(text, axes);
            assert_eq!(steering.velocity, [0.0, 1.5], "{axes:?}");
            assert_eq!(steering.facing, [1.0, 0.0], "{axes:?}");
        }
        let stamp = Stamp::default();
        let control = parse(r#"{"velocity": [1, 0]}"#, Axes::Gltf).control(stamp, (0.5, 1.5));
        assert_eq!((control.diversity, control.strength), (0.5, 1.5));
        assert_eq!((control.velocity, control.facing), ([1.0, 0.0], [0.0; 2]));
        let asked = r#"{"velocity": [1, 0], "diversity": 0, "strength": 2}"#;
        let control = parse(asked, Axes::Gltf).control(stamp, (0.5, 1.5));
        assert_eq!((control.diversity, control.strength), (0.0, 2.0));
    }

    #[test]
    fn what_is_no_steering_is_refused() {
        for (text, words) in [
            ("", "expected for example"),
            ("[]", "expected for example"),
            ("{}", "velocity"),
            (r#"{"velocity": [1]}"#, "invalid length"),
            (r#"{"velocity": [1, 2, 3]}"#, "trailing characters"),
            (r#"{"velocity": ["1", 2]}"#, "invalid type"),
            (r#"{"velocity": [1, 2], "speed": 3}"#, "speed"),
            (r#"{"velocity": [1e39, 0]}"#, "velocity"),
            (r#"{"velocity": [0, 0], "facing": [-1e300, 0]}"#, "facing"),
            (r#"{"velocity": [1e999, 0]}"#, "out of range"),
            (r#"{"velocity": [0, 0], "diversity": -1}"#, "diversity"),
            (r#"{"velocity": [0, 0], "strength": 1e39}"#, "strength"),
        ] {
            let error = Steering::parse(text, Axes::Unity).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn no_text_panics_and_what_is_taken_can_be_sent(
            text in prop_oneof![
                ".{0,200}",
                r#"\{("(velocity|facing|strength|diversity)": ?(\[-?[0-9e.+-]{1,8}, ?[0-9e.-]{1,8}\]|-?[0-9e.]{1,6}|null),? ?){0,5}\}"#,
                (any::<[f64; 2]>(), any::<[f32; 2]>(), any::<f32>()).prop_map(|(velocity, facing, knob)| {
                    format!(r#"{{"velocity": {velocity:?}, "facing": {facing:?}, "strength": {knob:?}}}"#)
                }),
            ],
        ) {
            for axes in Axes::ALL {
                if let Ok(steering) = Steering::parse(&text, axes) {
                    let control = steering.control(Stamp::default(), (1.0, 1.0));
                    prop_assert!(crate::wire::Encode::encode_into(&control, &mut Vec::new()).is_ok());
                }
            }
        }
    }
}
