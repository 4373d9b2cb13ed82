//! Counts the messages that a recording lacks, by the numbers that their senders gave them.
//!
//! A jump of `stamp.sequence` is a gap. A sender that begins anew, a message that comes twice and one that comes late are
//! none. The recorder counts while it writes, and a survey counts again what stands in the file, by the same rules.

use std::collections::VecDeque;
use std::ops::Range;

use serde::Serialize;

use crate::wire::{Header, Stamp};

/// Streams of a topic that are told apart at a time; the one that was silent for longest is forgotten.
const MAX_STREAMS: usize = 16;
/// Numberings of a stream that are told apart at a time: two senders under one stream number keep theirs.
const MAX_SENDERS: usize = 4;
/// Gaps of a numbering that late messages may still fill.
const MAX_OPEN_GAPS: usize = 64;
/// Longest jump that can be a loss; a longer one is another numbering. A second at 10 kHz is 10,000.
const MAX_JUMP: u64 = 1 << 32;
/// Successive numbers behind the newest after which their sender has begun anew, though its clock went back too.
const RESTART_RUN: u32 = 8;

/// Losses of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GapCounts {
    /// Jumps of the senders' numbers.
    pub gaps: u64,
    /// Messages that these jumps pass over.
    pub missing: u64,
}

/// What a topic's numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All messages of the sender, whatever their streams.
    Topic,
    /// The messages of a stream: a simulator may number its resets and observations together.
    Stream,
}

/// The losses of one topic, message by message.
#[derive(Debug, Clone)]
pub(super) struct GapCounter {
    scope: Scope,
    /// The one that was heard last is the last.
    streams: Vec<StreamGaps>,
    counts: GapCounts,
}

#[derive(Debug, Clone)]
struct StreamGaps {
    stream: u32,
    /// The one that was heard last is the last.
    senders: Vec<Numbering>,
}

/// One sender's numbers.
#[derive(Debug, Clone)]
struct Numbering {
    newest: u64,
    /// Largest time of the sender so far.
    time_ns: u64,
    open: VecDeque<Range<u64>>,
    /// The last number behind the newest, and how many came one after the other.
    behind: (u64, u32),
}

impl GapCounter {
    /// Counts for a topic below `<namespace>/<robot>`; none for topics whose messages have no numbers of their own:
    /// requests and controls of one sender are numbered together, and of controls only the newest counts.
    pub(super) fn of_topic(topic: &str) -> Option<Self> {
        let scope = match topic {
            "act" | "plan" | "status" | "pose" => Scope::Topic,
            _ if topic.starts_with("obs/") => Scope::Stream,
            _ => return None,
        };
        Some(Self {
            scope,
            streams: Vec::new(),
            counts: GapCounts::default(),
        })
    }

    /// Takes a message in, in the order of the recording; returns whether the counts have changed. What is no message of the
    /// wire has no number and counts nothing.
    pub(super) fn take(&mut self, message: &[u8]) -> bool {
        let before = self.counts;
        if let Ok(header) = Header::decode(message)
            && header.stamp.sequence > 0
        {
            self.count(&header.stamp);
        }
        self.counts != before
    }

    /// The losses until now.
    pub(super) fn counts(&self) -> GapCounts {
        self.counts
    }

    fn count(&mut self, stamp: &Stamp) {
        let stream = match self.scope {
            Scope::Topic => 0,
            Scope::Stream => stamp.stream,
        };
        let known = self.streams.iter().position(|it| it.stream == stream);
        let mut heard = match known {
            Some(at) => self.streams.remove(at),
            None => StreamGaps {
                stream,
                senders: Vec::new(),
            },
        };
        heard.count(stamp, &mut self.counts);
        if self.streams.len() >= MAX_STREAMS {
            self.streams.remove(0);
        }
        self.streams.push(heard);
    }
}

