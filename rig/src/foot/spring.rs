//! Critically damped springs that bring an offset to zero.
//!
//! An offset x with velocity v follows x(t) = (x + (v + r x) t) e^(-r t) with rate r: it keeps its
//! velocity at first, then comes to rest without swinging. That is inertialisation as games use it
//! for transitions (D. Bollo, "Inertialization: high-performance animation transitions in Gears of
//! War", 2018), with a spring in place of his polynomial (D. Holden, "Spring-It-On", 2021). The step
//! is exact, so it does not depend on how time is cut into frames.

use nalgebra::Vector3;

/// r t at which (1 + r t) e^(-r t) is 1 %.
const ONE_PERCENT: f64 = 6.638_352;

/// Offsets shorter than this, in metres or radians, are taken for none.
const NOTHING: f64 = 1e-7;

/// An offset on its way to zero, in metres or radians, and its velocity per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Spring {
    pub(super) offset: Vector3<f64>,
    pub(super) velocity: Vector3<f64>,
}

/// The rate with which 1 % of an offset that begins at rest is left after `seconds`.
pub(super) fn rate(seconds: f64) -> f64 {
    ONE_PERCENT / seconds
}

/// One number and its velocity after `seconds`.
pub(super) fn decay(offset: f64, velocity: f64, rate: f64, seconds: f64) -> (f64, f64) {
    let lead = velocity + rate * offset;
    let left = (-rate * seconds).exp();
    (
        left * (offset + lead * seconds),
        left * (velocity - rate * lead * seconds),
    )
}

impl Spring {
    /// An offset with a velocity of at most `fastest`.
    pub(super) fn new(offset: Vector3<f64>, velocity: Vector3<f64>, fastest: f64) -> Self {
        Self {
            offset,
            velocity: velocity.cap_magnitude(fastest),
        }
    }

    /// Lets `seconds` pass at a rate.
    pub(super) fn step(&mut self, rate: f64, seconds: f64) {
        for axis in 0..3 {
            (self.offset[axis], self.velocity[axis]) =
                decay(self.offset[axis], self.velocity[axis], rate, seconds);
        }
        if self.offset.norm() < NOTHING && self.velocity.norm() < NOTHING * rate {
            *self = Self::default();
        }
    }
}

/// A number on its way to zero that never goes past it, and never away from it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Landing {
    pub(super) offset: f64,
    velocity: f64,
}

impl Landing {
    pub(super) fn new(offset: f64, velocity: f64) -> Self {
        let away = offset * velocity > 0.0;
        Self {
            offset,
            velocity: if away { 0.0 } else { velocity },
        }
    }

    /// Lets `seconds` pass at a rate.
    pub(super) fn step(&mut self, rate: f64, seconds: f64) {
        let (offset, velocity) = decay(self.offset, self.velocity, rate, seconds);
        // Critically damped offsets cross zero at most once, if they start fast enough towards it.
        if offset * self.offset <= 0.0 || offset.abs() < NOTHING {
            *self = Self::default();
        } else {
            *self = Self { offset, velocity };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_percent_is_left_after_the_stated_time_however_it_is_cut() {
        let start = Spring::new(Vector3::new(0.1, 0.0, -0.2), Vector3::zeros(), 1.0);
        for frames in [1, 9, 240] {
            let mut spring = start;
            for _ in 0..frames {
                spring.step(rate(0.3), 0.3 / f64::from(frames));
            }
            assert!(
                (spring.offset - 0.01 * start.offset).norm() < 1e-7,
                "{spring:?}"
            );
        }
    }

    #[test]
    fn velocity_is_kept_at_first_and_everything_ends() {
        let mut spring = Spring::new(Vector3::zeros(), Vector3::new(0.5, 0.0, 0.0), 1.0);
        spring.step(rate(0.3), 1e-4);
        assert!((spring.offset.x - 0.5e-4).abs() < 1e-6);
        spring.step(rate(0.3), 3.0);
        assert_eq!(spring, Spring::default());
    }

    #[test]
    fn a_landing_does_not_go_through_the_floor() {
        for velocity in [-3.0, -0.1, 0.0, 0.4] {
            let mut landing = Landing::new(0.02, velocity);
            for _ in 0..60 {
                landing.step(rate(0.15), 1.0 / 30.0);
                assert!((0.0..=0.02).contains(&landing.offset), "{landing:?}");
            }
            assert_eq!(landing, Landing::default());
        }
    }
}
