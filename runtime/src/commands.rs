//! The command node: the latest plan as a command at a fixed rate.
//!
//! The control thread reads the plan, forms the command and hands it on through a ring; it neither
//! waits nor allocates. A publisher thread sends what comes out of the ring.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinestream_bridge::Node;
use kinestream_bridge::node::{Channel, Publisher};
use kinestream_bridge::wire::{ActionFlags, ActionSlice, Stamp};
use kinestream_control::fixed_rate::{self, LoopOptions, Tick};
use kinestream_control::{
    Clock, ControlLoop, Controller, LimitFlags, MissPolicy, Monotonic, PlanReader, RealtimeStatus,
    SafetyState, TickInputs, TickOutput, TimingGauge, TimingReport,
};

use super::signals::{ControlInputs, ControlMetrics};
use crate::clock::stamp;
use crate::control_config::{ControlConfig, MOST_NUMBERS};
use crate::ending::ends_within;
use crate::recording::{RecordSink, TickRecord, TickRecordSink, topic};

/// Commands that wait for the publisher thread at most.
const RING: usize = 256;

/// One command on its way to the publisher thread.
#[derive(Debug, Clone, Copy)]
struct CommandSample {
    due_ns: u64,
    output: TickOutput,
    size: usize,
    values: [f32; MOST_NUMBERS],
}

/// Where commands go, on the publisher thread.
pub(crate) trait CommandSink: Send + 'static {
    /// Sends a command; whether it went out.
    ///
    /// # Errors
    /// Sending is over for good.
    fn send(&mut self, command: &ActionSlice<'_>) -> Result<bool>;

    /// Whether the way to the robot is open, and whether somebody receives commands.
    fn reach(&self) -> (bool, bool);

    /// Whether commands that waited while another was sent are left out but for the newest: an actuator that is slower than
    /// the control rate must not be led by the past.
    fn wants_newest_alone(&self) -> bool {
        false
    }
}

/// Commands as messages on a robot's `act` key.
pub(crate) struct SessionSink {
    actions: Publisher,
    node: Arc<Node>,
}

impl SessionSink {
    /// The key of a node.
    ///
    /// # Errors
    /// The session is closed.
    pub(crate) fn new(node: &Arc<Node>) -> Result<Self> {
        Ok(Self {
            actions: node.publisher(Channel::Action)?,
            node: Arc::clone(node),
        })
    }
}

impl CommandSink for SessionSink {
    fn send(&mut self, command: &ActionSlice<'_>) -> Result<bool> {
        Ok(self.actions.publish(command)?)
    }

    fn reach(&self) -> (bool, bool) {
        (self.node.is_open(), self.actions.is_matched())
    }
}

/// What a command node reads from, and tells.
pub(crate) struct Wiring {
    pub(crate) plans: PlanReader,
    pub(crate) signals: Arc<ControlInputs>,
    pub(crate) gauges: Arc<ControlMetrics>,
    pub(crate) tap: RecordSink,
}

/// A running command node.
pub(crate) struct CommandNode {
    control: ControlLoop,
    publisher: JoinHandle<Result<()>>,
}

