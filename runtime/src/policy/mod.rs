//! The policy node: observations in, plans out, for one robot or for several.
//!
//! One thread owns LibTorch. It answers every observation with a plan; observations that piled up
//! meanwhile enter the history, and the newest is answered. Where several robots wait, every network
//! evaluation serves those whose deadlines come first, in batches as large as they bear, and each gets
//! its plan as soon as it is there. A plan rolls by the time between its robot's observations' stamps.

mod pace;
mod port;
mod reception;
mod robot;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use kinestream_bridge::node::Notifier;
use kinestream_control::{Clock, Monotonic, pin_current_thread};
use kinestream_policy::config::ImageSize;
use kinestream_policy::dispatch::{BatchScheduler, InferenceRequest};
use kinestream_policy::image::{Image as Picture, Pixels};
use kinestream_policy::{Engine, Error, Policy};

pub use self::pace::Pace;
pub(crate) use self::port::SensorPort;
pub use self::reception::numbers;
use self::robot::Robot;
pub use self::robot::{PolicyStatistics, plan_of};
pub(crate) use self::robot::{RobotLink, Seat};
use super::cameras::Cameras;
use super::signals::ControlInputs;
use crate::POLL_TIMEOUT;
use crate::ending::ends_within;

/// Evaluations before the node says that it is ready; they are not measured.
const WARM_UP: usize = 20;
/// Slow policies are warm after fewer: none begin after this time.
const WARM_UP_NS: u64 = 2_000_000_000;

/// How a policy node runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyOptions {
    /// Plans wait for a congested receiver, for simulators in lock step.
    pub(crate) lossless: bool,
    /// Processor that the thread is kept on.
    pub(crate) cpu: Option<usize>,
    /// How far apart, in milliseconds, an observation and its pictures may be; a period by default.
    pub(crate) pictures_apart_ms: Option<f64>,
    /// How old a plan may be in milliseconds, by the watchdog; 0 for any age.
    pub(crate) plan_timeout_ms: f64,
}

/// A running policy node.
pub(crate) struct PolicyNode {
    thread: JoinHandle<Result<()>>,
    statistics: Vec<Arc<Mutex<PolicyStatistics>>>,
    /// Of robots within this program.
    ports: Vec<Option<SensorPort>>,
}

struct Shell {
    engine: Engine,
    dispatcher: BatchScheduler,
    bell: Notifier,
    robots: Vec<Robot>,
}

impl PolicyNode {
    /// Warms the policy up, subscribes, and starts the thread. The policy has a stream for every
    /// seat.
    pub(crate) fn start(
        mut policy: Policy,
        seats: Vec<Seat<'_>>,
        options: PolicyOptions,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut dispatcher = BatchScheduler::default();
        let (plan_ns, evaluations) = warm_up(&mut policy, &mut dispatcher)?;
        let pace = Pace {
            plan_ms: plan_ns as f64 / 1e6,
            evaluations,
            plan_timeout_ms: options.plan_timeout_ms,
        };
        if let Some(complaint) = pace.complaint(policy.config()) {
            tracing::warn!("{complaint}");
        }
        let bell = Notifier::default();
        let alive: Vec<PolicyAliveGuard> = seats
            .iter()
            .map(|seat| PolicyAliveGuard(Arc::clone(&seat.signals)))
            .collect();
        let robots = seats
            .into_iter()
            .map(|seat| {
                let cameras = Cameras::of(&policy, options.pictures_apart_ms);
                Robot::join(seat, &policy, cameras, options.lossless, &bell)
            })
            .collect::<Result<Vec<_>>>()?;
        let (robots, ports): (Vec<_>, Vec<_>) = robots.into_iter().unzip();
        let statistics = robots
            .iter()
            .map(|robot| Arc::clone(&robot.statistics))
            .collect();
        let shell = Shell {
            engine: Engine::new(policy)?,
            dispatcher,
            bell,
            robots,
        };
        let thread = std::thread::Builder::new()
            .name("policy".into())
            .spawn(move || {
                let _alive = alive;
                if let Some(cpu) = options.cpu {
                    pin_current_thread(cpu).with_context(|| format!("runtime.cpu = {cpu}"))?;
                }
                shell.run(&stop)
            })
            .context("cannot start the policy thread")?;
        Ok(Self {
            thread,
            statistics,
            ports,
        })
    }

