//! The watchdog: on which rung of the ladder the control loop stands, from continuing to a safe stop.
//!
//! Clock-free: it is told the time and what is known, once a period, and answers with a [`SafetyState`]. It goes up the ladder at
//! once and down only when everything it watches is well again. It arms after the first valid observation *and* a plan for
//! it; an emergency stop is left by an explicit request only, a safe stop as [`Rearm`] says. All arithmetic on times
//! saturates, so a clock that steps does no harm.

use serde::{Deserialize, Serialize};

use crate::timeline::Plan;
use crate::watchdog::{LatePlan, Rearm, WatchdogConfig, WatchdogError};

/// What the control loop does, from well to worst.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum SafetyState {
    /// Not armed: no valid observation, or no plan for it yet. Nothing is commanded.
    #[default]
    Waiting,
    /// On the plan.
    Running,
    /// The plan is late; its committed positions are followed to their end.
    Continuing,
    /// Brought to rest under the limits, and held there until everything is well again.
    Holding,
    /// Brought to rest and held, and the runtime says so; left as [`Rearm`] says.
    SafeStop,
    /// A person or a program asked for the stop. Left by an explicit request only.
    EmergencyStop,
}

/// Why the loop is not [`SafetyState::Running`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafetyReason {
    /// Nothing is wrong.
    #[default]
    None,
    /// No valid observation yet, since the start or since re-arming.
    NoObservation,
    /// No plan yet, since the start, the last reset or re-arming.
    NoPlan,
    /// The robot is where the limits allow no command.
    OutsideLimits,
    /// The newest plan is older than allowed.
    LatePlan,
    /// The newest valid observation is older than allowed.
    StaleObservation,
    /// The policy thread has ended.
    PolicyThread,
    /// The zenoh session is gone.
    Session,
    /// The control loop missed a period, and `control.missed` is `fault`.
    MissedPeriod,
    /// A stop was asked for.
    StopRequest,
    /// The program is ending.
    Shutdown,
    /// Nobody subscribes to commands any more.
    RobotGone,
    /// The plan begins farther from the robot than allowed.
    FarStart,
    /// It is not known where the robot is.
    NotMeasured,
    /// Another runtime commands the same robot.
    TwinRuntime,
    /// No keeper of stops answers, and one is asked for.
    NoStopKeeper,
    /// A pause was asked for.
    Pause,
    /// On the way home.
    Homing,
    /// At home.
    Home,
}

impl SafetyReason {
    /// A sentence for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "all is well",
            Self::NoObservation => "no valid observation yet",
            Self::NoPlan => "no plan yet",
            Self::OutsideLimits => "the robot is outside control.limits; move it inside",
            Self::LatePlan => "no new plan within control.watchdog.plan_timeout_ms",
            Self::StaleObservation => {
                "no valid observation within control.watchdog.observation_timeout_ms"
            }
            Self::PolicyThread => "the policy thread has ended",
            Self::Session => "the zenoh session is lost",
            Self::MissedPeriod => "a control period was missed, and control.missed is fault",
            Self::StopRequest => {
                "an emergency stop was requested; kinestream stop --rearm leaves it"
            }
            Self::Shutdown => "the program is ending",
            Self::RobotGone => "nobody subscribes to the commands any more",
            Self::FarStart => {
                "the plan begins farther from the robot than control.start.farthest; move the robot there"
            }
            Self::NotMeasured => {
                "it is not known where the robot is; control.start.columns names the numbers of the observation that say so"
            }
            Self::TwinRuntime => {
                "another runtime commands this robot; end one of them, or give it another name"
            }
            Self::NoStopKeeper => {
                "no keeper of stops answers on cmd/estop, and control.start.keeper asks for one"
            }
            Self::Pause => "paused; kinestream resume goes on",
            Self::Homing => "on the way to control.home",
            Self::Home => "at control.home; kinestream resume goes on",
        }
    }
}

/// What is known in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthInputs {
    /// When the newest valid observation arrived, in nanoseconds; 0 for none yet.
    pub observation_ns: u64,
    /// Whether the policy thread lives.
    pub policy_alive: bool,
    /// Whether the zenoh session is open.
    pub session_alive: bool,
    /// Whether a period was missed, where that counts as a fault.
    pub missed_period: bool,
    /// Whether the program is ending.
    pub ending: bool,
    /// How many stops were asked for since the start.
    pub stop_requests: u64,
    /// How many times re-arming was asked for since the start.
    pub rearm_requests: u64,
    /// Whether there was a robot that subscribed to commands, and is none any more.
    pub robot_gone: bool,
    /// Whether another runtime commands the same robot.
    pub twin_runtime: bool,
    /// Whether a keeper of stops is asked for and none answers.
    pub stop_keeper_missing: bool,
    /// What commands are to do while nothing is wrong.
    pub activity: Activity,
}

