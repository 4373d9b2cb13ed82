//! Every line is read with a parser of the exposition grammar, written from its description:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::collections::{BTreeMap, BTreeSet};

use kinestream_bridge::health::lateness_buckets;

use super::*;

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Debug, Default)]
struct Parsed {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Parsed {
    /// The first sample with these labels, whichever robot's it is unless they say so.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: BTreeMap<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = self.samples.iter().find(|it| {
            let mut of_it = it.labels.clone();
            if !labels.contains_key("robot") {
                of_it.remove("robot").expect("every sample names its robot");
            }
            it.name == name && of_it == labels
        });
        found
            .unwrap_or_else(|| panic!("no {name} {labels:?}"))
            .value
    }
}

fn is_name(text: &str, colons: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !text.is_empty() && text.chars().all(allowed) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// `{name="value",...}` at the start of `text`, if there is one; returns what follows.
fn parse_labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (labels, text);
    };
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"").expect("a label has a quoted value");
        assert!(is_name(name, false), "label {name:?}");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("the value's closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().map(|(_, c)| c) {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("escape of {other:?}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(
            labels.insert(name.to_owned(), value).is_none(),
            "{name} twice"
        );
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (labels, &rest[1..])
}

fn parse_value(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        _ => {
            let value: f64 = text.parse().unwrap_or_else(|_| panic!("value {text:?}"));
            assert!(value.is_finite(), "value {text:?}");
            value
        }
    }
}

fn parse(text: &str) -> Parsed {
    assert!(text.ends_with('\n'), "the last line ends in a line feed");
    let mut parsed = Parsed::default();
    let mut helped = BTreeSet::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').expect("a help text");
            assert!(
                is_name(name, true) && helped.insert(name.to_owned()),
                "{line}"
            );
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "{name} has no help");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(
                parsed
                    .types
                    .insert(name.to_owned(), kind.to_owned())
                    .is_none(),
                "{name} has two types"
            );
            current = name.to_owned();
            continue;
        }
        let end = line.find(['{', ' ']).expect("a value");
        let (name, rest) = line.split_at(end);
        assert!(is_name(name, true), "{line}");
        let (labels, rest) = parse_labels(rest);
        let value = parse_value(rest.strip_prefix(' ').expect("a space before the value"));
        let family = match parsed.types.get(&current).map(String::as_str) {
            Some("histogram") => ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name),
            _ => name,
        };
        assert_eq!(family, current, "samples stand with their family");
        assert!(seen.insert(format!("{name} {labels:?}")), "twice: {line}");
        parsed.samples.push(Sample {
            name: name.to_owned(),
            labels,
            value,
        });
    }
    assert_eq!(helped.len(), parsed.types.len());
    parsed
}

#[test]
fn every_line_follows_the_grammar_and_the_values_are_those_of_the_health() {
    let parsed = parse(&text(&[Health::example()]));
    let labels = [
        ("robot", "arm"),
        ("node", "runtime"),
        ("version", "0.1.0"),
        ("scheduling_policy", "SCHED_FIFO"),
    ];
    assert_eq!(parsed.value("kinestream_info", &labels), 1.0);
    for (name, labels, value) in [
        ("kinestream_uptime_seconds", &[][..], 3725.0),
        ("kinestream_rung", &[("rung", "holding")], 1.0),
        ("kinestream_rung", &[("rung", "running")], 0.0),
        (
            "kinestream_rung_entered_total",
            &[("rung", "continuing")],
            7.0,
        ),
        ("kinestream_longest_without_command_seconds", &[], 0.4125),
        ("kinestream_control_ticks_total", &[], 1_860_000.0),
        ("kinestream_control_missed_total", &[], 3.0),
        ("kinestream_control_allocations_total", &[], 0.0),
        ("kinestream_control_priority", &[], 50.0),
        (
            "kinestream_observations_useless_total",
            &[("what", "refused")],
            2.0,
        ),
        ("kinestream_plans_total", &[], 37_208.0),
        (
            "kinestream_policy_delay_actions",
            &[("statistic", "max")],
            1.0,
        ),
        (
            "kinestream_limit_interventions_total",
            &[("limit", "velocity")],
            12.0,
        ),
        ("kinestream_recorder_bytes_total", &[], 3_400_000.0),
        ("kinestream_recorder_recording", &[], 1.0),
    ] {
        assert_eq!(parsed.value(name, labels), value, "{name} {labels:?}");
    }
    let p99 = parsed.value(
        "kinestream_policy_latency_percentile_seconds",
        &[("statistic", "p99")],
    );
    assert!((p99 - 0.00851).abs() < 1e-12);
}

#[test]
fn the_histogram_adds_up() {
    let mut health = Health::example();
    // 10 ticks each below 5 µs, 50 µs and above 1 s.
    health.control.lateness_buckets = lateness_buckets(30, |bound| match bound {
        _ if bound < 5.0 => 0,
        _ if bound < 50.0 => 10,
        _ => 20,
    });
    let parsed = parse(&text(&[health]));
    const NAME: &str = "kinestream_control_lateness_seconds";
    let bucket = |le: &str| parsed.value(&format!("{NAME}_bucket"), &[("le", le)]);
    assert_eq!(bucket("0.000002"), 0.0);
    assert_eq!(bucket("0.000005"), 10.0);
    assert_eq!(bucket("0.00005"), 20.0);
    assert_eq!(bucket("0.5"), 20.0);
    assert_eq!(bucket("+Inf"), 30.0);
    assert_eq!(parsed.value(&format!("{NAME}_count"), &[]), 30.0);
    assert_eq!(parsed.value(&format!("{NAME}_sum"), &[]), 24.0);
    let buckets: Vec<_> = parsed
        .samples
        .iter()
        .filter(|it| it.name.ends_with("_bucket"))
        .map(|it| (parse_value(&it.labels["le"]), it.value))
        .collect();
    assert!(
        buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
        "{buckets:?}"
    );
    assert_eq!(buckets.len(), 19);
}

#[test]
fn nothing_known_and_names_full_of_quotes_are_written_too() {
    let parsed = parse(&text(&[Health::default()]));
    assert_eq!(
        parsed.value("kinestream_control_lateness_seconds_count", &[]),
        0.0
    );
    assert_eq!(parsed.value("kinestream_recorder_recording", &[]), 0.0);
    assert!(
        !parsed
            .types
            .contains_key("kinestream_control_allocations_total")
    );
    let robot = "a\"b\\c\nd{},=";
    let mut odd = Health {
        robot: robot.to_owned(),
        uptime_s: 1e300,
        ..Health::default()
    };
    odd.control.ticks = u64::MAX;
    odd.control.measured_hz = 1e-300;
    let parsed = parse(&text(&[odd]));
    assert_eq!(parsed.samples[0].labels["robot"], robot);
    assert_eq!(parsed.value("kinestream_uptime_seconds", &[]), 1e300);
}

#[test]
fn families_hold_the_samples_of_every_robot() {
    let other = Health {
        robot: "leg".to_owned(),
        uptime_s: 2.5,
        ..Health::default()
    };
    // That samples stand with their family, and none twice, is checked by the parser.
    let parsed = parse(&text(&[Health::example(), other]));
    let uptime = |robot| parsed.value("kinestream_uptime_seconds", &[("robot", robot)]);
    assert_eq!((uptime("arm"), uptime("leg")), (3725.0, 2.5));
}
