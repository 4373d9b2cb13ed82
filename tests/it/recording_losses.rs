//! What a recording lacks is said: numbers that senders left out, and a disk that takes no more, which ends the program with
//! status 1 after it has come to rest.

use std::path::Path;
use std::time::Duration;

use crate::support::child::{Finished, Running};
use crate::support::json_object;
use crate::support::project::{CONFIG, OUT, Project};
use kinestream_bridge::node::{Channel, SessionOptions};
use kinestream_bridge::recording::Recording;
use kinestream_bridge::wire::ActionFlags;
use kinestream_bridge::{Action, Node, Publisher, Stamp};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// A runtime that only counts its commands.
struct Counter {
    _node: Node,
    actions: Publisher,
}

impl Counter {
    /// Listens where the configuration says.
    fn listen(project: &Project) -> Self {
        let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
        let address = text.split('"').find(|part| part.starts_with("tcp/"));
        let session = SessionOptions {
            namespace: "test".into(),
            listen: vec![address.unwrap().to_owned()],
            ..SessionOptions::default()
        };
        let node = Node::open(&session, "pusht", "runtime").unwrap();
        let actions = node.publisher(Channel::Action).unwrap();
        Self {
            _node: node,
            actions,
        }
    }

    fn send(&mut self, sequence: u64) {
        let action = Action {
            stamp: Stamp {
                sequence,
                monotonic_ns: sequence,
                wall_ns: 0,
                stream: 1,
            },
            chunk: 1,
            position: 0.0,
            noise: 0.0,
            flags: ActionFlags::NONE,
            values: vec![256.0; 64],
        };
        self.actions.publish(&action).unwrap();
    }
}

/// The program under a limit of `kilobytes` on the files that it writes.
fn limited(project: &Project, kilobytes: usize, arguments: &[&str]) -> Running {
    let script = format!("ulimit -f {kilobytes}; exec \"$0\" \"$@\"");
    let program = env!("CARGO_BIN_EXE_kinestream");
    let all = [&["-c", &script, program][..], arguments].concat();
    Running::start_other(Path::new("/bin/bash"), project.folder(), &all)
}

/// Status 1, and what stderr says; nothing panicked.
fn failed(done: &Finished, words: &[&str]) {
    assert_eq!(done.status, Some(1), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    for word in words {
        assert!(done.stderr.contains(word), "no `{word}` in {}", done.stderr);
    }
}

fn inspected(project: &Project, file: &str) -> Value {
    json_object(&project.run(&["inspect", file, "--json"]).succeeds().stdout)
}

fn recorded(project: &Project, file: &str) -> usize {
    Recording::open(project.path(file)).map_or(0, |recording| {
        recording
            .messages()
            .unwrap()
            .filter(|message| message.as_ref().is_ok_and(|it| &*it.topic == "act"))
            .count()
    })
}

#[test]
fn what_a_recorder_did_not_hear_is_counted_at_its_end_and_of_a_killed_file() {
    let project = Project::new();
    let mut counter = Counter::listen(&project);
    for file in ["whole.mcap", "killed.mcap"] {
        let mut recorder = Running::start(
            project.folder(),
            &["record", file, "--config", CONFIG, "--json"],
        );
        recorder.wait_for("recording test/pusht");
        assert!(counter.actions.wait_until_matched(LIMIT));
        // As after 6 s without a line, at 100 Hz.
        for sequence in (1..=20).chain(659..=670) {
            counter.send(sequence);
        }
        recorder.wait_until("all commands", || recorded(&project, file) == 32);
        if file == "killed.mcap" {
            recorder.kill();
        } else {
            recorder.interrupt();
            let done = recorder.finish().succeeds();
            let report = json_object(&done.stdout);
            assert_eq!(
                (&report["missing"], &report["dropped"]),
                (&638.into(), &0.into())
            );
            assert_eq!(report["gaps"]["act"]["missing"], 638, "{report}");
            assert!(
                done.stderr.contains("638 of act in 1 gaps"),
                "{}",
                done.stderr
            );
        }
        let report = inspected(&project, file);
        assert_eq!(
            (&report["missing"], &report["gaps"], &report["complete"]),
            (&638.into(), &1.into(), &false.into()),
            "{report}"
        );
        let is_whole = file == "whole.mcap";
        assert_eq!(report["survived"]["finished"], is_whole, "{report}");
        let said = project.run(&["inspect", file]).succeeds().stdout;
        assert!(
            said.contains("638 messages are missing in 1 gaps") && !said.contains("complete"),
            "{said}"
        );
        // Else the next round's commands would go to nobody.
        while counter.actions.is_matched() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_recorder_whose_disk_is_full_says_so_and_ends_with_status_1() {
    let project = Project::new();
    let mut counter = Counter::listen(&project);
    let arguments = ["record", "full.mcap", "--config", CONFIG, "--json"];
    let mut recorder = limited(&project, 64, &arguments);
    recorder.wait_for("recording test/pusht");
    assert!(counter.actions.wait_until_matched(LIMIT));
    let mut sequence = 0;
    let done = loop {
        sequence += 1;
        counter.send(sequence);
        if recorder.has_ended() {
            break recorder.finish();
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    failed(
        &done,
        &["error: recording stopped", "full.mcap", "File too large"],
    );
    let report = json_object(&done.stdout);
    assert!(report["bytes"].as_u64().unwrap() <= 64 << 10, "{report}");
    assert_eq!(
        inspected(&project, "full.mcap")["survived"]["messages"],
        report["messages"]
    );
}

#[test]
fn a_demo_goes_on_without_its_recorder_and_ends_with_status_1() {
    let project = Project::trained();
    let demo = [
        "demo",
        "--headless",
        "--seconds",
        "4",
        "--checkpoint",
        OUT,
        "--record",
        "demo.mcap",
        "--json",
    ];
    let done = limited(&project, 80, &demo).finish();
    failed(
        &done,
        &["recording ended early", "demo.mcap", "File too large"],
    );
    // Commands went on after the file was full.
    let report = json_object(&done.stdout);
    let published = report["actions_published"].as_u64().unwrap();
    let kept = recorded(&project, "demo.mcap") as u64;
    assert!(published > kept + 20, "{kept} of {report}");
    let found = inspected(&project, "demo.mcap");
    assert_eq!(found["complete"], false, "{found}");
}

#[test]
fn a_runtime_goes_on_without_its_recorder_and_ends_with_status_1() {
    let project = Project::trained();
    let mut runtime = limited(&project, 80, &["run", CONFIG, "--record", "run.mcap"]);
    runtime.wait_for("ready");
    let robot = Running::start(project.folder(), &["sim", CONFIG, "--episodes", "0"]);
    runtime.wait_for("recording stopped");
    // Commands go on: the program ends when it is told to, and says then what became of the recording.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!runtime.has_ended());
    runtime.interrupt();
    let done = runtime.finish();
    failed(
        &done,
        &[
            "pusht ended",
            "error: run.mcap: recording ended early",
            "File too large",
        ],
    );
    robot.kill();
    assert!(
        inspected(&project, "run.mcap")["survived"]["messages"]
            .as_u64()
            .unwrap()
            > 0
    );
}