impl CommandNode {
    /// Starts the control thread and the publisher thread.
    pub(crate) fn start(
        sink: impl CommandSink,
        config: &ControlConfig,
        action_size: usize,
        wiring: Wiring,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let Wiring {
            plans,
            signals,
            gauges,
            tap,
        } = wiring;
        let controller = config.controller(action_size)?;
        let (sender, receiver) = rtrb::RingBuffer::new(RING);
        let mut turn = ControlTick {
            controller,
            plans,
            signals: Arc::clone(&signals),
            gauges: Arc::clone(&gauges),
            sender,
            tap: tap.ticks(),
            missed_is_fault: config.missed == MissPolicy::Fault,
        };
        let publisher = Sender {
            sink,
            receiver,
            signals,
            gauges,
            tap,
        };
        let seen = Arc::clone(&stop);
        let publisher = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || publisher.run(&seen))
            .context("cannot start the publisher thread")?;
        let options = LoopOptions {
            rate_hz: config.rate_hz,
            missed: config.missed,
            realtime: config.realtime,
        };
        let control = fixed_rate::spawn(&options, stop, move |tick| turn.take(&tick))?;
        Ok(Self { control, publisher })
    }

    /// What the operating system granted to the control thread.
    pub(crate) fn granted(&self) -> &RealtimeStatus {
        self.control.granted()
    }

    /// How well the rate is kept, at any time.
    pub(crate) fn timing(&self) -> Arc<TimingGauge> {
        self.control.gauge()
    }

    /// Whether the publisher thread has ended, by itself or by an error.
    pub(crate) fn has_ended(&self) -> bool {
        self.publisher.is_finished()
    }

    /// As [`CommandNode::join`], but waits no longer than `limit` for the publisher thread, which may stand still in a
    /// function that is not ours.
    pub(crate) fn join_within(self, limit: Duration) -> Result<TimingReport> {
        ensure!(
            ends_within(&self.publisher, limit),
            "a command is still being handed over after {limit:?}; the thread that does it is left behind"
        );
        self.join()
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

/// What the control thread does in a period. Nothing in here waits, allocates or prints.
struct ControlTick {
    controller: Controller,
    plans: PlanReader,
    signals: Arc<ControlInputs>,
    gauges: Arc<ControlMetrics>,
    sender: rtrb::Producer<CommandSample>,
    tap: TickRecordSink,
    missed_is_fault: bool,
}

impl ControlTick {
    fn take(&mut self, tick: &Tick) -> ControlFlow<()> {
        let inputs = TickInputs {
            index: tick.index,
            deadline_ns: tick.deadline_ns,
            now_ns: tick.now_ns,
            facts: self.signals.facts(self.missed_is_fault && tick.missed > 0),
        };
        let plan = self.plans.latest();
        let output = self.controller.tick(&inputs, plan);
        let command = self.controller.command();
        if output.publish {
            let mut values = [0.0; MOST_NUMBERS];
            for (slot, value) in values.iter_mut().zip(command) {
                *slot = *value as f32;
            }
            let outgoing = CommandSample {
                due_ns: tick.deadline_ns,
                output,
                size: command.len(),
                values,
            };
            // A full ring means that the publisher thread is behind: this command is left out.
            if self.sender.push(outgoing).is_err() {
                self.gauges.command_dropped();
            }
        }
        let record = TickRecord {
            inputs,
            plan: plan.map(|plan| plan.header().chunk),
            output,
            command,
        };
        self.tap.tick(tick.now_ns, &record);
        self.gauges.record(&output, &self.controller);
        ControlFlow::Continue(())
    }
}

/// What the publisher thread owns.
struct Sender<S> {
    sink: S,
    receiver: rtrb::Consumer<CommandSample>,
    signals: Arc<ControlInputs>,
    gauges: Arc<ControlMetrics>,
    tap: RecordSink,
}

impl<S: CommandSink> Sender<S> {
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        // However this thread ends, the control thread hears that nothing reaches the robot any more.
        let _unreachable = Unreachable(Arc::clone(&self.signals));
        let (mut sequence, mut met) = (0, false);
        loop {
            // Looked at before the ring: what was commanded until then is sent, the last command above all.
            let is_ending = stop.load(Ordering::SeqCst);
            // Commands that nobody receives any more move nothing: the watchdog should know.
            let (is_open, matched) = self.sink.reach();
            met |= matched;
            self.signals.set_reach(is_open, met && !matched);
            let Ok(mut outgoing) = self.receiver.pop() else {
                if is_ending {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_micros(500));
                continue;
            };
            if self.sink.wants_newest_alone() {
                while let Ok(newer) = self.receiver.pop() {
                    self.gauges.command_dropped();
                    outgoing = newer;
                }
            }
            sequence += 1;
            let output = &outgoing.output;
            let message = ActionSlice {
                stamp: Stamp {
                    monotonic_ns: outgoing.due_ns,
                    ..stamp(sequence, output.stream)
                },
                chunk: output.chunk,
                position: output.position as f64,
                noise: 0.0,
                flags: flags(output),
                values: &outgoing.values[..outgoing.size],
            };
            if self.sink.send(&message)? {
                self.gauges.command_published();
                self.gauges.command().keep(&message);
            }
            self.tap.wire(topic::ACTION, Monotonic.now_ns(), &message);
        }
    }
}

/// Says that commands reach nobody, once it is dropped.
struct Unreachable(Arc<ControlInputs>);

impl Drop for Unreachable {
    fn drop(&mut self) {
        self.0.set_reach(false, true);
    }
}

fn flags(output: &TickOutput) -> ActionFlags {
    let mut flags = match output.rung {
        SafetyState::Waiting | SafetyState::Holding => ActionFlags::HOLDING,
        SafetyState::Running | SafetyState::Continuing if output.late || output.between_motions => {
            ActionFlags::HOLDING
        }
        SafetyState::Running | SafetyState::Continuing => ActionFlags::NONE,
        SafetyState::SafeStop | SafetyState::EmergencyStop => {
            ActionFlags::HOLDING.with(ActionFlags::STOPPING)
        }
    };
    if output.interventions != LimitFlags::NONE {
        flags = flags.with(ActionFlags::LIMITED);
    }
    flags
}
