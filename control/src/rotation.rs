//! How the numbers of an action say an orientation: a quaternion, a rotation vector, or two columns of a rotation matrix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::curve::Motion;
use crate::quaternion::{Quaternion, Turn, length};

/// Numbers of the longest representation.
pub(crate) const MOST: usize = 6;
/// Below this angle, in rad, sine and angle are the same number.
const TINY: f64 = 1e-8;
/// Axes shorter than this, or two of which less is left where they are made perpendicular, say no orientation.
const LEAST: f64 = 1e-6;

/// The columns of an action that are one orientation, by how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected 4 columns (a quaternion x, y, z, w), 3 (a rotation vector), 1 (an angle) or 6 (the first two columns of a rotation matrix)"
)]
pub enum OrientationColumns {
    /// An angle in rad about an axis that stays: of a joint that turns without end, or one part of a rotation vector. Angles
    /// that differ by whole turns are the same.
    Angle([usize; 1]),
    /// A rotation vector: an axis, as long as the angle about it in rad. Angles that differ by whole turns are the same.
    RotationVector([usize; 3]),
    /// A quaternion x, y, z, w of any length but zero; q and -q are the same.
    Quaternion([usize; 4]),
    /// The first two columns of a rotation matrix, one after the other (Zhou et al., "On the continuity of rotation
    /// representations in neural networks", 2019); they need not be perpendicular or of length 1.
    SixD([usize; 6]),
}

impl From<[usize; 4]> for OrientationColumns {
    fn from(columns: [usize; 4]) -> Self {
        Self::Quaternion(columns)
    }
}

impl OrientationColumns {
    /// The columns, in order.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        match self {
            Self::Angle(columns) => columns,
            Self::RotationVector(columns) => columns,
            Self::Quaternion(columns) => columns,
            Self::SixD(columns) => columns,
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Angle(_) => "an angle",
            Self::RotationVector(_) => "a rotation vector",
            Self::Quaternion(_) => "a quaternion x, y, z, w",
            Self::SixD(_) => "the first two columns of a rotation matrix",
        }
    }

    /// The orientation that a row says, by its number in `row`; none where its numbers say none.
    pub(crate) fn read(&self, row: impl Fn(usize) -> f64) -> Option<Quaternion> {
        match self {
            Self::Quaternion(columns) => Quaternion::new(columns.map(row)),
            Self::Angle([column]) => from_rotation_vector([row(*column), 0.0, 0.0]),
            Self::RotationVector(columns) => from_rotation_vector(columns.map(row)),
            Self::SixD(columns) => from_two_axes(columns.map(row)),
        }
    }

    /// The numbers of an orientation, of all that say it those nearest to the row of before; as many as columns, the rest 0.
    pub(crate) fn numbers(&self, at: Quaternion, before: impl Fn(usize) -> f64) -> [f64; MOST] {
        let mut numbers = [0.0; MOST];
        match self {
            Self::Quaternion(columns) => {
                let near = Quaternion::new(columns.map(before));
                let at = near.map_or(at, |near| at.on_the_side_of(near));
                numbers[..4].copy_from_slice(&at.numbers());
            }
            Self::Angle([column]) => {
                numbers[0] = to_rotation_vector(at, [before(*column), 0.0, 0.0])[0];
            }
            Self::RotationVector(columns) => {
                numbers[..3].copy_from_slice(&to_rotation_vector(at, columns.map(before)));
            }
            Self::SixD(_) => numbers.copy_from_slice(&to_two_axes(at)),
        }
        numbers
    }
}

/// Time in seconds over which the numbers of an orientation hardly leave their tangent.
const MOMENT_S: f64 = 1e-6;
/// How exactly an angular velocity is known from it, relative.
const ROUNDING: f64 = 1e-6;

impl OrientationColumns {
    /// The rates of change per second of `numbers`, which say where `turn` is.
    pub(crate) fn rates(&self, turn: Turn, numbers: &[f64; MOST]) -> [f64; MOST] {
        let mut rates = [0.0; MOST];
        if let Self::Quaternion(_) = self {
            rates[..4].copy_from_slice(&turn.rate);
            return rates;
        }
        let columns = self.columns();
        let later = self.numbers(turn.after(MOMENT_S), |column| {
            let place = columns.iter().position(|&own| own == column);
            place.map_or(0.0, |place| numbers[place])
        });
        for ((rate, later), now) in rates.iter_mut().zip(later).zip(numbers) {
            *rate = (later - now) / MOMENT_S;
        }
        rates
    }

    /// The angular velocity in rad per second of numbers that move; 0 where they say no orientation.
    pub(crate) fn angular_velocity(&self, motion: impl Fn(usize) -> Motion) -> f64 {
        if let Self::Quaternion(columns) = self {
            return 2.0 * length(columns.map(|column| motion(column).velocity));
        }
        let at = |seconds: f64| {
            self.read(|column| {
                let Motion { value, velocity } = motion(column);
                value + velocity * seconds
            })
        };
        match (at(0.0), at(MOMENT_S)) {
            (Some(now), Some(later)) => (1.0 + ROUNDING) * now.angle_to(later) / MOMENT_S,
            _ => 0.0,
        }
    }
}

fn from_rotation_vector(vector: [f64; 3]) -> Option<Quaternion> {
    let angle = norm(vector);
    if !angle.is_finite() {
        return None;
    }
    let (sine, cosine) = (angle / 2.0).sin_cos();
    let factor = if angle < TINY { 0.5 } else { sine / angle };
    let [x, y, z] = vector.map(|number| number * factor);
    Quaternion::new([x, y, z, cosine])
}