/// What commands are to do while nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Follow the plan.
    #[default]
    Policy,
    /// Come to rest and stay there.
    Pause,
    /// Go to `control.home` and stay there.
    Home,
}

/// What the rest of the controller says before the watchdog judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Whether the plan's motion goes on or can begin, or what speaks against it.
    pub start: Result<(), SafetyReason>,
    /// Whether it is known where the robot is, so that it can go home.
    pub located: bool,
    /// Whether commands are at home and at rest.
    pub at_home: bool,
}

/// The watchdog's state.
#[derive(Debug, Clone)]
pub struct Supervisor {
    observation_timeout_ns: u64,
    plan_timeout_ns: u64,
    safe_stop_after_ns: u64,
    late_plan: LatePlan,
    rearm: Rearm,
    rung: SafetyState,
    cause: SafetyReason,
    since_ns: u64,
    /// When holding began, as long as it lasts.
    holding_since_ns: Option<u64>,
    /// Observations and plans from before this do not arm.
    fresh_after_ns: u64,
    stop_requests: u64,
    rearm_requests: u64,
    /// The last period in which a plan was followed, since armed.
    followed_ns: Option<u64>,
    longest_without_ns: u64,
    entered: [u64; 6],
}

impl Supervisor {
    /// A watchdog that waits. Checks its configuration.
    ///
    /// # Errors
    /// A time that is negative, longer than an hour, or no number.
    pub fn new(config: &WatchdogConfig) -> Result<Self, WatchdogError> {
        config.check()?;
        // 0 stands for never.
        let nanoseconds = |ms: f64| {
            if ms > 0.0 {
                (ms * 1e6) as u64
            } else {
                u64::MAX
            }
        };
        Ok(Self {
            observation_timeout_ns: nanoseconds(config.observation_timeout_ms),
            plan_timeout_ns: nanoseconds(config.plan_timeout_ms),
            safe_stop_after_ns: nanoseconds(config.safe_stop_after_ms),
            late_plan: config.late_plan,
            rearm: config.rearm,
            rung: SafetyState::Waiting,
            cause: SafetyReason::NoObservation,
            since_ns: 0,
            holding_since_ns: None,
            fresh_after_ns: 0,
            stop_requests: 0,
            rearm_requests: 0,
            followed_ns: None,
            longest_without_ns: 0,
            entered: [0; 6],
        })
    }

    /// The rung for the period at `now_ns`, with the newest plan if there is one.
    pub fn judge(
        &mut self,
        now_ns: u64,
        facts: &HealthInputs,
        plan: Option<&Plan>,
        situation: Situation,
    ) -> SafetyState {
        let stopped = facts.stop_requests > self.stop_requests;
        let rearmed = facts.rearm_requests > self.rearm_requests;
        self.stop_requests = self.stop_requests.max(facts.stop_requests);
        self.rearm_requests = self.rearm_requests.max(facts.rearm_requests);
        let (rung, cause) = if stopped {
            // Wins over a request to re-arm of the same period.
            (SafetyState::EmergencyStop, SafetyReason::StopRequest)
        } else if rearmed && self.rung >= SafetyState::SafeStop {
            self.fresh_after_ns = now_ns;
            (SafetyState::Waiting, SafetyReason::NoObservation)
        } else {
            self.next(now_ns, facts, plan, situation)
        };
        self.enter(now_ns, rung, cause);
        rung
    }

    /// Why the loop is not running.
    #[must_use]
    pub fn cause(&self) -> SafetyReason {
        self.cause
    }

    /// When the present rung was entered, in nanoseconds.
    #[must_use]
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// How often each rung was entered, in the order of [`SafetyState`].
    #[must_use]
    pub fn entered(&self) -> [u64; 6] {
        self.entered
    }

    /// The longest time without a command that follows a plan, from arming to the next stop, in nanoseconds.
    #[must_use]
    pub fn longest_without_ns(&self) -> u64 {
        self.longest_without_ns
    }

    fn next(
        &self,
        now_ns: u64,
        facts: &HealthInputs,
        plan: Option<&Plan>,
        situation: Situation,
    ) -> (SafetyState, SafetyReason) {
        let obstacle = || self.obstacle(now_ns, facts, plan, situation);
        match self.rung {
            SafetyState::EmergencyStop => (self.rung, self.cause),
            SafetyState::SafeStop if self.rearm == Rearm::Request => (self.rung, self.cause),
            SafetyState::Waiting => match obstacle() {
                (SafetyState::Running, cause) => (SafetyState::Running, cause),
                (SafetyState::Continuing, _) => (SafetyState::Running, SafetyReason::None),
                (_, cause) => (SafetyState::Waiting, cause),
            },
            SafetyState::SafeStop => match obstacle() {
                (SafetyState::Running, cause) => (SafetyState::Running, cause),
                _ => (self.rung, self.cause),
            },
            SafetyState::Running | SafetyState::Continuing | SafetyState::Holding => {
                let (rung, cause) = obstacle();
                let held_ns = self
                    .holding_since_ns
                    .map_or(0, |since| now_ns.saturating_sub(since));
                match rung {
                    // The plan was taken back, as between two episodes: whoever did that knows that it rests.
                    _ if cause == SafetyReason::NoPlan => (SafetyState::Waiting, cause),
                    // Rest was asked for: it is no fault, however long it lasts.
                    _ if matches!(cause, SafetyReason::Pause | SafetyReason::Home) => (rung, cause),
                    // What was held is taken up again by a plan that is on time only.
                    SafetyState::Continuing if self.rung == SafetyState::Holding => {
                        self.hold(held_ns, cause)
                    }
                    SafetyState::Holding => self.hold(held_ns, cause),
                    _ => (rung, cause),
                }
            }
        }
    }

