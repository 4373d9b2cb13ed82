//! Action: the command for one period of the control loop.

use serde::{Deserialize, Serialize};

use super::array::{Array, ArrayView, require_count, require_finite, write_array};
use super::bits::bits;
use super::header::{Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode, MAX_VALUES};

const FIXED_BYTES: usize = 32;

/// One command; `F` is `Vec<f32>`, `&[f32]` or a view. Its values are always finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action<F = Vec<f32>> {
    /// Sequence, times, stream. `monotonic_ns` is the time the command is due.
    pub stamp: Stamp,
    /// The plan that this command was read from, by its chunk id.
    pub chunk: u64,
    /// Where in that plan: 0 is its first action, 1.5 half-way between the second and the third.
    pub position: f64,
    /// Noise level of the plan there, 0 (clean) to 1 (pure noise).
    pub noise: f32,
    /// What happened to the command on its way.
    pub flags: ActionFlags,
    /// The command, 1 to [`MAX_VALUES`] numbers in the action's own units.
    pub values: F,
}

/// An action decoded in place.
pub type ActionView<'a> = Action<ArrayView<'a, f32>>;
/// An action about to be encoded from a slice.
pub type ActionSlice<'a> = Action<&'a [f32]>;

bits! {
    /// What happened to a command between plan and robot, as bits.
    ActionFlags {
        /// Straight from the plan.
        NONE = 0,
        /// The limiter changed it.
        LIMITED = 1,
        /// No fresh plan was there: the command leads to rest, or rests until there is one.
        HOLDING = 2,
        /// A safe or an emergency stop: the same, until somebody re-arms.
        STOPPING = 4,
    }
}

impl<F: Array<Item = f32>> Action<F> {
    fn check(&self) -> Result<(), ContentError> {
        require_count("dims", self.values.len(), MAX_VALUES)?;
        if !self.position.is_finite() {
            return Err(ContentError::OutOfRange {
                field: "position",
                expected: "a finite number",
                found: self.position,
            });
        }
        if !(0.0..=1.0).contains(&self.noise) {
            return Err(ContentError::OutOfRange {
                field: "noise",
                expected: "0 to 1",
                found: f64::from(self.noise),
            });
        }
        require_finite("values", &self.values)
    }
}

impl<F: Array<Item = f32>> Encode for Action<F> {
    const KIND: Kind = Kind::Action;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        self.check()?;
        Header::start(
            out,
            Self::KIND,
            &self.stamp,
            FIXED_BYTES + self.values.len() * 4,
        );
        out.extend_from_slice(&self.chunk.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.noise.to_le_bytes());
        out.extend_from_slice(&self.flags.0.to_le_bytes());
        out.extend_from_slice(&(self.values.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        write_array(&self.values, out);
        Ok(())
    }
}

impl Decode for Action {
    const KIND: Kind = Kind::Action;
    type View<'a> = ActionView<'a>;

    fn view(bytes: &[u8]) -> Result<ActionView<'_>, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let (chunk, position) = (reader.u64()?, reader.f64()?);
        let (noise, flags) = (reader.f32()?, ActionFlags(reader.u32()?));
        let dims = reader.u32()? as usize;
        require_count("dims", dims, MAX_VALUES)?;
        reader.take(4)?;
        let values = reader.view(dims)?;
        reader.finish()?;
        let action = Action {
            stamp,
            chunk,
            position,
            noise,
            flags,
            values,
        };
        action.check()?;
        Ok(action)
    }

    fn from_view(view: &ActionView<'_>) -> Self {
        Self {
            stamp: view.stamp,
            chunk: view.chunk,
            position: view.position,
            noise: view.noise,
            flags: view.flags,
            values: view.values.to_vec(),
        }
    }
}
