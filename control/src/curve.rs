//! The path through a plan's committed positions, one number of the action at a time.
//!
//! Position k is reached at its due time. Before the first position the path stays at it, after the last committed one at
//! that: what has not been committed never moves a command. Hold and linear never leave the interval between the two
//! positions involved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timeline::{Plan, PlanPhase};

/// How commands are formed between the positions of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Each action for its whole period (zero-order hold), as the Push-T environment applies it. Steps are its meaning:
    /// a new plan applies at once.
    #[default]
    Hold,
    /// A straight line from one position to the next, for orientations a turn at constant angular velocity. With a single
    /// committed position a line from the last command to it, reached when its period ends: one period later than with two.
    Linear,
    /// A cubic Hermite curve whose slope at a position is half the difference of its neighbours (Catmull and Rom, "A
    /// class of local interpolating splines", 1974), at either end the difference to the only neighbour. The velocity is
    /// continuous, also from plan to plan; the curve may overshoot the positions. Wants two committed positions or more.
    /// Orientations turn as with linear.
    Cubic,
}

/// A value and its rate of change per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Motion {
    pub(crate) value: f64,
    pub(crate) velocity: f64,
}

impl Motion {
    pub(crate) fn at_rest(value: f64) -> Self {
        Self {
            value,
            velocity: 0.0,
        }
    }
}

/// The path of number `index` of a plan's actions.
#[derive(Clone, Copy)]
pub(crate) struct Curve<'a> {
    plan: &'a Plan,
    index: usize,
    interpolation: Interpolation,
}

impl<'a> Curve<'a> {
    /// `index` must be below the plan's action size.
    pub(crate) fn new(plan: &'a Plan, index: usize, interpolation: Interpolation) -> Self {
        Self {
            plan,
            index,
            interpolation,
        }
    }

    /// The path at `now_ns`.
    pub(crate) fn at(self, now_ns: u64) -> Motion {
        let (position, fraction) = match self.plan.place(now_ns) {
            PlanPhase::Before => return Motion::at_rest(self.position(0)),
            PlanPhase::In { position, fraction } => (position, fraction),
        };
        if self.interpolation == Interpolation::Hold || position >= self.last() {
            return Motion::at_rest(self.position(position));
        }
        let (from, to) = (self.knot(position), self.knot(position + 1));
        segment(self.interpolation, from, to, period_s(self.plan), fraction)
    }

    /// Value at a committed position, and the slope with which the path goes through it; beyond the last, at rest there.
    pub(crate) fn knot(self, position: usize) -> Motion {
        let value = self.position(position);
        if self.interpolation != Interpolation::Cubic || position > self.last() {
            return Motion::at_rest(value);
        }
        let (before, after) = (position.saturating_sub(1), (position + 1).min(self.last()));
        let positions = (after - before).max(1) as f64;
        let rise = self.position(after) - self.position(before);
        let velocity = rise / positions / period_s(self.plan);
        Motion { value, velocity }
    }

    pub(crate) fn interpolation(self) -> Interpolation {
        self.interpolation
    }

    fn last(self) -> usize {
        self.plan.header().committed - 1
    }

    fn position(self, position: usize) -> f64 {
        let row = position.min(self.last()) * self.plan.header().action_size;
        f64::from(self.plan.actions()[row + self.index])
    }
}

/// Time from one position of a plan to the next, in seconds.
pub(crate) fn period_s(plan: &Plan) -> f64 {
    plan.header().period_ns as f64 * 1e-9
}

/// The way from `from` to `to` within `seconds`, at `fraction` of it, 0 to 1.
pub(crate) fn segment(
    interpolation: Interpolation,
    from: Motion,
    to: Motion,
    seconds: f64,
    fraction: f64,
) -> Motion {
    let (rise, u) = (to.value - from.value, fraction);
    match interpolation {
        Interpolation::Hold => Motion::at_rest(from.value),
        Interpolation::Linear => Motion {
            // Rounding may lead beyond the end by a last digit.
            value: (from.value + rise * u)
                .clamp(from.value.min(to.value), from.value.max(to.value)),
            velocity: rise / seconds,
        },
        Interpolation::Cubic => {
            let (leave, arrive) = (from.velocity * seconds, to.velocity * seconds);
            let square = 3.0 * rise - 2.0 * leave - arrive;
            let cube = leave + arrive - 2.0 * rise;
            let value = from.value + u * (leave + u * (square + u * cube));
            let slope = leave + u * (2.0 * square + u * 3.0 * cube);
            Motion {
                value,
                velocity: slope / seconds,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::PlanHeader;

    fn plan(actions: &[f32], committed: usize) -> Plan {
        let header = PlanHeader {
            stream: 0,
            chunk: 0,
            observation_sequence: 0,
            start_ns: 1000,
            period_ns: 100,
            action_size: 1,
            committed,
        };
        Plan::new(header, actions.to_vec()).unwrap()
    }

    fn values(plan: &Plan, interpolation: Interpolation, times: &[u64]) -> Vec<f64> {
        let curve = Curve::new(plan, 0, interpolation);
        times.iter().map(|&now| curve.at(now).value).collect()
    }

    #[test]
    fn hold_keeps_each_action_for_its_period() {
        let plan = plan(&[1.0, 2.0, 9.0], 2);
        let times = [0, 1000, 1099, 1100, 1199, 1200, 9000];
        let expected = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0];
        assert_eq!(values(&plan, Interpolation::Hold, &times), expected);
    }

    #[test]
    fn linear_stops_at_the_last_committed_position() {
        let plan = plan(&[1.0, 2.0, 9.0], 2);
        let times = [0, 1000, 1025, 1100, 1150, 9000];
        assert_eq!(
            values(&plan, Interpolation::Linear, &times),
            [1.0, 1.0, 1.25, 2.0, 2.0, 2.0]
        );
    }

    #[test]
    fn cubic_follows_a_parabola_inside_and_goes_through_all_positions() {
        // Central differences are exact for a parabola, so the inner segments reproduce it.
        let plan = plan(&[0.0, 1.0, 4.0, 9.0, 16.0], 5);
        let times = [1000, 1100, 1150, 1250, 1400, 1500];
        assert_eq!(
            values(&plan, Interpolation::Cubic, &times),
            [0.0, 1.0, 2.25, 6.25, 16.0, 16.0]
        );
    }

    #[test]
    fn cubic_velocity_is_the_derivative_and_continuous() {
        let plan = plan(&[3.0, -1.0, 4.0, 1.0], 4);
        let curve = Curve::new(&plan, 0, Interpolation::Cubic);
        for now in 1001..1299 {
            let difference = (curve.at(now + 1).value - curve.at(now - 1).value) / 2.0;
            assert!(
                (curve.at(now).velocity * 1e-9 - difference).abs() < 2e-3,
                "at {now}"
            );
        }
    }
}
