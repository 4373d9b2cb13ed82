//! What the end-to-end tests share: the built program as a child process, and project folders with
//! tiny configurations and data sets.

// Every test file uses a part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod camera;
pub(crate) mod child;
pub(crate) mod clips;
pub(crate) mod engine;
pub(crate) mod motion;
pub(crate) mod project;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// The only thing in `text`, which must be one JSON object.
pub(crate) fn json_object(text: &str) -> Value {
    let value: Value = serde_json::from_str(text)
        .unwrap_or_else(|error| panic!("stdout is not one JSON value ({error}): {text}"));
    assert!(value.is_object(), "stdout is no JSON object: {text}");
    assert_eq!(
        text.trim_end().lines().count(),
        1,
        "more than one line: {text}"
    );
    value
}

/// Asserts that an object has all of these keys.
#[track_caller]
pub(crate) fn assert_keys(object: &Value, keys: &[&str]) {
    let found: BTreeSet<&str> = object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let missing: Vec<_> = keys.iter().filter(|key| !found.contains(**key)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {found:?}");
}

/// Asserts that a value holds percentiles in rising order.
#[track_caller]
pub(crate) fn assert_percentiles(value: &Value) {
    let number = |key: &str| {
        value[key]
            .as_f64()
            .unwrap_or_else(|| panic!("no {key} in {value}"))
    };
    let (p50, p99, max) = (number("p50"), number("p99"), number("max"));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{value}");
}

/// The whole answer to a GET request.
pub(crate) fn get(address: &str, path: &str) -> String {
    request(address, "GET", path)
}

/// The whole answer to a POST request without a body.
pub(crate) fn post(address: &str, path: &str) -> String {
    request(address, "POST", path)
}

fn request(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}
