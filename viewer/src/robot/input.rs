//! What a person asks of a robot on its page, beside the emergency stop.

use serde::Deserialize;

use crate::{InputError, PageInput};

/// A request to one robot. In JSON: `{"type": "pause", "robot": "arm"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What to do.
    #[serde(rename = "type")]
    pub request: Request,
    /// Name of the robot, of those that the page was told.
    pub robot: String,
}

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Come to rest and stay there.
    Pause,
    /// Go on after a pause, or from home.
    Resume,
    /// Go to `control.home` and stay there.
    Home,
}

impl PageInput for Input {
    type Error = InputError;

    fn from_json(text: &str) -> Result<Self, InputError> {
        serde_json::from_str(text).map_err(|source| InputError::Malformed {
            source,
            example: r#"{"type": "pause", "robot": "arm"}"#,
        })
    }

    /// The last request to a robot is what a person wants.
    fn supersedes(&self, earlier: &Self) -> bool {
        self.robot == earlier.robot
    }

    /// A page that vanishes asks for nothing.
    fn parting(&self, _: Option<Self>) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_their_robot_and_nothing_else_passes() {
        for (word, request) in [
            ("pause", Request::Pause),
            ("resume", Request::Resume),
            ("home", Request::Home),
        ] {
            let text = format!(r#"{{"type":"{word}","robot":"arm"}}"#);
            let robot = "arm".to_owned();
            assert_eq!(Input::from_json(&text).unwrap(), Input { request, robot });
        }
        for text in [
            "",
            "pause",
            r#"{"type":"pause"}"#,
            r#"{"type":"stop","robot":"arm"}"#,
            r#"{"type":"pause","robot":1}"#,
            r#"{"type":"pause","robot":"arm","speed":1}"#,
        ] {
            assert!(Input::from_json(text).is_err(), "{text}");
        }
    }
}
