//! The character node: control in, poses out, at a fixed rate, with the page beside it.
//!
//! One thread owns LibTorch. At every deadline it takes what has arrived (the newest control counts,
//! whether it came over zenoh, from the page or from an engine), makes the frame that falls due, and
//! hands the pose to zenoh, page, engines and recorder. Periods that passed without a pose are left out and counted; the
//! character's time goes on over them.

pub(crate) mod acts;
pub(crate) mod live;
pub(crate) mod shown;
mod telling;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use kinestream_bridge::engines::Ground;
use kinestream_bridge::node::{Channel, Inbox, Publisher, Service};
use kinestream_bridge::wire::Request;
use kinestream_bridge::{ActRequest, Command, Control, Node, act, keys};
use kinestream_control::clock::wake_promptly;
use kinestream_control::{Clock, Latencies, Monotonic, Percentiles, Schedule, TimingGauge};
use kinestream_motion::controller::{Controller, ControllerOptions, Counts, Goal, Measures};
use kinestream_motion::crowd::{Crowd, Wish};
use kinestream_motion::emdm::Emdm;
use kinestream_motion::model::MotionModel;
use kinestream_motion::performer::{Act, Performer};
use kinestream_motion::stick::Waypoint;
use kinestream_sim::viewer::character::{Input, ViewerHandle};

use self::acts::{ActCounts, Acts};
use self::live::{Asked, Due, Live, Message, skeleton_info};
use self::shown::Figure;
use self::telling::{Screen, Teller};
use super::engines::{EngineCounts, Engines};
use super::{INBOX, stamp};
use crate::recording::{Tap, topic};

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

/// Poses after which the percentiles of latency are worked out again.
const POSES_PER_LOOK: u64 = 60;
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

struct Shell {
    wires: Option<Wires>,
    screen: Option<Screen>,
    engines: Engines,
    acts: Acts,
    asked: Receiver<Act>,
    rate: PoseRate,
    teller: Option<Teller>,
    tap: Tap,
    shared: Arc<Mutex<Statistics>>,
    statistics: Statistics,
    latencies: Latencies,
    timing: TimingGauge,
    measures: Measures,
    sequence: u64,
}

/// What travels over zenoh.
struct Wires {
    controls: Inbox<Control>,
    requests: Inbox<Command>,
    poses: Publisher,
    _services: [Service; 3],
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

impl Shell {
    fn new(live: &Live, company: Company<'_>, shared: Arc<Mutex<Statistics>>) -> Result<Self> {
        let character = live.controller();
        let info = skeleton_info(character.skeleton(), character.feet());
        let described = info.to_value()?;
        let figure = Figure::new(&info)?;
        let Company {
            node,
            page,
            engines,
            acts: (acts, asked),
            tap,
            rate,
        } = company;
        tap.json(topic::SKELETON, Monotonic.now_ns(), &described);
        let wires = node
            .map(|node| -> Result<Wires> {
                let described = described.clone();
                let (own, known) = (acts.clone(), acts.described());
                Ok(Wires {
                    controls: node.inbox(&node.keys().control(), INBOX)?,
                    requests: node.inbox(&node.keys().commands(), INBOX)?,
                    poses: node.publisher(Channel::Pose)?,
                    _services: [
                        node.serve(keys::SKELETON, move || described.clone())?,
                        node.serve(keys::ACTIONS, move || known.clone())?,
                        node.serve_requests(keys::ACT, move |payload| answered(&own, payload))?,
                    ],
                })
            })
            .transpose()?;
        let teller = node
            .map(|node| Teller::new(Arc::clone(node), tap.clone(), rate))
            .transpose()?;
        let presence = node.map(|node| node.presence()).transpose()?;
        let screen = page
            .map(|page| Screen::new(page, figure, presence, character, acts.clone()))
            .transpose()?;
        Ok(Self {
            wires,
            screen,
            engines,
            acts,
            asked,
            rate,
            teller,
            tap,
            shared,
            statistics: Statistics::default(),
            latencies: Latencies::new(),
            timing: TimingGauge::default(),
            measures: Measures::new(character)?,
            sequence: 0,
        })
    }

