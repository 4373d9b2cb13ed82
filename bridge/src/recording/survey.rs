//! What has survived of a recording.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Serialize;

use super::gaps::GapCounter;
use super::reader::{Ending, Messages, ReadError, Recording};

/// What a recording holds, and what it has lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Whether nothing is known to be missing: the file ends as a finished recording does, all of it was read, and no number
    /// was left out.
    pub complete: bool,
    /// Whether the file ends as a finished recording does, whatever is missing before.
    pub finished: bool,
    /// What is wrong at its end, if anything is.
    pub problem: Option<String>,
    /// Messages that can be read.
    pub messages: u64,
    /// Of these, messages without a checksum to compare: those of a chunk whose end is missing.
    pub unverified: u64,
    /// Messages that are missing, as far as is known: the sum of the topics', and what the file's end knows of beyond them.
    pub missing: u64,
    /// Jumps of numbers that they are missing in.
    pub gaps: u64,
    /// Messages for which the recorder had no room, as it says at the file's end; none where that is missing.
    pub dropped: Option<u64>,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TopicSurvey {
    /// Messages that can be read.
    pub messages: u64,
    /// Bytes of these messages.
    pub bytes: u64,
    /// Messages that are missing up to the last one: by the recorder's numbers or by the senders', whichever are more.
    pub missing: u64,
    /// Jumps of these numbers.
    pub gaps: u64,
}

/// A topic while it is read.
struct Tally {
    messages: u64,
    bytes: u64,
    /// The recorder's number of the first message, and of the last.
    first_sequence: u32,
    last_sequence: u32,
    /// By the recorder's numbers: there was no room, or a chunk was left out.
    unrecorded: u64,
    jumps: u64,
    /// By the senders' numbers, where there are any.
    senders: Option<GapCounter>,
}

impl Recording {
    /// Reads the whole file and tells what has survived.
    ///
    /// # Errors
    /// [`ReadError::Io`] if the disk refuses.
    pub fn survey(&self) -> Result<Survey, ReadError> {
        Survey::of(self.messages()?)
    }
}

impl Survey {
    /// Reads all messages.
    pub(super) fn of<R: Read>(mut messages: Messages<R>) -> Result<Self, ReadError> {
        let mut tallies = BTreeMap::<String, Tally>::new();
        let mut times: Option<(u64, u64)> = None;
        for message in &mut messages {
            let message = message?;
            let log_ns = message.log_ns;
            times = Some(times.map_or((log_ns, log_ns), |(first, last)| {
                (first.min(log_ns), last.max(log_ns))
            }));
            match tallies.get_mut(&*message.topic) {
                Some(tally) => tally.count(message.sequence, &message.bytes),
                None => {
                    let mut tally = Tally::new(&message.topic);
                    tally.count(message.sequence, &message.bytes);
                    tallies.insert(message.topic.to_string(), tally);
                }
            }
        }
        if messages.is_ours() {
            for tally in tallies.values_mut() {
                tally.count_from_one();
            }
        }
        let unrecorded: u64 = tallies.values().map(|tally| tally.unrecorded).sum();
        let topics: BTreeMap<_, _> = tallies
            .into_iter()
            .map(|(topic, tally)| (topic, tally.survey()))
            .collect();
        let dropped = messages.dropped();
        // The end of the file knows of losses that leave no jump: messages behind the last one of their topic, whole topics.
        let found: u64 = topics.values().map(|topic| topic.messages).sum();
        let unread = messages.recorded().unwrap_or(0).saturating_sub(found);
        let unseen = dropped
            .unwrap_or(0)
            .saturating_add(unread)
            .saturating_sub(unrecorded);
        let missing = topics
            .values()
            .fold(unseen, |sum, topic| sum.saturating_add(topic.missing));
        let (bytes, read) = messages.bytes();
        let (finished, problem) = match messages.ending() {
            Some(Ending::Complete) if read < bytes => (
                true,
                Some(format!(
                    "at byte {read}: {} bytes stand behind the recording's end, as of another file that was appended; they \
                     were not read",
                    bytes - read
                )),
            ),
            Some(Ending::Complete) if messages.recorded().is_some_and(|all| all < found) => (
                true,
                Some(format!(
                    "its end speaks of fewer messages than the {found} that were read, as where another file was appended to \
                     one that was cut"
                )),
            ),
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
            complete: finished
                && problem.is_none()
                && missing == 0
                && messages.skipped_chunks() == 0,
            finished,
            problem,
            messages: found,
            unverified: messages.unverified(),
            missing,
            gaps: topics.values().map(|topic| topic.gaps).sum(),
            dropped,
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

impl Tally {
    fn new(topic: &str) -> Self {
        Self {
            messages: 0,
            bytes: 0,
            first_sequence: 0,
            last_sequence: 0,
            unrecorded: 0,
            jumps: 0,
            senders: GapCounter::of_topic(topic),
        }
    }

    fn count(&mut self, sequence: u32, message: &[u8]) {
        if self.messages > 0 && sequence > self.last_sequence {
            let passed = u64::from(sequence - self.last_sequence - 1);
            self.unrecorded += passed;
            self.jumps += u64::from(passed > 0);
        }
        if self.messages == 0 {
            self.first_sequence = sequence;
        }
        self.last_sequence = self.last_sequence.max(sequence);
        self.messages += 1;
        self.bytes += message.len() as u64;
        if let Some(senders) = &mut self.senders {
            senders.take(message);
        }
    }

    /// Counts what is missing before the first message too.
    fn count_from_one(&mut self) {
        let passed = u64::from(self.first_sequence.saturating_sub(1));
        self.unrecorded += passed;
        self.jumps += u64::from(passed > 0);
    }

    fn survey(self) -> TopicSurvey {
        let senders = self.senders.as_ref().map(GapCounter::counts);
        let senders = senders.unwrap_or_default();
        TopicSurvey {
            messages: self.messages,
            bytes: self.bytes,
            missing: self.unrecorded.max(senders.missing),
            gaps: self.jumps.max(senders.gaps),
        }
    }
}
