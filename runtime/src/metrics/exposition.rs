//! [`Health`] of one robot or several in the text format of Prometheus, version 0.0.4.
//!
//! Units are the base units of Prometheus (seconds, bytes); counters end in `_total` and begin anew
//! with the runtime. Rates are left to the reader, which has the counters.

use std::fmt::{Display, Write};

use kinestream_bridge::Health;
use kinestream_bridge::health::{
    ControlHealth, LimitHealth, PolicyHealth, RecorderHealth, SafetyState,
};

/// The format's content type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of every robot's health, one family after the other; every sample names its robot.
pub(super) fn text(robots: &[Health]) -> String {
    let mut out = Exposition::default();
    for health in robots {
        out.robot.clone_from(&health.robot);
        tell(&mut out, health);
    }
    out.families.into_iter().map(|family| family.text).collect()
}

fn tell(out: &mut Exposition, health: &Health) {
    let granted = &health.control.scheduling;
    out.family("info", Gauge, "Names and versions, always 1.");
    let labels = [
        ("node", health.node.as_str()),
        ("version", &health.version),
        ("scheduling_policy", &granted.policy),
    ];
    out.labelled("info", &labels, 1);
    out.one(
        "uptime_seconds",
        Gauge,
        "Time since the runtime started.",
        health.uptime_s,
    );

    out.family(
        "rung",
        Gauge,
        "1 for the rung of the watchdog's ladder that is in force, 0 for the others.",
    );
    for rung in SafetyState::ALL {
        out.labelled(
            "rung",
            &[("rung", rung.name())],
            u8::from(rung == health.rung),
        );
    }
    out.one(
        "rung_seconds",
        Gauge,
        "Time on the rung in force.",
        health.rung_since_s,
    );
    out.family(
        "rung_entered_total",
        Counter,
        "How often each rung was entered.",
    );
    for rung in SafetyState::ALL {
        let count = health.rung_counts.of(rung);
        out.labelled("rung_entered_total", &[("rung", rung.name())], count);
    }
    out.one(
        "longest_without_command_seconds",
        Gauge,
        "Longest time without a valid command that follows a plan, since the robot was armed.",
        health.longest_without_command_ms / 1e3,
    );
    control(out, &health.control);
    policy(out, &health.policy);
    limits(out, &health.limits);
    recorder(out, health.recorder.as_ref());
}

fn control(out: &mut Exposition, control: &ControlHealth) {
    out.one(
        "control_rate_hertz",
        Gauge,
        "Periods per second asked for.",
        control.rate_hz,
    );
    out.one(
        "control_measured_hertz",
        Gauge,
        "Periods per second kept lately.",
        control.measured_hz,
    );
    out.one(
        "control_ticks_total",
        Counter,
        "Periods that were served.",
        control.ticks,
    );
    out.one(
        "control_missed_total",
        Counter,
        "Periods that passed without being served.",
        control.missed,
    );
    lateness(out, control);
    out.percentiles(
        "control_lateness_percentile_seconds",
        "Percentiles of the wake-up after the deadline.",
        1e-6,
        &of(
            control.lateness_us.p50,
            control.lateness_us.p99,
            control.lateness_us.p999,
            control.lateness_us.max,
        ),
    );
    out.percentiles(
        "control_execution_percentile_seconds",
        "Percentiles of the time from the wake-up to the end of the tick.",
        1e-6,
        &of(
            control.execution_us.p50,
            control.execution_us.p99,
            control.execution_us.p999,
            control.execution_us.max,
        ),
    );
    if let Some(allocations) = control.allocations {
        out.one(
            "control_allocations_total",
            Counter,
            "Heap allocations of the control thread.",
            allocations,
        );
    }
    out.one(
        "control_priority",
        Gauge,
        "Real-time priority that was granted, 0 for none.",
        control.scheduling.priority,
    );
    out.one(
        "control_memory_locked",
        Gauge,
        "1 if the memory of the process is locked.",
        u8::from(control.scheduling.memory_locked),
    );
    out.one(
        "commands_published_total",
        Counter,
        "Commands that were sent.",
        control.published,
    );
    out.one(
        "commands_dropped_total",
        Counter,
        "Commands that the ring to the publisher had no room for.",
        control.dropped,
    );
}

/// The histogram: counts add up from bucket to bucket, bounds are in seconds.
fn lateness(out: &mut Exposition, control: &ControlHealth) {
    const NAME: &str = "control_lateness_seconds";
    out.family(
        NAME,
        Histogram,
        "Wake-up of the control thread after its deadline.",
    );
    let mut sum = 0.0;
    let bucket = format!("{NAME}_bucket");
    let last = control.lateness_buckets.len().saturating_sub(1);
    for (index, [bound, count]) in control.lateness_buckets.iter().enumerate() {
        sum += count;
        // The last bucket also holds what is above its bound.
        if index < last {
            // Microseconds divided, not multiplied by 1e-6: so 20 becomes 0.00002 exactly.
            out.labelled(&bucket, &[("le", &(bound / 1e6).to_string())], sum);
        }
    }
    out.labelled(&bucket, &[("le", "+Inf")], sum);
    if let Some(total) = control.lateness_sum_us {
        out.labelled(&format!("{NAME}_sum"), &[], total / 1e6);
    }
    out.labelled(&format!("{NAME}_count"), &[], sum);
}

