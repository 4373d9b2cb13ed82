//! configs/secure as it is: who has no certificate, a wrong password or no right to a key gets nothing,
//! and the runtime says so once.
//!
//! The runtime is the built program; the others are nodes of kinestream-bridge in this process. Certificates are made anew
//! by the project's own script. Needs openssl; without it the tests say so and end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::child::Running;
use crate::support::project::{CONFIG, Project, free_port};
use kinestream_bridge::health::SafetyState;
use kinestream_bridge::node::{Channel, Mode, MotionRequest, SessionOptions};
use kinestream_bridge::wire::{Name, Values};
use kinestream_bridge::{Node, Observation, Plan, Stamp};
use zenoh::Wait as _;

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
    let address = configure(project, protocol, file);
    let mut running = Running::start(
        project.folder(),
        &["run", "secure.toml", "--checkpoint", "out"],
    );
    running.wait_for("ready");
    (running, address)
}

/// Writes secure.toml for a runtime with a file of configs/secure; returns where it will listen.
fn configure(project: &Project, protocol: &str, file: &str) -> String {
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
    address
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

/// The same as a client: a peer passes nothing on between peers, but all of it between clients.
fn as_client(session: &SessionOptions) -> SessionOptions {
    SessionOptions {
        mode: Some(Mode::Client),
        ..session.clone()
    }
}

/// A viewer looks, and its word counts for nothing: neither its observations nor its stops nor its tokens do.
fn assert_only_looks(viewer: &SessionOptions, robot: &SessionOptions) {
    let node = Node::open(viewer, "pusht", "viewer").unwrap();
    assert!(node.health_inbox(4).unwrap().next(LIMIT).is_some());
    assert!(node.ask("model", LIMIT).unwrap().is_some());
    drop(node);
    assert!(!is_answered(viewer, "viewer", SILENCE));
    let node = Node::open(&as_client(viewer), "pusht", "viewer").unwrap();
    let stopped = node.request_motion(MotionRequest::Stop, SILENCE);
    assert!(!matches!(stopped, Ok(Some(_))), "{stopped:?}");
    node.send_stop().unwrap();
    // It is seen under the name of who looks, and under none that says who is in control.
    let robot = Node::open(&as_client(robot), "pusht", "robot").unwrap();
    let seen = robot.presence().unwrap();
    assert!(seen.wait_for("viewer", true, LIMIT));
    let forged: Vec<_> = ["forged", "robot2", "policy"]
        .iter()
        .map(|name| node.announce_part(name).unwrap())
        .collect();
    let wild = node.session().liveliness();
    let wild = wild
        .declare_token(format!("{}/alive/*", node.keys()))
        .wait();
    assert!(!seen.wait_for("forged", true, SILENCE));
    let alive = seen.alive();
    for name in ["robot2", "policy", "*"] {
        assert!(!alive.iter().any(|it| it == name), "{alive:?}");
    }
    drop((forged, wild));
    // The stop was not heard either.
    let health = robot.health_inbox(4).unwrap().next(LIMIT).unwrap();
    assert_ne!(health.rung, SafetyState::EmergencyStop);
}

/// A robot stops and is no runtime: once the runtime has withdrawn its token, nobody else's replaces it.
fn assert_stops_but_is_not_in_control(robot: &SessionOptions, others: &[&SessionOptions]) {
    let node = Node::open(&as_client(robot), "pusht", "robot").unwrap();
    assert!(
        node.request_motion(MotionRequest::Stop, LIMIT)
            .unwrap()
            .is_some()
    );
    let seen = node.presence().unwrap();
    assert!(seen.wait_for("control", false, LIMIT));
    let others: Vec<_> = others
        .iter()
        .map(|session| Node::open(&as_client(session), "pusht", "viewer").unwrap())
        .collect();
    let forged: Vec<_> = others
        .iter()
        .map(|other| other.announce_part("control").unwrap())
        .collect();
    assert!(!seen.wait_for("control", true, SILENCE));
    drop(forged);
}

/// Whoever has the runtime's own file, as `kinestream stop` has, may stop.
fn assert_stops(session: &SessionOptions) {
    let node = Node::open(session, "pusht", "stop").unwrap();
    assert!(
        node.request_motion(MotionRequest::Stop, LIMIT)
            .unwrap()
            .is_some()
    );
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
    let viewer = with("certificates/robot", "certificates/viewer");
    assert_only_looks(&viewer, &with("robot", "robot"));
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
    assert_stops(&with("certificates/robot", "certificates/policy"));
    let robot = with("robot", "robot");
    assert_stops_but_is_not_in_control(&robot, &[&viewer, &robot]);
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

#[test]
fn users_may_do_what_their_names_say() {
    let Some(project) = project() else { return };
    let (runtime, address) = runtime(&project, "tcp", "policy-password.json5");
    let with = |user: &str, password: &str| {
        let to = format!("user: \"{user}\", password: \"{password}\"");
        let from = "user: \"robot\", password: \"change-me\"";
        session(&project, "robot-password.json5", &address, from, &to)
    };
    let robot = with("robot", "change-me");
    assert!(is_answered(&robot, "robot", LIMIT));
    let viewer = with("viewer", "change-me-as-well");
    assert_only_looks(&viewer, &robot);
    assert!(is_answered(&robot, "robot", LIMIT));
    assert_stops(&with("policy", "change-me-too"));
    assert_stops_but_is_not_in_control(&robot, &[&viewer, &robot]);
    end(
        runtime,
        &[
            "may not Put on kinestream/pusht/obs/state",
            "may not Query on kinestream/pusht/srv/estop",
            "may not Put on kinestream/pusht/cmd/estop",
        ],
    );
}

#[test]
fn no_password_is_in_the_log_at_any_level() {
    let Some(project) = project() else { return };
    for (verbose, level) in [("-vv", "RUST_LOG_="), ("-v", "RUST_LOG=trace")] {
        let address = configure(&project, "tcp", "policy-password.json5");
        let program = env!("CARGO_BIN_EXE_kinestream");
        let run = [
            level,
            program,
            verbose,
            "run",
            "secure.toml",
            "--checkpoint",
            "out",
        ];
        let mut runtime = Running::start_other(Path::new("env"), project.folder(), &run);
        runtime.wait_for("ready");
        let robot = session(&project, "robot-password.json5", &address, "x", "x");
        assert!(is_answered(&robot, "robot", LIMIT));
        runtime.interrupt();
        let log = runtime.finish().succeeds().stderr;
        // It is the log of that level, from which one event is missing.
        assert!(log.contains("User-password authentication is enabled"));
        for password in ["change-me", "change-me-too", "change-me-as-well"] {
            let line = log.lines().find(|line| line.contains(password));
            assert_eq!(line, None, "{verbose} {level}");
        }
    }
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
