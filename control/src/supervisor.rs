//! The watchdog: on which rung of the ladder the control loop stands, from continuing to a safe stop.
//!
//! Clock-free: it is told the time and what is known, once a period, and answers with a [`Rung`]. It goes up the ladder at
//! once and down only when everything it watches is well again. It arms after the first valid observation *and* a plan for
//! it; an emergency stop is left by an explicit request only, a safe stop as [`Rearm`] says. All arithmetic on times
//! saturates, so a clock that steps does no harm.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::timeline::Plan;

/// What the control loop does, from well to worst.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
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

/// Why the loop is not [`Rung::Running`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
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
}

impl Cause {
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
        }
    }
}

/// What a late plan does, table `[control.watchdog]`, key `late_plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatePlan {
    /// Its committed positions are followed to their end, then it is held.
    #[default]
    Continue,
    /// It is held at once.
    Hold,
    /// A safe stop.
    Stop,
}

/// How a safe stop is left, table `[control.watchdog]`, key `rearm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rearm {
    /// By an explicit request, as an emergency stop.
    #[default]
    Request,
    /// By itself, once everything is well again: for simulators and characters.
    Automatic,
}

/// Table `[control.watchdog]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchdogConfig {
    /// Longest time without a valid observation, in milliseconds; 0 for no watch.
    pub observation_timeout_ms: f64,
    /// Greatest age of the newest plan, from the observation that it answers, in milliseconds; 0 for no watch.
    pub plan_timeout_ms: f64,
    /// What a plan beyond that age does: continue, hold or stop.
    pub late_plan: LatePlan,
    /// Holding for longer than this many milliseconds becomes a safe stop; 0 for never.
    pub safe_stop_after_ms: f64,
    /// How a safe stop is left: request or automatic.
    pub rearm: Rearm,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self {
            observation_timeout_ms: 500.0,
            plan_timeout_ms: 500.0,
            late_plan: LatePlan::Continue,
            safe_stop_after_ms: 2000.0,
            rearm: Rearm::Request,
        }
    }
}

/// A time in the watchdog's table that is none.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("control.watchdog.{key} is {found}, expected 0 (no watch) to 3600000 milliseconds")]
pub struct WatchdogError {
    /// The key.
    pub key: &'static str,
    /// What stands there.
    pub found: f64,
}

impl WatchdogConfig {
    /// Checks the times.
    ///
    /// # Errors
    /// A time that is negative, longer than an hour, or no number.
    pub fn check(&self) -> Result<(), WatchdogError> {
        let times = [
            ("observation_timeout_ms", self.observation_timeout_ms),
            ("plan_timeout_ms", self.plan_timeout_ms),
            ("safe_stop_after_ms", self.safe_stop_after_ms),
        ];
        match times
            .into_iter()
            .find(|(_, found)| !(0.0..=3.6e6).contains(found))
        {
            Some((key, found)) => Err(WatchdogError { key, found }),
            None => Ok(()),
        }
    }
}

/// What is known in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
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
}

/// The watchdog's state.
#[derive(Debug, Clone)]
pub struct Supervisor {
    observation_timeout_ns: u64,
    plan_timeout_ns: u64,
    safe_stop_after_ns: u64,
    late_plan: LatePlan,
    rearm: Rearm,
    rung: Rung,
    cause: Cause,
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
            rung: Rung::Waiting,
            cause: Cause::NoObservation,
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

    /// The rung for the period at `now_ns`, with the newest plan if there is one, and whether its motion can begin or has.
    pub fn judge(
        &mut self,
        now_ns: u64,
        facts: &Facts,
        plan: Option<&Plan>,
        can_begin: bool,
    ) -> Rung {
        let stopped = facts.stop_requests > self.stop_requests;
        let rearmed = facts.rearm_requests > self.rearm_requests;
        self.stop_requests = self.stop_requests.max(facts.stop_requests);
        self.rearm_requests = self.rearm_requests.max(facts.rearm_requests);
        let (rung, cause) = if stopped {
            // Wins over a request to re-arm of the same period.
            (Rung::EmergencyStop, Cause::StopRequest)
        } else if rearmed && self.rung >= Rung::SafeStop {
            self.fresh_after_ns = now_ns;
            (Rung::Waiting, Cause::NoObservation)
        } else {
            self.next(now_ns, facts, plan, can_begin)
        };
        self.enter(now_ns, rung, cause);
        rung
    }

    /// Back to waiting for a new plan, as between two episodes. A stop stays a stop.
    pub fn begin(&mut self, now_ns: u64) {
        if self.rung < Rung::SafeStop {
            self.enter(now_ns, Rung::Waiting, Cause::NoPlan);
        }
    }

