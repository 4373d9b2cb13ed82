//! What the loop does in every tick: the way of a command from the latest plan into the ring.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinestream_control::{
    Controller, ControllerConfig, HealthInputs, Interpolation, LimitsConfig, PerJoint, PlanReader,
    Tick, TickInputs, WatchdogConfig,
};

/// Numbers of an action at most, as in `nodes::commands`.
const MOST_NUMBERS: usize = 64;
/// Commands that wait in the ring at most.
const RING: usize = 256;

/// The control thread's side.
pub(super) struct CommandPath {
    plans: PlanReader,
    controller: Controller,
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
    pub(super) fn new(
        plans: PlanReader,
        action_size: usize,
        rate_hz: f64,
    ) -> Result<(Self, Commands)> {
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
            controller: controller(action_size, rate_hz)?,
            sender,
        };
        Ok((path, Commands(publisher)))
    }

    /// One tick.
    pub(super) fn tick(&mut self, tick: Tick) {
        let inputs = TickInputs {
            index: tick.index,
            deadline_ns: tick.deadline_ns,
            now_ns: tick.now_ns,
            facts: HealthInputs {
                observation_ns: tick.now_ns,
                policy_alive: true,
                session_alive: true,
                ..HealthInputs::default()
            },
        };
        let output = self.controller.tick(&inputs, self.plans.latest());
        if !output.publish {
            return;
        }
        let mut values = [0.0; MOST_NUMBERS];
        for (slot, value) in values.iter_mut().zip(self.controller.command()) {
            *slot = *value as f32;
        }
        // A full ring drops the command.
        let _ = self.sender.push(Command {
            _due_ns: tick.deadline_ns,
            _values: values,
        });
    }
}

/// The whole engine of a loop, with limits that plans for Push-T reach now and then.
fn controller(action_size: usize, rate_hz: f64) -> Result<Controller> {
    let all = |limit| Some(PerJoint::All(limit));
    let config = ControllerConfig {
        interpolation: Interpolation::Linear.into(),
        limits: LimitsConfig {
            lower: all(0.0),
            upper: all(512.0),
            velocity: all(600.0),
            acceleration: all(6_000.0),
            jerk: all(200_000.0),
            ..LimitsConfig::default()
        },
        watchdog: WatchdogConfig {
            plan_timeout_ms: 0.0,
            ..WatchdogConfig::default()
        },
        ..ControllerConfig::default()
    };
    let period_ns = (1e9 / rate_hz).round() as u64;
    Ok(Controller::new(&config, action_size, period_ns)?)
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
