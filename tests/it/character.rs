//! `demo motion` end to end: the course in virtual time, foreign programs that steer over zenoh well
//! and badly, recordings of characters and their replay.
//!
//! The model is one of a few training steps: how it moves means nothing here. What is asserted are
//! counts and messages that hold on any machine, however busy, never speed.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::child::{Running, kinestream};
use crate::support::project::free_port;
use crate::support::{assert_keys, assert_percentiles, get, json_object, motion};
use kinestream_bridge::node::{Channel, SessionOptions};
use kinestream_bridge::recording::Recording;
use kinestream_bridge::wire::{
    Control, ControlMode, Decode, Encode, PathPoint, PoseFlags, Request,
};
use kinestream_bridge::{Command, Inbox, Node, Pose, SkeletonInfo, Stamp, Status};
use kinestream_motion::character::JOINTS;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);
/// Frames and poses per second.
const FRAMES: u64 = 30;
const POSES: u64 = 60;

/// Arguments of the course in virtual time.
fn course<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "demo",
        "motion",
        "--headless",
        "--checkpoint",
        "out",
        "--json",
    ];
    [&base, more].concat()
}

/// A character that is there to be steered.
struct Steered {
    running: Running,
    address: String,
    page: String,
}

impl Steered {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let address = format!("tcp/127.0.0.1:{}", free_port());
        let base = [
            "demo",
            "motion",
            "--checkpoint",
            "out",
            "--port",
            "0",
            "--seed",
            "3",
            "--json",
            "--listen",
            &address,
        ];
        let mut running = Running::start(folder, &[&base, more].concat());
        let said = running.wait_for("Ctrl-C ends it");
        let page = said.split("http://").nth(1).unwrap();
        let page = page.split_whitespace().next().unwrap().to_owned();
        Self {
            running,
            address,
            page,
        }
    }

    fn frame(&self) -> Value {
        let answer = get(&self.page, "/frame.json");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }

    fn end(self) -> Value {
        self.running.interrupt();
        json_object(&self.running.finish().succeeds().stdout)
    }
}

