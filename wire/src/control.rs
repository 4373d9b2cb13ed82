//! Control: what a character is asked to do, by a stick or along a path.

use serde::{Deserialize, Serialize};

use super::array::{Array, ArrayView, Entry, private, require_count, require_finite, write_array};
use super::header::{Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode, MAX_POINTS};

const FIXED_BYTES: usize = 32;

/// What a character is asked to do, from now until the next such message; `P` holds points (`Vec<PathPoint>`, slice or
/// view). Places and directions are x, z of the world, in metres, Y up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control<P = Vec<PathPoint>> {
    /// Sequence, times, stream.
    pub stamp: Stamp,
    /// Which of the fields below count.
    pub mode: ControlMode,
    /// Desired velocity x, z, m/s. For [`ControlMode::Stick`].
    pub velocity: [f32; 2],
    /// Direction x, z to look in, of any length; zero: where it moves. For [`ControlMode::Stick`].
    pub facing: [f32; 2],
    /// How freely the motion varies, at least 0: 0 the likeliest motion, 1 as tuned.
    pub diversity: f32,
    /// How strongly the control bends the motion, at least 0: 0 not at all, 1 as tuned.
    pub strength: f32,
    /// Where to be when. For [`ControlMode::Path`] 1 to [`MAX_POINTS`], times rising; for [`ControlMode::Stick`] none.
    pub points: P,
}

/// A control decoded in place.
pub type ControlView<'a> = Control<ArrayView<'a, PathPoint>>;
/// A control about to be encoded from a slice.
pub type ControlSlice<'a> = Control<&'a [PathPoint]>;

/// How a character is steered, by its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum ControlMode {
    /// By a velocity and a direction to look in.
    #[default]
    Stick = 0,
    /// Along points with times.
    Path = 1,
}

/// Where a character is to be, when, and where it looks then.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathPoint {
    /// Time after the arrival of the message, s; at least 0 and above that of the point before.
    pub time_s: f32,
    /// Place in the world, m.
    pub x: f32,
    /// Place in the world, m.
    pub z: f32,
    /// Angle about the Y axis to face at, rad: 0 is +Z, a quarter turn +X. None (NaN on the wire): along the path.
    pub facing: Option<f32>,
}

impl private::Sealed for PathPoint {}
impl Entry for PathPoint {
    const BYTES: usize = 16;

    fn from_le(bytes: &[u8]) -> Self {
        let [time_s, x, z, facing] = Entry::from_le(bytes);
        Self {
            time_s,
            x,
            z,
            facing: Some(facing).filter(|facing| !facing.is_nan()),
        }
    }

    fn write_le(self, out: &mut Vec<u8>) {
        // One fixed bit pattern for "none" keeps encodings comparable.
        let facing = self.facing.unwrap_or(f32::from_bits(0x7fc0_0000));
        [self.time_s, self.x, self.z, facing].write_le(out);
    }

    fn is_finite(self) -> bool {
        [self.time_s, self.x, self.z, self.facing.unwrap_or(0.0)].is_finite()
    }
}

impl ControlMode {
    fn from_code(code: u32) -> Result<Self, DecodeError> {
        [Self::Stick, Self::Path]
            .into_iter()
            .find(|mode| *mode as u32 == code)
            .ok_or(DecodeError::UnknownCode {
                field: "mode",
                found: code,
            })
    }
}

impl<P: Array<Item = PathPoint>> Control<P> {
    /// Refuses what no receiver would take.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<(), ContentError> {
        check_count(self.mode, self.points.len())?;
        require_finite("velocity", &self.velocity.as_slice())?;
        require_finite("facing", &self.facing.as_slice())?;
        for (field, found) in [("diversity", self.diversity), ("strength", self.strength)] {
            if !(found.is_finite() && found >= 0.0) {
                return Err(ContentError::OutOfRange {
                    field,
                    expected: "a finite number of at least 0",
                    found: f64::from(found),
                });
            }
        }
        require_finite("points", &self.points)?;
        let mut before = None;
        for point in self.points.iter() {
            let time = point.time_s;
            if time < 0.0 || before.is_some_and(|before| time <= before) {
                return Err(ContentError::OutOfRange {
                    field: "time_s",
                    expected: "times of at least 0 that rise from point to point",
                    found: f64::from(time),
                });
            }
            before = Some(time);
        }
        Ok(())
    }
}

fn check_count(mode: ControlMode, points: usize) -> Result<(), ContentError> {
    match mode {
        ControlMode::Path => require_count("points", points, MAX_POINTS),
        ControlMode::Stick if points > 0 => Err(ContentError::TooLarge {
            field: "points",
            limit: 0,
            found: points as u64,
        }),
        ControlMode::Stick => Ok(()),
    }
}

impl<P: Array<Item = PathPoint>> Encode for Control<P> {
    const KIND: Kind = Kind::Control;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        self.check()?;
        Header::start(
            out,
            Self::KIND,
            &self.stamp,
            FIXED_BYTES + self.points.len() * PathPoint::BYTES,
        );
        out.extend_from_slice(&(self.mode as u32).to_le_bytes());
        write_array(&self.velocity.as_slice(), out);
        write_array(&self.facing.as_slice(), out);
        out.extend_from_slice(&self.diversity.to_le_bytes());
        out.extend_from_slice(&self.strength.to_le_bytes());
        out.extend_from_slice(&(self.points.len() as u32).to_le_bytes());
        write_array(&self.points, out);
        Ok(())
    }
}

impl Decode for Control {
    const KIND: Kind = Kind::Control;
    type View<'a> = ControlView<'a>;

    fn view(bytes: &[u8]) -> Result<ControlView<'_>, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let mode = ControlMode::from_code(reader.u32()?)?;
        let velocity = [reader.f32()?, reader.f32()?];
        let facing = [reader.f32()?, reader.f32()?];
        let (diversity, strength) = (reader.f32()?, reader.f32()?);
        let count = reader.u32()? as usize;
        check_count(mode, count)?;
        let points = reader.view(count)?;
        reader.finish()?;
        let control = Control {
            stamp,
            mode,
            velocity,
            facing,
            diversity,
            strength,
            points,
        };
        control.check()?;
        Ok(control)
    }

    fn from_view(view: &ControlView<'_>) -> Self {
        Self {
            stamp: view.stamp,
            mode: view.mode,
            velocity: view.velocity,
            facing: view.facing,
            diversity: view.diversity,
            strength: view.strength,
            points: view.points.to_vec(),
        }
    }
}
