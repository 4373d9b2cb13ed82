//! The snapshot of `top --once`: plain text for logs.

use std::fmt::Write;
use std::time::Duration;

use kinestream_bridge::SafetyState;

use super::watch::{LIMITS, Watch, counts_of};
use super::words::{
    bytes, count, hertz, microseconds, passed_s, printable, rung, scheduling, troubles,
};

/// What is known at `now`, a subject per line; none if nothing was heard.
pub fn snapshot(watch: &Watch, now: Duration) -> Option<String> {
    let health = watch.health()?;
    let (control, policy, limits) = (&health.control, &health.policy, &health.limits);
    let mut text = String::new();
    let mut line = |subject: &str, words: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{subject:<12} {words}");
    };
    line(
        "robot",
        &format!(
            "{}; {} {}, up {}",
            printable(&health.robot),
            printable(&health.node),
            printable(&health.version),
            passed_s(health.uptime_s)
        ),
    );
    let mut state = format!(
        "{} for {}",
        rung(health.rung),
        passed_s(health.rung_since_s)
    );
    if let Some(silent) = watch.stale(now) {
        state = format!(
            "stale, nothing heard for {} s; last: {state}",
            silent.as_secs()
        );
    }
    if let Some(reason) = &health.reason {
        state = format!("{state}: {}", printable(reason));
    }
    line("rung", &state);
    let entered =
        SafetyState::ALL.map(|it| format!("{} {}", rung(it), count(health.rung_counts.of(it))));
    line(
        "entered",
        &format!(
            "{}; longest without a command {:.0} ms",
            entered.join(", "),
            health.longest_without_command_ms
        ),
    );
    let alive = |alive| {
        let names = watch.nodes().iter().filter(move |seen| seen.alive == alive);
        names.map(|seen| printable(&seen.name)).collect::<Vec<_>>()
    };
    let gone = alive(false);
    line(
        "nodes",
        &match gone.is_empty() {
            true => alive(true).join(", "),
            false => format!("{}; gone: {}", alive(true).join(", "), gone.join(", ")),
        },
    );
    line(
        "rates",
        &format!(
            "observations {}, plans {}, commands {} of {}",
            hertz(policy.observations_per_second),
            hertz(policy.plans_per_second),
            hertz(control.measured_hz),
            hertz(control.rate_hz)
        ),
    );
    line(
        "periods",
        &format!(
            "{} served, {} missed; {} commands sent, {} dropped",
            count(control.ticks),
            count(control.missed),
            count(control.published),
            count(control.dropped)
        ),
    );
    for (subject, times) in [
        ("lateness", control.lateness_us),
        ("execution", control.execution_us),
    ] {
        let [p50, p99, p999, max] = [times.p50, times.p99, times.p999, times.max].map(microseconds);
        line(
            subject,
            &format!("p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}"),
        );
    }
    let late = control
        .lateness_buckets
        .iter()
        .filter(|[_, count]| *count > 0.0);
    let late: Vec<_> = late
        .map(|[bound, number]| format!("<= {} {number:.0}", microseconds(*bound)))
        .collect();
    line("histogram", &late.join(", "));
    line("scheduling", &scheduling(health));
    let latency = policy.latency_ms;
    line(
        "policy",
        &format!(
            "observation to plan p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}, last {:.2} ms; \
             {} late; delay {} actions, at most {}",
            latency.p50,
            latency.p99,
            latency.p999,
            latency.max,
            latency.last,
            policy.late,
            policy.delay_actions.last,
            policy.delay_actions.max
        ),
    );
    let trouble = troubles(policy);
    if !trouble.is_empty() {
        line("observations", &trouble);
    }
    if let Some(fault) = &policy.fault {
        line("fault", &printable(fault));
    }
    let each = LIMITS.into_iter().zip(counts_of(limits));
    let each: Vec<_> = each
        .map(|(name, number)| format!("{name} {}", count(number)))
        .collect();
    line(
        "limits",
        &format!(
            "{}; {} commands changed, by {} at most",
            each.join(", "),
            count(limits.limited),
            limits.largest_deviation
        ),
    );
    line(
        "recorder",
        &health.recorder.as_ref().map_or_else(
            || "not recording".to_owned(),
            |it| {
                let fault = it
                    .fault
                    .as_ref()
                    .map_or_else(String::new, |fault| format!("; {}", printable(fault)));
                format!(
                    "{}, {}, {} messages, {} dropped{fault}",
                    printable(&it.file),
                    bytes(it.bytes),
                    count(it.messages),
                    count(it.dropped)
                )
            },
        ),
    );
    Some(text)
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::Health;

    use super::super::testing::watch;
    use super::*;

    #[test]
    fn a_snapshot_is_a_subject_per_line() {
        let text = snapshot(&watch(Health::example()), Duration::from_secs(61)).unwrap();
        for line in [
            "robot        arm; runtime 0.1.0, up 1 h 2 min\n",
            "rung         holding for 2 s: no observation for 0.4 s\n",
            "nodes        runtime; gone: simulator\n",
            "rates        observations 9.9 Hz, plans 9.8 Hz, commands 499.9 Hz of 500.0 Hz\n",
            "periods      1,860,000 served, 3 missed; 1,859,990 commands sent, 10 dropped\n",
            "lateness     p50 12 µs, p99 80 µs, p99.9 95 µs, max 120 µs\n",
            "scheduling   SCHED_FIFO 50 · cpu 1 · memory locked · 0 allocations\n",
            "observations 2 refused, 1 stale\n",
            "recorder     runs/arm.mcap, 3.4 MB, 12,345 messages, 0 dropped\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn silence_is_told() {
        let text = snapshot(&watch(Health::example()), Duration::from_secs(70)).unwrap();
        assert!(
            text.contains("stale, nothing heard for 10 s; last: holding"),
            "{text}"
        );
        let unheard = Watch::new("key".into(), "address".into());
        assert_eq!(snapshot(&unheard, Duration::ZERO), None);
    }
}
