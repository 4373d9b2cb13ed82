//! The mirror symmetry of Push-T, as affine maps of observations and actions.
//!
//! The goal lies in the middle of the table, turned by 45 degrees, and a T is its own mirror image.
//! So reflecting the table in the axis of the goal's T, (x, y) to (512 - y, 512 - x), turns every
//! solution into another one. Walls move by at most one pixel.

use super::{KEYPOINTS, T_KEYPOINTS, TABLE_SIZE};

/// An affine map of row vectors: x' = x `matrix` + `offset`.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineMap {
    /// Square, row by row.
    pub matrix: Vec<f32>,
    /// Summands.
    pub offset: Vec<f32>,
}

/// The mirror of a point.
pub fn mirror_point([x, y]: [f64; 2]) -> [f64; 2] {
    [TABLE_SIZE - y, TABLE_SIZE - x]
}

/// The mirror of an action or of the agent's position.
pub fn mirror_action() -> AffineMap {
    let size = TABLE_SIZE as f32;
    AffineMap {
        matrix: vec![0.0, -1.0, -1.0, 0.0],
        offset: vec![size, size],
    }
}

/// The mirror of the nine keypoints.
///
/// They are not symmetric, so a mirrored one is an affine combination of all nine: the one with the
/// smallest weights, which averages rounding best.
pub fn mirror_keypoints() -> AffineMap {
    let size = 2 * KEYPOINTS;
    let mut matrix = vec![0.0; size * size];
    for (target, row) in mirrored_weights().iter().enumerate() {
        for (source, weight) in row.iter().enumerate() {
            // x' takes from y, y' from x.
            matrix[(2 * source + 1) * size + 2 * target] = -weight as f32;
            matrix[2 * source * size + 2 * target + 1] = -weight as f32;
        }
    }
    AffineMap {
        matrix,
        offset: vec![TABLE_SIZE as f32; size],
    }
}

/// For each keypoint l, weights w with sum w = 1 and sum w_j l_j = (-l_x, l_y): W = A^T (A A^T)^-1 b
/// for the 3 x 9 matrix A of homogeneous keypoints.
fn mirrored_weights() -> [[f64; KEYPOINTS]; KEYPOINTS] {
    let homogeneous = T_KEYPOINTS.map(|[x, y]| [x, y, 1.0]);
    let mut gram = [[0.0; 3]; 3];
    for point in &homogeneous {
        for row in 0..3 {
            for column in 0..3 {
                gram[row][column] += point[row] * point[column];
            }
        }
    }
    T_KEYPOINTS.map(|[x, y]| {
        let solution = solve(gram, [-x, y, 1.0]);
        homogeneous.map(|point| (0..3).map(|axis| point[axis] * solution[axis]).sum())
    })
}

/// Cramer's rule for three equations; the Gram matrix of points that do not lie on a line is
/// regular.
fn solve(matrix: [[f64; 3]; 3], right: [f64; 3]) -> [f64; 3] {
    let determinant = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = determinant(matrix);
    [0, 1, 2].map(|column| {
        let mut replaced = matrix;
        for (row, value) in right.iter().enumerate() {
            replaced[row][column] = *value;
        }
        determinant(replaced) / whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusht::{GOAL_POSE, IMAGE_SIZE, PushT};

    fn apply(map: &AffineMap, row: &[f64]) -> Vec<f64> {
        let size = row.len();
        (0..size)
            .map(|column| {
                let products =
                    (0..size).map(|at| row[at] * f64::from(map.matrix[at * size + column]));
                products.sum::<f64>() + f64::from(map.offset[column])
            })
            .collect()
    }

    /// A world, and the one in the mirror. Placed by hand: a reset's legacy order turns the T about another
    /// point than its origin.
    fn worlds() -> [PushT; 2] {
        let mut world = PushT::new();
        let mut mirrored = PushT::new();
        let (agent, block, angle) = ([120.0, 333.0], [200.0, 310.0], 0.7);
        world.move_agent(agent).unwrap();
        world.move_block(block, angle).unwrap();
        mirrored.move_agent(mirror_point(agent)).unwrap();
        let turned = std::f64::consts::FRAC_PI_2 - angle;
        mirrored.move_block(mirror_point(block), turned).unwrap();
        [world, mirrored]
    }

    #[test]
    fn a_mirrored_observation_is_that_of_the_mirrored_world() {
        let [world, mirrored] = worlds();
        let (keypoints, agent) = (&world.observation()[..18], &world.observation()[18..]);
        let seen = [
            apply(&mirror_keypoints(), keypoints),
            apply(&mirror_action(), agent),
        ]
        .concat();
        for (seen, expected) in seen.iter().zip(mirrored.observation()) {
            assert!((seen - expected).abs() < 1e-3, "{seen} {expected}");
        }
    }

    #[test]
    fn a_mirrored_picture_is_that_of_the_mirrored_world() {
        let [world, mirrored] = worlds();
        let (picture, expected) = (world.render(IMAGE_SIZE), mirrored.render(IMAGE_SIZE));
        let last = IMAGE_SIZE - 1;
        let mut apart = 0;
        for row in 0..IMAGE_SIZE {
            for column in 0..IMAGE_SIZE {
                let at = |row: usize, column: usize| 3 * (row * IMAGE_SIZE + column);
                // Rows and columns exchanged, then both reversed.
                let (seen, expected) = (
                    &picture[at(last - column, last - row)..][..3],
                    &expected[at(row, column)..][..3],
                );
                let far = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 60;
                apart += usize::from(seen.iter().zip(expected).any(far));
            }
        }
        // Edges are drawn by rules that are not symmetric.
        assert!(apart < 200, "{apart} pixels differ");
    }

    #[test]
    fn the_goal_is_its_own_mirror_image() {
        let [x, y] = mirror_point([GOAL_POSE[0], GOAL_POSE[1]]);
        let turned = std::f64::consts::FRAC_PI_2 - GOAL_POSE[2];
        assert!((x - GOAL_POSE[0]).abs() < 1e-9 && (y - GOAL_POSE[1]).abs() < 1e-9);
        assert!((turned - GOAL_POSE[2]).abs() < 1e-9);
    }
}
