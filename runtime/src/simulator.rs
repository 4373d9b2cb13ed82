//! The simulator node: Push-T in real time, observations out, commands in.
//!
//! Physics runs at 100 Hz on the latest command that arrived; every tenth step ends a control step,
//! is scored as the protocol says, and sends an observation. What a person does on the viewer page
//! arrives between two steps.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use kinestream_bridge::node::{Channel, Inbox, Publisher};
use kinestream_bridge::wire::{ImageEncoding, Name, Request, Values};
use kinestream_bridge::{Action, Command, Image, Node, Observation};
use kinestream_control::{Clock, Monotonic, Schedule};
use kinestream_sim::environment::EpisodeEnd;
use kinestream_sim::evaluation::Episode;
use kinestream_sim::pusht::{
    self, CONTROL_STEP, IMAGE_SIZE, PHYSICS_STEP, PushT, State, StepOutcome,
};
use kinestream_viewer::pusht::{Input, RunState, ViewerHandle};

use crate::INBOX_CAPACITY;
use crate::clock::stamp;
use crate::recording::{RecordSink, SimInput, SimStep};
use crate::sight::ObservationMode;

/// Physics steps in one control step.
const PHYSICS_PER_CONTROL: u64 = (CONTROL_STEP / PHYSICS_STEP) as u64;

/// What the simulator shows to others.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Where everything is; none before the first reset.
    pub state: Option<State>,
    /// What the newest step came to.
    pub outcome: Option<StepOutcome>,
    /// Where the agent is led.
    pub target: [f64; 2],
    /// Number of the episode, from 0 on.
    pub episode: u64,
    /// Its seed.
    pub seed: u32,
    /// Control steps of it.
    pub step: u64,
    /// Its largest reward so far.
    pub best: f64,
    /// Whether it runs.
    pub run_state: RunState,
    /// Episodes that have ended.
    pub episodes: Vec<Episode>,
    /// Commands that came.
    pub actions_received: u64,
    /// Physics steps that came too late.
    pub missed: u64,
}

/// What a simulator node is asked to do.
#[derive(Debug, Clone)]
pub struct SimulatorOptions {
    /// What it shows of the world.
    pub sight: ObservationMode,
    /// Seed of the first episode.
    pub seed: u32,
    /// Episodes until the end; 0 for no end.
    pub episodes: u64,
}

/// A running simulator node.
pub struct SimulatorNode {
    thread: JoinHandle<Result<Vec<Episode>>>,
    snapshot: Arc<Mutex<Snapshot>>,
}

struct Shell {
    world: PushT,
    actions: Inbox<Action>,
    observations: Publisher,
    pictures: Option<Publisher>,
    resets: Publisher,
    viewer: Option<ViewerHandle>,
    tap: RecordSink,
    snapshot: Arc<Mutex<Snapshot>>,
    options: SimulatorOptions,
    target: Option<[f64; 2]>,
    sequence: u64,
    stream: u32,
    seed: u32,
    /// Physics steps since the reset.
    step: u64,
    best: f64,
    episodes: Vec<Episode>,
    actions_received: u64,
    paused: bool,
    held: bool,
}

impl SimulatorNode {
    /// Declares the node's keys and starts its thread.
    pub fn start(
        node: &Node,
        options: SimulatorOptions,
        viewer: Option<ViewerHandle>,
        tap: RecordSink,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let camera = options.sight.cameras().next();
        let pictures = camera
            .map(|camera| node.publisher(Channel::Image(camera)))
            .transpose()?;
        let shell = Shell {
            world: PushT::new(),
            actions: node.inbox(&node.keys().action(), INBOX_CAPACITY)?,
            observations: node.publisher(Channel::Observation("state"))?,
            pictures,
            resets: node.publisher(Channel::Command("reset"))?,
            viewer,
            tap,
            snapshot: Arc::clone(&snapshot),
            target: None,
            sequence: 0,
            stream: 0,
            seed: options.seed,
            options,
            step: 0,
            best: 0.0,
            episodes: Vec::new(),
            actions_received: 0,
            paused: false,
            held: false,
        };
        let thread = std::thread::Builder::new()
            .name("simulator".into())
            .spawn(move || shell.run(&stop))
            .context("cannot start the simulator thread")?;
        Ok(Self { thread, snapshot })
    }

    /// How things are.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread; returns the episodes.
    pub fn join(self) -> Result<Vec<Episode>> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the simulator thread panicked"),
        }
    }
}

impl Shell {
    fn run(mut self, stop: &AtomicBool) -> Result<Vec<Episode>> {
        while !stop.load(Ordering::SeqCst) && !self.is_met() {
            // Nothing moves before somebody listens: the first observations would be lost.
            let met = |publisher: &Publisher| publisher.wait_until_matched(crate::POLL_TIMEOUT);
            if met(&self.observations)
                && met(&self.resets)
                && self.pictures.as_ref().is_none_or(met)
            {
                break;
            }
        }
        self.begin(self.options.seed)?;
        let period_ns = (PHYSICS_STEP * 1e9) as u64;
        let mut schedule = Schedule::new(Monotonic.now_ns(), period_ns);
        while !stop.load(Ordering::SeqCst) {
            let (_, deadline_ns) = schedule.next(Monotonic.now_ns());
            Monotonic.sleep_until(deadline_ns);
            if self.tick()?.is_break() {
                break;
            }
            self.show(schedule.missed());
        }
        self.show(schedule.missed());
        Ok(self.episodes)
    }

    fn is_met(&self) -> bool {
        let pictures = self.pictures.as_ref();
        self.observations.is_matched()
            && self.resets.is_matched()
            && pictures.is_none_or(Publisher::is_matched)
    }

