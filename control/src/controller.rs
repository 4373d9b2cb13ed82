//! One period of the control loop: watchdog, command, limits, in this order.
//!
//! Clock-free, and the same inputs give the same commands, bit for bit: a recording of [`TickInputs`] and plans can be run
//! again. A tick neither waits, allocates nor fails, whatever plan and time it is given, and its commands keep to the
//! limits on every rung of the ladder.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::{CommandEngine, CommandStatus};
use crate::curve::Interpolation;
use crate::limiter::{Interventions, LimitCounts, Limiter};
use crate::limits::{LimitsConfig, LimitsError};
use crate::orientation::{OrientationError, Orientations};
use crate::supervisor::{Cause, Facts, Rung, Supervisor};
use crate::timeline::Plan;
use crate::watchdog::{WatchdogConfig, WatchdogError};

/// How commands are formed, limited and watched.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ControllerConfig {
    /// How a command lies between the actions of a plan.
    pub interpolation: Interpolation,
    /// Groups of four numbers of the action that are a quaternion x, y, z, w.
    pub orientations: Vec<[usize; 4]>,
    /// Position, velocity, acceleration, jerk.
    pub limits: LimitsConfig,
    /// What is watched, and what follows.
    pub watchdog: WatchdogConfig,
}

/// Why a controller could not be made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ControllerError {
    /// `[control.limits]`.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// `control.orientations`.
    #[error(transparent)]
    Orientations(#[from] OrientationError),
    /// `[control.watchdog]`.
    #[error(transparent)]
    Watchdog(#[from] WatchdogError),
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
    pub facts: Facts,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TickOutput {
    /// Where the watchdog stands.
    pub rung: Rung,
    /// Why it is not running.
    pub cause: Cause,
    /// Whether there is a command to send.
    pub publish: bool,
    /// Whether the command has come to rest, on the rungs that stop.
    pub at_rest: bool,
    /// Which limits the plan would have broken.
    pub interventions: Interventions,
    /// The stream that the command belongs to.
    pub stream: u32,
    /// The plan that it comes from, by its count; the last one where none is followed.
    pub chunk: u64,
    /// Position in that plan; may lie beyond the committed ones, of which the last is held then.
    pub position: u64,
    /// Whether the position is beyond the committed ones.
    pub late: bool,
}

/// Turns plans into commands that can be sent to a robot.
#[derive(Debug)]
pub struct Controller {
    engine: CommandEngine,
    limiter: Limiter,
    supervisor: Supervisor,
    /// The motion that commands belong to; none before the first plan.
    stream: Option<u32>,
    chunk: u64,
    position: u64,
    reference: Vec<f64>,
    command: Vec<f64>,
}

impl Controller {
    /// A controller for actions of `action_size` numbers that is ticked every `period_ns` nanoseconds.
    ///
    /// # Errors
    /// A limit, an orientation or a time of the watchdog that is out of its range; each names its key.
    pub fn new(
        config: &ControllerConfig,
        action_size: usize,
        period_ns: u64,
    ) -> Result<Self, ControllerError> {
        let orientations = Orientations::new(&config.orientations, action_size)?;
        let limiter = Limiter::new(&config.limits, &orientations, period_ns)?;
        let engine = CommandEngine::with_orientations(config.interpolation, orientations);
        Ok(Self {
            engine,
            limiter,
            supervisor: Supervisor::new(&config.watchdog)?,
            stream: None,
            chunk: 0,
            position: 0,
            reference: vec![0.0; action_size],
            command: vec![0.0; action_size],
        })
    }

    /// One period. `plan` is the newest, of the action size that the controller was made for; another counts as none.
    pub fn tick(&mut self, inputs: &TickInputs, plan: Option<&Plan>) -> TickOutput {
        let plan = plan.filter(|plan| plan.header().action_size == self.command.len());
        let can_begin = plan.is_none_or(|plan| self.can_begin(plan));
        let rung = self
            .supervisor
            .judge(inputs.now_ns, &inputs.facts, plan, can_begin);
        let followed = match (rung, plan) {
            (Rung::Running | Rung::Continuing, Some(plan)) => self.follow(plan, inputs.now_ns),
            _ => None,
        };
        let (interventions, late) = followed.unwrap_or_else(|| (self.stop(inputs.now_ns), false));
        TickOutput {
            rung,
            cause: self.supervisor.cause(),
            publish: self.stream.is_some(),
            at_rest: followed.is_none() && self.limiter.is_at_rest(),
            interventions,
            stream: self.stream.unwrap_or_default(),
            chunk: self.chunk,
            position: self.position,
            late,
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

    /// The command on the plan, none where the motion before it has not come to rest yet.
    fn follow(&mut self, plan: &Plan, now_ns: u64) -> Option<(Interventions, bool)> {
        let header = plan.header();
        if self.stream != Some(header.stream) {
            // A new motion begins from where the robot is, and not before the last one has ended.
            if self.stream.is_some() && !self.limiter.is_at_rest() {
                return None;
            }
            self.begin(plan)?;
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
        Some((interventions, late))
    }

    /// Whether the motion of a plan goes on, or can begin from where the robot is.
    fn can_begin(&mut self, plan: &Plan) -> bool {
        if self.stream == Some(plan.header().stream) {
            return true;
        }
        self.place(plan);
        self.limiter.check_start(&self.reference).is_ok()
    }

    /// Writes where a plan's motion begins to `reference`: where the robot was measured, or the plan's first action.
    fn place(&mut self, plan: &Plan) {
        let first = plan
            .measured()
            .or_else(|| plan.action(0))
            .unwrap_or_default();
        for (slot, value) in self.reference.iter_mut().zip(first) {
            *slot = f64::from(*value);
        }
    }

    fn begin(&mut self, plan: &Plan) -> Option<()> {
        self.engine.reset();
        self.place(plan);
        self.limiter.start(&self.reference).ok()?;
        self.command.copy_from_slice(&self.reference);
        self.stream = Some(plan.header().stream);
        Some(())
    }

    fn stop(&mut self, now_ns: u64) -> Interventions {
        self.engine.command(None, now_ns, &mut self.reference);
        if self.stream.is_some() {
            self.limiter.brake(&mut self.command);
        }
        Interventions::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PerJoint;
    use crate::timeline::PlanHeader;

    const MS: u64 = 1_000_000;
    const PERIOD: u64 = 2 * MS;
    const START: u64 = 1_000 * MS;

    fn controller() -> Controller {
        let all = |limit| Some(PerJoint::All(limit));
        let config = ControllerConfig {
            limits: LimitsConfig {
                lower: all(0.0),
                upper: all(100.0),
                velocity: all(50.0),
                acceleration: all(500.0),
                jerk: all(20_000.0),
                ..LimitsConfig::default()
            },
            ..ControllerConfig::default()
        };
        Controller::new(&config, 1, PERIOD).unwrap()
    }

    fn plan(stream: u32, start_ns: u64, to: f32, measured: f32) -> Plan {
        let header = PlanHeader {
            stream,
            chunk: start_ns,
            observation_sequence: 1,
            start_ns,
            period_ns: 100 * MS,
            action_size: 1,
            committed: 4,
        };
        let plan = Plan::new(header, vec![to; 8]).unwrap();
        plan.with_measured(vec![measured]).unwrap()
    }

    fn inputs(now_ns: u64) -> TickInputs {
        TickInputs {
            index: now_ns / PERIOD,
            deadline_ns: now_ns,
            now_ns,
            facts: Facts {
                observation_ns: START,
                policy_alive: true,
                session_alive: true,
                ..Facts::default()
            },
        }
    }

    #[test]
    fn nothing_is_said_before_the_first_plan() {
        let mut controller = controller();
        let output = controller.tick(&inputs(START), None);
        assert_eq!((output.rung, output.publish), (Rung::Waiting, false));
        assert_eq!(output.cause, Cause::NoPlan);
        assert!(output.at_rest);
    }

    #[test]
    fn a_motion_begins_where_the_robot_is() {
        let mut controller = controller();
        let plan = plan(1, START, 90.0, 40.0);
        let output = controller.tick(&inputs(START), Some(&plan));
        assert_eq!((output.rung, output.publish), (Rung::Running, true));
        assert!(!output.interventions.is_empty());
        assert!((controller.command()[0] - 40.0).abs() < 1e-3);
        for tick in 1..150 {
            controller.tick(&inputs(START + tick * PERIOD), Some(&plan));
        }
        let travelled = controller.command()[0] - 40.0;
        assert!((1.0..=50.0 * 0.3).contains(&travelled), "{travelled}");
    }

    #[test]
    fn a_robot_outside_its_limits_is_not_moved() {
        let mut controller = controller();
        for measured in [-1.0, 101.0] {
            let output = controller.tick(&inputs(START), Some(&plan(1, START, 50.0, measured)));
            assert_eq!((output.rung, output.publish), (Rung::Waiting, false));
            assert_eq!(output.cause, Cause::OutsideLimits);
        }
        let output = controller.tick(&inputs(START), Some(&plan(1, START, 50.0, 50.0)));
        assert_eq!(output.rung, Rung::Running);
    }

    #[test]
    fn a_new_stream_waits_until_the_last_one_rests() {
        let mut controller = controller();
        let first = plan(1, START, 90.0, 10.0);
        for tick in 0..100 {
            controller.tick(&inputs(START + tick * PERIOD), Some(&first));
        }
        let second = plan(2, START + 200 * MS, 20.0, 15.0);
        let mut last = controller.command()[0];
        let mut waited = 0;
        loop {
            let now_ns = START + 200 * MS + waited * PERIOD;
            let output = controller.tick(&inputs(now_ns), Some(&second));
            let command = controller.command()[0];
            if output.stream == 2 {
                // From where the robot was measured.
                assert!((command - 15.0).abs() < 1e-2, "{command}");
                break;
            }
            assert_eq!(output.stream, 1);
            assert!(command - last <= 50.0 * 0.002 + 1e-9);
            last = command;
            waited += 1;
            assert!(waited < 200, "never began");
        }
        assert!(waited > 10, "{waited}");
    }

    #[test]
    fn another_action_size_is_no_plan() {
        let mut controller = controller();
        let wide = PlanHeader {
            action_size: 2,
            ..*plan(1, START, 1.0, 1.0).header()
        };
        let wide = Plan::new(wide, vec![0.0; 8]).unwrap();
        let output = controller.tick(&inputs(START), Some(&wide));
        assert_eq!((output.rung, output.cause), (Rung::Waiting, Cause::NoPlan));
    }
}
