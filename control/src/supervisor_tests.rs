use super::*;
use crate::timeline::PlanHeader;

const MS: u64 = 1_000_000;
/// Nothing speaks against the plan's motion.
const CLEAR: Situation = Situation {
    start: Ok(()),
    located: true,
    at_home: false,
};

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

fn well(observation_ns: u64) -> HealthInputs {
    HealthInputs {
        observation_ns,
        policy_alive: true,
        session_alive: true,
        ..HealthInputs::default()
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
        supervisor.judge(start, &well(start), Some(&plan(start)), CLEAR),
        SafetyState::Running
    );
    supervisor
}

#[test]
fn arms_on_an_observation_and_a_plan_together() {
    let mut supervisor = supervisor(|_| ());
    let now = 1000 * MS;
    let first = [
        (well(0), None, SafetyReason::NoObservation),
        (well(0), Some(plan(now)), SafetyReason::NoObservation),
        (well(now), None, SafetyReason::NoPlan),
    ];
    for (facts, plan, cause) in first {
        assert_eq!(
            supervisor.judge(now, &facts, plan.as_ref(), CLEAR),
            SafetyState::Waiting
        );
        assert_eq!(supervisor.cause(), cause);
    }
    assert_eq!(
        supervisor.judge(now, &well(now), Some(&plan(now)), CLEAR),
        SafetyState::Running
    );
    assert_eq!(supervisor.cause(), SafetyReason::None);
}

#[test]
fn what_is_dead_from_the_start_never_arms() {
    let mut supervisor = supervisor(|_| ());
    let now = 1000 * MS;
    let facts = HealthInputs {
        policy_alive: false,
        ..well(now)
    };
    assert_eq!(
        supervisor.judge(now, &facts, Some(&plan(now)), CLEAR),
        SafetyState::Waiting
    );
    assert_eq!(supervisor.cause(), SafetyReason::PolicyThread);
}

/// Rungs at times in milliseconds, with the last plan and observation at 1 s and nothing new after it.
fn silence(supervisor: &mut Supervisor, times_ms: &[u64], observing: bool) -> Vec<SafetyState> {
    let last = plan(1000 * MS);
    times_ms
        .iter()
        .map(|ms| {
            let now = ms * MS;
            let facts = well(if observing { now } else { 1000 * MS });
            supervisor.judge(now, &facts, Some(&last), CLEAR)
        })
        .collect()
}

#[test]
fn late_plans_do_as_configured() {
    let times = [1499, 1500, 1501, 1799, 1800, 3799, 3800, 9000];
    use SafetyState::{Continuing, Holding, Running, SafeStop};
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
        assert_eq!(supervisor.cause(), SafetyReason::LatePlan);
    }
}

#[test]
fn stale_observations_hold_and_then_stop() {
    let mut supervisor = armed(|_| ());
    let found = silence(&mut supervisor, &[1500, 1501, 3500, 3501], false);
    assert_eq!(
        found,
        [
            SafetyState::Running,
            SafetyState::Holding,
            SafetyState::Holding,
            SafetyState::SafeStop
        ]
    );
    assert_eq!(supervisor.cause(), SafetyReason::StaleObservation);
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
        [SafetyState::Running; 2]
    );
}

#[test]
fn holding_ends_with_a_new_plan_and_a_safe_stop_as_configured() {
    for (rearm, expected) in [
        (Rearm::Automatic, SafetyState::Running),
        (Rearm::Request, SafetyState::SafeStop),
    ] {
        let mut supervisor = armed(|config| config.rearm = rearm);
        assert_eq!(
            silence(&mut supervisor, &[1900, 2000], true),
            [SafetyState::Holding; 2]
        );
        let now = 2100 * MS;
        assert_eq!(
            supervisor.judge(now, &well(now), Some(&plan(now)), CLEAR),
            SafetyState::Running
        );
        assert_eq!(
            silence(&mut supervisor, &[3000, 5000], true),
            [SafetyState::Holding, SafetyState::SafeStop]
        );
        let now = 5100 * MS;
        assert_eq!(
            supervisor.judge(now, &well(now), Some(&plan(now)), CLEAR),
            expected
        );
    }
}

#[test]
fn an_emergency_stop_needs_a_request_and_news_to_leave() {
    let mut supervisor = armed(|config| config.rearm = Rearm::Automatic);
    let (now, stop) = (1100 * MS, |rearms| HealthInputs {
        stop_requests: 1,
        rearm_requests: rearms,
        ..well(1100 * MS)
    });
    assert_eq!(
        supervisor.judge(now, &stop(0), Some(&plan(now)), CLEAR),
        SafetyState::EmergencyStop
    );
    assert_eq!(
        supervisor.judge(now + MS, &stop(0), Some(&plan(now)), CLEAR),
        SafetyState::EmergencyStop
    );
    // Re-armed: what was known before does not count.
    assert_eq!(
        supervisor.judge(now + 2 * MS, &stop(1), Some(&plan(now)), CLEAR),
        SafetyState::Waiting
    );
    assert_eq!(
        supervisor.judge(now + 3 * MS, &stop(1), Some(&plan(now)), CLEAR),
        SafetyState::Waiting
    );
    let news = HealthInputs {
        observation_ns: now + 4 * MS,
        ..stop(1)
    };
    assert_eq!(
        supervisor.judge(now + 5 * MS, &news, Some(&plan(now + 4 * MS)), CLEAR),
        SafetyState::Running
    );
}

