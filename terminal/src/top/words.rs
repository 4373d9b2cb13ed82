//! How `top` writes durations, counts and texts that came from elsewhere.

use std::time::Duration;

use kinestream_bridge::health::PolicyHealth;
use kinestream_bridge::{Health, SafetyState};

/// Time passed, in the two largest units: `12 s`, `3 min 4 s`, `1 h 2 min`, `3 d 4 h`.
pub fn passed(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// As [`passed`], of seconds that somebody sent: never fails, however large they are.
pub fn passed_s(seconds: f64) -> String {
    passed(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// A duration given in microseconds, with two or three figures: `8.5 µs`, `85 µs`, `1.2 ms`.
pub fn microseconds(us: f64) -> String {
    let (value, unit) = match us {
        _ if us < 1e3 => (us, "µs"),
        _ if us < 1e6 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    if value < 10.0 && value > 0.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A rate in hertz: `9.9 Hz`, `2000 Hz`.
pub fn hertz(rate: f64) -> String {
    if rate < 1000.0 {
        format!("{rate:.1} Hz")
    } else {
        format!("{rate:.0} Hz")
    }
}

/// A count with separators: `12,000`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in bytes: `512 B`, `3.4 MB`.
pub fn bytes(size: u64) -> String {
    let size = size as f64;
    match size {
        _ if size < 1e3 => format!("{size:.0} B"),
        _ if size < 1e6 => format!("{:.1} kB", size / 1e3),
        _ if size < 1e9 => format!("{:.1} MB", size / 1e6),
        _ => format!("{:.1} GB", size / 1e9),
    }
}

/// A text from another program, on one line: what could steer a terminal becomes `?`.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            _ if c.is_control() => '?',
            _ => c,
        })
        .collect()
}

/// A rung as a person reads it.
pub fn rung(rung: SafetyState) -> String {
    rung.name().replace('_', " ")
}

/// What the operating system granted to the control thread, and what it has cost.
pub fn scheduling(health: &Health) -> String {
    let granted = &health.control.scheduling;
    let mut parts = vec![match (granted.policy.as_str(), granted.priority) {
        ("", _) => "scheduling unknown".to_owned(),
        (policy, 0) => printable(policy),
        (policy, priority) => format!("{} {priority}", printable(policy)),
    }];
    if !granted.cpus.is_empty() {
        // Long lists say no more than their beginning.
        let cpus: Vec<_> = granted.cpus.iter().take(8).map(u32::to_string).collect();
        let more = if granted.cpus.len() > 8 { ",…" } else { "" };
        parts.push(format!("cpu {}{more}", cpus.join(",")));
    }
    let locked = if granted.memory_locked { "" } else { "not " };
    parts.push(format!("memory {locked}locked"));
    if let Some(allocations) = health.control.allocations {
        parts.push(format!("{} allocations", count(allocations)));
    }
    parts.join(" · ")
}

/// Observations that were of no use, by kind; empty if there were none.
pub fn troubles(policy: &PolicyHealth) -> String {
    let kinds = [
        (policy.refused, "refused"),
        (policy.malformed, "malformed"),
        (policy.stale, "stale"),
        (policy.duplicated, "twice"),
        (policy.out_of_order, "out of order"),
        (policy.dropped, "without room"),
    ];
    let some = kinds.into_iter().filter(|(number, _)| *number > 0);
    let told: Vec<_> = some
        .map(|(number, kind)| format!("{} {kind}", count(number)))
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_their_two_largest_units() {
        for (seconds, expected) in [
            (0.9, "0 s"),
            (59.0, "59 s"),
            (61.5, "1 min 1 s"),
            (3600.0 * 25.5, "1 d 1 h"),
            (3725.0, "1 h 2 min"),
        ] {
            assert_eq!(passed_s(seconds), expected);
        }
        assert!(passed_s(1e300).ends_with(" h"));
        for (us, expected) in [
            (0.0, "0 µs"),
            (0.25, "0.2 µs"),
            (85.4, "85 µs"),
            (1234.0, "1.2 ms"),
            (3.4e6, "3.4 s"),
        ] {
            assert_eq!(microseconds(us), expected);
        }
    }

    #[test]
    fn counts_have_separators_and_sizes_units() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(12_000), "12,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(
            [bytes(12), bytes(3_400_000)],
            ["12 B", "3.4 MB"].map(String::from)
        );
    }

    #[test]
    fn nothing_from_elsewhere_steers_the_terminal() {
        assert_eq!(printable("a\n\u{1b}[2Jb\u{9b}"), "a ?[2Jb?");
    }
}
