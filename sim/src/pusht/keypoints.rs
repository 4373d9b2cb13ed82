//! The nine keypoints of the T, and the low-dimensional observation made of them.
//!
//! The reference samples them (farthest-point sampling under a fixed seed) from the T's drawing:
//! each is a pixel of the drawing plus a random shift within that pixel. The numbers below are
//! that code's output. With the data set's `state` they give its `keypoint` array to 1.6e-5
//! pixels (single precision) in the 14,334 of 25,650 steps in which the T touches neither agent
//! nor wall; in the others up to 2.05 pixels apart, since the array shows the T after the overlap
//! was pushed out.

use super::physics::{Transform, Vector};

/// Number of keypoints.
pub const KEYPOINTS: usize = 9;
/// Length of the low-dimensional observation: x, y of each keypoint, then of the agent.
pub const OBSERVATION_SIZE: usize = 2 * KEYPOINTS + 2;

/// The keypoints in the T's coordinates, pixels, in the data set's order.
#[rustfmt::skip]
pub const T_KEYPOINTS: [[f64; 2]; KEYPOINTS] = [
    [9.269_786_713_763_871, 90.040_973_523_936_19],
    [-60.983_472_364_471_474, -1.186_729_760_799_727_6],
    [60.912_755_577_277_72, -1.393_364_224_232_820_1],
    [-0.270_503_439_016_001_6, 25.543_624_991_465_42],
    [-14.064_927_576_212_233, 122.815_853_554_121_53],
    [39.002_738_500_170_146, 32.857_404_276_587_566],
    [-39.966_414_424_694_534, 32.729_655_446_429_945],
    [-16.824_344_379_397_44, 62.863_178_922_349_89],
    [23.541_461_220_249_09, -1.700_288_109_462_615_2],
];

/// The pose of a T, as [`super::GOAL_POSE`], whose keypoints are nearest to the nine in `observation`
/// (least squares); none if it is too short or holds numbers that are not finite.
#[must_use]
pub fn pose_of(observation: &[f64]) -> Option<[f64; 3]> {
    let seen = observation.get(..2 * KEYPOINTS)?;
    if !seen.iter().all(|value| value.is_finite()) {
        return None;
    }
    let count = KEYPOINTS as f64;
    let mean = |axis: usize, points: &[[f64; 2]]| {
        points.iter().map(|point| point[axis]).sum::<f64>() / count
    };
    let mut table = [[0.0; 2]; KEYPOINTS];
    for (point, pair) in table.iter_mut().zip(seen.chunks_exact(2)) {
        point.copy_from_slice(pair);
    }
    let own = [mean(0, &T_KEYPOINTS), mean(1, &T_KEYPOINTS)];
    let there = [mean(0, &table), mean(1, &table)];
    // The best turn of points about their means, in closed form.
    let (mut cosine, mut sine) = (0.0, 0.0);
    for ([x, y], [u, v]) in T_KEYPOINTS.into_iter().zip(table) {
        let (x, y, u, v) = (x - own[0], y - own[1], u - there[0], v - there[1]);
        cosine += x * u + y * v;
        sine += x * v - y * u;
    }
    let angle = sine.atan2(cosine);
    let (s, c) = angle.sin_cos();
    Some([
        there[0] - (c * own[0] - s * own[1]),
        there[1] - (s * own[0] + c * own[1]),
        angle,
    ])
}

/// The observation for a T placed by `block` and an agent at `agent`.
pub(super) fn observation(block: &Transform, agent: Vector) -> [f64; OBSERVATION_SIZE] {
    let mut observation = [0.0; OBSERVATION_SIZE];
    let (points, last) = observation.split_at_mut(2 * KEYPOINTS);
    for (slot, [x, y]) in points.chunks_exact_mut(2).zip(T_KEYPOINTS) {
        // The keypoints turn about the T's origin, where its transform places it.
        let point = block.point(Vector::new(x, y));
        slot.copy_from_slice(&[point.x, point.y]);
    }
    last.copy_from_slice(&[agent.x, agent.y]);
    observation
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of the data set in which the T is at rest: state (agent x, y, T x, y, angle)
    /// and `keypoint`, stored there in single precision.
    #[rustfmt::skip]
    const ROWS: [([f64; 5], [f64; 18]); 2] = [
        ([222.0, 97.0, 222.993_820, 381.599_030, 3.007_999_42],
         [201.813_507, 293.595_062, 283.591_980, 374.652_405, 162.809_402, 391.093_323,
          219.859_604, 356.246_979, 220.574_814, 258.004_120, 179.962_128, 354.229_401,
          258.244_659, 343.837_616, 231.295_120, 317.055_054, 199.888_596, 386.419_800]),
        ([158.785_370, 193.585_953, 235.357_361, 215.353_592, 0.621_594_787],
         [190.459_473, 293.950_562, 186.471_863, 178.876_190, 285.687_836, 249.692_322,
          220.262_573, 235.961_777, 152.403_625, 307.006_378, 247.930_740, 264.777_588,
          183.807_098, 218.687_454, 185.072_739, 256.660_889, 255.485_550, 227.680_298]),
    ];

    #[test]
    fn keypoints_equal_the_data_set() {
        for ([agent_x, agent_y, x, y, angle], expected) in ROWS {
            let block = Transform::new(Vector::new(x, y), angle, Vector::ZERO);
            let observation = observation(&block, Vector::new(agent_x, agent_y));
            for (value, expected) in observation.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
            }
            assert_eq!(observation[18..], [agent_x, agent_y]);
        }
    }

    #[test]
    fn the_pose_is_found_from_the_keypoints() {
        for pose in [[222.0, 381.0, 3.0], [0.0, 0.0, -2.5], [256.0, 256.0, 0.0]] {
            let [x, y, angle] = pose;
            let block = Transform::new(Vector::new(x, y), angle, Vector::ZERO);
            let found = pose_of(&observation(&block, Vector::ZERO)).unwrap();
            for (value, expected) in found.iter().zip(pose) {
                assert!((value - expected).abs() < 1e-9, "{found:?} is not {pose:?}");
            }
        }
        assert_eq!(pose_of(&[0.0; 17]), None);
        assert_eq!(pose_of(&[f64::NAN; 20]), None);
    }
}