    fn tick(&mut self) -> Result<ControlFlow<()>> {
        while let Some(input) = self.viewer.as_ref().and_then(ViewerHandle::try_next_input) {
            self.take(input)?;
        }
        while let Some(action) = self.actions.try_next() {
            if action.stamp.stream == self.stream && action.values.len() == 2 {
                self.actions_received += 1;
                self.target = Some([f64::from(action.values[0]), f64::from(action.values[1])]);
            }
        }
        if self.paused {
            return Ok(ControlFlow::Continue(()));
        }
        if self.step.is_multiple_of(PHYSICS_PER_CONTROL) {
            if self.step > 0 {
                let outcome = self.world.outcome();
                self.best = self.best.max(outcome.reward);
                let steps = self.step / PHYSICS_PER_CONTROL;
                if outcome.success || steps >= pusht::SPEC.max_steps as u64 {
                    return self.finish(outcome, steps);
                }
            }
            self.observe()?;
        }
        let target = self.target.unwrap_or(self.world.state().agent_position);
        self.world.physics_step(target)?;
        // Physics lets a T be squeezed through a wall; a person gets it back.
        self.world.return_block()?;
        self.step += 1;
        self.record(target);
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, outcome: StepOutcome, steps: u64) -> Result<ControlFlow<()>> {
        self.episodes.push(Episode {
            seed: self.seed,
            score: self.best,
            success: outcome.success,
            steps: steps as usize,
            end: Some(match outcome.success {
                true => EpisodeEnd::Success,
                false => EpisodeEnd::TimeLimit,
            }),
            route: None,
        });
        if self.options.episodes > 0 && self.episodes.len() as u64 >= self.options.episodes {
            return Ok(ControlFlow::Break(()));
        }
        self.begin(self.seed.wrapping_add(1))?;
        Ok(ControlFlow::Continue(()))
    }

    fn begin(&mut self, seed: u32) -> Result<()> {
        self.world.reset(seed);
        self.seed = seed;
        self.stream = self.stream.wrapping_add(1);
        self.step = 0;
        self.best = 0.0;
        self.target = None;
        self.sequence += 1;
        let stream = self.stream;
        self.record_input(&SimInput::Reset { seed, stream });
        let command = Command {
            stamp: stamp(self.sequence, stream),
            request: Request::Reset {
                seed: u64::from(seed),
            },
        };
        self.tap.wire("cmd/reset", Monotonic.now_ns(), &command);
        self.resets.publish(&command)?;
        Ok(())
    }

    fn observe(&mut self) -> Result<()> {
        self.sequence += 1;
        let (stamp, sight) = (stamp(self.sequence, self.stream), &self.options.sight);
        if let (Some(publisher), Some(camera), Some(data)) = (
            &mut self.pictures,
            sight.cameras().next(),
            sight.pictures(&self.world).pop(),
        ) {
            // The picture first: an observation that comes finds its own.
            publisher.publish(&Image {
                stamp,
                name: Name::new(camera)?,
                width: IMAGE_SIZE as u32,
                height: IMAGE_SIZE as u32,
                encoding: ImageEncoding::Rgb8,
                data,
            })?;
        }
        self.observations.publish(&Observation {
            stamp,
            name: Name::new("state")?,
            values: Values::F64(sight.numbers(&self.world)),
        })?;
        Ok(())
    }

    fn take(&mut self, input: Input) -> Result<()> {
        match input {
            Input::DragBlock { x, y, angle } => {
                self.held = true;
                let position = [x, y];
                self.world.move_block(position, angle)?;
                self.record_input(&SimInput::MoveBlock { position, angle });
            }
            Input::ReleaseBlock => self.held = false,
            Input::PushAgent { vx, vy } => {
                let velocity = [vx, vy];
                self.world.push_agent(velocity)?;
                self.record_input(&SimInput::PushAgent { velocity });
            }
            Input::Pause => self.paused = true,
            Input::Resume => self.paused = false,
            Input::Reset { seed } => {
                self.paused = false;
                self.begin(seed.unwrap_or(self.seed))?;
            }
        }
        Ok(())
    }

    fn record(&self, target: [f64; 2]) {
        if !self.tap.is_on() {
            return;
        }
        let (state, outcome) = (self.world.state(), self.world.outcome());
        let [x, y] = state.block_position;
        let step = SimStep {
            seed: self.seed,
            stream: self.stream,
            step: self.step,
            target,
            agent: state.agent_position,
            block: [x, y, state.block_angle],
            coverage: outcome.coverage,
            reward: outcome.reward,
        };
        self.tap.sim_step(Monotonic.now_ns(), &step);
    }

    fn record_input(&self, input: &SimInput) {
        self.tap.sim_input(Monotonic.now_ns(), input);
    }

    fn show(&self, missed: u64) {
        let run_state = match (self.paused, self.held) {
            (true, _) => RunState::Paused,
            (_, true) => RunState::Held,
            _ => RunState::Running,
        };
        let state = self.world.state();
        let outcome = self.world.outcome();
        let mut shared = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what is new is copied: this runs at every physics step.
        let mut episodes = std::mem::take(&mut shared.episodes);
        episodes.extend_from_slice(&self.episodes[episodes.len()..]);
        *shared = Snapshot {
            outcome: Some(outcome),
            target: self.target.unwrap_or(state.agent_position),
            state: Some(state),
            episode: self.episodes.len() as u64 + 1,
            seed: self.seed,
            step: self.step / PHYSICS_PER_CONTROL,
            best: self.best,
            run_state,
            episodes,
            actions_received: self.actions_received,
            missed,
        };
    }
}
