//! Rotations from directions.

use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};

/// Axes with x along `left` and y as near to `up` as can be; none if they are parallel.
pub(super) fn axes(left: &Vector3<f64>, up: &Vector3<f64>) -> Option<UnitQuaternion<f64>> {
    let x = left.try_normalize(1e-9)?;
    let y = (up - x * x.dot(up)).try_normalize(1e-9)?;
    let columns = Matrix3::from_columns(&[x, y, x.cross(&y)]);
    Some(UnitQuaternion::from_rotation_matrix(
        &Rotation3::from_matrix_unchecked(columns),
    ))
}

/// The rotation next to `rotation` that makes the local direction `local` point along `along`.
pub(super) fn swung(
    rotation: &UnitQuaternion<f64>,
    local: &Vector3<f64>,
    along: &Vector3<f64>,
) -> UnitQuaternion<f64> {
    let now = rotation * local;
    UnitQuaternion::rotation_between(&now, along).map_or(*rotation, |swing| swing * rotation)
}