    fn hold(&self, held_ns: u64, cause: SafetyReason) -> (SafetyState, SafetyReason) {
        if held_ns >= self.safe_stop_after_ns {
            (SafetyState::SafeStop, cause)
        } else {
            (SafetyState::Holding, cause)
        }
    }

    /// The rung that the facts of this period alone ask for.
    fn obstacle(
        &self,
        now_ns: u64,
        facts: &HealthInputs,
        plan: Option<&Plan>,
        situation: Situation,
    ) -> (SafetyState, SafetyReason) {
        if facts.ending {
            return (SafetyState::SafeStop, SafetyReason::Shutdown);
        }
        if facts.missed_period {
            return (SafetyState::SafeStop, SafetyReason::MissedPeriod);
        }
        if facts.twin_runtime {
            return (SafetyState::SafeStop, SafetyReason::TwinRuntime);
        }
        if facts.stop_keeper_missing {
            return (SafetyState::Holding, SafetyReason::NoStopKeeper);
        }
        if facts.activity == Activity::Pause {
            return (SafetyState::Holding, SafetyReason::Pause);
        }
        if !facts.policy_alive {
            return (SafetyState::Holding, SafetyReason::PolicyThread);
        }
        if !facts.session_alive {
            return (SafetyState::Holding, SafetyReason::Session);
        }
        if facts.robot_gone {
            return (SafetyState::Holding, SafetyReason::RobotGone);
        }
        if facts.observation_ns == 0 || facts.observation_ns < self.fresh_after_ns {
            return (SafetyState::Holding, SafetyReason::NoObservation);
        }
        let Some(plan) = plan.filter(|plan| plan.header().start_ns >= self.fresh_after_ns) else {
            return (SafetyState::Holding, SafetyReason::NoPlan);
        };
        if now_ns.saturating_sub(facts.observation_ns) > self.observation_timeout_ns {
            return (SafetyState::Holding, SafetyReason::StaleObservation);
        }
        if facts.activity == Activity::Home {
            return match situation {
                Situation { at_home: true, .. } => (SafetyState::Holding, SafetyReason::Home),
                Situation { located: true, .. } => (SafetyState::Running, SafetyReason::Homing),
                _ => (SafetyState::Holding, SafetyReason::NotMeasured),
            };
        }
        if let Err(cause) = situation.start {
            return (SafetyState::Holding, cause);
        }
        if now_ns.saturating_sub(plan.header().start_ns) <= self.plan_timeout_ns {
            return (SafetyState::Running, SafetyReason::None);
        }
        let rung = match self.late_plan {
            LatePlan::Continue if now_ns < plan.due_ns(plan.header().committed) => {
                SafetyState::Continuing
            }
            LatePlan::Continue | LatePlan::Hold => SafetyState::Holding,
            LatePlan::Stop => SafetyState::SafeStop,
        };
        (rung, SafetyReason::LatePlan)
    }

    fn enter(&mut self, now_ns: u64, rung: SafetyState, cause: SafetyReason) {
        if rung != self.rung {
            self.since_ns = now_ns;
            self.entered[rung as usize] += 1;
        }
        self.holding_since_ns = match rung {
            SafetyState::Holding => Some(self.holding_since_ns.unwrap_or(now_ns)),
            _ => None,
        };
        match rung {
            SafetyState::Running | SafetyState::Continuing => {
                self.measure_gap(now_ns);
                self.followed_ns = Some(now_ns);
            }
            SafetyState::Holding => self.measure_gap(now_ns),
            // Standing still is what is wanted there.
            SafetyState::Waiting | SafetyState::SafeStop | SafetyState::EmergencyStop => {
                self.followed_ns = None
            }
        }
        self.rung = rung;
        self.cause = cause;
    }

    fn measure_gap(&mut self, now_ns: u64) {
        let gap_ns = self
            .followed_ns
            .map_or(0, |last| now_ns.saturating_sub(last));
        self.longest_without_ns = self.longest_without_ns.max(gap_ns);
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
