//! ROS 2 end to end: the built program beside a node of hiroz, which shares no code with it but zenoh. Both directions,
//! over the wire of `rmw_zenoh_cpp`.
//!
//! The node is the program of tests/ros2-peer, built here once. What is asserted are contents, never speed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::camera;
use crate::support::child::{Finished, Running};
use crate::support::project::{CONFIG, Project, free_port};
use crate::support::{json_object, motion};
use serde_json::{Value, json};

const IMAGE: &str = "sensor_msgs/Image";
const COMPRESSED: &str = "sensor_msgs/CompressedImage";
const TWIST: &str = "geometry_msgs/Twist";
const ARRAY: &str = "std_msgs/Float64MultiArray";
const JOINTS: &str = "sensor_msgs/JointState";
const TRAJECTORY: &str = "trajectory_msgs/JointTrajectory";
const TRANSFORMS: &str = "tf2_msgs/TFMessage";
const POSE: &str = "geometry_msgs/PoseStamped";

/// The peer's program.
fn peer() -> &'static Path {
    static PEER: OnceLock<PathBuf> = OnceLock::new();
    PEER.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = root.join("target/ros2-peer");
        let manifest = root.join("tests/ros2-peer/Cargo.toml");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&target)
            .status()
            .unwrap();
        assert!(built.success(), "the peer does not build");
        target.join("debug/ros2-peer")
    })
}

fn start_peer(folder: &Path, port: u16, arguments: &[&str]) -> Running {
    let connect = format!("tcp/127.0.0.1:{port}");
    let base = ["--connect", connect.as_str(), "--domain", "3"];
    Running::start_other(peer(), folder, &[&base, arguments].concat())
}

