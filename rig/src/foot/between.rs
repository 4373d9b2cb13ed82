//! Poses between two frames whose feet have been locked: what stands still in both stands still in
//! between.
//!
//! Rotations are interpolated on the sphere and the root on a line, which moves a foot at the end of
//! four joints off its place by millimetres. So the legs are bent once more: the ankle, or the toe
//! that a foot rolls over, goes on a straight line from its place in one frame to that in the next.

use nalgebra::{UnitQuaternion, Vector3};

use super::lock::tilted;
use super::two_bone::LegPose;
use super::{Feet, FootState, Leg};
use crate::{GlobalPose, Pose, Skeleton};

/// A frame between which and the next poses are wanted, with the places of its joints.
#[derive(Debug, Clone, Default)]
pub struct Placed {
    /// The pose.
    pub pose: Pose,
    /// Where it puts every joint.
    pub global: GlobalPose,
}

impl Placed {
    /// A pose with the places of its joints.
    pub fn new(skeleton: &Skeleton, pose: Pose) -> Self {
        Self {
            global: skeleton.forward(&pose),
            pose,
        }
    }
}

/// The pose a `share` (0 to 1) of the way from one frame to the next. `held` is what held the feet
/// from the first frame on, as [`super::FootLock::apply`] returned it for that frame.
pub fn between(
    skeleton: &Skeleton,
    feet: &Feet,
    [from, to]: [&Placed; 2],
    held: &[FootState; 2],
    share: f64,
) -> Pose {
    if share <= 0.0 {
        return from.pose.clone();
    }
    if share >= 1.0 {
        return to.pose.clone();
    }
    let mut pose = from.pose.blended(&to.pose, share);
    let global = skeleton.forward(&pose);
    for (leg, held) in feet.legs.iter().zip(held) {
        let rolls = held.toe && !held.heel;
        bend(
            skeleton,
            leg,
            [&from.global, &to.global],
            &mut pose,
            &global,
            rolls,
            share,
        );
    }
    pose
}

/// Brings one foot to its line.
fn bend(
    skeleton: &Skeleton,
    leg: &Leg,
    [from, to]: [&GlobalPose; 2],
    pose: &mut Pose,
    global: &GlobalPose,
    rolls: bool,
    share: f64,
) {
    let line = |joint: usize| from.positions[joint].lerp(&to.positions[joint], share);
    let lower = |joint: usize| from.positions[joint].y.min(to.positions[joint].y);
    let mut foot = slerp(&from.rotations[leg.ankle], &to.rotations[leg.ankle], share);
    let offset = skeleton.joints()[leg.toe].offset;
    let toe = foot * offset;
    // A foot that turns by much could dip below the floor that both frames stand on.
    let ankle: Vector3<f64> = if rolls {
        let pivot = line(leg.toe);
        let rise = pivot.y - lower(leg.ankle);
        if toe.y > rise {
            foot = tilted(foot, offset, &toe, rise);
        }
        pivot - foot * offset
    } else {
        let ankle = line(leg.ankle);
        let rise = lower(leg.toe) - ankle.y;
        if toe.y < rise {
            foot = tilted(foot, offset, &toe, rise);
        }
        ankle
    };
    let Some(above) = skeleton.joints()[leg.hip].parent else {
        return;
    };
    let bent = LegPose {
        hip: global.positions[leg.hip],
        knee: global.positions[leg.knee],
        ankle: global.positions[leg.ankle],
        thigh: global.rotations[leg.hip],
        shin: global.rotations[leg.knee],
    };
    let (thigh, shin) = bent.reach_for(&ankle);
    pose.rotations[leg.hip] = global.rotations[above].inverse() * thigh;
    pose.rotations[leg.knee] = thigh.inverse() * shin;
    pose.rotations[leg.ankle] = shin.inverse() * foot;
}

fn slerp(from: &UnitQuaternion<f64>, to: &UnitQuaternion<f64>, share: f64) -> UnitQuaternion<f64> {
    from.try_slerp(to, share, 1e-9).unwrap_or(*from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foot::tests::legs;

    fn pose(root: [f64; 3], thigh: f64, shin: f64, foot: f64) -> Pose {
        let skeleton = legs();
        let about = |angle: f64| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), angle);
        let mut rotations = vec![UnitQuaternion::identity(); skeleton.len()];
        rotations[1] = about(-thigh);
        rotations[2] = about(shin);
        rotations[3] = about(thigh - shin + foot);
        Pose {
            root: Vector3::from(root),
            rotations,
        }
    }

    #[test]
    fn a_foot_that_stands_in_both_frames_stands_in_between() {
        let skeleton = legs();
        let feet = Feet::at_rest(&skeleton).unwrap();
        let leg = feet.legs[0];
        // The second frame's ankle is brought to where the first one's is.
        let first = Placed::new(&skeleton, pose([0.0, 0.9, 0.0], 0.3, 0.6, 0.0));
        let mut second = Placed::new(&skeleton, pose([0.0, 0.88, 0.15], 0.1, 0.5, 0.0));
        let global = second.global.clone();
        let same = [&first.global, &first.global];
        bend(&skeleton, &leg, same, &mut second.pose, &global, false, 1.0);
        let second = Placed::new(&skeleton, second.pose);
        let place = first.global.positions[leg.ankle];
        assert!((second.global.positions[leg.ankle] - place).norm() < 1e-9);
        let held = [FootState {
            heel: true,
            ..FootState::default()
        }; 2];
        let blended = first.pose.blended(&second.pose, 0.5);
        let free = skeleton.forward(&blended).positions[leg.ankle];
        assert!((free - place).norm() > 1e-3, "without: {free}");
        for share in [0.0, 0.25, 0.5, 0.9, 1.0] {
            let pose = between(&skeleton, &feet, [&first, &second], &held, share);
            let ankle = skeleton.forward(&pose).positions[leg.ankle];
            assert!((ankle - place).norm() < 1e-9, "{share}: {ankle}");
        }
    }

    #[test]
    fn a_foot_rolls_over_its_toe() {
        let skeleton = legs();
        let feet = Feet::at_rest(&skeleton).unwrap();
        let leg = feet.legs[0];
        let first = Placed::new(&skeleton, pose([0.0, 0.9, 0.0], 0.3, 0.6, 0.0));
        let mut second = pose([0.0, 0.9, 0.0], 0.3, 0.6, 0.5);
        // The foot has turned by half a radian about its toe.
        let toe = first.global.positions[leg.toe];
        second.root += toe - skeleton.forward(&second).positions[leg.toe];
        let second = Placed::new(&skeleton, second);
        let held = [FootState {
            toe: true,
            ..FootState::default()
        }; 2];
        for share in [0.2, 0.5, 0.8] {
            let pose = between(&skeleton, &feet, [&first, &second], &held, share);
            let found = skeleton.forward(&pose).positions[leg.toe];
            assert!((found - toe).norm() < 1e-9, "{share}");
        }
    }
}
