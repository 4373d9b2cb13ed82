//! `bench control`: what it reports and counts. How prompt this machine is, no test asks.

use std::path::Path;

use crate::support::child::kinestream;
use crate::support::{assert_keys, assert_percentiles, json_object};
use serde_json::Value;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn bench(arguments: &[&str]) -> Value {
    let base = [
        "bench",
        "control",
        "--seconds",
        "1",
        "--rate",
        "200",
        "--json",
    ];
    let done = kinestream(Path::new(HERE), &[&base, arguments].concat()).succeeds();
    json_object(&done.stdout)
}

fn count(report: &Value, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {report}"))
}

#[test]
fn reports_timing_and_what_is_in_force() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_str().unwrap();
    let report = bench(&[
        "--policy",
        "none",
        "--load",
        "all",
        "--scratch",
        folder,
        "--against",
        "tokio",
    ]);
    assert_keys(
        &report,
        &[
            "rate_hz",
            "seconds",
            "ticks",
            "missed",
            "allocations",
            "lateness_us",
            "execution_us",
            "scheduling_policy",
            "priority",
            "cpus",
            "memory_locked_bytes",
            "refused",
            "machine",
            "load",
            "loads",
            "rivals",
        ],
    );
    assert_eq!(
        (&report["rate_hz"], &report["seconds"]),
        (&200.0.into(), &1.0.into())
    );
    // Every period has its tick or is counted as missed, up to the last one.
    let (ticks, missed) = (count(&report, "ticks"), count(&report, "missed"));
    assert!(ticks > 0 && ticks + missed >= 200, "{report}");
    assert_eq!(report["allocations"], 0, "{report}");
    assert_percentiles(&report["lateness_us"]);
    assert_percentiles(&report["execution_us"]);
    assert_ne!(report["scheduling_policy"], "unknown");
    // Without a policy there is no plan, without a plan no command.
    assert_eq!(
        (&report["commands"], &report["inference"]),
        (&0.into(), &Value::Null)
    );
    assert!(count(&report["loads"], "busy_threads") > 0);
    let [tokio] = &report["rivals"].as_array().unwrap()[..] else {
        panic!("{report}");
    };
    assert_eq!(
        (&tokio["name"], &tokio["periods"]),
        (&"tokio".into(), &200.into())
    );
    assert_keys(&tokio["ratio_to_ours"], &["p50", "p99", "p999", "max"]);
}

#[test]
fn commands_follow_the_plans_of_the_shipped_policy() {
    if !Path::new(HERE)
        .join("models/pusht-state/config.json")
        .exists()
    {
        eprintln!("SKIPPED: models/pusht-state is not there");
        return;
    }
    let report = bench(&["--priority", "0"]);
    assert_eq!(
        (&report["priority"], &report["allocations"]),
        (&0.into(), &0.into())
    );
    assert!(count(&report, "commands") > 0, "{report}");
    let inference = &report["inference"];
    assert!(
        count(inference, "plans") > 0 && count(inference, "evaluations") > 0,
        "{report}"
    );
    assert_percentiles(&inference["observation_to_action_ms"]);
    assert!(count(&report["machine"], "cpus") > 0);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let fails = |arguments: &[&str], words: &[&str]| {
        let all = [&["bench", "control"], arguments].concat();
        kinestream(Path::new(HERE), &all).fails(words);
    };
    fails(&["--rate", "0"], &["--rate", "10000"]);
    fails(&["--seconds", "0"], &["--seconds"]);
    fails(
        &["--seconds", "0.001", "--rate", "10"],
        &["--seconds", "period"],
    );
    fails(&["--priority", "100"], &["priority", "99"]);
    fails(&["--cpu", "100000"], &["--cpu", "100000"]);
    fails(
        &[
            "--policy",
            "none",
            "--load",
            "disk",
            "--scratch",
            "/no/such/folder",
        ],
        &["/no/such/folder", "--scratch"],
    );
}
