//! Inverse kinematics of a leg in closed form: the ankle comes to a target, the knee keeps the
//! direction in which it bends.
//!
//! The generated leg is changed, not built anew: the angles at hip and knee change by what the law
//! of cosines asks for, then the whole leg turns the short way to its target. So a target where the
//! ankle already is leaves the leg as it was, and the change grows continuously with the distance.

use std::f64::consts::PI;

use nalgebra::{Quaternion, Unit, UnitQuaternion, Vector3};

/// Where the knee bends sideways at most, from straight forward, in radians, after a correction.
const SIDEWAYS: f64 = 1.4;

/// Distance of the knee from the line between hip and ankle, as a share of the leg, below which
/// the direction in which it bends is not trusted (7 degrees of bend).
const STRAIGHT: f64 = 0.03;

/// Change of the knee's angle, in radians, from which on its direction is corrected in full.
const FULL_CORRECTION: f64 = 0.1;

/// A leg as it stands in the world. Bones have a length.
#[derive(Debug, Clone, Copy)]
pub(super) struct LegPose {
    pub(super) hip: Vector3<f64>,
    pub(super) knee: Vector3<f64>,
    pub(super) ankle: Vector3<f64>,
    /// Rotation of the thigh (the hip joint) to the world. Its X axis is the one about which the
    /// knee bends backwards.
    pub(super) thigh: UnitQuaternion<f64>,
    /// Rotation of the shin (the knee joint) to the world.
    pub(super) shin: UnitQuaternion<f64>,
}

impl LegPose {
    /// Lengths of thigh and shin.
    pub(super) fn lengths(&self) -> (f64, f64) {
        (
            (self.knee - self.hip).norm(),
            (self.ankle - self.knee).norm(),
        )
    }

    /// New rotations of thigh and shin to the world that bring the ankle to `target`. A target
    /// outside the leg's reach is brought to its border along the line from the hip.
    pub(super) fn reach_for(
        &self,
        target: &Vector3<f64>,
    ) -> (UnitQuaternion<f64>, UnitQuaternion<f64>) {
        let (thigh, shin) = self.lengths();
        let to_ankle = self.ankle - self.hip;
        let to_target = target - self.hip;
        let (Some(line), Some(new_line)) = (
            Unit::try_new(to_ankle, 1e-9),
            Unit::try_new(to_target, 1e-9),
        ) else {
            // A foot at the hip has no direction to turn from or to.
            return (self.thigh, self.shin);
        };
        let distance = to_target
            .norm()
            .clamp((thigh - shin).abs() + 1e-6, thigh + shin);

        let to_knee = self.knee - self.hip;
        let hip_angle = angle(&line, &to_knee);
        let knee_angle = angle(&to_knee, &(self.ankle - self.knee));
        let new_hip_angle = corner(thigh, distance, shin);
        let new_knee_angle = PI - corner(thigh, shin, distance);

        let swivel = self.swivel(&line, &to_knee, thigh + shin, new_knee_angle - knee_angle);
        // The axis about which the knee bends backwards. A straight leg bends as it stands.
        let lateral = self.thigh * Vector3::x_axis();
        let forward = line.cross(&lateral);
        let bend = Unit::try_new(swivel * line.cross(&-to_knee), 1e-9)
            .or_else(|| Unit::try_new(forward.cross(&line), 1e-9));
        let Some(bend) = bend else {
            return (self.thigh, self.shin);
        };
        let at_hip = UnitQuaternion::from_axis_angle(&bend, hip_angle - new_hip_angle);
        let at_knee = UnitQuaternion::from_axis_angle(
            &bend,
            hip_angle - new_hip_angle + new_knee_angle - knee_angle,
        );
        let turn = shortest_turn(&line, &new_line)
            .unwrap_or_else(|| UnitQuaternion::from_axis_angle(&bend, PI));
        (
            turn * at_hip * swivel * self.thigh,
            turn * at_knee * swivel * self.shin,
        )
    }

    /// The turn about the line from hip to ankle that brings the knee to where it should point: a
    /// knee that is nearly straight to the front, since its direction is noise, and no knee to the
    /// back. It grows with the change of the knee's angle, so that no change is none.
    fn swivel(
        &self,
        line: &Unit<Vector3<f64>>,
        to_knee: &Vector3<f64>,
        leg: f64,
        change: f64,
    ) -> UnitQuaternion<f64> {
        let aside = to_knee - line.into_inner() * line.dot(to_knee);
        let lateral = self.thigh * Vector3::x_axis();
        let Some(forward) = Unit::try_new(line.cross(&lateral), 1e-9) else {
            return UnitQuaternion::identity();
        };
        if aside.norm() < 1e-9 {
            return UnitQuaternion::identity();
        }
        let direction = line.dot(&forward.cross(&aside)).atan2(forward.dot(&aside));
        let trust = (aside.norm() / (STRAIGHT * leg)).min(1.0);
        let wanted = (direction * trust).clamp(-SIDEWAYS, SIDEWAYS);
        let share = (change.abs() / FULL_CORRECTION).min(1.0);
        UnitQuaternion::from_axis_angle(line, share * (wanted - direction))
    }
}

/// The shortest turn from one direction to another; none between opposite ones. Exact for small
/// turns, where the arc cosine of the angle would not be.
pub(super) fn shortest_turn(
    from: &Unit<Vector3<f64>>,
    to: &Unit<Vector3<f64>>,
) -> Option<UnitQuaternion<f64>> {
    let turn = Quaternion::from_parts(1.0 + from.dot(to), from.cross(to));
    UnitQuaternion::try_new(turn, 1e-6)
}

