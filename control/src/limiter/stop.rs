//! Motion of one joint with bounded derivatives, and the shortest way to rest.
//!
//! A motion is made of phases: of constant jerk where jerk is limited (third order), of constant acceleration where
//! acceleration is (second order). With a velocity limit alone (first order) a joint may stop at once, and without any it
//! has no motion that would have to be remembered.

use crate::limits::JointLimits;

/// The highest derivative that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Position,
    Velocity,
    Acceleration,
    Jerk,
}

/// Position and its derivatives by time in seconds; those beyond the order stay 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct State {
    pub(crate) position: f64,
    pub(crate) velocity: f64,
    pub(crate) acceleration: f64,
}

/// A time with a constant jerk (third order) or acceleration (second order).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) control: f64,
}

/// The fastest way from a state to rest within velocity and acceleration limits, of at most three phases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stop {
    phases: [Phase; 3],
    /// Extreme positions on the way.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Greatest speed on the way.
    pub(crate) fastest: f64,
}

impl Order {
    pub(crate) fn of(limits: &JointLimits) -> Self {
        if limits.jerk.is_finite() {
            Self::Jerk
        } else if limits.acceleration.is_finite() {
            Self::Acceleration
        } else if limits.velocity.is_finite() {
            Self::Velocity
        } else {
            Self::Position
        }
    }
}

impl State {
    pub(crate) fn at_rest(position: f64) -> Self {
        Self {
            position,
            velocity: 0.0,
            acceleration: 0.0,
        }
    }

    /// After `seconds` with a constant `control`.
    pub(crate) fn after(self, order: Order, control: f64, seconds: f64) -> Self {
        let Self {
            position: p,
            velocity: v,
            acceleration: a,
        } = self;
        let t = seconds;
        if order == Order::Jerk {
            Self {
                position: p + t * (v + t * (a / 2.0 + t * control / 6.0)),
                velocity: v + t * (a + t * control / 2.0),
                acceleration: a + t * control,
            }
        } else {
            Self {
                position: p + t * (v + t * control / 2.0),
                velocity: v + t * control,
                acceleration: 0.0,
            }
        }
    }
}

impl Stop {
    /// The way to rest from `state`. Its acceleration must be within the limit.
    pub(crate) fn from(state: State, order: Order, limits: &JointLimits) -> Self {
        match order {
            Order::Jerk => Self::jerk_limited(state, limits),
            Order::Acceleration => Self::acceleration_limited(state, limits),
            Order::Velocity | Order::Position => Self::at_once(state.position),
        }
    }

    /// One period further; at rest exactly once the way is over.
    pub(crate) fn advance(&mut self, state: State, order: Order, period_s: f64) -> State {
        let (mut state, mut left) = (state, period_s);
        for phase in &mut self.phases {
            let seconds = phase.seconds.min(left);
            state = state.after(order, phase.control, seconds);
            phase.seconds -= seconds;
            left -= seconds;
        }
        if left > 0.0 {
            State::at_rest(state.position)
        } else {
            state
        }
    }

    fn at_once(position: f64) -> Self {
        Self {
            phases: [Phase::default(); 3],
            low: position,
            high: position,
            fastest: 0.0,
        }
    }

    fn acceleration_limited(state: State, limits: &JointLimits) -> Self {
        let phase = Phase {
            seconds: state.velocity.abs() / limits.acceleration,
            control: -limits.acceleration.copysign(state.velocity),
        };
        let end = state.after(Order::Acceleration, phase.control, phase.seconds);
        Self {
            phases: [phase, Phase::default(), Phase::default()],
            low: state.position.min(end.position),
            high: state.position.max(end.position),
            fastest: state.velocity.abs(),
        }
    }

