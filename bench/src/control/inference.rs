//! The policy beside the loop: it plays Push-T in the simulator and publishes its plans.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kinestream_control::{
    Clock, Latencies, Monotonic, Percentiles, Plan, PlanHeader, PlanWriter, realtime,
};
use kinestream_diffusion::Execution;
use kinestream_policy::Policy;
use kinestream_sim::pusht::{OBSERVATION_SIZE, PushT};
use serde::Serialize;

use kinestream_command_line::bench::{BenchControlArguments, BesidePolicy};
use kinestream_runtime::{checkpoint, device};

/// Answers before the measurement begins: LibTorch picks kernels and allocates.
const WARM_UP: u64 = 50;
/// Steps of an episode in the simulator.
const EPISODE: u64 = 300;

/// A policy at work on a thread of its own.
pub(super) struct Inference {
    thread: JoinHandle<Result<InferenceReport>>,
    /// Where plans go; the loop's slices have a hand-off each.
    writer: Arc<Mutex<Option<PlanWriter>>>,
    plans: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    positions: usize,
    action_size: usize,
}

/// What the policy did meanwhile.
#[derive(Debug, Serialize)]
pub(super) struct InferenceReport {
    /// Observations answered.
    pub(super) observations: u64,
    /// Network evaluations that this took.
    pub(super) evaluations: u64,
    /// Plans handed to the loop.
    pub(super) plans: u64,
    /// For observations that cost network evaluations.
    pub(super) observation_to_action_ms: Percentiles,
    pub(super) threads: usize,
    /// The processor that it was pinned to, if it was.
    pub(super) cpu: Option<usize>,
}

struct Player {
    policy: Policy,
    world: PushT,
    continuous: bool,
    /// Observations answered, and plans made.
    answers: u64,
    latencies: Latencies,
}

impl Inference {
    /// Loads the policy, warms it up and starts it.
    pub(super) fn start(
        arguments: &BenchControlArguments,
        wanted: BesidePolicy,
        cpu: Option<usize>,
    ) -> Result<Self> {
        let device = device::parse("cpu")?;
        let threads = device::set_threads(Some(arguments.threads))?;
        let folder = arguments
            .checkpoint
            .clone()
            .unwrap_or_else(|| checkpoint::SHIPPED.into());
        let policy = Policy::executed(
            checkpoint::open(&folder, device)?,
            device,
            1,
            Execution::auto(threads),
        )?;
        // More threads than one would share the processor that the first is pinned to.
        let cpu = cpu.filter(|_| threads == 1);
        let positions = policy.config().plan.horizon;
        let action_size = policy.action_size();
        let mut player = Player::new(policy, wanted == BesidePolicy::Continuous)?;
        let writer = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let plans = Arc::new(AtomicU64::new(0));
        let (handed, count, seen) = (Arc::clone(&writer), Arc::clone(&plans), Arc::clone(&stop));
        let play = move || {
            if let Some(cpu) = cpu {
                realtime::pin_current_thread(cpu)?;
            }
            let (answers, evaluations) = (player.answers, player.policy.evaluations());
            player.play(&handed, &count, &seen)?;
            Ok(InferenceReport {
                observations: player.answers - answers,
                evaluations: player.policy.evaluations() - evaluations,
                plans: count.load(Ordering::Relaxed),
                observation_to_action_ms: player.latencies.percentiles_ms(),
                threads,
                cpu,
            })
        };
        let thread = std::thread::Builder::new()
            .name("policy".into())
            .spawn(play)
            .context("cannot start the policy thread")?;
        Ok(Self {
            thread,
            writer,
            plans,
            stop,
            positions,
            action_size,
        })
    }

    /// Positions of a plan at most, and numbers of an action.
    pub(super) fn plan_size(&self) -> (usize, usize) {
        (self.positions, self.action_size)
    }

    /// Has plans go there from now on. Returns how to find out whether one has arrived, or none
    /// ever will.
    pub(super) fn publish_to(&self, writer: PlanWriter) -> impl Fn() -> bool {
        let mut current = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(writer);
        let before = self.plans.load(Ordering::Relaxed);
        move || self.plans.load(Ordering::Relaxed) > before || self.thread.is_finished()
    }

    /// Ends it.
    pub(super) fn finish(self) -> Result<InferenceReport> {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.join() {
            Ok(report) => report.context("the policy beside the loop"),
            Err(_) => bail!("the policy thread panicked"),
        }
    }
}

impl Player {
    fn new(policy: Policy, continuous: bool) -> Result<Self> {
        ensure!(
            policy.observation_size() == OBSERVATION_SIZE && policy.action_size() == 2,
            "the checkpoint maps {} numbers to {}, Push-T needs {OBSERVATION_SIZE} to 2",
            policy.observation_size(),
            policy.action_size(),
        );
        let mut player = Self {
            policy,
            world: PushT::new(),
            continuous,
            answers: 0,
            latencies: Latencies::new(),
        };
        for _ in 0..WARM_UP {
            player.answer()?;
        }
        player.latencies.clear();
        Ok(player)
    }

    /// Plays until told to stop; counts the plans that the loop was handed.
    fn play(
        &mut self,
        writer: &Mutex<Option<PlanWriter>>,
        plans: &AtomicU64,
        stop: &AtomicBool,
    ) -> Result<()> {
        let period = Duration::from_secs_f64(1.0 / self.policy.config().task.rate_hz);
        let mut due = Instant::now();
        while !stop.load(Ordering::SeqCst) {
            let plan = self.answer()?;
            if Instant::now() >= due {
                if let Some(writer) = &mut *writer.lock().unwrap_or_else(PoisonError::into_inner) {
                    writer.publish(&plan)?;
                    plans.fetch_add(1, Ordering::Relaxed);
                }
                due += period;
            }
            if !self.continuous {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(())
    }

    /// One observation, its plan, and one step of the simulator by the plan's first action.
    fn answer(&mut self) -> Result<Plan> {
        if self.answers.is_multiple_of(EPISODE) {
            let episode = self.answers / EPISODE;
            self.world.reset(100_000 + episode as u32);
            self.policy.reset(0, episode)?;
        } else {
            // As many as make the next observation cost what a new plan costs, or one per period.
            let steps = self.policy.config().plan.action_steps;
            self.policy
                .advance(0, if self.continuous { steps } else { 1 });
        }
        let observation = self.world.observation().map(|value| value as f32);
        let before = self.policy.evaluations();
        let begun = Instant::now();
        self.policy.observe(0, &observation)?;
        while self.policy.refine(&[0])? > 0 {}
        let plan = self.policy.plan(0)?;
        if self.policy.evaluations() > before {
            self.latencies.record(begun.elapsed().as_nanos() as u64);
        }
        self.answers += 1;
        let size = self.policy.action_size();
        let actions = &plan.actions[plan.current * size..];
        self.world
            .step([f64::from(actions[0]), f64::from(actions[1])])?;
        let header = PlanHeader {
            stream: 0,
            chunk: self.answers,
            observation_sequence: self.answers,
            start_ns: Monotonic.now_ns(),
            period_ns: (1e9 / self.policy.config().task.rate_hz) as u64,
            action_size: size,
            committed: plan.committed,
        };
        Ok(Plan::new(header, actions.to_vec())?)
    }
}
