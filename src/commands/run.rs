//! `kinestream run`: the runtime as a node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinestream_bridge::node::Mode;
use kinestream_bridge::wire::MAX_MESSAGE_BYTES;
use kinestream_bridge::{Keys, Node};
use kinestream_policy::Policy;
use kinestream_policy::config::ImageSize;
use serde_json::json;

use crate::commands::import;
use kinestream_command_line::RunArguments;
use kinestream_runtime::checkpoint::{RunCheckpoint, locate};
use kinestream_runtime::config::Config;
use kinestream_runtime::ros2::{Ros2Bridge, Sizes, StopSide};
use kinestream_runtime::runtime::{Runtime, RuntimeReport};
use kinestream_runtime::{checkpoint, descriptors, device, recording, shutdown};

/// Whether a path is called as files of Diffusion Policy are.
fn is_ckpt(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "ckpt")
}

pub(crate) fn run(arguments: &RunArguments) -> Result<()> {
    // A checkpoint has no configuration of its own: what `kinestream import` would write is taken.
    let checkpoint = arguments.checkpoint.as_deref();
    let file = arguments.config.join(import::RUN_FILE);
    let mut config = if file.is_file() {
        Config::read_with(&file, checkpoint)?
    } else if arguments.config.is_dir() || is_ckpt(&arguments.config) {
        ensure!(
            checkpoint.is_none(),
            "{} is a checkpoint already: leave out --checkpoint, or name a configuration",
            arguments.config.display()
        );
        import::config(&arguments.config)?
    } else {
        Config::read_with(&arguments.config, checkpoint)?
    };
    if arguments.page.is_some() {
        config.runtime.page_port = arguments.page;
    }
    if arguments.print_config {
        let named = locate(&config.runtime.checkpoint);
        let config = match named.exists() {
            true => config.in_force()?,
            false => {
                tracing::warn!(
                    "{} is not there: of the policy the configuration's own keys are printed",
                    named.display()
                );
                config
            }
        };
        print!(
            "{}",
            toml::to_string(&config).context("cannot print the configuration")?
        );
        return Ok(());
    }
    config.check_session(&arguments.config)?;
    let device = device::parse(&config.runtime.device)?;
    device::set_threads(Some(config.runtime.threads))?;
    let RunCheckpoint {
        checkpoint: loaded,
        changes,
        cautions: of_settings,
    } = checkpoint::open_to_run(&mut config, device)?;
    for change in changes {
        tracing::info!("{}: {change}", arguments.config.display());
    }
    let info = json!({
        "checkpoint": config.runtime.checkpoint,
        "parameters": loaded.parameters(),
        "policy": loaded.policy(),
        "control": config.control,
    });
    let names = config.runtime.names();
    if names.len() > 1 {
        let source = arguments.config.display();
        ensure!(
            arguments.record.is_none(),
            "--record: a recording holds one robot, and runtime.robots of {source} names {}; \
             record each from outside with kinestream record --robot",
            names.len()
        );
        ensure!(
            config.ros2.is_none(),
            "{source}: [ros2] joins one robot, and runtime.robots names {}; \
             run kinestream ros2 for each",
            names.len()
        );
    }
    let policy = Policy::executed(loaded, device, names.len(), config.runtime.execution())?;
    let is_measured = config.control.measured_columns(&policy)?.is_some();
    let cautions = config.control.cautions(policy.action_size(), is_measured);
    let cameras: Vec<(String, ImageSize)> = policy
        .cameras()
        .map(|(name, size)| (name.to_owned(), size))
        .collect();
    let sizes = Sizes {
        observation: Some(policy.observation_size()),
        action: Some(policy.action_size()),
        rate_hz: Some(config.task.rate_hz),
        cameras: Some(cameras.iter().map(|(name, _)| name.clone()).collect()),
    };
    let interrupted = shutdown::flag()?;
    let tap = recording::tap(arguments.record.as_deref(), "run", &config, &[])?;
    descriptors::raise();
    if cameras.is_empty() && config.ros2.is_none() && config.session.mode != Some(Mode::Router) {
        config.session.longest_message = Some(MAX_MESSAGE_BYTES);
    }
    let first = Node::open(&config.session, &names[0], "runtime")?;
    // The others share its session.
    let others = names[1..].iter().map(|name| {
        let keys = Keys::new(&config.session.namespace, name)?;
        Ok(Arc::new(first.for_robot(keys)?))
    });
    let others = others.collect::<Result<Vec<_>>>()?;
    let mut nodes = vec![Arc::new(first)];
    nodes.extend(others);
    for node in &nodes {
        if let Some(other) = node.find_runtime()? {
            bail!(
                "another runtime commands {} already (session {}): two of them would give it two commands each period; end \
                 the other, or give this one another name in runtime.robot",
                node.keys().prefix(),
                other.session
            );
        }
    }
    let node = &nodes[0];
    let ros2 = config.ros2.as_ref().map(|ros2| {
        let source = arguments.config.display();
        Ros2Bridge::start(node, ros2, &sizes, StopSide::Here, &source)
    });
    let ros2 = ros2.transpose()?;
    let mut runtime = Runtime::start(
        &nodes,
        &config,
        policy,
        &info,
        &tap,
        &interrupted,
        Some(&config.session),
    )?;
    let open_doors = config.session.exposure()?;
    for caution in of_settings.into_iter().chain(cautions).chain(open_doors) {
        tracing::warn!("{}: {caution}", arguments.config.display());
    }
    for node in &nodes {
        let prefix = node.keys().prefix();
        let pictures: String = cameras
            .iter()
            .map(|(name, size)| {
                format!(
                    " and {prefix}/obs/{name} ({} x {} pixels)",
                    size.height, size.width
                )
            })
            .collect();
        tracing::info!(
            "ready: {prefix}/obs/state{pictures} in, {prefix}/plan and {prefix}/act out; listening on {:?}",
            config.session.listen
        );
    }
    while !interrupted.load(Ordering::SeqCst) && !runtime.has_ended() {
        std::thread::sleep(Duration::from_millis(10));
        runtime.tell()?;
    }
    let ended = runtime.finish();
    if let Some(ros2) = ros2 {
        crate::commands::ros2::report(&ros2.counts());
    }
    let recorded = recording::finish(&tap);
    for report in ended.iter().flatten() {
        let RuntimeReport {
            robot,
            statistics,
            timing,
            ..
        } = report;
        tracing::info!(
            "{robot} ended: {} observations, {} refused, {} plans, {} of them late, \
             {} periods of {} missed",
            statistics.observations,
            statistics.refused,
            statistics.plans,
            statistics.late,
            timing.missed,
            timing.ticks
        );
    }
    recording::and_recorded(ended, recorded).map(|_| ())
}