/// Angle between two vectors, 0 to pi, exact near both ends.
fn angle(one: &Vector3<f64>, other: &Vector3<f64>) -> f64 {
    one.cross(other).norm().atan2(one.dot(other))
}

/// Angle between sides `one` and `other` of a triangle, opposite to side `opposite`.
fn corner(one: f64, other: f64, opposite: f64) -> f64 {
    // Half-angle form: it keeps its precision where the triangle is nearly flat.
    let half = (one + other + opposite) / 2.0;
    let near = ((half - one) * (half - other)).max(0.0);
    let far = (half * (half - opposite)).max(0.0);
    2.0 * near.sqrt().atan2(far.sqrt())
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use proptest::prelude::*;

    use super::*;

    const THIGH: f64 = 0.43;
    const SHIN: f64 = 0.42;

    /// A leg with its hip at a place: turned as a whole, then bent at the knee.
    fn leg(whole: UnitQuaternion<f64>, bend: f64) -> LegPose {
        let hip = Vector3::new(0.1, 0.95, 0.2);
        let shin = whole * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), bend);
        let knee = hip + whole * Vector3::new(0.0, -THIGH, 0.0);
        LegPose {
            hip,
            knee,
            ankle: knee + shin * Vector3::new(0.0, -SHIN, 0.0),
            thigh: whole,
            shin,
        }
    }

    fn solved(leg: &LegPose, target: &Vector3<f64>) -> LegPose {
        let (thigh, shin) = leg.reach_for(target);
        let knee = leg.hip + thigh * Vector3::new(0.0, -THIGH, 0.0);
        LegPose {
            knee,
            ankle: knee + shin * Vector3::new(0.0, -SHIN, 0.0),
            thigh,
            shin,
            ..*leg
        }
    }

    /// Sine of the angle by which the knee bends, positive backwards (as knees do).
    fn bends(leg: &LegPose) -> f64 {
        (leg.thigh * Vector3::x()).dot(&(leg.knee - leg.hip).cross(&(leg.ankle - leg.knee)))
            / (THIGH * SHIN)
    }

    fn turns() -> impl Strategy<Value = UnitQuaternion<f64>> {
        prop::array::uniform3(-1.2_f64..1.2)
            .prop_map(|axis| UnitQuaternion::from_scaled_axis(Vector3::from(axis)))
    }

    #[test]
    fn corners_of_known_triangles() {
        assert!((corner(3.0, 4.0, 5.0) - FRAC_PI_2).abs() < 1e-12);
        assert!((corner(1.0, 1.0, 1.0) - PI / 3.0).abs() < 1e-12);
        assert!((corner(0.43, 0.42, 0.85) - PI).abs() < 1e-7);
        assert_eq!(corner(0.85, 0.43, 0.42), 0.0);
    }

    #[test]
    fn a_straight_leg_bends_forward() {
        let leg = leg(UnitQuaternion::identity(), 0.0);
        let solved = solved(&leg, &(leg.hip + Vector3::new(0.0, -0.7, 0.0)));
        assert!(solved.knee.z > leg.hip.z + 0.1, "{:?}", solved.knee);
        assert!((solved.knee.x - leg.hip.x).abs() < 1e-9);
    }

    #[test]
    fn a_knee_that_bends_backwards_a_little_is_brought_to_the_front() {
        let leg = leg(UnitQuaternion::identity(), -0.03);
        let solved = solved(&leg, &(leg.hip + Vector3::new(0.0, -0.7, 0.0)));
        assert!(solved.knee.z > leg.hip.z + 0.1, "{:?}", solved.knee);
    }

    proptest! {
        #[test]
        fn the_ankle_comes_to_the_target_and_the_knee_bends_as_knees_do(
            whole in turns(),
            bend in 0.0_f64..2.2,
            direction in turns(),
            distance in 0.3_f64..0.845,
        ) {
            let leg = leg(whole, bend);
            let along = direction * (leg.ankle - leg.hip).normalize();
            let target = leg.hip + along * distance;
            let solved = solved(&leg, &target);
            prop_assert!((solved.ankle - target).norm() < 1e-9, "{}", (solved.ankle - target).norm());
            prop_assert!(bends(&solved) > -1e-9, "{}", bends(&solved));
        }

        #[test]
        fn a_target_where_the_ankle_is_changes_nothing(whole in turns(), bend in 0.0_f64..2.2) {
            let leg = leg(whole, bend);
            let (thigh, shin) = leg.reach_for(&leg.ankle.clone());
            prop_assert!(thigh.angle_to(&leg.thigh) < 1e-6);
            prop_assert!(shin.angle_to(&leg.shin) < 1e-6);
        }

        #[test]
        fn what_is_out_of_reach_is_reached_for_with_a_straight_leg(whole in turns(), bend in 0.1_f64..2.2) {
            let leg = leg(whole, bend);
            let along = (leg.ankle - leg.hip).normalize();
            let solved = solved(&leg, &(leg.hip + along * 2.0));
            prop_assert!((solved.ankle - (leg.hip + along * (THIGH + SHIN))).norm() < 1e-6);
        }

        #[test]
        fn small_moves_of_the_target_move_the_knee_little(
            whole in turns(),
            bend in 0.0_f64..2.0,
            distance in 0.4_f64..0.84,
            step in prop::array::uniform3(-1.0_f64..1.0),
        ) {
            let leg = leg(whole, bend);
            let target = leg.hip + (leg.ankle - leg.hip).normalize() * distance;
            let moved = target + 1e-5 * Vector3::from(step);
            let [before, after] = [target, moved].map(|target| solved(&leg, &target).knee);
            // The knee moves the faster the straighter the leg is; at 0.84 of 0.85 m, 8-fold.
            prop_assert!((before - after).norm() < 2e-4, "{}", (before - after).norm());
        }
    }
}
