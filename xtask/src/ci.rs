//! `cargo xtask ci`: every check of a commit. A step that fails does not keep the others from
//! running; the tests come last, so that the output ends with their summary.

use crate::checkout::Checkout;
use crate::clients::{Clients, LANGUAGES};
use crate::{Outcome, cache, circles, documents, setup, steps, suite};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long installing cargo-deny may take; measured: 86 s on two cores.
const DENY_INSTALL_LIMIT: Duration = Duration::from_secs(600);

/// How long fetching the database of advisories may take.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(60);

/// The release of cargo-deny that deny.toml is written for.
const DENY_VERSION: &str = "0.20.2";

/// Runs every step and fails if one did.
pub(crate) fn run(checkout: &Checkout) -> Outcome {
    let started = Instant::now();
    let mut steps_run = Steps::default();
    // Without LibTorch nothing builds.
    steps_run.run("set-up", || setup::run(checkout, None).map(|()| None))?;
    let _ = steps_run.run("format", || format(checkout).map(|()| None));
    let _ = steps_run.run("circles of modules", || {
        circles::check(checkout.root()).map(|()| None)
    });
    let _ = steps_run.run("documents", || {
        documents::check(checkout.root()).map(|()| None)
    });
    let _ = steps_run.run("clippy", || clippy(checkout).map(|()| None));
    let _ = steps_run.run("docs", || docs(checkout).map(|()| None));
    let _ = steps_run.run("models of the hand-off", || models(checkout).map(|()| None));
    let _ = steps_run.run("dependencies", || dependencies(checkout));
    let mut clients = None;
    let _ = steps_run.run("program for the clients", || {
        clients = Some(Clients::build(checkout)?);
        Ok(None)
    });
    if let Some(clients) = clients {
        for &(name, tests) in LANGUAGES {
            let _ = steps_run.run(name, || tests(&clients));
        }
    }
    eprintln!(
        "ci: tests, after {} of other steps",
        steps::readable(started.elapsed())
    );
    if let Err(problem) = suite::run(checkout, &[]) {
        steps_run.failed.push(problem);
    }
    if steps_run.failed.is_empty() {
        Ok(())
    } else {
        Err(format!("ci: {}", steps_run.failed.join("; ")))
    }
}

/// What has failed so far.
#[derive(Default)]
struct Steps {
    failed: Vec<String>,
}

impl Steps {
    /// Runs one step, which may return a note, and prints its line.
    fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome<Option<String>>) -> Outcome {
        let started = Instant::now();
        let outcome = step();
        let time = steps::readable(started.elapsed());
        match outcome {
            Ok(None) => eprintln!("ci: {name}: ok ({time})"),
            Ok(Some(note)) => eprintln!("ci: {name}: {note} ({time})"),
            Err(problem) => {
                eprintln!("ci: {name}: FAILED ({time}): {problem}");
                self.failed.push(problem.clone());
                return Err(problem);
            }
        }
        Ok(())
    }
}

fn format(checkout: &Checkout) -> Outcome {
    steps::run(
        "cargo fmt --all --check",
        checkout.cargo().args(["fmt", "--all", "--check"]),
    )
}

fn clippy(checkout: &Checkout) -> Outcome {
    let mut clippy = checkout.cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    steps::run("cargo clippy", &mut clippy)
}

fn docs(checkout: &Checkout) -> Outcome {
    let mut docs = checkout.cargo();
    docs.args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings");
    steps::run("cargo doc", &mut docs)
}

/// The hand-off of plans under loom, which tries out every order of events. Built apart, since
/// everything is compiled differently.
fn models(checkout: &Checkout) -> Outcome {
    let mut test = checkout.cargo();
    test.args(["test", "--quiet", "--locked", "-p", "kinestream-control"])
        .args(["--test", "loom_latest"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", checkout.root().join("target/loom"));
    steps::run("the models under loom", &mut test)
}

/// Licences, sources and bans of the dependencies, and their advisories where a network allows.
fn dependencies(checkout: &Checkout) -> Outcome<Option<String>> {
    let deny = match cargo_deny(checkout) {
        Ok(deny) => deny,
        Err(problem) => return Ok(Some(format!("SKIPPED: {problem}"))),
    };
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(checkout.root()).args(arguments);
        command
    };
    let mut check = command(&["--locked", "check", "licenses", "bans", "sources"]);
    steps::run("cargo deny check", &mut check)?;
    let mut fetch = command(&["--locked", "fetch", "db"]);
    fetch.stdout(Stdio::null()).stderr(Stdio::null());
    if steps::run_within("fetching advisories", &mut fetch, ADVISORIES_LIMIT).is_err() {
        let note = "ok, but advisories SKIPPED: their database cannot be fetched here";
        return Ok(Some(note.into()));
    }
    let mut check = command(&["--locked", "check", "--disable-fetch", "advisories"]);
    steps::run("cargo deny check advisories", &mut check)?;
    Ok(None)
}

/// An installed cargo-deny, else one of its own in the cache.
fn cargo_deny(checkout: &Checkout) -> Outcome<PathBuf> {
    let installed = PathBuf::from("cargo-deny");
    if steps::works(Command::new(&installed).arg("--version")) {
        return Ok(installed);
    }
    let cache = cache::folder()?;
    let root = cache.join(format!("cargo-deny-{DENY_VERSION}"));
    let program = root.join("bin/cargo-deny");
    if steps::works(Command::new(&program).arg("--version")) {
        return Ok(program);
    }
    // Unoptimised: it runs for seconds, and builds in half the time.
    let mut install = checkout.cargo();
    install
        .args([
            "install",
            "cargo-deny",
            "--locked",
            "--debug",
            "--quiet",
            "--version",
            DENY_VERSION,
        ])
        .arg("--root")
        .arg(&root)
        .env_remove("CARGO_TARGET_DIR");
    steps::run_within("installing cargo-deny", &mut install, DENY_INSTALL_LIMIT)?;
    Ok(program)
}
