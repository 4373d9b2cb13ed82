//! Unit quaternions x, y, z, w as orientations: q and -q are the same one, and everything here takes the shorter way.

/// Numbers whose largest magnitude is below this say no orientation.
const LEAST: f64 = 1e-6;
/// Below this angle (radians in four dimensions, half of the rotation's) a chord is as good as the arc: they differ by the
/// third power of it.
const NEARLY_PARALLEL: f64 = 1e-6;

/// An orientation, of length 1 up to rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quaternion([f64; 4]);

/// An orientation on a way, and how its numbers change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Turn {
    pub(crate) at: Quaternion,
    /// Derivative of the four numbers; twice its length is the angular velocity.
    pub(crate) rate: [f64; 4],
}

impl Quaternion {
    pub(crate) const IDENTITY: Self = Self([0.0, 0.0, 0.0, 1.0]);

    /// The orientation that `numbers` of any length say; none where they are nearly zero, infinite or not numbers.
    pub(crate) fn new(numbers: [f64; 4]) -> Option<Self> {
        if numbers.iter().any(|number| !number.is_finite()) {
            return None;
        }
        let largest = length_of(numbers, f64::max);
        (largest >= LEAST).then(|| Self::normalised(numbers.map(|number| number / largest)))
    }

    /// The orientation of three perpendicular axes of length 1, the columns of its matrix (Shepperd, "Quaternion from
    /// rotation matrix", 1978: the largest of four numbers first, so that none is divided by a small one).
    pub(crate) fn of_axes([x, y, z]: [[f64; 3]; 3]) -> Option<Self> {
        let trace = x[0] + y[1] + z[2];
        let numbers = if trace >= x[0].max(y[1]).max(z[2]) {
            [y[2] - z[1], z[0] - x[2], x[1] - y[0], 1.0 + trace]
        } else if x[0] >= y[1].max(z[2]) {
            [
                1.0 + x[0] - y[1] - z[2],
                x[1] + y[0],
                z[0] + x[2],
                y[2] - z[1],
            ]
        } else if y[1] >= z[2] {
            [
                x[1] + y[0],
                1.0 + y[1] - x[0] - z[2],
                y[2] + z[1],
                z[0] - x[2],
            ]
        } else {
            [
                z[0] + x[2],
                y[2] + z[1],
                1.0 + z[2] - x[0] - y[1],
                x[1] - y[0],
            ]
        };
        Self::new(numbers)
    }

    pub(crate) fn numbers(self) -> [f64; 4] {
        self.0
    }

    /// The angle of the rotation from here to `other`, 0 to pi.
    pub(crate) fn angle_to(self, other: Self) -> f64 {
        2.0 * self.arc_to(other.on_the_side_of(self))
    }

    /// The same orientation with the sign that is nearer to `other`.
    pub(crate) fn on_the_side_of(self, other: Self) -> Self {
        let dot: f64 = self.0.iter().zip(other.0).map(|(a, b)| a * b).sum();
        if dot < 0.0 {
            Self(self.0.map(|number| -number))
        } else {
            self
        }
    }

    /// The orientation at `fraction`, 0 to 1, of the shorter way to `to`, turned at constant angular velocity (Shoemake,
    /// "Animating rotation with quaternion curves", 1985); the rate is per whole way.
    pub(crate) fn slerp(self, to: Self, fraction: f64) -> Turn {
        let to = to.on_the_side_of(self);
        let arc = self.arc_to(to);
        let (from_weight, to_weight, from_rate, to_rate) = if arc < NEARLY_PARALLEL {
            (1.0 - fraction, fraction, -1.0, 1.0)
        } else {
            let (ahead, behind) = ((1.0 - fraction) * arc, fraction * arc);
            let sine = arc.sin();
            (
                ahead.sin() / sine,
                behind.sin() / sine,
                -arc * ahead.cos() / sine,
                arc * behind.cos() / sine,
            )
        };
        let mix = |a: f64, b: f64| std::array::from_fn(|i| a * self.0[i] + b * to.0[i]);
        Turn {
            at: Self::normalised(mix(from_weight, to_weight)),
            rate: mix(from_rate, to_rate),
        }
    }

    /// The angle between both in four dimensions, accurate also where it is small.
    fn arc_to(self, other: Self) -> f64 {
        let apart = length(std::array::from_fn(|i| self.0[i] - other.0[i]));
        let along = length(std::array::from_fn(|i| self.0[i] + other.0[i]));
        2.0 * apart.atan2(along)
    }

    /// `numbers` must have a length that is neither tiny nor huge.
    fn normalised(numbers: [f64; 4]) -> Self {
        let length = length(numbers);
        Self(numbers.map(|number| number / length))
    }
}

impl Turn {
    pub(crate) fn at_rest(at: Quaternion) -> Self {
        Self { at, rate: [0.0; 4] }
    }

