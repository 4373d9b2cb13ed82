//! One joint: as near to its reference as its limits allow.
//!
//! The joint always has a way to rest inside its box, which was found when its last command was chosen. A new command is
//! taken only if it has one too; otherwise the joint moves on along the way it has. So the limits hold by induction, and
//! neither depend on how commands are looked for nor on whether any is found.
//!
//! Three commands are looked at. First the reference itself: its differences with the commands before are compared with
//! the limits. The last samples lie on a parabola (third order; a line, second order), and a way to rest that continues it
//! with bounded jerk has third differences that are averages of that jerk, so they are bounded as well. Second, a period on
//! the fastest way back to the reference, and third on that to where the reference is. Those begin at the state that the
//! joint really has, the end of the curve on which its last command was found.

use super::interventions::LimitFlags;
use super::pursuit::Pursuit;
use super::stop::{Order, State, Stop};
use crate::limits::JointLimits;

/// Room for rounding in comparisons with velocity and jerk, relative.
const ROOM: f64 = 1e-10;

/// A joint on its way.
#[derive(Debug, Clone)]
pub(crate) struct Joint {
    limits: JointLimits,
    order: Order,
    period_s: f64,
    samples: Samples,
    state: State,
    stop: Stop,
    /// Whether the last command was the reference.
    on_reference: bool,
    /// Velocity and acceleration of the last reference.
    reference: (f64, f64),
}

/// A command and its backward differences over one period: velocity, acceleration, jerk.
#[derive(Debug, Clone, Copy)]
struct Samples {
    position: f64,
    velocity: f64,
    acceleration: f64,
    jerk: f64,
}

/// What one period brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) position: f64,
    pub(crate) interventions: LimitFlags,
    /// The solver found no way.
    pub(crate) unsolved: bool,
}

impl Joint {
    /// At rest at `position`, which must be inside the box.
    pub(crate) fn new(limits: JointLimits, period_s: f64, position: f64) -> Self {
        let (order, state) = (Order::of(&limits), State::at_rest(position));
        Self {
            limits,
            order,
            period_s,
            samples: Samples::at_rest(position),
            state,
            stop: Stop::from(state, order, &limits),
            on_reference: true,
            reference: (0.0, 0.0),
        }
    }

    pub(crate) fn limits(&self) -> &JointLimits {
        &self.limits
    }

    pub(crate) fn start(&mut self, position: f64) {
        *self = Self::new(self.limits, self.period_s, position);
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.state.velocity == 0.0 && self.state.acceleration == 0.0
    }

    /// Whether a period at the greatest velocity leads to `position`.
    pub(crate) fn is_near(&self, position: f64) -> bool {
        (position - self.state.position).abs() <= self.limits.velocity * self.period_s
    }

    /// One period towards rest.
    pub(crate) fn brake(&mut self) -> f64 {
        self.reference = (0.0, 0.0);
        self.continue_stop()
    }

    /// One period on, as near to `reference` as can be; both numbers must be finite.
    pub(crate) fn follow(&mut self, reference: f64, velocity: f64, pursuit: &mut Pursuit) -> Step {
        let inside = reference.clamp(self.limits.lower, self.limits.upper);
        let outside = LimitFlags::of(LimitFlags::POSITION, inside != reference);
        let target = self.target(inside, velocity);
        let refused = match self.take_reference(&target) {
            Ok(()) => {
                return Step {
                    position: inside,
                    interventions: outside,
                    unsolved: false,
                };
            }
            Err(refused) => refused,
        };
        self.on_reference = false;
        let (found, unsolved) = self.approach(&target, pursuit);
        Step {
            position: found.unwrap_or_else(|| self.continue_stop()),
            interventions: outside | refused,
            unsolved,
        }
    }

    /// The reference at the end of this period, moving as it will for a while.
    fn target(&mut self, position: f64, velocity: f64) -> State {
        let gain = (velocity - self.reference.0) / self.period_s;
        let lasting = gain.abs() <= self.limits.acceleration
            && (gain - self.reference.1).abs() <= self.limits.jerk * self.period_s;
        self.reference = (velocity, gain);
        let most = self.limits.velocity.min(if velocity < 0.0 {
            self.stoppable(position - self.limits.lower)
        } else {
            self.stoppable(self.limits.upper - position)
        });
        State {
            position,
            velocity: velocity.clamp(-most, most),
            acceleration: if lasting && velocity.abs() <= most {
                gain
            } else {
                0.0
            },
        }
    }

    /// The greatest velocity, at no acceleration, from which rest is reached within `distance`.
    fn stoppable(&self, distance: f64) -> f64 {
        let JointLimits {
            acceleration, jerk, ..
        } = self.limits;
        match self.order {
            _ if distance == f64::INFINITY => f64::INFINITY,
            Order::Jerk => {
                // A triangle of deceleration that stays below the limit, or a trapezium.
                let triangle = (distance * distance * jerk).cbrt();
                if triangle * jerk <= acceleration * acceleration {
                    triangle
                } else {
                    let ramp = 0.5 * acceleration * acceleration / jerk;
                    (ramp * ramp + 2.0 * acceleration * distance).sqrt() - ramp
                }
            }
            Order::Acceleration => (2.0 * acceleration * distance).sqrt(),
            Order::Velocity | Order::Position => f64::INFINITY,
        }
    }

