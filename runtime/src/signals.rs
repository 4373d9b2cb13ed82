//! What the control thread is told by the others, and what it tells them: atomics, so that nobody
//! waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use kinestream_bridge::node::StopSource;
use kinestream_control::{
    Activity, Controller, FarStart, HealthInputs, SafetyReason, SafetyState, StopLatch, TickOutput,
};

use crate::latest_command::LatestCommand;

/// Towards the control thread. The emergency stop itself is kept in [`StopLatch`] alone.
#[derive(Debug)]
pub(crate) struct ControlInputs {
    latch: StopLatch,
    /// By which way the last stop came, counted from 1 in [`StopSource::ALL`]; 0 for one that nobody named.
    stop_source: AtomicU8,
    observation_ns: AtomicU64,
    policy_alive: AtomicBool,
    session_alive: AtomicBool,
    robot_gone: AtomicBool,
    twin_runtime: AtomicBool,
    stop_keeper_missing: AtomicBool,
    activity: AtomicU8,
}

const ACTIVITIES: [Activity; 3] = [Activity::Policy, Activity::Pause, Activity::Home];

impl ControlInputs {
    /// Signals of one robot; `shutdown` is raised when the program ends, by signal handlers too. Where a keeper of stops is
    /// asked for, none is there yet.
    pub(crate) fn new(shutdown: Arc<AtomicBool>, needs_stop_keeper: bool) -> Self {
        Self {
            latch: StopLatch::new(shutdown),
            stop_source: AtomicU8::new(0),
            observation_ns: AtomicU64::new(0),
            policy_alive: AtomicBool::new(true),
            session_alive: AtomicBool::new(true),
            robot_gone: AtomicBool::new(false),
            twin_runtime: AtomicBool::new(false),
            stop_keeper_missing: AtomicBool::new(needs_stop_keeper),
            activity: AtomicU8::new(Activity::Policy as u8),
        }
    }

    /// Where stops are asked for.
    pub(crate) fn latch(&self) -> &StopLatch {
        &self.latch
    }

    /// Asks for an emergency stop, and keeps by which way it came, for those who are told.
    pub(crate) fn stop(&self, source: StopSource) {
        self.latch.stop();
        let at = StopSource::ALL.iter().position(|known| *known == source);
        let number = at.map_or(0, |at| at as u8 + 1);
        self.stop_source.store(number, Ordering::Relaxed);
    }

    /// By which way the last emergency stop came.
    pub(crate) fn stop_source(&self) -> Option<StopSource> {
        let number = usize::from(self.stop_source.load(Ordering::Relaxed));
        StopSource::ALL.get(number.checked_sub(1)?).copied()
    }

    /// A valid observation arrived. Whoever says so of an earlier one changes nothing.
    pub(crate) fn observed(&self, arrived_ns: u64) {
        self.observation_ns.fetch_max(arrived_ns, Ordering::Relaxed);
    }

    /// When the newest valid observation arrived, 0 for none yet.
    pub(crate) fn observation_ns(&self) -> u64 {
        self.observation_ns.load(Ordering::Relaxed)
    }

    /// The policy thread has ended.
    pub(crate) fn policy_ended(&self) {
        self.policy_alive.store(false, Ordering::Relaxed);
    }

    /// Whether the session is open, and whether a robot that subscribed to commands does so no more.
    pub(crate) fn set_reach(&self, session_alive: bool, robot_gone: bool) {
        self.session_alive.store(session_alive, Ordering::Relaxed);
        self.robot_gone.store(robot_gone, Ordering::Relaxed);
    }

    /// Whether another runtime commands the same robot.
    pub(crate) fn set_twin_runtime(&self, there: bool) {
        self.twin_runtime.store(there, Ordering::Relaxed);
    }

    /// Whether another runtime commands the same robot.
    pub(crate) fn has_twin_runtime(&self) -> bool {
        self.twin_runtime.load(Ordering::Relaxed)
    }

