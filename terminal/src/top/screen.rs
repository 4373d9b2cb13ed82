//! The full screen of `top`: a pure function from what is known to cells, for any size.
//!
//! Two columns from 72 columns on, one below; what does not fit is left out from the bottom.

use std::time::Duration;

use kinestream_bridge::{Health, SafetyState};
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::watch::{LIMITS, Link, Rates, Watch, counts_of};
use super::words::{bytes, count, hertz, microseconds, passed, passed_s, printable, rung};
use super::{histogram, words};

/// Least width for two columns.
const TWO_COLUMNS: u16 = 72;
/// Rows of the histogram: at most, and at least before it is left out.
const HISTOGRAM: std::ops::RangeInclusive<usize> = 2..=8;
/// Rows of the left column beside the histogram.
const LEFT_ROWS: usize = 11;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const WARNING: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);
const GOOD: Style = Style::new().fg(Color::Green);

/// Draws what is known at `now` into `area`.
pub fn render(watch: &Watch, now: Duration, area: Rect, buffer: &mut Buffer) {
    let Some(health) = watch.health() else {
        Paragraph::new(nothing_heard(watch, now))
            .wrap(Wrap { trim: false })
            .render(area, buffer);
        return;
    };
    let width = usize::from(area.width);
    let head = head(watch, health, now);
    let times = times(health);
    // The robot's name comes first where there is too little room for both.
    let both = head[0].width() + times.width() + 2 <= width;
    let [top, rest] = split_rows(area, head.len() as u16);
    Paragraph::new(head).render(top, buffer);
    if both {
        let [first, _] = split_rows(top, 1);
        Paragraph::new(times)
            .alignment(Alignment::Right)
            .render(first, buffer);
    }
    let [body, foot] = split_rows(rest, rest.height.saturating_sub(1));
    if area.width >= TWO_COLUMNS {
        let left = Rect {
            width: area.width / 2 - 1,
            ..body
        };
        let right = Rect {
            x: left.right() + 2,
            width: area.width - left.width - 2,
            ..body
        };
        let rows = usize::from(body.height);
        Paragraph::new(left_column(
            watch,
            health,
            now,
            usize::from(left.width),
            rows,
        ))
        .render(left, buffer);
        Paragraph::new(right_column(watch, health, now, usize::from(right.width)))
            .render(right, buffer);
    } else {
        let mut lines = left_column(watch, health, now, width, LEFT_ROWS + 5);
        lines.extend(right_column(watch, health, now, width));
        Paragraph::new(lines).render(body, buffer);
    }
    let heard = format!("{} at {}", watch.key, watch.address);
    Paragraph::new(Line::styled(format!("q ends · {}", printable(&heard)), DIM))
        .render(foot, buffer);
}

/// The first `rows` rows of an area, as far as it has them, and the others.
fn split_rows(area: Rect, rows: u16) -> [Rect; 2] {
    let rows = rows.min(area.height);
    [
        Rect {
            height: rows,
            ..area
        },
        Rect {
            y: area.y + rows,
            height: area.height - rows,
            ..area
        },
    ]
}

/// What to say as long as nothing was heard.
fn nothing_heard(watch: &Watch, now: Duration) -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::styled("kinestream top", BOLD),
        Line::default(),
        Line::styled(format!("Nothing heard for {}", passed(now)), WARNING),
        Line::raw(format!("on the key {}", printable(&watch.key))),
    ];
    lines.extend(match &watch.link {
        Link::Trying(None) => vec![Line::raw(format!("connecting to {}", watch.address))],
        Link::Trying(Some(error)) => vec![
            Line::styled(
                format!("no connection to {}: trying again", watch.address),
                BAD,
            ),
            Line::styled(printable(error), DIM),
        ],
        Link::Open => vec![Line::raw(format!("at {}, which answers", watch.address))],
    });
    if watch.malformed > 0 {
        lines.push(Line::styled(
            format!(
                "{} messages there are not health as this version knows it",
                watch.malformed
            ),
            BAD,
        ));
    }
    let alive: Vec<_> = watch.nodes().iter().filter(|seen| seen.alive).collect();
    if watch.link == Link::Open && alive.is_empty() {
        lines.push(Line::raw("No node of this robot is alive there."));
    }
    lines.push(Line::default());
    lines.push(Line::raw(
        "Is `kinestream run` running, with this robot name, and listening at this address?",
    ));
    lines.extend(nodes(watch, now));
    lines.push(Line::styled("q ends", DIM));
    lines
}

