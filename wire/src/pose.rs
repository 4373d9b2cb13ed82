//! Pose: one frame of a character, the root in the world and the rotation of every joint.

use serde::{Deserialize, Serialize};

use super::array::{Array, ArrayView, require_count, require_finite, write_array};
use super::bits::bits;
use super::header::{Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode, MAX_JOINTS};

const FIXED_BYTES: usize = 80;
/// By how much the length of a rotation's quaternion may differ from 1.
pub(super) const UNIT_TOLERANCE: f64 = 1e-3;

/// One frame of a character; `Q` holds quaternions (`Vec<[f32; 4]>`, slice or view). The world is right-handed with Y up,
/// in metres; a character at rest faces +Z. Names, parents and rest offsets of the joints are
/// `SkeletonInfo`'s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose<Q = Vec<[f32; 4]>> {
    /// Sequence, times, stream. `monotonic_ns` is when the message was made.
    pub stamp: Stamp,
    /// Number of the frame: rises by one with every frame of the stream.
    pub frame: u64,
    /// When the frame is due, on the sender's monotonic clock, in nanoseconds.
    pub frame_ns: u64,
    /// Time between two frames in nanoseconds, at least 1.
    pub period_ns: u64,
    /// Which parts of the feet bear on the ground.
    pub contacts: Contacts,
    /// What happened to the frame on its way.
    pub flags: PoseFlags,
    /// Place between the two generated frames that this one was interpolated from, 0 (the earlier) to 1 (the later).
    pub phase: f32,
    /// Place of the root joint in the world, m. Double precision: f32 is too coarse after hours of walking.
    pub root_position: [f64; 3],
    /// Velocity of the root joint in the world, m/s.
    pub root_velocity: [f32; 3],
    /// Turning of the character about the Y axis, rad/s; positive from +Z towards +X.
    pub yaw_rate: f32,
    /// Rotation of every joint against its parent (of joint 0 against the world) as quaternions x, y, z, w of unit length
    /// within 0.001; 1 to [`MAX_JOINTS`] of them.
    pub rotations: Q,
}

/// A pose decoded in place.
pub type PoseView<'a> = Pose<ArrayView<'a, [f32; 4]>>;
/// A pose about to be encoded from a slice.
pub type PoseSlice<'a> = Pose<&'a [[f32; 4]]>;

bits! {
    /// Which parts of the feet bear on the ground, as bits.
    Contacts {
        /// Both feet are in the air.
        NONE = 0,
        /// The left heel, or the ankle above it.
        LEFT_HEEL = 1,
        /// The left toes.
        LEFT_TOE = 2,
        /// The right heel, or the ankle above it.
        RIGHT_HEEL = 4,
        /// The right toes.
        RIGHT_TOE = 8,
    }
}

bits! {
    /// What happened to a pose between generator and wire, as bits.
    PoseFlags {
        /// As generated, from the control as it was asked for.
        NONE = 0,
        /// The control asked for more than the motion holds and was clamped.
        CLAMPED = 1,
        /// The generated frame was refused; the last good one is held.
        HELD = 2,
        /// Nothing is asked of the character: it stands.
        IDLE = 4,
        /// The character performs a clip that was asked for by its name; steering waits.
        ACTING = 8,
    }
}

impl<Q: Array<Item = [f32; 4]>> Pose<Q> {
    /// Number of joints, J.
    #[must_use]
    pub fn joints(&self) -> usize {
        self.rotations.len()
    }

    fn check(&self) -> Result<(), ContentError> {
        check_counts(self.rotations.len(), self.period_ns)?;
        if !(0.0..=1.0).contains(&self.phase) {
            return Err(ContentError::OutOfRange {
                field: "phase",
                expected: "0 to 1",
                found: f64::from(self.phase),
            });
        }
        require_finite("root_position", &self.root_position.as_slice())?;
        require_finite("root_velocity", &self.root_velocity.as_slice())?;
        if !self.yaw_rate.is_finite() {
            return Err(ContentError::OutOfRange {
                field: "yaw_rate",
                expected: "a finite number",
                found: f64::from(self.yaw_rate),
            });
        }
        require_finite("rotations", &self.rotations)?;
        for (index, rotation) in self.rotations.iter().enumerate() {
            let length = length(rotation);
            if (length - 1.0).abs() > UNIT_TOLERANCE {
                return Err(ContentError::NotUnit {
                    field: "rotations",
                    index,
                    found: length,
                });
            }
        }
        Ok(())
    }
}

/// In double precision and in this order, so that every reader draws the same line.
fn length(quaternion: [f32; 4]) -> f64 {
    let [x, y, z, w] = quaternion.map(f64::from);
    (x * x + y * y + z * z + w * w).sqrt()
}

fn check_counts(joints: usize, period_ns: u64) -> Result<(), ContentError> {
    require_count("joints", joints, MAX_JOINTS)?;
    if period_ns == 0 {
        return Err(ContentError::OutOfRange {
            field: "period_ns",
            expected: "at least 1",
            found: 0.0,
        });
    }
    Ok(())
}

impl<Q: Array<Item = [f32; 4]>> Encode for Pose<Q> {
    const KIND: Kind = Kind::Pose;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        self.check()?;
        Header::start(
            out,
            Self::KIND,
            &self.stamp,
            FIXED_BYTES + self.rotations.len() * 16,
        );
        for number in [self.frame, self.frame_ns, self.period_ns] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [
            self.rotations.len() as u32,
            self.contacts.0,
            self.flags.0,
            self.phase.to_bits(),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        write_array(&self.root_position.as_slice(), out);
        write_array(&self.root_velocity.as_slice(), out);
        out.extend_from_slice(&self.yaw_rate.to_le_bytes());
        write_array(&self.rotations, out);
        Ok(())
    }
}

impl Decode for Pose {
    const KIND: Kind = Kind::Pose;
    type View<'a> = PoseView<'a>;

    fn view(bytes: &[u8]) -> Result<PoseView<'_>, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let (frame, frame_ns, period_ns) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let joints = reader.u32()? as usize;
        check_counts(joints, period_ns)?;
        let (contacts, flags) = (Contacts(reader.u32()?), PoseFlags(reader.u32()?));
        let phase = reader.f32()?;
        let root_position = [reader.f64()?, reader.f64()?, reader.f64()?];
        let root_velocity = [reader.f32()?, reader.f32()?, reader.f32()?];
        let yaw_rate = reader.f32()?;
        let rotations = reader.view(joints)?;
        reader.finish()?;
        let pose = Pose {
            stamp,
            frame,
            frame_ns,
            period_ns,
            contacts,
            flags,
            phase,
            root_position,
            root_velocity,
            yaw_rate,
            rotations,
        };
        pose.check()?;
        Ok(pose)
    }

    fn from_view(view: &PoseView<'_>) -> Self {
        Self {
            stamp: view.stamp,
            frame: view.frame,
            frame_ns: view.frame_ns,
            period_ns: view.period_ns,
            contacts: view.contacts,
            flags: view.flags,
            phase: view.phase,
            root_position: view.root_position,
            root_velocity: view.root_velocity,
            yaw_rate: view.yaw_rate,
            rotations: view.rotations.to_vec(),
        }
    }
}
