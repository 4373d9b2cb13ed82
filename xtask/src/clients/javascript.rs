//! The tests of clients/javascript, with Node.

use super::Clients;
use crate::{Outcome, steps};
use std::process::Command;
use std::time::Duration;

/// Said where there is no Node that will do. Debian 12's own is older than what the tests need, so that none is installed.
pub(super) const NO_NODE: &str = "SKIPPED: there is no node of release 20.10 or newer (nodejs.org)";

/// How long the tests may take; measured: 4 s.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(clients: &Clients) -> Outcome<Option<String>> {
    let Some(mut tests) = tests(clients, "javascript") else {
        return Ok(Some(NO_NODE.into()));
    };
    steps::run_within("the JavaScript client's tests", &mut tests, LIMIT)?;
    Ok(None)
}

/// Node's own test runner in a folder of `clients/`; none without a Node that has WebSockets.
pub(super) fn tests(clients: &Clients, folder: &str) -> Option<Command> {
    let has_websocket = "process.exit(globalThis.WebSocket ? 0 : 1)";
    let mut node = Command::new("node");
    node.args(["--experimental-websocket", "--eval", has_websocket]);
    if !steps::works(&mut node) {
        return None;
    }
    let mut tests = clients.command("node", folder);
    tests.args(["--experimental-websocket", "--test"]);
    Some(tests)
}