    /// Jerk against the motion, perhaps full deceleration, and jerk back: all mirrored so that the velocity left when the
    /// acceleration has been taken back (`surplus`) is not negative.
    fn jerk_limited(state: State, limits: &JointLimits) -> Self {
        let (jerk, most) = (limits.jerk, limits.acceleration);
        let surplus = state.velocity + state.acceleration * state.acceleration.abs() / (2.0 * jerk);
        let side = if surplus < 0.0 { -1.0 } else { 1.0 };
        let (v, a, surplus) = (
            side * state.velocity,
            side * state.acceleration,
            side * surplus,
        );
        let square = jerk * surplus + if a < 0.0 { a * a } else { 0.0 };
        let peak = square.sqrt().min(most);
        let phases = [
            ((a + peak) / jerk, -jerk),
            ((square - peak * peak) / (jerk * peak), 0.0),
            (peak / jerk, jerk),
        ];
        // Without a peak the second is 0 / 0, which max takes for 0.
        let phases = phases.map(|(seconds, control)| Phase {
            seconds: seconds.max(0.0),
            control: side * control,
        });
        let end = phases.iter().fold(state, |state, phase| {
            state.after(Order::Jerk, phase.control, phase.seconds)
        });
        let mut extremes = [state.position, end.position, end.position];
        if v < 0.0 {
            // Still on the way back: it turns before its acceleration is used up.
            let turn = -2.0 * v / (a + (2.0 * jerk * surplus).sqrt());
            extremes[2] = state.after(Order::Jerk, -side * jerk, turn).position;
        }
        Self {
            phases,
            low: extremes.into_iter().fold(f64::INFINITY, f64::min),
            high: extremes.into_iter().fold(f64::NEG_INFINITY, f64::max),
            fastest: v.abs().max(if a > 0.0 { surplus } else { 0.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use rsruckig::block::Block;
    use rsruckig::profile::Profile;
    use rsruckig::velocity_third_step1::VelocityThirdOrderStep1;

    use super::*;

    fn limits(acceleration: f64, jerk: f64) -> JointLimits {
        JointLimits {
            lower: f64::NEG_INFINITY,
            upper: f64::INFINITY,
            velocity: f64::INFINITY,
            acceleration,
            jerk,
        }
    }

    fn seconds(stop: &Stop) -> f64 {
        stop.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// The way in many small steps: duration, end, extreme positions, greatest speed.
    fn walked(stop: &Stop, state: State, order: Order) -> (State, f64, f64, f64) {
        let (mut stop, mut state, steps) = (*stop, state, 20_000);
        let (mut low, mut high, mut fastest) = (state.position, state.position, 0.0_f64);
        let period_s = seconds(&stop) / f64::from(steps) + 1e-12;
        for _ in 0..=steps {
            fastest = fastest.max(state.velocity.abs());
            state = stop.advance(state, order, period_s);
            (low, high) = (low.min(state.position), high.max(state.position));
        }
        (state, low, high, fastest)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 200,
            rng_seed: RngSeed::Fixed(13),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_way_to_rest_is_the_one_that_ruckig_finds(
            velocity in -3.0..3.0_f64,
            share in -1.0..1.0_f64,
            most in 0.1..10.0_f64,
            jerk in 0.1..10.0_f64,
        ) {
            let state = State { position: 1.0, velocity, acceleration: share * most };
            let stop = Stop::from(state, Order::Jerk, &limits(most, jerk));
            let (mut input, mut block) = (Profile::default(), Block::default());
            input.set_boundary_for_velocity(1.0, velocity, share * most, 0.0, 0.0);
            let mut solver =
                VelocityThirdOrderStep1::new(velocity, share * most, 0.0, 0.0, most, -most, jerk);
            prop_assert!(solver.get_profile(&mut input, &mut block));
            prop_assert!((seconds(&stop) - block.t_min).abs() < 1e-7, "{stop:?}, {}", block.t_min);
            let (end, low, high, fastest) = walked(&stop, state, Order::Jerk);
            let size = end.position.abs().max(1.0);
            prop_assert!((end.position - block.p_min.p[7]).abs() < 1e-7 * size);
            prop_assert_eq!((end.velocity, end.acceleration), (0.0, 0.0));
            let extreme = |own: f64, found: f64| (-1e-10..1e-6).contains(&((found - own) / size));
            prop_assert!(extreme(stop.low, low) && extreme(-stop.high, -high), "{stop:?}, {low} {high}");
            prop_assert!((stop.fastest - fastest).abs() < 1e-3 * most);
        }

        #[test]
        fn without_a_jerk_limit_the_way_is_that_of_full_deceleration(
            velocity in -3.0..3.0_f64,
            most in 0.1..10.0_f64,
        ) {
            let state = State { position: 1.0, velocity, acceleration: 0.0 };
            let stop = Stop::from(state, Order::Acceleration, &limits(most, f64::INFINITY));
            let (end, low, high, _) = walked(&stop, state, Order::Acceleration);
            prop_assert!((end.position - 1.0 - velocity * velocity.abs() / (2.0 * most)).abs() < 1e-9);
            prop_assert_eq!(end.velocity, 0.0);
            prop_assert!((stop.low - low).abs() < 1e-9 && (stop.high - high).abs() < 1e-9);
        }
    }

    #[test]
    fn at_rest_there_is_no_way_to_go() {
        let state = State::at_rest(4.0);
        for order in [
            Order::Position,
            Order::Velocity,
            Order::Acceleration,
            Order::Jerk,
        ] {
            let mut stop = Stop::from(state, order, &limits(1.0, 1.0));
            assert_eq!((stop.low, stop.high, stop.fastest), (4.0, 4.0, 0.0));
            assert_eq!(stop.advance(state, order, 0.1), state);
        }
    }
}
