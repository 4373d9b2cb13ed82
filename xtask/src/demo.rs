//! `cargo xtask demo`: set-up, a release build, and the program in place of this one; says what is going on, and how long it
//! takes.

use crate::checkout::{Checkout, remove_package_variables};
use crate::libtorch::LibTorch;
use crate::wheels::{Distribution, Kind};
use crate::{Outcome, setup, steps};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

/// Runs `kinestream demo ARGUMENTS`; returns only if something failed before it started.
pub(crate) fn run(checkout: &Checkout, arguments: Vec<OsString>) -> Outcome {
    let started = Instant::now();
    let program = checkout.target().join("release").join("kinestream");
    eprintln!("demo: 1 of 3, LibTorch: {}", about_libtorch(checkout));
    setup::run(checkout, None)?;
    eprintln!(
        "demo: 2 of 3, build: {}",
        match program.exists() {
            true => "only what has changed",
            false => "10 to 20 minutes on two cores, once; later ones take what has changed",
        }
    );
    let building = Instant::now();
    steps::run(
        "cargo build --release",
        checkout
            .cargo()
            .args(["build", "--release", "--package", "kinestream", "--bins"]),
    )?;
    eprintln!(
        "demo: 3 of 3, start, after {} of building and {} in all; Ctrl-C ends it",
        steps::readable(building.elapsed()),
        steps::readable(started.elapsed())
    );
    let mut command = Command::new(&program);
    command
        .current_dir(checkout.root())
        .arg("demo")
        .args(arguments);
    remove_package_variables(&mut command);
    let error = command.exec();
    Err(format!("cannot start {}: {error}", program.display()))
}

/// What set-up is going to do.
fn about_libtorch(checkout: &Checkout) -> String {
    if LibTorch::inspect(&checkout.libtorch_link()).is_ok() {
        return "it is there".to_owned();
    }
    match Distribution::for_this_machine(Kind::Cpu) {
        Ok(distribution) => format!(
            "unless it is in the cache or named by you, a download of {:.2} GB, which takes {:.2} GB of disk, once",
            distribution.download_bytes() as f64 / 1e9,
            distribution.unpacked_bytes() as f64 / 1e9
        ),
        Err(_) => "as you name it".to_owned(),
    }
}
