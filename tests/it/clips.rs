//! Whole clips end to end: training, `generate`, `eval`, and a character that is asked to perform.
//!
//! The models are of a few training steps: what is looked at are files, lengths, seeds and answers.

use std::time::Duration;

use crate::support::child::{Running, kinestream};
use crate::support::engine::Engine;
use crate::support::project::free_port;
use crate::support::{clips, json_object};
use kinestream_bridge::recording::Recording;
use kinestream_bridge::wire::{Decode, PoseFlags};
use kinestream_bridge::{Node, Pose, SessionOptions, keys};
use kinestream_motion::formats::bvh;
use serde_json::Value;

/// Longest wait for an answer; only a hung program reaches it.
const LIMIT: Duration = Duration::from_secs(60);

fn report(folder: &tempfile::TempDir, arguments: &[&str]) -> Value {
    report_of(folder, &[arguments, &["--json", "--threads", "1"]].concat())
}

fn report_of(folder: &tempfile::TempDir, arguments: &[&str]) -> Value {
    json_object(&kinestream(folder.path(), arguments).succeeds().stdout)
}

#[test]
fn clips_are_made_written_and_judged() {
    let folder = clips::untrained();
    clips::train(&folder);
    let generate = |more: &[&str]| {
        let base = ["generate", "--checkpoint", "clips"];
        report(&folder, &[&base, more].concat())
    };
    let known = generate(&["--list"]);
    let names: Vec<&str> = known["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["action"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["walk", "run"]);

    let made = generate(&[
        "--action",
        "run",
        "--seconds",
        "1",
        "--seed",
        "7",
        "--out",
        "a.bvh",
    ]);
    assert_eq!((&made["frames"], &made["steps"]), (&32.into(), &4.into()));
    assert_eq!(made["clips"][0]["action"], "run");
    generate(&[
        "--action",
        "run",
        "--seconds",
        "1",
        "--seed",
        "7",
        "--out",
        "b.bvh",
    ]);
    generate(&[
        "--action",
        "run",
        "--seconds",
        "1",
        "--seed",
        "8",
        "--out",
        "c.bvh",
    ]);
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("a.bvh"), bytes("b.bvh"));
    assert_ne!(bytes("a.bvh"), bytes("c.bvh"));
    assert_eq!(
        bvh::read(&folder.path().join("a.bvh"))
            .unwrap()
            .frames
            .len(),
        32
    );

    // What goes on is made of several clips; other words mean the same; fewer steps do.
    let long = generate(&[
        "--action",
        "Stroll!",
        "--seconds",
        "5",
        "--steps",
        "1",
        "--out",
        "l.glb",
    ]);
    assert_eq!(long["clips"].as_array().unwrap().len(), 3);
    assert!(long["seconds"].as_f64().unwrap() >= 5.0);
    assert_eq!(&bytes("l.glb")[..4], b"glTF");
    let two = generate(&[
        "--action",
        "walk",
        "--action",
        "run",
        "--seconds",
        "0.8",
        "--start",
        "a.bvh",
        "--end",
        "data/made/slow.bvh",
        "--raw",
        "--out",
        "t.bvh",
    ]);
    assert_eq!(two["frames"], 48);

    let recorded = generate(&["--action", "walk", "--seconds", "1", "--out", "w.mcap"]);
    let replayed = report_of(
        &folder,
        &["replay", "w.mcap", "--export", "w.bvh", "--json"],
    );
    assert_eq!(recorded["frames"], replayed["exported"][0]["frames"]);

    let judged = report(
        &folder,
        &[
            "eval",
            "clips.toml",
            "--data",
            "data",
            "--checkpoint",
            "clips",
            "--runs",
            "2",
            "--clips",
            "10",
            "--curve",
        ],
    );
    let models = judged["models"].as_array().unwrap();
    let steps: Vec<u64> = models
        .iter()
        .map(|row| row["steps"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [1, 2, 4]);
    for row in models {
        assert!(row["made"]["fid"]["value"].as_f64().unwrap() >= 0.0);
        assert_eq!(row["clips"], 20);
    }
    assert!(judged["held_out"]["accuracy"]["value"].is_number());
}

#[test]
fn what_cannot_be_made_is_said() {
    let folder = clips::untrained();
    let run = |arguments: &[&str]| kinestream(folder.path(), arguments);
    run(&[
        "generate",
        "--action",
        "walk",
        "--checkpoint",
        "none",
        "--out",
        "a.bvh",
    ])
    .fails(&["none", "kinestream train"]);
    clips::train(&folder);
    let wrong = |more: &[&str]| {
        let base = ["generate", "--checkpoint", "clips", "--out", "a.bvh"];
        run(&[&base, more].concat())
    };
    wrong(&["--action", "wlak"]).fails(&["wlak", "`walk`"]);
    wrong(&["--action", "run", "--seconds", "9"]).fails(&["--seconds is 9", "`run` happens once"]);
    wrong(&["--action", "walk", "--seconds", "NaN"]).fails(&["NaN"]);
    wrong(&["--action", "walk", "--seconds", "0.1"]).fails(&["0.1 s", "0.27 to 2.00 s"]);
    wrong(&["--action", "walk", "--steps", "9"]).fails(&["--steps is 9", "1 to 4"]);
    wrong(&["--action", "walk", "--guidance", "99"]).fails(&["--guidance"]);
    wrong(&["--action", "walk", "--seconds", "1", "--path", "0,90@1"]).fails(&["path", "8 m/s"]);
    wrong(&["--action", "walk", "--path", "here"]).fails(&["`here`", "X,Z@SECONDS"]);
    wrong(&["--action", "walk", "--end", "absent.bvh"]).fails(&["absent.bvh"]);
    run(&[
        "generate",
        "--checkpoint",
        "clips",
        "--action",
        "walk",
        "--out",
        "a.fbx",
    ])
    .fails(&["a.fbx", ".bvh, .glb or .mcap"]);
    run(&["generate", "--action", "walk"]).reports_wrong_usage(&["--out"]);
    // Nothing that failed left a file.
    assert!(!folder.path().join("a.bvh").exists());

    let config = |text: &str, words: &[&str]| {
        std::fs::write(folder.path().join("wrong.toml"), text).unwrap();
        run(&["train", "wrong.toml", "--data", "data", "--out", "wrong"]).fails(words);
    };
    config(
        &clips::CONFIG.replace("labels.toml", "absent.toml"),
        &["absent.toml"],
    );
    config(
        &clips::CONFIG.replace("heads = 2", "heads = 3"),
        &["model.clips.width"],
    );
    config(&clips::CONFIG.replace("patch = 4", "parch = 4"), &["parch"]);
    run(&["train", "clips.toml", "--data", "data", "--out", "clips"]).fails(&["--resume"]);
}

#[test]
fn a_training_that_was_stopped_goes_on_to_the_same_clips() {
    let folder = clips::untrained();
    clips::train(&folder);
    let at = |name: &str| folder.path().join(name);
    let train = |more: &[&str]| {
        let base = [
            "train",
            "clips.toml",
            "--data",
            "data",
            "--threads",
            "1",
            "--out",
            "again",
        ];
        kinestream(folder.path(), &[&base, more].concat()).succeeds();
    };
    // Ended in the middle, wherever that is: the state on disk is what counts.
    let mut running = Running::start(
        folder.path(),
        &[
            "train",
            "clips.toml",
            "--data",
            "data",
            "--threads",
            "1",
            "--out",
            "again",
        ],
    );
    running.wait_for("clips: steps 0");
    running.interrupt();
    running.finish();
    train(&["--resume"]);
    let bytes = |name: &str| std::fs::read(at(name)).unwrap();
    assert_eq!(
        bytes("clips/clips.safetensors"),
        bytes("again/clips.safetensors")
    );
}

#[test]
fn a_live_character_performs_what_it_is_asked_for() {
    let folder = clips::project();
    clips::train(&folder);
    let zenoh = format!("tcp/127.0.0.1:{}", free_port());
    let arguments = [
        "demo",
        "motion",
        "--checkpoint",
        "out",
        "--clips",
        "clips",
        "--port",
        "0",
        "--json",
        "--listen",
        &zenoh,
        "--websocket",
        "127.0.0.1:0",
        "--record",
        "acted.mcap",
    ];
    let mut running = Running::start(folder.path(), &arguments);
    let said = running.wait_for("Ctrl-C ends it");
    let address = said.split("engines on ").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    let mut engine = Engine::connect(&address);
    let told = engine.json();
    assert_eq!(
        told["introduction"]["actions"],
        serde_json::json!(["walk", "run"])
    );
    engine.say(r#"{"action": "run", "seconds": 0.8, "seed": 3}"#);
    let answer = engine.until("that answers", |answer| !answer["accepted"].is_null());
    assert_eq!(answer["accepted"]["action"], "run");
    engine.until("that acts", |pose| pose["acting"] == true);
    engine.until("that is steered again", |pose| pose["acting"] == false);
    engine.say(r#"{"action": "rnu"}"#);
    let refused = engine.until("that refuses", |answer| answer["error"].is_string());
    assert!(
        refused["error"].as_str().unwrap().contains("`run`"),
        "{refused}"
    );
    engine.say(r#"{"action": "run", "seconds": 60}"#);
    engine.until("that refuses", |answer| answer["error"].is_string());
    // The same over zenoh.
    let session = SessionOptions {
        connect: vec![zenoh.clone()],
        ..SessionOptions::default()
    };
    let node = Node::open(&session, "character", "client").unwrap();
    let ask = |payload: Value| node.request(keys::ACT, &payload, LIMIT).unwrap().unwrap();
    let answer = ask(serde_json::json!({"action": "a short run", "seconds": 0.6}));
    assert_eq!(answer["accepted"]["action"], "run");
    let answer = ask(serde_json::json!({"action": "walk", "speed": 3}));
    assert!(
        answer["error"].as_str().unwrap().contains("speed"),
        "{answer}"
    );
    let known = node.ask(keys::ACTIONS, LIMIT).unwrap().unwrap();
    assert_eq!(known["actions"][0]["words"][0], "stroll");
    // It goes on moving.
    engine.until("after all", |pose| pose["frame"].is_u64());
    running.interrupt();
    let report = json_object(&running.finish().succeeds().stdout);
    assert_eq!(
        report["acts"],
        serde_json::json!({"accepted": 2, "refused": 2})
    );

    let recording = Recording::open(folder.path().join("acted.mcap")).unwrap();
    let (mut acts, mut acting) = (0, 0);
    for message in recording.messages().unwrap() {
        let message = message.unwrap();
        match &*message.topic {
            "srv/act" => acts += 1,
            "pose" => {
                let flags = Pose::decode(&message.bytes).unwrap().flags;
                acting += u32::from(flags.0 & PoseFlags::ACTING.0 != 0);
            }
            _ => {}
        }
    }
    assert_eq!(acts, 2);
    assert!(acting > 0);
}
