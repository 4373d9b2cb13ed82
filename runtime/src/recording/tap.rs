//! Where a running system's messages are handed to the recorder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use kinestream_bridge::recording::{RealtimeChannel, RecordChannel, Recorder, RecorderStatus};
use kinestream_bridge::wire::{Encode, Header};
use serde::Serialize;

use super::codec;
use super::messages::{PolicyInput, SimInput, SimStep};
use super::opening::RecordingHeader;
use super::topic;

/// Longest message of the control thread, bytes.
const TICK_BYTES: usize = 1024;
/// Messages of the control thread that wait for the recorder: four seconds at 1 kHz.
const TICK_SLOTS: usize = 4096;

/// Hands messages to a recorder, from any ordinary thread, and never waits. Without a recorder it
/// does nothing. All times are of the monotonic clock, in nanoseconds; `now_ns` orders the
/// recording.
#[derive(Clone, Default)]
pub struct RecordSink(Option<Arc<Topics>>);

struct Topics {
    path: PathBuf,
    recorder: Recorder,
    open: Mutex<BTreeMap<String, RecordChannel>>,
}

impl RecordSink {
    /// A tap that records nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Makes a recording, which must not exist, and begins it with `opening`.
    pub fn create(path: &Path, opening: &RecordingHeader) -> Result<Self> {
        let recorder = Recorder::create(path)?;
        let tap = Self(Some(Arc::new(Topics {
            path: path.to_path_buf(),
            recorder,
            open: Mutex::default(),
        })));
        let bytes = serde_json::to_vec(opening).context("cannot record the configuration")?;
        let now_ns = opening.created_monotonic_ns;
        tap.bytes(topic::CONFIG, now_ns, now_ns, &bytes);
        Ok(tap)
    }

    /// Records a message of the wire under the name of its key.
    pub fn wire(&self, topic: &str, now_ns: u64, message: &impl Encode) {
        if self.0.is_none() {
            return;
        }
        let mut bytes = Vec::new();
        // What the wire refuses was not sent either, and its publisher has said so.
        if message.encode_into(&mut bytes).is_ok() {
            self.wire_bytes(topic, now_ns, &bytes);
        }
    }

    /// As [`RecordSink::wire`], of bytes that were received.
    pub fn wire_bytes(&self, topic: &str, now_ns: u64, bytes: &[u8]) {
        let publish_ns = Header::decode(bytes).map_or(now_ns, |header| header.stamp.monotonic_ns);
        self.bytes(topic, now_ns, publish_ns, bytes);
    }

    /// Records the health of the control loop.
    pub fn health(&self, now_ns: u64, health: &impl Serialize) {
        self.json(topic::HEALTH, now_ns, health);
    }

    /// Records a message that is JSON.
    pub fn json(&self, topic: &str, now_ns: u64, message: &impl Serialize) {
        if self.0.is_some()
            && let Ok(bytes) = serde_json::to_vec(message)
        {
            self.bytes(topic, now_ns, now_ns, &bytes);
        }
    }

    /// Records what the policy thread took, right when it takes it.
    pub fn policy_input(&self, now_ns: u64, input: &PolicyInput) {
        self.own(topic::POLICY_INPUT, now_ns, input);
    }

    /// Records the simulator after a physics step.
    pub fn sim_step(&self, now_ns: u64, step: &SimStep) {
        self.own(topic::SIM_STEP, now_ns, step);
    }

    /// Records what changed the simulator's world, from the same thread as its steps.
    pub fn sim_input(&self, now_ns: u64, input: &SimInput) {
        self.own(topic::SIM_INPUT, now_ns, input);
    }

    /// The control thread's own way into the recording. To be asked for once.
    pub fn ticks(&self) -> TickRecordSink {
        TickRecordSink(self.0.as_ref().map(|topics| {
            topics.recorder.realtime_channel(
                topic::TICK,
                topic::format(topic::TICK),
                TICK_BYTES,
                TICK_SLOTS,
            )
        }))
    }

    /// Whether anything is recorded: for messages that are costly to make.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The file that is written; none without a recorder.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|topics| topics.path.as_path())
    }

    /// What was recorded so far; none without a recorder.
    pub fn status(&self) -> Option<RecorderStatus> {
        self.0.as_ref().map(|topics| topics.recorder.status())
    }

    /// Completes the file, whoever else still holds the tap; returns the totals. Without it the
    /// file is completed when the last tap is dropped.
    pub fn finish(&self) -> Option<RecorderStatus> {
        self.0.as_ref().map(|topics| topics.recorder.finish())
    }

    fn own(&self, topic: &str, now_ns: u64, message: &impl Serialize) {
        if self.0.is_some()
            && let Ok(bytes) = codec::encode(message)
        {
            self.bytes(topic, now_ns, now_ns, &bytes);
        }
    }

    fn bytes(&self, topic: &str, log_ns: u64, publish_ns: u64, bytes: &[u8]) {
        let Some(topics) = &self.0 else {
            return;
        };
        let mut open = topics.open.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match open.get(topic) {
            Some(channel) => channel,
            None => {
                let channel = topics.recorder.channel(topic, topic::format(topic));
                open.entry(topic.to_owned()).or_insert(channel)
            }
        };
        // A message for which there is no room is counted by the recorder.
        let _ = channel.send(log_ns, publish_ns, bytes);
    }
}

