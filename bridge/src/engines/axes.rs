//! The axes and units of engines, and how places and rotations get there.
//!
//! kinestream's world is right-handed with Y up, in metres, and a character at rest faces +Z with its left hand at +X.
//! Every other one here is a signed permutation of these axes and a factor. Where the permutation also mirrors (from
//! right-handed to left-handed), the axis of a rotation is mirrored with it and the rotation turns the other way about
//! it, which for a quaternion is one sign more on x, y, z.

use std::str::FromStr;

use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use serde::Serialize;

/// Axes and unit of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axes {
    /// kinestream's own, as on the wire: right-handed, Y up, metres, faces +Z. Those of glTF and VRM 1.0 are the same.
    #[default]
    Gltf,
    /// Godot: the same too. A character faces +Z as glTF's do, against the -Z of cameras.
    Godot,
    /// Unity and VRM 0: left-handed, Y up, metres, faces +Z, left hand at -X.
    Unity,
    /// Unreal: left-handed, Z up, centimetres, faces +X, left hand at -Y.
    Unreal,
    /// Blender: right-handed, Z up, metres, faces -Y, left hand at +X.
    Blender,
    /// ROS (REP 103): right-handed, Z up, metres, faces +X, left hand at +Y.
    Ros,
}

/// For every axis of the target, which of ours it is and with which sign.
type Permutation = [(usize, f64); 3];

impl Axes {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Gltf,
        Self::Godot,
        Self::Unity,
        Self::Unreal,
        Self::Blender,
        Self::Ros,
    ];

    /// The name in addresses and configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gltf => "gltf",
            Self::Godot => "godot",
            Self::Unity => "unity",
            Self::Unreal => "unreal",
            Self::Blender => "blender",
            Self::Ros => "ros",
        }
    }

    fn permutation(self) -> Permutation {
        match self {
            Self::Gltf | Self::Godot => [(0, 1.0), (1, 1.0), (2, 1.0)],
            Self::Unity => [(0, -1.0), (1, 1.0), (2, 1.0)],
            Self::Unreal => [(2, 1.0), (0, -1.0), (1, 1.0)],
            Self::Blender => [(0, 1.0), (2, -1.0), (1, 1.0)],
            Self::Ros => [(2, 1.0), (0, 1.0), (1, 1.0)],
        }
    }

    /// Target units per metre.
    #[must_use]
    pub fn units_per_metre(self) -> f64 {
        match self {
            Self::Unreal => 100.0,
            _ => 1.0,
        }
    }

    /// Whether the target is left-handed.
    #[must_use]
    pub fn is_left_handed(self) -> bool {
        matches!(self, Self::Unity | Self::Unreal)
    }

    /// A direction, of the same length.
    #[must_use]
    pub fn direction(self, ours: &Vector3<f64>) -> Vector3<f64> {
        let [x, y, z] = self.permutation().map(|(axis, sign)| sign * ours[axis]);
        Vector3::new(x, y, z)
    }

    /// A place in metres, in the target's unit.
    #[must_use]
    pub fn position(self, ours: &Vector3<f64>) -> Vector3<f64> {
        self.direction(ours) * self.units_per_metre()
    }

    /// A rotation.
    #[must_use]
    pub fn rotation(self, ours: &UnitQuaternion<f64>) -> UnitQuaternion<f64> {
        let turned = self.direction(&ours.imag());
        let axis = if self.is_left_handed() {
            -turned
        } else {
            turned
        };
        UnitQuaternion::new_unchecked(Quaternion::from_parts(ours.w, axis))
    }

    /// The axes of the ground, of three.
    #[must_use]
    pub fn ground(self) -> [usize; 2] {
        match self {
            Self::Gltf | Self::Godot | Self::Unity => [0, 2],
            Self::Unreal | Self::Blender | Self::Ros => [0, 1],
        }
    }

    /// A direction on the target's ground (its two axes that are not up, in their order) as ours, x and z; of the same
    /// length.
    #[must_use]
    pub fn ground_direction_back(self, theirs: [f64; 2]) -> [f64; 2] {
        let mut ours = [0.0; 3];
        let permutation = self.permutation();
        for (axis, value) in self.ground().into_iter().zip(theirs) {
            let (from, sign) = permutation[axis];
            ours[from] = sign * value;
        }
        [ours[0], ours[2]]
    }
}

/// A name that is none of [`Axes::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("axes: expected gltf, godot, unity, unreal, blender or ros, found {found:?}")]
pub struct UnknownAxes {
    found: String,
}

impl FromStr for Axes {
    type Err = UnknownAxes;

