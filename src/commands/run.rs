//! `kinestream run`: the runtime as a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kinestream_bridge::Node;
use kinestream_bridge::node::Channel;
use kinestream_bridge::wire::{RunState, Status};
use kinestream_control::latest_plan;
use kinestream_policy::Policy;
use serde_json::json;

use crate::cli::RunArguments;
use crate::config::Config;
use crate::nodes::commands::CommandNode;
use crate::nodes::policy::PolicyNode;
use crate::nodes::stamp;
use crate::{checkpoint, device, shutdown};

/// Time between two status messages.
const STATUS_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &RunArguments) -> Result<()> {
    let mut config = Config::read(&arguments.config)?;
    if let Some(folder) = &arguments.checkpoint {
        config.runtime.checkpoint = folder.clone();
    }
    if arguments.print_config {
        print!(
            "{}",
            toml::to_string(&config).context("cannot print the configuration")?
        );
        return Ok(());
    }
    config.check_session(&arguments.config)?;
    let device = device::parse(&config.runtime.device)?;
    device::set_threads(Some(config.runtime.threads))?;
    let loaded = checkpoint::open(&config.runtime.checkpoint, device)?;
    let info = json!({
        "checkpoint": config.runtime.checkpoint,
        "parameters": loaded.network().parameters(),
        "policy": loaded.policy(),
        "control": config.control,
    });
    let policy = Policy::new(loaded, device, 1)?;
    let (positions, action_size) = (policy.config().plan.horizon, policy.action_size());
    let stop = shutdown::flag()?;
    let node = Node::open(&config.session, &config.runtime.robot, "runtime")?;
    let _service = node.serve("model", move || info.clone())?;
    let (writer, reader) = latest_plan(positions, action_size);
    let stream = Arc::new(AtomicU32::new(0));
    let commands = CommandNode::start(
        &node,
        config.control,
        action_size,
        reader,
        Arc::clone(&stream),
        Arc::clone(&stop),
    )?;
    let planner = PolicyNode::start(
        &node,
        policy,
        writer,
        config.runtime.lossless,
        stream,
        Arc::clone(&stop),
    )?;
    let mut status = node.publisher(Channel::Status)?;
    let prefix = node.keys().prefix().to_owned();
    tracing::info!(
        "ready: {prefix}/obs/state in, {prefix}/plan and {prefix}/act out; listening on {:?}",
        config.session.listen
    );
    let mut sequence = 0;
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) && !planner.has_ended() {
        std::thread::sleep(Duration::from_millis(20));
        if last.elapsed() < STATUS_EVERY {
            continue;
        }
        last = Instant::now();
        sequence += 1;
        let statistics = planner.statistics();
        let known = |value: f64| (statistics.plans > 0).then_some(value * 1e3);
        status.publish(&Status {
            stamp: stamp(sequence, 0),
            observations: statistics.observations,
            plans: statistics.plans,
            actions: commands.published(),
            malformed: statistics.malformed,
            latency_p50_us: known(statistics.latency_ms.p50),
            latency_p99_us: known(statistics.latency_ms.p99),
            state: match (statistics.fault.is_some(), statistics.plans) {
                (true, _) => RunState::Holding,
                (false, 0) => RunState::Waiting,
                _ => RunState::Running,
            },
            ..Status::default()
        })?;
    }
    stop.store(true, Ordering::SeqCst);
    let statistics = planner.statistics();
    let ended = planner.join();
    let timing = commands.join()?;
    ended?;
    tracing::info!(
        "ended: {} observations, {} refused, {} plans, {} periods of {} missed",
        statistics.observations,
        statistics.refused,
        statistics.plans,
        timing.missed,
        timing.ticks
    );
    Ok(())
}
