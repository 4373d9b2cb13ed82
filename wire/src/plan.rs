//! Plan: a partially denoised trajectory, with the noise that is left at every position.

use serde::{Deserialize, Serialize};

use super::array::{Array, ArrayView, require_count, require_finite, write_array};
use super::header::{Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode, MAX_HORIZON, MAX_VALUES};

const FIXED_BYTES: usize = 48;

/// A plan of `horizon` actions; `F` holds f32 and `U` holds u32 numbers (`Vec`, slice or view). Position 0 is the action
/// due at `first_action_ns`: history positions of the policy's window are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan<F = Vec<f32>, U = Vec<u32>> {
    /// Sequence, times, stream.
    pub stamp: Stamp,
    /// Chunk id: rises by one with every plan of the engine.
    pub chunk: u64,
    /// Sequence of the observation that this plan answers; 0 if it answers none.
    pub observation_sequence: u64,
    /// When the first action is due, on the sender's monotonic clock, in nanoseconds.
    pub first_action_ns: u64,
    /// Time between two actions in nanoseconds, at least 1.
    pub period_ns: u64,
    /// Numbers per action, Da, at least 1.
    pub dims: u32,
    /// How many leading positions will not change any more, at most Tp.
    pub committed: u32,
    /// Levels N of the noise ladder, at least 1.
    pub levels: u32,
    /// Noise level of every position `[Tp]`, 0 (clean) to 1 (pure noise).
    pub noise: F,
    /// Denoising steps still to go at every position `[Tp]`: 0 is clean, `levels` pure noise.
    pub level: U,
    /// Actions `[Tp, Da]`, row-major, in the action's own units; always finite.
    pub actions: F,
}

/// A plan decoded in place.
pub type PlanView<'a> = Plan<ArrayView<'a, f32>, ArrayView<'a, u32>>;
/// A plan about to be encoded from slices.
pub type PlanSlice<'a> = Plan<&'a [f32], &'a [u32]>;

impl<F: Array<Item = f32>, U: Array<Item = u32>> Plan<F, U> {
    /// Number of positions, Tp.
    #[must_use]
    pub fn horizon(&self) -> usize {
        self.noise.len()
    }

    /// Number `dim` of the action at `position`, or none outside the plan.
    #[must_use]
    pub fn action(&self, position: usize, dim: usize) -> Option<f32> {
        let dims = self.dims as usize;
        if dim >= dims {
            return None;
        }
        self.actions
            .get(position.checked_mul(dims)?.checked_add(dim)?)
    }

    /// A copy with vectors of its own.
    #[must_use]
    pub fn copied(&self) -> Plan {
        Plan {
            stamp: self.stamp,
            chunk: self.chunk,
            observation_sequence: self.observation_sequence,
            first_action_ns: self.first_action_ns,
            period_ns: self.period_ns,
            dims: self.dims,
            committed: self.committed,
            levels: self.levels,
            noise: self.noise.iter().collect(),
            level: self.level.iter().collect(),
            actions: self.actions.iter().collect(),
        }
    }

    fn check(&self) -> Result<(), ContentError> {
        let (horizon, dims) = (self.noise.len(), self.dims as usize);
        check_counts(horizon, dims, self.committed, self.levels, self.period_ns)?;
        let array_length = |field, expected: usize, found: usize| {
            if expected == found {
                Ok(())
            } else {
                Err(ContentError::ArrayLength {
                    field,
                    expected: expected as u64,
                    found: found as u64,
                })
            }
        };
        array_length("level", horizon, self.level.len())?;
        array_length("actions", horizon * dims, self.actions.len())?;
        if let Some(noise) = self.noise.iter().find(|noise| !(0.0..=1.0).contains(noise)) {
            return Err(ContentError::OutOfRange {
                field: "noise",
                expected: "0 to 1",
                found: f64::from(noise),
            });
        }
        if let Some(level) = self.level.iter().find(|level| *level > self.levels) {
            return Err(ContentError::TooLarge {
                field: "level",
                limit: u64::from(self.levels),
                found: u64::from(level),
            });
        }
        require_finite("actions", &self.actions)
    }
}

/// The limits on a plan's counts; afterwards `horizon * dims` cannot overflow.
fn check_counts(
    horizon: usize,
    dims: usize,
    committed: u32,
    levels: u32,
    period_ns: u64,
) -> Result<(), ContentError> {
    require_count("horizon", horizon, MAX_HORIZON)?;
    require_count("dims", dims, MAX_VALUES)?;
    require_count("horizon * dims", horizon * dims, MAX_VALUES)?;
    if committed as usize > horizon {
        return Err(ContentError::TooLarge {
            field: "committed",
            limit: horizon as u64,
            found: u64::from(committed),
        });
    }
    if levels == 0 {
        return Err(ContentError::OutOfRange {
            field: "levels",
            expected: "at least 1",
            found: 0.0,
        });
    }
    if period_ns == 0 {
        return Err(ContentError::OutOfRange {
            field: "period_ns",
            expected: "at least 1",
            found: 0.0,
        });
    }
    Ok(())
}

impl<F: Array<Item = f32>, U: Array<Item = u32>> Encode for Plan<F, U> {
    const KIND: Kind = Kind::Plan;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        self.check()?;
        let horizon = self.horizon();
        Header::start(
            out,
            Self::KIND,
            &self.stamp,
            FIXED_BYTES + horizon * 8 + self.actions.len() * 4,
        );
        for number in [
            self.chunk,
            self.observation_sequence,
            self.first_action_ns,
            self.period_ns,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [horizon as u32, self.dims, self.committed, self.levels] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        write_array(&self.noise, out);
        write_array(&self.level, out);
        write_array(&self.actions, out);
        Ok(())
    }
}

impl Decode for Plan {
    const KIND: Kind = Kind::Plan;
    type View<'a> = PlanView<'a>;

    fn view(bytes: &[u8]) -> Result<PlanView<'_>, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let (chunk, observation_sequence) = (reader.u64()?, reader.u64()?);
        let (first_action_ns, period_ns) = (reader.u64()?, reader.u64()?);
        let (horizon, dims) = (reader.u32()? as usize, reader.u32()?);
        let (committed, levels) = (reader.u32()?, reader.u32()?);
        check_counts(horizon, dims as usize, committed, levels, period_ns)?;
        let noise = reader.view(horizon)?;
        let level = reader.view(horizon)?;
        let actions = reader.view(horizon * dims as usize)?;
        reader.finish()?;
        let plan = Plan {
            stamp,
            chunk,
            observation_sequence,
            first_action_ns,
            period_ns,
            dims,
            committed,
            levels,
            noise,
            level,
            actions,
        };
        plan.check()?;
        Ok(plan)
    }

    fn from_view(view: &PlanView<'_>) -> Self {
        view.copied()
    }
}