/// The messages of a peer that heard some.
fn heard(peer: Finished) -> Vec<Value> {
    let text = peer.succeeds().stdout;
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Says a message ten times a second until a listener has ended.
fn say_until_heard(speaker: &mut Running, message: &Value, listener: Running) -> Vec<Value> {
    let mut listener = listener;
    while !listener.has_ended() {
        assert!(speaker.say(&message.to_string()), "the speaker has ended");
        std::thread::sleep(Duration::from_millis(100));
    }
    heard(listener.finish())
}

/// The configuration of the project with topics of ROS 2, listening on a port of its own.
fn with_topics(project: &Project, topics: &str) -> u16 {
    let port = free_port();
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let text = text
        .lines()
        .map(|line| {
            if line.starts_with("listen") {
                format!("listen = [\"tcp/127.0.0.1:{port}\"]\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect::<String>();
    std::fs::write(project.path("ros2.toml"), text + topics).unwrap();
    port
}

/// Where actions can be: demonstrations go up to 70 beside a block on a table of 512, and a network that has
/// hardly been trained goes as far as they do.
const TARGETS: std::ops::RangeInclusive<f64> = -70.0..=582.0;

const TOPICS: &str = r#"
[ros2]
domain = 3
namespace = "/table"

[ros2.observation]
parts = [
    { topic = "keypoints", message = "std_msgs/Float64MultiArray", size = 18 },
    { topic = "agent", message = "sensor_msgs/JointState", names = ["x", "y"] },
]

[[ros2.publish]]
topic = "commands"
message = "trajectory_msgs/JointTrajectory"
names = ["x", "y"]

[[ros2.publish]]
topic = "plan"
from = "plan"
message = "trajectory_msgs/JointTrajectory"
names = ["x", "y"]
frame = "board"
qos = { transient_local = true, depth = 1 }

[[ros2.publish]]
topic = "disc"
message = "geometry_msgs/PoseStamped"
fields = ["position.x", "position.y"]
rate_hz = 20
"#;

fn agent() -> Value {
    // In another order than the policy's, and with a joint that it does not know.
    json!({
        "header": { "stamp": { "sec": 12, "nanosec": 500 }, "frame_id": "" },
        "name": ["lamp", "y", "x"], "position": [1.0, 300.0, 200.0], "velocity": [], "effort": [],
    })
}

fn keypoints() -> Value {
    let data: Vec<f64> = (0..18).map(|at| 150.0 + 10.0 * f64::from(at)).collect();
    json!({ "layout": { "dim": [], "data_offset": 0 }, "data": data })
}

#[test]
fn a_policy_hears_and_answers_a_node_of_ros_2() {
    let project = Project::trained();
    let port = with_topics(&project, TOPICS);
    let folder = project.folder();
    let mut runtime = Running::start(folder, &["run", "ros2.toml", "--checkpoint", "out"]);
    runtime.wait_for("ready");

    let topics = [
        "/table/keypoints",
        "/table/agent",
        "/table/commands",
        "/table/plan",
    ];
    let graph = start_peer(folder, port, &[&["graph"], &topics[..]].concat());
    let graph = json_object(&graph.finish().succeeds().stdout);
    assert!(
        graph["nodes"]
            .as_array()
            .unwrap()
            .contains(&json!(["kinestream", "/table"])),
        "{graph}"
    );
    let shown = |topic: &str| {
        let topics = graph["topics"].as_array().unwrap();
        let found = topics.iter().find(|found| found[0] == topic).unwrap();
        found[1]
            .as_str()
            .unwrap()
            .replace("::msg::dds_::", "/")
            .trim_end_matches('_')
            .to_owned()
    };
    let kinds = topics.map(shown);
    assert_eq!(kinds, [ARRAY, JOINTS, TRAJECTORY, TRAJECTORY], "{graph}");

    let mut joints = start_peer(folder, port, &["say", JOINTS, "/table/agent"]);
    let mut points = start_peer(folder, port, &["say", ARRAY, "/table/keypoints"]);
    let mut commands = start_peer(
        folder,
        port,
        &["hear", TRAJECTORY, "/table/commands", "--count", "20"],
    );
    let mut disc = start_peer(folder, port, &["hear", POSE, "/table/disc", "--count", "3"]);
    while !(commands.has_ended() && disc.has_ended()) {
        assert!(joints.say(&agent().to_string()) && points.say(&keypoints().to_string()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let commands = heard(commands.finish());
    let command = commands.last().unwrap();
    assert_eq!(command["joint_names"], json!(["x", "y"]));
    assert_eq!(
        command["header"]["stamp"],
        json!({ "sec": 0, "nanosec": 0 })
    );
    let point = &command["points"][0];
    let after = point["time_from_start"]["nanosec"].as_u64().unwrap();
    assert!(after > 0, "{command}");
    for position in point["positions"].as_array().unwrap() {
        let position = position.as_f64().unwrap();
        assert!(TARGETS.contains(&position), "{command}");
    }
    let disc = heard(disc.finish());
    let place = &disc[0]["pose"];
    assert_eq!(place["orientation"]["w"], 1.0, "{place}");
    let x = place["position"]["x"].as_f64().unwrap();
    assert!(TARGETS.contains(&x), "{place}");

    // Who comes when all is said gets the last plan, which the publisher has kept.
    joints.say_no_more();
    points.say_no_more();
    joints.finish().succeeds();
    points.finish().succeeds();
    let late = ["--transient-local", "hear", TRAJECTORY, "/table/plan"];
    let plan = &heard(start_peer(folder, port, &late).finish())[0];
    assert_eq!(plan["header"]["frame_id"], "board", "{plan}");
    assert!(
        plan["header"]["stamp"]["sec"].as_u64().unwrap() > 1_000_000,
        "{plan}"
    );
    let times: Vec<u64> = plan["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            let time = &point["time_from_start"];
            let part = |key: &str| time[key].as_u64().unwrap();
            part("sec") * 1_000_000_000 + part("nanosec")
        })
        .collect();
    assert!(!times.is_empty() && times[0] == 0, "{plan}");
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] == 100_000_000),
        "{plan}"
    );

    runtime.interrupt();
    let said = runtime.finish().succeeds().stderr;
    assert!(
        said.contains("ros2: ") && said.contains("0 malformed, 0 refused"),
        "{said}"
    );
    assert!(!said.contains("ended: 0 observations"), "{said}");
}

#[test]
fn a_character_stands_in_tf_and_follows_a_twist() {
    let project = motion::trained();
    let folder = project.path();
    let port = free_port();
    let address = format!("tcp/127.0.0.1:{port}");
    let demo = [
        "demo",
        "motion",
        "--checkpoint",
        "out",
        "--port",
        "0",
        "--listen",
        &address,
        "--json",
    ];
    let mut character = Running::start(folder, &demo);
    character.wait_for("Ctrl-C ends it");
    let theirs = free_port();
    let bridge = format!(
        r#"robot = "character"
        [session]
        connect = ["{address}"]
        listen = ["tcp/127.0.0.1:{theirs}"]
        [ros2]
        domain = 3
        [ros2.character]
        transforms = "/tf"
        pose = "root"
        twist = "/cmd_vel"
        goal = "/goal_pose""#
    );
    std::fs::write(folder.join("bridge.toml"), bridge).unwrap();
    let mut bridge = Running::start(folder, &["ros2", "bridge.toml", "--json"]);
    bridge.wait_for("joints");

    let mut driver = start_peer(folder, theirs, &["say", TWIST, "/cmd_vel"]);
    let twist = json!({
        "linear": { "x": 1.0, "y": 0.0, "z": 0.0 }, "angular": { "x": 0.0, "y": 0.0, "z": 0.3 },
    });
    let listener = start_peer(
        folder,
        theirs,
        &["hear", TRANSFORMS, "/tf", "--count", "30"],
    );
    let transforms = say_until_heard(&mut driver, &twist, listener);
    let all = transforms[0]["transforms"].as_array().unwrap();
    assert_eq!(all.len(), 22, "{all:?}");
    assert_eq!(all[0]["header"]["frame_id"], "map");
    let root = all[0]["child_frame_id"].as_str().unwrap();
    assert!(root.starts_with("character/"), "{root}");
    assert_eq!(all[1]["header"]["frame_id"], root, "{all:?}");
    // Z is up: a standing character's root is about a metre above the ground.
    let height = all[0]["transform"]["translation"]["z"].as_f64().unwrap();
    assert!((0.5..1.5).contains(&height), "{height}");
    let mut walker = start_peer(folder, theirs, &["say", POSE, "/goal_pose"]);
    let goal = json!({
        "header": { "stamp": { "sec": 0, "nanosec": 0 }, "frame_id": "map" },
        "pose": {
            "position": { "x": 3.0, "y": 1.0, "z": 0.0 },
            "orientation": { "x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0 },
        },
    });
    let listener = start_peer(folder, theirs, &["hear", POSE, "/root"]);
    let poses = say_until_heard(&mut walker, &goal, listener);
    assert_eq!(poses[0]["header"]["frame_id"], "map");

    bridge.interrupt();
    let counts = json_object(&bridge.finish().succeeds().stdout);
    assert!(counts["received"].as_u64().unwrap() > 0, "{counts}");
    assert!(counts["sent"].as_u64().unwrap() >= 31, "{counts}");
    assert_eq!(counts["refused"], 0, "{counts}");
    character.interrupt();
    let report = json_object(&character.finish().succeeds().stdout);
    assert!(
        report["controls"]["received"].as_u64().unwrap() > 0,
        "{report}"
    );
}

#[test]
fn what_does_not_fit_the_policy_is_refused_before_anything_starts() {
    let project = Project::trained();
    for (topics, words) in [
        (
            r#"
            [ros2.observation]
            parts = [{ topic = "/a", message = "geometry_msgs/Twist" }]"#,
            &["[ros2]", "observation", "[6]", "20"][..],
        ),
        (
            r#"
            [[ros2.publish]]
            topic = "/a"
            message = "geometry_msgs/Twist""#,
            &["publish /a", "6 numbers", "2"],
        ),
        (
            r#"
            [[ros2.publish]]
            topic = "/a b"
            message = "std_msgs/Float64MultiArray""#,
            &["/a b"],
        ),
        (
            r#"
            [[ros2.publish]]
            topic = "/a"
            message = "std_msgs/Int8""#,
            &["line", "std_msgs/Int8", "std_msgs/Float64MultiArray"],
        ),
        ("[ros2]\ndomain = 3\n", &["names no topic"]),
    ] {
        with_topics(&project, topics);
        project
            .run(&["run", "ros2.toml", "--checkpoint", "out"])
            .fails(words);
    }
}

#[test]
fn a_policy_sees_what_a_camera_of_ros_2_sees() {
    let header = json!({ "stamp": { "sec": 12, "nanosec": 500 }, "frame_id": "lens" });
    let joints = json!({
        "header": header, "name": ["x", "y"], "position": [0.25, -0.5], "velocity": [], "effort": [],
    });
    let pixels = json!({
        "header": header, "height": 16, "width": 24, "encoding": "bgr8", "is_bigendian": 0,
        "step": 72, "data": vec![90; 72 * 16],
    });
    let file =
        json!({ "header": header, "format": "bgr8; jpeg compressed bgr8", "data": camera::FILE });
    for (message, picture) in [(IMAGE, pixels), (COMPRESSED, file)] {
        let folder = tempfile::TempDir::new().unwrap();
        let topics = format!(
            "[ros2]\ndomain = 3\n\n[ros2.observation]\nparts = [{{ topic = \"joints\", message = \"{JOINTS}\", \
             names = [\"x\", \"y\"] }}]\ncameras = [{{ name = \"top\", topic = \"camera\", message = \"{message}\" }}]\n\n\
             [[ros2.publish]]\ntopic = \"commands\"\nmessage = \"{ARRAY}\"\n"
        );
        let address = camera::write(folder.path(), &topics);
        let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
        let mut runtime = Running::start(folder.path(), &["run", "reach.toml"]);
        runtime.wait_for("ready");
        let mut arm = start_peer(folder.path(), port, &["say", JOINTS, "/joints"]);
        let mut lens = start_peer(folder.path(), port, &["say", message, "/camera"]);
        let hear = ["hear", ARRAY, "/commands", "--count", "5"];
        let mut commands = start_peer(folder.path(), port, &hear);
        while !commands.has_ended() {
            assert!(lens.say(&picture.to_string()) && arm.say(&joints.to_string()));
            std::thread::sleep(Duration::from_millis(20));
        }
        let commands = heard(commands.finish());
        assert_eq!(commands[4]["data"].as_array().unwrap().len(), 2);
        runtime.interrupt();
        runtime.finish().succeeds();
    }
}
