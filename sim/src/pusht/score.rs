//! Coverage of the goal by the T, and the reward made of it.
//!
//! Coverage is the area of T ∩ goal over the area of the goal. Both are unions of two
//! rectangles that share an edge only, so the intersection's area is the sum over the four
//! pairs of rectangles.

use super::physics::{Transform, Vector};
use super::scene;

/// Coverage above which an episode counts as solved.
pub const SUCCESS_COVERAGE: f64 = 0.95;

/// Most corners of the intersection of two quadrilaterals.
const MAX_CORNERS: usize = 8;

/// What one control step achieved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Covered share of the goal's area, 0 to 1.
    pub coverage: f64,
    /// Coverage over [`SUCCESS_COVERAGE`], limited to 0..=1.
    pub reward: f64,
    /// True where coverage exceeds [`SUCCESS_COVERAGE`].
    pub success: bool,
}

impl StepOutcome {
    /// The outcome for a T at a pose, as [`super::GOAL_POSE`] says it.
    #[must_use]
    pub fn of_pose([x, y, angle]: [f64; 3]) -> Self {
        let block = Transform::new(Vector::new(x, y), angle, Vector::ZERO);
        Self::from_coverage(coverage(
            &scene::rectangles_at(&block),
            &scene::goal_rectangles(),
        ))
    }

    pub(super) fn from_coverage(coverage: f64) -> Self {
        Self {
            coverage,
            reward: (coverage / SUCCESS_COVERAGE).clamp(0.0, 1.0),
            success: coverage > SUCCESS_COVERAGE,
        }
    }
}

/// Share of `goal`'s area that lies within `block`.
pub(super) fn coverage(block: &[[Vector; 4]; 2], goal: &[[Vector; 4]; 2]) -> f64 {
    let mut covered = 0.0;
    let mut total = 0.0;
    for target in goal {
        total += area(target);
        for part in block {
            covered += intersection_area(target, part);
        }
    }
    covered / total
}

/// Area of the intersection of two convex quadrilaterals with positive orientation: the first
/// is cut along each edge of the second (I. E. Sutherland and G. W. Hodgman, 1974).
fn intersection_area(subject: &[Vector; 4], cutter: &[Vector; 4]) -> f64 {
    let mut corners = [Vector::ZERO; MAX_CORNERS];
    corners[..4].copy_from_slice(subject);
    let mut count = 4;
    for i in 0..4 {
        let (start, end) = (cutter[i], cutter[(i + 1) % 4]);
        let edge = end - start;
        let side = |point: Vector| edge.cross(point - start);
        let mut kept = [Vector::ZERO; MAX_CORNERS];
        let mut kept_count = 0;
        let mut keep = |point: Vector| {
            // Rounding could yield one corner more than a convex cut has; it adds no area.
            if kept_count < MAX_CORNERS {
                kept[kept_count] = point;
                kept_count += 1;
            }
        };
        for j in 0..count {
            let (from, to) = (corners[j], corners[(j + 1) % count]);
            let (from_side, to_side) = (side(from), side(to));
            if from_side >= 0.0 {
                keep(from);
            }
            if (from_side > 0.0 && to_side < 0.0) || (from_side < 0.0 && to_side > 0.0) {
                keep(from.lerp(to, from_side / (from_side - to_side)));
            }
        }
        corners = kept;
        count = kept_count;
        if count < 3 {
            return 0.0;
        }
    }
    area(&corners[..count])
}

/// Area of a polygon with positive orientation.
fn area(corners: &[Vector]) -> f64 {
    let origin = corners[0];
    let twice: f64 = corners
        .windows(2)
        .map(|pair| (pair[0] - origin).cross(pair[1] - origin))
        .sum();
    0.5 * twice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f64, y: f64, side: f64) -> [Vector; 4] {
        [
            Vector::new(x, y),
            Vector::new(x + side, y),
            Vector::new(x + side, y + side),
            Vector::new(x, y + side),
        ]
    }

    #[test]
    fn intersection_of_squares() {
        let a = square(0.0, 0.0, 2.0);
        assert_eq!(intersection_area(&a, &a), 4.0);
        assert_eq!(intersection_area(&a, &square(1.0, 1.0, 2.0)), 1.0);
        assert_eq!(intersection_area(&a, &square(2.0, 0.0, 1.0)), 0.0);
        assert_eq!(intersection_area(&a, &square(5.0, 5.0, 1.0)), 0.0);
        assert_eq!(intersection_area(&a, &square(0.5, 0.5, 1.0)), 1.0);
    }

    #[test]
    fn octagon_of_two_squares() {
        // A unit square and itself turned by 45 degrees share a regular octagon.
        let straight = square(-0.5, -0.5, 1.0);
        let radius = 0.5_f64.sqrt();
        let turned = [(0.0, -radius), (radius, 0.0), (0.0, radius), (-radius, 0.0)]
            .map(|(x, y)| Vector::new(x, y));
        let expected = 2.0 * (2.0_f64.sqrt() - 1.0);
        assert!((intersection_area(&straight, &turned) - expected).abs() < 1e-15);
        assert!((intersection_area(&turned, &straight) - expected).abs() < 1e-15);
    }

    #[test]
    fn a_t_on_its_goal_covers_it() {
        let outcome = StepOutcome::of_pose(scene::GOAL_POSE);
        assert!((outcome.coverage - 1.0).abs() < 1e-12 && outcome.success);
        assert_eq!(StepOutcome::of_pose([60.0, 60.0, 3.0]).coverage, 0.0);
    }

    #[test]
    fn reward_saturates() {
        let outcome = StepOutcome::from_coverage(0.96);
        assert_eq!(outcome.reward, 1.0);
        assert!(outcome.success);
        assert!(!StepOutcome::from_coverage(SUCCESS_COVERAGE).success);
        assert_eq!(StepOutcome::from_coverage(0.0).reward, 0.0);
    }
}
