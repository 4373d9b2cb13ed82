//! `kinestream demo motion`: a character under stick control, on the page, over zenoh and in game
//! engines; headless, the scripted course and what it measured.

mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use kinestream_bridge::{Node, NodeError, SessionOptions};
use kinestream_diffusion::Execution;
use kinestream_motion::controller::Goal;
use kinestream_motion::course::course;
use kinestream_motion::data::FRAME_RATE;
use kinestream_motion::emdm::Emdm;
use kinestream_motion::metrics::settle_seconds;
use kinestream_motion::model::MotionModel;
use kinestream_motion::stick::JoystickInput;
use kinestream_viewer::character::Character;
use nalgebra::Vector2;
use serde_json::json;
use tch::Device;

use self::report::Done;
use crate::commands::page::page_options;
use kinestream_command_line::DemoArguments;
use kinestream_runtime::character::acts::{ActionQueue, Requests};
use kinestream_runtime::character::live::{Live, skeleton_info};
use kinestream_runtime::character::{
    CharacterIo, CharacterNode, Ended, Performance, PoseRate, character, perform,
};
use kinestream_runtime::engines::{EngineOptions, Engines};
use kinestream_runtime::page::Page;
use kinestream_runtime::recording::{CheckpointIdentity, RecordSink, RecordingHeader};
use kinestream_runtime::{checkpoint, device, recording, shutdown};
use kinestream_terminal::output;

/// Where requests to perform something are taken, and where they come out.
type Desk = (ActionQueue, Requests);
/// Where a character listens that is there to be steered.
const USUAL_ADDRESS: &str = "tcp/127.0.0.1:7447";
/// Time between two looks at what there is to do.
const GLANCE: Duration = Duration::from_millis(20);
/// Speed of the half turn, m/s, and seconds before and after it.
const RUN: f64 = 3.5;
const BEFORE: f64 = 3.0;
const AFTER: f64 = 3.0;
/// Most runs of the course.
const MOST_RUNS: u64 = 10_000;
/// Heading error below which a turn has settled, rad.
const SETTLED: f64 = 10.0 * std::f64::consts::PI / 180.0;

pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    ensure!(
        arguments.headless || arguments.episodes == 0,
        "--episodes is {}, but a character that you steer has none; add --headless for runs of the \
         course",
        arguments.episodes
    );
    let rate = PoseRate::new(arguments.rate)?;
    let asked = &arguments.engines;
    let options = EngineOptions {
        vmc: asked.vmc.clone(),
        live_link: asked.live_link.clone(),
        websocket: asked.websocket.clone(),
        token_file: arguments.page.token_file.clone(),
        humanoid: asked.humanoid.clone(),
    };
    ensure!(
        options.is_on() || options.humanoid.is_none(),
        "--humanoid says how engines are told, but there are none; add --vmc, --live-link or \
         --websocket"
    );
    let threads = device::set_threads(Some(1))?;
    let folder = arguments
        .checkpoint
        .as_deref()
        .unwrap_or(checkpoint::SHIPPED_MOTION.as_ref());
    let found = checkpoint::locate(folder);
    ensure!(
        found.exists(),
        "{}: there is no motion model here; train one with `kinestream train \
         configs/motion-aamdm.toml --data MOCAP --out runs/aamdm` and name its folder with \
         --checkpoint",
        folder.display()
    );
    let mut model = MotionModel::load(&found, Device::Cpu)?;
    let executor = model.execute_by(&Execution {
        executor: arguments.executor,
        precision: arguments.precision,
        threads,
    })?;
    let clips = clips(arguments)?;
    let acts = ActionQueue::new(clips.as_ref().map(|clips| clips.repertoire().clone()));
    let live = Live::new(character(model, clips, arguments.seed)?, arguments.seed);
    let stop = shutdown::flag()?;
    kinestream_runtime::descriptors::raise();
    let character = live.controller();
    let skeleton = skeleton_info(character.skeleton(), character.feet());
    let engines = Engines::open(
        &options,
        &arguments.name,
        &skeleton,
        rate.hz(),
        &acts.0,
        &stop,
    )?;
    let tap = match &arguments.record {
        None => RecordSink::off(),
        Some(path) => {
            let described = json!({
                "character": arguments.name,
                "skeleton": skeleton.to_value()?,
                // What made the frames: those of recordings that do not say it were LibTorch's.
                "runtime": { "executor": executor, "precision": arguments.precision },
            });
            let opening = RecordingHeader {
                checkpoint: Some(CheckpointIdentity::of_motion(folder)?),
                seeds: vec![u64::from(arguments.seed)],
                threads: Some(threads),
                ..RecordingHeader::new("demo motion", &described)?
            };
            RecordSink::create(path, &opening)?
        }
    };
    let begun = Instant::now();
    let done = if arguments.headless {
        headless(live, arguments, rate, (engines, acts), &tap, &stop)
    } else {
        steered(live, arguments, rate, (engines, acts), &tap, &stop)
    };
    let recorded = recording::finish(&tap);
    let shown = done.and_then(|done| {
        let report = done.report(&found.display().to_string(), begun);
        if arguments.json {
            return output::json(&report);
        }
        report::print(&report);
        Ok(())
    });
    recording::and_recorded(shown, recorded)
}

