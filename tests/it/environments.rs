//! An environment from its demonstrator to a score, through the program: `demonstrate`, `train`, `eval`.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::child::{Finished, kinestream};
use crate::support::project::{CONFIG, NETWORK, OUT, Project};
use crate::support::{assert_keys, json_object};

/// A network that trains in a second and drives badly.
const TWO_WAYS: &str = r#"
[task]
name = "two_ways"
observation = [{ array = "state" }]

[plan]
mode = "streaming"
horizon = 8
observation_steps = 2
action_steps = 2
levels = 4
alignment = "newest_observation"
primer = "denoise"

NETWORK
[training]
steps = 30
batch = 16
learning_rate = 1e-3
warmup_steps = 4
pad_after = 7
checkpoint_every = 30
evaluate_every = 30
evaluation_seeds = 2

[runtime]
checkpoint = "run"
robot = "two_ways"
"#;

struct TwoWays {
    folder: TempDir,
}

impl TwoWays {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let text = TWO_WAYS.replace("NETWORK\n", &format!("{NETWORK}\n"));
        std::fs::write(folder.path().join("two-ways.toml"), text).unwrap();
        Self { folder }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        kinestream(self.folder.path(), arguments)
    }

    fn demonstrate(&self, out: &str, more: &[&str]) -> Finished {
        let base = [
            "demonstrate",
            "two-ways.toml",
            "--episodes",
            "12",
            "--out",
            out,
        ];
        self.run(&[&base, more].concat())
    }

    fn evaluate(&self, more: &[&str]) -> Finished {
        let base = [
            "eval",
            "two-ways.toml",
            "--threads",
            "1",
            "--seeds",
            "100000..100005",
        ];
        self.run(&[&base, more].concat())
    }

    fn count(report: &Value) -> u64 {
        let counts = report["routes"]["counts"].as_object().unwrap();
        counts.values().map(|count| count.as_u64().unwrap()).sum()
    }
}

#[test]
fn demonstrations_are_trained_on_and_the_policy_is_scored() {
    let project = TwoWays::new();
    let report = json_object(
        &project
            .demonstrate("data.zarr", &["--json"])
            .succeeds()
            .stdout,
    );
    assert_eq!(
        (&report["task"], &report["episodes"]),
        (&"two_ways".into(), &12.into())
    );
    assert_eq!(
        (TwoWays::count(&report), &report["failed"]),
        (12, &serde_json::json!([]))
    );
    assert!(report["mean_score"].as_f64().unwrap() > 0.85, "{report}");

    // Equal seeds give equal files.
    project.demonstrate("again.zarr", &[]).succeeds();
    for file in ["data/state/0.0", "data/action/0.0", "meta/episode_ends/0"] {
        let read = |store: &str| std::fs::read(project.folder.path().join(store).join(file));
        assert_eq!(
            read("data.zarr").unwrap(),
            read("again.zarr").unwrap(),
            "{file}"
        );
    }

    let train = [
        "train",
        "two-ways.toml",
        "--data",
        "data.zarr",
        "--out",
        "run",
        "--threads",
        "1",
    ];
    let done = project.run(&train).succeeds();
    assert!(done.stderr.contains("step 30: score"), "{}", done.stderr);

    let report = json_object(&project.evaluate(&["--json"]).succeeds().stdout);
    assert_keys(
        &report,
        &[
            "mean_max_reward",
            "success_rate",
            "success_interval",
            "scores",
        ],
    );
    assert_eq!(
        (&report["task"], &report["observation"]),
        (&"two_ways".into(), &"state".into())
    );
    assert_eq!(TwoWays::count(&report), 6);
    for name in ["left", "right"] {
        assert!(report["routes"]["counts"][name].is_u64(), "{report}");
    }
    let text = project.evaluate(&[]).succeeds().stdout;
    assert!(text.contains("success (goal reached)"), "{text}");
    assert!(text.contains("routes") && text.contains("left "), "{text}");

    // From one start, equal noise makes equal episodes; the start is that of its own seed.
    let seven = ["--seeds", "7", "--json"];
    let run = |more: &[&str]| {
        let base = ["eval", "two-ways.toml", "--threads", "1"];
        let report = project.run(&[&base, &seven[..], more].concat()).succeeds();
        json_object(&report.stdout)
    };
    assert_eq!(run(&[])["scores"], run(&["--start", "7"])["scores"]);
    assert_eq!(run(&["--start", "7"])["start"], 7);
    assert_eq!(run(&[]).get("start"), None);

    // Late plans, and every way to be late, in any environment.
    project.evaluate(&["--delay-ms", "100"]).succeeds();
}

#[test]
fn nothing_is_recorded_where_something_is_or_nothing_demonstrates() {
    let project = TwoWays::new();
    std::fs::create_dir(project.folder.path().join("taken.zarr")).unwrap();
    project
        .demonstrate("taken.zarr", &[])
        .fails(&["taken.zarr", "already exists"]);

    let pusht = Project::new();
    pusht
        .run(&["demonstrate", CONFIG, "--out", "new.zarr"])
        .fails(&["pusht", "no demonstrator"]);
    let wrong = |from: &str, to: &str| {
        let text = std::fs::read_to_string(project.folder.path().join("two-ways.toml")).unwrap();
        assert!(text.contains(from));
        std::fs::write(
            project.folder.path().join("wrong.toml"),
            text.replace(from, to),
        )
        .unwrap();
        project.run(&["demonstrate", "wrong.toml", "--out", "new.zarr"])
    };
    wrong("\"state\"", "\"keypoint\"").fails(&["wrong.toml", "`keypoint`", "state, agent_pos"]);
    wrong("[plan]", "rate_hz = 20.0\n[plan]").fails(&["wrong.toml", "task.rate_hz is 20", "10"]);
    assert!(!project.folder.path().join("new.zarr").exists());
}

#[test]
fn an_unknown_task_is_refused_with_the_known_ones_and_the_nearest() {
    let known = ["pusht", "two_ways", "did you mean `two_ways`?"];
    let project = TwoWays::new();
    let text = std::fs::read_to_string(project.folder.path().join("two-ways.toml")).unwrap();
    let text = text.replace("\"two_ways\"\nobs", "\"two-way\"\nobs");
    std::fs::write(project.folder.path().join("other.toml"), text).unwrap();
    project
        .run(&["demonstrate", "other.toml", "--out", "new.zarr"])
        .fails(&[&["other.toml", "task.name", "`two-way`"], &known[..]].concat());

    let pusht = Project::trained();
    let file = pusht.copy_checkpoint("renamed").join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"pusht\"", "\"two_way\"")).unwrap();
    pusht
        .run(&["eval", CONFIG, "--checkpoint", "renamed"])
        .fails(&[&["renamed", "task.name", "`two_way`"], &known[..]].concat());
    // A policy of another environment than the one that the checkpoint is for.
    let file = pusht.copy_checkpoint("foreign").join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"pusht\"", "\"two_ways\"")).unwrap();
    pusht
        .run(&["eval", CONFIG, "--checkpoint", "foreign"])
        .fails(&[
            "observes 20 numbers",
            "Two ways",
            "`state`",
            "configs/two-ways.toml",
        ]);
    pusht
        .run(&[
            "eval",
            CONFIG,
            "--checkpoint",
            OUT,
            "--against",
            "foreign",
            "--json",
        ])
        .fails(&["foreign", "two_ways", "pusht"]);
    // The simulator as a node plays Push-T.
    project
        .run(&["sim", "two-ways.toml"])
        .fails(&["two-ways.toml", "two_ways", "pusht"]);
}
