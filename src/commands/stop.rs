//! `kinestream stop`: the emergency stop of a running runtime, and the way out of it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kinestream_bridge::{Keys, Node};
use serde_json::{Map, Value};

use crate::cli::StopArguments;
use crate::config::Config;
use crate::output::{self, say};

/// How long a runtime may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn run(arguments: &StopArguments) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    let session = config.session_towards_runtime(&arguments.config)?;
    let names = match &arguments.robot {
        Some(robot) => std::slice::from_ref(robot),
        None => config.runtime.names(),
    };
    let first = Node::open(&session, &names[0], "stop")?;
    let mut states = Map::new();
    // Nobody is left running because another did not answer.
    let mut failed = None;
    for name in names {
        let node = first.for_robot(Keys::new(&session.namespace, name)?)?;
        match request(&node, arguments) {
            Ok(state) if !arguments.json => say!("{}: {state}", node.keys().prefix()),
            Ok(state) => {
                states.insert(name.clone(), state);
            }
            Err(error) => {
                tracing::error!("{error:#}");
                failed = Some(error);
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    match (arguments.json, names) {
        (false, _) => Ok(()),
        (true, [only]) => output::json(&states.remove(only)),
        (true, _) => output::json(&states),
    }
}

/// Asks one robot's runtime, and returns the state that it answers with.
fn request(node: &Node, arguments: &StopArguments) -> Result<Value> {
    let prefix = node.keys().prefix();
    let service = if arguments.rearm { "rearm" } else { "estop" };
    let reply = node
        .call(service, PATIENCE)
        .with_context(|| format!("{prefix}/srv/{service}"))?;
    if let Some(state) = reply {
        return Ok(state);
    }
    if !arguments.rearm {
        // Nobody answered; whoever can still hear should stop all the same.
        node.send_stop()?;
    }
    bail!(
        "no runtime answered on {prefix}/srv/{service} within {} s{}; is `kinestream run` \
         running, and does [session] of {} lead to it?",
        PATIENCE.as_secs(),
        if arguments.rearm {
            ""
        } else {
            " (a stop was also sent to cmd/estop)"
        },
        arguments.config.display()
    );
}
