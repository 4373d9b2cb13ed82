//! Closest points of two convex outlines: GJK where they are apart, EPA where they overlap.
//!
//! Both algorithms work on the Minkowski difference of the outlines' cores (radii left out):
//! its distance from the origin is the distance of the cores. Sources: E. G. Gilbert,
//! D. W. Johnson and S. S. Keerthi (1988) for GJK, G. van den Bergen (2001) for EPA.

use super::shape::{CORNERS, Collider, Outline, Plane};
use super::vector::{Vector, clamp, maximum};

const MAX_GJK_ITERATIONS: u32 = 30;
const MAX_EPA_ITERATIONS: u32 = 30;
/// Each EPA iteration adds at most one vertex to the initial triangle.
const MAX_HULL: usize = 3 + MAX_EPA_ITERATIONS as usize;

/// The closest points of two outlines.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosestPoints {
    /// On the first outline's core, world coordinates.
    pub(super) a: Vector,
    /// On the second outline's core, world coordinates.
    pub(super) b: Vector,
    /// Minimum separating axis, unit length, from the first towards the second.
    pub(super) normal: Vector,
    /// Signed distance along `normal`; negative where the cores overlap.
    pub(super) distance: f64,
    /// The support points they came from: the next step's starting guess.
    pub(super) guess: u32,
}

/// Finds the closest points of `first` and `second`, starting from the previous step's `guess`
/// (0 for none).
pub(super) fn closest_points(first: &Collider, second: &Collider, guess: u32) -> ClosestPoints {
    let pair = Pair {
        first: &first.world,
        second: &second.world,
    };
    let (v0, v1) = if guess == 0 {
        let axis = (first.bounds.center() - second.bounds.center()).perpendicular();
        (pair.support(axis), pair.support(-axis))
    } else {
        (
            pair.indexed((guess >> 24) & 0xFF, (guess >> 16) & 0xFF),
            pair.indexed((guess >> 8) & 0xFF, guess & 0xFF),
        )
    };
    pair.gjk(v0, v1)
}

/// A point of the Minkowski difference and the two support points it came from.
#[derive(Clone, Copy, Debug)]
struct MinkowskiPoint {
    a: Vector,
    b: Vector,
    difference: Vector,
    id: u32,
}

impl MinkowskiPoint {
    const ZERO: Self = Self {
        a: Vector::ZERO,
        b: Vector::ZERO,
        difference: Vector::ZERO,
        id: 0,
    };

    fn new((a, index_a): (Vector, u32), (b, index_b): (Vector, u32)) -> Self {
        Self {
            a,
            b,
            difference: b - a,
            id: (index_a & 0xFF) << 8 | (index_b & 0xFF),
        }
    }
}

struct Pair<'a> {
    first: &'a Outline,
    second: &'a Outline,
}

impl Pair<'_> {
    /// The point of the Minkowski difference that lies farthest along `direction`.
    fn support(&self, direction: Vector) -> MinkowskiPoint {
        MinkowskiPoint::new(
            self.first.support(-direction),
            self.second.support(direction),
        )
    }

    fn indexed(&self, first: u32, second: u32) -> MinkowskiPoint {
        MinkowskiPoint::new(self.first.indexed(first), self.second.indexed(second))
    }

    /// Walks the edge `v0`-`v1` of the Minkowski difference towards the origin.
    fn gjk(&self, mut v0: MinkowskiPoint, mut v1: MinkowskiPoint) -> ClosestPoints {
        let mut iteration = 1;
        while iteration <= MAX_GJK_ITERATIONS {
            if left_of(v1.difference, v0.difference, Vector::ZERO) {
                // The origin lies behind the edge: look from the other side.
                std::mem::swap(&mut v0, &mut v1);
            }
            let t = closest_parameter(v0.difference, v1.difference);
            let direction = if -1.0 < t && t < 1.0 {
                (v1.difference - v0.difference).perpendicular()
            } else {
                -interpolate(v0.difference, v1.difference, t)
            };
            let p = self.support(direction);
            if left_of(p.difference, v0.difference, Vector::ZERO)
                && left_of(v1.difference, p.difference, Vector::ZERO)
            {
                return self.epa([v0, p, v1]);
            }
            if p.difference.dot(direction)
                <= maximum(v0.difference.dot(direction), v1.difference.dot(direction))
            {
                break;
            }
            if distance_squared(v0.difference, p.difference)
                < distance_squared(p.difference, v1.difference)
            {
                v1 = p;
            } else {
                v0 = p;
            }
            iteration += 1;
        }
        closest_on_edge(&v0, &v1)
    }

    /// Grows a hull around the origin until its nearest edge lies on the Minkowski difference.
    fn epa(&self, triangle: [MinkowskiPoint; 3]) -> ClosestPoints {
        let mut hull = [MinkowskiPoint::ZERO; MAX_HULL];
        let mut next = hull;
        hull[..3].copy_from_slice(&triangle);
        let mut count = 3;
        let mut iteration = 1;
        loop {
            let mut nearest = 0;
            let mut nearest_distance = f64::INFINITY;
            let mut i = count - 1;
            for j in 0..count {
                let distance = distance_squared(hull[i].difference, hull[j].difference);
                if distance < nearest_distance {
                    nearest_distance = distance;
                    nearest = i;
                }
                i = j;
            }
            let v0 = hull[nearest];
            let v1 = hull[(nearest + 1) % count];
            let p = self.support((v1.difference - v0.difference).perpendicular());
            let duplicate = p.id == v0.id || p.id == v1.id;
            if duplicate
                || !left_of(v0.difference, v1.difference, p.difference)
                || iteration >= MAX_EPA_ITERATIONS
            {
                return closest_on_edge(&v0, &v1);
            }
            // Insert the new vertex and drop those that are no longer on the hull.
            next[0] = p;
            let mut next_count = 1;
            for i in 0..count {
                let index = (nearest + 1 + i) % count;
                let before = next[next_count - 1].difference;
                let after = if i + 1 < count {
                    hull[(index + 1) % count].difference
                } else {
                    p.difference
                };
                if left_of(before, after, hull[index].difference) {
                    next[next_count] = hull[index];
                    next_count += 1;
                }
            }
            hull[..next_count].copy_from_slice(&next[..next_count]);
            count = next_count;
            iteration += 1;
        }
    }
}

