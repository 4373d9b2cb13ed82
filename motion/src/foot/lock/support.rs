//! What holds a foot, and how one hold goes over into the next without a jump.

use nalgebra::Vector3;

use super::{FASTEST_SHIFT, Foot, FootLockConfig};
use crate::foot::spring::{Landing, Spring, rate};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Heel = 0,
    Toe = 1,
}

/// What holds a foot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Support {
    pub(super) pivot: End,
    /// Where the pivot is on the floor, and what is left of the way on which it came to rest.
    pub(super) place: Vector3<f64>,
    pub(super) glide: Spring,
    /// Height of the pivot over its height at rest.
    pub(super) height: Landing,
    /// With both points down: the foot's direction over the floor, and the height of the other
    /// point over its height at rest.
    pub(super) flat: Option<(Vector3<f64>, Landing)>,
}

impl Foot {
    /// What holds the points wanted, from where they are.
    pub(super) fn next_support(
        &self,
        [heel, toe]: [bool; 2],
        ends: [Vector3<f64>; 2],
        speeds: [Vector3<f64>; 2],
        config: &FootLockConfig,
    ) -> Option<Support> {
        let over_rest = |end: End| ends[end as usize].y - config.floor - self.heights[end as usize];
        let landing = |end: End| Landing::new(over_rest(end), speeds[end as usize].y);
        let pivot = match (heel, toe, &self.support) {
            (false, false, _) => return None,
            (true, false, _) => End::Heel,
            (false, true, _) => End::Toe,
            (true, true, Some(support)) => support.pivot,
            // Both at once: the one that is lower.
            (true, true, None) if over_rest(End::Toe) < over_rest(End::Heel) => End::Toe,
            (true, true, None) => End::Heel,
        };
        let mut support = match self.support {
            Some(support) if support.pivot == pivot => support,
            _ => {
                let mut place = ends[pivot as usize];
                place.y = config.floor + self.heights[pivot as usize];
                let mut glide = Spring::default();
                if config.landing_seconds > 0.0 {
                    // A spring that starts at -v / r with velocity v dies out without turning back.
                    let mut speed = speeds[pivot as usize].cap_magnitude(FASTEST_SHIFT);
                    speed.y = 0.0;
                    glide =
                        Spring::new(-speed / rate(config.landing_seconds), speed, FASTEST_SHIFT);
                    place -= glide.offset;
                }
                Support {
                    pivot,
                    place,
                    glide,
                    height: landing(pivot),
                    flat: None,
                }
            }
        };
        support.flat = (heel && toe).then(|| (ends[1] - ends[0], landing(pivot.other())));
        Some(support)
    }

    /// Whether a point is held.
    pub(super) fn holds(&self, end: End) -> bool {
        self.support
            .is_some_and(|support| support.pivot == end || support.flat.is_some())
    }
}

impl Support {
    /// Where the pivot is.
    pub(super) fn point(&self) -> Vector3<f64> {
        let mut point = self.place + self.glide.offset;
        point.y += self.height.offset;
        point
    }
}

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Heel => Self::Toe,
            Self::Toe => Self::Heel,
        }
    }
}
