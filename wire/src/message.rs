//! Any message, owned, and its JSON mirror for debugging and for clients without a binary decoder.

use serde::{Deserialize, Serialize};

use super::header::{Header, Kind};
use super::{
    Action, Command, ContentError, Control, Decode, DecodeError, Encode, Image, Observation, Plan,
    Pose, Status,
};

/// One message of any kind. As JSON it is one object with `"kind"` beside the fields of docs/WIRE.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// A named vector.
    Observation(Observation),
    /// One command.
    Action(Action),
    /// A trajectory.
    Plan(Plan),
    /// Counters and state.
    Status(Status),
    /// A request.
    Command(Command),
    /// One frame of a character.
    Pose(Pose),
    /// What a character is asked to do.
    Control(Control),
    /// One picture of a camera.
    Image(Image),
}

impl Message {
    /// What the message is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Observation(_) => Kind::Observation,
            Self::Action(_) => Kind::Action,
            Self::Plan(_) => Kind::Plan,
            Self::Status(_) => Kind::Status,
            Self::Command(_) => Kind::Command,
            Self::Pose(_) => Kind::Pose,
            Self::Control(_) => Kind::Control,
            Self::Image(_) => Kind::Image,
        }
    }

    /// Decodes bytes of whatever kind their header names.
    ///
    /// # Errors
    /// [`DecodeError`] says what was expected and what was found.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(match Header::decode(bytes)?.kind {
            Kind::Observation => Self::Observation(Observation::decode(bytes)?),
            Kind::Action => Self::Action(Action::decode(bytes)?),
            Kind::Plan => Self::Plan(Plan::decode(bytes)?),
            Kind::Status => Self::Status(Status::decode(bytes)?),
            Kind::Command => Self::Command(Command::decode(bytes)?),
            Kind::Pose => Self::Pose(Pose::decode(bytes)?),
            Kind::Control => Self::Control(Control::decode(bytes)?),
            Kind::Image => Self::Image(Image::decode(bytes)?),
        })
    }

    /// Replaces the contents of `out` by the encoded message.
    ///
    /// # Errors
    /// [`ContentError`] where a field breaks the format's limits.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        match self {
            Self::Observation(message) => message.encode_into(out),
            Self::Action(message) => message.encode_into(out),
            Self::Plan(message) => message.encode_into(out),
            Self::Status(message) => message.encode_into(out),
            Self::Command(message) => message.encode_into(out),
            Self::Pose(message) => message.encode_into(out),
            Self::Control(message) => message.encode_into(out),
            Self::Image(message) => message.encode_into(out),
        }
    }

    /// The JSON mirror. NaN and infinities of an observation become `null`; nanoseconds are whole numbers, which
    /// JavaScript rounds above 2^53.
    ///
    /// # Errors
    /// Those of serde_json; none are known for these types.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads the JSON mirror. The fields are checked against the format's limits only when the message is encoded.
    ///
    /// # Errors
    /// What is missing, unknown or of the wrong type, with line and column.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
