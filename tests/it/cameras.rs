//! A policy with a camera over zenoh: pictures as pixels and as JPEG, those that do not belong to an observation, a recording.

use std::time::{Duration, Instant};

use crate::support::camera::{self, FILE};
use crate::support::child::{Running, kinestream};
use crate::support::json_object;
use kinestream_bridge::node::{Channel, Inbox, Publisher, SessionOptions};
use kinestream_bridge::wire::{Image, ImageEncoding, Name, Values};
use kinestream_bridge::{Node, Observation, Plan, Stamp};
use tempfile::TempDir;

/// Longest wait for what must come; only a failed test reaches it.
const LIMIT: Duration = Duration::from_secs(60);
const PERIOD_NS: u64 = 100_000_000;

/// The robot's side: it sends a picture or none, then an observation.
struct Robot {
    _node: Node,
    pictures: Publisher,
    observations: Publisher,
    plans: Inbox<Plan>,
    sequence: u64,
}

impl Robot {
    fn connect(address: String) -> Self {
        let session = SessionOptions {
            namespace: "test".into(),
            connect: vec![address],
            ..SessionOptions::default()
        };
        let node = Node::open(&session, "arm", "robot").unwrap();
        let pictures = node.publisher(Channel::Image("top")).unwrap();
        let observations = node.publisher(Channel::Observation("state")).unwrap();
        let plans = node.inbox::<Plan>(&node.keys().plan(), 16).unwrap();
        assert!(pictures.wait_until_matched(LIMIT) && observations.wait_until_matched(LIMIT));
        Self {
            _node: node,
            pictures,
            observations,
            plans,
            sequence: 0,
        }
    }

    fn show(&mut self, encoding: ImageEncoding, (width, height): (u32, u32), data: Vec<u8>) {
        let image = Image {
            stamp: self.stamp(self.sequence + 1),
            name: Name::new("top").unwrap(),
            width,
            height,
            encoding,
            data,
        };
        assert!(self.pictures.publish(&image).unwrap());
    }

    fn observe(&mut self) {
        self.sequence += 1;
        let observation = Observation {
            stamp: self.stamp(self.sequence),
            name: Name::new("state").unwrap(),
            values: Values::F64(vec![0.25, -0.5]),
        };
        assert!(self.observations.publish(&observation).unwrap());
    }

    /// The plan that answers the newest observation.
    fn plan(&self) -> Plan {
        let begun = Instant::now();
        loop {
            let plan = self.plans.next(LIMIT).expect("a plan");
            if plan.observation_sequence == self.sequence {
                return plan;
            }
            assert!(begun.elapsed() < LIMIT, "no plan for {}", self.sequence);
        }
    }

    fn stamp(&self, sequence: u64) -> Stamp {
        Stamp {
            sequence,
            monotonic_ns: sequence * PERIOD_NS,
            stream: 3,
            ..Stamp::default()
        }
    }
}

#[test]
fn pictures_come_over_zenoh_and_are_recorded() {
    let folder = TempDir::new().unwrap();
    let address = camera::write(folder.path(), "");
    let mut runtime = Running::start(
        folder.path(),
        &["run", "reach.toml", "--record", "run.mcap"],
    );
    let ready = runtime.wait_for("ready");
    assert!(ready.contains("obs/top (16 x 24 pixels)"), "{ready}");
    let mut robot = Robot::connect(address);

    // Without a picture there is nothing to plan from.
    robot.observe();
    runtime.wait_for("camera top: no picture of this stream yet");
    // Pixels, and a file.
    let grey = vec![90; 24 * 16 * 3];
    robot.show(ImageEncoding::Rgb8, (24, 16), grey.clone());
    robot.observe();
    let from_pixels = robot.plan();
    assert_eq!(from_pixels.dims, 2);
    robot.show(ImageEncoding::Jpeg, (0, 0), FILE.to_vec());
    robot.observe();
    let from_file = robot.plan();
    assert_ne!(from_file.actions, from_pixels.actions);
    // One of another size is refused; the picture of a period before still belongs to the observation.
    robot.show(ImageEncoding::Mono8, (8, 8), vec![0; 64]);
    robot.observe();
    runtime.wait_for(
        "camera top: a picture of 8 x 8 pixels (height x width), the policy expects 16 x 24",
    );
    robot.plan();
    // Two periods later it does not.
    robot.observe();
    runtime.wait_for("its nearest picture is more than 100 ms from the observation");
    // A broken file changes nothing; a good picture mends it.
    robot.show(ImageEncoding::Jpeg, (0, 0), FILE[..40].to_vec());
    runtime.wait_for("not a JPEG file");
    robot.show(ImageEncoding::Bgr8, (24, 16), grey);
    robot.observe();
    robot.plan();
    drop(robot);
    runtime.interrupt();
    runtime.finish().succeeds();

    let again = kinestream(folder.path(), &["resim", "run.mcap", "--json"]).succeeds();
    let report = json_object(&again.stdout);
    assert_eq!(report["plans_compared"], 4, "{report}");
    assert_eq!(report["differing"], 0, "{report}");
}

/// What is shipped: the simulator draws the table, a policy that sees it pushes the T.
#[test]
fn the_shipped_policy_sees_what_the_simulator_draws() {
    let folder = TempDir::new().unwrap();
    let recording = folder.path().join("seen.mcap");
    let recording = recording.to_str().unwrap();
    let arguments = [
        "demo",
        "pusht",
        "--policy",
        "image",
        "--headless",
        "--seconds",
        "4",
    ];
    let more = ["--record", recording, "--json"];
    let done = kinestream(folder.path(), &[&arguments[..], &more].concat()).succeeds();
    let report = json_object(&done.stdout);
    for key in ["plans_published", "actions_published", "actions_received"] {
        assert!(report[key].as_u64().unwrap() > 0, "{key}: {report}");
    }
    let done = kinestream(folder.path(), &["resim", recording, "--json"]).succeeds();
    let again = json_object(&done.stdout);
    assert!(again["plans_compared"].as_u64().unwrap() > 0, "{again}");
    assert_eq!(again["differing"], 0, "{again}");

    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/pusht-image.toml");
    let arguments = [
        "eval",
        config,
        "--seeds",
        "100000..100000",
        "--threads",
        "1",
        "--json",
    ];
    let done = kinestream(folder.path(), &arguments).succeeds();
    let report = json_object(&done.stdout);
    assert_eq!(report["observation"], "image");
    // One for four actions, and one more where an episode ends between them.
    let evaluations = report["evaluations_per_action"].as_f64().unwrap();
    assert!((0.25..0.27).contains(&evaluations), "{report}");
}
