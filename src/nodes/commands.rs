//! The command node: the latest plan as a command at a fixed rate.
//!
//! The control thread reads the plan, forms the command and hands it on through a ring; it neither
//! waits nor allocates. A publisher thread sends what comes out of the ring.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinestream_bridge::Node;
use kinestream_bridge::node::{Channel, Publisher};
use kinestream_bridge::wire::{ActionFlags, ActionSlice, Stamp};
use kinestream_control::{
    CommandEngine, CommandStatus, ControlLoop, Interpolation, LoopOptions, MissPolicy, PlanReader,
    RealtimeConfig, TimingReport, fixed_rate,
};
use serde::{Deserialize, Serialize};

use super::stamp;

/// Numbers of an action at most.
const MOST_NUMBERS: usize = 64;
/// Commands that wait for the publisher thread at most.
const RING: usize = 256;

/// How commands are formed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ControlConfig {
    /// Commands per second, above 0, at most 10,000.
    pub(crate) rate_hz: f64,
    /// hold, linear or cubic: how a command lies between the actions of a plan.
    pub(crate) interpolation: Interpolation,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            rate_hz: 100.0,
            interpolation: Interpolation::Hold,
        }
    }
}

/// One command on its way to the publisher thread.
#[derive(Debug, Clone, Copy)]
struct Outgoing {
    due_ns: u64,
    stream: u32,
    chunk: u64,
    position: f64,
    flags: ActionFlags,
    size: usize,
    values: [f32; MOST_NUMBERS],
}

/// A running command node.
pub(crate) struct CommandNode {
    control: ControlLoop,
    publisher: JoinHandle<Result<()>>,
    published: Arc<AtomicU64>,
}

impl CommandNode {
    /// Starts the control thread and the publisher thread. Commands carry the number in `stream`.
    pub(crate) fn start(
        node: &Node,
        config: ControlConfig,
        action_size: usize,
        mut plans: PlanReader,
        stream: Arc<AtomicU32>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        ensure!(
            (1..=MOST_NUMBERS).contains(&action_size),
            "actions have {action_size} numbers, commands carry 1 to {MOST_NUMBERS}"
        );
        ensure!(
            config.rate_hz > 0.0 && config.rate_hz <= 10_000.0,
            "control.rate_hz is {}, expected above 0, at most 10000",
            config.rate_hz
        );
        let (mut sender, receiver) = rtrb::RingBuffer::new(RING);
        let mut engine = CommandEngine::new(config.interpolation, action_size);
        let mut following = 0;
        let seen_stream = Arc::clone(&stream);
        let tick = move |tick: fixed_rate::Tick| {
            let mut values = [0.0; MOST_NUMBERS];
            let stream = seen_stream.load(Ordering::Relaxed);
            let plan = plans.latest();
            if stream != following {
                // A new stream begins at rest, not on the way from the last one's command.
                engine.reset();
                following = stream;
            }
            let status = engine.command(plan, tick.now_ns, &mut values[..action_size]);
            let (position, flags) = match status {
                CommandStatus::Idle => (0, ActionFlags::HOLDING),
                CommandStatus::Early => (0, ActionFlags::NONE),
                CommandStatus::Active { position } => (position, ActionFlags::NONE),
                CommandStatus::Late { position } => (position, ActionFlags::HOLDING),
            };
            // Without a plan nothing is sent: whoever listens holds what it had.
            if let Some(plan) = plan {
                let chunk = plan.header().chunk;
                // A full ring means that the publisher thread is behind: this command is left out.
                let _ = sender.push(Outgoing {
                    due_ns: tick.deadline_ns,
                    stream,
                    chunk,
                    position: position as f64,
                    flags,
                    size: action_size,
                    values,
                });
            }
            ControlFlow::Continue(())
        };
        let actions = node.publisher(Channel::Action)?;
        let published = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&published);
        let seen = Arc::clone(&stop);
        let publisher = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || publish(actions, receiver, &count, &seen))
            .context("cannot start the publisher thread")?;
        let options = LoopOptions {
            rate_hz: config.rate_hz,
            missed: MissPolicy::Skip,
            realtime: RealtimeConfig::nothing(),
        };
        let control = fixed_rate::spawn(&options, stop, tick)?;
        Ok(Self {
            control,
            publisher,
            published,
        })
    }

    /// Commands sent so far.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Waits for both threads; returns how well the rate was kept.
    pub(crate) fn join(self) -> Result<TimingReport> {
        let report = self.control.join()?;
        match self.publisher.join() {
            Ok(result) => result?,
            Err(_) => bail!("the publisher thread panicked"),
        }
        Ok(report)
    }
}

fn publish(
    mut actions: Publisher,
    mut receiver: rtrb::Consumer<Outgoing>,
    published: &AtomicU64,
    stop: &AtomicBool,
) -> Result<()> {
    let mut sequence = 0;
    while !stop.load(Ordering::SeqCst) {
        let Ok(outgoing) = receiver.pop() else {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        };
        sequence += 1;
        let sent = actions.publish(&ActionSlice {
            stamp: Stamp {
                monotonic_ns: outgoing.due_ns,
                ..stamp(sequence, outgoing.stream)
            },
            chunk: outgoing.chunk,
            position: outgoing.position,
            noise: 0.0,
            flags: outgoing.flags,
            values: &outgoing.values[..outgoing.size],
        })?;
        published.fetch_add(u64::from(sent), Ordering::Relaxed);
    }
    Ok(())
}