/// Robot, rung, scheduling: what matters first.
fn head(watch: &Watch, health: &Health, now: Duration) -> Vec<Line<'static>> {
    let title = Line::from(vec![
        Span::styled(printable(&health.robot), BOLD),
        Span::raw(format!(
            "  {} {}",
            printable(&health.node),
            printable(&health.version)
        )),
    ]);
    let mut state = match watch.stale(now) {
        Some(silent) => vec![
            badge("STALE", Style::new().fg(Color::Black).bg(Color::Gray)),
            Span::styled(
                format!(" nothing heard for {}; below is the last", passed(silent)),
                WARNING,
            ),
        ],
        None => vec![
            badge(&rung(health.rung).to_uppercase(), rung_style(health.rung)),
            Span::raw(format!(" for {}", passed_s(health.rung_since_s))),
        ],
    };
    if let Some(reason) = &health.reason {
        state.push(Span::raw(format!(": {}", printable(reason))));
    }
    let counts = health.rung_counts;
    let entered = [
        SafetyState::Continuing,
        SafetyState::Holding,
        SafetyState::SafeStop,
        SafetyState::EmergencyStop,
    ]
    .map(|it| format!("{} {}", rung(it), count(counts.of(it))))
    .join(", ");
    vec![
        title,
        Line::from(state),
        Line::raw(words::scheduling(health)),
        Line::styled(format!("entered: {entered}"), DIM),
    ]
}

fn times(health: &Health) -> Line<'static> {
    let gap = microseconds(1e3 * health.longest_without_command_ms);
    Line::raw(format!(
        "longest gap {gap} · up {}",
        passed_s(health.uptime_s)
    ))
}

fn badge(text: &str, style: Style) -> Span<'static> {
    Span::styled(format!(" {text} "), style.add_modifier(Modifier::BOLD))
}

fn rung_style(rung: SafetyState) -> Style {
    let background = match rung {
        SafetyState::Waiting => Color::Blue,
        SafetyState::Running => Color::Green,
        SafetyState::Continuing => Color::Cyan,
        SafetyState::Holding => Color::Yellow,
        SafetyState::SafeStop | SafetyState::EmergencyStop => Color::Red,
    };
    Style::new().fg(Color::Black).bg(background)
}

/// Rates and the command loop.
fn left_column(
    watch: &Watch,
    health: &Health,
    now: Duration,
    width: usize,
    rows: usize,
) -> Vec<Line<'static>> {
    let control = &health.control;
    let mut lines = vec![rule("Rates, last minute", width)];
    let rate = |name: &str, rate: fn(&Rates) -> f64, value: f64, full: f64| {
        let places = width.saturating_sub(25);
        let bars = histogram::sparkline(&watch.history(rate, places, now), full);
        Line::from(vec![
            Span::raw(format!(" {name:<12} {:>9} ", hertz(value))),
            Span::styled(bars, Style::new().fg(Color::Cyan)),
        ])
    };
    let policy = &health.policy;
    lines.push(rate(
        "observations",
        |it| it.observations,
        policy.observations_per_second,
        0.0,
    ));
    lines.push(rate("plans", |it| it.plans, policy.plans_per_second, 0.0));
    lines.push(rate(
        "commands",
        |it| it.commands,
        control.measured_hz,
        control.rate_hz,
    ));

    lines.push(rule(
        &format!("Lateness at {}", hertz(control.rate_hz)),
        width,
    ));
    let height = rows.saturating_sub(LEFT_ROWS).min(*HISTOGRAM.end());
    if height >= *HISTOGRAM.start() && !control.lateness_buckets.is_empty() {
        let mut bars = histogram::rows(&control.lateness_buckets, height);
        let axis = bars.pop().unwrap_or_default();
        let bar = Style::new().fg(Color::Cyan);
        lines.extend(
            bars.into_iter()
                .map(|row| Line::styled(format!(" {row}"), bar)),
        );
        lines.push(Line::styled(format!(" {axis}"), DIM));
    }
    let late = control.lateness_us;
    lines.push(Line::raw(format!(
        " p50 {}  p99 {}",
        microseconds(late.p50),
        microseconds(late.p99)
    )));
    lines.push(Line::raw(format!(
        " p99.9 {}  max {}",
        microseconds(late.p999),
        microseconds(late.max)
    )));
    lines.push(Line::styled(
        format!(
            " execution p99 {}, max {}",
            microseconds(control.execution_us.p99),
            microseconds(control.execution_us.max)
        ),
        DIM,
    ));
    let missed = format!(
        " missed {} of {}",
        count(control.missed),
        count(control.ticks)
    );
    lines.push(Line::styled(
        format!("{missed}{}", ago(watch.missed_rose(), now)),
        if control.missed > 0 { WARNING } else { GOOD },
    ));
    lines.push(Line::styled(
        format!(
            " {} sent, {} dropped",
            count(control.published),
            count(control.dropped)
        ),
        if control.dropped > 0 { WARNING } else { DIM },
    ));
    lines
}

