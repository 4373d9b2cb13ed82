//! `kinestream replay`: a recording, played into the viewer page, the simulator's physics and
//! zenoh.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinestream_bridge::Node;
use kinestream_bridge::node::RawPublisher;
use kinestream_bridge::recording::{RecordedMessage, Recording, Survey};
use kinestream_control::clock::wake_promptly;
use kinestream_control::{Clock, Monotonic};
use kinestream_sim::viewer::pusht::{Input, RunState, ViewerHandle};
use serde::Serialize;

use crate::cli::{ReplayArguments, Speed};
use crate::config::Config;
use crate::output::say;
use crate::page::{FRAME, Meter, Page};
use crate::recording::{
    Opening, PhysicsCheck, PhysicsReport, Picture, SimInput, SimStep, VERSION, decode, topic,
};
use crate::{output, shutdown};

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    /// Messages whose time came, of all topics.
    messages_played: u64,
    /// Messages sent over zenoh: those with a subscriber.
    messages_published: u64,
    /// Messages that did not decode.
    malformed: u64,
    /// Of the recording.
    duration_s: f64,
    /// Of the replay.
    wall_s: f64,
    /// 0 for as fast as possible.
    speed: f64,
    seek_s: f64,
    /// Times that the end was reached.
    loops: u64,
    survived: &'a Survey,
    physics_steps_compared: u64,
    physics_steps_differing: u64,
    /// The rest of what the physics gave.
    physics: PhysicsReport,
}

