//! The senders' side: one channel per topic, for ordinary threads and for control threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::gaps::GapCounts;
use crossbeam_channel::{Receiver, Sender};

/// Entries that wait for the writer thread at most.
pub(super) const MOST_ENTRIES: usize = 8192;
/// Bytes that wait for the writer thread at most.
const MOST_BYTES: usize = 32 << 20;
/// Bytes before every message in a realtime channel's ring: length, sequence, two times.
const PACKET_HEADER: usize = 24;

/// Sends messages of one topic from ordinary threads. Clones share the topic and its numbering. Messages of one thread are
/// recorded in the order in which they were sent, whatever their topics.
#[derive(Debug, Clone)]
pub struct RecordChannel {
    pub(super) index: usize,
    pub(super) queue: Sender<Entry>,
    pub(super) shared: Arc<Shared>,
    pub(super) sequence: Arc<AtomicU32>,
}

impl RecordChannel {
    /// Copies a message into the recorder's queue. Never waits: false, and counted as dropped, if the queue (8192 messages,
    /// 32 MiB) is full or the recorder has stopped. Times in nanoseconds: `log_ns` orders the recording, `publish_ns` is
    /// when the message was made.
    pub fn send(&self, log_ns: u64, publish_ns: u64, bytes: &[u8]) -> bool {
        // A message that is dropped keeps its number, so that readers see the gap.
        let sequence = self
            .sequence
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        if self.shared.has_stopped() || !self.shared.reserve(bytes.len()) {
            return self.shared.drop_one();
        }
        let entry = Entry::Message {
            index: self.index,
            packet: Packet {
                sequence,
                log_ns,
                publish_ns,
                bytes: bytes.into(),
            },
        };
        if self.queue.try_send(entry).is_err() {
            self.shared.release(bytes.len());
            return self.shared.drop_one();
        }
        true
    }
}

/// Sends messages of one topic from a control thread: wait-free, without allocation, lock or system call.
#[derive(Debug)]
pub struct RealtimeChannel {
    pub(super) ring: rtrb::Producer<u8>,
    pub(super) shared: Arc<Shared>,
    pub(super) slot_bytes: usize,
    pub(super) sequence: u32,
}

impl RealtimeChannel {
    /// Copies a message into the channel's ring. False, and counted as dropped, if the ring is full, the message is longer
    /// than a slot, or the recorder has stopped. Times as in [`RecordChannel::send`].
    pub fn send(&mut self, log_ns: u64, publish_ns: u64, bytes: &[u8]) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        if bytes.len() > self.slot_bytes || self.shared.has_stopped() {
            return self.shared.drop_one();
        }
        let Ok(mut chunk) = self.ring.write_chunk(PACKET_HEADER + bytes.len()) else {
            return self.shared.drop_one();
        };
        let mut header = [0; PACKET_HEADER];
        header[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        header[8..16].copy_from_slice(&log_ns.to_le_bytes());
        header[16..].copy_from_slice(&publish_ns.to_le_bytes());
        let (mut first, mut second) = chunk.as_mut_slices();
        for part in [&header[..], bytes] {
            let (before, after) = part.split_at(part.len().min(first.len()));
            first = append(first, before);
            second = append(second, after);
        }
        chunk.commit_all();
        true
    }

    /// Ring for `slots` messages of `slot_bytes`.
    pub(super) fn ring(
        slot_bytes: usize,
        slots: usize,
    ) -> (rtrb::Producer<u8>, rtrb::Consumer<u8>) {
        let capacity = slots.max(1) * (slot_bytes + PACKET_HEADER);
        let (mut producer, mut consumer) = rtrb::RingBuffer::new(capacity);
        // Filled and emptied once: the control thread must not be the first to touch a page.
        if let Ok(chunk) = producer.write_chunk(capacity) {
            chunk.commit_all();
        }
        if let Ok(chunk) = consumer.read_chunk(capacity) {
            chunk.commit_all();
        }
        (producer, consumer)
    }
}

