//! Re-simulation: the engines run again on a recording's inputs, and every bit is compared.
//!
//! The policy gets the recorded resets and observations in their order, the controller the recorded
//! ticks with the plans that the policy made now. On the machine that recorded, with as many threads
//! of LibTorch, nothing may differ.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kinestream_bridge::recording::{RecordedMessage, Recording};
use kinestream_bridge::wire::{Decode, Header, Kind, Plan as WirePlan};
use kinestream_bridge::{Image, Observation};
use kinestream_control::{Plan, TickOutput};
use kinestream_policy::engine::{ActionChunk, IngestOutcome, TimedObservation};
use kinestream_policy::{Engine, Policy};
use serde::Serialize;

use crate::cameras::Cameras;
use crate::policy::{numbers, plan_of};
use crate::recording::{
    CheckpointIdentity, PolicyInput, RecordingHeader, TickRecord, decode, topic,
};
use crate::{checkpoint, device};

/// What a re-simulation found.
#[derive(Debug, Serialize)]
pub struct ResimulationReport {
    /// The recording.
    pub file: String,
    /// Its length in seconds.
    pub duration_s: f64,
    /// Whether the recorder came to its end.
    pub complete: bool,
    /// Plans that were made again.
    pub plans_compared: u64,
    /// Commands that were formed again.
    pub commands_compared: u64,
    /// How many of both differ in any bit.
    pub differing: u64,
    /// Where the first of them does.
    pub first_difference: Option<Difference>,
    /// Messages that the recorder had no room for; comparing ends before the first gap.
    pub missing: u64,
    /// What could not be compared.
    pub note: Option<String>,
}

/// Where recording and re-simulation part.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// plan or command.
    pub what: &'static str,
    /// The plan's chunk, or the tick's index.
    pub number: u64,
    /// Seconds from the beginning of the recording.
    pub at_s: f64,
    /// What of it differs.
    pub field: &'static str,
    /// As recorded.
    pub recorded: String,
    /// As computed now.
    pub resimulated: String,
}

/// Runs the policy and the control loop of the recording `file` again, with its own checkpoint or with the same one in another
/// folder. `progress` is told how many messages are done, of how many.
///
/// # Errors
/// A recording of something else or without its beginning, or another checkpoint.
pub fn resimulate(
    file: &Path,
    folder: Option<&Path>,
    mut progress: impl FnMut(u64, u64),
) -> Result<ResimulationReport> {
    let recording = Recording::open(file)?;
    let survey = recording.survey()?;
    let mut messages = recording.messages()?;
    let first = messages.next().transpose()?;
    let opening = match &first {
        Some(message) if &*message.topic == topic::CONFIG => {
            RecordingHeader::decode(&message.bytes)?
        }
        _ => bail!(
            "{}: the recording does not begin with its configuration: too little of it has survived",
            file.display()
        ),
    };
    let begun_ns = first.map_or(0, |message| message.log_ns);
    let Some(recorded) = &opening.checkpoint else {
        bail!(
            "{}: recorded by `kinestream {}`, from outside; resim needs what the policy and the \
             control thread were told: `run --record` or `demo --record`",
            file.display(),
            opening.command
        );
    };
    ensure!(
        !opening.is_character(),
        "{}: a recording of a character; resim runs policies and command loops again, `kinestream \
         replay` shows a character",
        file.display()
    );
    let config = opening.config()?;
    let folder = folder.unwrap_or(&recorded.folder);
    let found = CheckpointIdentity::of(folder)?;
    ensure!(
        (&found.weights_sha256, &found.config_sha256)
            == (&recorded.weights_sha256, &recorded.config_sha256),
        "{}: not the checkpoint that was recorded (model.safetensors {} there, {} in the \
         recording); name that one with --checkpoint",
        folder.display(),
        &found.weights_sha256[..12],
        &recorded.weights_sha256[..12]
    );
    let device = device::parse(&config.runtime.device)?;
    device::set_threads(Some(config.runtime.threads))?;
    let loaded = checkpoint::open_recorded(folder, &config, opening.policy_in_force, device)?;
    let mut engine = Engine::new(Policy::executed(
        loaded,
        device,
        1,
        config.runtime.execution(),
    )?)?;
    let cameras = Cameras::of(engine.policy(), config.runtime.pictures_apart_ms);
    let measured = config.control.measured_columns(engine.policy())?;
    let mut policy = PolicyAgain::new(&mut engine, cameras, measured, begun_ns);
    let mut ticks = Vec::new();
    let mut missing = Gaps::default();
    for (done, message) in (1..).zip(messages) {
        let message = message?;
        progress(done, survey.messages);
        if missing.is_gap(&message) {
            continue;
        }
        match &*message.topic {
            topic::TICK => ticks.push(message),
            _ => policy.take(&message)?,
        }
    }
    policy.read(0)?;
    let PolicyAgain {
        plans,
        compared: plans_compared,
        mut differing,
        mut first_difference,
        ..
    } = policy;
    let action_size = engine.policy().action_size();
    let mut controller = config.control.controller(action_size)?;
    let (mut commands_compared, mut unknown) = (0, 0);
    for message in &ticks {
        let record: TickRecord =
            decode(topic::TICK, &message.bytes).with_context(|| file.display().to_string())?;
        let plan = match record.plan {
            Some(chunk) if !plans.contains_key(&chunk) => {
                // Its inputs were lost at the end of a cut file.
                unknown = ticks.len() as u64 - commands_compared;
                break;
            }
            Some(chunk) => plans.get(&chunk),
            None => None,
        };
        let output = controller.tick(&record.inputs, plan);
        commands_compared += 1;
        if let Some(found) = compare_tick(&record, &output, controller.command(), begun_ns) {
            differing += 1;
            if first_difference
                .as_ref()
                .is_none_or(|first| found.at_s < first.at_s)
            {
                first_difference = Some(found);
            }
        }
    }
    let report = ResimulationReport {
        file: file.display().to_string(),
        duration_s: survey.duration_s(),
        complete: survey.finished,
        plans_compared,
        commands_compared,
        differing,
        first_difference,
        missing: missing.count,
        note: (unknown > 0).then(|| {
            format!("{unknown} commands at the end rest on plans whose inputs did not survive")
        }),
    };
    Ok(report)
}

