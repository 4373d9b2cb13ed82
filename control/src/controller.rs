//! One period of the control loop: watchdog, command, limits, in this order.
//!
//! Clock-free, and the same inputs give the same commands, bit for bit: a recording of [`TickInputs`] and plans can be run
//! again. A tick neither waits, allocates nor fails, whatever plan and time it is given, and its commands keep to the
//! limits on every rung of the ladder.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::{CommandEngine, CommandStatus};
use crate::interpolation::{InterpolationConfig, InterpolationError, Interpolations};
use crate::limiter::{LimitCounts, LimitFlags, Limiter};
use crate::limits::{LimitsConfig, LimitsError};
use crate::orientation::{OrientationError, Orientations};
use crate::rotation::OrientationColumns;
use crate::start::{StartConfig, StartConfigError, StartFrom};
use crate::supervisor::{HealthInputs, SafetyReason, SafetyState, Situation, Supervisor};
use crate::timeline::Plan;
use crate::watchdog::{WatchdogConfig, WatchdogError};

/// How commands are formed, limited and watched.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ControllerConfig {
    /// How a command lies between the actions of a plan.
    pub interpolation: InterpolationConfig,
    /// The numbers of the action that are orientations.
    pub orientations: Vec<OrientationColumns>,
    /// Position, velocity, acceleration, jerk.
    pub limits: LimitsConfig,
    /// What is watched, and what follows.
    pub watchdog: WatchdogConfig,
    /// How a motion begins.
    pub start: StartConfig,
    /// Where the robot rests, `[Da]` in the action's units; empty for nowhere.
    pub home: Vec<f64>,
}