    fn run(
        mut self,
        mut live: Live,
        performance: Option<Performance>,
        stop: &AtomicBool,
    ) -> Result<Ended> {
        let mut seeds = performance
            .iter()
            .flat_map(|performance| &performance.seeds);
        let mut is_over = performance.is_some();
        wake_promptly();
        if performance.is_none() {
            let seed = u64::from(live.seed());
            self.record_request(&live, Request::Reset { seed }, Monotonic.now_ns());
        }
        let period_ns = self.rate.period_ns();
        let mut schedule = Schedule::new(Monotonic.now_ns() + period_ns, period_ns);
        while !stop.load(Ordering::SeqCst) {
            if let Some(performance) = &performance
                && is_over
            {
                let Some(seed) = seeds.next() else {
                    break;
                };
                live = self.begin(live, performance, *seed, Monotonic.now_ns())?;
            }
            let missed = schedule.missed();
            let (_, deadline_ns) = schedule.next(Monotonic.now_ns());
            let woken_ns = Monotonic.sleep_until(deadline_ns);
            self.statistics.missed = schedule.missed();
            let periods = 1 + schedule.missed() - missed;
            if performance.is_none() {
                live = self.listen(live)?;
            }
            if !live.is_paused() {
                self.pose(&mut live, periods, deadline_ns, deadline_ns)?;
            }
            let execution_ns = Monotonic.now_ns().saturating_sub(woken_ns);
            let lateness_ns = woken_ns.saturating_sub(deadline_ns);
            self.timing.record(lateness_ns, execution_ns, periods - 1);
            self.watch(&live, deadline_ns);
            is_over = performance
                .as_ref()
                .is_some_and(|performance| live.seconds() >= performance.seconds - 1e-6);
        }
        Ok(self.end(live))
    }

    /// Sets out on a run of a performance.
    fn begin(
        &mut self,
        live: Live,
        performance: &Performance,
        seed: u32,
        now_ns: u64,
    ) -> Result<Live> {
        let mut live = live.restart(seed)?;
        let seed = u64::from(seed);
        self.record_request(&live, Request::Reset { seed }, now_ns);
        self.measures.begin_run();
        live.steer(Goal::Path(performance.path.clone()));
        Ok(live)
    }

    /// Takes what was asked since the last pose.
    fn listen(&mut self, mut live: Live) -> Result<Live> {
        let mut asked = Vec::new();
        if let Some(wires) = &self.wires {
            let counts = (wires.controls.counts(), wires.requests.counts());
            self.statistics.controls = counts.0.received;
            self.statistics.malformed = counts.0.malformed + counts.1.malformed;
            let mut newest = None;
            while let Some(control) = wires.controls.try_next() {
                self.statistics.superseded += u64::from(newest.is_some());
                newest = Some(control);
            }
            asked.extend(newest.map(Message::Control));
            while let Some(command) = wires.requests.try_next() {
                asked.push(Message::Request(command.request));
            }
        }
        while let Some(input) = self.screen.as_ref().and_then(Screen::next_input) {
            if let Input::Act { action } = &input {
                // The page has the list of what is known; who asks for something else is refused and counted.
                let _ = self.acts.ask(&ActRequest {
                    action: action.clone(),
                    seconds: None,
                    seed: None,
                });
            }
            let stamp = self.stamp(&live);
            asked.push(live.input(input, stamp));
        }
        if let Some(steering) = self.engines.take_steering() {
            let stamp = self.stamp(&live);
            asked.push(Message::Control(live.steered(&steering, stamp)));
        }
        while let Ok(act) = self.asked.try_recv() {
            self.act(&mut live, act);
        }
        for message in asked {
            match message {
                Message::None => {}
                Message::Control(control) => {
                    self.tap.wire(topic::CONTROL, Monotonic.now_ns(), &control);
                    live.control(&control);
                }
                Message::Request(request) => {
                    self.record_request(&live, request, Monotonic.now_ns());
                    if let Asked::Restart(seed) = live.request(&request) {
                        live = live.restart(seed)?;
                    }
                }
            }
        }
        Ok(live)
    }