/// Nodes, policy, limits, recorder.
fn right_column(watch: &Watch, health: &Health, now: Duration, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![rule("Nodes", width)];
    lines.extend(nodes(watch, now));

    let policy = &health.policy;
    let latency = policy.latency_ms;
    lines.push(rule("Policy", width));
    lines.push(Line::raw(format!(
        " p50 {:.2}, p99 {:.2}, last {:.2} ms, {} late",
        latency.p50, latency.p99, latency.last, policy.late
    )));
    lines.push(Line::raw(format!(
        " delay {} actions, at most {}",
        policy.delay_actions.last, policy.delay_actions.max
    )));
    let trouble = words::troubles(policy);
    lines.push(match trouble.is_empty() {
        true => Line::styled(" no observation refused or late", DIM),
        false => Line::styled(format!(" observations: {trouble}"), WARNING),
    });
    if let Some(fault) = &policy.fault {
        lines.push(Line::styled(format!(" {}", printable(fault)), BAD));
    }

    let limits = &health.limits;
    lines.push(rule(
        &format!("Limits: {} commands changed", count(limits.limited)),
        width,
    ));
    let rose = watch.limits_rose();
    for ((name, number), at) in LIMITS.into_iter().zip(counts_of(limits)).zip(rose) {
        lines.push(Line::styled(
            format!(" {name:<13}{:>9}{}", count(number), ago(at, now)),
            if number > 0 { WARNING } else { DIM },
        ));
    }
    lines.push(Line::styled(
        format!(" largest change {:.4}", limits.largest_deviation),
        DIM,
    ));

    lines.push(rule("Recorder", width));
    match &health.recorder {
        None => lines.push(Line::styled(" not recording", DIM)),
        Some(recorder) => {
            lines.push(Line::raw(format!(" {}", printable(&recorder.file))));
            lines.push(Line::styled(
                format!(
                    " {}, {} messages, {} dropped",
                    bytes(recorder.bytes),
                    count(recorder.messages),
                    count(recorder.dropped)
                ),
                if recorder.dropped > 0 { WARNING } else { DIM },
            ));
            if let Some(fault) = &recorder.fault {
                lines.push(Line::styled(format!(" {}", printable(fault)), BAD));
            }
        }
    }
    lines
}

fn nodes(watch: &Watch, now: Duration) -> Vec<Line<'static>> {
    let node = |seen: &super::watch::Seen| {
        let name = printable(&seen.name);
        let time = passed(now.saturating_sub(seen.since));
        match (seen.alive, seen.found) {
            (true, true) => Line::styled(format!(" ● {name:<12} up {time} or longer"), GOOD),
            (true, false) => Line::styled(format!(" ● {name:<12} up {time}"), GOOD),
            (false, _) => Line::styled(format!(" ○ {name:<12} gone for {time}"), BAD),
        }
    };
    watch.nodes().iter().map(node).collect()
}

/// A title with a line to the end of the column.
fn rule(title: &str, width: usize) -> Line<'static> {
    let rest = width.saturating_sub(title.chars().count() + 1);
    Line::from(vec![
        Span::styled(format!("{title} "), BOLD),
        Span::styled("─".repeat(rest), DIM),
    ])
}

fn ago(at: Option<Duration>, now: Duration) -> String {
    at.map_or_else(String::new, |at| {
        format!("  {} ago", passed(now.saturating_sub(at)))
    })
}
