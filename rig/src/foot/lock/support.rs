//! What holds a foot, and how one hold goes over into the next without a jump.

use nalgebra::Vector3;

use super::{Foot, FootLockConfig, Now};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Heel = 0,
    Toe = 1,
}

/// What holds a foot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Support {
    pub(super) pivot: End,
    /// Where the pivot was caught.
    pub(super) place: Vector3<f64>,
    /// Its height now.
    pub(super) height: FootDrop,
    /// With both points down: the foot's direction over the floor, and the height of the other
    /// point.
    pub(super) flat: Option<(Vector3<f64>, FootDrop)>,
}

/// Height of a held point: it goes down with the generated one as long as that comes down, and
/// never up.
#[derive(Debug, Clone, Copy)]
pub(super) struct FootDrop {
    pub(super) height: f64,
    generated: f64,
}

impl FootDrop {
    /// Goes on with the next height of the generated point, to no lower than `lowest`.
    pub(super) fn step(&mut self, generated: f64, lowest: f64) {
        let down = (generated - self.generated).min(0.0);
        self.generated += down;
        self.height = (self.height + down).max(lowest);
    }
}

impl Foot {
    /// What holds the points wanted, from where they are.
    pub(super) fn next_support(
        &self,
        [heel, toe]: [bool; 2],
        now: &Now,
        config: &FootLockConfig,
    ) -> Option<Support> {
        let ends = &now.ends;
        let over_rest = |end: End| ends[end as usize].y - config.floor - self.heights[end as usize];
        let descent = |end: End| FootDrop {
            height: ends[end as usize].y,
            generated: now.generated[end as usize].y,
        };
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
            _ => Support {
                pivot,
                place: ends[pivot as usize],
                height: descent(pivot),
                flat: None,
            },
        };
        support.flat = (heel && toe).then(|| (ends[1] - ends[0], descent(pivot.other())));
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
        Vector3::new(self.place.x, self.height.height, self.place.z)
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
