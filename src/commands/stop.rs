//! `kinestream stop`: the emergency stop of a running runtime, and the way out of it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
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
    let nodes = names
        .iter()
        .map(|name| Ok(first.for_robot(Keys::new(&session.namespace, name)?)?))
        .collect::<Result<Vec<Node>>>()?;
    // All at the same time: nobody is left running while another does not answer.
    let answers: Vec<Result<Value>> = std::thread::scope(|scope| {
        let asked: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(|| request(node, arguments)))
            .collect();
        asked
            .into_iter()
            .map(|asked| match asked.join() {
                Ok(answer) => answer,
                Err(_) => bail!("a request to stop panicked"),
            })
            .collect()
    });
    let (mut states, mut failed) = (Map::new(), Vec::new());
    for ((node, name), answer) in nodes.iter().zip(names).zip(answers) {
        match answer {
            Ok(state) if arguments.json => {
                states.insert(name.clone(), state);
            }
            Ok(state) => say!("{}: {state}", node.keys().prefix()),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
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