    /// Makes the target the next command, or says what speaks against it.
    fn take_reference(&mut self, target: &State) -> Result<(), LimitFlags> {
        let next = self.samples.next(target.position, self.period_s);
        let broken = self.broken(&next);
        if !broken.is_empty() {
            return Err(broken);
        }
        if !self.on_reference {
            // Back on the reference only if it can be followed from there on: not where it is merely crossed.
            let mut ahead = next;
            for periods in [1.0, 2.0] {
                let seconds = periods * self.period_s;
                let moved =
                    target.velocity * seconds + target.acceleration * seconds * seconds / 2.0;
                ahead = ahead.next(target.position + moved, self.period_s);
                let broken = self.broken(&ahead);
                if !broken.is_empty() {
                    return Err(broken);
                }
            }
        }
        let state = next.state(self.order, &self.limits, self.period_s);
        let stop = Stop::from(state, self.order, &self.limits);
        let broken = self.broken_by(&stop, next.rounding() / self.period_s);
        if !broken.is_empty() {
            return Err(broken);
        }
        (self.samples, self.state, self.stop) = (next, state, stop);
        self.on_reference = true;
        Ok(())
    }

    /// A period on the way to the target, if there is one that can be taken.
    fn approach(&mut self, target: &State, pursuit: &mut Pursuit) -> (Option<f64>, bool) {
        if matches!(self.order, Order::Velocity | Order::Position) {
            let most = self.limits.velocity * self.period_s;
            let from = self.state.position;
            let position = target.position.clamp(from - most, from + most);
            return (self.take(State::at_rest(position)), false);
        }
        let resting = State::at_rest(target.position);
        let mut unsolved = false;
        for target in [*target, resting] {
            let found = pursuit.step(self.state, target, &self.limits, self.period_s);
            unsolved = found.is_none();
            if let Some(position) = found.and_then(|state| self.take(state)) {
                return (Some(position), false);
            }
            if target.velocity == 0.0 {
                break;
            }
        }
        (None, unsolved)
    }

    /// Makes `state` the next command if that is allowed.
    fn take(&mut self, state: State) -> Option<f64> {
        let next = self.samples.next(state.position, self.period_s);
        let allowed = self.broken(&next).is_empty()
            && (self.order != Order::Jerk || state.acceleration.abs() <= self.limits.acceleration);
        if !allowed {
            return None;
        }
        let stop = Stop::from(state, self.order, &self.limits);
        if !self
            .broken_by(&stop, next.rounding() / self.period_s)
            .is_empty()
        {
            return None;
        }
        (self.samples, self.state, self.stop) = (next, state, stop);
        Some(state.position)
    }

    fn continue_stop(&mut self) -> f64 {
        let mut state = self.stop.advance(self.state, self.order, self.period_s);
        // Not more than a last digit.
        state.position = state.position.clamp(self.limits.lower, self.limits.upper);
        self.state = state;
        self.samples = self.samples.next(state.position, self.period_s);
        self.on_reference = false;
        state.position
    }

    /// The limits that a command's differences break.
    fn broken(&self, next: &Samples) -> LimitFlags {
        let JointLimits {
            velocity,
            acceleration,
            jerk,
            ..
        } = self.limits;
        let room = next.rounding() / self.period_s;
        let within = |value: f64, most: f64| value.abs() <= most;
        let mut broken = LimitFlags::NONE;
        if self.order >= Order::Velocity && !within(next.velocity, velocity * (1.0 + ROOM) + room) {
            broken |= LimitFlags::VELOCITY;
        }
        let room = 2.0 * room / self.period_s;
        if self.order >= Order::Acceleration && !within(next.acceleration, acceleration + room) {
            broken |= LimitFlags::ACCELERATION;
        }
        let room = 2.0 * room / self.period_s;
        if self.order >= Order::Jerk && !within(next.jerk, jerk * (1.0 + ROOM) + room) {
            broken |= LimitFlags::JERK;
        }
        broken
    }

    /// The limits that a way to rest breaks.
    fn broken_by(&self, stop: &Stop, rounding: f64) -> LimitFlags {
        let inside = stop.low >= self.limits.lower && stop.high <= self.limits.upper;
        let slow = self.order < Order::Velocity
            || stop.fastest <= self.limits.velocity * (1.0 + ROOM) + 4.0 * rounding;
        LimitFlags::of(LimitFlags::POSITION, !inside) | LimitFlags::of(LimitFlags::VELOCITY, !slow)
    }
}

impl Samples {
    fn at_rest(position: f64) -> Self {
        Self {
            position,
            velocity: 0.0,
            acceleration: 0.0,
            jerk: 0.0,
        }
    }

    fn next(&self, position: f64, period_s: f64) -> Self {
        let velocity = (position - self.position) / period_s;
        let acceleration = (velocity - self.velocity) / period_s;
        Self {
            position,
            velocity,
            acceleration,
            jerk: (acceleration - self.acceleration) / period_s,
        }
    }

    /// The end of the curve through the last samples: a parabola of which differences are derivatives half a period and a
    /// whole one earlier, a line, or a point.
    fn state(&self, order: Order, limits: &JointLimits, period_s: f64) -> State {
        let most = limits.acceleration;
        let (velocity, acceleration) = match order {
            Order::Jerk => {
                let acceleration = self.acceleration.clamp(-most, most);
                (self.velocity + acceleration * period_s / 2.0, acceleration)
            }
            Order::Acceleration => (self.velocity, 0.0),
            Order::Velocity | Order::Position => (0.0, 0.0),
        };
        State {
            position: self.position,
            velocity,
            acceleration,
        }
    }

    /// How far rounding may have moved the difference of two positions.
    fn rounding(&self) -> f64 {
        4.0 * f64::EPSILON * self.position.abs()
    }
}
