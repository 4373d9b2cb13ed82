//! Recordings end to end: what goes over zenoh into a file, what a killed recorder leaves, and what
//! `replay` and `inspect` make of whole and cut files.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::child::Running;
use crate::support::json_object;
use crate::support::project::{CONFIG, Project, free_port};
use kinestream_bridge::node::{Channel, SessionOptions};
use kinestream_bridge::recording::{Format, RecordedMessage, Recorder, Recording, Schema};
use kinestream_bridge::wire::{ActionFlags, Encode, Name, Request};
use kinestream_bridge::{Action, Command, Node, Observation, Plan, Stamp, Status};
use kinestream_sim::pusht::PushT;
use serde::Serialize;

const LIMIT: Duration = Duration::from_secs(120);
/// Nanoseconds between two physics steps.
const STEP_NS: u64 = 10_000_000;
const SEED: u32 = 100_003;

/// The simulator's step as `runtime/src/recording/messages.rs` lays it out.
#[derive(Serialize)]
struct SimStep {
    seed: u32,
    stream: u32,
    step: u64,
    target: [f64; 2],
    agent: [f64; 2],
    block: [f64; 3],
    coverage: f64,
    reward: f64,
}

fn stamp(sequence: u64, monotonic_ns: u64) -> Stamp {
    Stamp {
        sequence,
        monotonic_ns,
        wall_ns: 0,
        stream: 1,
    }
}

fn bytes(message: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes).unwrap();
    bytes
}

fn plan(sequence: u64, at_ns: u64) -> Plan {
    Plan {
        stamp: stamp(sequence, at_ns),
        chunk: sequence,
        observation_sequence: sequence,
        first_action_ns: at_ns,
        period_ns: 100_000_000,
        dims: 2,
        committed: 1,
        levels: 8,
        noise: vec![0.0, 0.5],
        level: vec![0, 4],
        actions: vec![256.0; 4],
    }
}

fn action(sequence: u64, at_ns: u64) -> Action {
    Action {
        stamp: stamp(sequence, at_ns),
        chunk: 1,
        position: 0.5,
        noise: 0.0,
        flags: ActionFlags::NONE,
        values: vec![256.0, sequence as f32],
    }
}

fn observation(sequence: u64, at_ns: u64, world: &PushT) -> Observation<Vec<f64>> {
    Observation {
        stamp: stamp(sequence, at_ns),
        name: Name::new("state").unwrap(),
        values: world.observation().to_vec(),
    }
}

/// Records `steps` physics steps of 10 ms with observations, plans and commands, as a demo would.
/// With `wrong`, that step's state is another by one bit.
fn write_recording(path: &Path, steps: u64, wrong: Option<u64>) {
    let layout = bincode::config::standard().with_fixed_int_encoding();
    let recorder = Recorder::create(path).unwrap();
    let bincode = Format {
        message_encoding: "bincode/2",
        schema: Some(Schema {
            name: "kinestream.SimStep",
            encoding: "rust",
            text: "",
        }),
    };
    let sim = recorder.channel("sim/step", bincode);
    let [states, resets, plans, actions, health] = [
        ("obs/state", Format::WIRE),
        ("cmd/reset", Format::WIRE),
        ("plan", Format::WIRE),
        ("act", Format::WIRE),
        ("health", Format::json("test.Health")),
    ]
    .map(|(topic, format)| recorder.channel(topic, format));
    let mut world = PushT::new();
    world.reset(SEED);
    let begun_ns = 5_000_000_000;
    let reset = Command {
        stamp: stamp(1, begun_ns),
        request: Request::Reset { seed: SEED.into() },
    };
    assert!(resets.send(begun_ns, begun_ns, &bytes(&reset)));
    for step in 1..=steps {
        let at_ns = begun_ns + step * STEP_NS;
        if step % 10 == 1 {
            let number = step / 10 + 1;
            assert!(states.send(at_ns, at_ns, &bytes(&observation(number, at_ns, &world))));
            assert!(plans.send(at_ns, at_ns, &bytes(&plan(number, at_ns))));
            assert!(health.send(at_ns, at_ns, b"{\"rung\": \"continue\"}"));
        }
        assert!(actions.send(at_ns, at_ns, &bytes(&action(step, at_ns))));
        let target = [256.0, 200.0 + (step % 100) as f64];
        world.physics_step(target).unwrap();
        let (state, outcome) = (world.state(), world.outcome());
        let [x, y] = state.block_position;
        let mut agent = state.agent_position;
        if wrong == Some(step) {
            agent[0] = f64::from_bits(agent[0].to_bits() ^ 1);
        }
        let recorded = SimStep {
            seed: SEED,
            stream: 1,
            step,
            target,
            agent,
            block: [x, y, state.block_angle],
            coverage: outcome.coverage,
            reward: outcome.reward,
        };
        let recorded = bincode::serde::encode_to_vec(&recorded, layout).unwrap();
        assert!(sim.send(at_ns, at_ns, &recorded));
    }
    let status = recorder.finish();
    assert_eq!((status.dropped, status.fault), (0, None));
}