    /// Whether a keeper of stops is asked for and none answers.
    pub(crate) fn set_stop_keeper_missing(&self, missing: bool) {
        self.stop_keeper_missing.store(missing, Ordering::Relaxed);
    }

    /// What commands are to do from now on.
    pub(crate) fn set_activity(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// What commands are to do.
    pub(crate) fn activity(&self) -> Activity {
        let activity = usize::from(self.activity.load(Ordering::Relaxed));
        ACTIVITIES.get(activity).copied().unwrap_or_default()
    }

    /// All of it, for one period.
    pub(crate) fn facts(&self, missed_period: bool) -> HealthInputs {
        let requests = self.latch.requests();
        HealthInputs {
            observation_ns: self.observation_ns(),
            policy_alive: self.policy_alive.load(Ordering::Relaxed),
            session_alive: self.session_alive.load(Ordering::Relaxed),
            missed_period,
            ending: requests.shutdown,
            stop_requests: requests.stops,
            rearm_requests: requests.rearms,
            robot_gone: self.robot_gone.load(Ordering::Relaxed),
            twin_runtime: self.has_twin_runtime(),
            stop_keeper_missing: self.stop_keeper_missing.load(Ordering::Relaxed),
            activity: self.activity(),
        }
    }
}

/// From the control thread, written once a period; readers may see a mixture of two periods.
#[derive(Debug, Default)]
pub(crate) struct ControlMetrics {
    rung: AtomicU8,
    cause: AtomicU8,
    since_ns: AtomicU64,
    at_rest: AtomicBool,
    entered: [AtomicU64; 6],
    longest_without_ns: AtomicU64,
    limits: [AtomicU64; 6],
    largest_deviation: AtomicU64,
    dropped: AtomicU64,
    published: AtomicU64,
    /// The start that was refused last: column, then measured, planned and farthest as bits.
    far_start: [AtomicU64; 4],
    /// The newest command that was sent, as the publisher thread wrote it.
    command: LatestCommand,
}

const RUNGS: [SafetyState; 6] = [
    SafetyState::Waiting,
    SafetyState::Running,
    SafetyState::Continuing,
    SafetyState::Holding,
    SafetyState::SafeStop,
    SafetyState::EmergencyStop,
];

const CAUSES: [SafetyReason; 19] = [
    SafetyReason::None,
    SafetyReason::NoObservation,
    SafetyReason::NoPlan,
    SafetyReason::OutsideLimits,
    SafetyReason::LatePlan,
    SafetyReason::StaleObservation,
    SafetyReason::PolicyThread,
    SafetyReason::Session,
    SafetyReason::MissedPeriod,
    SafetyReason::StopRequest,
    SafetyReason::Shutdown,
    SafetyReason::RobotGone,
    SafetyReason::FarStart,
    SafetyReason::NotMeasured,
    SafetyReason::TwinRuntime,
    SafetyReason::NoStopKeeper,
    SafetyReason::Pause,
    SafetyReason::Homing,
    SafetyReason::Home,
];

impl ControlMetrics {
    /// Writes what a tick did.
    pub(crate) fn record(&self, output: &TickOutput, controller: &Controller) {
        let supervisor = controller.supervisor();
        self.rung.store(output.rung as u8, Ordering::Relaxed);
        self.cause.store(output.cause as u8, Ordering::Relaxed);
        self.at_rest.store(output.at_rest, Ordering::Relaxed);
        self.since_ns
            .store(supervisor.since_ns(), Ordering::Relaxed);
        for (slot, count) in self.entered.iter().zip(supervisor.entered()) {
            slot.store(count, Ordering::Relaxed);
        }
        self.longest_without_ns
            .store(supervisor.longest_without_ns(), Ordering::Relaxed);
        let counts = controller.limit_counts();
        let numbers = [
            counts.not_finite,
            counts.position,
            counts.velocity,
            counts.acceleration,
            counts.jerk,
            counts.limited,
        ];
        for (slot, count) in self.limits.iter().zip(numbers) {
            slot.store(count, Ordering::Relaxed);
        }
        if let Some(start) = controller.far_start() {
            self.record_far_start(start);
        }
        self.largest_deviation
            .store(counts.largest_deviation.to_bits(), Ordering::Relaxed);
    }

