//! `[control]`: how commands are formed, limited and watched.

use anyhow::{Result, ensure};
use kinestream_control::{
    Controller, ControllerConfig, InterpolationConfig, LimitsConfig, MissPolicy,
    OrientationColumns, RealtimeConfig, StartConfig, StartFrom, WatchdogConfig,
};
use kinestream_policy::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Numbers of an action at most.
pub const MOST_NUMBERS: usize = 64;

/// How commands are formed, limited and watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Commands per second, above 0, at most 10,000.
    pub rate_hz: f64,
    /// hold, linear or cubic: how a command lies between the actions of a plan; a list has one for each number of the action,
    /// so that a gripper may be held where joints move on lines.
    pub interpolation: InterpolationConfig,
    /// skip, catch_up or fault: what follows when a period was missed.
    pub missed: MissPolicy,
    /// Columns of the action that are an orientation, a list for each: 4 are a quaternion x, y, z, w, 3 a rotation vector in
    /// rad, 1 an angle, 6 the first two columns of a rotation matrix. Commands turn between two of them by the shorter way.
    pub orientations: Vec<OrientationColumns>,
    /// What the control thread asks of the operating system.
    pub realtime: RealtimeConfig,
    /// Position, velocity, acceleration and jerk that no command exceeds.
    pub limits: LimitsConfig,
    /// What is watched, and what follows.
    pub watchdog: WatchdogConfig,
    /// How a motion begins.
    pub start: StartConfig,
    /// Where `kinestream home` leads the robot, one number for each of the action; absent for nowhere. Needs velocity limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub home: Vec<f64>,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            rate_hz: 100.0,
            interpolation: InterpolationConfig::default(),
            missed: MissPolicy::default(),
            orientations: Vec::new(),
            realtime: RealtimeConfig::default(),
            limits: LimitsConfig::default(),
            watchdog: WatchdogConfig::default(),
            start: StartConfig::default(),
            home: Vec::new(),
        }
    }
}

impl ControlConfig {
    /// The engine of the loop.
    pub fn controller(&self, action_size: usize) -> Result<Controller> {
        ensure!(
            (1..=MOST_NUMBERS).contains(&action_size),
            "actions have {action_size} numbers, commands carry 1 to {MOST_NUMBERS}"
        );
        ensure!(
            self.rate_hz > 0.0 && self.rate_hz <= 10_000.0,
            "control.rate_hz is {}, expected above 0, at most 10000",
            self.rate_hz
        );
        let config = ControllerConfig {
            interpolation: self.interpolation.clone(),
            orientations: self.orientations.clone(),
            limits: self.limits.clone(),
            watchdog: self.watchdog,
            start: self.start.clone(),
            home: self.home.clone(),
        };
        let period_ns = (1e9 / self.rate_hz).round() as u64;
        Ok(Controller::new(&config, action_size, period_ns)?)
    }

    /// The columns of the observation that say where the robot is, as `[control.start]` has it, else those of the plan's primer;
    /// none where motions begin at the plan.
    pub fn measured_columns(&self, policy: &Policy) -> Result<Option<Vec<usize>>> {
        let start = &self.start;
        let columns = match start.from {
            Some(StartFrom::Plan) => {
                ensure!(
                    start.columns.is_none() && start.farthest.is_none(),
                    "control.start.from is plan, which leaves no use for control.start.columns and farthest; leave them out"
                );
                return Ok(None);
            }
            _ => start
                .columns
                .clone()
                .or_else(|| policy.config().plan.primer_columns.clone()),
        };
        let (observed, actions) = (policy.observation_size(), policy.action_size());
        let Some(columns) = columns else {
            ensure!(
                start.from.is_none(),
                "control.start.from is measured, but nothing says where the robot is; control.start.columns names the \
                 numbers of the observation that are the action's present values"
            );
            ensure!(
                start.farthest.is_none(),
                "control.start.farthest needs control.start.columns, which say where the robot is"
            );
            return Ok(None);
        };
        ensure!(
            columns.len() == actions && columns.iter().all(|&column| column < observed),
            "control.start.columns is {columns:?}, expected {actions} columns, one for each number of the action, each \
             below {observed}, the numbers of an observation"
        );
        Ok(Some(columns))
    }

    /// What a person should know before this moves a robot, a sentence each.
    pub fn cautions(&self, action_size: usize, is_measured: bool) -> Vec<String> {
        let mut cautions = Vec::new();
        let turned = self.orientations.iter().map(|it| it.columns().len());
        let joints = action_size.saturating_sub(turned.sum());
        let turns = self.orientations.is_empty() || self.limits.angular_velocity.is_some();
        if (joints > 0 && self.limits.velocity.is_none()) || !turns {
            cautions.push(format!(
                "control.limits has no {}: a command may leap as far as the plan does",
                if turns {
                    "velocity"
                } else {
                    "angular_velocity"
                }
            ));
        }
        if !is_measured {
            cautions.push(
                "nothing says where the robot is, so a motion begins at the plan's first action: bring the robot there first, \
                 or name the numbers of the observation that say so in control.start.columns"
                    .to_owned(),
            );
        }
        cautions
    }
}
