//! `kinestream demo pusht`: runtime and simulator as two zenoh nodes in one process, and the viewer page.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use kinestream_bridge::node::loopback_pair;
use kinestream_bridge::{Inbox, Node, Plan as WirePlan, Presence};
use kinestream_control::Percentiles;
use kinestream_policy::Policy;
use kinestream_sim::evaluation::{self, Episode};
use kinestream_sim::pusht::{self, GOAL_POSE};
use kinestream_viewer::pusht::{Frame, Latency};
use serde::Serialize;
use serde_json::json;
use tch::Device;

use crate::commands::page::page_options;
use kinestream_command_line::{DemoArguments, DemoPolicy};
use kinestream_runtime::config::{self, Config};
use kinestream_runtime::page::{self, FRAME, Meter, Page};
use kinestream_runtime::policy::PolicyStatistics;
use kinestream_runtime::recording::RecordSink;
use kinestream_runtime::run_settings::WrittenKeys;
use kinestream_runtime::runtime::{Runtime, RuntimeReport};
use kinestream_runtime::session_stop::SessionStop;
use kinestream_runtime::sight::ObservationMode;
use kinestream_runtime::simulator::{SimulatorNode, SimulatorOptions, Snapshot};
use kinestream_runtime::{checkpoint, device, recording, shutdown};
use kinestream_terminal::output;
use kinestream_terminal::say;

#[derive(Debug, Serialize)]
struct Report {
    task: &'static str,
    seeds: Vec<u32>,
    scores: Vec<f64>,
    mean_max_reward: Option<f64>,
    success_rate: Option<f64>,
    episodes: Vec<Episode>,
    actions_published: u64,
    actions_received: u64,
    plans_published: u64,
    evaluations_per_action: f64,
    latency_ms: Percentiles,
    command_lateness_us: Percentiles,
    missed: u64,
    wall_s: f64,
}

pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    ensure!(
        !arguments.engines.is_given(),
        "--vmc, --live-link, --websocket and --humanoid are for `demo motion`: only a character has bones"
    );
    ensure!(
        arguments.listen.is_none(),
        "--listen is for `demo motion`; a policy listens with `kinestream run CONFIG`, where [session] \
         says"
    );
    let built_in = match arguments.policy {
        DemoPolicy::State => config::BUILT_IN,
        DemoPolicy::Image => config::BUILT_IN_IMAGE,
    };
    let mut config = Config::parse(built_in, "the built-in configuration")?;
    // Nobody wrote it: another checkpoint runs as it was trained.
    config.written = WrittenKeys::default();
    if let Some(folder) = &arguments.checkpoint {
        config.runtime.checkpoint.clone_from(folder);
    }
    device::set_threads(Some(config.runtime.threads))?;
    let opened = checkpoint::open_to_run(&mut config, Device::Cpu)?;
    let policy = Policy::executed(
        opened.checkpoint,
        Device::Cpu,
        1,
        config.runtime.execution(),
    )?;
    let stop = shutdown::flag()?;
    kinestream_runtime::descriptors::raise();
    let session = Session::open(&config.runtime.robot)?;
    let page = if arguments.headless {
        None
    } else {
        let emergency_stop = SessionStop::new(Arc::clone(&session.observer))?;
        let emergency_stop = Some(Arc::new(emergency_stop) as _);
        Some(Page::open_with(
            &page_options(&arguments.page),
            &stop,
            emergency_stop,
        )?)
    };
    let begun = Instant::now();
    let seeds = [u64::from(arguments.seed)];
    let tap = recording::tap(arguments.record.as_deref(), "demo", &config, &seeds)?;
    let mut system = System::start(
        session,
        &config,
        policy,
        arguments,
        page.as_ref(),
        &tap,
        &stop,
    )?;
    if let Some(page) = &page {
        eprintln!("kinestream demo: open {}  (Ctrl-C ends it)", page.url());
    }
    let bar = output::progress(arguments.episodes, "episodes");
    let mut meter = Meter::new();
    let mut shown = None;
    let is_over = || {
        arguments
            .seconds
            .is_some_and(|most| begun.elapsed().as_secs_f64() >= most)
    };
    while !system.has_ended() && !stop.load(Ordering::SeqCst) && !is_over() {
        std::thread::sleep(FRAME);
        system.runtime.tell()?;
        let (snapshot, statistics) = (system.simulator.snapshot(), system.runtime.statistics());
        bar.set_position(snapshot.episodes.len() as u64);
        bar.set_message(format!("score {:.2}", snapshot.best));
        meter.measure(statistics.plans, system.runtime.published());
        if let Some(page) = &page {
            // Plans are rarer than pictures: the last one stays until the next arrives.
            shown = system.plans.latest().or(shown);
            page.handle().publish(Frame {
                health: health(&system.runtime),
                has_stop: true,
                nodes: system.presence.alive(),
                missed: system.runtime.health().map_or(0, |it| it.control.missed),
                ..frame(&snapshot, &statistics, shown.as_ref(), &meter)
            });
        }
    }
    bar.finish_and_clear();
    let report = system.finish(begun);
    let recorded = recording::finish(&tap);
    stop.store(true, Ordering::SeqCst);
    if let Some(page) = page {
        page.close()?;
    }
    let shown = report.and_then(|report| show(&report, arguments.json));
    recording::and_recorded(shown, recorded)
}

fn show(report: &Report, json: bool) -> Result<()> {
    if json {
        return output::json(report);
    }
    print(report);
    Ok(())
}

