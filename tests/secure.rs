//! configs/secure as it is: who has no certificate, a wrong password or no right to a key gets nothing,
//! and the runtime says so once.
//!
//! The runtime is the built program; the others are nodes of kinestream-bridge in this process. Certificates are made anew
//! by the project's own script. Needs openssl; without it the tests say so and end.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kinestream_bridge::node::{Channel, SessionOptions};
use kinestream_bridge::wire::{Name, Values};
use kinestream_bridge::{Node, Observation, Plan, Stamp};
use support::child::Running;
use support::project::{CONFIG, Project, free_port};

/// Longest wait for what must come; only a failed test reaches it.
const LIMIT: Duration = Duration::from_secs(60);
/// How long what must not come is waited for. Others hear within this time, many times over.
const SILENCE: Duration = Duration::from_millis(1500);

/// A trained project with configs/secure in it and certificates; none without openssl.
fn project() -> Option<Project> {
    if Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("SKIPPED: openssl is not installed");
        return None;
    }
    let project = Project::trained();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/secure");
    let folder = project.path("configs/secure");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(ours).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    Some(project)
}

fn certify(project: &Project, arguments: &[&str]) {
    let script = project.path("configs/secure/make-certificates.sh");
    let made = Command::new(script)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success(), "{arguments:?}");
}

/// A runtime with a file of configs/secure.
fn runtime(project: &Project, protocol: &str, file: &str) -> (Running, String) {
    let address = format!("{protocol}/127.0.0.1:{}", free_port());
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let listen = text
        .lines()
        .find(|line| line.starts_with("listen"))
        .unwrap();
    let text = text.replace(
        listen,
        &format!("listen = [\"{address}\"]\nconfig_file = \"configs/secure/{file}\""),
    );
    let text = text.replace("namespace = \"test\"", "namespace = \"kinestream\"");
    std::fs::write(project.path("secure.toml"), text).unwrap();
    let mut running = Running::start(
        project.folder(),
        &["run", "secure.toml", "--checkpoint", "out"],
    );
    running.wait_for("ready");
    (running, address)
}

/// A file of configs/secure for a node of this process: paths in it are seen from the project's folder, and what is there
/// under one name is there under another.
fn session(project: &Project, file: &str, address: &str, from: &str, to: &str) -> SessionOptions {
    let text = std::fs::read_to_string(project.path("configs/secure").join(file)).unwrap();
    let root = format!("{}/", project.folder().display());
    let text = text
        .replace(from, to)
        .replace("configs/secure/", &format!("{root}configs/secure/"));
    let name = project.path(&format!("{}.json5", to.replace(['/', '"', ' '], "_")));
    std::fs::write(&name, text).unwrap();
    SessionOptions {
        connect: vec![address.to_owned()],
        config_file: Some(name),
        ..SessionOptions::default()
    }
}

/// Sends observations until a plan answers one; whether it did within a time.
fn is_answered(session: &SessionOptions, name: &str, limit: Duration) -> bool {
    let node = Node::open(session, "pusht", name).unwrap();
    let plans = node.inbox::<Plan>(&node.keys().plan(), 16).unwrap();
    let mut observations = node.publisher(Channel::Observation("state")).unwrap();
    let begun = Instant::now();
    let mut sequence = 0;
    while begun.elapsed() < limit {
        sequence += 1;
        let observation = Observation {
            stamp: Stamp {
                sequence,
                stream: 7,
                ..Stamp::default()
            },
            name: Name::new("state").unwrap(),
            values: Values::F64(vec![200.0; 20]),
        };
        observations.publish(&observation).unwrap();
        if plans.next(Duration::from_millis(20)).is_some() {
            return true;
        }
    }
    false
}

/// Whether anything of the runtime is heard within a time.
fn hears_anything(session: &SessionOptions, name: &str) -> bool {
    let Ok(node) = Node::open(session, "pusht", name) else {
        return false;
    };
    let health = node.health_inbox(4).unwrap();
    health.next(SILENCE).is_some()
}

#[test]
fn certificates_say_who_may_do_what() {
    let Some(project) = project() else { return };
    certify(&project, &[]);
    let strangers = project.path("configs/secure/strangers");
    certify(&project, &[strangers.to_str().unwrap(), "robot"]);
    let (runtime, address) = runtime(&project, "tls", "policy.json5");
    let with = |from: &str, to: &str| session(&project, "robot.json5", &address, from, to);

    // The robot drives.
    assert!(is_answered(&with("robot", "robot"), "robot", LIMIT));
    // A viewer hears, and what it says is not heard: no plan answers it.
    let viewer = with("certificates/robot", "certificates/viewer");
    let node = Node::open(&viewer, "pusht", "viewer").unwrap();
    assert!(node.health_inbox(4).unwrap().next(LIMIT).is_some());
    assert!(node.ask("model", LIMIT).unwrap().is_some());
    drop(node);
    assert!(!is_answered(&viewer, "viewer", SILENCE));
    // Nor does it stop the robot.
    let node = Node::open(&viewer, "pusht", "viewer").unwrap();
    let stopped = node.request("estop", &serde_json::Value::Null, SILENCE);
    assert!(!matches!(stopped, Ok(Some(_))), "{stopped:?}");
    drop(node);
    // Another authority's robot, and one without a certificate, get nothing.
    let bare = session(
        &project,
        "robot.json5",
        &address,
        "enable_mtls: true",
        "enable_mtls: false",
    );
    let text = std::fs::read_to_string(bare.config_file.as_ref().unwrap()).unwrap();
    let text: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("connect_"))
        .collect();
    std::fs::write(bare.config_file.as_ref().unwrap(), text.join("\n")).unwrap();
    assert!(!hears_anything(
        &with("secure/certificates/robot", "secure/strangers/robot"),
        "stranger"
    ));
    assert!(!hears_anything(&bare, "nobody"));
    // The robot still drives.
    assert!(is_answered(&with("robot", "robot"), "robot", LIMIT));
    end(
        runtime,
        &[
            "peer sent no certificates",
            "invalid peer certificate",
            "may not Put on kinestream/pusht/obs/state",
            "may not Query on kinestream/pusht/srv/estop",
        ],
    );
}

#[test]
fn a_wrong_password_gets_nothing() {
    let Some(project) = project() else { return };
    let (runtime, address) = runtime(&project, "tcp", "policy-password.json5");
    let with = |from: &str, to: &str| session(&project, "robot-password.json5", &address, from, to);
    assert!(is_answered(&with("robot", "robot"), "robot", LIMIT));
    assert!(!hears_anything(&with("change-me", "wrong"), "wrong"));
    assert!(!hears_anything(
        &with("\"robot\"", "\"stranger\""),
        "stranger"
    ));
    let bare = SessionOptions {
        connect: vec![address.clone()],
        ..SessionOptions::default()
    };
    assert!(!hears_anything(&bare, "nobody"));
    assert!(is_answered(&with("robot", "robot"), "robot", LIMIT));
    end(
        runtime,
        &[
            "wrong password",
            "unknown user",
            "without user and password",
        ],
    );
}

/// Ends the runtime; each of the refusals was told exactly once.
fn end(runtime: Running, refusals: &[&str]) {
    runtime.interrupt();
    let finished = runtime.finish().succeeds();
    for refusal in refusals {
        let told = finished
            .stderr
            .lines()
            .filter(|line| line.contains("refused: ") && line.contains(refusal))
            .count();
        assert_eq!(told, 1, "{refusal}: {}", finished.stderr);
    }
}
