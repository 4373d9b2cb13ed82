//! `kinestream top` against a node that publishes health, as two processes over loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::child::kinestream;
use crate::support::json_object;
use crate::support::project::{CONFIG, Project, free_port};
use kinestream_bridge::health::{Quantiles, lateness_buckets};
use kinestream_bridge::node::loopback_pair;
use kinestream_bridge::{Health, Node, SafetyState, SessionOptions};

/// Time between two messages; only their order matters to the tests.
const PERIOD: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any of the tests may take.
const WAIT: [&str; 2] = ["--wait", "60"];

/// A node that publishes health until it is dropped.
struct Runtime {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    fn start(options: &SessionOptions, robot: &str) -> Self {
        let node = Node::open(options, robot, "runtime").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let health = health(robot);
        let thread = std::thread::spawn(move || {
            let mut publisher = node.health_publisher().unwrap();
            while !stopped.load(Ordering::SeqCst) {
                publisher.publish(&health).unwrap();
                std::thread::sleep(PERIOD);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn health(robot: &str) -> Health {
    let mut health = Health {
        robot: robot.to_owned(),
        node: "runtime".to_owned(),
        version: "0.1.0".to_owned(),
        uptime_s: 61.5,
        rung: SafetyState::SafeStop,
        reason: Some("the policy thread panicked".to_owned()),
        ..Health::default()
    };
    health.control.rate_hz = 500.0;
    health.control.ticks = 30_000;
    health.control.missed = 2;
    health.control.lateness_us = Quantiles {
        p50: 12.5,
        p99: 80.0,
        p999: 95.5,
        max: 120.0,
    };
    health.control.lateness_buckets =
        lateness_buckets(30_000, |bound| if bound < 20.0 { 0 } else { 30_000 });
    health.limits.velocity = 7;
    health.limits.limited = 7;
    health
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_snapshot_as_json_is_the_health_that_was_sent() {
    let (options, _) = loopback_pair("kinestream").unwrap();
    let _runtime = Runtime::start(&options, "arm");
    let arguments = ["top", "--once", "--json", "--robot", "arm", "--connect"];
    let arguments = [&arguments[..], &[&options.listen[0]], &WAIT].concat();
    let said = kinestream(here(), &arguments).succeeds();
    let found: Health = serde_json::from_value(json_object(&said.stdout)).unwrap();
    assert_eq!(found, health("arm"));
    assert_eq!(said.stderr, "");
}

#[test]
fn without_a_terminal_it_prints_one_snapshot_and_sees_all_nodes_through_the_runtime() {
    let project = Project::new();
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let address = text.split("listen = [\"").nth(1).unwrap();
    let address = address.split('"').next().unwrap().to_owned();
    let options = SessionOptions {
        namespace: "test".to_owned(),
        listen: vec![address.clone()],
        ..SessionOptions::default()
    };
    let _runtime = Runtime::start(&options, "pusht");
    let other = SessionOptions {
        listen: Vec::new(),
        connect: vec![address],
        ..options
    };
    let simulator = Node::open(&other, "pusht", "simulator").unwrap();
    assert!(
        simulator
            .presence()
            .unwrap()
            .wait_for("runtime", true, LIMIT)
    );
    let said = project
        .run(&[&["top", CONFIG][..], &WAIT].concat())
        .succeeds();
    for words in [
        "robot        pusht; runtime 0.1.0, up 1 min 1 s",
        "rung         safe stop for 0 s: the policy thread panicked",
        "nodes        runtime, simulator",
        "periods      30,000 served, 2 missed",
        "histogram    <= 20 µs 30000",
        "velocity 7",
    ] {
        assert!(said.stdout.contains(words), "`{words}` in {}", said.stdout);
    }
    assert!(!said.stdout.contains('\u{1b}'), "{}", said.stdout);
}

#[test]
fn nobody_at_the_address_is_an_error_that_names_key_and_address() {
    let address = format!("tcp/127.0.0.1:{}", free_port());
    let arguments = ["top", "--once", "--wait", "0.3", "--connect", &address];
    kinestream(here(), &arguments).fails(&[
        "no connection to",
        &address,
        "kinestream/pusht/health",
        "within 0.3 s",
        "nobody answers there",
    ]);
}

#[test]
fn a_node_that_says_nothing_is_an_error_that_names_it() {
    let (options, _) = loopback_pair("kinestream").unwrap();
    let _silent = Node::open(&options, "arm", "runtime").unwrap();
    let arguments = [
        "top",
        "--json",
        "--wait",
        "6",
        "--robot",
        "arm",
        "--connect",
    ];
    let arguments = [&arguments[..], &[&options.listen[0]]].concat();
    kinestream(here(), &arguments).fails(&[
        "nothing heard on kinestream/arm/health",
        &options.listen[0],
        "alive there: runtime",
        "--robot",
    ]);
}

#[test]
fn wrong_arguments_are_refused() {
    kinestream(here(), &["top", "--wait", "soon"]).reports_wrong_usage(&["--wait"]);
    kinestream(here(), &["top", "--once", "--wait=-1"]).fails(&["--wait is -1"]);
    kinestream(here(), &["top", "--once", "--connect", "nonsense"]).fails(&["connect", "nonsense"]);
    kinestream(here(), &["top", "--once", "--robot", "a/b"]).fails(&["robot", "a/b"]);
    kinestream(here(), &["top", "--once", "nowhere.toml"]).fails(&["nowhere.toml"]);
}

#[test]
fn the_page_knows_every_rung_and_every_limit() {
    let page = include_str!("../../viewer/src/common/health.js");
    for rung in SafetyState::ALL {
        assert!(page.contains(&format!("  {}: \"", rung.name())), "{rung:?}");
    }
    let sent = serde_json::to_value(Health::default()).unwrap();
    let limits = sent["limits"].as_object().unwrap();
    for limit in limits
        .keys()
        .filter(|key| !["limited", "largest_deviation"].contains(&key.as_str()))
    {
        assert!(page.contains(&format!("\"{limit}\"")), "{limit}");
    }
    for path in [
        "rung_since_s",
        "rung_counts",
        "longest_without_command_ms",
        "control",
    ] {
        assert!(
            !sent[path].is_null() && page.contains(&format!("health.{path}"))
                || page.contains(&format!("{{ {path}")),
            "{path}"
        );
    }
}