/// Why a controller could not be made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ControllerError {
    /// `[control.limits]`.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// `control.interpolation`.
    #[error(transparent)]
    Interpolation(#[from] InterpolationError),
    /// `control.orientations`.
    #[error(transparent)]
    Orientations(#[from] OrientationError),
    /// `[control.watchdog]`.
    #[error(transparent)]
    Watchdog(#[from] WatchdogError),
    /// `[control.start]` or `control.home`.
    #[error(transparent)]
    Start(#[from] StartConfigError),
}

/// What a tick is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TickInputs {
    /// Periods since the loop began.
    pub index: u64,
    /// When the tick was due, in nanoseconds.
    pub deadline_ns: u64,
    /// When it was woken, in nanoseconds.
    pub now_ns: u64,
    /// What is known about the rest of the program.
    pub facts: HealthInputs,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TickOutput {
    /// Where the watchdog stands.
    pub rung: SafetyState,
    /// Why it is not running.
    pub cause: SafetyReason,
    /// Whether there is a command to send.
    pub publish: bool,
    /// Whether the command has come to rest, on the rungs that stop.
    pub at_rest: bool,
    /// Which limits the plan would have broken.
    pub interventions: LimitFlags,
    /// The stream that the command belongs to.
    pub stream: u32,
    /// The plan that it comes from, by its count; the last one where none is followed.
    pub chunk: u64,
    /// Position in that plan; may lie beyond the committed ones, of which the last is held then.
    pub position: u64,
    /// Whether the position is beyond the committed ones.
    pub late: bool,
    /// Whether the command follows no plan although the rung is running: the last motion comes to rest, or commands go to
    /// where the robot is before the next one begins.
    pub between_motions: bool,
}

/// A motion that was refused because its plan begins too far from the robot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FarStart {
    /// The number of the action that is farthest beyond its bound, from 0.
    pub column: usize,
    /// Where the robot was measured.
    pub measured: f64,
    /// Where the plan begins.
    pub planned: f64,
    /// `control.start.farthest` of this number.
    pub farthest: f64,
}

/// Turns plans into commands that can be sent to a robot.
///
/// Consecutive commands differ by no more than the limits allow, and the first one differs by no more from where the robot
/// was measured, whatever plans, streams and requests come: the limiter is started once, at the first measured position, and
/// never moved again. A motion of another stream, or one after a stop, begins where the robot is measured then: commands go
/// there first, under the limits and still under the last stream's number, so that whoever put the robot elsewhere does not
/// follow them.
#[derive(Debug)]
pub struct Controller {
    engine: CommandEngine,
    limiter: Limiter,
    supervisor: Supervisor,
    from: StartFrom,
    farthest: Vec<f64>,
    home: Vec<f64>,
    /// The stream of the motion that is followed; none before it has begun and once it has ended.
    motion: Option<u32>,
    /// The stream that commands are sent under; none before the first.
    stream: Option<u32>,
    /// Where the next motion begins, while commands go there.
    approach: Option<u32>,
    target: Vec<f64>,
    far_start: Option<FarStart>,
    chunk: u64,
    position: u64,
    reference: Vec<f64>,
    at_rest: Vec<f64>,
    command: Vec<f64>,
}

impl Controller {
    /// A controller for actions of `action_size` numbers that is ticked every `period_ns` nanoseconds.
    ///
    /// # Errors
    /// A limit, an orientation, a start or a time of the watchdog that is out of its range; each names its key.
    pub fn new(
        config: &ControllerConfig,
        action_size: usize,
        period_ns: u64,
    ) -> Result<Self, ControllerError> {
        let orientations = Orientations::new(&config.orientations, action_size)?;
        let limiter = Limiter::new(&config.limits, &orientations, period_ns)?;
        check_home(
            &config.home,
            &limiter,
            !orientations.groups().is_empty(),
            action_size,
        )?;
        let interpolations = Interpolations::new(&config.interpolation, &orientations)?;
        let engine = CommandEngine::with_orientations(interpolations, orientations);
        Ok(Self {
            engine,
            limiter,
            supervisor: Supervisor::new(&config.watchdog)?,
            from: config.start.from.unwrap_or(StartFrom::Plan),
            farthest: config.start.bounds(action_size)?,
            home: config.home.clone(),
            motion: None,
            stream: None,
            approach: None,
            target: vec![0.0; action_size],
            far_start: None,
            chunk: 0,
            position: 0,
            reference: vec![0.0; action_size],
            at_rest: vec![0.0; action_size],
            command: vec![0.0; action_size],
        })
    }

    /// One period. `plan` is the newest, of the action size that the controller was made for; another counts as none.
    pub fn tick(&mut self, inputs: &TickInputs, plan: Option<&Plan>) -> TickOutput {
        let plan = plan.filter(|plan| plan.header().action_size == self.command.len());
        let situation = Situation {
            start: plan.map_or(Ok(()), |plan| self.check_start(plan)),
            located: !self.home.is_empty()
                && (self.limiter.is_started() || plan.is_some_and(|plan| self.is_located(plan))),
            at_home: self.is_at_home(),
        };
        let rung = self
            .supervisor
            .judge(inputs.now_ns, &inputs.facts, plan, situation);
        let cause = self.supervisor.cause();
        let mut step = None;
        let mut followed = None;
        match (rung, plan) {
            (SafetyState::Running, Some(plan)) if cause == SafetyReason::Homing => {
                step = self.go_home(plan)
            }
            (SafetyState::Running | SafetyState::Continuing, Some(plan)) => {
                (step, followed) = self.follow(plan, inputs.now_ns);
            }
            _ => {}
        }
        if matches!(
            rung,
            SafetyState::Waiting | SafetyState::SafeStop | SafetyState::EmergencyStop
        ) {
            self.motion = None;
        }
        let interventions = step.unwrap_or_else(|| self.stop(inputs.now_ns));
        TickOutput {
            rung,
            cause,
            publish: self.stream.is_some(),
            at_rest: step.is_none() && self.limiter.is_at_rest(),
            interventions,
            stream: self.stream.unwrap_or_default(),
            chunk: self.chunk,
            position: self.position,
            late: followed.unwrap_or(false),
            between_motions: rung <= SafetyState::Continuing
                && rung != SafetyState::Waiting
                && followed.is_none()
                && cause != SafetyReason::Homing,
        }
    }

    /// The command `[Da]` of the last tick, in the action's own units; means something once a tick said `publish`.
    #[must_use]
    pub fn command(&self) -> &[f64] {
        &self.command
    }

    /// The watchdog.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// How often the limits changed a command so far.
    #[must_use]
    pub fn limit_counts(&self) -> LimitCounts {
        self.limiter.counts()
    }

    /// The start that was refused last, for as long as the cause is [`SafetyReason::FarStart`].
    #[must_use]
    pub fn far_start(&self) -> Option<FarStart> {
        self.far_start
    }

    /// The command on the plan, or on the way to where its motion begins; and, on the plan, whether it is late.
    fn follow(&mut self, plan: &Plan, now_ns: u64) -> (Option<LimitFlags>, Option<bool>) {
        let header = plan.header();
        if self.motion != Some(header.stream) {
            match self.enter(plan) {
                Entry::Begun => {}
                Entry::Approach(interventions) => return (Some(interventions), None),
                Entry::Rest => return (None, None),
            }
        }
        let status = self.engine.command(Some(plan), now_ns, &mut self.reference);
        let velocity = self.engine.velocity();
        let interventions = self
            .limiter
            .follow(&self.reference, velocity, &mut self.command);
        self.chunk = header.chunk;
        let (position, late) = match status {
            CommandStatus::Idle | CommandStatus::Early => (0, false),
            CommandStatus::Active { position } => (position, false),
            CommandStatus::Late { position } => (position, true),
        };
        self.position = position as u64;
        (Some(interventions), Some(late))
    }

    /// Begins a motion, or goes on towards where it begins.
    fn enter(&mut self, plan: &Plan) -> Entry {
        let stream = plan.header().stream;
        if !self.limiter.is_started() {
            if !self.locate(plan) {
                return Entry::Rest;
            }
        } else if self.approach != Some(stream) {
            // The last motion ends first.
            if !self.limiter.is_at_rest() {
                self.approach = None;
                return Entry::Rest;
            }
            self.approach = Some(stream);
            place(plan, &mut self.target);
        }
        if !self.limiter.is_near(&self.target) {
            let interventions = self
                .limiter
                .follow(&self.target, &self.at_rest, &mut self.command);
            return Entry::Approach(interventions);
        }
        self.engine.reset();
        self.approach = None;
        self.motion = Some(stream);
        self.stream = Some(stream);
        Entry::Begun
    }

    /// Starts the limiter where the robot is; says whether that is known and allowed.
    fn locate(&mut self, plan: &Plan) -> bool {
        place(plan, &mut self.reference);
        if !self.is_located(plan) || self.limiter.start(&self.reference).is_err() {
            return false;
        }
        self.command.copy_from_slice(&self.reference);
        self.target.copy_from_slice(&self.reference);
        true
    }

    /// Whether a plan says where the robot is, as far as that is asked for.
    fn is_located(&self, plan: &Plan) -> bool {
        self.from == StartFrom::Plan || plan.measured().is_some()
    }

    /// What speaks against a plan's motion, if it has not begun.
    fn check_start(&mut self, plan: &Plan) -> Result<(), SafetyReason> {
        if self.motion == Some(plan.header().stream) {
            return Ok(());
        }
        if !self.is_located(plan) {
            return Err(SafetyReason::NotMeasured);
        }
        place(plan, &mut self.reference);
        if self.limiter.check_start(&self.reference).is_err() {
            return Err(SafetyReason::OutsideLimits);
        }
        self.far_start = self.farthest_from(plan);
        match self.far_start {
            Some(_) => Err(SafetyReason::FarStart),
            None => Ok(()),
        }
    }

    /// The number of the action that begins farthest beyond its bound.
    fn farthest_from(&self, plan: &Plan) -> Option<FarStart> {
        let (measured, first) = (plan.measured()?, plan.action(0)?);
        let excess = |start: &FarStart| (start.planned - start.measured).abs() / start.farthest;
        let starts = measured.iter().zip(first).zip(&self.farthest).enumerate();
        starts
            .map(|(column, ((&measured, &planned), &farthest))| FarStart {
                column,
                measured: f64::from(measured),
                planned: f64::from(planned),
                farthest,
            })
            .filter(|start| excess(start) > 1.0)
            .max_by(|one, other| excess(one).total_cmp(&excess(other)))
    }

    fn go_home(&mut self, plan: &Plan) -> Option<LimitFlags> {
        if !self.limiter.is_started() && !self.locate(plan) {
            return None;
        }
        self.stream = self.stream.or(Some(plan.header().stream));
        // The motion after it begins anew, where the robot is then.
        (self.motion, self.approach) = (None, None);
        self.engine.reset();
        Some(
            self.limiter
                .follow(&self.home, &self.at_rest, &mut self.command),
        )
    }

    fn is_at_home(&self) -> bool {
        let within = |(command, home): (&f64, &f64)| {
            (command - home).abs() <= HOME_TOLERANCE * home.abs().max(1.0)
        };
        !self.home.is_empty()
            && self.limiter.is_started()
            && self.limiter.is_at_rest()
            && self.command.iter().zip(&self.home).all(within)
    }

    fn stop(&mut self, now_ns: u64) -> LimitFlags {
        self.approach = None;
        self.engine.command(None, now_ns, &mut self.reference);
        if self.stream.is_some() {
            self.limiter.brake(&mut self.command);
        }
        LimitFlags::NONE
    }
}

/// How near commands come to home, relative to its numbers where these are above 1.
const HOME_TOLERANCE: f64 = 1e-6;

/// What became of a motion that should begin.
enum Entry {
    Begun,
    /// Commands go to where it begins.
    Approach(LimitFlags),
    /// The last one comes to rest first.
    Rest,
}

/// Writes where a plan's motion begins: where the robot was measured, else the plan's first action.
fn place(plan: &Plan, out: &mut [f64]) {
    let first = plan
        .measured()
        .or_else(|| plan.action(0))
        .unwrap_or_default();
    for (slot, value) in out.iter_mut().zip(first) {
        *slot = f64::from(*value);
    }
}

fn check_home(
    home: &[f64],
    limiter: &Limiter,
    orientations: bool,
    action_size: usize,
) -> Result<(), StartConfigError> {
    if home.is_empty() {
        return Ok(());
    }
    if home.len() != action_size {
        return Err(StartConfigError::Length {
            key: "home",
            expected: action_size,
            found: home.len(),
        });
    }
    if !limiter.has_speeds() {
        return Err(StartConfigError::HomeSpeed { orientations });
    }
    Ok(limiter.check_start(home)?)
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