fn policy(out: &mut Exposition, policy: &PolicyHealth) {
    out.one(
        "observations_total",
        Counter,
        "Observations accepted.",
        policy.observations,
    );
    out.family(
        "observations_useless_total",
        Counter,
        "Observations that were of no use, by what was wrong.",
    );
    for (what, count) in [
        ("refused", policy.refused),
        ("malformed", policy.malformed),
        ("stale", policy.stale),
        ("duplicated", policy.duplicated),
        ("out_of_order", policy.out_of_order),
        ("dropped", policy.dropped),
    ] {
        out.labelled("observations_useless_total", &[("what", what)], count);
    }
    out.one("plans_total", Counter, "Plans made.", policy.plans);
    out.one(
        "evaluations_total",
        Counter,
        "Network evaluations.",
        policy.evaluations,
    );
    out.one(
        "plans_late_total",
        Counter,
        "Plans that came after their deadline.",
        policy.late,
    );
    let latency = policy.latency_ms;
    let mut latencies = of(latency.p50, latency.p99, latency.p999, latency.max).to_vec();
    latencies.push(("last", latency.last));
    out.percentiles(
        "policy_latency_percentile_seconds",
        "From an observation to its plan.",
        1e-3,
        &latencies,
    );
    out.family(
        "policy_delay_actions",
        Gauge,
        "Actions consumed while a plan was computed.",
    );
    out.labelled(
        "policy_delay_actions",
        &[("statistic", "last")],
        policy.delay_actions.last,
    );
    out.labelled(
        "policy_delay_actions",
        &[("statistic", "max")],
        policy.delay_actions.max,
    );
    out.one(
        "policy_fault",
        Gauge,
        "1 if the policy has a fault.",
        u8::from(policy.fault.is_some()),
    );
}

fn limits(out: &mut Exposition, limits: &LimitHealth) {
    out.family(
        "limit_interventions_total",
        Counter,
        "Commands that broke a limit, by limit.",
    );
    for (limit, count) in [
        ("not_finite", limits.not_finite),
        ("position", limits.position),
        ("velocity", limits.velocity),
        ("acceleration", limits.acceleration),
        ("jerk", limits.jerk),
    ] {
        out.labelled("limit_interventions_total", &[("limit", limit)], count);
    }
    out.one(
        "commands_limited_total",
        Counter,
        "Commands that any limit changed.",
        limits.limited,
    );
    out.one(
        "limit_largest_deviation",
        Gauge,
        "Largest change of a command by the limits, in the units of the actions.",
        limits.largest_deviation,
    );
}

fn recorder(out: &mut Exposition, recorder: Option<&RecorderHealth>) {
    let recording = recorder.is_some_and(|it| it.fault.is_none());
    out.one(
        "recorder_recording",
        Gauge,
        "1 while a recording is written.",
        u8::from(recording),
    );
    let Some(recorder) = recorder else { return };
    out.one(
        "recorder_messages_total",
        Counter,
        "Messages written.",
        recorder.messages,
    );
    out.one(
        "recorder_bytes_total",
        Counter,
        "Bytes written.",
        recorder.bytes,
    );
    out.one(
        "recorder_dropped_total",
        Counter,
        "Messages that the ring to the recorder had no room for.",
        recorder.dropped,
    );
}

/// Kinds of metric families, as the format names them.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

/// A text under construction. Names are given without the prefix `kinestream_`.
#[derive(Default)]
struct Exposition {
    /// Whose samples follow.
    robot: String,
    families: Vec<Family>,
    /// The family whose samples follow.
    current: usize,
}

/// A family with the samples of all robots, which the format wants side by side.
struct Family {
    name: String,
    text: String,
}

impl Exposition {
    /// Begins a family, or goes on with the one of that name; samples follow.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let known = self.families.iter().position(|family| family.name == name);
        self.current = known.unwrap_or_else(|| {
            let kind = match kind {
                Counter => "counter",
                Gauge => "gauge",
                Histogram => "histogram",
            };
            self.families.push(Family {
                name: name.to_owned(),
                text: format!("# HELP kinestream_{name} {help}\n# TYPE kinestream_{name} {kind}\n"),
            });
            self.families.len() - 1
        });
    }

    /// A sample.
    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let own = [("robot", self.robot.as_str())];
        let labels: Vec<_> = own
            .iter()
            .chain(labels)
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        let labels = labels.join(",");
        let Some(family) = self.families.get_mut(self.current) else {
            return;
        };
        // Writing into a String cannot fail.
        let _ = writeln!(family.text, "kinestream_{name}{{{labels}}} {value}");
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.labelled(name, &[], value);
    }

    /// A gauge per statistic, in seconds; `unit` is one of theirs in seconds.
    fn percentiles(&mut self, name: &str, help: &str, unit: f64, values: &[(&str, f64)]) {
        self.family(name, Gauge, help);
        for (statistic, value) in values {
            self.labelled(name, &[("statistic", statistic)], value * unit);
        }
    }
}

fn of(p50: f64, p99: f64, p999: f64, max: f64) -> [(&'static str, f64); 4] {
    [("p50", p50), ("p99", p99), ("p999", p999), ("max", max)]
}

/// A label's value: backslash, quote and line feed are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests;
