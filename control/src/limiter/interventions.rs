//! Which limits a reference would have broken, and how often.

use std::ops::{BitOr, BitOrAssign};

use serde::{Deserialize, Serialize};

/// A set of limits, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitFlags(u8);

/// How often a reference had to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LimitCounts {
    /// Periods in which any number of the command differs from the reference.
    pub limited: u64,
    /// Periods with NaN, infinity or an orientation of length zero in the reference.
    pub not_finite: u64,
    /// Periods in which the reference was outside the box, or too fast to come to rest inside.
    pub position: u64,
    /// Periods in which the reference was too fast.
    pub velocity: u64,
    /// Periods in which it changed its velocity too fast.
    pub acceleration: u64,
    /// Periods in which it changed its acceleration too fast.
    pub jerk: u64,
    /// Greatest distance of a joint's command from its reference, in the action's units.
    pub largest_deviation: f64,
    /// Greatest angle of an orientation's command from its reference, in rad.
    pub largest_rotation: f64,
    /// Times that no way back to the reference was found for a joint, which moved on towards rest instead.
    pub unsolved: u64,
}

impl LimitFlags {
    /// The command is the reference.
    pub const NONE: Self = Self(0);
    /// The reference had NaN, infinity or an orientation of length zero: the command moves on towards rest.
    pub const NOT_FINITE: Self = Self(1);
    /// The reference was outside the box, or so fast that no stop inside it was left.
    pub const POSITION: Self = Self(1 << 1);
    /// The reference was too fast.
    pub const VELOCITY: Self = Self(1 << 2);
    /// The reference changed its velocity too fast.
    pub const ACCELERATION: Self = Self(1 << 3);
    /// The reference changed its acceleration too fast.
    pub const JERK: Self = Self(1 << 4);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NOT_FINITE, "not_finite"),
        (Self::POSITION, "position"),
        (Self::VELOCITY, "velocity"),
        (Self::ACCELERATION, "acceleration"),
        (Self::JERK, "jerk"),
    ];

    /// Whether the command is the reference.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether all limits of `other` are in this set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// One bit for each limit, from the lowest: not finite, position, velocity, acceleration, jerk.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits; bits without a meaning are left out.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0b1_1111)
    }

    /// Names of the limits in this set, as the counts have them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Self::NAMES.into_iter();
        named.filter_map(move |(limit, name)| self.contains(limit).then_some(name))
    }

    pub(crate) fn of(limit: Self, broken: bool) -> Self {
        if broken { limit } else { Self::NONE }
    }
}

impl BitOr for LimitFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for LimitFlags {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl LimitCounts {
    /// Counts one period.
    pub(crate) fn count(&mut self, interventions: LimitFlags) {
        for (limit, count) in [
            (LimitFlags::NOT_FINITE, &mut self.not_finite),
            (LimitFlags::POSITION, &mut self.position),
            (LimitFlags::VELOCITY, &mut self.velocity),
            (LimitFlags::ACCELERATION, &mut self.acceleration),
            (LimitFlags::JERK, &mut self.jerk),
        ] {
            *count += u64::from(interventions.contains(limit));
        }
        self.limited += u64::from(!interventions.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_each_of_its_limits_once() {
        let both = LimitFlags::POSITION | LimitFlags::JERK;
        assert!(both.contains(LimitFlags::JERK) && !both.contains(LimitFlags::VELOCITY));
        assert!(both.names().eq(["position", "jerk"]));
        assert_eq!(LimitFlags::from_bits(both.bits() | 1 << 7), both);
        let mut counts = LimitCounts::default();
        counts.count(both);
        counts.count(LimitFlags::NONE);
        let expected = LimitCounts {
            limited: 1,
            position: 1,
            jerk: 1,
            ..LimitCounts::default()
        };
        assert_eq!(counts, expected);
    }
}
