//! `kinestream record`: what a robot's nodes say over zenoh, into a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use kinestream_bridge::recording::{GapCounts, RecorderStatus};
use kinestream_bridge::{Keys, Node, Subscription, keys};
use kinestream_control::{Clock, Monotonic};
use serde::Serialize;

use kinestream_command_line::RecordArguments;
use kinestream_runtime::config::{self, Config};
use kinestream_runtime::recording::{RecordSink, RecordingHeader, topic, warn_of_losses};
use kinestream_runtime::shutdown;
use kinestream_terminal::output;
use kinestream_terminal::say;

/// Time between two looks at what there is to do.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a character may take to say which joints it has.
const ANSWER: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize)]
struct Report<'a> {
    path: &'a Path,
    messages: u64,
    bytes: u64,
    dropped: u64,
    /// Messages that senders numbered and that never came, of all topics.
    missing: u64,
    /// The same by topic.
    gaps: BTreeMap<String, GapCounts>,
    malformed: u64,
    slowest_sync_ms: f64,
    seconds: f64,
    fault: Option<String>,
}

pub(crate) fn run(arguments: &RecordArguments) -> Result<()> {
    let mut config = match &arguments.config {
        Some(path) => {
            let config = Config::read(path)?;
            config.check_session(path)?;
            config
        }
        None => Config::parse(config::BUILT_IN, "the built-in configuration")?,
    };
    if let Some(address) = &arguments.connect {
        config.session.connect = vec![address.clone()];
        config.session.listen.clear();
    }
    let source = arguments.config.as_deref().unwrap_or(Path::new(""));
    config.runtime.robot = config.runtime.one(arguments.robot.as_deref(), source)?;
    config.runtime.robots.clear();
    // A client hears of all nodes that the runtime, or a router, has met.
    config.session = config.session.client();
    if arguments.out.exists() {
        // Said before a session opens; the recorder itself refuses too.
        bail!(
            "{} exists and is not overwritten; record under another name, or remove it first",
            arguments.out.display()
        );
    }
    let stop = shutdown::flag()?;
    let keys = Keys::new(&config.session.namespace, &config.runtime.robot)?;
    config.session.to_zenoh()?;
    let tap = RecordSink::create(&arguments.out, &RecordingHeader::new("record", &config)?)?;
    let receiving = tap.clone();
    let is_character = Arc::new(AtomicBool::new(false));
    let has_posed = Arc::clone(&is_character);
    tracing::info!(
        "recording {keys} at {:?} to {}",
        config.session.connect,
        arguments.out.display()
    );
    let begun = Instant::now();
    let limit = arguments.seconds.map(Duration::from_secs_f64);
    let is_over =
        || stop.load(Ordering::SeqCst) || limit.is_some_and(|limit| begun.elapsed() >= limit);
    let node = Node::open_when_there(&config.session, keys.robot(), "recorder", is_over)?;
    let receive = move |topic: &str, bytes: &[u8]| {
        if topic == topic::POSE {
            has_posed.store(true, Ordering::Relaxed);
        }
        receiving.wire_bytes(topic, Monotonic.now_ns(), bytes);
    };
    let subscriptions = match &node {
        Some(node) => node.subscribe_raw(receive)?,
        None => Vec::new(),
    };
    let line = output::status_line();
    let mut status = total(tap.status())?;
    let mut knows_joints = false;
    while !is_over() && status.fault.is_none() {
        std::thread::sleep(GLANCE);
        // Poses say nothing to whoever does not know their joints.
        if is_character.swap(false, Ordering::Relaxed)
            && !knows_joints
            && let Some(node) = &node
            && let Some(skeleton) = node.ask(keys::SKELETON, ANSWER)?
        {
            tap.json(topic::SKELETON, Monotonic.now_ns(), &skeleton);
            knows_joints = true;
        }
        status = total(tap.status())?;
        line.set_message(progress(&status, begun.elapsed()));
    }
    line.finish_and_clear();
    let malformed = subscriptions
        .iter()
        .map(Subscription::counts)
        .map(|counts| counts.malformed())
        .sum();
    drop(subscriptions);
    let status = total(tap.finish())?;
    let report = Report {
        path: &arguments.out,
        messages: status.messages,
        bytes: status.bytes,
        dropped: status.dropped,
        missing: status.missing(),
        gaps: status.gaps.clone(),
        malformed,
        slowest_sync_ms: status.slowest_sync.as_secs_f64() * 1e3,
        seconds: begun.elapsed().as_secs_f64(),
        fault: status.fault.clone(),
    };
    if arguments.json {
        output::json(&report)?;
    } else {
        say!(
            "{}: {} messages, {:.1} MB in {:.1} s; {} without room, {} missing by their senders' numbers",
            arguments.out.display(),
            report.messages,
            report.bytes as f64 / 1e6,
            report.seconds,
            report.dropped,
            report.missing
        );
    }
    warn_of_losses(&arguments.out, &status);
    match status.fault {
        Some(fault) => Err(anyhow!(fault)),
        None => Ok(()),
    }
}

fn total(status: Option<RecorderStatus>) -> Result<RecorderStatus> {
    status.ok_or_else(|| anyhow!("the recorder has gone; please report this"))
}

fn progress(status: &RecorderStatus, since: Duration) -> String {
    let seconds = since.as_secs_f64().max(1e-3);
    format!(
        "{seconds:.0} s, {} messages, {:.0} a second, {:.1} MB, {} without room, {} missing",
        status.messages,
        status.messages as f64 / seconds,
        status.bytes as f64 / 1e6,
        status.dropped,
        status.missing()
    )
}
