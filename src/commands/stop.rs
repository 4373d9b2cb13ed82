//! `kinestream stop`: the emergency stop of a running runtime, and the way out of it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kinestream_bridge::Node;

use crate::cli::StopArguments;
use crate::config::Config;
use crate::output::{self, say};

/// How long a runtime may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn run(arguments: &StopArguments) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    let session = config.session_towards_runtime(&arguments.config)?;
    let node = Node::open(&session, &config.runtime.robot, "stop")?;
    let prefix = node.keys().prefix().to_owned();
    let service = if arguments.rearm { "rearm" } else { "estop" };
    let reply = node
        .call(service, PATIENCE)
        .with_context(|| format!("{prefix}/srv/{service}"))?;
    let Some(state) = reply else {
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
    };
    if arguments.json {
        return output::json(&state);
    }
    say!("{prefix}: {state}");
    Ok(())
}
