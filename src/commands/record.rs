//! `kinestream record`: what a robot's nodes say over zenoh, into a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use kinestream_bridge::node::SessionOptions;
use kinestream_bridge::recording::{GapCounts, RecorderStatus};
use kinestream_bridge::{Node, Subscription, keys};
use kinestream_control::{Clock, Monotonic};
use serde::Serialize;

use crate::cli::RecordArguments;
use crate::config::{self, Config};
use crate::output::say;
use crate::recording::{Opening, Tap, topic, warn_of_losses};
use crate::{output, shutdown};

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
        config.session.listen = vec![address.clone()];
        config.session.connect.clear();
    }
    let source = arguments.config.as_deref().unwrap_or(Path::new(""));
    config.runtime.robot = config.runtime.one(arguments.robot.as_deref(), source)?;
    config.runtime.robots.clear();
    meet_all(&mut config.session);
    if arguments.out.exists() {
        // Said before a session opens; the recorder itself refuses too.
        bail!(
            "{} exists and is not overwritten; record under another name, or remove it first",
            arguments.out.display()
        );
    }
    let stop = shutdown::flag()?;
    let node = Node::open(&config.session, &config.runtime.robot, "recorder")?;
    let tap = Tap::create(&arguments.out, &Opening::new("record", &config)?)?;
    let receiving = tap.clone();
    let is_character = Arc::new(AtomicBool::new(false));
    let has_posed = Arc::clone(&is_character);
    let subscriptions = node.subscribe_raw(move |topic, bytes| {
        if topic == topic::POSE {
            has_posed.store(true, Ordering::Relaxed);
        }
        receiving.wire_bytes(topic, Monotonic.now_ns(), bytes);
    })?;
    tracing::info!(
        "recording {} at {:?} to {}",
        node.keys(),
        config.session.connect,
        arguments.out.display()
    );
    let begun = Instant::now();
    let limit = arguments.seconds.map(Duration::from_secs_f64);
    let line = output::status_line();
    let mut status = total(tap.status())?;
    let mut knows_joints = false;
    while !stop.load(Ordering::SeqCst)
        && limit.is_none_or(|limit| begun.elapsed() < limit)
        && status.fault.is_none()
    {
        std::thread::sleep(GLANCE);
        // Poses say nothing to whoever does not know their joints.
        if is_character.swap(false, Ordering::Relaxed)
            && !knows_joints
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

/// One file describes all sides: where the runtime listens, the recorder connects. Peers pass
/// nothing on: to hear the robot too, which connects to the same address, the recorder has to be
/// reachable itself. Where all is on this machine it is, on any free port of it; elsewhere
/// `[session]` has to name `listen` and `connect`.
fn meet_all(session: &mut SessionOptions) {
    if !session.connect.is_empty() {
        return;
    }
    session.connect = std::mem::take(&mut session.listen);
    let is_local = |address: &String| address.contains("/127.") || address.contains("/localhost:");
    if !session.connect.is_empty() && session.connect.iter().all(is_local) {
        session.listen = vec!["tcp/127.0.0.1:0".to_owned()];
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
