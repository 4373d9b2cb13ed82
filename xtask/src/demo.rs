//! `cargo xtask demo`: set-up, a release build, and the program in place of this one.

use crate::checkout::{Checkout, remove_package_variables};
use crate::{Outcome, setup, steps};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs `kinestream demo ARGUMENTS`; returns only if something failed before it started.
pub(crate) fn run(checkout: &Checkout, arguments: Vec<OsString>) -> Outcome {
    setup::run(checkout, None)?;
    steps::run(
        "cargo build --release",
        checkout.cargo().args(["build", "--release"]),
    )?;
    let program = checkout.target().join("release").join("kinestream");
    let mut command = Command::new(&program);
    command
        .current_dir(checkout.root())
        .arg("demo")
        .args(arguments);
    remove_package_variables(&mut command);
    let error = command.exec();
    Err(format!("cannot start {}: {error}", program.display()))
}