/// The control thread's tap: wait-free and without allocation.
#[derive(Default)]
pub struct TickRecordSink(Option<RealtimeChannel>);

impl TickRecordSink {
    /// Records a tick of at most 1 KiB; one without room is counted by the recorder.
    pub fn tick(&mut self, now_ns: u64, record: &impl Serialize) {
        let Some(channel) = &mut self.0 else {
            return;
        };
        let mut slot = [0; TICK_BYTES];
        match codec::encode_into(record, &mut slot) {
            Some(bytes) => channel.send(now_ns, now_ns, bytes),
            // Longer than a slot: refused and counted by the channel.
            None => channel.send(now_ns, now_ns, &[0; TICK_BYTES + 1]),
        };
    }
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::Observation;
    use kinestream_bridge::recording::Recording;
    use kinestream_bridge::wire::{Decode, Name, Stamp};

    use super::super::decode;
    use super::*;
    use crate::config::Config;

    #[test]
    fn all_that_was_handed_over_is_read_back() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.mcap");
        let text = include_str!("../../../configs/pusht-state.toml");
        let config = Config::parse(text, "the built-in configuration").unwrap();
        let opening = RecordingHeader {
            seeds: vec![100_000],
            ..RecordingHeader::new("demo", &config).unwrap()
        };
        let now_ns = opening.created_monotonic_ns;
        let tap = RecordSink::create(&path, &opening).unwrap();
        let observation = Observation {
            stamp: Stamp {
                sequence: 3,
                monotonic_ns: 77,
                ..Stamp::default()
            },
            name: Name::new("state").unwrap(),
            values: vec![1.5_f64, -2.0],
        };
        tap.wire(topic::STATE, now_ns + 1, &observation);
        let input = PolicyInput::Observation { arrived_ns: now_ns };
        tap.policy_input(now_ns + 1, &input);
        let mut ticks = tap.ticks();
        ticks.tick(now_ns + 2, &(7_u64, [1.0_f32; 3]));
        ticks.tick(now_ns + 3, &vec![0_u8; 2000]);
        let moved = SimInput::MoveBlock {
            position: [1.0, 2.0],
            angle: 3.0,
        };
        tap.sim_input(now_ns + 4, &moved);
        let status = tap.finish().unwrap();
        assert_eq!((status.messages, status.dropped), (5, 1), "{status:?}");

        let all: Vec<_> = Recording::open(&path)
            .unwrap()
            .messages()
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let topics: Vec<&str> = all.iter().map(|message| &*message.topic).collect();
        assert_eq!(
            topics,
            [
                topic::CONFIG,
                topic::STATE,
                topic::POLICY_INPUT,
                topic::TICK,
                topic::SIM_INPUT
            ]
        );
        let first = RecordingHeader::decode(&all[0].bytes).unwrap();
        assert_eq!(first.seeds, [100_000]);
        let read = toml::to_string(&first.config().unwrap()).unwrap();
        assert_eq!(read, toml::to_string(&config).unwrap());
        let state: Observation = Observation::decode(&all[1].bytes).unwrap();
        assert_eq!(state.values.to_f64(), [1.5, -2.0]);
        assert_eq!(all[1].publish_ns, 77);
        assert_eq!(
            decode::<PolicyInput>(topic::POLICY_INPUT, &all[2].bytes).unwrap(),
            input
        );
        assert_eq!(
            decode::<(u64, [f32; 3])>(topic::TICK, &all[3].bytes).unwrap(),
            (7, [1.0; 3])
        );
        assert_eq!(
            decode::<SimInput>(topic::SIM_INPUT, &all[4].bytes).unwrap(),
            moved
        );
        assert!(decode::<SimStep>(topic::SIM_STEP, &all[4].bytes).is_err());
        let long = [&all[2].bytes[..], &[0]].concat();
        assert!(decode::<PolicyInput>(topic::POLICY_INPUT, &long).is_err());
    }

    #[test]
    fn without_a_recorder_nothing_happens() {
        let tap = RecordSink::off();
        tap.policy_input(1, &PolicyInput::Reset { stream: 1, seed: 2 });
        tap.ticks().tick(1, &0_u8);
        assert!(tap.status().is_none() && tap.finish().is_none());
    }
}