/// The policy on its recorded inputs.
struct PolicyAgain<'a> {
    engine: &'a mut Engine,
    begun_ns: u64,
    /// The newest observation's bytes, which the next input is about.
    observation: Option<Observation>,
    cameras: Cameras,
    /// The newest picture's bytes, which the next input is about.
    picture: Option<Image>,
    /// Numbers of the newest valid observation.
    values: Vec<f32>,
    /// Columns of an observation that say where the robot is.
    measured: Option<Vec<usize>>,
    /// Whether a plan was asked for that has not been read yet.
    is_asked: bool,
    answer: Option<ActionChunk>,
    plans: HashMap<u64, Plan>,
    compared: u64,
    differing: u64,
    first_difference: Option<Difference>,
}

impl<'a> PolicyAgain<'a> {
    fn new(
        engine: &'a mut Engine,
        cameras: Cameras,
        measured: Option<Vec<usize>>,
        begun_ns: u64,
    ) -> Self {
        Self {
            measured,
            engine,
            cameras,
            picture: None,
            begun_ns,
            observation: None,
            values: Vec::new(),
            is_asked: false,
            answer: None,
            plans: HashMap::new(),
            compared: 0,
            differing: 0,
            first_difference: None,
        }
    }

    fn take(&mut self, message: &RecordedMessage) -> Result<()> {
        match &*message.topic {
            _ if is_picture(message) => self.picture = Some(Image::decode(&message.bytes)?),
            topic::STATE => self.observation = Some(Observation::decode(&message.bytes)?),
            topic::POLICY_INPUT => self.input(decode(topic::POLICY_INPUT, &message.bytes)?)?,
            topic::PLAN => {
                self.read(0)?;
                self.compare(&WirePlan::decode(&message.bytes)?, message.log_ns);
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the plan that was asked for, handed on at `now_ns`, where it has not been read.
    fn read(&mut self, now_ns: u64) -> Result<()> {
        if !std::mem::take(&mut self.is_asked) {
            return Ok(());
        }
        self.answer = self.engine.read(0, now_ns)?;
        if let Some(answer) = &self.answer {
            let measured = self.measured.as_deref();
            let plan = plan_of(answer, &self.values, self.engine.policy(), measured)?;
            self.plans.insert(answer.chunk, plan);
        }
        Ok(())
    }

    fn input(&mut self, input: PolicyInput) -> Result<()> {
        let now_ns = match input {
            PolicyInput::Begin { now_ns } => now_ns,
            _ => 0,
        };
        self.read(now_ns)?;
        match input {
            PolicyInput::Reset { stream, seed } => self.engine.begin(0, stream, seed)?,
            PolicyInput::Observation { arrived_ns } => {
                let Some(observation) = self.observation.take() else {
                    return Ok(());
                };
                self.engine.follow(0, observation.stamp.stream)?;
                let values = numbers(&observation);
                // One without its pictures was refused then, too.
                let Ok(images) = self.cameras.at(&observation.stamp) else {
                    return Ok(());
                };
                let taken = self.engine.take(
                    0,
                    &TimedObservation {
                        stream: observation.stamp.stream,
                        sequence: observation.stamp.sequence,
                        time_ns: observation.stamp.monotonic_ns,
                        arrived_ns,
                        values: &values,
                        images: &images,
                    },
                )?;
                if matches!(taken, IngestOutcome::Valid | IngestOutcome::Anew) {
                    self.values = values;
                }
            }
            PolicyInput::Picture { camera } => {
                if let Some(picture) = self.picture.take()
                    && (camera as usize) < self.cameras.names().count()
                {
                    // What is no picture was refused then, too.
                    let _ = self.cameras.take(camera as usize, picture);
                }
            }
            PolicyInput::Answer { .. } => {
                while self.engine.refine(&[0])? > 0 {}
                self.is_asked = true;
            }
            PolicyInput::Begin { .. } => {}
        }
        Ok(())
    }

    fn compare(&mut self, recorded: &WirePlan, log_ns: u64) {
        self.compared += 1;
        let found = match self.answer.take() {
            None => Some(("plan", "one".to_owned(), "none".to_owned())),
            Some(answer) => first_field(recorded, &answer),
        };
        let Some((field, recorded_value, resimulated)) = found else {
            return;
        };
        self.differing += 1;
        self.first_difference.get_or_insert(Difference {
            what: "plan",
            number: recorded.chunk,
            at_s: seconds(self.begun_ns, log_ns),
            field,
            recorded: recorded_value,
            resimulated,
        });
    }
}

/// Whether a message is a picture of a camera.
fn is_picture(message: &RecordedMessage) -> bool {
    message.topic.starts_with("obs/")
        && Header::decode(&message.bytes).is_ok_and(|header| header.kind == Kind::Image)
}

type Field = (&'static str, String, String);

/// The first field in which a plan differs.
fn first_field(recorded: &WirePlan, answer: &ActionChunk) -> Option<Field> {
    let numbers = [
        ("chunk", recorded.chunk, answer.chunk),
        (
            "observation_sequence",
            recorded.observation_sequence,
            answer.observation_sequence,
        ),
        ("first_action_ns", recorded.first_action_ns, answer.start_ns),
        ("period_ns", recorded.period_ns, answer.period_ns),
        (
            "stream",
            u64::from(recorded.stamp.stream),
            u64::from(answer.stream),
        ),
        (
            "committed",
            u64::from(recorded.committed),
            answer.committed as u64,
        ),
    ];
    let differing = numbers.into_iter().find(|(_, one, other)| one != other);
    differing
        .map(|(field, one, other)| (field, one.to_string(), other.to_string()))
        .or_else(|| first_bits("actions", &recorded.actions, &answer.actions))
        .or_else(|| first_bits("noise", &recorded.noise, &answer.noise))
}

/// The first number whose bits differ; lengths count too.
fn first_bits(field: &'static str, recorded: &[f32], again: &[f32]) -> Option<Field> {
    if recorded.len() != again.len() {
        let numbers = |count: usize| format!("{count} numbers");
        return Some((field, numbers(recorded.len()), numbers(again.len())));
    }
    let mut pairs = recorded.iter().zip(again).enumerate();
    let (at, (one, other)) = pairs.find(|(_, (one, other))| one.to_bits() != other.to_bits())?;
    Some((
        field,
        format!("{one:?} at {at}"),
        format!("{other:?} at {at}"),
    ))
}

fn compare_tick(
    record: &TickRecord,
    output: &TickOutput,
    command: &[f64],
    begun_ns: u64,
) -> Option<Difference> {
    let field = if record.output != *output {
        Some((
            "output",
            format!("{:?}", record.output),
            format!("{output:?}"),
        ))
    } else if record.command.len() != command.len() {
        let numbers = |count: usize| format!("{count} numbers");
        Some((
            "command",
            numbers(record.command.len()),
            numbers(command.len()),
        ))
    } else {
        let mut pairs = record.command.iter().zip(command).enumerate();
        pairs
            .find(|(_, (one, other))| one.to_bits() != other.to_bits())
            .map(|(at, (one, other))| {
                (
                    "command",
                    format!("{one:?} at {at}"),
                    format!("{other:?} at {at}"),
                )
            })
    };
    field.map(|(field, recorded, resimulated)| Difference {
        what: "command",
        number: record.inputs.index,
        at_s: seconds(begun_ns, record.inputs.now_ns),
        field,
        recorded,
        resimulated,
    })
}

/// Numbers of messages that were not recorded: after a gap in a topic nothing of it is compared.
#[derive(Default)]
struct Gaps {
    newest: HashMap<std::sync::Arc<str>, u32>,
    count: u64,
    broken: bool,
}

impl Gaps {
    fn is_gap(&mut self, message: &RecordedMessage) -> bool {
        let matters = [topic::POLICY_INPUT, topic::STATE, topic::PLAN, topic::TICK];
        if !matters.contains(&&*message.topic) {
            return false;
        }
        let newest = self.newest.entry(message.topic.clone()).or_default();
        let skipped = message.sequence.wrapping_sub(*newest).wrapping_sub(1);
        *newest = message.sequence;
        self.count += u64::from(skipped);
        self.broken |= skipped > 0;
        self.broken
    }
}

fn seconds(begun_ns: u64, now_ns: u64) -> f64 {
    now_ns.saturating_sub(begun_ns) as f64 / 1e9
}
