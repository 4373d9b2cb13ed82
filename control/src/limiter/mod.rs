//! Commands that never leave the limits.
//!
//! The last stage before the robot. One call is one period: the command is the reference, bit for bit, as long as the
//! limits allow it, otherwise as near to it as they do.
//!
//! What is promised of the commands p of a joint, for periods of d seconds, whatever the references are:
//!
//! - every command is finite and inside the box;
//! - the backward differences v = (p - p')/d, a = (v - v')/d and j = (a - a')/d of consecutive commands, counted from rest
//!   at the start, are within the limits. In f64 the difference of order n is off by rounding: the promise is
//!   limit * (1 + 1e-9) + 2^(n+2) e max|p| / d^n with e = 2.2e-16. At 1 kHz that is 7e-6 units per s^3 for positions up to 1;
//! - from every command a jerk-limited stop inside the box exists, and [`brake`](Limiter::brake) takes it;
//! - the angle between consecutive orientations is at most the angular velocity times d.
//!
//! Nothing is allocated after [`new`](Limiter::new), nothing waits, nothing panics.

mod interventions;
mod joint;
mod orientation;
mod pursuit;
mod stop;

pub use interventions::{LimitCounts, LimitFlags};

use joint::Joint;
use orientation::OrientationLimiter;
use pursuit::Pursuit;
use thiserror::Error;

use crate::limits::{LimitsConfig, LimitsError};
use crate::orientation::Orientations;
use crate::rotation::OrientationColumns;

/// Keeps the commands of one robot within its limits. Clock-free: a call is a period.
#[derive(Debug)]
pub struct Limiter {
    joints: Vec<Joint>,
    /// Each joint's column.
    columns: Vec<usize>,
    orientations: Vec<OrientationLimiter>,
    action_size: usize,
    pursuit: Pursuit,
    started: bool,
    counts: LimitCounts,
}

/// Why a limiter cannot start where it should.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StartError {
    /// Another robot's position.
    #[error("a start position has {found} numbers, expected {expected}, as many as an action")]
    Size {
        /// Numbers per action, Da.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// Nowhere.
    #[error(
        "a start position's number {column} is {value}, expected a finite number: check where it comes from"
    )]
    NotFinite {
        /// The number.
        column: usize,
        /// What stands there.
        value: f64,
    },
    /// Outside the box, from where no command could be given.
    #[error(
        "a start position's number {column} is {value}, expected {lower} to {upper} (control.limits.lower and upper): move \
         the robot there or widen the limits"
    )]
    Outside {
        /// The number.
        column: usize,
        /// What stands there.
        value: f64,
        /// Least position.
        lower: f64,
        /// Greatest position.
        upper: f64,
    },
    /// Four zeros, say.
    #[error(
        "a start position's numbers {:?} say no orientation, expected {}",
        columns.columns(),
        columns.name()
    )]
    NoOrientation {
        /// The orientation's columns.
        columns: OrientationColumns,
    },
}

impl Limiter {
    /// A limiter for actions with these orientations, called every `period_ns`.
    ///
    /// # Errors
    /// Limits that do not fit the action or each other, a period of 0.
    pub fn new(
        config: &LimitsConfig,
        orientations: &Orientations,
        period_ns: u64,
    ) -> Result<Self, LimitsError> {
        if period_ns == 0 {
            return Err(LimitsError::NoPeriod);
        }
        let period_s = period_ns as f64 * 1e-9;
        let joints = config.joints(orientations)?;
        let columns = 0..orientations.action_size();
        let step = config.angular_velocity.unwrap_or(f64::INFINITY) * period_s;
        Ok(Self {
            joints: joints
                .into_iter()
                .map(|limits| Joint::new(limits, period_s, 0.0))
                .collect(),
            columns: columns
                .filter(|&column| !orientations.contains(column))
                .collect(),
            orientations: orientations
                .groups()
                .iter()
                .map(|&columns| OrientationLimiter::new(columns, step))
                .collect(),
            action_size: orientations.action_size(),
            pursuit: Pursuit::new(),
            started: false,
            counts: LimitCounts::default(),
        })
    }

    /// Whether [`Limiter::start`] would accept `position` `[Da]`.
    ///
    /// # Errors
    /// As there.
    pub fn check_start(&self, position: &[f64]) -> Result<(), StartError> {
        if position.len() != self.action_size {
            return Err(StartError::Size {
                expected: self.action_size,
                found: position.len(),
            });
        }
        if let Some(column) = position.iter().position(|value| !value.is_finite()) {
            let value = position[column];
            return Err(StartError::NotFinite { column, value });
        }
        for (joint, &column) in self.joints.iter().zip(&self.columns) {
            let (value, limits) = (position[column], joint.limits());
            if !(limits.lower..=limits.upper).contains(&value) {
                return Err(StartError::Outside {
                    column,
                    value,
                    lower: limits.lower,
                    upper: limits.upper,
                });
            }
        }
        let mut orientations = self.orientations.iter();
        if let Some(none) = orientations.find(|orientation| !orientation.accepts(position)) {
            let columns = none.columns();
            return Err(StartError::NoOrientation { columns });
        }
        Ok(())
    }

