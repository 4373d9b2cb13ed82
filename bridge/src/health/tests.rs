//! What is sent comes back, what is wrong is refused by name, and old and new programs understand each other.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn sample() -> Health {
    Health {
        robot: "arm".to_owned(),
        node: "runtime".to_owned(),
        version: "0.1.0".to_owned(),
        stamp: Stamp {
            sequence: 7,
            monotonic_ns: 3_500_000_000,
            wall_ns: 1_790_000_000_000_000_000,
            stream: 2,
        },
        uptime_s: 3.5,
        rung: SafetyState::Holding,
        reason: Some("no observation for 0.4 s".to_owned()),
        rung_since_s: 0.25,
        rung_counts: RungCounts {
            waiting: 1,
            running: 2,
            holding: 1,
            ..RungCounts::default()
        },
        longest_without_command_ms: 250.0,
        control: ControlHealth {
            rate_hz: 500.0,
            measured_hz: 499.9,
            ticks: 1_750,
            lateness_us: Quantiles {
                p50: 12.5,
                p99: 80.0,
                p999: 95.0,
                max: 120.0,
            },
            lateness_buckets: lateness_buckets(1_750, |bound| if bound < 20.0 { 0 } else { 1_749 }),
            scheduling: Scheduling {
                policy: "SCHED_FIFO".to_owned(),
                priority: 50,
                cpus: vec![1],
                memory_locked: true,
            },
            allocations: Some(0),
            ..ControlHealth::default()
        },
        recorder: Some(RecorderHealth {
            file: "run.mcap".to_owned(),
            ..RecorderHealth::default()
        }),
        ..Health::default()
    }
}

#[test]
fn what_is_sent_comes_back() {
    let health = sample();
    let text = health.to_json().unwrap();
    assert_eq!(Health::from_json(text.as_bytes()).unwrap(), health);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["rung"], "holding");
    assert_eq!(value["stamp"]["sequence"], 7);
    assert_eq!(value["control"]["lateness_us"]["p999"], 95.0);
    assert_eq!(
        value["control"]["lateness_buckets"][4],
        json!([20.0, 1749.0])
    );
}

#[test]
fn what_an_older_program_leaves_out_is_default_and_what_a_newer_one_adds_is_skipped() {
    let text = json!({"robot": "arm", "rung": "safe_stop", "control": {"ticks": 3}, "moon": {"phase": 0.5}});
    let expected = Health {
        robot: "arm".to_owned(),
        rung: SafetyState::SafeStop,
        control: ControlHealth {
            ticks: 3,
            ..ControlHealth::default()
        },
        ..Health::default()
    };
    assert_eq!(Health::from_json(text.to_string().as_bytes()), Ok(expected));
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let refused = |health: &Health| health.to_json().unwrap_err().to_string();
    let mut health = sample();
    health.control.lateness_us.p99 = f64::NAN;
    assert!(refused(&health).contains("control.lateness_us.p99 is NaN"));
    health = sample();
    health.limits.largest_deviation = -1.0;
    assert!(refused(&health).contains("limits.largest_deviation is -1"));
    health = sample();
    health.reason = Some("x".repeat(MAX_TEXT_BYTES + 1));
    assert_eq!(
        refused(&health),
        "health: reason has 1025 bytes, expected at most 1024"
    );
    health.reason = Some(shortened(&"µ".repeat(MAX_TEXT_BYTES)));
    assert!(health.to_json().is_ok());
    assert_eq!(shortened("as it is"), "as it is");
    health = sample();
    health.control.lateness_buckets = vec![[1.0, 0.0]; 2];
    assert!(refused(&health).contains("1 follows 1"));
    health.control.lateness_buckets = vec![[1.0, 0.0]; MAX_BUCKETS + 1];
    assert!(refused(&health).contains("has 65 entries"));

    for (text, word) in [
        ("", "EOF"),
        ("[]garbage", "trailing"),
        (r#"{"rung": "flying"}"#, "flying"),
        (r#"{"uptime_s": 1e999}"#, "out of range"),
        (r#"{"uptime_s": null}"#, "null"),
        (r#"{"uptime_s": -1}"#, "uptime_s is -1"),
        (r#"{"control": {"ticks": -1}}"#, "-1"),
        (r#"{"control": {"ticks": 1.5}}"#, "1.5"),
    ] {
        let said = Health::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(word), "{text}: {said}");
    }
    let long = format!(r#"{{"x": "{}"}}"#, "y".repeat(MAX_HEALTH_BYTES));
    let said = Health::from_json(long.as_bytes()).unwrap_err().to_string();
    assert!(said.contains("the message has"), "{said}");
}

#[test]
fn rungs_are_named_as_in_json_and_counted_one_by_one() {
    let mut counts = RungCounts::default();
    for (index, rung) in SafetyState::ALL.into_iter().enumerate() {
        assert_eq!(serde_json::to_value(rung).unwrap(), rung.name());
        *counts.entry(rung) += index as u64;
        assert_eq!(counts.of(rung), index as u64);
    }
    let json = serde_json::to_value(counts).unwrap();
    for rung in SafetyState::ALL {
        assert_eq!(json[rung.name()], counts.of(rung));
    }
}

proptest! {
    #[test]
    fn every_tick_is_in_one_bucket(late_us in prop::collection::vec(0.0..3e6_f64, 0..50)) {
        let at_most = |bound: f64| late_us.iter().filter(|late| **late <= bound).count() as u64;
        let buckets = lateness_buckets(late_us.len() as u64, at_most);
        prop_assert_eq!(buckets.iter().map(|[_, count]| *count as usize).sum::<usize>(), late_us.len());
        let health = Health {
            control: ControlHealth { lateness_buckets: buckets, ..ControlHealth::default() },
            ..Health::default()
        };
        prop_assert!(health.check().is_ok());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Health::from_json(&bytes);
    }
}