impl StreamGaps {
    fn count(&mut self, stamp: &Stamp, counts: &mut GapCounts) {
        let (sequence, time_ns) = (stamp.sequence, stamp.monotonic_ns);
        // The exact successor first: two senders of one stream then keep their own numbers apart.
        let next = self
            .senders
            .iter()
            .rposition(|sender| sender.newest.checked_add(1) == Some(sequence));
        if let Some(at) = next.or(self.senders.len().checked_sub(1)) {
            let mut sender = self.senders.remove(at);
            let goes_on = sender.take(sequence, time_ns, counts);
            self.senders.push(sender);
            if goes_on {
                return;
            }
        }
        if self.senders.len() >= MAX_SENDERS {
            self.senders.remove(0);
        }
        self.senders.push(Numbering {
            newest: sequence,
            time_ns,
            open: VecDeque::new(),
            behind: (0, 0),
        });
    }
}

impl Numbering {
    /// Takes a number in; false if it is of a numbering that begins with it.
    fn take(&mut self, sequence: u64, time_ns: u64, counts: &mut GapCounts) -> bool {
        if sequence > self.newest {
            let passed = sequence - self.newest - 1;
            if passed > MAX_JUMP {
                return false;
            }
            if passed > 0 {
                counts.gaps += 1;
                counts.missing += passed;
                if self.open.len() >= MAX_OPEN_GAPS {
                    self.open.pop_front();
                }
                self.open.push_back(self.newest + 1..sequence);
            }
            self.newest = sequence;
            self.time_ns = self.time_ns.max(time_ns);
            self.behind = (0, 0);
            return true;
        }
        if self.fill(sequence, counts) {
            return true;
        }
        // A number that goes back while the time goes on.
        if sequence < self.newest && time_ns > self.time_ns {
            return false;
        }
        // Both go back: late, doubled, or a sender whose machine was started again.
        let (last, run) = self.behind;
        let run = if last.checked_add(1) == Some(sequence) {
            run + 1
        } else {
            1
        };
        self.behind = (sequence, run);
        run < RESTART_RUN
    }

