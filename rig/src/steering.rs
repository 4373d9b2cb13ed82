//! What the models are told of the way ahead: where the root should be, and face, within the next
//! second.
//!
//! Three places along the future trajectory, as the root of the last frame sees them: the form of
//! motion matching (Clavet 2016, Holden 2020). In training they come from the data; at run time
//! from a stick or a path.

use nalgebra::Vector2;

use crate::trajectory::Root;

/// What is wanted of a character for its next frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct SteeringTarget {
    /// Where the root should be [`AHEAD`] of now, in the world; none for free motion.
    pub ahead: Option<[Root; 3]>,
    /// Motion of the root towards the next frame: displacement in the world in m/s, turn in rad/s.
    pub motion: Option<(Vector2<f64>, f64)>,
    /// How much of the way to that motion every clean estimate is drawn, 0 to 1: displacement, turn.
    pub strength: (f64, f64),
}

/// How far ahead the three places lie, in seconds.
pub const AHEAD: [f64; 3] = [1.0 / 3.0, 2.0 / 3.0, 1.0];

/// Numbers of the steering: place (left, ahead) and facing (left, ahead) for each of [`AHEAD`].
pub const SIZE: usize = 4 * AHEAD.len();

/// The steering that leads from a root through three others: for each its place in metres, then the
/// unit vector of its facing, as `root` sees them.
pub fn steering(root: &Root, ahead: &[Root; 3]) -> [f32; SIZE] {
    let mut numbers = [0.0; SIZE];
    for (numbers, other) in numbers.chunks_exact_mut(4).zip(ahead) {
        let seen = root.local(other);
        numbers[0] = seen.position.x as f32;
        numbers[1] = seen.position.y as f32;
        numbers[2] = seen.heading.sin() as f32;
        numbers[3] = seen.heading.cos() as f32;
    }
    numbers
}

/// The root at a time after frame `frame` of a trajectory; beyond its end it goes on as it went
/// in the last tenth of a second, without turning.
pub fn ahead(trajectory: &[Root], frame: usize, seconds: f64, frame_rate: f64) -> Root {
    let Some(last) = trajectory.len().checked_sub(1) else {
        return Root::default();
    };
    let place = frame as f64 + seconds * frame_rate;
    let before = (place.floor() as usize).min(last);
    let (from, share) = (&trajectory[before], place - before as f64);
    if before < last {
        let to = &trajectory[before + 1];
        return Root {
            position: from.position.lerp(&to.position, share),
            heading: from.heading + share * (to.heading - from.heading),
        };
    }
    let window = ((0.1 * frame_rate).round() as usize).clamp(1, last.max(1));
    let step = if last == 0 {
        Vector2::zeros()
    } else {
        (from.position - trajectory[last - window].position) / window as f64
    };
    Root {
        position: from.position + step * share,
        heading: from.heading,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(count: usize) -> Vec<Root> {
        (0..count)
            .map(|index| {
                let heading = 0.02 * index as f64;
                Root {
                    position: Vector2::new(1.0 - heading.cos(), heading.sin()),
                    heading,
                }
            })
            .collect()
    }

    #[test]
    fn steering_is_the_same_anywhere_on_a_circle() {
        let trajectory = circle(200);
        let at = |frame: usize| {
            let roots = AHEAD.map(|seconds| ahead(&trajectory, frame, seconds, 30.0));
            steering(&trajectory[frame], &roots)
        };
        for (first, later) in at(0).iter().zip(at(120)) {
            assert!((first - later).abs() < 1e-5);
        }
        // A turn to the left, ahead of the root.
        assert!(at(0)[0] > 0.0 && at(0)[1] > 0.0 && at(0)[2] > 0.0);
    }

    #[test]
    fn past_its_end_a_trajectory_goes_straight_on() {
        let trajectory = circle(100);
        let near = ahead(&trajectory, 99, 0.5, 30.0);
        let far = ahead(&trajectory, 99, 1.0, 30.0);
        let end = trajectory[99];
        assert_eq!(far.heading, end.heading);
        let doubled = (far.position - end.position) - 2.0 * (near.position - end.position);
        assert!(doubled.norm() < 1e-12);
        assert!((near.position - end.position).norm() > 0.2);
    }
}
