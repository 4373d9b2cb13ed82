//! The fastest way onto a moving reference, one period of it at a time.
//!
//! In a frame that moves with the reference the way ends at rest at the origin. Its phases come from Ruckig (Berscheid and
//! Kröger, "Jerk-limited real-time trajectory generation with arbitrary target states", 2021), whose solver for a single
//! joint is called directly: that way nothing is allocated, also where it finds nothing. It is told a problem in units in
//! which the way takes about 1, since its tolerances (1e-8) are absolute.

use rsruckig::block::Block;
use rsruckig::position_second_step1::PositionSecondOrderStep1;
use rsruckig::position_third_step1::PositionThirdOrderStep1;
use rsruckig::profile::Profile;

use super::stop::{Order, State};
use crate::limits::JointLimits;

/// Limits are tightened by this share, so that the solver's own tolerances do not lead beyond them, nor the last digits by
/// which its way misses its end.
const TIGHT: f64 = 1.0 - 1e-7;
/// The frame is at most this share of the limits fast: some speed must be left to approach it.
const FRAME: f64 = 0.99;

/// The solver's memory.
#[derive(Debug)]
pub(crate) struct Pursuit {
    solver: PositionThirdOrderStep1,
    profile: Profile,
    block: Block,
}

/// Where the state and the limits are, seen from the reference.
#[derive(Debug, Clone, Copy)]
struct Frame {
    apart: State,
    velocity: (f64, f64),
    acceleration: (f64, f64),
    /// The reference at the end of the period: where the way leads.
    end: State,
    /// About how long the way takes.
    seconds: f64,
}

impl Pursuit {
    pub(crate) fn new() -> Self {
        Self {
            solver: PositionThirdOrderStep1::default(),
            profile: Profile::default(),
            block: Block::default(),
        }
    }

    /// The state one period after `state` on the way to a reference that is at `reference` then. None where the solver
    /// finds no way.
    pub(crate) fn step(
        &mut self,
        state: State,
        reference: State,
        limits: &JointLimits,
        period_s: f64,
    ) -> Option<State> {
        if Order::of(limits) == Order::Jerk {
            // A reference that accelerates is met as such once it is near; for longer ways its acceleration will not last.
            let near = 2.0 * limits.acceleration / limits.jerk + 4.0 * period_s;
            let frame = Frame::new(state, reference, limits, period_s);
            if frame.seconds <= near {
                let found = self.step_jerk_limited(state, frame, limits, period_s);
                if found.is_some() {
                    return found;
                }
            }
            let steady = State {
                acceleration: 0.0,
                ..reference
            };
            let frame = Frame::new(state, steady, limits, period_s);
            self.step_jerk_limited(state, frame, limits, period_s)
        } else {
            let steady = State {
                acceleration: 0.0,
                ..reference
            };
            let frame = Frame::new(state, steady, limits, period_s);
            self.step_acceleration_limited(state, frame, limits, period_s)
        }
    }

    fn step_jerk_limited(
        &mut self,
        state: State,
        frame: Frame,
        limits: &JointLimits,
        period_s: f64,
    ) -> Option<State> {
        // Units of time `seconds` and of length jerk * seconds^3 make the jerk 1.
        let unit = frame.seconds;
        let jerk = limits.jerk * TIGHT;
        let (acceleration, velocity) = (1.0 / (jerk * unit), 1.0 / (jerk * unit * unit));
        let (v_min, v_max) = (frame.velocity.0 * velocity, frame.velocity.1 * velocity);
        let (a_min, a_max) = (
            frame.acceleration.0 * acceleration,
            frame.acceleration.1 * acceleration,
        );
        let profile = &mut self.profile;
        *profile = Profile::default();
        profile.set_boundary(
            frame.apart.position * velocity / unit,
            frame.apart.velocity * velocity,
            frame.apart.acceleration * acceleration,
            0.0,
            0.0,
            0.0,
        );
        let (v, a) = (profile.v[0], profile.a[0]);
        profile
            .brake
            .get_position_brake_trajectory(v, a, v_max, v_min, a_max, a_min, 1.0);
        profile
            .brake
            .finalize(&mut profile.p[0], &mut profile.v[0], &mut profile.a[0]);
        self.solver.reset(
            profile.p[0],
            profile.v[0],
            profile.a[0],
            0.0,
            0.0,
            0.0,
            v_max,
            v_min,
            a_max,
            a_min,
            1.0,
        );
        if !self.solver.get_profile(profile, &mut self.block) {
            return None;
        }
        let way = &self.block.p_min;
        let brake = way.brake.t.into_iter().zip(way.brake.j);
        let phases = brake.chain(way.t.into_iter().zip(way.j));
        let phases = phases.map(|(seconds, control)| (seconds * unit, control * jerk));
        Some(walk(state, Order::Jerk, phases, frame.end, period_s))
    }

