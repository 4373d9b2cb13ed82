//! What the control thread is told by the others, and what it tells them: atomics, so that nobody
//! waits for anybody.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use kinestream_control::{Cause, Controller, Facts, Rung, TickOutput};

/// Towards the control thread.
#[derive(Debug)]
pub(crate) struct Signals {
    observation_ns: AtomicU64,
    policy_alive: AtomicBool,
    session_alive: AtomicBool,
    ending: AtomicBool,
    stops: AtomicU64,
    rearms: AtomicU64,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            observation_ns: AtomicU64::new(0),
            policy_alive: AtomicBool::new(true),
            session_alive: AtomicBool::new(true),
            ending: AtomicBool::new(false),
            stops: AtomicU64::new(0),
            rearms: AtomicU64::new(0),
        }
    }
}

impl Signals {
    /// A valid observation arrived. Whoever says so of an earlier one changes nothing.
    pub(crate) fn observed(&self, arrived_ns: u64) {
        self.observation_ns.fetch_max(arrived_ns, Ordering::Relaxed);
    }

    /// The policy thread has ended.
    pub(crate) fn policy_ended(&self) {
        self.policy_alive.store(false, Ordering::Relaxed);
    }

    /// Whether commands reach anybody.
    pub(crate) fn set_session_alive(&self, alive: bool) {
        self.session_alive.store(alive, Ordering::Relaxed);
    }

    /// The program is about to end: come to rest.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// An emergency stop was asked for.
    pub(crate) fn stop(&self) {
        self.stops.fetch_add(1, Ordering::Relaxed);
    }

    /// Re-arming was asked for.
    pub(crate) fn rearm(&self) {
        self.rearms.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it, for one period.
    pub(crate) fn facts(&self, missed_period: bool) -> Facts {
        Facts {
            observation_ns: self.observation_ns.load(Ordering::Relaxed),
            policy_alive: self.policy_alive.load(Ordering::Relaxed),
            session_alive: self.session_alive.load(Ordering::Relaxed),
            missed_period,
            ending: self.ending.load(Ordering::Relaxed),
            stop_requests: self.stops.load(Ordering::Relaxed),
            rearm_requests: self.rearms.load(Ordering::Relaxed),
        }
    }
}

/// From the control thread, written once a period; readers may see a mixture of two periods.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
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
}

const RUNGS: [Rung; 6] = [
    Rung::Waiting,
    Rung::Running,
    Rung::Continuing,
    Rung::Holding,
    Rung::SafeStop,
    Rung::EmergencyStop,
];

const CAUSES: [Cause; 11] = [
    Cause::None,
    Cause::NoObservation,
    Cause::NoPlan,
    Cause::OutsideLimits,
    Cause::LatePlan,
    Cause::StaleObservation,
    Cause::PolicyThread,
    Cause::Session,
    Cause::MissedPeriod,
    Cause::StopRequest,
    Cause::Shutdown,
];

impl Gauges {
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
        self.largest_deviation
            .store(counts.largest_deviation.to_bits(), Ordering::Relaxed);
    }

    /// A command found no room in the ring to the publisher.
    pub(crate) fn command_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A command was sent.
    pub(crate) fn command_published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rung(&self) -> Rung {
        let at = usize::from(self.rung.load(Ordering::Relaxed));
        RUNGS.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn cause(&self) -> Cause {
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

    /// How often each rung was entered, in the order of [`Rung`].
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
        for (at, cause) in CAUSES.into_iter().enumerate() {
            assert_eq!(cause as usize, at);
        }
    }
}
