//! `kinestream import`, `inspect` and `run` on folders that LeRobot wrote.
//!
//! The folders are recordings beside the checkout (`shared/golden/lerobot`); without them the tests
//! skip, and say so.

use std::path::{Path, PathBuf};

use crate::support::child::{Running, kinestream};
use crate::support::{assert_keys, json_object};

const STATE: &str = "lerobot_state_ddim10";
const IMAGE: &str = "lerobot_image_ddim10";

#[test]
fn a_dry_run_prints_latency_and_ranges_and_writes_nothing() {
    for name in [STATE, IMAGE] {
        let Some(source) = golden(name) else { return };
        let here = tempfile::tempdir().unwrap();
        let arguments = ["import", &source, "there", "--check", "--json"];
        let report = json_object(&kinestream(here.path(), &arguments).succeeds().stdout);
        assert_keys(&report, &["format", "parameters", "assumed", "check"]);
        assert_eq!(report["format"], "lerobot");
        assert!(
            report["parameters"].as_u64().unwrap() > 1_000_000,
            "{report}"
        );
        let check = &report["check"];
        assert_eq!(check["evaluations"], 10, "{check}");
        assert!(check["plan_ms"]["p50"].as_f64().unwrap() > 0.0, "{check}");
        // Clipped at the limits of the training data.
        for index in 0..2 {
            let number = |key: &str| check[key][index].as_f64().unwrap();
            assert!(number("action_minimum") >= number("training_minimum") - 1e-3);
            assert!(number("action_maximum") <= number("training_maximum") + 1e-3);
        }
        assert!(!here.path().join("there").exists());
        let text = kinestream(here.path(), &arguments[..4]).succeeds().stdout;
        for word in [
            "dry run",
            "ms",
            "actions",
            "assumed",
            "10 actions per second",
        ] {
            assert!(text.contains(word), "no `{word}` in {text}");
        }
    }
}

#[test]
fn what_was_imported_runs() {
    let Some(source) = golden(STATE) else { return };
    let here = tempfile::tempdir().unwrap();
    let import = ["import", &source, "policy", "--rate", "20"];
    let text = kinestream(here.path(), &import).succeeds().stdout;
    assert!(text.contains("kinestream run policy/run.toml"), "{text}");
    for guess in ["control.limits.velocity", "control.start."] {
        assert!(text.contains(guess), "no `{guess}` in {text}");
    }
    let report = json_object(
        &kinestream(here.path(), &["inspect", "policy", "--json"])
            .succeeds()
            .stdout,
    );
    assert_eq!(report["format"], "kinestream");
    assert_eq!(report["policy"]["task"]["rate_hz"], 20.0);

    let configuration = here.path().join("policy/run.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    for part in [
        "checkpoint = \".\"",
        "rate_hz = 20.0",
        "lower = [",
        "velocity = [",
        "[control.start]",
        "farthest = [",
        "obs/state",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    // On a port of its own.
    let text = text.replace("127.0.0.1:7447", "127.0.0.1:0");
    std::fs::write(&configuration, text).unwrap();
    let mut running = Running::start(here.path(), &["run", "policy/run.toml"]);
    running.wait_for("ready");
    running.interrupt();
    running.finish().succeeds();

    // A second time the folder is not touched.
    kinestream(here.path(), &import).fails(&["policy", "not an empty folder"]);
    kinestream(here.path(), &["import", "policy", "again"]).fails(&["kinestream already"]);
}

#[test]
fn a_folder_of_lerobot_is_inspected_and_run_as_it_is() {
    let Some(source) = golden(IMAGE) else { return };
    let here = tempfile::tempdir().unwrap();
    let inspect = ["inspect", &source, "--json"];
    let report = json_object(&kinestream(here.path(), &inspect).succeeds().stdout);
    assert_keys(
        &report,
        &[
            "kind",
            "parameters",
            "inputs",
            "outputs",
            "schedule",
            "assumed",
        ],
    );
    assert_eq!(report["format"], "lerobot");
    let inputs = report["inputs"].as_array().unwrap();
    assert_eq!(inputs[0]["name"], "observation.state");
    assert_eq!(inputs[0]["shape"], serde_json::json!([2, 2]));
    assert_eq!(inputs[1]["name"], "observation.image");
    assert_eq!(inputs[1]["shape"], serde_json::json!([2, 3, 96, 96]));
    assert_eq!(report["schedule"]["spacing"], "leading");
    let text = kinestream(here.path(), &inspect[..2]).succeeds().stdout;
    for word in [
        "Resnet18",
        "SpatialSoftmax",
        "84 x 84",
        "Lerobot",
        "assumed",
    ] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
    // Behind a warning of what was assumed.
    let mut running = Running::start(here.path(), &["run", &source]);
    let said = running.wait_for("ready");
    assert!(said.contains("obs/image (96 x 96 pixels) in"), "{said}");
    running.interrupt();
    running.finish().succeeds();
    let printed = kinestream(here.path(), &["run", &source, "--print-config"]);
    let printed = printed.succeeds().stdout;
    for part in ["[vision]", "spatial_softmax", "obs", "7447"] {
        assert!(printed.contains(part), "no `{part}` in {printed}");
    }
}

#[test]
fn what_cannot_be_imported_is_refused_in_one_line() {
    let Some(source) = golden(STATE) else { return };
    let here = tempfile::tempdir().unwrap();
    let copy = here.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
    }
    let config = copy.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    let refused = |words: &[&str]| {
        for command in [&["import", "copy", "to"][..], &["inspect", "copy"]] {
            kinestream(here.path(), command).fails(words);
        }
    };
    write(&text.replace("\"n_groups\"", "\"n_bands\""));
    refused(&["config.json", "`n_groups` is missing", "unknown: `n_bands`"]);
    write(&text.replace("\"diffusion\"", "\"act\""));
    refused(&["config.json", "\"act\"", "diffusion"]);
    write(&text[..text.len() / 2]);
    refused(&["config.json", "line"]);
    write(&text.replace("\"kernel_size\": 5", "\"kernel_size\": 3"));
    refused(&["model.safetensors", "has shape", "the network expects"]);
    write(&text);
    let weights = copy.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..1000]).unwrap();
    refused(&["model.safetensors", "not a complete safetensors file"]);
    kinestream(here.path(), &["import", "nowhere", "to"]).fails(&["nowhere", "config.json"]);
    kinestream(here.path(), &["import", "copy"]).reports_wrong_usage(&["DESTINATION"]);
}

fn golden(name: &str) -> Option<String> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden/lerobot");
    let folder = folder.join(name);
    if folder.is_dir() {
        return Some(folder.to_str().unwrap().to_owned());
    }
    println!("skipped: {} is not there", folder.display());
    None
}
