//! Axis-aligned bounding boxes.

use super::vector::{Vector, maximum, minimum};

/// The box `left..=right` by `bottom..=top` (y grows towards `top`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) left: f64,
    pub(super) bottom: f64,
    pub(super) right: f64,
    pub(super) top: f64,
}

impl Bounds {
    pub(super) fn intersects(&self, other: &Self) -> bool {
        self.left <= other.right
            && other.left <= self.right
            && self.bottom <= other.top
            && other.bottom <= self.top
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.right >= other.right
            && self.bottom <= other.bottom
            && self.top >= other.top
    }

    /// The smallest box around both.
    pub(super) fn merged(&self, other: &Self) -> Self {
        Self {
            left: minimum(self.left, other.left),
            bottom: minimum(self.bottom, other.bottom),
            right: maximum(self.right, other.right),
            top: maximum(self.top, other.top),
        }
    }

    pub(super) fn center(&self) -> Vector {
        Vector::new(self.left, self.bottom).lerp(Vector::new(self.right, self.top), 0.5)
    }

    pub(super) fn area(&self) -> f64 {
        (self.right - self.left) * (self.top - self.bottom)
    }

    pub(super) fn merged_area(&self, other: &Self) -> f64 {
        (maximum(self.right, other.right) - minimum(self.left, other.left))
            * (maximum(self.top, other.top) - minimum(self.bottom, other.bottom))
    }

    /// Twice the Manhattan distance of the two centres.
    pub(super) fn proximity(&self, other: &Self) -> f64 {
        (self.left + self.right - other.left - other.right).abs()
            + (self.bottom + self.top - other.bottom - other.top).abs()
    }

    /// Grown by a tenth of its size on each side, and further in the direction of motion, so
    /// that a body may move for some steps before its place in the tree must change.
    pub(super) fn fattened(&self, velocity: Vector) -> Self {
        // The single-precision constant 0.1, widened.
        let coefficient = f64::from(0.1_f32);
        let x = (self.right - self.left) * coefficient;
        let y = (self.top - self.bottom) * coefficient;
        let reach = velocity * coefficient;
        Self {
            left: self.left + minimum(-x, reach.x),
            bottom: self.bottom + minimum(-y, reach.y),
            right: self.right + maximum(x, reach.x),
            top: self.top + maximum(y, reach.y),
        }
    }
}
