//! `kinestream sim`: the simulator as a node of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kinestream_bridge::Node;
use kinestream_sim::evaluation::{self, Episode};
use kinestream_sim::{pusht, registry};
use serde_json::json;

use kinestream_command_line::SimArguments;
use kinestream_runtime::config::Config;
use kinestream_runtime::recording::RecordSink;
use kinestream_runtime::shutdown;
use kinestream_runtime::sight::ObservationMode;
use kinestream_runtime::simulator::{SimulatorNode, SimulatorOptions, Snapshot};
use kinestream_terminal::output;
use kinestream_terminal::say;

pub(crate) fn run(arguments: &SimArguments) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    let name = &config.task.name;
    // A task that the registry does not know may still observe Push-T, under a name of its own.
    ensure!(
        registry::find(name).is_err() || name == pusht::SPEC.name,
        "{}: task.name is `{name}`, the simulator as a node plays `{}` only; score it with `kinestream eval`",
        arguments.config.display(),
        pusht::SPEC.name
    );
    let session = config.session_towards_runtime(&arguments.config)?;
    let stop = shutdown::flag()?;
    kinestream_runtime::descriptors::raise();
    let robot = config
        .runtime
        .one(arguments.robot.as_deref(), &arguments.config)?;
    let options = SimulatorOptions {
        sight: ObservationMode::of(&pusht::SPEC, &config.task, None)
            .with_context(|| format!("in {}", arguments.config.display()))?,
        seed: arguments.seed,
        episodes: arguments.episodes,
    };
    tracing::info!("waiting for a runtime at {:?}", session.connect);
    let given_up = || stop.load(Ordering::SeqCst);
    let node = Node::open_when_there(&session, &robot, "simulator", given_up)?;
    let Some(node) = node else {
        return finish(arguments, &[], &Snapshot::default());
    };
    let simulator =
        SimulatorNode::start(&node, options, None, RecordSink::off(), Arc::clone(&stop))?;
    let mut told = 0;
    while !simulator.has_ended() {
        std::thread::sleep(Duration::from_millis(50));
        let snapshot = simulator.snapshot();
        for episode in &snapshot.episodes[told..] {
            eprintln!("{episode}");
        }
        told = snapshot.episodes.len();
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let snapshot = simulator.snapshot();
    let episodes = simulator.join()?;
    finish(arguments, &episodes, &snapshot)
}

fn finish(arguments: &SimArguments, episodes: &[Episode], snapshot: &Snapshot) -> Result<()> {
    let summary = evaluation::summarise(episodes);
    if arguments.json {
        return output::json(&json!({
            "task": pusht::SPEC.name,
            "episodes": episodes,
            "mean_max_reward": summary.mean_max_reward,
            "success_rate": summary.success_rate,
            "actions_received": snapshot.actions_received,
            "missed": snapshot.missed,
        }));
    }
    if let Some(score) = summary.mean_max_reward {
        say!("{} episodes, mean score {score:.3}", episodes.len());
    }
    Ok(())
}