    /// The same turn with the sign that is nearer to `other`.
    pub(crate) fn on_the_side_of(self, other: Quaternion) -> Self {
        let at = self.at.on_the_side_of(other);
        let factor = if at == self.at { 1.0 } else { -1.0 };
        Self { at, ..self }.times(factor)
    }

    /// Where the turn is `seconds` later, at its rate.
    pub(crate) fn after(self, seconds: f64) -> Quaternion {
        let numbers = self.at.numbers();
        let moved = std::array::from_fn(|at| numbers[at] + self.rate[at] * seconds);
        Quaternion::new(moved).unwrap_or(self.at)
    }

    /// The same turn at a rate `factor` times as high.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            rate: self.rate.map(|rate| rate * factor),
            ..self
        }
    }
}

/// Length of four numbers.
pub(crate) fn length(numbers: [f64; 4]) -> f64 {
    length_of(numbers.map(|number| number * number), |a, b| a + b).sqrt()
}

fn length_of(numbers: [f64; 4], fold: impl Fn(f64, f64) -> f64) -> f64 {
    numbers.iter().map(|number| number.abs()).fold(0.0, fold)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig {
            rng_seed: RngSeed::Fixed(5),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    fn orientation() -> impl Strategy<Value = Quaternion> {
        prop::array::uniform4(-1.0..1.0_f64).prop_filter_map("says no orientation", Quaternion::new)
    }

    fn about_x(angle: f64) -> Quaternion {
        Quaternion([(angle / 2.0).sin(), 0.0, 0.0, (angle / 2.0).cos()])
    }

    #[test]
    fn angles_are_those_of_rotations() {
        for angle in [0.0, 1e-12, 1e-9, 1e-3, 1.0, 3.0, std::f64::consts::PI] {
            let found = about_x(0.3).angle_to(about_x(0.3 + angle));
            assert!(
                (found - angle).abs() < 1e-15 + 1e-6 * angle,
                "{found} for {angle}"
            );
        }
        let found = about_x(0.0).angle_to(about_x(4.0));
        assert!((found - (std::f64::consts::TAU - 4.0)).abs() < 1e-12);
    }

    #[test]
    fn what_says_no_orientation_is_none() {
        for numbers in [
            [0.0; 4],
            [1e-7, 0.0, 0.0, -1e-7],
            [f64::NAN, 0.0, 0.0, 1.0],
            [0.0, f64::INFINITY, 0.0, 1.0],
        ] {
            assert_eq!(Quaternion::new(numbers), None, "{numbers:?}");
        }
        let huge = Quaternion::new([f64::MAX, 0.0, 0.0, f64::MAX]).unwrap();
        assert!((length(huge.0) - 1.0).abs() < 1e-15);
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn slerp_turns_at_constant_velocity(from in orientation(), to in orientation(), steps in 1_usize..40) {
            let whole = from.angle_to(to);
            let mut before = from;
            for step in 1..=steps {
                let turn = from.slerp(to, step as f64 / steps as f64);
                prop_assert!((length(turn.at.0) - 1.0).abs() < 1e-14);
                prop_assert!((before.angle_to(turn.at) - whole / steps as f64).abs() < 1e-9);
                prop_assert!((2.0 * length(turn.rate) - whole).abs() < 1e-9);
                before = turn.at;
            }
            prop_assert!(before.angle_to(to) < 1e-9);
        }

        #[test]
        fn the_sign_of_an_orientation_means_nothing(from in orientation(), to in orientation(), u in 0.0..1.0) {
            let other = Quaternion(to.0.map(|number| -number));
            prop_assert!(from.slerp(to, u).at.angle_to(from.slerp(other, u).at) < 1e-9);
            prop_assert!(from.angle_to(to) <= std::f64::consts::PI + 1e-12);
        }

        #[test]
        fn the_rate_is_the_derivative(from in orientation(), to in orientation(), u in 0.01..0.99) {
            let at = |fraction| from.slerp(to, fraction).at.0;
            let (low, high, rate) = (at(u - 1e-5), at(u + 1e-5), from.slerp(to, u).rate);
            for i in 0..4 {
                prop_assert!(((high[i] - low[i]) / 2e-5 - rate[i]).abs() < 1e-6);
            }
        }

        #[test]
        fn nearly_parallel_ways_end_where_they_should(from in orientation(), axis in orientation(), tiny in 0.0..1e-5) {
            let numbers = std::array::from_fn(|i| from.0[i] + tiny * axis.0[i]);
            let to = Quaternion::new(numbers).expect("near to a unit quaternion");
            prop_assert!(from.slerp(to, 1.0).at.angle_to(to) < 1e-14);
            let halves = from.slerp(to, 0.5).at;
            prop_assert!((from.angle_to(halves) - halves.angle_to(to)).abs() < 1e-14);
        }
    }
}
