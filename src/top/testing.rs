//! A robot in some trouble, for tests.

use std::time::Duration;

use kinestream_bridge::health::{
    ControlHealth, Delay, Health, LimitHealth, PolicyHealth, PolicyLatency, Quantiles,
    RecorderHealth, Rung, RungCounts, Scheduling, lateness_buckets,
};

use super::watch::{Link, Watch};

/// It holds, because observations stopped.
pub(crate) fn health() -> Health {
    let at_most = |bound: f64| match bound {
        _ if bound < 10.0 => 0,
        _ if bound < 100.0 => 1_859_000,
        _ => 1_860_000,
    };
    Health {
        robot: "arm".into(),
        node: "runtime".into(),
        version: "0.1.0".into(),
        uptime_s: 3725.0,
        rung: Rung::Holding,
        reason: Some("no observation for 0.4 s".into()),
        rung_since_s: 2.5,
        rung_counts: RungCounts {
            waiting: 1,
            running: 4,
            continuing: 7,
            holding: 3,
            ..RungCounts::default()
        },
        longest_without_command_ms: 412.5,
        control: ControlHealth {
            rate_hz: 500.0,
            measured_hz: 499.92,
            ticks: 1_860_000,
            missed: 3,
            lateness_us: Quantiles {
                p50: 12.4,
                p99: 80.0,
                p999: 95.0,
                max: 120.0,
            },
            execution_us: Quantiles {
                p50: 3.2,
                p99: 5.5,
                p999: 9.0,
                max: 21.0,
            },
            lateness_buckets: lateness_buckets(1_860_000, at_most),
            lateness_sum_us: Some(2.4e7),
            scheduling: Scheduling {
                policy: "SCHED_FIFO".into(),
                priority: 50,
                cpus: vec![1],
                memory_locked: true,
            },
            allocations: Some(0),
            dropped: 10,
            published: 1_859_990,
        },
        policy: PolicyHealth {
            observations: 37_210,
            observations_per_second: 9.9,
            refused: 2,
            stale: 1,
            plans: 37_208,
            plans_per_second: 9.8,
            evaluations: 9302,
            latency_ms: PolicyLatency {
                p50: 4.85,
                p99: 8.51,
                p999: 13.3,
                max: 14.0,
                last: 5.01,
            },
            delay_actions: Delay { last: 0, max: 1 },
            ..PolicyHealth::default()
        },
        limits: LimitHealth {
            velocity: 12,
            limited: 12,
            largest_deviation: 0.0213,
            ..LimitHealth::default()
        },
        recorder: Some(RecorderHealth {
            file: "runs/arm.mcap".into(),
            messages: 12_345,
            bytes: 3_400_000,
            ..RecorderHealth::default()
        }),
        ..Health::default()
    }
}

/// After a minute of it, the last message at 60 s; the simulator went at 48 s.
pub(crate) fn watch(last: Health) -> Watch {
    let mut watch = Watch::new("kinestream/arm/health".into(), "tcp/127.0.0.1:7447".into());
    watch.link = Link::Open;
    let names = ["runtime".to_owned(), "simulator".to_owned()];
    watch.see(&names, true, Duration::ZERO);
    watch.see(&names[..1], false, Duration::from_secs(48));
    let mut before = last.clone();
    before.limits.velocity = last.limits.velocity.saturating_sub(1);
    for second in 0..57_u32 {
        before.policy.plans_per_second = f64::from(second % 10);
        watch.hear(before.clone(), Duration::from_secs(second.into()));
    }
    for second in 57..=60 {
        watch.hear(last.clone(), Duration::from_secs(second));
    }
    watch
}
