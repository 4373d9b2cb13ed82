//! The 40 bytes that every message starts with.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reader::Reader;
use super::{ContentError, DecodeError, MAX_IMAGE_BYTES, MAX_MESSAGE_BYTES};

/// First four bytes of every message.
pub const MAGIC: [u8; 4] = *b"KNST";
/// Version of the format written and accepted.
pub const VERSION: u16 = 1;
/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 40;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum Kind {
    /// A named vector that a sensor or simulator measured.
    Observation = 1,
    /// The command for one period of the control loop.
    Action = 2,
    /// A partially denoised trajectory.
    Plan = 3,
    /// Counters and state of a running node.
    Status = 4,
    /// A request to a simulator or runtime.
    Command = 5,
    /// One frame of a character.
    Pose = 6,
    /// What a character is asked to do.
    Control = 7,
    /// One picture of a camera.
    Image = 8,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Observation,
        Self::Action,
        Self::Plan,
        Self::Status,
        Self::Command,
        Self::Pose,
        Self::Control,
        Self::Image,
    ];

    /// The kind's name as the JSON mirror and zenoh's encoding schema write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observation => "observation",
            Self::Action => "action",
            Self::Plan => "plan",
            Self::Status => "status",
            Self::Command => "command",
            Self::Pose => "pose",
            Self::Control => "control",
            Self::Image => "image",
        }
    }

    /// Longest message of this kind in bytes.
    #[must_use]
    pub const fn most_bytes(self) -> usize {
        match self {
            Self::Image => MAX_IMAGE_BYTES + MAX_MESSAGE_BYTES,
            _ => MAX_MESSAGE_BYTES,
        }
    }

    fn from_number(number: u16) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u16 == number)
            .ok_or(DecodeError::UnknownKind { found: number })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When and as what in its stream a message was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Number of the message in its topic, from 1; 0 means "not numbered".
    pub sequence: u64,
    /// Sender's monotonic clock (Linux: `CLOCK_MONOTONIC`) in nanoseconds. Comparable between processes of one machine only.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970-01-01 UTC; 0 means "not known".
    pub wall_ns: u64,
    /// Stream or episode. An observation with another stream than the last one starts afresh.
    pub stream: u32,
}

/// The decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// Sequence, times and stream.
    pub stamp: Stamp,
    /// Bytes after the header.
    pub body_bytes: u32,
}

impl Header {
    /// Reads the header and checks magic, version, kind and the message's whole length.
    ///
    /// # Errors
    /// [`DecodeError`] names the first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let magic = reader.array::<4>()?;
        if magic != MAGIC {
            return Err(DecodeError::Magic { found: magic });
        }
        let version = reader.u16()?;
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let kind = Kind::from_number(reader.u16()?)?;
        let (sequence, monotonic_ns, wall_ns) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (stream, body_bytes) = (reader.u32()?, reader.u32()?);
        let limit = (kind.most_bytes() - HEADER_BYTES) as u64;
        if u64::from(body_bytes) > limit {
            return Err(ContentError::TooLarge {
                field: "body_bytes",
                limit,
                found: u64::from(body_bytes),
            }
            .into());
        }
        let expected = HEADER_BYTES + body_bytes as usize;
        if bytes.len() < expected {
            return Err(DecodeError::Truncated {
                expected,
                found: bytes.len(),
            });
        }
        if bytes.len() > expected {
            return Err(DecodeError::Length {
                expected,
                found: bytes.len(),
            });
        }
        Ok(Self {
            kind,
            stamp: Stamp {
                sequence,
                monotonic_ns,
                wall_ns,
                stream,
            },
            body_bytes,
        })
    }

    /// Reads the header of a message that must be of `kind`; returns its stamp and a reader at the first body byte.
    pub(super) fn expect(bytes: &[u8], kind: Kind) -> Result<(Stamp, Reader<'_>), DecodeError> {
        let header = Self::decode(bytes)?;
        if header.kind != kind {
            return Err(DecodeError::WrongKind {
                expected: kind,
                found: header.kind,
            });
        }
        Ok((header.stamp, Reader::at(bytes, HEADER_BYTES)))
    }

    /// Clears `out` and writes the header; the caller has checked that `body_bytes` is within the format's bound.
    pub(super) fn start(out: &mut Vec<u8>, kind: Kind, stamp: &Stamp, body_bytes: usize) {
        out.clear();
        out.reserve(HEADER_BYTES + body_bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(kind as u16).to_le_bytes());
        out.extend_from_slice(&stamp.sequence.to_le_bytes());
        out.extend_from_slice(&stamp.monotonic_ns.to_le_bytes());
        out.extend_from_slice(&stamp.wall_ns.to_le_bytes());
        out.extend_from_slice(&stamp.stream.to_le_bytes());
        out.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    }
}
