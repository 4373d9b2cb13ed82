//! Help, version, wrong usage and the check of this machine.

use std::path::Path;

use crate::support::child::{Running, kinestream};
use crate::support::{assert_keys, json_object};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn help(arguments: &[&str]) -> String {
    let done = kinestream(Path::new(HERE), arguments).succeeds();
    assert_eq!(done.stderr, "");
    done.stdout
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let text = help(&["--help"]);
    let words = [
        "demo",
        "run",
        "sim",
        "demonstrate",
        "train",
        "eval",
        "bench",
        "inspect",
        "doctor",
    ];
    for word in [
        &words[..],
        &["Examples", "--headless", "Exit status", "--verbose"],
    ]
    .concat()
    {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn help_of_every_command_explains_its_flags() {
    let commands: [(&[&str], &[&str]); 9] = [
        (
            &["demo"],
            &[
                "--headless",
                "--episodes",
                "--seed",
                "--port",
                "--checkpoint",
                "--json",
            ],
        ),
        (&["run"], &["<CONFIG>", "--checkpoint", "--print-config"]),
        (&["sim"], &["<CONFIG>", "--episodes", "--seed", "--json"]),
        (
            &["train"],
            &[
                "<CONFIG>", "--data", "--out", "--resume", "--steps", "--device",
            ],
        ),
        (
            &["eval"],
            &[
                "<CONFIG>",
                "--checkpoint",
                "--seeds",
                "--steps",
                "--chunk",
                "--json",
            ],
        ),
        (
            &["bench", "policy"],
            &["--checkpoint", "--seconds", "--rate", "--threads", "--json"],
        ),
        (
            &["bench", "control"],
            &[
                "--rate",
                "--seconds",
                "--priority",
                "--cpu",
                "--load",
                "--policy",
                "--against",
                "--json",
            ],
        ),
        (&["inspect"], &["<PATH>", "--json"]),
        (&["doctor"], &["[CONFIG]", "--json"]),
    ];
    for (command, flags) in commands {
        let text = help(&[command, &["--help"]].concat());
        assert!(text.contains("Usage: kinestream"), "{text}");
        for flag in flags {
            assert!(text.contains(flag), "{command:?}: no `{flag}` in {text}");
        }
    }
}

#[test]
fn version_is_the_package_version() {
    assert_eq!(
        help(&["--version"]).trim(),
        concat!("kinestream ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_was_wrong() {
    let wrong: [(&[&str], &[&str]); 12] = [
        (&[], &["Usage", "train"]),
        (&["dance"], &["dance", "--help"]),
        (&["train"], &["<CONFIG>", "--data", "--out"]),
        (&["train", "a.toml", "--data", "b"], &["--out"]),
        (
            &[
                "train", "a.toml", "--data", "b", "--out", "c", "--steps", "many",
            ],
            &["many", "--steps"],
        ),
        (
            &["eval", "a.toml", "--seeds", "5..3"],
            &["5..3", "backwards"],
        ),
        (
            &["eval", "a.toml", "--seeds", "few"],
            &["few", "100000..100049"],
        ),
        (&["eval", "a.toml", "--frobnicate"], &["--frobnicate"]),
        (&["demo", "chess"], &["chess", "pusht"]),
        (&["demo", "--port", "70000"], &["70000", "--port"]),
        (&["bench"], &["policy", "control"]),
        (&["inspect"], &["<PATH>"]),
    ];
    for (arguments, words) in wrong {
        kinestream(Path::new(HERE), arguments).reports_wrong_usage(words);
    }
}

#[test]
fn the_front_alone_answers_help_wrong_usage_completions_and_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let front = folder.path().join("kinestream");
    std::fs::copy(env!("CARGO_BIN_EXE_kinestream"), &front).unwrap();
    let alone =
        |arguments: &[&str]| Running::start_other(&front, folder.path(), arguments).finish();
    let config = format!("{HERE}/configs/pusht-state.toml");
    for (arguments, word) in [
        (&["--help"][..], "demo"),
        (&["--version"], "kinestream"),
        (&["run", "--help"], "--print-config"),
        (&["eval", &config, "--help"], "--solver"),
        (&["bench", "policy", "-h"], "--seconds"),
        (&["stop", "--help"], "--rearm"),
        (&["completions", "bash"], "complete"),
        (&["man"], "kinestream"),
    ] {
        let said = alone(arguments).succeeds().stdout;
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    alone(&["demo", "chess"]).reports_wrong_usage(&["chess", "pusht"]);
    let missing = alone(&["doctor"]);
    assert_eq!(missing.status, Some(1));
    assert!(
        missing.stderr.contains("kinestream-engine"),
        "{}",
        missing.stderr
    );
}

#[test]
fn doctor_checks_every_part() {
    // Exit status 1 says that a check failed, such as that of the shipped weights where they are
    // absent; the report comes all the same.
    let done = kinestream(Path::new(HERE), &["doctor", "--json"]);
    let report = json_object(&done.stdout);
    assert_keys(&report, &["version", "findings"]);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.len() >= 5, "{report}");
    for finding in findings {
        assert_keys(finding, &["what", "verdict", "found"]);
        assert_ne!(finding["found"], "");
    }
    let failed = findings
        .iter()
        .filter(|finding| finding["verdict"] == "failed")
        .count();
    assert_eq!(done.status, Some(i32::from(failed > 0)), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    let libtorch = findings
        .iter()
        .find(|finding| finding["what"] == "LibTorch")
        .unwrap();
    assert_eq!(libtorch["verdict"], "ok", "{report}");
    if Path::new(HERE)
        .join("models/pusht-state/model.safetensors")
        .exists()
    {
        let shipped = findings
            .iter()
            .find(|finding| finding["what"] == "shipped policy")
            .unwrap();
        assert_eq!(shipped["verdict"], "ok", "{report}");
    }

    let readable = kinestream(Path::new(HERE), &["doctor"]);
    assert!(readable.stdout.contains("LibTorch"), "{}", readable.stdout);
    assert!(!readable.stdout.contains('{'), "{}", readable.stdout);
}

#[test]
fn doctor_says_what_a_configuration_leaves_open() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(HERE).join("configs/pusht-state.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let doors = |listen: &str| {
        let text = shipped.replace("tcp/127.0.0.1:7447", listen);
        std::fs::write(folder.path().join("robot.toml"), text).unwrap();
        let done = kinestream(folder.path(), &["doctor", "robot.toml", "--json"]);
        let report = json_object(&done.stdout);
        let findings = report["findings"].as_array().unwrap().clone();
        findings
            .into_iter()
            .find(|finding| finding["what"] == "doors")
            .unwrap()
    };
    let open = doors("tcp/0.0.0.0:7447");
    assert_eq!(open["verdict"], "note", "{open}");
    let said = open["found"].as_str().unwrap();
    assert!(
        said.contains("tcp/0.0.0.0:7447") && said.contains("docs/NETWORK.md"),
        "{said}"
    );
    assert_eq!(doors("tcp/127.0.0.1:7447")["verdict"], "ok");
}
