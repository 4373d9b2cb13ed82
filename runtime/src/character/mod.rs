//! The character node: control in, poses out, at a fixed rate, with the page beside it.
//!
//! One thread owns LibTorch. At every deadline it takes what has arrived (the newest control counts,
//! whether it came over zenoh, from the page or from an engine), makes the frame that falls due, and
//! hands the pose to zenoh, page, engines and recorder. Periods that passed without a pose are left out and counted; the
//! character's time goes on over them.

pub mod acts;
pub mod clip_recording;
pub mod live;
mod shell;
pub mod shown;
mod telling;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use crossbeam_channel::Receiver;
use kinestream_bridge::Node;
use kinestream_control::{Clock, Monotonic, Percentiles};
use kinestream_motion::controller::{Controller, ControllerOptions, Counts, Measures};
use kinestream_motion::crowd::{CharacterBatch, SteeringTarget};
use kinestream_motion::emdm::Emdm;
use kinestream_motion::model::MotionModel;
use kinestream_motion::performer::{ActionRequest, ClipPlayer};
use kinestream_motion::stick::Waypoint;
use kinestream_viewer::character::ViewerHandle;

use self::acts::{ActCounts, ActionQueue};
use self::live::Live;
use self::shell::Shell;
use super::engines::{EngineCounts, Engines};
use crate::recording::RecordSink;

/// Poses per second, as whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoseRate(u32);

impl PoseRate {
    /// At least the rate of frames, so that none is left out; at most what engines draw.
    pub fn new(rate_hz: u32) -> Result<Self> {
        ensure!(
            (30..=240).contains(&rate_hz),
            "--rate is {rate_hz}, expected 30 to 240 poses per second"
        );
        Ok(Self(rate_hz))
    }

    /// How often, in Hz.
    pub fn hz(self) -> f64 {
        f64::from(self.0)
    }

    fn period_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.0)
    }
}

/// Frames before the first that counts: LibTorch picks kernels and allocates.
const WARM_UP: usize = 30;

/// A character that stands, ready to be steered, and to perform what a model of clips knows.
pub fn character(
    model: MotionModel,
    clips: Option<Emdm>,
    seed: u32,
) -> Result<Controller<ClipPlayer>> {
    let starts = model.starts();
    ensure!(
        starts.size()[0] > 0,
        "the motion model has no frame to begin with; train it again"
    );
    let mut crowd = CharacterBatch::new(model, &starts.narrow(0, 0, 1), &[u64::from(seed)])?;
    for _ in 0..WARM_UP {
        crowd.advance(&[SteeringTarget::default()])?;
    }
    Ok(Controller::new(
        ClipPlayer::new(crowd, clips, 0),
        u64::from(seed),
        ControllerOptions::default(),
    )?)
}

/// What a character did so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics {
    /// What was asked of the character.
    pub counts: Counts,
    /// Poses handed to zenoh, page and recorder.
    pub poses: u64,
    /// Controls that decoded, over zenoh.
    pub controls: u64,
    /// Of these, given up unread because a newer one was there.
    pub superseded: u64,
    /// Payloads that did not decode.
    pub malformed: u64,
    /// Periods that passed without a pose.
    pub missed: u64,
    /// From the moment at which a frame was due to its pose.
    pub latency_ms: Percentiles,
    /// The newest of these.
    pub last_latency_ms: f64,
    /// What engines got and said.
    pub engines: EngineCounts,
    /// What it was asked to perform.
    pub acts: ActCounts,
}

/// Who takes part.
pub struct CharacterIo<'a> {
    /// The zenoh node; none for nobody outside.
    pub node: Option<&'a Arc<Node>>,
    /// The page.
    pub page: Option<ViewerHandle>,
    /// Game engines.
    pub engines: Engines,
    /// Where requests to perform something are taken, and where they come out.
    pub acts: (ActionQueue, Receiver<ActionRequest>),
    /// The recorder.
    pub tap: RecordSink,
    /// How many poses they get.
    pub rate: PoseRate,
}

/// A running character node.
pub struct CharacterNode {
    thread: JoinHandle<Result<Ended>>,
    statistics: Arc<Mutex<Statistics>>,
}

/// What is left of a character node.
pub struct Ended {
    /// The character.
    pub live: Live,
    /// What was done so far.
    pub statistics: Statistics,
    /// How its motion fared.
    pub measures: Measures,
}

/// What a character performs by itself, in place of what others ask.
pub struct Performance {
    /// Where to be when.
    pub path: Vec<Waypoint>,
    /// Seconds until the end.
    pub seconds: f64,
    /// Seeds of the runs, one after the other.
    pub seeds: Vec<u32>,
}

impl CharacterNode {
    /// Declares the node's keys, introduces the character to the page, and starts the thread. With
    /// a performance the node ends after it.
    pub fn start(
        live: Live,
        company: CharacterIo<'_>,
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

    /// What was done so far.
    pub fn statistics(&self) -> Statistics {
        *self
            .statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread.
    pub fn join(self) -> Result<Ended> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the character's thread panicked"),
        }
    }
}

/// Performs as fast as frames can be made, in virtual time: poses go to the recorder alone, with the
/// times that they would have had.
pub fn perform(
    live: Live,
    tap: RecordSink,
    rate: PoseRate,
    performance: &Performance,
    stop: &AtomicBool,
) -> Result<Ended> {
    let company = CharacterIo {
        node: None,
        page: None,
        engines: Engines::off(),
        acts: ActionQueue::new(None),
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
