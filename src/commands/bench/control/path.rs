//! What the loop does in every tick: the way of a command from the latest plan into the ring.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinestream_control::{CommandEngine, Interpolation, PlanReader, Tick};

/// Numbers of an action at most, as in `nodes::commands`.
const MOST_NUMBERS: usize = 64;
/// Commands that wait in the ring at most.
const RING: usize = 256;

/// The control thread's side.
pub(super) struct CommandPath {
    plans: PlanReader,
    engine: CommandEngine,
    action_size: usize,
    sender: rtrb::Producer<Command>,
}

/// The publisher's side: takes commands out of the ring as they come.
pub(super) struct Commands(JoinHandle<u64>);

/// A command as it lies in the ring.
struct Command {
    _due_ns: u64,
    _values: [f32; MOST_NUMBERS],
}

impl CommandPath {
    /// Both sides; the publisher's is a thread that ends with the path.
    pub(super) fn new(plans: PlanReader, action_size: usize) -> Result<(Self, Commands)> {
        ensure!(
            (1..=MOST_NUMBERS).contains(&action_size),
            "actions have {action_size} numbers, commands carry 1 to {MOST_NUMBERS}"
        );
        let (sender, mut receiver) = rtrb::RingBuffer::new(RING);
        let publisher = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || {
                let mut count = 0;
                loop {
                    // Looked at first, so that nothing is left behind.
                    let ended = receiver.is_abandoned();
                    while receiver.pop().is_ok() {
                        count += 1;
                    }
                    if ended {
                        return count;
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            })
            .context("cannot start the publisher thread")?;
        let path = Self {
            plans,
            engine: CommandEngine::new(Interpolation::Linear, action_size),
            action_size,
            sender,
        };
        Ok((path, Commands(publisher)))
    }

    /// One tick.
    pub(super) fn tick(&mut self, tick: Tick) {
        let mut values = [0.0; MOST_NUMBERS];
        let plan = self.plans.latest();
        let values_due = &mut values[..self.action_size];
        self.engine.command(plan, tick.now_ns, values_due);
        // Without a plan nothing is sent; a full ring drops the command.
        if plan.is_some() {
            let _ = self.sender.push(Command {
                _due_ns: tick.deadline_ns,
                _values: values,
            });
        }
    }
}

impl Commands {
    /// Waits for the publisher's end; how many commands came out of the ring.
    pub(super) fn finish(self) -> Result<u64> {
        match self.0.join() {
            Ok(count) => Ok(count),
            Err(_) => bail!("the publisher thread panicked"),
        }
    }
}