    /// At rest at `position` `[Da]`, where the robot is. Differences count from here.
    ///
    /// # Errors
    /// Another size than an action has, numbers that are not finite, positions outside the box. The limiter stays as it
    /// was.
    pub fn start(&mut self, position: &[f64]) -> Result<(), StartError> {
        self.check_start(position)?;
        for (joint, &column) in self.joints.iter_mut().zip(&self.columns) {
            joint.start(position[column]);
        }
        for orientation in &mut self.orientations {
            orientation.start(position);
        }
        self.started = true;
        Ok(())
    }

    /// One period on: writes to `out` `[Da]` the command nearest to `reference` `[Da]` that the limits allow, and says what
    /// they changed. `velocity` `[Da]` is the reference's rate of change in units per s; it decides nothing about the
    /// limits, but how well a moving reference is met again. Numbers of it that are not finite count as 0.
    ///
    /// Where the reference has NaN or infinity, is shorter than an action, or has an orientation of length zero, all joints
    /// move on towards rest. Without a start the first reference is the start, pulled into the box; until there is one,
    /// nothing is written.
    pub fn follow(&mut self, reference: &[f64], velocity: &[f64], out: &mut [f64]) -> LimitFlags {
        let finite = reference.len() >= self.action_size
            && reference[..self.action_size]
                .iter()
                .all(|number| number.is_finite());
        let accepted =
            finite && (self.orientations.iter()).all(|orientation| orientation.accepts(reference));
        if !accepted {
            self.brake(out);
            self.counts.count(LimitFlags::NOT_FINITE);
            return LimitFlags::NOT_FINITE;
        }
        if !self.started {
            self.start_within(reference);
        }
        let mut interventions = LimitFlags::NONE;
        for (joint, &column) in self.joints.iter_mut().zip(&self.columns) {
            let rate = velocity.get(column).filter(|rate| rate.is_finite());
            let rate = rate.copied().unwrap_or(0.0);
            let step = joint.follow(reference[column], rate, &mut self.pursuit);
            let deviation = (step.position - reference[column]).abs();
            if deviation > 0.0 {
                interventions |= step.interventions;
            }
            self.counts.largest_deviation = self.counts.largest_deviation.max(deviation);
            self.counts.unsolved += u64::from(step.unsolved);
            write(out, column, step.position);
        }
        for orientation in &mut self.orientations {
            let rotation = orientation.follow(reference);
            if rotation > 0.0 {
                interventions |= LimitFlags::VELOCITY;
            }
            self.counts.largest_rotation = self.counts.largest_rotation.max(rotation);
            orientation.write(out);
        }
        self.counts.count(interventions);
        interventions
    }

    /// One period on along the way to rest: writes the command `[Da]` to `out`. At rest it is held. Orientations stop at
    /// once. Without a start nothing is written.
    pub fn brake(&mut self, out: &mut [f64]) {
        if !self.started {
            return;
        }
        for (joint, &column) in self.joints.iter_mut().zip(&self.columns) {
            write(out, column, joint.brake());
        }
        for orientation in &self.orientations {
            orientation.write(out);
        }
    }

    /// Whether braking would not move any joint.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        !self.started || self.joints.iter().all(Joint::is_at_rest)
    }

    /// Whether one period leads from the last command to `position` `[Da]` as far as velocities go: all that are not limited,
    /// and those within a period's travel.
    #[must_use]
    pub fn is_near(&self, position: &[f64]) -> bool {
        position.len() == self.action_size
            && (self.joints.iter().zip(&self.columns))
                .all(|(joint, &column)| joint.is_near(position[column]))
            && (self.orientations.iter()).all(|orientation| orientation.is_near(position))
    }

    /// Whether every joint and every orientation has a greatest speed.
    #[must_use]
    pub fn has_speeds(&self) -> bool {
        self.joints
            .iter()
            .all(|joint| joint.limits().velocity.is_finite())
            && self.orientations.iter().all(OrientationLimiter::has_speed)
    }

    /// Whether it is known where the robot is.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Forgets where the robot is. The counts stay.
    pub fn reset(&mut self) {
        self.started = false;
    }

    /// What was changed so far.
    #[must_use]
    pub fn counts(&self) -> LimitCounts {
        self.counts
    }

    fn start_within(&mut self, reference: &[f64]) {
        for (joint, &column) in self.joints.iter_mut().zip(&self.columns) {
            let (lower, upper) = (joint.limits().lower, joint.limits().upper);
            joint.start(reference[column].clamp(lower, upper));
        }
        for orientation in &mut self.orientations {
            orientation.start(reference);
        }
        self.started = true;
    }
}

fn write(out: &mut [f64], column: usize, value: f64) {
    if let Some(out) = out.get_mut(column) {
        *out = value;
    }
}
