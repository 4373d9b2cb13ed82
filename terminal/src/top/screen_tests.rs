//! The screen at several sizes, on ratatui's test terminal.

use std::time::Duration;

use kinestream_bridge::Health;
use kinestream_bridge::health::{MAX_BUCKETS, SafetyState};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::screen::render;
use super::testing::watch;
use super::watch::{Link, Watch};

fn terminal(watch: &Watch, now: u64, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            render(watch, Duration::from_secs(now), area, frame.buffer_mut());
        })
        .unwrap();
    terminal.backend().clone()
}

fn screen(watch: &Watch, now: u64, width: u16, height: u16) -> String {
    terminal(watch, now, width, height).to_string()
}

#[test]
fn everything_fits_eighty_by_twenty_four() {
    let text = screen(&watch(Health::example()), 61, 80, 24);
    println!("{text}");
    for words in [
        "arm  runtime 0.1.0",
        "longest gap 412 ms · up 1 h 2 min",
        "1,859,990 sent, 10 dropped",
        " HOLDING  for 2 s: no observation for 0.4 s",
        "SCHED_FIFO 50 · cpu 1 · memory locked · 0 allocations",
        "continuing 7, holding 3, safe stop 0, emergency stop 0",
        "observations    9.9 Hz",
        "commands      499.9 Hz",
        "Lateness at 500.0 Hz",
        "1µs   10µs  100µs 1ms   10ms  100ms 1s",
        "p99.9 95 µs  max 120 µs",
        "missed 3 of 1,860,000",
        "● runtime      up 1 min 1 s or longer",
        "○ simulator    gone for 13 s",
        "p50 4.85, p99 8.51, last 5.01 ms",
        "observations: 2 refused, 1 stale",
        "Limits: 12 commands changed",
        "velocity            12  4 s ago",
        "not finite           0",
        "largest change 0.0213",
        "runs/arm.mcap",
        "3.4 MB, 12,345 messages, 0 dropped",
        "q ends",
    ] {
        assert!(text.contains(words), "`{words}` is missing in\n{text}");
    }
    assert!(text.contains('█') && text.contains('▄'), "{text}");
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let heard = watch(Health::example());
    let unheard = Watch::new("kinestream/arm/health".into(), "tcp/127.0.0.1:7447".into());
    for width in [1, 2, 20, 39, 71, 72, 80, 250] {
        for height in [1, 2, 5, 6, 11, 24, 100] {
            for now in [61, 100_000] {
                screen(&heard, now, width, height);
                screen(&unheard, now, width, height);
            }
        }
    }
    // What matters most is there at the smallest.
    let text = screen(&heard, 61, 20, 5);
    assert!(text.contains("HOLDING") && text.contains("arm"), "{text}");
    assert!(screen(&heard, 61, 60, 40).contains("Recorder"));
}

#[test]
fn rungs_have_their_colours() {
    for (rung, colour) in [
        (SafetyState::Running, Color::Green),
        (SafetyState::Holding, Color::Yellow),
        (SafetyState::SafeStop, Color::Red),
        (SafetyState::EmergencyStop, Color::Red),
    ] {
        let drawn = terminal(
            &watch(Health {
                rung,
                ..Health::example()
            }),
            61,
            80,
            24,
        );
        assert_eq!(drawn.buffer()[(1, 1)].bg, colour, "{rung:?}");
    }
}

#[test]
fn what_is_stale_is_said_to_be() {
    let text = screen(&watch(Health::example()), 90, 80, 24);
    assert!(text.contains(" STALE  nothing heard for 30 s"), "{text}");
    assert!(!text.contains("HOLDING"), "{text}");
}

#[test]
fn nothing_heard_says_since_when_on_which_key_and_where() {
    let mut watch = Watch::new("kinestream/arm/health".into(), "tcp/127.0.0.1:7447".into());
    watch.link = Link::Trying(Some("Connection refused".into()));
    let text = screen(&watch, 12, 80, 24);
    for words in [
        "Nothing heard for 12 s",
        "on the key kinestream/arm/health",
        "no connection to tcp/127.0.0.1:7447: trying again",
        "Connection refused",
    ] {
        assert!(text.contains(words), "`{words}` is missing in\n{text}");
    }
    watch.link = Link::Open;
    assert!(screen(&watch, 12, 80, 24).contains("No node of this robot is alive there."));
    watch.see(&["simulator".to_owned()], true, Duration::ZERO);
    watch.malformed = 3;
    let text = screen(&watch, 12, 80, 24);
    assert!(text.contains("● simulator"), "{text}");
    assert!(text.contains("3 messages there are not health"), "{text}");
}

#[test]
fn whatever_is_sent_is_drawn() {
    let mut wild = Health::example();
    wild.robot = "\u{1b}[2J\n世界".repeat(40);
    wild.reason = Some("\u{202e}\u{0}".repeat(200));
    wild.uptime_s = f64::MAX;
    wild.rung_since_s = f64::MAX;
    wild.control.measured_hz = f64::MAX;
    wild.control.rate_hz = 0.0;
    wild.control.ticks = u64::MAX;
    wild.control.missed = u64::MAX;
    wild.control.lateness_us.max = f64::MAX;
    wild.control.lateness_buckets = (0..MAX_BUCKETS)
        .map(|index| [f64::MIN_POSITIVE * (index + 1) as f64, f64::MAX])
        .collect();
    wild.control.scheduling.cpus = (0..4096).collect();
    wild.limits.velocity = u64::MAX;
    wild.limits.largest_deviation = f64::MAX;
    wild.policy.latency_ms.p99 = f64::MAX;
    assert!(wild.check().is_ok());
    let watch = watch(wild);
    for (width, height) in [(80, 24), (20, 5), (200, 60)] {
        let text = screen(&watch, 61, width, height);
        assert!(!text.contains('\u{1b}'));
    }
}