    /// Why the loop is not running.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// When the present rung was entered, in nanoseconds.
    #[must_use]
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// How often each rung was entered, in the order of [`Rung`].
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
        facts: &Facts,
        plan: Option<&Plan>,
        can_begin: bool,
    ) -> (Rung, Cause) {
        let obstacle = || self.obstacle(now_ns, facts, plan, can_begin);
        match self.rung {
            Rung::EmergencyStop => (self.rung, self.cause),
            Rung::SafeStop if self.rearm == Rearm::Request => (self.rung, self.cause),
            Rung::Waiting => match obstacle() {
                (Rung::Running | Rung::Continuing, _) => (Rung::Running, Cause::None),
                (_, cause) => (Rung::Waiting, cause),
            },
            Rung::SafeStop => match obstacle() {
                (Rung::Running, cause) => (Rung::Running, cause),
                _ => (self.rung, self.cause),
            },
            Rung::Running | Rung::Continuing | Rung::Holding => {
                let (rung, cause) = obstacle();
                let held_ns = self
                    .holding_since_ns
                    .map_or(0, |since| now_ns.saturating_sub(since));
                match rung {
                    // What was held is taken up again by a plan that is on time only.
                    Rung::Continuing if self.rung == Rung::Holding => self.hold(held_ns, cause),
                    Rung::Holding => self.hold(held_ns, cause),
                    _ => (rung, cause),
                }
            }
        }
    }

    fn hold(&self, held_ns: u64, cause: Cause) -> (Rung, Cause) {
        if held_ns >= self.safe_stop_after_ns {
            (Rung::SafeStop, cause)
        } else {
            (Rung::Holding, cause)
        }
    }

    /// The rung that the facts of this period alone ask for.
    fn obstacle(
        &self,
        now_ns: u64,
        facts: &Facts,
        plan: Option<&Plan>,
        can_begin: bool,
    ) -> (Rung, Cause) {
        if facts.ending {
            return (Rung::SafeStop, Cause::Shutdown);
        }
        if facts.missed_period {
            return (Rung::SafeStop, Cause::MissedPeriod);
        }
        if !facts.policy_alive {
            return (Rung::Holding, Cause::PolicyThread);
        }
        if !facts.session_alive {
            return (Rung::Holding, Cause::Session);
        }
        if facts.observation_ns == 0 || facts.observation_ns < self.fresh_after_ns {
            return (Rung::Holding, Cause::NoObservation);
        }
        if now_ns.saturating_sub(facts.observation_ns) > self.observation_timeout_ns {
            return (Rung::Holding, Cause::StaleObservation);
        }
        let Some(plan) = plan.filter(|plan| plan.header().start_ns >= self.fresh_after_ns) else {
            return (Rung::Holding, Cause::NoPlan);
        };
        if !can_begin {
            return (Rung::Holding, Cause::OutsideLimits);
        }
        if now_ns.saturating_sub(plan.header().start_ns) <= self.plan_timeout_ns {
            return (Rung::Running, Cause::None);
        }
        let rung = match self.late_plan {
            LatePlan::Continue if now_ns < plan.due_ns(plan.header().committed) => Rung::Continuing,
            LatePlan::Continue | LatePlan::Hold => Rung::Holding,
            LatePlan::Stop => Rung::SafeStop,
        };
        (rung, Cause::LatePlan)
    }

    fn enter(&mut self, now_ns: u64, rung: Rung, cause: Cause) {
        if rung != self.rung {
            self.since_ns = now_ns;
            self.entered[rung as usize] += 1;
        }
        self.holding_since_ns = match rung {
            Rung::Holding => Some(self.holding_since_ns.unwrap_or(now_ns)),
            _ => None,
        };
        match rung {
            Rung::Running | Rung::Continuing => {
                self.measure_gap(now_ns);
                self.followed_ns = Some(now_ns);
            }
            Rung::Holding => self.measure_gap(now_ns),
            // Standing still is what is wanted there.
            Rung::Waiting | Rung::SafeStop | Rung::EmergencyStop => self.followed_ns = None,
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
mod tests {
    use super::*;
    use crate::timeline::PlanHeader;

    const MS: u64 = 1_000_000;

    fn plan(start_ns: u64) -> Plan {
        let header = PlanHeader {
            stream: 0,
            chunk: start_ns,
            observation_sequence: 1,
            start_ns,
            period_ns: 100 * MS,
            action_size: 1,
            committed: 8,
        };
        Plan::new(header, vec![0.0; 16]).unwrap()
    }

    fn well(observation_ns: u64) -> Facts {
        Facts {
            observation_ns,
            policy_alive: true,
            session_alive: true,
            ..Facts::default()
        }
    }

    fn supervisor(change: impl FnOnce(&mut WatchdogConfig)) -> Supervisor {
        let mut config = WatchdogConfig::default();
        change(&mut config);
        Supervisor::new(&config).unwrap()
    }

    /// Armed at 1 s.
    fn armed(change: impl FnOnce(&mut WatchdogConfig)) -> Supervisor {
        let mut supervisor = supervisor(change);
        let start = 1000 * MS;
        assert_eq!(
            supervisor.judge(start, &well(start), Some(&plan(start)), true),
            Rung::Running
        );
        supervisor
    }

    #[test]
    fn arms_on_an_observation_and_a_plan_together() {
        let mut supervisor = supervisor(|_| ());
        let now = 1000 * MS;
        let first = [
            (well(0), None, Cause::NoObservation),
            (well(0), Some(plan(now)), Cause::NoObservation),
            (well(now), None, Cause::NoPlan),
        ];
        for (facts, plan, cause) in first {
            assert_eq!(
                supervisor.judge(now, &facts, plan.as_ref(), true),
                Rung::Waiting
            );
            assert_eq!(supervisor.cause(), cause);
        }
        assert_eq!(
            supervisor.judge(now, &well(now), Some(&plan(now)), true),
            Rung::Running
        );
        assert_eq!(supervisor.cause(), Cause::None);
    }

    #[test]
    fn what_is_dead_from_the_start_never_arms() {
        let mut supervisor = supervisor(|_| ());
        let now = 1000 * MS;
        let facts = Facts {
            policy_alive: false,
            ..well(now)
        };
        assert_eq!(
            supervisor.judge(now, &facts, Some(&plan(now)), true),
            Rung::Waiting
        );
        assert_eq!(supervisor.cause(), Cause::PolicyThread);
    }

    /// Rungs at times in milliseconds, with the last plan and observation at 1 s and nothing new after it.
    fn silence(supervisor: &mut Supervisor, times_ms: &[u64], observing: bool) -> Vec<Rung> {
        let last = plan(1000 * MS);
        times_ms
            .iter()
            .map(|ms| {
                let now = ms * MS;
                let facts = well(if observing { now } else { 1000 * MS });
                supervisor.judge(now, &facts, Some(&last), true)
            })
            .collect()
    }

    #[test]
    fn late_plans_do_as_configured() {
        let times = [1499, 1500, 1501, 1799, 1800, 3799, 3800, 9000];
        use Rung::{Continuing, Holding, Running, SafeStop};
        let expected = [
            (
                LatePlan::Continue,
                [
                    Running, Running, Continuing, Continuing, Holding, Holding, SafeStop, SafeStop,
                ],
            ),
            (
                LatePlan::Hold,
                [
                    Running, Running, Holding, Holding, Holding, SafeStop, SafeStop, SafeStop,
                ],
            ),
            (
                LatePlan::Stop,
                [
                    Running, Running, SafeStop, SafeStop, SafeStop, SafeStop, SafeStop, SafeStop,
                ],
            ),
        ];
        for (late_plan, rungs) in expected {
            let mut supervisor = armed(|config| config.late_plan = late_plan);
            assert_eq!(
                silence(&mut supervisor, &times, true),
                rungs,
                "{late_plan:?}"
            );
            assert_eq!(supervisor.cause(), Cause::LatePlan);
        }
    }

    #[test]
    fn stale_observations_hold_and_then_stop() {
        let mut supervisor = armed(|_| ());
        let found = silence(&mut supervisor, &[1500, 1501, 3500, 3501], false);
        assert_eq!(
            found,
            [Rung::Running, Rung::Holding, Rung::Holding, Rung::SafeStop]
        );
        assert_eq!(supervisor.cause(), Cause::StaleObservation);
        assert_eq!(supervisor.longest_without_ns(), 2000 * MS);
    }

    #[test]
    fn times_of_zero_are_not_watched() {
        let mut supervisor = armed(|config| {
            config.observation_timeout_ms = 0.0;
            config.plan_timeout_ms = 0.0;
        });
        assert_eq!(
            silence(&mut supervisor, &[5000, 900_000], false),
            [Rung::Running; 2]
        );
    }

    #[test]
    fn holding_ends_with_a_new_plan_and_a_safe_stop_as_configured() {
        for (rearm, expected) in [
            (Rearm::Automatic, Rung::Running),
            (Rearm::Request, Rung::SafeStop),
        ] {
            let mut supervisor = armed(|config| config.rearm = rearm);
            assert_eq!(
                silence(&mut supervisor, &[1900, 2000], true),
                [Rung::Holding; 2]
            );
            let now = 2100 * MS;
            assert_eq!(
                supervisor.judge(now, &well(now), Some(&plan(now)), true),
                Rung::Running
            );
            assert_eq!(
                silence(&mut supervisor, &[3000, 5000], true),
                [Rung::Holding, Rung::SafeStop]
            );
            let now = 5100 * MS;
            assert_eq!(
                supervisor.judge(now, &well(now), Some(&plan(now)), true),
                expected
            );
        }
    }

    #[test]
    fn an_emergency_stop_needs_a_request_and_news_to_leave() {
        let mut supervisor = armed(|config| config.rearm = Rearm::Automatic);
        let (now, stop) = (1100 * MS, |rearms| Facts {
            stop_requests: 1,
            rearm_requests: rearms,
            ..well(1100 * MS)
        });
        assert_eq!(
            supervisor.judge(now, &stop(0), Some(&plan(now)), true),
            Rung::EmergencyStop
        );
        assert_eq!(
            supervisor.judge(now + MS, &stop(0), Some(&plan(now)), true),
            Rung::EmergencyStop
        );
        supervisor.begin(now + MS);
        assert_eq!(
            supervisor.judge(now + MS, &stop(0), Some(&plan(now)), true),
            Rung::EmergencyStop
        );
        // Re-armed: what was known before does not count.
        assert_eq!(
            supervisor.judge(now + 2 * MS, &stop(1), Some(&plan(now)), true),
            Rung::Waiting
        );
        assert_eq!(
            supervisor.judge(now + 3 * MS, &stop(1), Some(&plan(now)), true),
            Rung::Waiting
        );
        let news = Facts {
            observation_ns: now + 4 * MS,
            ..stop(1)
        };
        assert_eq!(
            supervisor.judge(now + 5 * MS, &news, Some(&plan(now + 4 * MS)), true),
            Rung::Running
        );
    }

    #[test]
    fn a_stop_wins_over_rearming_in_the_same_period() {
        let mut supervisor = armed(|_| ());
        let both = Facts {
            stop_requests: 1,
            rearm_requests: 1,
            ..well(1000 * MS)
        };
        assert_eq!(
            supervisor.judge(1001 * MS, &both, None, true),
            Rung::EmergencyStop
        );
        assert_eq!(
            supervisor.judge(1002 * MS, &both, None, true),
            Rung::EmergencyStop
        );
    }

    #[test]
    fn a_lost_thread_session_or_period_shows() {
        let now = 1010 * MS;
        let cases: [(fn(&mut Facts), Rung, Cause); 4] = [
            (
                |facts| facts.policy_alive = false,
                Rung::Holding,
                Cause::PolicyThread,
            ),
            (
                |facts| facts.session_alive = false,
                Rung::Holding,
                Cause::Session,
            ),
            (
                |facts| facts.missed_period = true,
                Rung::SafeStop,
                Cause::MissedPeriod,
            ),
            (|facts| facts.ending = true, Rung::SafeStop, Cause::Shutdown),
        ];
        for (change, rung, cause) in cases {
            let mut supervisor = armed(|_| ());
            let mut facts = well(1000 * MS);
            change(&mut facts);
            assert_eq!(
                supervisor.judge(now, &facts, Some(&plan(1000 * MS)), true),
                rung
            );
            assert_eq!(supervisor.cause(), cause);
        }
    }

    #[test]
    fn clocks_that_step_do_no_harm() {
        let mut supervisor = armed(|_| ());
        let last = plan(1000 * MS);
        assert_eq!(
            supervisor.judge(5, &well(1000 * MS), Some(&last), true),
            Rung::Running
        );
        assert_eq!(
            supervisor.judge(u64::MAX, &well(1000 * MS), Some(&last), true),
            Rung::Holding
        );
        assert_eq!(
            supervisor.judge(0, &well(1000 * MS), Some(&last), true),
            Rung::Running
        );
    }

    #[test]
    fn bad_times_are_refused_by_key() {
        for found in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            let config = WatchdogConfig {
                plan_timeout_ms: found,
                ..WatchdogConfig::default()
            };
            let message = Supervisor::new(&config).unwrap_err().to_string();
            assert!(
                message.starts_with("control.watchdog.plan_timeout_ms is "),
                "{message}"
            );
        }
    }
}
