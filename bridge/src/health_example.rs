//! A health message as an example.

use crate::health::{
    ControlHealth, Delay, Health, LimitHealth, PolicyHealth, PolicyLatency, Quantiles,
    RecorderHealth, RungCounts, SafetyState, Scheduling, lateness_buckets,
};

impl Health {
    /// A robot in some trouble, for tests and documents: it holds, because observations stopped.
    pub fn example() -> Self {
        let at_most = |bound: f64| match bound {
            _ if bound < 10.0 => 0,
            _ if bound < 100.0 => 1_859_000,
            _ => 1_860_000,
        };
        Self {
            robot: "arm".into(),
            node: "runtime".into(),
            version: "0.1.0".into(),
            uptime_s: 3725.0,
            rung: SafetyState::Holding,
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
            ..Self::default()
        }
    }
}
