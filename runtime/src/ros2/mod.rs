//! Topics of ROS 2 beside a robot's or character's own keys: what arrives there becomes observations or steering, what
//! goes out here becomes messages there.
//!
//! It stands between two sets of keys of one zenoh session and knows nothing else of a runtime, so that it runs inside
//! `kinestream run` as well as in a process of its own. Everything happens on zenoh's receiving threads; nothing waits.

mod camera;
mod character;
pub mod config;
mod robot;
mod steering;

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use kinestream_bridge::Node;
use kinestream_bridge::node::StopForward;
use kinestream_bridge::ros2::Ros2Node;
use serde::Serialize;

use self::character::CharacterSide;
use self::config::Ros2Config;
use self::robot::RobotSide;

/// Sizes of what a policy takes and gives, and how often, where they are known.
#[derive(Debug, Clone, Default)]
pub struct Sizes {
    /// Numbers of an observation.
    pub observation: Option<usize>,
    /// Numbers of an action.
    pub action: Option<usize>,
    /// Observations per second.
    pub rate_hz: Option<f64>,
    /// Cameras that are observed.
    pub cameras: Option<Vec<String>>,
}

/// What went where so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ros2Counts {
    /// Messages of ROS 2 that arrived and decoded.
    pub received: u64,
    /// Messages that did not decode.
    pub malformed: u64,
    /// Messages that decoded and did not hold what is asked of them.
    pub refused: u64,
    /// Observations made of them.
    pub observations: u64,
    /// Observations that were due while a part was missing or too old.
    pub incomplete: u64,
    /// Messages of ROS 2 sent.
    pub sent: u64,
}

/// A running bridge; dropping it ends it.
pub struct Ros2Bridge {
    _node: Ros2Node,
    robot: RobotSide,
    character: Option<CharacterSide>,
    counters: Arc<Counters>,
    _stops: Option<StopForward>,
}

/// Who acts on the topic that stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSide {
    /// The runtime in this process, itself.
    Here,
    /// A runtime elsewhere: stops are passed on to it.
    Elsewhere,
}

impl Ros2Bridge {
    /// Announces the node, subscribes and publishes. `source` is named in errors.
    pub fn start(
        node: &Arc<Node>,
        config: &Ros2Config,
        sizes: &Sizes,
        stop_side: StopSide,
        source: &dyn Display,
    ) -> Result<Self> {
        ensure!(
            config.observation.is_some()
                || !config.publish.is_empty()
                || config.character.is_some()
                || config.stop.is_some(),
            "{source}: [ros2] names no topic; add [ros2.observation], [[ros2.publish]], [ros2.character] or ros2.stop"
        );
        let name = config.node.as_deref().unwrap_or("kinestream");
        let ros = Ros2Node::declare(node.session(), config.domain, &config.namespace, name)
            .with_context(|| format!("{source}: [ros2]"))?;
        let counters = Arc::new(Counters::default());
        let robot = RobotSide::start(node, &ros, config, sizes, &counters)
            .with_context(|| format!("{source}: [ros2]"))?;
        let character = config
            .character
            .as_ref()
            .map(|character| CharacterSide::start(node, &ros, character, &counters))
            .transpose()
            .with_context(|| format!("{source}: [ros2.character]"))?;
        let stop = config
            .stop_topic()
            .with_context(|| format!("{source}: ros2.stop"))?;
        let stop = stop.filter(|_| stop_side == StopSide::Elsewhere);
        let stops = stop.map(|topic| node.forward_stops(&topic)).transpose()?;
        Ok(Self {
            _node: ros,
            robot,
            character,
            counters,
            _stops: stops,
        })
    }

    /// Asks for what is still missing; call it a few times a second.
    pub fn tend(&self) -> Result<()> {
        match &self.character {
            Some(character) => character.tend(),
            None => Ok(()),
        }
    }

    /// What went where so far.
    pub fn counts(&self) -> Ros2Counts {
        let mut counts = self.counters.counts();
        let subscriptions = self.robot.subscriptions().iter();
        for subscription in
            subscriptions.chain(self.character.iter().flat_map(|c| c.subscriptions()))
        {
            counts.received += subscription.counts().received();
            counts.malformed += subscription.counts().malformed();
        }
        counts
    }
}

/// Counted on zenoh's threads.
#[derive(Debug, Default)]
struct Counters {
    refused: AtomicU64,
    observations: AtomicU64,
    incomplete: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    fn counts(&self) -> Ros2Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ros2Counts {
            refused: read(&self.refused),
            observations: read(&self.observations),
            incomplete: read(&self.incomplete),
            sent: read(&self.sent),
            ..Ros2Counts::default()
        }
    }
}

/// Counts, and says the first and then ever fewer: a sender that keeps at it must not fill the log.
fn complain(counter: &AtomicU64, topic: &str, what: &dyn Display) {
    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        tracing::warn!("ros2: {topic}: {what} (no. {count})");
    }
}

/// A period in nanoseconds; 0 for every one.
fn period_ns(rate_hz: Option<f64>, key: &str) -> Result<u64> {
    match rate_hz {
        None => Ok(0),
        Some(rate) => {
            ensure!(
                rate > 0.0 && rate <= 10_000.0,
                "{key} is {rate}, expected above 0 and at most 10000"
            );
            Ok((1e9 / rate) as u64)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