    /// Takes a late message out of the gap that it left.
    fn fill(&mut self, sequence: u64, counts: &mut GapCounts) -> bool {
        let Some(at) = self.open.iter().position(|gap| gap.contains(&sequence)) else {
            return false;
        };
        let gap = self.open[at].clone();
        self.open.remove(at);
        let rest = [gap.start..sequence, sequence + 1..gap.end];
        let rest = rest.into_iter().filter(|part| !part.is_empty());
        counts.gaps -= 1;
        counts.missing -= 1;
        for part in rest {
            counts.gaps += 1;
            self.open.push_back(part);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Encode, Name, Observation};

    /// An observation's bytes.
    fn message(stream: u32, sequence: u64, monotonic_ns: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Observation {
            stamp: Stamp {
                sequence,
                monotonic_ns,
                wall_ns: 0,
                stream,
            },
            name: Name::new("state").unwrap(),
            values: vec![0.0],
        }
        .encode_into(&mut bytes)
        .unwrap();
        bytes
    }

    /// Gaps and missing messages of stream, number, time in a topic.
    fn counted(topic: &str, messages: &[(u32, u64, u64)]) -> (u64, u64) {
        let mut counter = GapCounter::of_topic(topic).unwrap();
        for &(stream, sequence, time_ns) in messages {
            counter.take(&message(stream, sequence, time_ns));
        }
        (counter.counts().gaps, counter.counts().missing)
    }

    /// Numbers of one stream, each a nanosecond after the one before.
    fn in_a_row(numbers: &[u64]) -> (u64, u64) {
        let messages: Vec<_> = (1..)
            .zip(numbers)
            .map(|(time_ns, &number)| (1, number, time_ns))
            .collect();
        counted("act", &messages)
    }

    #[test]
    fn jumps_are_counted() {
        assert_eq!(in_a_row(&[5, 6, 7]), (0, 0));
        assert_eq!(in_a_row(&[1, 2, 641, 642, 644]), (2, 639));
        // Not numbered.
        assert_eq!(in_a_row(&[0, 0, 7, 0, 8]), (0, 0));
    }

    #[test]
    fn a_sender_that_begins_anew_has_lost_nothing() {
        assert_eq!(in_a_row(&[700, 701, 1, 2, 3]), (0, 0));
        assert_eq!(in_a_row(&[700, 701, 1, 2, 5, 6]), (1, 2));
        // Its machine, too: numbers and clock go back.
        let rebooted: Vec<_> = (1..=20)
            .chain((1..=9).chain([12]))
            .enumerate()
            .map(|(at, number)| (1, number, if at < 20 { 1000 + number } else { number }))
            .collect();
        assert_eq!(counted("obs/state", &rebooted), (1, 2));
        // To numbers that no loss explains, and back.
        assert_eq!(in_a_row(&[1, 2, u64::MAX, 3, 4, u64::MAX, 5]), (0, 0));
    }

    #[test]
    fn doubled_and_late_messages_are_no_loss() {
        let late = [1, 2, 5, 3, 4, 6].map(|number| (1, number, 10 * number));
        assert_eq!(counted("obs/state", &late), (0, 0));
        let doubled = [1, 2, 2, 3, 1, 4, 4, 4, 5].map(|number| (1, number, 10 * number));
        assert_eq!(counted("obs/state", &doubled), (0, 0));
        let middle = [1, 9, 5].map(|number| (1, number, 10 * number));
        assert_eq!(counted("obs/state", &middle), (2, 6));
    }

    #[test]
    fn streams_and_senders_are_told_apart() {
        // Two clients at once, each with its own stream and numbers.
        let two = [(1, 1, 1), (9, 500, 2), (1, 2, 3), (9, 501, 4), (9, 503, 5)];
        assert_eq!(counted("obs/state", &two), (1, 1));
        // Resets and observations numbered together.
        assert_eq!(counted("obs/state", &[(1, 2, 1), (2, 4, 2)]), (0, 0));
        // A runtime counts on over its streams.
        assert_eq!(counted("act", &[(1, 1, 1), (2, 4, 2)]), (1, 2));
        // Two senders of one stream.
        let twins = [1000, 5, 1001, 6, 1002, 7, 8, 1003];
        assert_eq!(in_a_row(&twins), (0, 0));
    }

    #[test]
    fn what_has_no_numbers_counts_nothing() {
        for topic in ["cmd/reset", "control", "health", "config", "control/tick"] {
            assert!(GapCounter::of_topic(topic).is_none(), "{topic}");
        }
        let mut counter = GapCounter::of_topic("act").unwrap();
        assert!(!counter.take(b"") && !counter.take(b"{}"));
        let cut = &message(1, 9, 9)[..39];
        assert!(!counter.take(&message(1, 1, 1)) && !counter.take(cut));
        assert_eq!(counter.counts(), GapCounts::default());
    }

    proptest! {
        /// However messages are delayed and doubled, what is lost is counted exactly.
        #[test]
        fn losses_are_exact(
            kept in prop::collection::vec(any::<bool>(), 2..120),
            moves in prop::collection::vec((0_usize..120, 0_usize..5), 0..20),
        ) {
            let mut numbers: Vec<u64> = (1..).zip(&kept).filter(|(_, kept)| **kept).map(|(n, _)| n).collect();
            prop_assume!(!numbers.is_empty());
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            let missing = last - first + 1 - numbers.len() as u64;
            for (at, by) in moves {
                // The first stays: what was before it is not known to be missing.
                let at = 1 + at % numbers.len();
                if at + by < numbers.len() {
                    numbers.swap(at, at + by);
                    numbers.push(numbers[at]);
                }
            }
            let messages: Vec<_> = numbers.iter().map(|&number| (1, number, number)).collect();
            prop_assert_eq!(counted("act", &messages).1, missing);
        }

        /// Whatever the numbers are, nothing panics and nothing grows.
        #[test]
        fn any_numbers_are_taken(messages in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>()), 0..300)) {
            let mut counter = GapCounter::of_topic("obs/state").unwrap();
            for (stream, sequence, time_ns) in messages {
                counter.take(&message(stream % 40, sequence, time_ns));
            }
            prop_assert!(counter.streams.len() <= MAX_STREAMS);
        }
    }
}