    fn record_far_start(&self, start: FarStart) {
        let numbers = [start.measured, start.planned, start.farthest].map(f64::to_bits);
        let [column, rest @ ..] = &self.far_start;
        column.store(start.column as u64, Ordering::Relaxed);
        for (slot, number) in rest.iter().zip(numbers) {
            slot.store(number, Ordering::Relaxed);
        }
    }

    /// Why the loop is not running, with the numbers that say so.
    pub(crate) fn reason(&self) -> String {
        let cause = self.cause();
        if cause != SafetyReason::FarStart {
            return cause.text().to_owned();
        }
        let [column, measured, planned, farthest] = [0, 1, 2, 3].map(|at: usize| {
            let bits = self.far_start[at].load(Ordering::Relaxed);
            if at == 0 {
                bits as f64
            } else {
                f64::from_bits(bits)
            }
        });
        format!(
            "{}: number {column} of the action is measured at {measured:.4} and planned at {planned:.4}, farthest allowed \
             {farthest:.4}",
            cause.text()
        )
    }

    /// A command found no room in the ring to the publisher.
    pub(crate) fn command_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A command was sent.
    pub(crate) fn command_published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// The newest command that was sent.
    pub(crate) fn command(&self) -> &LatestCommand {
        &self.command
    }

    pub(crate) fn rung(&self) -> SafetyState {
        let at = usize::from(self.rung.load(Ordering::Relaxed));
        RUNGS.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn cause(&self) -> SafetyReason {
        let at = usize::from(self.cause.load(Ordering::Relaxed));
        CAUSES.get(at).copied().unwrap_or_default()
    }

    /// When the present rung was entered.
    pub(crate) fn since_ns(&self) -> u64 {
        self.since_ns.load(Ordering::Relaxed)
    }

    /// Whether commands have come to rest on a rung that stops, or there never was one.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Relaxed)
    }

    /// Whether a robot that is told to stop has done so, or never moved.
    pub(crate) fn has_come_to_rest(&self) -> bool {
        let is_stopping = matches!(
            self.rung(),
            SafetyState::Waiting | SafetyState::SafeStop | SafetyState::EmergencyStop
        );
        is_stopping && self.is_at_rest()
    }

    /// How often each rung was entered, in the order of [`SafetyState`].
    pub(crate) fn entered(&self) -> [u64; 6] {
        std::array::from_fn(|at| self.entered[at].load(Ordering::Relaxed))
    }

    pub(crate) fn longest_without_ns(&self) -> u64 {
        self.longest_without_ns.load(Ordering::Relaxed)
    }

    /// Periods in which not finite, position, velocity, acceleration, jerk, any of these limits
    /// changed the command.
    pub(crate) fn limits(&self) -> [u64; 6] {
        std::array::from_fn(|at| self.limits[at].load(Ordering::Relaxed))
    }

    /// Farthest that a limit kept a command from its plan, in the action's units.
    pub(crate) fn largest_deviation(&self) -> f64 {
        f64::from_bits(self.largest_deviation.load(Ordering::Relaxed))
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_and_cause_comes_back() {
        for (at, rung) in RUNGS.into_iter().enumerate() {
            assert_eq!(rung as usize, at);
        }
        for (at, activity) in ACTIVITIES.into_iter().enumerate() {
            assert_eq!(activity as usize, at);
        }
        for (at, cause) in CAUSES.into_iter().enumerate() {
            assert_eq!(cause as usize, at);
        }
    }
}
