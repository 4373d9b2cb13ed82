//! Motion models: training from clips, and what the trained model does.

use std::path::Path;

use crate::support::child::{Running, kinestream};
use crate::support::motion::{CONFIG, project};
use crate::support::{assert_keys, assert_percentiles, json_object};

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

fn weights(folder: &Path, parts: &[&str]) -> Vec<Vec<u8>> {
    let read = |name: &&str| std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    parts.iter().map(read).collect()
}

/// A baseline of the model in [`CONFIG`].
const VAE: &str = r#"
[base]
file = "motion.toml"
take = ["data", "model.embedding", "training", "extractor"]

[model.motion_vae]
latent = 4
width = 16
experts = 3
gate_width = 8

[training.motion_vae]
taught_steps = 2
mixed_steps = 2

[training.motion_vae.descent]
steps = 6
batch = 8
"#;

#[test]
fn a_model_is_trained_runs_and_survives_being_killed() {
    let project = project();
    let done = kinestream(project.path(), &train("out", &[])).succeeds();
    assert_eq!(done.stdout, "");
    for part in [
        "extractor",
        "embedding",
        "predictor",
        "generation",
        "polishing",
        "settling",
    ] {
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
        "--skip-toy",
        "--json",
        "--write-reference",
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
            "legs",
        ],
    );
    // The same without the clips.
    let eval = [
        "eval",
        "motion.toml",
        "--checkpoint",
        "out",
        "--skip-toy",
        "--json",
        "--pictures",
        "pictures",
    ];
    let again = json_object(&kinestream(project.path(), &eval).succeeds().stdout);
    assert_eq!(again, report);
    let strip = std::fs::read_to_string(project.path().join("pictures/motion-walk.svg")).unwrap();
    assert!(strip.starts_with("<svg"), "{strip}");
    kinestream(
        project.path(),
        &["eval", "motion.toml", "--checkpoint", "none"],
    )
    .fails(&["none", "train"]);

    // Killed at a different place every time, and ended with the same bytes.
    let state = |name: &str| {
        project
            .path()
            .join("again")
            .join(format!("{name}.training.safetensors"))
    };
    for (part, resume) in [
        ("extractor", &[][..]),
        ("generation", &["--resume"][..]),
        ("settling", &["--resume"][..]),
    ] {
        let mut running = Running::start(project.path(), &train("again", resume));
        running.wait_until(part, || state(part).exists());
        running.kill();
    }
    kinestream(project.path(), &train("again", &["--resume"])).succeeds();
    let parts = [
        "embedding",
        "predictor",
        "generation",
        "polishing",
        "extractor/model",
    ];
    let [out, again] = ["out", "again"].map(|name| weights(&project.path().join(name), &parts));
    assert!(out == again);

    kinestream(project.path(), &train("out", &[])).fails(&["--resume"]);
}

#[test]
fn a_baseline_stands_on_the_embedding_of_another_model() {
    let project = project();
    let path = |name: &str| project.path().join(name);
    std::fs::write(path("vae.toml"), VAE).unwrap();
    kinestream(project.path(), &train("out", &[])).succeeds();
    let train = |out: &'static str, more: &[&'static str]| {
        let mut all = train(out, more);
        all[1] = "vae.toml";
        all
    };
    let from = ["--embedding-from", "out"];
    let done = kinestream(project.path(), &train("vae", &from)).succeeds();
    assert!(
        done.stderr.contains("motion_vae: steps 0 to 6"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("embedding: steps"), "{}", done.stderr);
    let shared = ["embedding", "extractor/model"];
    assert!(weights(&path("vae"), &shared) == weights(&path("out"), &shared));

    let bench = [
        "bench",
        "motion",
        "--checkpoint",
        "vae",
        "--seconds",
        "0.2",
        "--json",
    ];
    let report = json_object(&kinestream(project.path(), &bench).succeeds().stdout);
    assert_percentiles(&report["frame_ms"]);
    let eval = [
        "eval",
        "vae.toml",
        "--checkpoint",
        "vae",
        "--against",
        "out",
        "--data",
        "data",
        "--json",
    ];
    let report = json_object(&kinestream(project.path(), &eval).succeeds().stdout);
    assert_keys(&report, &["models", "frames_per_second"]);
    assert_keys(&report["models"][1], &["fid", "diversity", "path_rmse_m"]);

    // Killed, and ended with the same bytes.
    let state = path("again").join("motion_vae.training.safetensors");
    let mut running = Running::start(project.path(), &train("again", &from));
    running.wait_until("motion_vae", || state.exists());
    running.kill();
    kinestream(project.path(), &train("again", &["--resume"])).fails(&["--embedding-from"]);
    let resumed = ["--embedding-from", "out", "--resume"];
    kinestream(project.path(), &train("again", &resumed)).succeeds();
    let own = ["embedding", "motion_vae", "extractor/model"];
    assert!(weights(&path("vae"), &own) == weights(&path("again"), &own));

    // Another embedding, other clips, another feature space, and one that is not there.
    let refused = |from: &str, to: &str, words: &[&str]| {
        std::fs::write(path("motion.toml"), CONFIG.replace(from, to)).unwrap();
        kinestream(project.path(), &train("none", &["--embedding-from", "out"])).fails(words);
    };
    refused(
        "latent = 6",
        "latent = 7",
        &["[model.embedding]", "out", "7"],
    );
    refused(
        "features = 4",
        "features = 5",
        &["[extractor.network]", "5"],
    );
    std::fs::write(
        path("motion.toml"),
        CONFIG.replace("made/slow", "made/fast"),
    )
    .unwrap();
    let other_clips = kinestream(project.path(), &train("none", &from));
    assert_eq!(other_clips.status, Some(1), "{}", other_clips.stderr);
    assert!(
        other_clips.stderr.contains("other clips"),
        "{}",
        other_clips.stderr
    );
    std::fs::write(path("motion.toml"), CONFIG).unwrap();
    let absent = ["--embedding-from", "absent"];
    kinestream(project.path(), &train("none", &absent)).fails(&["--embedding-from absent"]);
}

#[test]
fn wrong_generators_and_bases_are_refused() {
    let project = project();
    let refused = |text: &str, words: &[&str]| {
        std::fs::write(project.path().join("vae.toml"), text).unwrap();
        let mut arguments = train("none", &[]);
        arguments[1] = "vae.toml";
        kinestream(project.path(), &arguments).fails(words);
    };
    let both = VAE.replace("model.embedding", "model");
    refused(
        &both,
        &["vae.toml", "model.generation and model.motion_vae"],
    );
    let absent = VAE.replace("motion.toml", "absent.toml");
    refused(&absent, &["vae.toml", "absent.toml"]);
    let own = VAE.replace("motion.toml", "vae.toml");
    refused(&own, &["leads back", "vae.toml"]);
    let unknown = VAE.replace("gate_width", "gatewidth");
    refused(&unknown, &["vae.toml", "unknown field `gatewidth`"]);
    let too_many = VAE.replace("experts = 3", "experts = 300");
    refused(
        &too_many,
        &["vae.toml", "motion_vae", "experts = 300", "1 to 64"],
    );
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
