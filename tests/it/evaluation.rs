//! `kinestream eval`, `inspect` and `bench policy` on a freshly trained checkpoint.

use crate::support::project::{CONFIG, OUT, Project};
use crate::support::{assert_keys, assert_percentiles, json_object};
use serde_json::Value;

const EVAL: [&str; 8] = [
    "eval",
    CONFIG,
    "--checkpoint",
    OUT,
    "--seeds",
    "100000..100001",
    "--threads",
    "1",
];

fn evaluate(project: &Project, more: &[&str]) -> Value {
    let done = project.run(&[&EVAL, more, &["--json"]].concat()).succeeds();
    json_object(&done.stdout)
}

#[test]
fn evaluation_reports_scores_with_their_intervals() {
    let project = Project::trained();
    let report = evaluate(&project, &[]);
    assert_keys(
        &report,
        &[
            "task",
            "observation",
            "seeds",
            "scores",
            "mean_max_reward",
            "success_rate",
            "success_interval",
            "evaluations_per_action",
            "latency_ms",
            "wall_s",
        ],
    );
    assert_eq!(report["task"], "pusht");
    assert_eq!(report["observation"], "state");
    assert_eq!(report["seeds"], serde_json::json!([100_000, 100_001]));
    let scores: Vec<f64> = report["scores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|score| score.as_f64().unwrap())
        .collect();
    assert_eq!(scores.len(), 2);
    assert!(
        scores.iter().all(|score| (0.0..=1.0).contains(score)),
        "{report}"
    );
    let mean = report["mean_max_reward"].as_f64().unwrap();
    assert!(
        (mean - (scores[0] + scores[1]) / 2.0).abs() < 1e-12,
        "{report}"
    );
    let rate = report["success_rate"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|at| report["success_interval"][at].as_f64().unwrap());
    assert!(
        0.0 <= low && low <= rate && rate <= high && high <= 1.0,
        "{report}"
    );
    assert_eq!(report["evaluations_per_action"], 1.0);
    assert_percentiles(&report["latency_ms"]);
    assert!(report["wall_s"].as_f64().unwrap() > 0.0);

    let again = evaluate(&project, &[]);
    assert_eq!(again["scores"], report["scores"]);
    let doubled = evaluate(&project, &["--steps", "2"]);
    assert_eq!(doubled["evaluations_per_action"], 2.0);
}

#[test]
fn evaluation_of_other_ladders_counts_their_evaluations() {
    let project = Project::trained();
    // Half an evaluation per action: one for every two actions.
    let half = evaluate(&project, &["--steps", "0.5"]);
    assert_eq!(
        (&half["action_steps"], &half["evaluations_per_action"]),
        (&2.into(), &0.5.into())
    );
    // Whole chunks of 8 actions in 300 control steps: 38 chunks of 4 evaluations.
    let chunk = evaluate(&project, &["--chunk", "--steps", "4"]);
    assert_eq!(chunk["mode"], "chunk");
    assert_eq!(chunk["evaluations_per_action"], 38.0 * 4.0 / 300.0);
}

#[test]
fn training_runs_are_scored_side_by_side() {
    let project = Project::trained();
    project.copy_checkpoint("other");
    let report = evaluate(&project, &["--against", "other", "--pictures", "pictures"]);
    assert_eq!(report["checkpoints"], serde_json::json!([OUT, "other"]));
    let row = &report["rows"][0];
    assert_eq!(row["evaluations_per_action"], 1.0);
    // The same weights: the same scores, and no spread.
    assert_eq!(row["runs"][0], row["runs"][1]);
    assert_eq!(row["mean"], row["runs"][0]["mean_max_reward"]);
    assert_eq!(row["mean_interval"][0], row["mean_interval"][1]);
    let picture = std::fs::read_to_string(project.path("pictures/steps.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("2 training runs"));
    let text = project
        .run(&[&EVAL[..], &["--against", "other"]].concat())
        .succeeds();
    assert!(text.stdout.contains("[2] other"), "{}", text.stdout);
}

#[test]
fn fleets_are_served_in_both_orders() {
    let project = Project::trained();
    let bench = |more: &[&str]| {
        let base = ["bench", "fleet", "--checkpoint", OUT, "--seconds", "1"];
        project.run(&[&base, more].concat())
    };
    let report = json_object(&bench(&["--robots", "1,3", "--json"]).succeeds().stdout);
    let points = report["points"].as_array().unwrap();
    let of = |key: &str| -> Vec<Value> { points.iter().map(|point| point[key].clone()).collect() };
    assert_eq!(of("robots"), [1, 1, 3, 3]);
    let orders = ["deadlines", "one_batch", "deadlines", "one_batch"];
    assert_eq!(of("order"), orders);
    for point in points {
        assert_percentiles(&point["latency_ms"]);
        let share = point["in_time"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&share), "{report}");
    }
    bench(&["--robots", "0"]).fails(&["--robots", "1 to 4096"]);
    bench(&["--deadline-ms", "0"]).fails(&["--deadline-ms", "above 0"]);
}

#[test]
fn evaluation_without_json_is_for_people() {
    let project = Project::trained();
    let text = project.run(&EVAL).succeeds().stdout;
    for word in [
        "mean of max reward",
        "success",
        "evaluations per action",
        "p50",
        "wall time",
    ] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
}

#[test]
fn inspect_shows_what_a_checkpoint_expects() {
    let project = Project::trained();
    let report = json_object(&project.run(&["inspect", OUT, "--json"]).succeeds().stdout);
    assert_keys(
        &report,
        &["kind", "parameters", "inputs", "outputs", "schedule"],
    );
    assert_eq!(report["kind"], "policy");
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!([2, 20]));
    assert_eq!(report["outputs"][0]["shape"], serde_json::json!([8, 2]));
    assert_eq!(report["schedule"]["train_timesteps"], 100);

    // As many parameters as the file has numbers.
    let bytes = std::fs::read(project.path(OUT).join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let count: usize = tensors
        .tensors()
        .iter()
        .map(|(_, tensor)| tensor.shape().iter().product::<usize>())
        .sum();
    assert_eq!(report["parameters"], count);

    let text = project.run(&["inspect", OUT]).succeeds().stdout;
    for word in [
        "network",
        "plan",
        "schedule",
        "input",
        "output",
        &count.to_string(),
    ] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn bench_relates_latency_to_one_evaluation_and_to_the_floor() {
    let project = Project::trained();
    let bench = ["bench", "policy", "--checkpoint", OUT, "--seconds", "1"];
    let done = project.run(&[&bench[..], &["--json"]].concat()).succeeds();
    let report = json_object(&done.stdout);
    assert_keys(
        &report,
        &[
            "threads",
            "parameters",
            "evaluation_ms",
            "observation_to_action_ms",
            "ratio_to_one_evaluation",
            "floor_ms",
            "ratio_to_floor",
        ],
    );
    assert_eq!(report["threads"], 1);
    assert_percentiles(&report["evaluation_ms"]);
    assert_percentiles(&report["observation_to_action_ms"]);
    for key in ["ratio_to_one_evaluation", "floor_ms", "ratio_to_floor"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} in {report}");
    }
    let ratio = report["observation_to_action_ms"]["p50"].as_f64().unwrap()
        / report["evaluation_ms"]["p50"].as_f64().unwrap();
    assert!((report["ratio_to_one_evaluation"].as_f64().unwrap() - ratio).abs() < 1e-9);

    // By every executor, in one run; the fused kernels know this network.
    let evaluations = report["evaluations"].as_array().unwrap();
    let named: Vec<_> = evaluations
        .iter()
        .map(|one| (one["executor"].as_str().unwrap(), one["precision"].as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("libtorch", None),
            ("fused", Some("fp32")),
            ("fused", Some("fp16")),
            ("fused", Some("int8")),
        ]
    );
    let errors: Vec<_> = evaluations
        .iter()
        .map(|one| one["relative_error"].as_f64().unwrap())
        .collect();
    assert!(errors[1] < 1e-5 && errors[2] < 2e-3, "{errors:?}");
    assert_eq!(report["executor"], "fused");
    let streams = report["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 4, "{report}");

    let text = project.run(&bench).succeeds().stdout;
    assert!(text.contains("one network evaluation"), "{text}");

    // On the CPU the same without a graph, with LibTorch's bits.
    let graph = ["--executor", "graph", "--streams", "2", "--json"];
    let done = project.run(&[&bench[..], &graph].concat()).succeeds();
    let report = json_object(&done.stdout);
    assert_eq!(report["executor"], "graph");
    assert_eq!(report["evaluations"][4]["executor"], "graph");
    assert_eq!(report["evaluations"][4]["relative_error"], 0.0);
    assert_eq!(report["streams"][0]["executor"], "graph");
}

#[test]
fn both_executors_play_the_same_episodes() {
    let project = Project::trained();
    let score = |executor: &str, precision: &str| {
        let eval = [
            "eval",
            CONFIG,
            "--checkpoint",
            OUT,
            "--seeds",
            "100000..100001",
            "--executor",
            executor,
            "--precision",
            precision,
            "--threads",
            "1",
            "--json",
        ];
        json_object(&project.run(&eval).succeeds().stdout)
    };
    let libtorch = score("libtorch", "fp16");
    assert_eq!(libtorch["executor"], "libtorch");
    assert!(libtorch.get("precision").is_none(), "{libtorch}");
    let fused = score("auto", "fp32");
    assert_eq!(fused["executor"], "fused");
    assert_eq!(fused["precision"], "fp32");
    for (one, other) in libtorch["scores"]
        .as_array()
        .unwrap()
        .iter()
        .zip(fused["scores"].as_array().unwrap())
    {
        // Contacts amplify what the order of summation changes.
        let difference = one.as_f64().unwrap() - other.as_f64().unwrap();
        assert!(difference.abs() < 0.2, "{libtorch} {fused}");
    }
    project
        .run(&["eval", CONFIG, "--executor", "gpu"])
        .reports_wrong_usage(&["libtorch, fused or graph"]);
}

#[test]
fn episodes_divided_among_threads_score_the_same() {
    let project = Project::trained();
    let scores = |threads: &str| {
        let command = [
            "eval",
            CONFIG,
            "--checkpoint",
            OUT,
            "--seeds",
            "100000..100004",
            "--batch",
            "2",
            "--executor",
            "fused",
            "--threads",
            threads,
            "--json",
        ];
        let report = json_object(&project.run(&command).succeeds().stdout);
        assert_eq!(report["threads"].to_string(), threads);
        (report["seeds"].clone(), report["scores"].clone())
    };
    let alone = scores("1");
    assert_eq!(alone.0.as_array().map(Vec::len), Some(5));
    for threads in ["2", "8"] {
        assert_eq!(scores(threads), alone);
    }
}

/// What a configuration's guidance says is what runs: a zone far away changes no score, one in the way does, and one that
/// cannot be is refused by its key.
#[test]
fn guidance_of_the_configuration_is_what_runs() {
    let project = Project::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let shipped = std::fs::read_to_string(format!("{root}/configs/pusht-state.toml")).unwrap();
    let shipped = shipped.replace("\"models/", &format!("\"{root}/models/"));
    let run = |guidance: &str| {
        let text = shipped.replacen("[network]", &format!("{guidance}\n[network]"), 1);
        std::fs::write(project.path("guided.toml"), text).unwrap();
        let seeds = ["--seeds", "100000..100001", "--threads", "1", "--json"];
        project.run(&[&["eval", "guided.toml"][..], &seeds].concat())
    };
    let circle = |columns: &str, center: &str| {
        format!(
            "[[plan.guidance]]\nkind = \"keep_out_circle\"\ncolumns = {columns}\ncenter = {center}\n\
             radius = 60.0\nmargin = 5.0\n"
        )
    };
    let scores = |guidance: &str| {
        let done = run(guidance).succeeds();
        json_object(&done.stdout)["scores"].clone()
    };
    let free = scores("");
    assert_eq!(scores(&circle("[0, 1]", "[-400.0, -400.0]")), free);
    assert_ne!(scores(&circle("[0, 1]", "[256.0, 256.0]")), free);
    run(&circle("[0, 2]", "[256.0, 256.0]")).fails(&["plan.guidance.columns is [0, 2]"]);
    run("[[plan.guidance]]\nkind = \"keep_out_circel\"\n")
        .fails(&["guided.toml", "did you mean `keep_out_circle`?"]);
}