/// The demo's nodes: runtime, simulator and page meet over zenoh, as they would on three machines.
struct Session {
    runtime: Arc<Node>,
    simulator: Node,
    observer: Arc<Node>,
}

impl Session {
    fn open(robot: &str) -> Result<Self> {
        let (listener, connector) = loopback_pair("kinestream")?;
        Ok(Self {
            runtime: Arc::new(Node::open(&listener, robot, "runtime")?),
            simulator: Node::open(&connector, robot, "simulator")?,
            observer: Arc::new(Node::open(&connector, robot, "viewer")?),
        })
    }
}

/// What runs on the nodes.
struct System {
    runtime: Runtime,
    simulator: SimulatorNode,
    simulator_stop: Arc<AtomicBool>,
    plans: Inbox<WirePlan>,
    presence: Presence,
    _session: Session,
}

impl System {
    fn start(
        session: Session,
        config: &Config,
        policy: Policy,
        arguments: &DemoArguments,
        page: Option<&Page>,
        tap: &RecordSink,
        shutdown: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let info = json!({ "policy": policy.config(), "control": config.control });
        let options = SimulatorOptions {
            sight: ObservationMode::of(
                &pusht::SPEC,
                &policy.config().task,
                Some(policy.observation_size()),
            )?,
            seed: arguments.seed,
            episodes: arguments.episodes,
        };
        let robot = std::slice::from_ref(&session.runtime);
        let runtime = Runtime::start(robot, config, policy, &info, tap, shutdown, None)?;
        let observer = &session.observer;
        let plans = observer.inbox(&observer.keys().plan(), 1)?;
        let viewer = page.map(|page| page.handle().clone());
        let simulator_stop = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&simulator_stop);
        let simulator =
            SimulatorNode::start(&session.simulator, options, viewer, tap.clone(), stop)?;
        Ok(Self {
            runtime,
            simulator,
            simulator_stop,
            plans,
            // The others meet the runtime only.
            presence: session.runtime.presence()?,
            _session: session,
        })
    }

    fn has_ended(&self) -> bool {
        self.runtime.has_ended() || self.simulator.has_ended()
    }

    fn finish(self, begun: Instant) -> Result<Report> {
        let snapshot = self.simulator.snapshot();
        // The runtime first: what it commands on its way to rest still has a robot.
        let ended = self.runtime.finish();
        self.simulator_stop.store(true, Ordering::SeqCst);
        let episodes = self.simulator.join()?;
        let RuntimeReport {
            statistics,
            published,
            timing,
            ..
        } = ended?.remove(0);
        let summary = evaluation::summarise(&episodes);
        Ok(Report {
            task: "pusht",
            seeds: episodes.iter().map(|episode| episode.seed).collect(),
            scores: episodes.iter().map(|episode| episode.score).collect(),
            mean_max_reward: summary.mean_max_reward,
            success_rate: summary.success_rate,
            episodes,
            actions_published: published,
            actions_received: snapshot.actions_received,
            plans_published: statistics.plans,
            evaluations_per_action: statistics.evaluations as f64 / statistics.plans.max(1) as f64,
            latency_ms: statistics.latency_ms,
            command_lateness_us: timing.lateness_us,
            missed: timing.missed,
            wall_s: begun.elapsed().as_secs_f64(),
        })
    }
}

fn frame(
    snapshot: &Snapshot,
    statistics: &PolicyStatistics,
    plan: Option<&WirePlan>,
    meter: &Meter,
) -> Frame {
    let Some((state, outcome)) = snapshot.state.zip(snapshot.outcome) else {
        return Frame {
            goal: GOAL_POSE,
            ..Frame::default()
        };
    };
    let [x, y] = state.block_position;
    Frame {
        time: snapshot.step as f64 / 10.0,
        episode: snapshot.episode,
        seed: snapshot.seed,
        step: snapshot.step,
        agent: state.agent_position,
        block: [x, y, state.block_angle],
        goal: GOAL_POSE,
        target: snapshot.target,
        coverage: outcome.coverage,
        reward: outcome.reward,
        best_reward: snapshot.best,
        success: outcome.success,
        plan: page::plan(plan),
        rates: meter.rates(),
        latency: Latency {
            last_ms: statistics.last_latency_ms,
            p50_ms: statistics.latency_ms.p50,
            p99_ms: statistics.latency_ms.p99,
            evaluations_per_action: statistics.evaluations as f64 / statistics.plans.max(1) as f64,
        },
        history: snapshot
            .episodes
            .iter()
            .map(|episode| episode.score as f32)
            .collect(),
        state: snapshot.run_state,
        fault: statistics.fault.clone(),
        ..Frame::default()
    }
}

/// How the runtime fares, in the form in which it is published.
fn health(runtime: &Runtime) -> Option<serde_json::Value> {
    runtime
        .health()
        .and_then(|health| serde_json::to_value(health).ok())
}

fn print(report: &Report) {
    for episode in &report.episodes {
        say!("{episode}");
    }
    if let Some(score) = report.mean_max_reward {
        say!(
            "mean score {score:.3} over {} episodes",
            report.episodes.len()
        );
    }
    say!(
        "{} plans, {} commands; observation to plan p50 {:.2} ms, p99 {:.2} ms; {} periods missed",
        report.plans_published,
        report.actions_published,
        report.latency_ms.p50,
        report.latency_ms.p99,
        report.missed
    );
}
