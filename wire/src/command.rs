//! Command: a request to a simulator or to the runtime.

use serde::{Deserialize, Serialize};

use super::header::{Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode};

const FIXED_BYTES: usize = 40;

/// A request and when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Sequence, times, stream. With [`Request::Reset`], `stream` is the number of the stream that starts.
    pub stamp: Stamp,
    /// What is asked for.
    #[serde(flatten)]
    pub request: Request,
}

/// What can be asked of a simulator or runtime. Lengths and angles are those of the scene (Push-T: pixels, radians).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Start afresh: the simulator from this seed, the runtime with empty history and this seed for its noise.
    Reset {
        /// Seed of the episode.
        seed: u64,
    },
    /// Hold time still.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Bring everything to rest and end.
    Stop,
    /// Put the block at a place.
    MoveBlock {
        /// Horizontal place.
        x: f64,
        /// Vertical place, downwards.
        y: f64,
        /// Turn in radians.
        angle: f64,
    },
    /// Push the agent towards a place until released.
    MoveAgent {
        /// Horizontal place.
        x: f64,
        /// Vertical place, downwards.
        y: f64,
    },
    /// Let the policy have the agent again.
    ReleaseAgent,
}

impl Request {
    /// The `<name>` of the key `cmd/<name>` that this request travels on.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reset { .. } => "reset",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::MoveBlock { .. } => "move_block",
            Self::MoveAgent { .. } => "move_agent",
            Self::ReleaseAgent => "release_agent",
        }
    }

    /// Code, seed, x, y, angle as they stand on the wire; unused ones are zero.
    fn fields(&self) -> (u32, u64, [f64; 3]) {
        match *self {
            Self::Reset { seed } => (1, seed, [0.0; 3]),
            Self::Pause => (2, 0, [0.0; 3]),
            Self::Resume => (3, 0, [0.0; 3]),
            Self::Stop => (4, 0, [0.0; 3]),
            Self::MoveBlock { x, y, angle } => (5, 0, [x, y, angle]),
            Self::MoveAgent { x, y } => (6, 0, [x, y, 0.0]),
            Self::ReleaseAgent => (7, 0, [0.0; 3]),
        }
    }

    fn from_fields(code: u32, seed: u64, [x, y, angle]: [f64; 3]) -> Result<Self, DecodeError> {
        Ok(match code {
            1 => Self::Reset { seed },
            2 => Self::Pause,
            3 => Self::Resume,
            4 => Self::Stop,
            5 => Self::MoveBlock { x, y, angle },
            6 => Self::MoveAgent { x, y },
            7 => Self::ReleaseAgent,
            found => {
                return Err(DecodeError::UnknownCode {
                    field: "request",
                    found,
                });
            }
        })
    }
}

fn check(arguments: [f64; 3]) -> Result<(), ContentError> {
    for (field, found) in ["x", "y", "angle"].into_iter().zip(arguments) {
        if !found.is_finite() {
            return Err(ContentError::OutOfRange {
                field,
                expected: "a finite number",
                found,
            });
        }
    }
    Ok(())
}

impl Encode for Command {
    const KIND: Kind = Kind::Command;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        let (code, seed, arguments) = self.request.fields();
        check(arguments)?;
        Header::start(out, <Self as Encode>::KIND, &self.stamp, FIXED_BYTES);
        out.extend_from_slice(&code.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&seed.to_le_bytes());
        for argument in arguments {
            out.extend_from_slice(&argument.to_le_bytes());
        }
        Ok(())
    }
}

impl Decode for Command {
    const KIND: Kind = Kind::Command;
    type View<'a> = Self;

    fn view(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let code = reader.u32()?;
        reader.take(4)?;
        let seed = reader.u64()?;
        let arguments = [reader.f64()?, reader.f64()?, reader.f64()?];
        reader.finish()?;
        check(arguments)?;
        Ok(Self {
            stamp,
            request: Request::from_fields(code, seed, arguments)?,
        })
    }

    fn from_view(view: &Self) -> Self {
        *view
    }
}