    /// What was done for the robot of a seat.
    pub(crate) fn statistics(&self, seat: usize) -> PolicyStatistics {
        self.statistics[seat]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where the observations of a robot within this program are handed in; none for a robot on a session.
    pub(crate) fn port(&self, seat: usize) -> Option<&SensorPort> {
        self.ports.get(seat)?.as_ref()
    }

    /// Whether the thread has ended, by itself or by an error.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread, but no longer than `limit`: an evaluation that never ends keeps nobody from leaving.
    pub(crate) fn join_within(self, limit: Duration) -> Result<()> {
        anyhow::ensure!(
            ends_within(&self.thread, limit),
            "the policy thread stands still in an evaluation; it is left behind"
        );
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the policy thread panicked"),
        }
    }
}

/// Says that the policy thread has ended, however it ends.
struct PolicyAliveGuard(Arc<ControlInputs>);

impl Drop for PolicyAliveGuard {
    fn drop(&mut self) {
        self.0.policy_ended();
    }
}

impl Shell {
    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut demands = Vec::with_capacity(self.robots.len());
        while !stop.load(Ordering::SeqCst) {
            if demands.is_empty() {
                let _ = self.bell.wait(POLL_TIMEOUT);
            }
            demands.clear();
            for seat in 0..self.robots.len() {
                let robot = &mut self.robots[seat];
                if !self.engine.has_begun(seat) {
                    robot.take_all(seat, &mut self.engine)?;
                }
                match self.engine.demand(seat, robot.deadline_ns) {
                    Some(InferenceRequest { owed: 0, .. }) => self.answer(seat)?,
                    demand => demands.extend(demand),
                }
            }
            if !demands.is_empty() {
                self.refine(&demands)?;
            }
        }
        Ok(())
    }

    /// One evaluation for the most urgent, and the plans of those who owe nothing after it.
    fn refine(&mut self, demands: &[InferenceRequest]) -> Result<()> {
        let begun_ns = Monotonic.now_ns();
        let chosen = self.dispatcher.choose(begun_ns, demands).to_vec();
        for &seat in &chosen {
            self.robots[seat].say_begun(seat, &self.engine);
        }
        self.engine.refine(&chosen)?;
        let took_ns = Monotonic.now_ns().saturating_sub(begun_ns);
        self.dispatcher.took(chosen.len(), took_ns);
        for seat in chosen {
            if self.engine.owed(seat) == 0 {
                self.answer(seat)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, seat: usize) -> Result<()> {
        let robot = &mut self.robots[seat];
        robot.say_begun(seat, &self.engine);
        let now_ns = Monotonic.now_ns();
        robot.say_begins(seat, &self.engine, now_ns);
        let answer = self.engine.read(seat, now_ns)?;
        match answer {
            Some(answer) => robot.publish(&answer, self.engine.policy()),
            None => {
                robot.refuse(&Error::NonFinitePlan.to_string());
                Ok(())
            }
        }
    }
}

/// Runs the network, for all robots at once and for one, until LibTorch has chosen kernels and
/// allocated, then forgets it all but for what evaluations took. Returns the least time of a plan for
/// one robot, in nanoseconds, and its evaluations.
fn warm_up(policy: &mut Policy, dispatcher: &mut BatchScheduler) -> Result<(u64, usize)> {
    let steps = policy.config().plan.action_steps;
    let zeros = vec![0.0; policy.observation_size()];
    let black: Vec<(ImageSize, Vec<u8>)> = policy
        .cameras()
        .map(|(_, size)| (size, vec![0; 3 * size.height * size.width]))
        .collect();
    let images: Vec<Picture<'_>> = black
        .iter()
        .map(|(size, pixels)| Picture {
            size: *size,
            pixels: Pixels::Bytes(pixels),
        })
        .collect();
    let all: Vec<usize> = (0..policy.streams()).collect();
    let mut quickest = (u64::MAX, 0);
    for streams in [&all[..], &all[..1]] {
        all.iter().try_for_each(|stream| policy.reset(*stream, 0))?;
        let begun = Monotonic.now_ns();
        for round in 0..WARM_UP {
            if round > 1 && Monotonic.now_ns() - begun > WARM_UP_NS {
                break;
            }
            let observed_ns = Monotonic.now_ns();
            for &stream in streams {
                policy.observe_images(stream, &zeros, &images)?;
            }
            let owed = policy.owed(streams[0]);
            loop {
                let begun_ns = Monotonic.now_ns();
                match policy.refine(streams)? {
                    0 => break,
                    // The first ones are slow.
                    count if round > 1 => {
                        dispatcher.took(count, Monotonic.now_ns().saturating_sub(begun_ns));
                    }
                    _ => {}
                }
            }
            if streams.len() == 1 && owed > 0 {
                let took_ns = Monotonic.now_ns().saturating_sub(observed_ns);
                quickest = quickest.min((took_ns, owed));
            }
            for &stream in streams {
                policy.advance(stream, steps);
            }
        }
    }
    all.iter().try_for_each(|stream| policy.reset(*stream, 0))?;
    Ok(quickest)
}
