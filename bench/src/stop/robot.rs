//! The robot of a stop's measurement: moves, observes, and notes when which command came.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinestream_bridge::node::{Channel, MotionRequest, Subscription};
use kinestream_bridge::wire::{ActionFlags, Array as _, Name, Values};
use kinestream_bridge::{Action, Node, Observation, SessionOptions};

use super::ms_between;
use kinestream_command_line::bench::StopWay;
use kinestream_runtime::clock::stamp;

/// Time between two observations.
const OBSERVE_EVERY: Duration = Duration::from_millis(50);
/// Time between two looks at what came.
const GLANCE: Duration = Duration::from_millis(1);

/// Of the watchdog.
pub(super) const OBSERVATION_TIMEOUT: Duration = Duration::from_millis(300);

pub(super) struct Robot {
    node: Node,
    seen: Arc<Seen>,
    _actions: Subscription,
    observer: Option<JoinHandle<()>>,
}

/// What is shared with the receiving and the observing thread.
struct Seen {
    commands: Mutex<Vec<(Instant, ActionFlags)>>,
    at: Mutex<[f64; 2]>,
    silent: AtomicBool,
    last_observation: Mutex<Instant>,
    ended: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Robot {
    pub(super) fn connect(session: &SessionOptions) -> Result<Self> {
        let node = Node::open(session, "pusht", "robot")?;
        let seen = Arc::new(Seen {
            commands: Mutex::default(),
            at: Mutex::new([256.0, 400.0]),
            silent: AtomicBool::new(false),
            last_observation: Mutex::new(Instant::now()),
            ended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&seen);
        let actions = node.subscribe::<Action, _>(&node.keys().action(), move |action| {
            let now = Instant::now();
            if let (Some(x), Some(y)) = (action.values.get(0), action.values.get(1)) {
                *lock(&shared.at) = [f64::from(x), f64::from(y)];
            }
            lock(&shared.commands).push((now, action.flags));
        })?;
        let mut publisher = node.publisher(Channel::Observation("state"))?;
        let shared = Arc::clone(&seen);
        let name = Name::new("state")?;
        let observer = std::thread::spawn(move || {
            let (mut sequence, begun) = (0_u64, Instant::now());
            while !shared.ended.load(Ordering::SeqCst) {
                std::thread::sleep(OBSERVE_EVERY);
                if shared.silent.load(Ordering::SeqCst) {
                    continue;
                }
                sequence += 1;
                // The T goes round, so that the plan never rests.
                let angle = begun.elapsed().as_secs_f64() * 2.0;
                let mut values = vec![0.0; 20];
                for (index, value) in values[..18].iter_mut().enumerate() {
                    let around = if index % 2 == 0 {
                        angle.cos()
                    } else {
                        angle.sin()
                    };
                    *value = 256.0 + 100.0 * around + 8.0 * index as f64;
                }
                values[18..].copy_from_slice(&*lock(&shared.at));
                let sent = publisher.publish(&Observation {
                    stamp: stamp(sequence, 1),
                    name,
                    values: Values::F64(values),
                });
                if sent.is_err() {
                    return;
                }
                *lock(&shared.last_observation) = Instant::now();
            }
        });
        Ok(Self {
            node,
            seen,
            _actions: actions,
            observer: Some(observer),
        })
    }

    /// Waits for ten commands on a plan in a row.
    pub(super) fn wait_until_running(&self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let running = {
                let commands = lock(&self.seen.commands);
                let since = commands.iter().rev().take(10);
                commands.len() >= 10
                    && since.clone().all(|(_, flags)| {
                        !flags.contains(ActionFlags::STOPPING)
                            && !flags.contains(ActionFlags::HOLDING)
                    })
                    && since
                        .clone()
                        .next()
                        .is_some_and(|(at, _)| at.elapsed() < limit)
            };
            if running {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < limit,
                "the robot does not move within {limit:?}"
            );
            std::thread::sleep(GLANCE);
        }
    }

    /// Falls silent, or observes again.
    pub(super) fn set_silent(&self, silent: bool) {
        self.seen.silent.store(silent, Ordering::SeqCst);
    }

    /// When the watchdog's time is over, counted from the last observation.
    pub(super) fn silence_due(&self) -> Instant {
        *lock(&self.seen.last_observation) + OBSERVATION_TIMEOUT
    }

    /// Milliseconds from `asked` to the first command that stops, or, of the watchdog, that holds.
    pub(super) fn first_stop(&self, way: StopWay, asked: Instant, limit: Duration) -> Option<f64> {
        let wanted = match way {
            StopWay::Watchdog => ActionFlags::HOLDING,
            _ => ActionFlags::STOPPING,
        };
        let until = asked + limit;
        loop {
            let first = lock(&self.seen.commands)
                .iter()
                .find(|(at, flags)| *at >= asked && flags.contains(wanted))
                .map(|(at, _)| *at);
            if let Some(at) = first {
                return Some(ms_between(asked, at));
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Leaves the stop and moves again.
    pub(super) fn rearm(&self, limit: Duration) -> Result<()> {
        self.node.request_motion(MotionRequest::Rearm, limit)?;
        lock(&self.seen.commands).clear();
        self.wait_until_running(limit)
    }
}

impl Drop for Robot {
    fn drop(&mut self) {
        self.seen.ended.store(true, Ordering::SeqCst);
        if let Some(observer) = self.observer.take() {
            let _ = observer.join();
        }
    }
}