#[test]
fn a_stop_wins_over_rearming_in_the_same_period() {
    let mut supervisor = armed(|_| ());
    let both = HealthInputs {
        stop_requests: 1,
        rearm_requests: 1,
        ..well(1000 * MS)
    };
    assert_eq!(
        supervisor.judge(1001 * MS, &both, None, CLEAR),
        SafetyState::EmergencyStop
    );
    assert_eq!(
        supervisor.judge(1002 * MS, &both, None, CLEAR),
        SafetyState::EmergencyStop
    );
}

#[test]
fn a_lost_thread_session_or_period_shows() {
    let now = 1010 * MS;
    type Change = fn(&mut HealthInputs);
    let cases: [(Change, SafetyState, SafetyReason); 4] = [
        (
            |facts| facts.policy_alive = false,
            SafetyState::Holding,
            SafetyReason::PolicyThread,
        ),
        (
            |facts| facts.session_alive = false,
            SafetyState::Holding,
            SafetyReason::Session,
        ),
        (
            |facts| facts.missed_period = true,
            SafetyState::SafeStop,
            SafetyReason::MissedPeriod,
        ),
        (
            |facts| facts.ending = true,
            SafetyState::SafeStop,
            SafetyReason::Shutdown,
        ),
    ];
    for (change, rung, cause) in cases {
        let mut supervisor = armed(|_| ());
        let mut facts = well(1000 * MS);
        change(&mut facts);
        assert_eq!(
            supervisor.judge(now, &facts, Some(&plan(1000 * MS)), CLEAR),
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
        supervisor.judge(5, &well(1000 * MS), Some(&last), CLEAR),
        SafetyState::Running
    );
    assert_eq!(
        supervisor.judge(u64::MAX, &well(1000 * MS), Some(&last), CLEAR),
        SafetyState::Holding
    );
    assert_eq!(
        supervisor.judge(0, &well(1000 * MS), Some(&last), CLEAR),
        SafetyState::Running
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

#[test]
fn a_plan_that_is_taken_back_is_waited_for_without_end() {
    let mut supervisor = armed(|_| ());
    for ms in [1100, 5000, 60_000] {
        let now = ms * MS;
        assert_eq!(
            supervisor.judge(now, &well(1000 * MS), None, CLEAR),
            SafetyState::Waiting
        );
        assert_eq!(supervisor.cause(), SafetyReason::NoPlan);
    }
    let now = 60_100 * MS;
    assert_eq!(
        supervisor.judge(now, &well(now), Some(&plan(now)), CLEAR),
        SafetyState::Running
    );
}

#[test]
fn a_pause_holds_without_end_and_a_resume_goes_on() {
    let mut supervisor = armed(|_| ());
    let pause = |now| HealthInputs {
        activity: Activity::Pause,
        ..well(now)
    };
    for seconds in [2, 10, 3600] {
        let now = seconds * 1000 * MS;
        let rung = supervisor.judge(now, &pause(now), Some(&plan(now)), CLEAR);
        assert_eq!(
            (rung, supervisor.cause()),
            (SafetyState::Holding, SafetyReason::Pause)
        );
    }
    let now = 3601 * 1000 * MS;
    let rung = supervisor.judge(now, &well(now), Some(&plan(now)), CLEAR);
    assert_eq!(
        (rung, supervisor.cause()),
        (SafetyState::Running, SafetyReason::None)
    );
}

#[test]
fn home_is_gone_to_and_held() {
    let mut supervisor = armed(|_| ());
    let home = |now| HealthInputs {
        activity: Activity::Home,
        ..well(now)
    };
    let there = Situation {
        at_home: true,
        ..CLEAR
    };
    let mut now = 1100 * MS;
    let rung = supervisor.judge(now, &home(now), Some(&plan(now)), CLEAR);
    assert_eq!(
        (rung, supervisor.cause()),
        (SafetyState::Running, SafetyReason::Homing)
    );
    for seconds in [2, 100] {
        now = seconds * 1000 * MS;
        let rung = supervisor.judge(now, &home(now), Some(&plan(now)), there);
        assert_eq!(
            (rung, supervisor.cause()),
            (SafetyState::Holding, SafetyReason::Home)
        );
    }
    // A stop is obeyed on the way as anywhere, and home does not lead out of it.
    let stop = HealthInputs {
        stop_requests: 1,
        ..home(now)
    };
    let rung = supervisor.judge(now, &stop, Some(&plan(now)), CLEAR);
    assert_eq!(rung, SafetyState::EmergencyStop);
    let rung = supervisor.judge(now + MS, &stop, Some(&plan(now)), CLEAR);
    assert_eq!(rung, SafetyState::EmergencyStop);
}

#[test]
fn what_speaks_against_a_start_is_told() {
    for cause in [
        SafetyReason::OutsideLimits,
        SafetyReason::FarStart,
        SafetyReason::NotMeasured,
    ] {
        let mut supervisor = supervisor(|_| ());
        let against = Situation {
            start: Err(cause),
            ..CLEAR
        };
        let now = 1000 * MS;
        let rung = supervisor.judge(now, &well(now), Some(&plan(now)), against);
        assert_eq!((rung, supervisor.cause()), (SafetyState::Waiting, cause));
    }
}