/// The model of whole clips: as named, or the shipped one if it is there.
fn clips(arguments: &DemoArguments) -> Result<Option<Emdm>> {
    let named = arguments.clips.as_deref();
    let folder = checkpoint::locate(named.unwrap_or(checkpoint::SHIPPED_CLIPS.as_ref()));
    if named.is_none() && !Emdm::is_there(&folder) {
        return Ok(None);
    }
    Ok(Some(Emdm::load(&folder, Device::Cpu)?))
}

/// A person steers, until told to end.
fn steered(
    live: Live,
    arguments: &DemoArguments,
    rate: PoseRate,
    (engines, acts): (Engines, Desk),
    tap: &RecordSink,
    stop: &Arc<AtomicBool>,
) -> Result<Done> {
    let page = Page::<Character>::open(&page_options(&arguments.page), stop)?;
    let node = open(
        arguments,
        arguments.listen.as_deref().unwrap_or(USUAL_ADDRESS),
    )?;
    let seed = live.seed();
    announce(&engines);
    let company = CharacterIo {
        node: Some(&node),
        page: Some(page.handle().clone()),
        engines,
        acts,
        tap: tap.clone(),
        rate,
    };
    let ended = CharacterNode::start(live, company, None, Arc::clone(stop))?;
    eprintln!("kinestream demo: open {}  (Ctrl-C ends it)", page.url());
    let ended = wait(ended, arguments.seconds, stop);
    stop.store(true, Ordering::SeqCst);
    page.close()?;
    let Ended {
        statistics,
        measures,
        ..
    } = ended?;
    Ok(Done {
        seeds: vec![seed],
        runs: 0,
        figures: measures.figures()?,
        statistics,
        turn_180_settle_s: None,
    })
}

