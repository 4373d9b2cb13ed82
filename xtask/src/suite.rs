//! The whole test suite: documentation's examples first, so that the output ends with the
//! runner's summary.

use crate::checkout::Checkout;
use crate::{Outcome, steps};
use std::ffi::OsString;

/// Runs all tests, or with `arguments` those that they select.
pub(crate) fn run(checkout: &Checkout, arguments: &[OsString]) -> Outcome {
    if arguments.is_empty() {
        steps::run(
            "cargo test --doc",
            checkout
                .cargo()
                .args(["test", "--quiet", "--workspace", "--doc"]),
        )?;
    }
    ros2_peer(checkout)?;
    let mut runner = checkout.cargo();
    if steps::works(checkout.cargo().args(["nextest", "--version"])) {
        runner.args(["nextest", "run", "--workspace"]);
        if std::env::var_os("CI").is_some() {
            runner.args(["--profile", "ci"]);
        }
    } else {
        eprintln!(
            "xtask: cargo-nextest is not installed; running the same tests with cargo test, one \
             program after another"
        );
        // All but the documentation's examples, as nextest; every program, even after a failure.
        runner.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
        if arguments.is_empty() {
            runner.arg("--no-fail-fast");
        }
    }
    // Tests run beside each other. With threads of its own in each, LibTorch waits spinning for processors that the others have.
    runner.env("OMP_NUM_THREADS", "1");
    steps::run("the test suite", runner.args(arguments))
}

/// Builds the foreign node that tests/it/ros2.rs talks to. That test builds it too, but a cold build inside a test would run
/// into the test's time limit.
fn ros2_peer(checkout: &Checkout) -> Outcome {
    let mut build = checkout.cargo();
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(checkout.root().join("tests/ros2-peer/Cargo.toml"))
        .arg("--target-dir")
        .arg(checkout.root().join("target/ros2-peer"));
    steps::run("the peer of tests/it/ros2.rs", &mut build)
}
