//! A recorded demo, simulated again: every plan and command has the same bits, also of a file that
//! was cut, and what cannot be simulated again says why.

use std::path::Path;

use crate::support::child::kinestream;
use crate::support::json_object;
use crate::support::project::{CONFIG, OUT, Project, STEPS};

/// A demo of a few seconds on a trained checkpoint.
fn record(project: &Project, name: &str) {
    let demo = [
        "demo",
        "--headless",
        "--seconds",
        "4",
        "--checkpoint",
        OUT,
        "--record",
        name,
        "--json",
    ];
    project.run(&demo).succeeds();
}

fn cut(path: &Path, to: &Path, share: f64) {
    let bytes = std::fs::read(path).unwrap();
    let length = (bytes.len() as f64 * share) as usize;
    std::fs::write(to, &bytes[..length]).unwrap();
}

#[test]
fn a_recording_is_simulated_again_bit_for_bit() {
    let project = Project::trained();
    record(&project, "demo.mcap");
    let resim = |name: &str| {
        let done = project.run(&["resim", name, "--checkpoint", OUT, "--json"]);
        json_object(&done.succeeds().stdout)
    };
    let whole = resim("demo.mcap");
    assert_eq!(whole["differing"], 0, "{whole}");
    assert_eq!(whole["first_difference"], serde_json::Value::Null);
    assert_eq!(
        (&whole["complete"], &whole["missing"]),
        (&true.into(), &0.into())
    );
    for key in ["plans_compared", "commands_compared"] {
        assert!(whole[key].as_u64().unwrap() > 10, "{key} in {whole}");
    }

    // The same of what is left of it.
    cut(&project.path("demo.mcap"), &project.path("cut.mcap"), 0.6);
    let part = resim("cut.mcap");
    assert_eq!(
        (&part["differing"], &part["complete"]),
        (&0.into(), &false.into())
    );
    let commands = part["commands_compared"].as_u64().unwrap();
    assert!(commands > 0 && commands < whole["commands_compared"].as_u64().unwrap());

    // The simulator's physics too.
    let replay = [
        "replay",
        "demo.mcap",
        "--headless",
        "--speed",
        "max",
        "--json",
    ];
    let replayed = json_object(&project.run(&replay).succeeds().stdout);
    assert_eq!(replayed["physics_steps_differing"], 0, "{replayed}");
    assert!(replayed["physics_steps_compared"].as_u64().unwrap() > 0);

    // Nothing is ever overwritten.
    let again = [
        "demo",
        "--headless",
        "--seconds",
        "1",
        "--record",
        "demo.mcap",
    ];
    project.run(&again).fails(&["demo.mcap", "exists"]);
}

#[test]
fn what_cannot_be_simulated_again_says_why() {
    let project = Project::trained();
    record(&project, "demo.mcap");
    project
        .train("other", &["--steps", &(STEPS / 2).to_string()])
        .succeeds();
    project
        .run(&["resim", "demo.mcap", "--checkpoint", "other"])
        .fails(&[
            "other",
            "not the checkpoint that was recorded",
            "--checkpoint",
        ]);
    cut(
        &project.path("demo.mcap"),
        &project.path("stub.mcap"),
        0.001,
    );
    project
        .run(&["resim", "stub.mcap"])
        .fails(&["stub.mcap", "too little of it has survived"]);
    project.run(&["resim", CONFIG]).fails(&[CONFIG, "MCAP"]);
    project
        .run(&["resim", "absent.mcap"])
        .fails(&["absent.mcap"]);
}

/// Whether this processor has the instructions that the fixture was recorded with: others may round in another order.
fn has_the_fixtures_instructions() -> bool {
    let done = kinestream(".".as_ref(), &["doctor", "--json"]);
    ["avx512f", "avx512_vnni"]
        .iter()
        .all(|it| done.stdout.contains(it))
}

#[test]
fn a_recording_of_an_earlier_program_is_simulated_again_bit_for_bit() {
    let file = "tests/fixtures/recordings/pusht.mcap";
    let done = kinestream(".".as_ref(), &["resim", file, "--json"]);
    let report = json_object(&done.stdout);
    assert_eq!(report["complete"], true, "{report}");
    assert!(report["plans_compared"].as_u64().unwrap() >= 20, "{report}");
    assert!(
        report["commands_compared"].as_u64().unwrap() >= 200,
        "{report}"
    );
    if has_the_fixtures_instructions() {
        assert_eq!(report["differing"], 0, "{report}");
    } else {
        println!("skipped: another processor than the fixture was recorded on may round otherwise");
    }
}