    fn from_str(name: &str) -> Result<Self, UnknownAxes> {
        Self::ALL
            .into_iter()
            .find(|axes| axes.name() == name)
            .ok_or_else(|| UnknownAxes {
                found: name.chars().take(40).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use proptest::prelude::*;

    use super::*;

    const RIGHT_HANDED: [Axes; 4] = [Axes::Gltf, Axes::Godot, Axes::Blender, Axes::Ros];

    fn vector(x: f64, y: f64, z: f64) -> Vector3<f64> {
        Vector3::new(x, y, z)
    }

    /// Where a character's left hand, head and nose point at rest, as the engines' manuals have it.
    #[test]
    fn left_up_and_ahead_are_where_each_engine_has_them() {
        let (left, up, ahead) = (Vector3::x(), Vector3::y(), Vector3::z());
        let expected = |axes: Axes| match axes {
            Axes::Gltf | Axes::Godot => (vector(1., 0., 0.), Vector3::y(), Vector3::z()),
            Axes::Unity => (vector(-1., 0., 0.), Vector3::y(), Vector3::z()),
            Axes::Unreal => (vector(0., -1., 0.), Vector3::z(), Vector3::x()),
            Axes::Blender => (vector(1., 0., 0.), Vector3::z(), vector(0., -1., 0.)),
            Axes::Ros => (Vector3::y(), Vector3::z(), Vector3::x()),
        };
        for axes in Axes::ALL {
            let found = (
                axes.direction(&left),
                axes.direction(&up),
                axes.direction(&ahead),
            );
            assert_eq!(found, expected(axes), "{axes:?}");
            // Up is never on the ground.
            let [first, second] = axes.ground();
            assert_eq!((found.1[first], found.1[second]), (0.0, 0.0));
            let handed = found.0.cross(&found.1).dot(&found.2);
            assert_eq!(handed > 0.0, RIGHT_HANDED.contains(&axes));
            assert_eq!(axes.is_left_handed(), !RIGHT_HANDED.contains(&axes));
            assert_eq!(axes.name().parse(), Ok(axes));
        }
        assert_eq!(
            Axes::Unreal.position(&vector(1., 2., 3.)),
            vector(300., -100., 200.)
        );
        let error = "maya".parse::<Axes>().unwrap_err().to_string();
        assert!(
            error.contains("unreal") && error.contains("maya"),
            "{error}"
        );
    }

    /// A character that has turned to its left by a quarter, in the components that each engine would show.
    #[test]
    fn a_quarter_turn_to_the_left_has_the_sign_of_each_engine() {
        let half = (FRAC_PI_2 / 2.0).sin();
        let left = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), FRAC_PI_2);
        for (axes, expected) in [
            (Axes::Gltf, vector(0., half, 0.)),
            (Axes::Godot, vector(0., half, 0.)),
            // Unity: a positive yaw turns to the right.
            (Axes::Unity, vector(0., -half, 0.)),
            // Unreal: likewise, about Z.
            (Axes::Unreal, vector(0., 0., -half)),
            (Axes::Blender, vector(0., 0., half)),
            (Axes::Ros, vector(0., 0., half)),
        ] {
            let found = axes.rotation(&left);
            assert!((found.imag() - expected).norm() < 1e-12, "{axes:?} {found}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// To rotate and then to convert is to convert and then to rotate by the converted rotation.
        #[test]
        fn rotations_go_with_places(
            place in prop::array::uniform3(-10.0..10.0),
            turn in prop::array::uniform3(-3.0..3.0),
            second in prop::array::uniform3(-3.0..3.0),
        ) {
            let place = Vector3::from(place);
            let rotation = UnitQuaternion::from_scaled_axis(Vector3::from(turn));
            let second = UnitQuaternion::from_scaled_axis(Vector3::from(second));
            for axes in Axes::ALL {
                // The product of quaternions is the same in left-handed axes, so nalgebra serves there too.
                let one = axes.position(&(rotation * place));
                let other = axes.rotation(&rotation) * axes.position(&place);
                prop_assert!((one - other).norm() < 1e-9 * axes.units_per_metre());
                let product = axes.rotation(&(rotation * second));
                let of_parts = axes.rotation(&rotation) * axes.rotation(&second);
                prop_assert!(product.angle_to(&of_parts) < 1e-6);
            }
        }

        #[test]
        fn directions_on_the_ground_come_back(x in -10.0..10.0f64, z in -10.0..10.0f64) {
            for axes in Axes::ALL {
                let theirs = axes.direction(&vector(x, 0.0, z));
                let ground = axes.ground().map(|axis| theirs[axis]);
                prop_assert_eq!(axes.ground_direction_back(ground), [x, z]);
            }
        }
    }
}
