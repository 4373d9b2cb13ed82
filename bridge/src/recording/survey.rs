//! What has survived of a recording.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Serialize;

use super::reader::{Ending, Messages, ReadError};

/// What a recording holds, and what it has lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Whether the file ends as a finished recording does.
    pub complete: bool,
    /// What is wrong at its end, if anything is.
    pub problem: Option<String>,
    /// Messages that can be read.
    pub messages: u64,
    /// Of these, messages without a checksum to compare: those of a chunk whose end is missing.
    pub unverified: u64,
    /// Chunks left out because their checksum is wrong.
    pub skipped_chunks: u64,
    /// Messages of each topic.
    pub topics: BTreeMap<String, TopicSurvey>,
    /// Earliest log time, nanoseconds; none without messages.
    pub first_log_ns: Option<u64>,
    /// Latest log time, nanoseconds.
    pub last_log_ns: Option<u64>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes at its end that could not be read, an unfinished chunk included.
    pub bytes_lost: u64,
}

/// What a recording holds of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TopicSurvey {
    /// Messages that can be read.
    pub messages: u64,
    /// Bytes of these messages.
    pub bytes: u64,
    /// Messages that are missing between the first and the last, by their numbers: there was no room for them.
    pub missing: u64,
    /// Number of the last message.
    #[serde(skip)]
    last_sequence: u32,
}

impl Survey {
    /// Reads all messages.
    pub(super) fn of<R: Read>(mut messages: Messages<R>) -> Result<Self, ReadError> {
        let mut topics = BTreeMap::<String, TopicSurvey>::new();
        let mut times: Option<(u64, u64)> = None;
        for message in &mut messages {
            let message = message?;
            let log_ns = message.log_ns;
            times = Some(times.map_or((log_ns, log_ns), |(first, last)| {
                (first.min(log_ns), last.max(log_ns))
            }));
            if !topics.contains_key(&*message.topic) {
                topics.insert(message.topic.to_string(), TopicSurvey::default());
            }
            if let Some(topic) = topics.get_mut(&*message.topic) {
                topic.count(message.sequence, message.bytes.len());
            }
        }
        let (bytes, read) = messages.bytes();
        let (complete, problem) = match messages.ending() {
            Some(Ending::Complete) => (true, None),
            Some(Ending::Damaged { at, reason }) => {
                (false, Some(format!("at byte {at}: {reason}")))
            }
            Some(Ending::Cut) | None => (
                false,
                Some(format!("cut at byte {bytes}, before its footer")),
            ),
        };
        Ok(Self {
            complete,
            problem,
            messages: topics.values().map(|topic| topic.messages).sum(),
            unverified: messages.unverified(),
            skipped_chunks: messages.skipped_chunks(),
            topics,
            first_log_ns: times.map(|(first, _)| first),
            last_log_ns: times.map(|(_, last)| last),
            bytes,
            bytes_lost: bytes - read,
        })
    }

    /// From the earliest to the latest message, seconds.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        match (self.first_log_ns, self.last_log_ns) {
            (Some(first), Some(last)) => (last - first) as f64 / 1e9,
            _ => 0.0,
        }
    }
}

impl TopicSurvey {
    fn count(&mut self, sequence: u32, bytes: usize) {
        if self.messages > 0 && sequence > self.last_sequence {
            self.missing += u64::from(sequence - self.last_sequence - 1);
        }
        self.last_sequence = self.last_sequence.max(sequence);
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}
