//! Points, segments and discs on the table.

/// x to the right and y away from the start, meters.
pub(super) type Point = [f64; 2];

pub(super) fn difference(to: Point, from: Point) -> Point {
    [to[0] - from[0], to[1] - from[1]]
}

/// `from` + `share` (`to` - `from`).
pub(super) fn between(from: Point, to: Point, share: f64) -> Point {
    let [x, y] = difference(to, from);
    [from[0] + share * x, from[1] + share * y]
}

pub(super) fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

pub(super) fn length(vector: Point) -> f64 {
    vector[0].hypot(vector[1])
}

pub(super) fn distance(a: Point, b: Point) -> f64 {
    length(difference(a, b))
}

/// The angle by which the direction from `center` turns on the way `from` one point `to` another, counterclockwise, radians.
pub(super) fn turn(center: Point, from: Point, to: Point) -> f64 {
    let (a, b) = (difference(from, center), difference(to, center));
    (a[0] * b[1] - a[1] * b[0]).atan2(dot(a, b))
}

/// A round obstacle.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Disc {
    pub(super) center: Point,
    pub(super) radius: f64,
}

impl Disc {
    /// The share of the segment `from`, `to` after which it touches the disc, 0 to 1; none if it does not.
    pub(super) fn contact(&self, from: Point, to: Point) -> Option<f64> {
        let (way, offset) = (difference(to, from), difference(from, self.center));
        // |offset + t way|^2 = radius^2.
        let (a, half_b) = (dot(way, way), dot(offset, way));
        let c = dot(offset, offset) - self.radius * self.radius;
        if c <= 0.0 {
            return Some(0.0);
        }
        let discriminant = half_b * half_b - a * c;
        if half_b >= 0.0 || discriminant < 0.0 {
            return None;
        }
        // The smaller root, without the difference of two numbers that are almost equal.
        let share = c / (discriminant.sqrt() - half_b);
        (share <= 1.0).then_some(share)
    }

    /// Length of the shortest way between two points outside the disc that does not cross it: the segment, or two tangents
    /// and the arc between them.
    pub(super) fn shortest_way(&self, from: Point, to: Point) -> f64 {
        if self.contact(from, to).is_none() {
            return distance(from, to);
        }
        let tangent = |point: Point| {
            let away = distance(point, self.center);
            let straight = (away * away - self.radius * self.radius).max(0.0).sqrt();
            (straight, (self.radius / away).min(1.0).acos())
        };
        let ((first, begin), (last, end)) = (tangent(from), tangent(to));
        let arc = turn(self.center, from, to).abs() - begin - end;
        first + self.radius * arc.max(0.0) + last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISC: Disc = Disc {
        center: [1.0, 2.0],
        radius: 0.5,
    };

    #[test]
    fn a_segment_touches_where_it_meets_the_disc() {
        assert_eq!(DISC.contact([1.0, 0.0], [1.0, 2.0]), Some(0.75));
        assert_eq!(DISC.contact([1.0, 0.0], [1.0, 1.0]), None);
        assert_eq!(DISC.contact([1.6, 0.0], [1.6, 4.0]), None);
        assert_eq!(DISC.contact([1.0, 2.0], [1.0, 4.0]), Some(0.0));
        // Away from it, and not at all.
        assert_eq!(DISC.contact([1.0, 1.0], [1.0, 0.0]), None);
        assert_eq!(DISC.contact([1.0, 1.0], [1.0, 1.0]), None);
    }

    #[test]
    fn the_shortest_way_is_the_segment_or_goes_around() {
        assert_eq!(DISC.shortest_way([0.0, 0.0], [3.0, 0.0]), 3.0);
        // Two tangents from a distance of 1: sqrt(0.75) each, and an arc of 60 degrees.
        let expected = 2.0 * 0.75_f64.sqrt() + 0.5 * std::f64::consts::PI / 3.0;
        let found = DISC.shortest_way([1.0, 1.0], [1.0, 3.0]);
        assert!((found - expected).abs() < 1e-12, "{found}");
    }

    #[test]
    fn turns_are_counterclockwise() {
        let turn = turn([0.0, 0.0], [0.0, -1.0], [1.0, 0.0]);
        assert!((turn - std::f64::consts::FRAC_PI_2).abs() < 1e-15);
    }
}
