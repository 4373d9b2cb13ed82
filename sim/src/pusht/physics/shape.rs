//! Collision shapes: the agent's disc, the walls' rounded segments, the T's rectangles.

use super::body::Transform;
use super::bounds::Bounds;
use super::vector::{Vector, maximum, minimum};

/// Corners of a rectangle.
pub(super) const CORNERS: usize = 4;

/// A shape in body coordinates.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Disc about the body's origin.
    Circle { radius: f64 },
    /// Line segment thickened by `radius`.
    Segment { a: Vector, b: Vector, radius: f64 },
    /// Convex quadrilateral, corners counter-clockwise where y points up.
    Quadrilateral { corners: [Vector; CORNERS] },
}

/// A corner and the outward normal of the edge that ends in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) corner: Vector,
    pub(super) normal: Vector,
}

/// A shape's outline, in body or world coordinates.
#[derive(Clone, Debug)]
pub(super) enum Outline {
    Circle { center: Vector, radius: f64 },
    Segment(Segment),
    Polygon([Plane; CORNERS]),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) a: Vector,
    pub(super) b: Vector,
    pub(super) normal: Vector,
    pub(super) radius: f64,
}

/// A shape with its outline in world coordinates, kept up to date by [`Collider::refresh`].
#[derive(Clone, Debug)]
pub(super) struct Collider {
    /// Serial number in the space; enters the identity of contact points.
    pub(super) id: usize,
    local: Outline,
    pub(super) world: Outline,
    pub(super) bounds: Bounds,
}

impl Collider {
    pub(super) fn new(id: usize, shape: &Shape, transform: &Transform) -> Self {
        let local = Outline::from(shape);
        let mut collider = Self {
            id,
            world: local.clone(),
            local,
            bounds: Bounds::default(),
        };
        collider.refresh(transform);
        collider
    }

    /// Recomputes the world outline and its bounds.
    pub(super) fn refresh(&mut self, transform: &Transform) {
        self.world = match &self.local {
            Outline::Circle { center, radius } => Outline::Circle {
                center: transform.point(*center),
                radius: *radius,
            },
            Outline::Segment(segment) => Outline::Segment(Segment {
                a: transform.point(segment.a),
                b: transform.point(segment.b),
                normal: transform.direction(segment.normal),
                radius: segment.radius,
            }),
            Outline::Polygon(planes) => Outline::Polygon(planes.map(|plane| Plane {
                corner: transform.point(plane.corner),
                normal: transform.direction(plane.normal),
            })),
        };
        self.bounds = self.world.bounds();
    }
}

impl From<&Shape> for Outline {
    fn from(shape: &Shape) -> Self {
        match *shape {
            Shape::Circle { radius } => Self::Circle {
                center: Vector::ZERO,
                radius,
            },
            Shape::Segment { a, b, radius } => Self::Segment(Segment {
                a,
                b,
                normal: (b - a).normalized().reverse_perpendicular(),
                radius,
            }),
            Shape::Quadrilateral { corners } => Self::Polygon(std::array::from_fn(|i| {
                let previous = corners[(i + CORNERS - 1) % CORNERS];
                let corner = corners[i];
                Plane {
                    corner,
                    normal: (corner - previous).reverse_perpendicular().normalized(),
                }
            })),
        }
    }
}

impl Outline {
    fn bounds(&self) -> Bounds {
        match self {
            Self::Circle { center, radius } => Bounds {
                left: center.x - radius,
                bottom: center.y - radius,
                right: center.x + radius,
                top: center.y + radius,
            },
            Self::Segment(Segment { a, b, radius, .. }) => Bounds {
                left: minimum(a.x, b.x) - radius,
                bottom: minimum(a.y, b.y) - radius,
                right: maximum(b.x, a.x) + radius,
                top: maximum(b.y, a.y) + radius,
            },
            Self::Polygon(planes) => {
                let mut bounds = Bounds {
                    left: f64::INFINITY,
                    bottom: f64::INFINITY,
                    right: f64::NEG_INFINITY,
                    top: f64::NEG_INFINITY,
                };
                for Plane { corner, .. } in planes {
                    bounds.left = minimum(bounds.left, corner.x);
                    bounds.right = maximum(bounds.right, corner.x);
                    bounds.bottom = minimum(bounds.bottom, corner.y);
                    bounds.top = maximum(bounds.top, corner.y);
                }
                bounds
            }
        }
    }
}
