//! The examples of the library do what they say.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zenoh::Wait;

use crate::support::child::Running;

/// A built example.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(|deps| deps.parent()).unwrap();
    built.join("examples").join(name)
}

fn start(name: &str, arguments: &[&str]) -> Running {
    Running::start_other(&example(name), ".".as_ref(), arguments)
}

/// The number before a word.
fn number(text: &str, word: &str) -> f64 {
    let words: Vec<&str> = text.split([' ', '\n', ',', ';']).collect();
    let at = words.iter().position(|it| *it == word);
    let number = at.and_then(|at| words[at - 1].parse().ok());
    number.unwrap_or_else(|| panic!("no number before `{word}` in {text}"))
}

#[test]
fn a_policy_is_embedded_without_a_network() {
    let text = start("embed_policy", &["2"]).finish().succeeds().stdout;
    assert!(number(&text, "plans") >= 1.0, "{text}");
    assert!(number(&text, "commands") >= 10.0, "{text}");
}

#[test]
fn a_policy_is_trained_on_demonstrations_made_in_the_program() {
    let text = start("train_custom", &["300"]).finish().succeeds().stdout;
    let (_, left) = text
        .split_once("ended ")
        .unwrap_or_else(|| panic!("{text}"));
    let left: f64 = left.split(' ').next().unwrap().parse().unwrap();
    assert!(left < 0.3, "{text}");
}

#[test]
fn a_node_with_keys_of_its_own_moves_and_stops() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp/{}", listener.local_addr().unwrap());
    drop(listener);
    let mut child = start("custom_node", &[&address]);
    child.wait_for("Ctrl-C ends it");
    let mut config = zenoh::Config::default();
    config.insert_json5("mode", "\"client\"").unwrap();
    let endpoints = format!("[{address:?}]");
    config
        .insert_json5("connect/endpoints", &endpoints)
        .unwrap();
    let session = zenoh::open(config).wait().unwrap();
    let setpoints = Arc::new(AtomicU64::new(0));
    // How many times in a row the last setpoint came.
    let resting = Arc::new(AtomicU64::new(0));
    let (counted, repeated) = (Arc::clone(&setpoints), Arc::clone(&resting));
    let mut last = Vec::new();
    let is_last = std::sync::Mutex::new(move |bytes: Vec<u8>| {
        std::mem::replace(&mut last, bytes.clone()) == bytes
    });
    let _subscriber = session
        .declare_subscriber("lab/setpoints")
        .callback(move |sample| {
            assert_eq!(sample.payload().len(), 8);
            counted.fetch_add(1, Ordering::SeqCst);
            let is_last = is_last.lock().unwrap()(sample.payload().to_bytes().into_owned());
            let count = if is_last {
                repeated.load(Ordering::SeqCst) + 1
            } else {
                0
            };
            repeated.store(count, Ordering::SeqCst);
        })
        .wait()
        .unwrap();
    let numbers: Vec<u8> = (0..20).flat_map(|_| 250_f32.to_le_bytes()).collect();
    child.wait_until("setpoints come", || {
        session.put("lab/encoders", numbers.clone()).wait().unwrap();
        setpoints.load(Ordering::SeqCst) > 20
    });
    session.put("lab/encoders", vec![0; 4]).wait().unwrap();
    child.wait_for("an observation has 1 numbers, the policy expects 20");
    session.put("lab/stop", "").wait().unwrap();
    child.wait_until("the robot rests", || {
        session.put("lab/encoders", numbers.clone()).wait().unwrap();
        resting.load(Ordering::SeqCst) > 50
    });
    child.interrupt();
    let text = child.finish().succeeds().stdout;
    assert!(number(&text, "commands") > 20.0, "{text}");
}