/// The course, run after run: in real time where others listen, else as fast as it goes. Then half
/// turns under stick control.
fn headless(
    live: Live,
    arguments: &DemoArguments,
    rate: PoseRate,
    (engines, acts): (Engines, Desk),
    tap: &RecordSink,
    stop: &Arc<AtomicBool>,
) -> Result<Done> {
    let course = course()?;
    let runs = arguments.episodes.max(1);
    ensure!(
        runs <= MOST_RUNS,
        "--episodes is {runs}, expected at most {MOST_RUNS} runs of the course"
    );
    let seeds: Vec<u32> = (0..runs as u32)
        .map(|run| arguments.seed.wrapping_add(run))
        .collect();
    let performance = Performance {
        path: course.path.points().to_vec(),
        seconds: arguments
            .seconds
            .map_or(course.seconds, |most| most.min(course.seconds)),
        seeds: seeds.clone(),
    };
    let Ended {
        mut live,
        statistics,
        measures,
    } = match arguments.listen.as_deref() {
        None if !engines.is_on() => perform(live, tap.clone(), rate, &performance, stop)?,
        address => {
            let node = address
                .map(|address| open(arguments, address))
                .transpose()?;
            announce(&engines);
            let company = CharacterIo {
                node: node.as_ref(),
                page: None,
                engines,
                acts,
                tap: tap.clone(),
                rate,
            };
            let running = CharacterNode::start(live, company, Some(performance), Arc::clone(stop))?;
            wait(running, None, stop)?
        }
    };
    let mut settled = Vec::new();
    for seed in &seeds {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let turned;
        (live, turned) = half_turn(live, *seed)?;
        settled.push(turned.unwrap_or(f64::INFINITY));
    }
    settled.sort_by(f64::total_cmp);
    Ok(Done {
        runs: seeds.len(),
        seeds,
        figures: measures.figures()?,
        statistics,
        turn_180_settle_s: settled
            .get(settled.len() / 2)
            .copied()
            .filter(|seconds| seconds.is_finite()),
    })
}

/// Runs ahead under stick control, turns about, and says when the heading has settled.
fn half_turn(live: Live, seed: u32) -> Result<(Live, Option<f64>)> {
    let mut live = live.restart(seed)?;
    let (before, after) = (
        (BEFORE * FRAME_RATE) as usize,
        (AFTER * FRAME_RATE) as usize,
    );
    let mut headings = Vec::with_capacity(after);
    for frame in 0..before + after {
        let ahead = if frame < before { 1.0 } else { -1.0 };
        live.steer(Goal::Stick(JoystickInput {
            velocity: Vector2::new(0.0, RUN * ahead),
            facing: None,
        }));
        live.tick(1.0 / FRAME_RATE)?;
        if frame >= before {
            headings.push(live.controller().root().heading);
        }
    }
    let asked = vec![std::f64::consts::PI; headings.len()];
    let settled = settle_seconds(&headings, &asked, SETTLED, FRAME_RATE)?;
    Ok((live, settled))
}

/// Says where engines connect.
fn announce(engines: &Engines) {
    if let Some(address) = engines.websocket() {
        eprintln!("kinestream demo: poses for engines on {address}");
    }
}

/// The character's zenoh node.
fn open(arguments: &DemoArguments, address: &str) -> Result<Arc<Node>> {
    let session = SessionOptions {
        listen: vec![address.to_owned()],
        ..SessionOptions::default()
    };
    let node = Node::open(&session, &arguments.name, "character").map_err(|error| match error {
        NodeError::Open { .. } => {
            anyhow!(error).context("no zenoh for the character; name a free address with --listen")
        }
        other => other.into(),
    })?;
    let prefix = node.keys().prefix().to_owned();
    tracing::info!("{prefix}/control in, {prefix}/pose out; listening on {address}");
    Ok(Arc::new(node))
}

/// Waits for the end of a node: its own, a time, or Ctrl-C.
fn wait(node: CharacterNode, seconds: Option<f64>, stop: &AtomicBool) -> Result<Ended> {
    let begun = Instant::now();
    let is_over = || seconds.is_some_and(|most| begun.elapsed().as_secs_f64() >= most);
    let line = output::status_line();
    while !node.has_ended() && !stop.load(Ordering::SeqCst) {
        std::thread::sleep(GLANCE);
        let statistics = node.statistics();
        line.set_message(format!(
            "{} poses, {} frames refused, {} controls",
            statistics.poses, statistics.counts.refused, statistics.counts.taken
        ));
        if is_over() {
            stop.store(true, Ordering::SeqCst);
        }
    }
    line.finish_and_clear();
    node.join()
}
