//! Rotations as six numbers, headings and angles.
//!
//! The six numbers are the first two columns of the rotation matrix, which vary continuously with
//! the rotation (Zhou et al. 2019, "On the Continuity of Rotation Representations"). Any six numbers
//! of which neither column vanishes and which are not parallel mean a rotation: Gram-Schmidt.

use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};

/// Smallest length that a column is divided by.
pub const SMALLEST: f64 = 1e-8;

/// The six numbers of a rotation: first column, second column.
pub fn to_six(rotation: &UnitQuaternion<f64>) -> [f64; 6] {
    let matrix = rotation.to_rotation_matrix();
    let (first, second) = (matrix.matrix().column(0), matrix.matrix().column(1));
    [
        first[0], first[1], first[2], second[0], second[1], second[2],
    ]
}

/// The rotation that six numbers mean; none where they mean none (zero, parallel or not finite).
pub fn from_six(six: &[f64; 6]) -> Option<UnitQuaternion<f64>> {
    let first = Vector3::new(six[0], six[1], six[2]).try_normalize(SMALLEST)?;
    let second = Vector3::new(six[3], six[4], six[5]);
    let second = (second - first * first.dot(&second)).try_normalize(SMALLEST)?;
    let matrix = Matrix3::from_columns(&[first, second, first.cross(&second)]);
    let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(matrix));
    rotation
        .coords
        .iter()
        .all(|x| x.is_finite())
        .then_some(rotation)
}

/// The turn about the vertical axis by a heading: 0 faces +Z, positive turns towards +X (left).
pub fn yaw(heading: f64) -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Vector3::y_axis(), heading)
}

/// An angle brought to -pi..pi.
pub fn wrapped(angle: f64) -> f64 {
    angle - std::f64::consts::TAU * (angle / std::f64::consts::TAU).round()
}

#[cfg(test)]
mod tests {
    use kinestream_random::NoiseStream;

    use super::*;

    fn random_rotation(random: &mut NoiseStream) -> UnitQuaternion<f64> {
        let [x, y, z] = [0; 3].map(|_| 2.0 * f64::from(random.normal()));
        UnitQuaternion::from_scaled_axis(Vector3::new(x, y, z))
    }

    #[test]
    fn six_numbers_are_the_rotation() {
        let mut random = NoiseStream::new(1);
        for _ in 0..1000 {
            let rotation = random_rotation(&mut random);
            let mut six = to_six(&rotation);
            // Lengths and what the columns share do not matter.
            for value in &mut six[..3] {
                *value *= 3.0;
            }
            for axis in 0..3 {
                six[3 + axis] = 0.5 * six[3 + axis] + 0.2 * six[axis];
            }
            assert!(from_six(&six).unwrap().angle_to(&rotation) < 1e-7);
        }
        assert!(from_six(&[0.0; 6]).is_none());
        assert!(from_six(&[1.0, 0.0, 0.0, 2.0, 0.0, 0.0]).is_none());
        assert!(from_six(&[f64::NAN, 0.0, 0.0, 0.0, 1.0, 0.0]).is_none());
    }

    #[test]
    fn headings_turn_left_and_wrap() {
        let ahead = yaw(0.5) * Vector3::z();
        assert!((ahead.x.atan2(ahead.z) - 0.5).abs() < 1e-12);
        assert!((wrapped(7.0) - (7.0 - std::f64::consts::TAU)).abs() < 1e-12);
        assert!((wrapped(-4.0) - (std::f64::consts::TAU - 4.0)).abs() < 1e-12);
    }
}
