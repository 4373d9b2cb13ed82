//! Motion models: training from clips, and what the trained model does.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::child::{Running, kinestream};
use support::motion::{CONFIG, project};
use support::{assert_keys, assert_percentiles, json_object};

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "train",
        "motion.toml",
        "--data",
        "data",
        "--threads",
        "1",
        "--out",
        out,
    ];
    [&base, more].concat()
}

fn weights(folder: &Path) -> Vec<Vec<u8>> {
    ["embedding", "generation", "polishing", "extractor/model"]
        .map(|name| std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap())
        .into()
}

#[test]
fn a_model_is_trained_runs_and_survives_being_killed() {
    let project = project();
    let done = kinestream(project.path(), &train("out", &[])).succeeds();
    assert_eq!(done.stdout, "");
    for part in ["extractor", "embedding", "generation", "polishing"] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }

    let bench = [
        "bench",
        "motion",
        "--checkpoint",
        "out",
        "--seconds",
        "0.2",
        "--json",
    ];
    let report = json_object(&kinestream(project.path(), &bench).succeeds().stdout);
    assert_keys(&report, &["frame_ms", "frames_per_second", "parameters"]);
    assert_percentiles(&report["frame_ms"]);
    assert_keys(&report["frames_per_second"], &["1", "16", "256", "1000"]);

    let eval = [
        "eval",
        "motion.toml",
        "--checkpoint",
        "out",
        "--data",
        "data",
        "--json",
    ];
    let report = json_object(&kinestream(project.path(), &eval).succeeds().stdout);
    assert_keys(
        &report,
        &[
            "fid",
            "fid_train_heldout",
            "diversity",
            "diversity_ground_truth",
            "foot_sliding_ratio",
            "jerk_ratio",
            "path_rmse_m",
            "heading_error_deg",
            "turn_180_settle_s",
        ],
    );
    kinestream(project.path(), &["eval", "motion.toml"]).fails(&["--data", "held-out"]);

    // Killed at a different place every time, and ended with the same bytes.
    let state = |name: &str| {
        project
            .path()
            .join("again")
            .join(format!("{name}.training.safetensors"))
    };
    for (part, resume) in [("extractor", &[][..]), ("generation", &["--resume"][..])] {
        let mut running = Running::start(project.path(), &train("again", resume));
        running.wait_until(part, || state(part).exists());
        running.kill();
    }
    kinestream(project.path(), &train("again", &["--resume"])).succeeds();
    assert!(weights(&project.path().join("out")) == weights(&project.path().join("again")));

    kinestream(project.path(), &train("out", &[])).fails(&["--resume"]);
}

#[test]
fn what_cannot_be_trained_on_is_named() {
    let project = project();
    let refused = |from: &str, to: &str, words: &[&str]| {
        let text = CONFIG.replace(from, to);
        std::fs::write(project.path().join("motion.toml"), text).unwrap();
        kinestream(project.path(), &train("none", &[])).fails(words);
    };
    refused(
        "made/slow",
        "made/absent",
        &["data.held_out", "made/absent", "made/fast"],
    );
    refused(
        "latent = 6",
        "latent = 0",
        &["embedding.latent", "1 to 512"],
    );
    refused("clips =", "clip =", &["motion.toml", "line", "clip"]);
    let broken = project.path().join("data/made/usual.bvh");
    let text = std::fs::read_to_string(&broken).unwrap();
    std::fs::write(&broken, &text[..text.len() / 2]).unwrap();
    refused("", "", &["usual.bvh"]);
}