    fn step_acceleration_limited(
        &mut self,
        state: State,
        frame: Frame,
        limits: &JointLimits,
        period_s: f64,
    ) -> Option<State> {
        // Units of time `seconds` and of length acceleration * seconds^2 make the acceleration 1.
        let unit = frame.seconds;
        let acceleration = limits.acceleration * TIGHT;
        let velocity = 1.0 / (acceleration * unit);
        let (v_min, v_max) = (frame.velocity.0 * velocity, frame.velocity.1 * velocity);
        let profile = &mut self.profile;
        *profile = Profile::default();
        profile.set_boundary(
            frame.apart.position * velocity / unit,
            frame.apart.velocity * velocity,
            0.0,
            0.0,
            0.0,
            0.0,
        );
        let v = profile.v[0];
        profile
            .brake
            .get_second_order_position_brake_trajectory(v, v_max, v_min, 1.0, -1.0);
        profile.brake.finalize_second_order(
            &mut profile.p[0],
            &mut profile.v[0],
            &mut profile.a[0],
        );
        let mut solver = PositionSecondOrderStep1::new(
            profile.p[0],
            profile.v[0],
            0.0,
            0.0,
            v_max,
            v_min,
            1.0,
            -1.0,
        );
        if !solver.get_profile(profile, &mut self.block) {
            return None;
        }
        let way = &self.block.p_min;
        let brake = std::iter::once((way.brake.t[0], way.brake.a[0]));
        let phases = brake.chain(way.t.into_iter().zip(way.a));
        let phases = phases.map(|(seconds, control)| (seconds * unit, control * acceleration));
        Some(walk(
            state,
            Order::Acceleration,
            phases,
            frame.end,
            period_s,
        ))
    }
}

impl Frame {
    fn new(state: State, reference: State, limits: &JointLimits, period_s: f64) -> Self {
        let (v, a) = (limits.velocity * TIGHT, limits.acceleration * TIGHT);
        let speed = reference.velocity.clamp(-v * FRAME, v * FRAME);
        let gain = reference.acceleration.clamp(-a * FRAME, a * FRAME);
        // Where the reference is now, if it moves like that up to the end of the period.
        let position = reference.position - period_s * (speed - period_s * gain / 2.0);
        let jerk = limits.jerk;
        // Nothing changes beyond a distance at which the way has a part at full speed.
        let ramp = if jerk.is_finite() {
            (v / jerk).sqrt() + a / jerk
        } else {
            0.0
        };
        let far = 8.0 * v * (v / a + ramp + period_s);
        let apart = State {
            position: (state.position - position).clamp(-far, far),
            velocity: state.velocity - (speed - period_s * gain),
            acceleration: state.acceleration - gain,
        };
        let seconds = if jerk.is_finite() {
            (apart.position.abs() / jerk)
                .cbrt()
                .max((apart.velocity.abs() / jerk).sqrt())
                .max(apart.acceleration.abs() / jerk)
        } else {
            (apart.position.abs() / a)
                .sqrt()
                .max(apart.velocity.abs() / a)
        };
        Self {
            apart,
            velocity: (-v - speed, v - speed),
            acceleration: (-a - gain, a - gain),
            end: State {
                position: reference.position,
                velocity: speed,
                acceleration: gain,
            },
            seconds: seconds.max(period_s),
        }
    }
}

/// The state after `period_s` of these phases: `end`, exactly, where they are over by then.
fn walk(
    state: State,
    order: Order,
    phases: impl Iterator<Item = (f64, f64)>,
    end: State,
    period_s: f64,
) -> State {
    let (mut state, mut left) = (state, period_s);
    for (seconds, control) in phases {
        let seconds = seconds.min(left);
        state = state.after(order, control, seconds);
        left -= seconds;
    }
    if left > 0.0 { end } else { state }
}
