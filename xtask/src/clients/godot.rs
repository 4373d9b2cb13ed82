//! The Godot project in clients/godot, opened without a screen.

use super::{Clients, debian};
use crate::{Outcome, steps};
use std::process::Command;
use std::time::Duration;

/// Debian's Godot 3 without a screen; 23 MB to download, 71 MB on the disk.
const ENGINE: &str = "godot3-server";

/// How long the test may take; measured: 3 s.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(clients: &Clients) -> Outcome<Option<String>> {
    let engine = std::env::var("GODOT").unwrap_or_else(|_| ENGINE.into());
    // Asked for its version it answers and fails.
    let mut opens = Command::new(&engine);
    opens
        .arg("--path")
        .arg(clients.folder.join("godot"))
        .arg("--quit");
    if let Err(problem) = debian::provide(&mut opens, &[ENGINE]) {
        return Ok(Some(format!("SKIPPED: {problem}")));
    }
    let mut test = clients.command("python3", "godot");
    test.env("GODOT", engine)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "unittest", "test_godot"]);
    steps::run_within("the test of the Godot project", &mut test, LIMIT)?;
    Ok(None)
}
