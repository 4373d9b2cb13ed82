//! Plane vectors, and minimum, maximum and clamp with Chipmunk's treatment of equal operands.

use std::ops::{Add, Mul, Neg, Sub};

/// A point or a direction in the plane, pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Vector {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

impl Vector {
    pub(crate) const ZERO: Self = Self { x: 0.0, y: 0.0 };

    pub(crate) const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// Unit vector at `angle` radians from the x axis.
    pub(crate) fn from_angle(angle: f64) -> Self {
        Self::new(angle.cos(), angle.sin())
    }

    pub(crate) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    /// The z component of the three-dimensional cross product.
    pub(crate) fn cross(self, other: Self) -> f64 {
        self.x * other.y - self.y * other.x
    }

    /// Turned by a quarter turn from x towards y.
    pub(crate) fn perpendicular(self) -> Self {
        Self::new(-self.y, self.x)
    }

    /// Turned by a quarter turn from y towards x.
    pub(crate) fn reverse_perpendicular(self) -> Self {
        Self::new(self.y, -self.x)
    }

    pub(crate) fn length_squared(self) -> f64 {
        self.dot(self)
    }

    pub(crate) fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// Unit vector of the same direction; the zero vector stays zero.
    pub(crate) fn normalized(self) -> Self {
        self * (1.0 / (self.length() + f64::MIN_POSITIVE))
    }

    /// The point at `fraction` of the way from `self` to `other`.
    pub(crate) fn lerp(self, other: Self, fraction: f64) -> Self {
        self * (1.0 - fraction) + other * fraction
    }
}

impl Add for Vector {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Vector {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }
}

impl Neg for Vector {
    type Output = Self;

    fn neg(self) -> Self {
        Self::new(-self.x, -self.y)
    }
}

impl Mul<f64> for Vector {
    type Output = Self;

    fn mul(self, scale: f64) -> Self {
        Self::new(self.x * scale, self.y * scale)
    }
}

/// The smaller operand; the second one where they are equal or unordered.
pub(super) fn minimum(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// The larger operand; the second one where they are equal or unordered.
pub(super) fn maximum(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// `value` limited to `low..=high`.
pub(super) fn clamp(value: f64, low: f64, high: f64) -> f64 {
    minimum(maximum(value, low), high)
}

/// `value` limited to `0..=1`.
pub(super) fn clamp_unit(value: f64) -> f64 {
    maximum(0.0, minimum(value, 1.0))
}
