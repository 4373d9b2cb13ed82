//! Contact points between two colliders (narrow phase).

use super::closest::{ClosestPoints, closest_points, support_corner};
use super::shape::{CORNERS, Collider, Outline, Plane, Segment};
use super::vector::{Vector, clamp_unit};

/// Most contact points of one pair of colliders.
pub(super) const MAX_CONTACTS: usize = 2;

/// A contact point, world coordinates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContactPoint {
    /// On the first collider's surface.
    pub(super) a: Vector,
    /// On the second collider's surface.
    pub(super) b: Vector,
    /// Equal from step to step for the same pair of features.
    pub(super) identity: u64,
}

/// What the narrow phase found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manifold {
    /// Unit normal from the first collider to the second.
    pub(super) normal: Vector,
    /// The first `count` are valid.
    pub(super) points: [ContactPoint; MAX_CONTACTS],
    pub(super) count: usize,
    /// Starting guess for the next step.
    pub(super) guess: u32,
}

impl Manifold {
    fn none(guess: u32) -> Self {
        Self {
            normal: Vector::ZERO,
            points: [ContactPoint::default(); MAX_CONTACTS],
            count: 0,
            guess,
        }
    }

    fn push(&mut self, a: Vector, b: Vector, identity: u64) {
        self.points[self.count] = ContactPoint { a, b, identity };
        self.count += 1;
    }
}

/// Collides a disc or a segment (`first`) with a polygon (`second`). Any other pair does not
/// occur in the scene (both bodies immovable, or the same body) and yields no contact.
pub(super) fn collide(first: &Collider, second: &Collider, guess: u32) -> Manifold {
    let Outline::Polygon(planes) = &second.world else {
        return Manifold::none(guess);
    };
    match &first.world {
        Outline::Circle { radius, .. } => {
            let closest = closest_points(first, second, guess);
            let mut manifold = Manifold::none(closest.guess);
            if closest.distance <= *radius {
                let normal = closest.normal;
                manifold.normal = normal;
                manifold.push(closest.a + normal * *radius, closest.b, 0);
            }
            manifold
        }
        Outline::Segment(segment) => {
            let closest = closest_points(first, second, guess);
            let mut manifold = Manifold::none(closest.guess);
            if closest.distance - segment.radius <= 0.0 {
                clip_edges(
                    &Edge::of_segment(segment, first.id, closest.normal),
                    &Edge::of_polygon(planes, second.id, -closest.normal),
                    &closest,
                    &mut manifold,
                );
            }
            manifold
        }
        Outline::Polygon(_) => Manifold::none(guess),
    }
}

/// The edge of an outline that faces the other outline.
struct Edge {
    a: Vector,
    identity_a: u64,
    b: Vector,
    identity_b: u64,
    radius: f64,
}

impl Edge {
    fn of_segment(segment: &Segment, id: usize, normal: Vector) -> Self {
        let forward = Self {
            a: segment.a,
            identity_a: combine(id as u64, 0),
            b: segment.b,
            identity_b: combine(id as u64, 1),
            radius: segment.radius,
        };
        if segment.normal.dot(normal) > 0.0 {
            forward
        } else {
            Self {
                a: forward.b,
                identity_a: forward.identity_b,
                b: forward.a,
                identity_b: forward.identity_a,
                radius: forward.radius,
            }
        }
    }

    fn of_polygon(planes: &[Plane; CORNERS], id: usize, normal: Vector) -> Self {
        let middle = support_corner(planes, normal);
        let previous = (middle + CORNERS - 1) % CORNERS;
        let next = (middle + 1) % CORNERS;
        let (a, b) = if normal.dot(planes[middle].normal) > normal.dot(planes[next].normal) {
            (previous, middle)
        } else {
            (middle, next)
        };
        Self {
            a: planes[a].corner,
            identity_a: combine(id as u64, a as u64),
            b: planes[b].corner,
            identity_b: combine(id as u64, b as u64),
            radius: 0.0,
        }
    }
}

/// Projects the ends of each edge onto the other and keeps the pairs of points that overlap.
fn clip_edges(first: &Edge, second: &Edge, closest: &ClosestPoints, manifold: &mut Manifold) {
    // The caller compared `distance - radius` with zero; rounding may tell the two tests apart.
    if closest.distance > first.radius + second.radius {
        return;
    }
    let normal = closest.normal;
    manifold.normal = normal;

    let first_a = first.a.cross(normal);
    let first_b = first.b.cross(normal);
    let second_a = second.a.cross(normal);
    let second_b = second.b.cross(normal);
    let first_scale = 1.0 / (first_b - first_a + f64::MIN_POSITIVE);
    let second_scale = 1.0 / (second_b - second_a + f64::MIN_POSITIVE);

    let ends = [
        (second_b, first_a, first.identity_a, second.identity_b),
        (second_a, first_b, first.identity_b, second.identity_a),
    ];
    for (second_end, first_end, first_identity, second_identity) in ends {
        let p1 = normal * first.radius
            + first
                .a
                .lerp(first.b, clamp_unit((second_end - first_a) * first_scale));
        let p2 = normal * -second.radius
            + second
                .a
                .lerp(second.b, clamp_unit((first_end - second_a) * second_scale));
        if (p2 - p1).dot(normal) <= 0.0 {
            manifold.push(p1, p2, combine(first_identity, second_identity));
        }
    }
}

/// Hash of an ordered pair. Chipmunk's multiplier, because two features whose hashes collide
/// there must collide here too.
fn combine(a: u64, b: u64) -> u64 {
    const MULTIPLIER: u64 = 3_344_921_057;
    a.wrapping_mul(MULTIPLIER) ^ b.wrapping_mul(MULTIPLIER)
}
