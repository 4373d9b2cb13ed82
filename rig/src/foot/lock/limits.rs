//! What a foot may do: stay over the floor, and stay on its leg.

use nalgebra::{Unit, UnitQuaternion, Vector3};

use super::support::End;
use super::{Foot, FootLockConfig};
use crate::foot::two_bone::{LegPose, shortest_turn};

impl Foot {
    /// Lifts a free ankle to where it may be, and tilts the foot about the point that stays.
    pub(super) fn over_floor(
        &self,
        mut ankle: Vector3<f64>,
        foot: UnitQuaternion<f64>,
        config: &FootLockConfig,
    ) -> (Vector3<f64>, UnitQuaternion<f64>) {
        let [lowest_ankle, lowest_toe] = self.lowest(config);
        let toe = foot * self.offsets[3];
        let pivot = self
            .support
            .map(|support| (support.pivot, support.flat.is_some()));
        match pivot {
            // The support keeps both heights over the floor.
            Some((_, true)) => (ankle, foot),
            Some((End::Toe, false)) => {
                let point = ankle + toe;
                if ankle.y >= lowest_ankle {
                    return (ankle, foot);
                }
                let foot = tilted(foot, self.offsets[3], &toe, point.y - lowest_ankle);
                (point - foot * self.offsets[3], foot)
            }
            Some((End::Heel, false)) | None => {
                if pivot.is_none() {
                    ankle.y = ankle.y.max(lowest_ankle);
                }
                if ankle.y + toe.y >= lowest_toe {
                    return (ankle, foot);
                }
                (
                    ankle,
                    tilted(foot, self.offsets[3], &toe, lowest_toe - ankle.y),
                )
            }
        }
    }

    /// Brings the ankle to where the leg can be.
    pub(super) fn within_reach(
        &self,
        leg: &LegPose,
        ankle: Vector3<f64>,
        config: &FootLockConfig,
    ) -> Vector3<f64> {
        let most = longest(leg, config.reach);
        let soft = longest(leg, config.soft_reach).min(most);
        let begin = most - self.softness * (most - soft);
        let way = ankle - leg.hip;
        let distance = way.norm();
        if distance <= begin || distance < 1e-9 {
            return ankle;
        }
        let room = most - begin;
        let shortened = if room < 1e-9 {
            most.min(distance)
        } else {
            // Slope 1 where it begins, and never the whole of the room.
            begin + room * (1.0 - (-(distance - begin) / room).exp())
        };
        leg.hip + way * (shortened / distance)
    }

    /// Lowest heights of ankle and toe.
    pub(super) fn lowest(&self, config: &FootLockConfig) -> [f64; 2] {
        self.heights
            .map(|height| config.floor + (height - config.floor_tolerance).max(0.0))
    }
}

/// How far a leg may stretch: a share of its length, or as far as it was generated.
fn longest(leg: &LegPose, share: f64) -> f64 {
    let (thigh, shin) = leg.lengths();
    let generated = (leg.ankle - leg.hip).norm();
    (share * (thigh + shin)).max(generated).min(thigh + shin)
}

/// A foot turned the short way so that its toe, `offset` from the ankle in the foot's frame, is
/// `rise` over the ankle and points in the horizontal direction of `heading`.
pub(in crate::foot) fn tilted(
    foot: UnitQuaternion<f64>,
    offset: Vector3<f64>,
    heading: &Vector3<f64>,
    rise: f64,
) -> UnitQuaternion<f64> {
    let length = offset.norm();
    let toe = foot * offset;
    let flat = Vector3::new(heading.x, 0.0, heading.z);
    // A foot that points straight down has no direction: that of its sole then.
    let sole = foot * Vector3::z();
    let Some(flat) = flat
        .try_normalize(1e-9)
        .or_else(|| Vector3::new(sole.x, 0.0, sole.z).try_normalize(1e-9))
    else {
        return foot;
    };
    let rise = rise.clamp(-length, length);
    let wanted = flat * (length * length - rise * rise).max(0.0).sqrt() + Vector3::y() * rise;
    match shortest_turn(&Unit::new_normalize(toe), &Unit::new_normalize(wanted)) {
        Some(turn) => turn * foot,
        None => foot,
    }
}
