//! `kinestream eval` with injected delay, on a freshly trained checkpoint.

use crate::support::project::{CONFIG, OUT, Project};
use crate::support::{assert_keys, json_object};
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
fn delay_is_said_and_repeats_itself() {
    let project = Project::trained();
    let plain = evaluate(&project, &["--action-steps", "4"]);
    assert_eq!(
        (&plain["delay_ms"], &plain["commit_ahead"]),
        (&0.0.into(), &0.into())
    );
    let streaming = ["--delay-ms", "200", "--action-steps", "4"];
    let report = evaluate(&project, &streaming);
    assert_eq!(report["mode"], "streaming");
    assert_eq!(report["delay_ms"], 200.0);
    assert_eq!(report["commit_ahead"], 2);
    assert!(report.get("join").is_none(), "{report}");
    // One chunk of four behind the two committed actions, in place of two at eight levels.
    assert_eq!(report["evaluations_per_observation"], 4.0);
    assert_eq!(evaluate(&project, &streaming)["scores"], report["scores"]);
    // As much is consumed and computed whatever becomes of it: a plan for every four of the steps
    // after the first two, which wait.
    for (join, committed) in [("restart", 0), ("skip", 0), ("inpaint", 2), ("prefix", 2)] {
        let chunk = ["--chunk", "--steps", "3", "--join", join];
        let report = evaluate(&project, &[&streaming, &chunk[..]].concat());
        assert_eq!(
            (&report["mode"], &report["join"]),
            (&"chunk".into(), &join.into())
        );
        assert_eq!(report["commit_ahead"], committed, "{join}");
        assert_eq!(
            report["evaluations_per_action"],
            75.0 * 3.0 / 300.0,
            "{join}"
        );
    }
    let naive = evaluate(&project, &["--chunk", "--steps", "3", "--delay-ms", "100"]);
    assert_eq!(naive["join"], "restart");
    let text = project
        .run(&[&EVAL[..], &streaming].concat())
        .succeeds()
        .stdout;
    assert!(text.contains("200 ms, 2 actions committed ahead"), "{text}");
}

#[test]
fn impossible_delays_are_refused_with_the_way_out() {
    let project = Project::trained();
    for (arguments, told) in [
        (&["--delay-ms", "150"][..], &["150", "100 ms"][..]),
        (&["--delay-ms=-100"], &["-100", "multiple"]),
        (&["--delay-ms", "nan"], &["NaN", "multiple"]),
        (&["--delay-ms", "200"], &["2 actions", "--action-steps 2"]),
        (
            &["--delay-ms", "400", "--chunk", "--join", "skip"],
            &["4 actions", "--action-steps"],
        ),
        (
            &["--commit-ahead", "2"],
            &["plan.commit_ahead is 2", "0 to 1"],
        ),
    ] {
        project.run(&[&EVAL[..], arguments].concat()).fails(told);
    }
}

#[test]
fn the_curve_pairs_every_way_with_itself_undelayed() {
    let project = Project::trained();
    let curve = ["--delay-curve", "--action-steps", "4", "--steps", "2"];
    let report = evaluate(&project, &curve);
    assert_keys(
        &report,
        &["checkpoint", "seeds", "curve", "threads", "wall_s"],
    );
    let points = report["curve"].as_array().unwrap();
    assert_eq!(points.len(), 5 * 4);
    for ways in points.chunks(4) {
        let scores = |point: &Value| -> Vec<f64> {
            let scores = point["scores"].as_array().unwrap();
            scores.iter().map(|score| score.as_f64().unwrap()).collect()
        };
        for (point, delay) in ways.iter().zip([0.0, 100.0, 200.0, 400.0]) {
            assert_eq!(point["way"], ways[0]["way"]);
            assert_eq!(point["delay_ms"], delay);
            if delay == 0.0 {
                assert_eq!(point["difference"], Value::Null);
                continue;
            }
            let pairs = scores(point).into_iter().zip(scores(&ways[0]));
            let mean = pairs.map(|(after, before)| after - before).sum::<f64>() / 2.0;
            assert!((point["difference"].as_f64().unwrap() - mean).abs() < 1e-12);
            assert!(point["difference_interval"].is_array());
        }
    }
    // The undelayed streaming is the plain evaluation.
    let plain = evaluate(&project, &["--action-steps", "4"]);
    assert_eq!(points[16]["way"], "streaming");
    assert_eq!(points[16]["scores"], plain["scores"]);
    let text = project.run(&[&EVAL[..], &curve].concat()).succeeds().stdout;
    for word in [
        "naive chunking",
        "in-painting",
        "streaming",
        "400 ms",
        "same seeds",
    ] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}