    /// Performs something; what cannot be performed after all leaves the character as it is.
    fn act(&mut self, live: &mut Live, act: Act) {
        let request = ActRequest {
            action: self.acts.name(act.label).unwrap_or_default().to_owned(),
            seconds: act.seconds,
            seed: Some(act.seed),
        };
        self.tap.json(topic::ACT, Monotonic.now_ns(), &request);
        if let Err(error) = live.act(act) {
            tracing::warn!("`{}` is not performed: {error}", request.action);
        }
    }

    fn record_request(&mut self, live: &Live, request: Request, now_ns: u64) {
        let stamp = self.stamp(live);
        let name = format!("cmd/{}", request.name());
        self.tap.wire(&name, now_ns, &Command { stamp, request });
    }

    fn stamp(&mut self, live: &Live) -> kinestream_bridge::Stamp {
        self.sequence += 1;
        stamp(self.sequence, live.stream())
    }

    /// Makes the pose that is due and hands it to everybody. `due_ns` is the clock's, `frame_ns` the
    /// time that the pose has: the same but in virtual time.
    fn pose(&mut self, live: &mut Live, periods: u64, due_ns: u64, frame_ns: u64) -> Result<()> {
        let made = live.tick(periods as f64 / self.rate.hz())?;
        let pose = live.pose();
        let ready_ns = Monotonic.now_ns();
        if made > 0 {
            let taken_ns = ready_ns.saturating_sub(due_ns);
            self.latencies.record(taken_ns);
            self.statistics.last_latency_ms = taken_ns as f64 / 1e6;
            self.measures.push(live.controller());
        }
        self.statistics.poses += 1;
        let is_heard = self
            .wires
            .as_ref()
            .is_some_and(|wires| wires.poses.is_matched());
        if is_heard || self.tap.is_on() || self.engines.is_on() {
            let due = Due {
                frame_ns,
                period_ns: self.rate.period_ns(),
            };
            let message = live.message(&pose, stamp(self.statistics.poses, live.stream()), due);
            self.tap.wire(topic::POSE, frame_ns, &message);
            let root = &pose.root;
            let ground = Ground {
                position: [root.position.x, root.position.y],
                heading: root.heading,
            };
            self.engines
                .tell(&message, ground, live.seconds(), due_ns)?;
            if let Some(wires) = &mut self.wires {
                wires.poses.publish(&message)?;
            }
        }
        if let Some(screen) = &mut self.screen {
            screen.pose(live, &pose, made);
        }
        Ok(())
    }

    /// Shows how things are, on the page and to others.
    fn watch(&mut self, live: &Live, now_ns: u64) {
        self.statistics.counts = live.counts();
        self.statistics.engines = self.engines.counts();
        self.statistics.acts = self.acts.counts();
        let is_due = self
            .teller
            .as_ref()
            .is_none_or(|teller| teller.is_due(now_ns));
        if is_due || self.statistics.poses.is_multiple_of(POSES_PER_LOOK) {
            self.statistics.latency_ms = self.latencies.percentiles_ms();
        }
        if let Some(teller) = &mut self.teller {
            teller.tell(now_ns, live, &self.statistics, &self.timing);
        }
        if let Some(screen) = &mut self.screen {
            screen.show(live, &self.statistics);
        }
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = self.statistics;
    }

    fn end(mut self, live: Live) -> Ended {
        self.statistics.counts = live.counts();
        self.statistics.engines = self.engines.counts();
        self.statistics.acts = self.acts.counts();
        self.statistics.latency_ms = self.latencies.percentiles_ms();
        Ended {
            live,
            statistics: self.statistics,
            measures: self.measures,
        }
    }
}

/// The answer to a request to perform something.
fn answered(acts: &Acts, payload: &[u8]) -> serde_json::Value {
    let request = ActRequest::parse(payload).map_err(|error| error.to_string());
    match request.and_then(|request| acts.ask(&request)) {
        Ok(taken) => act::accepted(&taken.action, taken.seconds),
        Err(reason) => act::refused(&reason),
    }
}
