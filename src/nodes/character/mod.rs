//! The character node: control in, poses out, at a fixed rate, with the page beside it.
//!
//! One thread owns LibTorch. At every deadline it takes what has arrived (the newest control counts,
//! whether it came over zenoh, from the page or from an engine), makes the frame that falls due, and
//! hands the pose to zenoh, page, engines and recorder. Periods that passed without a pose are left out and counted; the
//! character's time goes on over them.

pub(crate) mod acts;
pub(crate) mod live;
mod shell;
pub(crate) mod shown;
mod telling;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use kinestream_bridge::Node;
use kinestream_control::{Clock, Monotonic, Percentiles};
use kinestream_motion::controller::{Controller, ControllerOptions, Counts, Measures};
use kinestream_motion::crowd::{Crowd, Wish};
use kinestream_motion::emdm::Emdm;
use kinestream_motion::model::MotionModel;
use kinestream_motion::performer::{Act, Performer};
use kinestream_motion::stick::Waypoint;
use kinestream_sim::viewer::character::ViewerHandle;

use self::acts::{ActCounts, Acts};
use self::live::Live;
use self::shell::Shell;
use super::engines::{EngineCounts, Engines};
use crate::recording::Tap;

/// Poses per second, as whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoseRate(u32);

impl PoseRate {
    /// At least the rate of frames, so that none is left out; at most what engines draw.
    pub(crate) fn new(rate_hz: u32) -> Result<Self> {
        ensure!(
            (30..=240).contains(&rate_hz),
            "--rate is {rate_hz}, expected 30 to 240 poses per second"
        );
        Ok(Self(rate_hz))
    }

    pub(crate) fn hz(self) -> f64 {
        f64::from(self.0)
    }

    fn period_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.0)
    }
}

/// Frames before the first that counts: LibTorch picks kernels and allocates.
const WARM_UP: usize = 30;

/// A character that stands, ready to be steered, and to perform what a model of clips knows.
pub(crate) fn character(
    model: MotionModel,
    clips: Option<Emdm>,
    seed: u32,
) -> Result<Controller<Performer>> {
    let starts = model.starts();
    ensure!(
        starts.size()[0] > 0,
        "the motion model has no frame to begin with; train it again"
    );
    let mut crowd = Crowd::new(model, &starts.narrow(0, 0, 1), &[u64::from(seed)])?;
    for _ in 0..WARM_UP {
        crowd.advance(&[Wish::default()])?;
    }
    Ok(Controller::new(
        Performer::new(crowd, clips, 0),
        u64::from(seed),
        ControllerOptions::default(),
    )?)
}

/// What a character did so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Statistics {
    pub(crate) counts: Counts,
    /// Poses handed to zenoh, page and recorder.
    pub(crate) poses: u64,
    /// Controls that decoded, over zenoh.
    pub(crate) controls: u64,
    /// Of these, given up unread because a newer one was there.
    pub(crate) superseded: u64,
    /// Payloads that did not decode.
    pub(crate) malformed: u64,
    /// Periods that passed without a pose.
    pub(crate) missed: u64,
    /// From the moment at which a frame was due to its pose.
    pub(crate) latency_ms: Percentiles,
    /// The newest of these.
    pub(crate) last_latency_ms: f64,
    /// What engines got and said.
    pub(crate) engines: EngineCounts,
    /// What it was asked to perform.
    pub(crate) acts: ActCounts,
}

/// Who takes part.
pub(crate) struct Company<'a> {
    /// The zenoh node; none for nobody outside.
    pub(crate) node: Option<&'a Arc<Node>>,
    /// The page.
    pub(crate) page: Option<ViewerHandle>,
    /// Game engines.
    pub(crate) engines: Engines,
    /// Where requests to perform something are taken, and where they come out.
    pub(crate) acts: (Acts, Receiver<Act>),
    /// The recorder.
    pub(crate) tap: Tap,
    /// How many poses they get.
    pub(crate) rate: PoseRate,
}

/// A running character node.
pub(crate) struct CharacterNode {
    thread: JoinHandle<Result<Ended>>,
    statistics: Arc<Mutex<Statistics>>,
}

/// What is left of a character node.
pub(crate) struct Ended {
    pub(crate) live: Live,
    pub(crate) statistics: Statistics,
    pub(crate) measures: Measures,
}

/// What a character performs by itself, in place of what others ask.
pub(crate) struct Performance {
    /// Where to be when.
    pub(crate) path: Vec<Waypoint>,
    /// Seconds until the end.
    pub(crate) seconds: f64,
    /// Seeds of the runs, one after the other.
    pub(crate) seeds: Vec<u32>,
}

impl CharacterNode {
    /// Declares the node's keys, introduces the character to the page, and starts the thread. With
    /// a performance the node ends after it.
    pub(crate) fn start(
        live: Live,
        company: Company<'_>,
        performance: Option<Performance>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let shared = Arc::new(Mutex::new(Statistics::default()));
        let shell = Shell::new(&live, company, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("character".into())
            .spawn(move || shell.run(live, performance, &stop))
            .context("cannot start the character's thread")?;
        Ok(Self {
            thread,
            statistics: shared,
        })
    }

    pub(crate) fn statistics(&self) -> Statistics {
        *self
            .statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(self) -> Result<Ended> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the character's thread panicked"),
        }
    }
}

/// Performs as fast as frames can be made, in virtual time: poses go to the recorder alone, with the
/// times that they would have had.
pub(crate) fn perform(
    live: Live,
    tap: Tap,
    rate: PoseRate,
    performance: &Performance,
    stop: &AtomicBool,
) -> Result<Ended> {
    let company = Company {
        node: None,
        page: None,
        engines: Engines::off(),
        acts: Acts::new(None),
        tap,
        rate,
    };
    let mut shell = Shell::new(&live, company, Arc::default())?;
    let mut live = live;
    let mut frame_ns = Monotonic.now_ns();
    let ticks = (performance.seconds * rate.hz()).round() as u64;
    for seed in &performance.seeds {
        live = shell.begin(live, performance, *seed, frame_ns)?;
        for _ in 0..ticks {
            if stop.load(Ordering::Relaxed) {
                return Ok(shell.end(live));
            }
            frame_ns += rate.period_ns();
            shell.pose(&mut live, 1, Monotonic.now_ns(), frame_ns)?;
        }
    }
    Ok(shell.end(live))
}
