//! Real runs over zenoh in real time: `demo`, its page, and `run` with `sim` as two processes.
//!
//! What is asserted are counts that hold on any machine, however busy, never speed.

use std::net::TcpStream;

use crate::support::child::Running;
use crate::support::project::{CONFIG, OUT, Project};
use crate::support::{assert_keys, get, json_object, post};

#[test]
fn a_headless_demo_runs_an_episode_and_reports_it() {
    let project = Project::trained();
    let demo = [
        "demo",
        "pusht",
        "--headless",
        "--episodes",
        "1",
        "--checkpoint",
        OUT,
        "--json",
    ];
    let report = json_object(&project.run(&demo).succeeds().stdout);
    assert_keys(
        &report,
        &[
            "scores",
            "mean_max_reward",
            "actions_published",
            "plans_published",
            "latency_ms",
            "missed",
        ],
    );
    assert_eq!(report["seeds"], serde_json::json!([100_000]));
    assert_eq!(report["episodes"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["episodes"][0]["steps"], 300, "{report}");
    for key in ["actions_published", "actions_received", "plans_published"] {
        assert!(report[key].as_u64().unwrap() > 0, "{key} in {report}");
    }
    assert!(
        report["plans_published"].as_u64().unwrap() <= 300,
        "{report}"
    );
    assert_eq!(report["evaluations_per_action"], 1.0);
}

#[test]
fn the_page_shows_and_stops_a_running_demo_until_ctrl_c() {
    let project = Project::trained();
    let demo = [
        "demo",
        "--checkpoint",
        OUT,
        "--port",
        "0",
        "--seed",
        "7",
        "--json",
    ];
    let mut running = Running::start(project.folder(), &demo);
    let said = running.wait_for("Ctrl-C ends it");
    let address = said
        .split("http://")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();

    let health = get(address, "/healthz");
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("ok"),
        "{health}"
    );
    let page = get(address, "/");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html"),
        "{page}"
    );
    assert!(get(address, "/nowhere").starts_with("HTTP/1.1 404"));

    // The first plans have come when a frame shows one.
    let mut frame = serde_json::Value::Null;
    running.wait_until("a frame with a plan", || {
        let answer = get(address, "/frame.json");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        frame = serde_json::from_str(body).unwrap_or_default();
        frame["plan"]["actions"]
            .as_array()
            .is_some_and(|actions| !actions.is_empty())
    });
    assert_keys(
        &frame,
        &[
            "agent", "block", "goal", "plan", "rates", "latency", "seed", "step",
        ],
    );
    assert_eq!((&frame["seed"], &frame["episode"]), (&7.into(), &1.into()));
    assert_eq!(
        frame["plan"]["actions"].as_array().unwrap().len(),
        8,
        "{frame}"
    );
    assert_eq!(
        frame["plan"]["noise"].as_array().unwrap().len(),
        8,
        "{frame}"
    );

    assert_eq!(frame["has_stop"], true, "{frame}");
    let rung = || {
        let answer = get(address, "/frame.json");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let frame: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        frame["health"]["rung"].clone()
    };
    assert!(post(address, "/stop").starts_with("HTTP/1.1 202"));
    running.wait_until("the page's stop", || rung() == "emergency_stop");
    assert!(post(address, "/rearm").starts_with("HTTP/1.1 202"));
    running.wait_until("the page's re-arming", || rung() == "running");

    running.interrupt();
    let report = json_object(&running.finish().succeeds().stdout);
    assert!(report["plans_published"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["episodes"], serde_json::json!([]), "{report}");
    assert!(
        TcpStream::connect(address).is_err(),
        "the port is still open"
    );
}

