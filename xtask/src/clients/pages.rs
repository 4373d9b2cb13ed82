//! The program's own pages in a headless Chromium (tests/pages).

use super::{Clients, debian, javascript};
use crate::{Outcome, steps};
use std::process::Command;
use std::time::Duration;

/// Browsers that will do. The first is the smallest, and what is installed: 100 MB to download, 306 MB on the disk;
/// measured: 26 s without the download.
const BROWSERS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];

/// How long the tests may take; measured: 10 s.
const LIMIT: Duration = Duration::from_secs(150);

pub(super) fn run(clients: &Clients) -> Outcome<Option<String>> {
    let Some(mut tests) = javascript::tests(clients, "../tests/pages") else {
        return Ok(Some(javascript::NO_NODE.into()));
    };
    let browser = match browser() {
        Ok(browser) => browser,
        Err(problem) => return Ok(Some(format!("SKIPPED: {problem}"))),
    };
    tests.env("CHROMIUM", browser);
    steps::run_within("the tests of the pages", &mut tests, LIMIT)?;
    Ok(None)
}

/// What CHROMIUM names, else the first that is there, else one that is installed.
fn browser() -> Outcome<String> {
    if let Ok(named) = std::env::var("CHROMIUM") {
        return Ok(named);
    }
    let version = |name: &str| {
        let mut command = Command::new(name);
        command.arg("--version");
        command
    };
    if let Some(found) = BROWSERS
        .iter()
        .find(|name| steps::works(&mut version(name)))
    {
        return Ok((*found).into());
    }
    debian::provide(&mut version(BROWSERS[0]), &BROWSERS[..1])?;
    Ok(BROWSERS[0].into())
}
