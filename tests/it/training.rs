//! `kinestream train`: what it writes, and that no interruption changes the outcome.

use std::path::Path;

use crate::support::child::Running;
use crate::support::project::{DATA, OUT, Project, STEPS, train_arguments};
use safetensors::SafeTensors;
use serde_json::Value;

/// Step of the training state in a folder.
fn step(out: &Path) -> u64 {
    let bytes = std::fs::read(out.join("training.safetensors")).unwrap();
    let state = SafeTensors::deserialize(&bytes).unwrap();
    u64::from_le_bytes(state.tensor("step").unwrap().data().try_into().unwrap())
}

fn weights(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("model.safetensors")).unwrap()
}

fn log(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn training_writes_a_checkpoint_and_continues_on_request() {
    let project = Project::new();
    let out = project.path(OUT);
    let done = project.train(OUT, &[]).succeeds();
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("done: 12 steps"), "{}", done.stderr);

    let config: Value =
        serde_json::from_slice(&std::fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["policy"]["plan"]["horizon"], 8);
    assert_eq!(step(&out), STEPS);
    let lines = log(&out);
    let steps: Vec<_> = lines
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [4, 8, 12]);
    for line in &lines {
        assert!(line["loss"].as_f64().unwrap() > 0.0, "{line}");
        assert!(
            line["learning_rate"].is_f64() && line["seconds"].is_f64(),
            "{line}"
        );
    }
    let before = weights(&out);
    let tensors = SafeTensors::deserialize(&before).unwrap();
    assert!(tensors.len() > 10);
    for (name, tensor) in tensors.tensors() {
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
    }

    // Neither a second training nor a failed one touches what is there.
    project.train(OUT, &[]).fails(&[OUT, "--resume", "--out"]);
    assert_eq!(weights(&out), before);

    project
        .train(OUT, &["--resume", "--steps", "16"])
        .succeeds();
    assert_eq!(step(&out), 16);
    assert_ne!(weights(&out), before);
    assert_eq!(log(&out).last().unwrap()["step"], 16);
}

#[test]
fn equal_seeds_train_equal_weights_and_others_do_not() {
    let project = Project::new();
    project.train("first", &[]).succeeds();
    project.train("second", &[]).succeeds();
    let other = project.variant("other.toml", "seed = 42", "seed = 43");
    project
        .run(&[
            "train",
            other,
            "--data",
            DATA,
            "--out",
            "third",
            "--threads",
            "1",
        ])
        .succeeds();
    let [first, second, third] =
        ["first", "second", "third"].map(|out| weights(&project.path(out)));
    assert_eq!(first, second);
    assert_ne!(first, third);
}

#[test]
fn a_killed_training_resumes_to_the_same_weights() {
    const LONG: [&str; 2] = ["--steps", "400"];
    let project = Project::new();
    project.train("whole", &LONG).succeeds();

    let broken = project.path("broken");
    let state = broken.join("training.safetensors");
    let begin = train_arguments("broken");
    let resume = [&begin[..], &["--resume"]].concat();
    let mut reached = 0;
    for (round, arguments) in [&begin[..], &resume, &resume].into_iter().enumerate() {
        let mut training = Running::start(project.folder(), &[arguments, &LONG].concat());
        training.wait_until("a checkpoint", || state.exists() && step(&broken) > reached);
        let killed = training.kill();
        assert_eq!(
            killed.status, None,
            "round {round} was not killed: {}",
            killed.stderr
        );
        reached = step(&broken);
    }
    assert!(reached < 400, "killed too late to show anything");
    project
        .train("broken", &["--resume", "--steps", "400"])
        .succeeds();
    assert_eq!(step(&broken), 400);
    assert!(
        weights(&broken) == weights(&project.path("whole")),
        "the weights differ"
    );
}

/// The state is written before the weights: a kill between the two at the last step must not leave
/// older weights, or none, behind a training that counts as done.
#[test]
fn resuming_a_training_killed_between_state_and_weights_writes_the_weights() {
    let project = Project::trained();
    let out = project.path(OUT);
    let expected = weights(&out);
    for file in ["model.safetensors", "config.json"] {
        std::fs::remove_file(out.join(file)).unwrap();
    }
    project.train(OUT, &["--resume"]).succeeds();
    assert!(weights(&out) == expected, "the weights differ");
}

#[test]
fn ctrl_c_saves_and_says_how_to_continue() {
    let project = Project::new();
    let out = project.path(OUT);
    let arguments = [&train_arguments(OUT)[..], &["--steps", "1000000"]].concat();
    let mut training = Running::start(project.folder(), &arguments);
    training.wait_until("a checkpoint", || out.join("model.safetensors").exists());
    training.interrupt();
    let stopped = training.finish().succeeds();
    assert!(stopped.stderr.contains("--resume"), "{}", stopped.stderr);
    let reached = step(&out);
    assert!(
        stopped.stderr.contains(&format!("step {reached}")),
        "{}",
        stopped.stderr
    );

    let more = (reached + 3).to_string();
    project
        .train(OUT, &["--resume", "--steps", &more])
        .succeeds();
    assert_eq!(step(&out), reached + 3);
}

#[test]
fn resuming_what_does_not_belong_together_is_refused() {
    let project = Project::trained();
    let before = weights(&project.path(OUT));
    let resume = |config: &str| {
        project.run(&[
            "train", config, "--data", DATA, "--out", OUT, "--resume", "--steps", "20",
        ])
    };
    let seed = project.variant("seed.toml", "seed = 42", "seed = 7");
    resume(seed).fails(&["training.safetensors", "training.seed", "42", "7"]);
    let wider = project.variant("wider.toml", "channels = [16, 32]", "channels = [16, 64]");
    resume(wider).fails(&["training.safetensors", "network"]);
    project
        .train("nowhere", &["--resume"])
        .fails(&["nowhere", "--resume"]);

    let state = project.path(OUT).join("training.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    project
        .train(OUT, &["--resume", "--steps", "20"])
        .fails(&["training.safetensors", "complete"]);
    assert_eq!(weights(&project.path(OUT)), before);
}