#[test]
fn runtime_and_simulator_meet_as_two_processes() {
    let project = Project::trained();
    // The simulator comes first: it waits, and nothing is lost.
    let mut simulator = Running::start(
        project.folder(),
        &["sim", CONFIG, "--episodes", "1", "--seed", "5", "--json"],
    );
    simulator.wait_for("waiting for a runtime");
    let mut runtime = Running::start(project.folder(), &["run", CONFIG]);
    runtime.wait_for("ready");

    let report = json_object(&simulator.finish().succeeds().stdout);
    assert_eq!(report["task"], "pusht");
    assert_eq!(report["episodes"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["episodes"][0]["seed"], 5, "{report}");
    assert_eq!(report["episodes"][0]["steps"], 300, "{report}");
    assert!(report["actions_received"].as_u64().unwrap() > 0, "{report}");

    // The runtime outlives its simulator.
    runtime.interrupt();
    let ended = runtime.finish().succeeds();
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("ended:"), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("ended: 0 observations"),
        "{}",
        ended.stderr
    );
    assert!(
        !ended.stderr.contains('\u{1b}'),
        "colours in a pipe: {}",
        ended.stderr
    );
}

#[test]
fn one_runtime_serves_several_robots() {
    let project = Project::trained();
    let fleet = project.variant(
        "fleet.toml",
        "robot = \"pusht\"",
        "robots = [\"left\", \"right\"]\ndeadlines_ms = { left = 60000.0, right = 0.000001 }",
    );
    let robots = ["left", "right"];
    let mut simulators = robots.map(|robot| {
        Running::start(
            project.folder(),
            &[
                "sim",
                fleet,
                "--robot",
                robot,
                "--episodes",
                "1",
                "--seed",
                "5",
                "--json",
            ],
        )
    });
    for simulator in &mut simulators {
        simulator.wait_for("waiting for a runtime");
    }
    let mut runtime = Running::start(project.folder(), &["run", fleet]);
    runtime.wait_for("ready");
    for simulator in simulators {
        let report = json_object(&simulator.finish().succeeds().stdout);
        assert_eq!(report["episodes"].as_array().unwrap().len(), 1, "{report}");
        assert_eq!(report["episodes"][0]["steps"], 300, "{report}");
        assert!(report["actions_received"].as_u64().unwrap() > 0, "{report}");
    }
    // One of them is stopped, and the other is not.
    project.run(&["stop", fleet, "--robot", "left"]).succeeds();
    runtime.wait_for("left: ");
    runtime.wait_for("-> EmergencyStop");
    runtime.interrupt();
    let ended = runtime.finish().succeeds();
    for robot in robots {
        let line = ended
            .stderr
            .lines()
            .find(|line| line.contains(&format!("{robot} ended:")))
            .unwrap_or_else(|| panic!("no end of {robot}: {}", ended.stderr));
        assert!(!line.contains("ended: 0 observations"), "{line}");
        // Nobody is in time for one, and nobody late for the other.
        assert_eq!(line.contains(", 0 of them late"), robot == "left", "{line}");
        let emergency = ended
            .stderr
            .lines()
            .any(|line| line.contains(&format!("{robot}: ")) && line.contains("-> EmergencyStop"));
        assert_eq!(emergency, robot == "left", "{}", ended.stderr);
    }
}

#[test]
fn nodes_that_met_nobody_end_at_ctrl_c() {
    let project = Project::trained();
    let mut simulator = Running::start(project.folder(), &["sim", CONFIG, "--json"]);
    simulator.wait_for("waiting for a runtime");
    simulator.interrupt();
    let report = json_object(&simulator.finish().succeeds().stdout);
    assert_eq!(report["episodes"], serde_json::json!([]), "{report}");
    let mut runtime = Running::start(project.folder(), &["run", CONFIG]);
    runtime.wait_for("ready");
    runtime.interrupt();
    assert!(
        runtime
            .finish()
            .succeeds()
            .stderr
            .contains("ended: 0 observations")
    );
}

#[test]
fn the_printed_configuration_is_whole_and_reads_back() {
    let project = Project::new();
    let printed = project
        .run(&["run", CONFIG, "--print-config"])
        .succeeds()
        .stdout;
    for key in [
        "max_decay",
        "lossless",
        "gradient_norm",
        "interpolation",
        "namespace",
    ] {
        assert!(printed.contains(key), "no `{key}` in {printed}");
    }
    std::fs::write(project.path("printed.toml"), &printed).unwrap();
    let again = project
        .run(&["run", "printed.toml", "--print-config"])
        .succeeds()
        .stdout;
    assert_eq!(again, printed);
}
