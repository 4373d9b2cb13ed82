//! `kinestream replay`: a recording, played into the viewer page, the simulator's physics and
//! zenoh, or exported.

mod export;
mod screen;
mod zenoh;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinestream_bridge::recording::{RecordedMessage, Recording, Survey};
use kinestream_control::clock::wake_promptly;
use kinestream_control::{Clock, Monotonic};
use serde::Serialize;

use kinestream_command_line::{ReplayArguments, Speed};
use kinestream_runtime::page::FRAME;
use kinestream_runtime::recording::{
    PhysicsCheck, PhysicsReport, RecordingHeader, SimInput, SimStep, VERSION, decode, topic,
};
use kinestream_runtime::shutdown;
use kinestream_terminal::output;
use kinestream_terminal::say;

use self::screen::{Screen, Wanted};
use self::zenoh::{Zenoh, recorded_skeleton};

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
    if survey.missing > 0 {
        tracing::warn!(
            "{name}: {} messages are missing in {} gaps",
            survey.missing,
            survey.gaps
        );
    }
    if let Some(out) = &arguments.export {
        let seek_s = arguments.seek;
        return export::run(
            &recording,
            &survey,
            &arguments.file,
            out,
            seek_s,
            arguments.json,
        );
    }
    let stop = shutdown::flag()?;
    let skeleton = recorded_skeleton(&recording, &survey)?;
    let zenoh = Zenoh::open(arguments, &recording, &survey, skeleton.as_ref())?;
    let screen = match arguments.headless {
        true => None,
        false => Some(Screen::open(&arguments.page, &survey, skeleton, &stop)?),
    };
    if let Some(screen) = &screen {
        eprintln!("kinestream replay: open {}  (Ctrl-C ends it)", screen.url());
    }
    if let Some(zenoh) = &zenoh {
        zenoh.wait(Duration::from_secs_f64(arguments.wait), &stop);
    }
    let begun = Instant::now();
    let mut player = Player {
        speed: arguments.speed,
        seek_ns: first_ns.saturating_add((arguments.seek * 1e9) as u64),
        zenoh,
        screen,
        stop: Arc::clone(&stop),
        physics: PhysicsCheck::new(),
        compare: true,
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
        messages_published: player.zenoh.as_ref().map_or(0, Zenoh::published),
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
    if let Some(screen) = player.screen {
        screen.close()?;
    }
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

struct Player {
    speed: Speed,
    /// Log time from which on messages are played; what is before only sets the scene.
    seek_ns: u64,
    zenoh: Option<Zenoh>,
    screen: Option<Screen>,
    stop: Arc<AtomicBool>,
    physics: PhysicsCheck,
    /// Whether this program knows the recording's own messages.
    compare: bool,
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
        if let Some(screen) = &mut self.screen {
            screen.restart();
        }
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
                if let Some(screen) = &mut self.screen {
                    screen.step(&step);
                }
                Ok(self.physics.step(&step)?)
            }),
            topic::SIM_INPUT if self.compare => {
                decode::<SimInput>(topic, bytes).and_then(|input| Ok(self.physics.input(&input)?))
            }
            _ => {
                if let Some(screen) = &mut self.screen {
                    screen.wire(topic, bytes);
                }
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
        let opening = RecordingHeader::decode(bytes)?;
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
        let Some(screen) = &mut self.screen else {
            return;
        };
        if self.shown.elapsed() < screen.period() {
            return;
        }
        self.shown = Instant::now();
        while let Some(wanted) = screen.next_wanted() {
            match wanted {
                Wanted::Pause => self.paused = true,
                Wanted::Resume => self.paused = false,
                Wanted::Again => self.again = true,
            }
        }
        let differing = self.physics.report().steps_differing;
        let fault = (differing > 0)
            .then(|| format!("{differing} physics steps differ from the recorded ones"));
        screen.show(self.paused, fault);
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
