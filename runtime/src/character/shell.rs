//! The character's thread: what arrives, the frame that falls due, and all who are told of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use crossbeam_channel::Receiver;
use kinestream_bridge::engines::Ground;
use kinestream_bridge::node::{Channel, Inbox, Publisher, Service};
use kinestream_bridge::wire::Request;
use kinestream_bridge::{ActRequest, Command, Control, act, keys};
use kinestream_control::clock::wake_promptly;
use kinestream_control::{Clock, Latencies, Monotonic, Schedule, TimingGauge};
use kinestream_motion::controller::{Goal, Measures};
use kinestream_motion::performer::ActionRequest;
use kinestream_viewer::character::Input;

use super::acts::ActionQueue;
use super::live::{Asked, Due, Live, Message, skeleton_info};
use super::shown::SkeletonView;
use super::telling::{StatusPublisher, ViewerUpdater};
use super::{CharacterIo, Ended, Performance, PoseRate, Statistics};
use crate::INBOX_CAPACITY;
use crate::clock::stamp;
use crate::engines::Engines;
use crate::recording::{RecordSink, topic};

/// Poses after which the percentiles of latency are worked out again.
const POSES_PER_LOOK: u64 = 60;

pub(super) struct Shell {
    wires: Option<Wires>,
    screen: Option<ViewerUpdater>,
    engines: Engines,
    acts: ActionQueue,
    asked: Receiver<ActionRequest>,
    rate: PoseRate,
    teller: Option<StatusPublisher>,
    tap: RecordSink,
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

impl Shell {
    pub(super) fn new(
        live: &Live,
        company: CharacterIo<'_>,
        shared: Arc<Mutex<Statistics>>,
    ) -> Result<Self> {
        let character = live.controller();
        let info = skeleton_info(character.skeleton(), character.feet());
        let described = info.to_value()?;
        let figure = SkeletonView::new(&info)?;
        let CharacterIo {
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
                    controls: node.inbox(&node.keys().control(), INBOX_CAPACITY)?,
                    requests: node.inbox(&node.keys().commands(), INBOX_CAPACITY)?,
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
            .map(|node| StatusPublisher::new(Arc::clone(node), tap.clone(), rate))
            .transpose()?;
        let presence = node.map(|node| node.presence()).transpose()?;
        let screen = page
            .map(|page| ViewerUpdater::new(page, figure, presence, character, acts.clone()))
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

    pub(super) fn run(
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
    pub(super) fn begin(
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
        while let Some(input) = self.screen.as_ref().and_then(ViewerUpdater::next_input) {
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
    fn act(&mut self, live: &mut Live, act: ActionRequest) {
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
    pub(super) fn pose(
        &mut self,
        live: &mut Live,
        periods: u64,
        due_ns: u64,
        frame_ns: u64,
    ) -> Result<()> {
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

    pub(super) fn end(mut self, live: Live) -> Ended {
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
fn answered(acts: &ActionQueue, payload: &[u8]) -> serde_json::Value {
    let request = ActRequest::parse(payload).map_err(|error| error.to_string());
    match request.and_then(|request| acts.ask(&request)) {
        Ok(taken) => act::accepted(&taken.action, taken.seconds),
        Err(reason) => act::refused(&reason),
    }
}
