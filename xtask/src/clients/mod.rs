//! The tests of clients/, one language after another, each against the built program.
//!
//! A language whose tools are not there and cannot be installed is skipped, and the line that says so names the reason.

mod csharp;
mod debian;
mod godot;
mod javascript;
mod pages;
mod python;

use crate::checkout::Checkout;
use crate::{Outcome, setup, steps};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// A language's name and its tests, which may return a note.
pub(crate) type Language = (&'static str, fn(&Clients) -> Outcome<Option<String>>);

/// All of them, in the order in which they run.
pub(crate) const LANGUAGES: &[Language] = &[
    ("Python client", python::run),
    ("C# client", csharp::run),
    ("JavaScript client", javascript::run),
    ("pages in a browser", pages::run),
    ("Godot project", godot::run),
];

/// What the tests need of the checkout.
pub(crate) struct Clients {
    /// `clients/`.
    folder: PathBuf,
    /// The built program.
    program: PathBuf,
    /// Where a test may put what it makes.
    made: PathBuf,
}

impl Clients {
    /// Builds the program.
    pub(crate) fn build(checkout: &Checkout) -> Outcome<Self> {
        let mut build = checkout.cargo();
        build.args(["build", "--quiet", "--locked", "--bins"]);
        steps::run("cargo build", &mut build)?;
        Ok(Self {
            folder: checkout.root().join("clients"),
            program: checkout.target().join("debug").join("kinestream"),
            made: checkout.target().join("clients"),
        })
    }

    /// A program in a folder of `clients/` that finds kinestream under `KINESTREAM`.
    fn command(&self, program: impl AsRef<OsStr>, folder: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.join(folder))
            .env("KINESTREAM", &self.program);
        command
    }
}

/// `cargo xtask clients`: the tests of all languages; fails if those of one failed.
pub(crate) fn run(checkout: &Checkout) -> Outcome {
    setup::run(checkout, None)?;
    let clients = Clients::build(checkout)?;
    let mut failed = Vec::new();
    for &(name, tests) in LANGUAGES {
        let started = Instant::now();
        let said = match tests(&clients) {
            Ok(note) => note.unwrap_or_else(|| "ok".into()),
            Err(problem) => {
                failed.push(problem.clone());
                format!("FAILED: {problem}")
            }
        };
        eprintln!("{name}: {said} ({})", steps::readable(started.elapsed()));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("; "))
    }
}
