//! What a twist asks of a character: velocities of its own, as a robot is driven, become a stick in the world.
//!
//! Free of clocks. A twist turns the direction that the character is to face, and that direction leads the character by a
//! quarter turn at most, so that it neither winds up nor lags. A twist that is not repeated ends: the character stands.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use kinestream_bridge::ros2::messages::Twist;

/// Slower than this nothing is asked, m/s and rad/s.
const STILL: f64 = 1e-3;

/// A stick: velocity x, z in m/s, and the direction x, z to face; zero where it is left open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stick {
    pub(super) velocity: [f32; 2],
    pub(super) facing: [f32; 2],
}

/// Turns twists into sticks.
#[derive(Debug)]
pub(super) struct TwistSteering {
    timeout_ns: u64,
    asked: Option<(Twist, u64)>,
    facing: Option<f64>,
    stepped_ns: u64,
}

impl TwistSteering {
    pub(super) fn new(timeout_ns: u64) -> Self {
        Self {
            timeout_ns,
            asked: None,
            facing: None,
            stepped_ns: 0,
        }
    }

    /// Takes a twist; one with a number that is none is left out.
    pub(super) fn take(&mut self, twist: Twist, now_ns: u64) -> bool {
        let is_finite = [twist.linear, twist.angular]
            .concat()
            .iter()
            .all(|number| number.is_finite());
        if is_finite {
            if self.asked.is_none() {
                self.stepped_ns = now_ns;
            }
            self.asked = Some((twist, now_ns));
        }
        is_finite
    }

    /// The stick of this moment for a character that faces `heading` (about Y, rad: 0 is +Z, a quarter turn +X); none
    /// where nobody steers by twists. After the last twist has run out it is one stick at rest.
    pub(super) fn step(&mut self, heading: f64, now_ns: u64) -> Option<Stick> {
        let (twist, arrived_ns) = self.asked?;
        if now_ns.saturating_sub(arrived_ns) > self.timeout_ns {
            self.asked = None;
            self.facing = None;
            return Some(Stick {
                velocity: [0.0; 2],
                facing: [0.0; 2],
            });
        }
        let seconds = now_ns.saturating_sub(self.stepped_ns) as f64 / 1e9;
        self.stepped_ns = now_ns;
        let wanted = self.facing.unwrap_or(heading) + twist.angular[2] * seconds;
        let lead = wrapped(wanted - heading).clamp(-FRAC_PI_2, FRAC_PI_2);
        let facing = heading + lead;
        self.facing = Some(facing);
        let (sine, cosine) = facing.sin_cos();
        let [ahead, left, _] = twist.linear;
        let velocity = [ahead * sine + left * cosine, ahead * cosine - left * sine];
        let moves = velocity
            .iter()
            .chain([&twist.angular[2]])
            .any(|part| part.abs() > STILL);
        Some(Stick {
            velocity: velocity.map(|part| part as f32),
            facing: if moves {
                [sine as f32, cosine as f32]
            } else {
                [0.0; 2]
            },
        })
    }
}

/// An angle between minus and plus half a turn.
fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: u64 = 100_000_000;

    fn twist(ahead: f64, left: f64, turn: f64) -> Twist {
        Twist {
            linear: [ahead, left, 0.0],
            angular: [0.0, 0.0, turn],
        }
    }

    fn is(stick: Stick, velocity: [f32; 2], facing: [f32; 2]) {
        let near = |a: [f32; 2], b: [f32; 2]| {
            a.iter()
                .zip(b)
                .all(|(one, other)| (one - other).abs() < 1e-6)
        };
        assert!(
            near(stick.velocity, velocity) && near(stick.facing, facing),
            "{stick:?}"
        );
    }

    #[test]
    fn ahead_and_left_are_the_characters_own() {
        let mut steering = TwistSteering::new(5 * TENTH);
        assert_eq!(steering.step(0.0, 0), None);
        assert!(steering.take(twist(1.0, 0.0, 0.0), TENTH));
        is(steering.step(0.0, TENTH).unwrap(), [0.0, 1.0], [0.0, 1.0]);
        // Facing +X, its left is -Z.
        let mut steering = TwistSteering::new(5 * TENTH);
        steering.take(twist(0.0, 1.0, 0.0), TENTH);
        is(
            steering.step(FRAC_PI_2, TENTH).unwrap(),
            [0.0, -1.0],
            [1.0, 0.0],
        );
    }

    #[test]
    fn turning_leads_the_character_by_a_quarter_at_most() {
        let mut steering = TwistSteering::new(100 * TENTH);
        steering.take(twist(0.0, 0.0, 1.0), 0);
        // A second at 1 rad/s to the left: from +Z towards +X.
        for tick in 1..=10 {
            steering.step(0.0, tick * TENTH);
        }
        let stick = steering.step(0.0, 10 * TENTH).unwrap();
        is(stick, [0.0; 2], [1f32.sin(), 1f32.cos()]);
        for tick in 11..=90 {
            steering.step(0.0, tick * TENTH);
        }
        is(
            steering.step(0.0, 90 * TENTH).unwrap(),
            [0.0; 2],
            [1.0, 0.0],
        );
        // It turns on from there as soon as the character has followed.
        let stick = steering.step(FRAC_PI_2, 91 * TENTH).unwrap();
        assert!(stick.facing[1] < 0.0, "{stick:?}");
    }

    #[test]
    fn a_twist_that_is_not_repeated_ends() {
        let mut steering = TwistSteering::new(5 * TENTH);
        steering.take(twist(1.0, 0.0, 0.0), 0);
        assert!(steering.step(0.0, 5 * TENTH).is_some());
        is(steering.step(0.0, 6 * TENTH).unwrap(), [0.0; 2], [0.0; 2]);
        assert_eq!(steering.step(0.0, 7 * TENTH), None);
        assert!(!steering.take(twist(f64::NAN, 0.0, 0.0), 8 * TENTH));
        assert_eq!(steering.step(0.0, 8 * TENTH), None);
    }
}