impl Outline {
    /// The core's point farthest along `direction`, with its index.
    fn support(&self, direction: Vector) -> (Vector, u32) {
        match self {
            Self::Circle { center, .. } => (*center, 0),
            Self::Segment(segment) => {
                if segment.a.dot(direction) > segment.b.dot(direction) {
                    (segment.a, 0)
                } else {
                    (segment.b, 1)
                }
            }
            Self::Polygon(planes) => {
                let index = support_corner(planes, direction);
                (planes[index].corner, index as u32)
            }
        }
    }

    /// The core's point of this index.
    fn indexed(&self, index: u32) -> (Vector, u32) {
        match self {
            Self::Circle { center, .. } => (*center, 0),
            Self::Segment(segment) if index == 0 => (segment.a, index),
            Self::Segment(segment) => (segment.b, index),
            Self::Polygon(planes) => planes
                .get(index as usize)
                .map_or((planes[0].corner, 0), |plane| (plane.corner, index)),
        }
    }
}

/// True where `c` lies to the left of the directed line from `a` to `b`.
fn left_of(a: Vector, b: Vector, c: Vector) -> bool {
    (b.y - a.y) * (a.x + b.x - 2.0 * c.x) > (b.x - a.x) * (a.y + b.y - 2.0 * c.y)
}

/// Parameter in `-1..=1` of the point of the segment `a`-`b` closest to the origin.
fn closest_parameter(a: Vector, b: Vector) -> f64 {
    let delta = b - a;
    let length_squared = delta.length_squared();
    if length_squared == 0.0 {
        0.0
    } else {
        -clamp(delta.dot(a + b) / length_squared, -1.0, 1.0)
    }
}

/// The point of the segment `a`-`b` at parameter `t` in `-1..=1`.
fn interpolate(a: Vector, b: Vector, t: f64) -> Vector {
    let half = 0.5 * t;
    a * (0.5 - half) + b * (0.5 + half)
}

/// Squared distance of the segment `a`-`b` from the origin.
fn distance_squared(a: Vector, b: Vector) -> f64 {
    interpolate(a, b, closest_parameter(a, b)).length_squared()
}

/// The closest points that belong to the edge `v0`-`v1` of the Minkowski difference.
fn closest_on_edge(v0: &MinkowskiPoint, v1: &MinkowskiPoint) -> ClosestPoints {
    let t = closest_parameter(v0.difference, v1.difference);
    let p = interpolate(v0.difference, v1.difference, t);
    let a = interpolate(v0.a, v1.a, t);
    let b = interpolate(v0.b, v1.b, t);
    let guess = (v0.id & 0xFFFF) << 16 | (v1.id & 0xFFFF);

    let normal = (v1.difference - v0.difference)
        .reverse_perpendicular()
        .normalized();
    let distance = normal.dot(p);
    if distance <= 0.0 || (-1.0 < t && t < 1.0) {
        return ClosestPoints {
            a,
            b,
            normal,
            distance,
            guess,
        };
    }
    // Corner against corner: the axis is that of the two points, not an edge's normal.
    let distance = p.length();
    ClosestPoints {
        a,
        b,
        normal: p * (1.0 / (distance + f64::MIN_POSITIVE)),
        distance,
        guess,
    }
}

/// Index of the corner that lies farthest along `direction`.
pub(super) fn support_corner(planes: &[Plane; CORNERS], direction: Vector) -> usize {
    let mut farthest = f64::NEG_INFINITY;
    let mut index = 0;
    for (i, plane) in planes.iter().enumerate() {
        let distance = plane.corner.dot(direction);
        if distance > farthest {
            farthest = distance;
            index = i;
        }
    }
    index
}