/// Copies `part` to the front of `places`; returns the places behind it.
fn append<'a>(places: &'a mut [u8], part: &[u8]) -> &'a mut [u8] {
    let (front, rest) = places.split_at_mut(part.len());
    front.copy_from_slice(part);
    rest
}

/// A message on its way to the writer thread.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) sequence: u32,
    pub(super) log_ns: u64,
    pub(super) publish_ns: u64,
    pub(super) bytes: Box<[u8]>,
}

impl Packet {
    /// Bytes that it takes in a ring.
    pub(super) fn ring_bytes(&self) -> usize {
        PACKET_HEADER + self.bytes.len()
    }
}

/// The oldest packet of a ring.
pub(super) fn pop(ring: &mut rtrb::Consumer<u8>) -> Option<Packet> {
    // Packets are committed whole: a header that is there has its bytes behind it.
    let mut header = [0; PACKET_HEADER];
    ring.pop_entire_slice(&mut header).ok()?;
    let [
        l0,
        l1,
        l2,
        l3,
        s0,
        s1,
        s2,
        s3,
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        a6,
        a7,
        p @ ..,
    ] = header;
    let mut bytes = vec![0; u32::from_le_bytes([l0, l1, l2, l3]) as usize].into_boxed_slice();
    ring.pop_entire_slice(&mut bytes).ok()?;
    Some(Packet {
        sequence: u32::from_le_bytes([s0, s1, s2, s3]),
        log_ns: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
        publish_ns: u64::from_le_bytes(p),
        bytes,
    })
}

/// What the writer thread takes out of its queue.
#[derive(Debug)]
pub(super) enum Entry {
    /// A topic begins; its messages come by the queue, or by its own ring.
    Open {
        index: usize,
        definition: Definition,
        ring: Option<rtrb::Consumer<u8>>,
    },
    /// A message.
    Message { index: usize, packet: Packet },
}

/// A topic as the file names it.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) topic: String,
    pub(super) message_encoding: String,
    /// Name, encoding and text.
    pub(super) schema: Option<(String, String, String)>,
}

/// The queue of ordinary channels.
pub(super) fn queue() -> (Sender<Entry>, Receiver<Entry>) {
    crossbeam_channel::bounded(MOST_ENTRIES)
}

/// What senders, the writer thread and the recorder see of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    stopped: AtomicBool,
    pub(super) finishing: AtomicBool,
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) slowest_sync_ns: AtomicU64,
    /// One of each kind, in the order in which they happened.
    faults: Mutex<Vec<String>>,
    /// Of the topics that lack messages. Senders never ask for it.
    gaps: Mutex<BTreeMap<String, GapCounts>>,
}

impl Shared {
    /// Whether anything sent from now on would be lost.
    fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Refuses all that is sent from now on.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Counts a dropped message; always false.
    fn drop_one(&self) -> bool {
        self.drop_many(1);
        false
    }

    pub(super) fn drop_many(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn reserve(&self, bytes: usize) -> bool {
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_BYTES {
            return true;
        }
        self.release(bytes);
        false
    }

    /// Gives room back that a queued message took.
    pub(super) fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        self.slowest_sync_ns
            .fetch_max(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Ends the recording for a reason. A second reason stands beside the first; returns whether it is new.
    pub(super) fn add_fault(&self, fault: String) -> bool {
        self.stop();
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !faults.contains(&fault);
        if is_new {
            faults.push(fault);
        }
        is_new
    }

    /// All faults in one sentence; none if there was none.
    pub(super) fn fault(&self) -> Option<String> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    pub(super) fn set_gaps(&self, topic: &str, counts: GapCounts) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = gaps.get_mut(topic) {
            *known = counts;
        } else {
            gaps.insert(topic.to_owned(), counts);
        }
    }

    pub(super) fn gaps(&self) -> BTreeMap<String, GapCounts> {
        let mut gaps = self
            .gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // Late messages may have filled them all.
        gaps.retain(|_, counts| *counts != GapCounts::default());
        gaps
    }
}