/// Of the rotation vectors of an orientation, which differ by whole turns about its axis, the one nearest to `before`.
fn to_rotation_vector(at: Quaternion, before: [f64; 3]) -> [f64; 3] {
    const TURN: f64 = std::f64::consts::TAU;
    let [x, y, z, w] = at.numbers();
    let sine = norm([x, y, z]);
    // The numbers of before say about which axis nothing was turned.
    let axis = match sine < TINY {
        false => [x, y, z].map(|number| number / sine),
        true => {
            let length = norm(before);
            if !length.is_finite() || length < TINY {
                return [
                    2.0 * x * w.signum(),
                    2.0 * y * w.signum(),
                    2.0 * z * w.signum(),
                ];
            }
            before.map(|number| number / length)
        }
    };
    let angle = match sine < TINY {
        false => 2.0 * sine.atan2(w),
        true => 0.0,
    };
    let along: f64 = axis
        .iter()
        .zip(before)
        .map(|(axis, number)| axis * number)
        .sum();
    let turns = ((along - angle) / TURN).round();
    let turns = if turns.is_finite() {
        turns.clamp(-2.0, 2.0)
    } else {
        0.0
    };
    axis.map(|number| number * (angle + turns * TURN))
}

fn from_two_axes(numbers: [f64; 6]) -> Option<Quaternion> {
    let [a, b, c, d, e, f] = numbers;
    let first = unit([a, b, c])?;
    let second = unit([d, e, f])?;
    let along = dot(first, second);
    let second = unit(std::array::from_fn(|at| second[at] - along * first[at]))?;
    let third = [
        first[1] * second[2] - first[2] * second[1],
        first[2] * second[0] - first[0] * second[2],
        first[0] * second[1] - first[1] * second[0],
    ];
    Quaternion::of_axes([first, second, third])
}

fn to_two_axes(at: Quaternion) -> [f64; 6] {
    let [x, y, z, w] = at.numbers();
    [
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y + z * w),
        2.0 * (x * z - y * w),
        2.0 * (x * y - z * w),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z + x * w),
    ]
}

fn unit(axis: [f64; 3]) -> Option<[f64; 3]> {
    let length = norm(axis);
    (length.is_finite() && length >= LEAST).then(|| axis.map(|number| number / length))
}

fn norm(vector: [f64; 3]) -> f64 {
    dot(vector, vector).sqrt()
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{PI, TAU};

    use proptest::prelude::*;

    use super::*;

    const VECTOR: OrientationColumns = OrientationColumns::RotationVector([0, 1, 2]);
    const SIX: OrientationColumns = OrientationColumns::SixD([0, 1, 2, 3, 4, 5]);

    fn read(how: OrientationColumns, row: &[f64]) -> Option<Quaternion> {
        how.read(|column| row[column])
    }

    #[test]
    fn vectors_a_turn_apart_are_one_orientation_and_the_nearest_is_written() {
        let (long, short) = ([3.1, 0.0, 0.0], [3.1 - TAU, 0.0, 0.0]);
        let [a, b] = [long, short].map(|row| read(VECTOR, &row).unwrap());
        assert!(a.angle_to(b) < 1e-12);
        for before in [long, short] {
            let numbers = VECTOR.numbers(a, |column| before[column]);
            assert!((numbers[0] - before[0]).abs() < 1e-12, "{numbers:?}");
        }
        let angle = OrientationColumns::Angle([0]);
        for before in [3.1, 3.1 - TAU] {
            let numbers = angle.numbers(read(angle, &[3.1]).unwrap(), |_| before);
            assert!((numbers[0] - before).abs() < 1e-12, "{numbers:?}");
        }
        // Nothing turned stays nothing turned, or a whole turn about the axis of before.
        let none = VECTOR.numbers(Quaternion::IDENTITY, |_| 0.0);
        assert_eq!(none[..3], [0.0; 3]);
        let turned = VECTOR.numbers(Quaternion::IDENTITY, |column| [6.2, 0.0, 0.0][column]);
        assert!((turned[0] - TAU).abs() < 1e-12, "{turned:?}");
    }

    #[test]
    fn what_says_no_orientation_is_none() {
        assert_eq!(read(VECTOR, &[f64::NAN, 0.0, 0.0]), None);
        assert_eq!(read(VECTOR, &[0.0; 3]), Some(Quaternion::IDENTITY));
        for row in [
            [0.0; 6],
            [1.0, 0.0, 0.0, 2.0, 0.0, 0.0],
            [1.0, 0.0, 0.0, f64::INFINITY, 0.0, 0.0],
        ] {
            assert_eq!(read(SIX, &row), None, "{row:?}");
        }
        // Neither perpendicular nor of length 1.
        let identity = read(SIX, &[2.0, 0.0, 0.0, 0.5, 3.0, 0.0]).unwrap();
        assert!(identity.angle_to(Quaternion::IDENTITY) < 1e-12);
    }

    proptest! {
        #[test]
        fn every_representation_comes_back(
            axis in prop::array::uniform3(-1.0..1.0_f64),
            angle in -PI..PI,
        ) {
            let Some(axis) = unit(axis) else { return Ok(()) };
            let row = axis.map(|number| number * angle);
            let at = read(VECTOR, &row).unwrap();
            for how in [VECTOR, SIX, OrientationColumns::Quaternion([0, 1, 2, 3])] {
                let numbers = how.numbers(at, |_| 0.1);
                let again = read(how, &numbers).unwrap();
                prop_assert!(at.angle_to(again) < 1e-7, "{how:?} {numbers:?}");
            }
            let same = VECTOR.numbers(at, |column| row[column]);
            for (new, old) in same.iter().zip(row) {
                prop_assert!((new - old).abs() < 1e-6, "{same:?} {row:?}");
            }
        }
    }
}