/// Another program: a plain zenoh node with the published format.
struct Client {
    node: Node,
    poses: Inbox<Pose>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let session = SessionOptions {
            connect: vec![address.to_owned()],
            ..SessionOptions::default()
        };
        let node = Node::open(&session, "character", "client").unwrap();
        let poses = node.inbox(&node.keys().pose(), 512).unwrap();
        Self { node, poses }
    }

    fn pose(&self) -> Pose {
        self.poses.next(LIMIT).expect("a pose")
    }

    /// Poses until one is as wanted, which it is sooner or later.
    fn pose_with(&self, what: &str, wanted: impl Fn(&Pose) -> bool) -> Pose {
        let begun = Instant::now();
        loop {
            let pose = self.pose();
            if wanted(&pose) {
                return pose;
            }
            assert!(begun.elapsed() < LIMIT, "no pose {what}: {pose:?}");
        }
    }

    fn steer(&self, control: &Control) {
        let mut publisher = self.node.publisher(Channel::Control).unwrap();
        assert!(publisher.wait_until_matched(LIMIT));
        publisher.publish(control).unwrap();
    }

    fn request(&self, request: Request) {
        let mut publisher = self
            .node
            .publisher(Channel::Command(request.name()))
            .unwrap();
        assert!(publisher.wait_until_matched(LIMIT));
        let stamp = Stamp::default();
        publisher.publish(&Command { stamp, request }).unwrap();
    }

    /// Sends bytes as they are.
    fn throw(&self, bytes: &[u8]) {
        let publisher = self.node.raw_publisher("control").unwrap();
        let begun = Instant::now();
        while !publisher.publish(bytes).unwrap() {
            assert!(begun.elapsed() < LIMIT, "nobody listens");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn stick(x: f32, z: f32) -> Control {
    Control {
        stamp: Stamp::default(),
        mode: ControlMode::Stick,
        velocity: [x, z],
        facing: [0.0, 0.0],
        diversity: 1.0,
        strength: 1.0,
        points: vec![],
    }
}

fn encoded(message: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes).unwrap();
    bytes
}

fn is(pose: &Pose, flag: PoseFlags) -> bool {
    pose.flags.0 & flag.0 != 0
}

/// Messages of one topic.
fn recorded(file: &Path, topic: &str) -> Vec<Vec<u8>> {
    Recording::open(file)
        .unwrap()
        .messages()
        .unwrap()
        .map(Result::unwrap)
        .filter(|message| *message.topic == *topic)
        .map(|message| message.bytes.to_vec())
        .collect()
}

#[test]
fn the_course_is_performed_in_virtual_time_and_measured() {
    let project = motion::trained();
    let run =
        |more: &[&str]| json_object(&kinestream(project.path(), &course(more)).succeeds().stdout);
    let report = run(&["--seed", "5", "--seconds", "4", "--record", "course.mcap"]);
    assert_keys(
        &report,
        &[
            "path_rmse_m",
            "heading_error_deg",
            "turn_180_settle_s",
            "foot_sliding",
            "jerk",
            "contacts",
            "frames",
            "frames_refused",
            "latency_ms",
            "poses_published",
            "missed",
        ],
    );
    assert_percentiles(&report["latency_ms"]);
    assert_eq!(report["seeds"], serde_json::json!([5]));
    assert_eq!(report["frames"], 4 * FRAMES);
    assert_eq!(report["poses_published"], 4 * POSES);
    assert_eq!(report["missed"], 0);
    assert!(report["path_rmse_m"].as_f64().unwrap() > 0.0, "{report}");

    // The same seed does the same; the clock is all that differs.
    let mut again = run(&["--seed", "5", "--seconds", "4"]);
    for key in ["latency_ms", "wall_s"] {
        again[key] = report[key].clone();
    }
    assert_eq!(again, report);
    let finer = run(&["--seed", "5", "--seconds", "4", "--rate", "120"]);
    assert_eq!(finer["poses_published"], 8 * POSES);
    assert_eq!(
        finer["jerk"], report["jerk"],
        "of frames, at any rate of poses"
    );
    let other = run(&["--seed", "6", "--seconds", "4"]);
    assert_ne!(other["jerk"], report["jerk"]);
    let both = run(&["--seed", "5", "--seconds", "4", "--episodes", "2"]);
    assert_eq!(both["seeds"], serde_json::json!([5, 6]));
    assert_eq!(both["frames"], 8 * FRAMES);

    // Every pose is in the recording, at its own time, and says what the format says.
    let file = project.path().join("course.mcap");
    let poses: Vec<Pose> = recorded(&file, "pose")
        .iter()
        .map(|bytes| Pose::decode(bytes).unwrap())
        .collect();
    assert_eq!(poses.len() as u64, 4 * POSES);
    for (index, pose) in poses.iter().enumerate() {
        assert_eq!(pose.frame, index as u64 + 1);
        assert_eq!(pose.rotations.len(), JOINTS);
        assert_eq!(
            pose.frame_ns - poses[0].frame_ns,
            index as u64 * pose.period_ns
        );
        assert_eq!(pose.phase, if index % 2 == 0 { 0.5 } else { 1.0 });
    }
    let skeleton = serde_json::from_slice(&recorded(&file, "info/skeleton")[0]).unwrap();
    let skeleton = SkeletonInfo::from_value(skeleton).unwrap();
    assert_eq!(skeleton.joints.len(), JOINTS);
    let inspect = ["inspect", "course.mcap", "--json"];
    let found = json_object(&kinestream(project.path(), &inspect).succeeds().stdout);
    assert_eq!(found["opening"]["command"], "demo motion");
    kinestream(project.path(), &["resim", "course.mcap"]).fails(&["character", "replay"]);
}

#[test]
fn a_foreign_program_steers_well_and_badly() {
    let project = motion::trained();
    let steered = Steered::start(project.path(), &[]);
    let client = Client::connect(&steered.address);
    let status = client.node.inbox::<Status>(&client.node.keys().status(), 8);
    let status = status.unwrap();

    let first = client.pose_with("that idles", |pose| is(pose, PoseFlags::IDLE));
    assert_eq!((first.rotations.len(), first.stamp.stream), (JOINTS, 1));
    let skeleton = client.node.ask("skeleton", LIMIT).unwrap().unwrap();
    let skeleton = SkeletonInfo::from_value(skeleton).unwrap();
    assert_eq!(skeleton.joints.len(), JOINTS);
    assert!(skeleton.contacts.is_some());

    // A stick counts, and when nobody repeats it any more it is let go.
    client.steer(&stick(0.0, 1.2));
    client.pose_with("that moves", |pose| !is(pose, PoseFlags::IDLE));
    client.pose_with("that idles again", |pose| is(pose, PoseFlags::IDLE));

    // A path of a second counts for that long.
    client.steer(&Control {
        mode: ControlMode::Path,
        points: vec![PathPoint {
            time_s: 1.0,
            x: 0.5,
            z: 0.5,
            facing: None,
        }],
        ..stick(0.0, 0.0)
    });
    let begun = client.pose_with("on its path", |pose| !is(pose, PoseFlags::IDLE));
    let ended = client.pose_with("at its end", |pose| is(pose, PoseFlags::IDLE));
    assert!(ended.frame > begun.frame);

    // Beyond all bounds: clamped, and said so.
    client.steer(&stick(3e38, -3e38));
    client.pose_with("that is clamped", |pose| is(pose, PoseFlags::CLAMPED));

    // Not the format: NaN, cut, another kind, noise. Counted, and nothing else.
    let sound = encoded(&stick(0.0, 1.0));
    let mut not_a_number = sound.clone();
    not_a_number[44..48].copy_from_slice(&f32::NAN.to_le_bytes());
    let wrong: [&[u8]; 5] = [
        &not_a_number,
        &sound[..sound.len() - 1],
        &encoded(&first),
        b"",
        &[0xff; 300],
    ];
    for bytes in wrong {
        client.throw(bytes);
    }
    let begun = Instant::now();
    while status.next(LIMIT).expect("a status").malformed < wrong.len() as u64 {
        assert!(begun.elapsed() < LIMIT, "malformed control is not counted");
    }

    // A flood is taken as its newest; poses go on, none left out of their numbering.
    let flood = encoded(&stick(0.5, 0.5));
    for _ in 0..5_000 {
        client.throw(&flood);
    }
    client.pose_with("after the flood", |pose| !is(pose, PoseFlags::IDLE));
    let numbers: Vec<u64> = (0..30).map(|_| client.pose().frame).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");

    // Time is held still, goes on, and begins again.
    client.request(Request::Pause);
    let begun = Instant::now();
    while steered.frame()["state"] != "paused" {
        assert!(begun.elapsed() < LIMIT, "{}", steered.frame());
    }
    client.request(Request::Resume);
    client.request(Request::Reset { seed: 11 });
    let afresh = client.pose_with("of the next stream", |pose| pose.stamp.stream == 2);
    assert!(afresh.frame < 30, "{afresh:?}");
    let begun = Instant::now();
    while steered.frame()["seed"] != 11 {
        assert!(begun.elapsed() < LIMIT, "{}", steered.frame());
    }

    let report = steered.end();
    // Its path was measured, no course was run.
    assert!(report["path_rmse_m"].is_number(), "{report}");
    assert_eq!(report["runs"], 0);
    let controls = &report["controls"];
    assert_eq!(controls["malformed"], wrong.len());
    assert!(controls["received"].as_u64().unwrap() > 3, "{report}");
    assert!(controls["clamped"].as_u64().unwrap() >= 1, "{report}");
    assert!(report["frames_clamped"].as_u64().unwrap() >= 1, "{report}");
    assert!(report["poses_published"].as_u64().unwrap() > 30, "{report}");
}

#[test]
fn the_page_shows_the_character() {
    let project = motion::trained();
    let mut steered = Steered::start(project.path(), &["--name", "dancer"]);
    let page = get(&steered.page, "/");
    assert!(page.contains("<html"), "{page}");
    let introduction = get(&steered.page, "/introduction.json");
    assert!(introduction.contains("LeftToe"), "{introduction}");
    let address = steered.page.clone();
    let mut frame = Value::Null;
    steered.running.wait_until("a frame", || {
        let answer = get(&address, "/frame.json");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        frame = serde_json::from_str(body).unwrap_or_default();
        frame["frame"].as_u64() > Some(POSES)
    });
    // 22 joints and five ends, three numbers each.
    assert_eq!(frame["points_mm"].as_array().unwrap().len(), 27 * 3);
    assert_eq!(frame["seed"], 3);
    assert_eq!(frame["state"], "idle");
    assert_eq!(frame["nodes"], serde_json::json!(["character"]));

    // The same figures where robots have them.
    let top = [
        "top",
        "--connect",
        &steered.address,
        "--robot",
        "dancer",
        "--json",
        "--wait",
        "60",
    ];
    let seen = kinestream(project.path(), &top).succeeds().stdout;
    assert!(seen.contains("dancer"), "{seen}");
    steered.end();
}

#[test]
fn recordings_survive_being_killed_and_are_replayed_over_zenoh() {
    let project = motion::trained();
    let file = project.path().join("live.mcap");
    let mut steered = Steered::start(project.path(), &["--record", "live.mcap"]);
    let client = Client::connect(&steered.address);
    client.steer(&stick(1.0, 0.0));
    client.pose_with("that moves", |pose| !is(pose, PoseFlags::IDLE));

    // From outside too, with the joints asked for.
    let outside = [
        "record",
        "outside.mcap",
        "--connect",
        &steered.address,
        "--robot",
        "character",
    ];
    let recorder = Running::start(project.path(), &outside);
    let there = project.path().join("outside.mcap");
    steered.running.wait_until("poses from outside", || {
        there.exists()
            && !recorded(&there, "pose").is_empty()
            && !recorded(&there, "info/skeleton").is_empty()
    });
    recorder.interrupt();
    recorder.finish().succeeds();
    steered
        .running
        .wait_until("poses in the file", || recorded(&file, "pose").len() > 60);
    steered.running.kill();

    let poses = recorded(&file, "pose");
    assert!(!recorded(&file, "control").is_empty());
    let inspect = ["inspect", "live.mcap", "--json"];
    let found = json_object(&kinestream(project.path(), &inspect).succeeds().stdout);
    let counted = &found["survived"]["topics"]["pose"]["messages"];
    assert_eq!(counted, poses.len(), "{found}");

    // What was published comes again, byte for byte, and the joints with it.
    let address = format!("tcp/127.0.0.1:{}", free_port());
    let replay = [
        "replay",
        "live.mcap",
        "--headless",
        "--listen",
        &address,
        "--speed",
        "max",
        "--wait",
        "100",
        "--json",
    ];
    let replaying = Running::start(project.path(), &replay);
    let session = SessionOptions {
        connect: vec![address.clone()],
        ..SessionOptions::default()
    };
    let node = Node::open(&session, "character", "engine").unwrap();
    let begun = Instant::now();
    while node.ask("skeleton", LIMIT).unwrap().is_none() {
        assert!(begun.elapsed() < LIMIT, "nobody knows the joints");
    }
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let collected = std::sync::Arc::clone(&heard);
    let listening = node
        .subscribe_raw(move |topic, bytes| {
            if topic == "pose" {
                collected.lock().unwrap().push(bytes.to_vec());
            }
        })
        .unwrap();
    let report = json_object(&replaying.finish().succeeds().stdout);
    assert_eq!(report["malformed"], 0, "{report}");
    let begun = Instant::now();
    while heard.lock().unwrap().len() < poses.len() {
        assert!(begun.elapsed() < LIMIT, "poses are missing");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(*heard.lock().unwrap() == poses);
    drop(listening);
}

#[test]
fn a_recording_is_shown_on_the_page() {
    let project = motion::trained();
    kinestream(
        project.path(),
        &course(&["--seconds", "2", "--record", "short.mcap"]),
    )
    .succeeds();
    let replay = ["replay", "short.mcap", "--loop", "--port", "0"];
    let mut replaying = Running::start(project.path(), &replay);
    let said = replaying.wait_for("Ctrl-C ends it");
    let address = said.split("http://").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    assert!(get(&address, "/introduction.json").contains("LeftToe"));
    let mut frame = Value::Null;
    replaying.wait_until("a pose", || {
        let answer = get(&address, "/frame.json");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        frame = serde_json::from_str(body).unwrap_or_default();
        frame["points_mm"]
            .as_array()
            .is_some_and(|points| points.len() == 27 * 3)
    });
    assert_eq!(frame["fault"], Value::Null);
    assert_eq!(frame["seed"], 100_000);
    replaying.interrupt();
    replaying.finish().succeeds();
}

#[test]
fn what_cannot_be_done_is_said() {
    let project = motion::trained();
    let run = |arguments: &[&str]| kinestream(project.path(), arguments);
    run(&["demo", "motion", "--headless", "--checkpoint", "absent"]).fails(&[
        "absent",
        "kinestream train",
        "--checkpoint",
    ]);
    run(&["demo", "motion", "--checkpoint", "out", "--episodes", "2"])
        .fails(&["--episodes", "--headless"]);
    run(&course(&["--rate", "20"])).fails(&["--rate is 20", "30 to 240"]);
    run(&["demo", "pusht", "--listen", "tcp/127.0.0.1:1"]).fails(&["--listen", "demo motion"]);
    run(&course(&["--name", "a/b"])).succeeds();
    run(&course(&["--name", "a/b", "--listen", "tcp/127.0.0.1:0"])).fails(&["a/b", "robot"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp/{}", taken.local_addr().unwrap());
    run(&course(&["--listen", &address])).fails(&[&address, "--listen"]);
    std::fs::write(project.path().join("there.mcap"), "x").unwrap();
    run(&course(&["--record", "there.mcap"])).fails(&["there.mcap"]);
}
