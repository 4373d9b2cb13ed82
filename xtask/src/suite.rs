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
    steps::run("the test suite", runner.args(arguments))
}