fn messages(path: &Path) -> Vec<RecordedMessage> {
    Recording::open(path)
        .unwrap()
        .messages()
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Topic and bytes of what travels over zenoh, by topic and in order.
fn on_zenoh(messages: &[RecordedMessage]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = messages
        .iter()
        .filter(|message| &*message.topic != "config" && !message.topic.starts_with("sim/"))
        .map(|message| (message.topic.to_string(), message.bytes.clone()))
        .collect();
    // zenoh keeps the order of a topic only.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn physics_comes_out_the_same_and_a_wrong_bit_is_found() {
    let project = Project::new();
    let path = project.path("a.mcap");
    write_recording(&path, 200, None);
    let replay = ["replay", "a.mcap", "--headless", "--speed", "max", "--json"];
    let report = json_object(&project.run(&replay).succeeds().stdout);
    assert_eq!(report["physics_steps_compared"], 200, "{report}");
    assert_eq!(report["physics_steps_differing"], 0, "{report}");
    assert_eq!(
        report["messages_played"],
        200 + 200 + 20 * 3 + 1,
        "{report}"
    );
    assert_eq!(report["messages_published"], 0, "{report}");
    assert_eq!(
        (&report["loops"], &report["malformed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(report["duration_s"], 2.0, "{report}");
    assert_eq!(report["survived"]["complete"], true, "{report}");

    // From the middle: what is before sets the scene, the physics runs from the reset.
    let report = json_object(
        &project
            .run(&[&replay[..], &["--seek", "1.5"]].concat())
            .succeeds()
            .stdout,
    );
    assert_eq!(report["physics_steps_compared"], 200, "{report}");
    assert_eq!(report["messages_played"], 51 + 51 + 5 * 3, "{report}");

    let wrong = project.path("wrong.mcap");
    write_recording(&wrong, 200, Some(77));
    let report = json_object(
        &project
            .run(&[
                "replay",
                "wrong.mcap",
                "--headless",
                "--speed",
                "0",
                "--json",
            ])
            .succeeds()
            .stdout,
    );
    assert_eq!(report["physics_steps_differing"], 1, "{report}");
    let first = &report["physics"]["first_difference"];
    assert_eq!((&first["step"], &first["seed"]), (&77.into(), &SEED.into()));
    let said = project
        .run(&["replay", "wrong.mcap", "--headless", "--speed", "0"])
        .succeeds()
        .stdout;
    assert!(said.contains("200 steps run again, 1 differ"), "{said}");
}

#[test]
fn a_cut_recording_says_what_survived_and_plays() {
    let project = Project::new();
    let path = project.path("a.mcap");
    write_recording(&path, 200, None);
    let whole = std::fs::read(&path).unwrap();
    let total = messages(&path).len() as u64;
    let mut last = 0;
    for part in [5_usize, 40, 80, 99] {
        std::fs::write(project.path("cut.mcap"), &whole[..whole.len() * part / 100]).unwrap();
        let replayed = project.run(&[
            "replay",
            "cut.mcap",
            "--headless",
            "--speed",
            "max",
            "--json",
        ]);
        let inspected = json_object(
            &project
                .run(&["inspect", "cut.mcap", "--json"])
                .succeeds()
                .stdout,
        );
        assert_eq!(inspected["kind"], "recording");
        let survived = inspected["survived"]["messages"].as_u64().unwrap();
        assert!((last..=total).contains(&survived), "{inspected}");
        assert_eq!(inspected["survived"]["complete"], false);
        last = survived;
        if survived == 0 {
            replayed.fails(&["no message has survived", "cut.mcap"]);
            continue;
        }
        let replayed = replayed.succeeds();
        assert!(
            replayed.stderr.contains("have survived"),
            "{}",
            replayed.stderr
        );
        let report = json_object(&replayed.stdout);
        assert_eq!(report["messages_played"], survived, "{report}");
        assert_eq!(report["physics_steps_differing"], 0, "{report}");
    }
    assert!(last > total / 2, "{last} of {total}");
    let said = project.run(&["inspect", "a.mcap"]).succeeds().stdout;
    assert!(
        said.contains("complete") && said.contains("obs/state"),
        "{said}"
    );
}

#[test]
fn what_is_replayed_is_recorded_again_byte_for_byte() {
    let project = Project::new();
    write_recording(&project.path("a.mcap"), 300, None);
    let mut recorder = Running::start(
        project.folder(),
        &["record", "b.mcap", "--config", CONFIG, "--json"],
    );
    recorder.wait_for("recording test/pusht");
    let replayed = json_object(
        &project
            .run(&[
                "replay",
                "a.mcap",
                "--headless",
                "--speed",
                "max",
                "--config",
                CONFIG,
                "--wait",
                "120",
                "--json",
            ])
            .succeeds()
            .stdout,
    );
    let expected = on_zenoh(&messages(&project.path("a.mcap")));
    assert_eq!(replayed["messages_published"], expected.len(), "{replayed}");
    recorder.wait_until("all messages", || {
        messages(&project.path("b.mcap")).len() > expected.len()
    });
    recorder.interrupt();
    let report = json_object(&recorder.finish().succeeds().stdout);
    assert_eq!(report["messages"], expected.len() + 1, "{report}");
    assert_eq!(
        (&report["dropped"], &report["malformed"]),
        (&0.into(), &0.into())
    );
    let found = messages(&project.path("b.mcap"));
    assert_eq!(&*found[0].topic, "config");
    assert_eq!(on_zenoh(&found), expected);
    assert!(
        Recording::open(project.path("b.mcap"))
            .unwrap()
            .survey()
            .unwrap()
            .complete
    );
    // Without the simulator's own steps the page's picture comes from the observations.
    let report = json_object(
        &project
            .run(&["replay", "b.mcap", "--headless", "--speed", "max", "--json"])
            .succeeds()
            .stdout,
    );
    assert_eq!(report["physics_steps_compared"], 0, "{report}");
}

#[test]
fn a_recorder_hears_robot_and_runtime_and_being_killed_leaves_what_it_heard() {
    let project = Project::new();
    let address = vec![format!("tcp/127.0.0.1:{}", free_port())];
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let listen = text
        .lines()
        .find(|line| line.starts_with("listen"))
        .unwrap();
    let config = project.variant("three.toml", listen, &format!("listen = {address:?}"));
    let session = SessionOptions {
        namespace: "test".into(),
        ..SessionOptions::default()
    };
    // As `run` and `sim` do: one listens, the other connects.
    let runtime = Node::open(
        &SessionOptions {
            listen: address.clone(),
            ..session.clone()
        },
        "pusht",
        "runtime",
    )
    .unwrap();
    let robot = Node::open(
        &SessionOptions {
            connect: address,
            ..session
        },
        "pusht",
        "simulator",
    )
    .unwrap();
    let mut states = robot.publisher(Channel::Observation("state")).unwrap();
    let mut actions = runtime.publisher(Channel::Action).unwrap();
    let mut statuses = runtime.publisher(Channel::Status).unwrap();
    let mut recorder = Running::start(
        project.folder(),
        &["record", "killed.mcap", "--config", config],
    );
    recorder.wait_for("recording test/pusht");
    for publisher in [&states, &actions, &statuses] {
        assert!(publisher.wait_until_matched(LIMIT), "{}", publisher.key());
    }
    let sent = Arc::new(Mutex::new(0_u64));
    let path = project.path("killed.mcap");
    let count = |topic: &str| {
        messages(&path)
            .iter()
            .filter(|message| &*message.topic == topic)
            .count() as u64
    };
    let world = PushT::new();
    // Until the file, while it is being written, shows messages of all three.
    recorder.wait_until("messages on the disk", || {
        let mut number = sent.lock().unwrap();
        *number += 1;
        states.publish(&observation(*number, 1, &world)).unwrap();
        actions.publish(&action(*number, 1)).unwrap();
        let status = Status {
            stamp: stamp(*number, 1),
            ..Status::default()
        };
        statuses.publish(&status).unwrap();
        ["obs/state", "act", "status"]
            .iter()
            .all(|topic| count(topic) >= 20)
    });
    recorder.kill();
    let survey = Recording::open(&path).unwrap().survey().unwrap();
    assert!(!survey.complete);
    assert!(survey.topics["obs/state"].messages >= 20, "{survey:?}");
    assert_eq!(survey.skipped_chunks, 0);
    let last = *sent.lock().unwrap();
    let states: Vec<_> = messages(&path)
        .into_iter()
        .filter(|message| &*message.topic == "obs/state")
        .collect();
    for (number, message) in (1..=last).zip(&states) {
        assert_eq!(message.bytes, bytes(&observation(number, 1, &world)));
        assert_eq!(message.publish_ns, 1);
    }
    let report = json_object(
        &project
            .run(&[
                "replay",
                "killed.mcap",
                "--headless",
                "--speed",
                "max",
                "--json",
            ])
            .succeeds()
            .stdout,
    );
    assert_eq!(report["survived"]["messages"], survey.messages);
}

#[test]
fn a_loop_begins_again_until_ctrl_c_and_the_page_shows_the_state() {
    let project = Project::new();
    write_recording(&project.path("a.mcap"), 100, None);
    let arguments = [
        "replay", "a.mcap", "--loop", "--speed", "50", "--port", "0", "--json",
    ];
    let mut running = Running::start(project.folder(), &arguments);
    let said = running.wait_for("Ctrl-C ends it");
    let address = said.split("http://").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    let mut frame = serde_json::Value::Null;
    running.wait_until("a frame with a plan", || {
        let answer = crate::support::get(address, "/frame.json");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        frame = serde_json::from_str(body).unwrap_or_default();
        frame["plan"]["chunk"]
            .as_u64()
            .is_some_and(|chunk| chunk > 0)
    });
    assert_eq!(frame["seed"], SEED, "{frame}");
    assert_eq!(frame["fault"], serde_json::Value::Null, "{frame}");
    assert!(frame["target"][1].as_f64().unwrap() >= 200.0, "{frame}");
    std::thread::sleep(Duration::from_millis(200));
    running.interrupt();
    let report = json_object(&running.finish().succeeds().stdout);
    assert!(report["loops"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(report["physics_steps_differing"], 0, "{report}");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let project = Project::new();
    let replay = |file: &str| project.run(&["replay", file, "--headless"]);
    replay("absent.mcap").fails(&["absent.mcap", "cannot read"]);
    replay(".").fails(&["no regular file"]);
    replay(CONFIG).fails(&[CONFIG, "MCAP"]);
    std::fs::write(project.path("empty.mcap"), "").unwrap();
    replay("empty.mcap").fails(&["empty.mcap", "no message has survived", "0 bytes"]);
    project.run(&["inspect", CONFIG]).fails(&[CONFIG, "MCAP"]);
    project.run(&["inspect", "empty.mcap"]).succeeds();

    write_recording(&project.path("a.mcap"), 10, None);
    let before = std::fs::read(project.path("a.mcap")).unwrap();
    project
        .run(&["record", "a.mcap", "--config", CONFIG])
        .fails(&["a.mcap", "exists", "another name"]);
    assert_eq!(std::fs::read(project.path("a.mcap")).unwrap(), before);
    project
        .run(&["record", "absent/a.mcap", "--config", CONFIG])
        .fails(&["absent/a.mcap", "cannot record", "folder"]);
    project
        .run(&["record", "b.mcap", "--config", "absent.toml"])
        .fails(&["absent.toml"]);
    project
        .run(&["replay", "a.mcap", "--headless", "--seek", "100"])
        .fails(&["--seek 100", "0.10 s"]);
    project
        .run(&["replay", "a.mcap", "--headless", "--config", "absent.toml"])
        .fails(&["absent.toml"]);
    for speed in ["-1", "nan", "quick"] {
        project
            .run(&["replay", "a.mcap", &format!("--speed={speed}")])
            .reports_wrong_usage(&[speed, "factor"]);
    }
}