pub(crate) fn run(arguments: &ReplayArguments) -> Result<()> {
    let recording = Recording::open(&arguments.file)?;
    let survey = recording.survey()?;
    let name = arguments.file.display();
    let Some(first_ns) = survey.first_log_ns else {
        anyhow::bail!(
            "{name}: no message has survived in its {} bytes ({}); there is nothing to replay",
            survey.bytes,
            survey.problem.as_deref().unwrap_or("it is empty")
        );
    };
    let duration_s = survey.duration_s();
    ensure!(
        arguments.seek <= duration_s,
        "{name}: --seek {} is beyond its end, it lasts {duration_s:.2} s",
        arguments.seek
    );
    if let Some(problem) = &survey.problem {
        tracing::warn!(
            "{name}: {problem}; {} messages over {duration_s:.2} s have survived, {} bytes are lost",
            survey.messages,
            survey.bytes_lost
        );
    }
    let stop = shutdown::flag()?;
    let zenoh = arguments
        .config
        .as_deref()
        .map(|path| Zenoh::open(path, &survey))
        .transpose()?;
    let page = if arguments.headless {
        None
    } else {
        let page = Page::open(arguments.port, &stop)?;
        eprintln!(
            "kinestream replay: open http://{}  (Ctrl-C ends it)",
            page.address()
        );
        Some(page)
    };
    if let Some(zenoh) = &zenoh {
        zenoh.wait(Duration::from_secs_f64(arguments.wait), &stop);
    }
    let begun = Instant::now();
    let mut player = Player {
        speed: arguments.speed,
        seek_ns: first_ns.saturating_add((arguments.seek * 1e9) as u64),
        zenoh,
        page: page.as_ref().map(|page| page.handle().clone()),
        stop: Arc::clone(&stop),
        picture: Picture::new(),
        physics: PhysicsCheck::new(),
        compare: true,
        meter: Meter::new(),
        shown: Instant::now(),
        paused: false,
        again: false,
        played: 0,
        malformed: 0,
    };
    let mut loops = 0;
    wake_promptly();
    while !stop.load(Ordering::SeqCst) {
        let ended = player.play(&recording)?;
        loops += u64::from(ended);
        if ended && !arguments.repeat {
            break;
        }
    }
    let physics = *player.physics.report();
    let report = Report {
        file: &arguments.file,
        messages_played: player.played,
        messages_published: player.zenoh.as_ref().map_or(0, |zenoh| zenoh.published),
        malformed: player.malformed,
        duration_s,
        wall_s: begun.elapsed().as_secs_f64(),
        speed: arguments.speed.factor().unwrap_or(0.0),
        seek_s: arguments.seek,
        loops,
        survived: &survey,
        physics_steps_compared: physics.steps_compared,
        physics_steps_differing: physics.steps_differing,
        physics,
    };
    stop.store(true, Ordering::SeqCst);
    if let Some(page) = page {
        page.close()?;
    }
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

/// The topics of a recording as publishers.
struct Zenoh {
    node: Node,
    publishers: BTreeMap<String, RawPublisher>,
    published: u64,
}

impl Zenoh {
    fn open(path: &Path, survey: &Survey) -> Result<Self> {
        let config = Config::read(path)?;
        config.check_session(path)?;
        let node = Node::open(&config.session, &config.runtime.robot, "replay")?;
        let mut publishers = BTreeMap::new();
        for topic in survey.topics.keys().filter(|name| topic::is_on_zenoh(name)) {
            publishers.insert(topic.clone(), node.raw_publisher(topic)?);
        }
        Ok(Self {
            node,
            publishers,
            published: 0,
        })
    }

    /// Waits until somebody subscribes to every topic.
    fn wait(&self, limit: Duration, stop: &AtomicBool) {
        let begun = Instant::now();
        let is_heard = || self.publishers.values().all(RawPublisher::is_matched);
        if !limit.is_zero() {
            tracing::info!("waiting for subscribers of {}", self.node.keys());
        }
        while !is_heard() && begun.elapsed() < limit && !stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn publish(&mut self, message: &RecordedMessage) -> Result<()> {
        if let Some(publisher) = self.publishers.get(&*message.topic) {
            self.published += u64::from(publisher.publish(&message.bytes)?);
        }
        Ok(())
    }
}

struct Player {
    speed: Speed,
    /// Log time from which on messages are played; what is before only sets the scene.
    seek_ns: u64,
    zenoh: Option<Zenoh>,
    page: Option<ViewerHandle>,
    stop: Arc<AtomicBool>,
    picture: Picture,
    physics: PhysicsCheck,
    /// Whether this program knows the recording's own messages.
    compare: bool,
    meter: Meter,
    /// When the page was last given a picture.
    shown: Instant,
    paused: bool,
    /// Whether a person asked to begin again.
    again: bool,
    played: u64,
    malformed: u64,
}

impl Player {
    /// Plays the recording once; false if it was left before its end.
    fn play(&mut self, recording: &Recording) -> Result<bool> {
        self.picture = Picture::new();
        self.physics.restart();
        self.again = false;
        // When the message at `seek_ns` is due: set when the first one is there.
        let mut origin_ns = None;
        for message in recording.messages()? {
            let message = message?;
            if message.log_ns >= self.seek_ns {
                let origin_ns = origin_ns.get_or_insert_with(|| Monotonic.now_ns());
                if self
                    .wait(message.log_ns - self.seek_ns, origin_ns)
                    .is_break()
                {
                    return Ok(false);
                }
                if let Some(zenoh) = &mut self.zenoh {
                    zenoh.publish(&message)?;
                }
                self.played += 1;
            }
            self.take(&message)?;
            self.show();
        }
        Ok(true)
    }

    /// Waits until a message is due, `after_ns` of the recording after the origin. A pause moves
    /// the origin.
    fn wait(&mut self, after_ns: u64, origin_ns: &mut u64) -> ControlFlow<()> {
        let frame_ns = FRAME.as_nanos() as u64;
        loop {
            if self.stop.load(Ordering::Relaxed) || self.again {
                return ControlFlow::Break(());
            }
            let now_ns = Monotonic.now_ns();
            if self.paused {
                Monotonic.sleep_until(now_ns + frame_ns);
                *origin_ns += Monotonic.now_ns() - now_ns;
                self.show();
                continue;
            }
            let due_ns = match self.speed.factor() {
                Some(factor) => origin_ns.saturating_add((after_ns as f64 / factor) as u64),
                None => now_ns,
            };
            if due_ns <= now_ns {
                return ControlFlow::Continue(());
            }
            Monotonic.sleep_until(due_ns.min(now_ns + frame_ns));
            self.show();
        }
    }

    /// Takes a message into the picture and the physics.
    fn take(&mut self, message: &RecordedMessage) -> Result<()> {
        let (topic, bytes) = (&*message.topic, &message.bytes[..]);
        let understood = match topic {
            topic::CONFIG => self.begin(bytes),
            topic::SIM_STEP if self.compare => decode::<SimStep>(topic, bytes).and_then(|step| {
                self.picture.step(&step);
                Ok(self.physics.step(&step)?)
            }),
            topic::SIM_INPUT if self.compare => {
                decode::<SimInput>(topic, bytes).and_then(|input| Ok(self.physics.input(&input)?))
            }
            _ => {
                self.picture.wire(topic, bytes);
                Ok(())
            }
        };
        if let Err(error) = understood {
            self.malformed += 1;
            if self.malformed.is_power_of_two() {
                tracing::warn!("{error:#}; {} such messages", self.malformed);
            }
        }
        Ok(())
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<()> {
        let opening = Opening::decode(bytes)?;
        self.compare = opening.version == VERSION;
        if !self.compare {
            tracing::warn!(
                "recorded by {} in version {} of its own messages, this program knows {VERSION}: \
                 the physics is not run again",
                opening.program,
                opening.version
            );
        }
        Ok(())
    }

    /// Gives the page a picture when it is time, and takes what a person did there.
    fn show(&mut self) {
        let Some(page) = &self.page else {
            return;
        };
        if self.shown.elapsed() < FRAME {
            return;
        }
        self.shown = Instant::now();
        while let Some(input) = page.try_next_input() {
            match input {
                Input::Pause => self.paused = true,
                Input::Resume => self.paused = false,
                Input::Reset { .. } => self.again = true,
                // What has happened cannot be changed.
                Input::DragBlock { .. } | Input::ReleaseBlock | Input::PushAgent { .. } => {}
            }
        }
        let (plans, actions) = self.picture.counts();
        self.meter.measure(plans, actions);
        let differing = self.physics.report().steps_differing;
        let fault = (differing > 0)
            .then(|| format!("{differing} physics steps differ from the recorded ones"));
        let mut frame = self.picture.frame(self.meter.rates(), fault);
        if self.paused {
            frame.state = RunState::Paused;
        }
        page.publish(frame);
    }
}

fn print(report: &Report<'_>) {
    say!(
        "{} of {} messages played in {:.1} s, {} sent over zenoh",
        report.messages_played,
        report.survived.messages,
        report.wall_s,
        report.messages_published
    );
    let physics = &report.physics;
    if physics.steps_compared + physics.steps_skipped > 0 {
        say!(
            "physics: {} steps run again, {} differ, {} could not be compared, {} interventions \
             by hand",
            physics.steps_compared,
            physics.steps_differing,
            physics.steps_skipped,
            physics.interventions
        );
    }
    if let Some(first) = &physics.first_difference {
        say!(
            "first difference: seed {}, stream {}, step {}, by {:e}",
            first.seed,
            first.stream,
            first.step,
            first.largest
        );
    }
}
