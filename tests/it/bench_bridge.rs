//! `bench bridge`: what it reports and refuses. How quick this machine is, no test asks.

use std::path::Path;

use crate::support::child::kinestream;
use crate::support::{assert_keys, assert_percentiles, json_object};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_message_is_measured_beside_bare_zenoh() {
    let arguments = "bench bridge --rate 50,200 --subscribers 1,3 --seconds 0.3 --json";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let done = kinestream(Path::new(HERE), &arguments).succeeds();
    let report = json_object(&done.stdout);
    let rows = report["messages"].as_array().unwrap();
    assert_eq!(rows.len(), 3 * 2 * 2);
    for row in rows {
        assert_keys(row, &["kind", "rate_hz", "subscribers", "bytes", "sent"]);
        for side in ["latency_us", "raw_latency_us"] {
            assert_percentiles(&row[side]);
        }
        for share in ["delivered", "raw_delivered"] {
            let share = row[share].as_f64().unwrap();
            assert!(share > 0.0 && share <= 1.0, "{row}");
        }
    }
}

#[test]
fn impossible_numbers_are_refused_by_name() {
    for (option, value) in [
        ("--rate", "0"),
        ("--rate", "20000"),
        ("--subscribers", "0"),
        ("--seconds", "-1"),
    ] {
        let option_and_value = format!("{option}={value}");
        let done = kinestream(Path::new(HERE), &["bench", "bridge", &option_and_value]);
        assert_eq!(done.status, Some(1), "{option} {value}");
        assert!(done.stderr.contains(option), "{}", done.stderr);
    }
}
