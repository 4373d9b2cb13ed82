//! Recordings: MCAP files, written beside a running system and read back whatever became of them.
//!
//! Promises of the writer: nobody who sends ever waits, and a control thread neither allocates nor locks ([`RealtimeChannel`]);
//! what finds no room is counted, and so is what senders have numbered and never arrived; a full disk ends the recording, not the program; the file only ever grows at its end, by
//! whole chunks, every quarter of a second, and reaches the disk every half. So a crash loses the last quarter of a second,
//! and a power cut less than the last second.
//! Promise of the reader: every prefix of a recording opens, its messages are a prefix of the recording's, and
//! [`Recording::survey`] says how much survived. docs/RECORDING.md describes the files.

mod channel;
mod format;
mod gaps;
mod losses;
mod reader;
mod recorder;
mod storage;
mod survey;
mod writer;

pub use channel::{RealtimeChannel, RecordChannel};
pub use format::{Format, Schema};
pub use gaps::GapCounts;
pub use reader::{Ending, Messages, ReadError, RecordedMessage, Recording};
pub use recorder::{RecordError, Recorder, RecorderStatus};
pub use survey::{Survey, TopicSurvey};

/// MCAP's profile of these files.
const PROFILE: &str = "kinestream";

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod tests;
