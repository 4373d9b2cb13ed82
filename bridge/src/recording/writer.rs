//! The writer thread: takes what was sent, lays it out as MCAP, and brings it to the disk in time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mcap::records::{MessageHeader, Metadata};

use super::channel::{self, Definition, Entry, Packet, Shared};
use super::gaps::GapCounter;
use super::losses;
use super::storage::{Staging, Storage};

/// Time between two looks at what was sent.
const ROUND: Duration = Duration::from_millis(10);
/// Longest time that a message stays in an unfinished chunk, a round less than what the module promises.
const CHUNK_AGE: Duration = Duration::from_millis(230);
/// Size from which a chunk is finished before its time.
const CHUNK_BYTES: usize = 4 << 20;
/// Longest time that a finished chunk waits for the disk's confirmation, a round less than promised.
const SYNC_AGE: Duration = Duration::from_millis(480);

/// The thread's own.
pub(super) struct Writer {
    storage: Box<dyn Storage>,
    path: String,
    entries: Receiver<Entry>,
    shared: Arc<Shared>,
    staging: Staging,
    /// None once a fault has ended the recording.
    file: Option<mcap::Writer<Staging>>,
    /// Bytes of the file that hold whole chunks.
    written: u64,
    /// Every channel, where the file could take it.
    channels: Vec<Option<Topic>>,
    rings: Vec<(usize, rtrb::Consumer<u8>)>,
    /// Since when a chunk has been unfinished, and what is in it.
    chunk_begun: Option<Instant>,
    chunk_bytes: usize,
    chunk_messages: u64,
    /// Since when bytes have waited for the disk.
    unsynced: Option<Instant>,
    dropped_told: u64,
    /// Messages dropped before the recording was asked to end: what comes later is not of it.
    dropped_before_end: u64,
}

/// A channel's topic in the file.
struct Topic {
    name: String,
    /// MCAP's number of it.
    number: u16,
    /// None where messages have no numbers.
    gaps: Option<GapCounter>,
}

impl Writer {
    /// Writes the file's first bytes.
    pub(super) fn new(
        storage: Box<dyn Storage>,
        path: String,
        entries: Receiver<Entry>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let staging = Staging::default();
        let file = mcap::WriteOptions::new()
            .compression(None)
            .profile(super::PROFILE)
            .library(concat!("kinestream ", env!("CARGO_PKG_VERSION")))
            .chunk_size(None)
            // A chunk is put together in memory and appended whole: the file never has a header still to be filled in.
            .disable_seeking(true)
            .create(staging.clone())
            .map_err(io::Error::other)?;
        let mut writer = Self {
            storage,
            path,
            entries,
            shared,
            staging,
            file: Some(file),
            written: 0,
            channels: Vec::new(),
            rings: Vec::new(),
            chunk_begun: None,
            chunk_bytes: 0,
            chunk_messages: 0,
            unsynced: None,
            dropped_told: 0,
            dropped_before_end: 0,
        };
        writer.append()?;
        writer.storage.sync()?;
        writer.unsynced = None;
        Ok(writer)
    }

    /// Writes until the recorder is finished.
    pub(super) fn run(mut self) {
        loop {
            // Looked at before the round: what was sent before it was set still gets written.
            let finishing = self.shared.finishing.load(Ordering::Acquire);
            if finishing {
                self.dropped_before_end = self.shared.dropped();
                self.shared.stop();
            }
            self.round();
            if finishing {
                break;
            }
            std::thread::park_timeout(ROUND);
        }
        self.finish();
    }

    fn round(&mut self) {
        let mut sources = self.collect();
        // One order for all: the earliest first, and every sender's own order kept.
        while let Some(source) = sources
            .iter_mut()
            .filter(|source| !source.is_empty())
            .min_by_key(|source| source.front().map(|(_, packet)| packet.log_ns))
        {
            if let Some((index, packet)) = source.pop_front() {
                self.write(index, &packet);
            }
        }
        self.tell_drops();
        if self.file.is_none() {
            return;
        }
        let is_due =
            |since: Option<Instant>, age| since.is_some_and(|since| since.elapsed() >= age);
        if is_due(self.chunk_begun, CHUNK_AGE) {
            self.finish_chunk();
        }
        if is_due(self.unsynced, SYNC_AGE) {
            self.sync();
        }
    }

    /// All that has arrived: the queue's messages, then each ring's.
    fn collect(&mut self) -> Vec<VecDeque<(usize, Packet)>> {
        let mut queued = VecDeque::new();
        while let Ok(entry) = self.entries.try_recv() {
            match entry {
                Entry::Open {
                    index,
                    definition,
                    ring,
                } => {
                    self.open(index, &definition);
                    self.rings.extend(ring.map(|ring| (index, ring)));
                }
                Entry::Message { index, packet } => {
                    self.shared.release(packet.bytes.len());
                    queued.push_back((index, packet));
                }
            }
            if queued.len() >= channel::MOST_ENTRIES {
                // Senders that are as quick as this loop must not keep it from writing.
                break;
            }
        }
        let mut sources = vec![queued];
        for (index, ring) in &mut self.rings {
            let mut packets = VecDeque::new();
            let mut bytes = ring.slots();
            while bytes > 0
                && let Some(packet) = channel::pop(ring)
            {
                bytes = bytes.saturating_sub(packet.ring_bytes());
                packets.push_back((*index, packet));
            }
            sources.push(packets);
        }
        sources
    }

    fn open(&mut self, index: usize, definition: &Definition) {
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        let Some(file) = &mut self.file else {
            return;
        };
        let schema = match &definition.schema {
            Some((name, encoding, text)) => file.add_schema(name, encoding, text.as_bytes()),
            None => Ok(0),
        };
        let number = schema.and_then(|schema| {
            file.add_channel(
                schema,
                &definition.topic,
                &definition.message_encoding,
                &BTreeMap::new(),
            )
        });
        match number {
            Ok(number) => {
                self.channels[index] = Some(Topic {
                    name: definition.topic.clone(),
                    number,
                    gaps: GapCounter::of_topic(&definition.topic),
                });
                self.chunk_begun.get_or_insert_with(Instant::now);
            }
            Err(error) => self.fail(&format!("topic `{}`: {error}", definition.topic)),
        }
    }

    fn write(&mut self, index: usize, packet: &Packet) {
        let topic = self.channels.get_mut(index).and_then(Option::as_mut);
        let (Some(file), Some(topic)) = (&mut self.file, topic) else {
            return self.shared.drop_many(1);
        };
        if let Some(gaps) = &mut topic.gaps
            && gaps.take(&packet.bytes)
        {
            self.shared.set_gaps(&topic.name, gaps.counts());
        }
        let header = MessageHeader {
            channel_id: topic.number,
            sequence: packet.sequence,
            log_time: packet.log_ns,
            publish_time: packet.publish_ns,
        };
        if let Err(error) = file.write_to_known_channel(&header, &packet.bytes) {
            self.shared.drop_many(1);
            return self.fail(&error.to_string());
        }
        self.chunk_messages += 1;
        self.chunk_begun.get_or_insert_with(Instant::now);
        self.chunk_bytes += packet.bytes.len();
        if self.chunk_bytes >= CHUNK_BYTES {
            self.finish_chunk();
        }
    }

    fn finish_chunk(&mut self) {
        let Some(file) = &mut self.file else {
            return;
        };
        self.chunk_begun = None;
        self.chunk_bytes = 0;
        if let Err(error) = file.flush() {
            return self.fail(&error.to_string());
        }
        if let Err(error) = self.append() {
            self.fail(&error.to_string());
        }
    }

    /// Appends the staged bytes to the file.
    fn append(&mut self) -> io::Result<()> {
        // Before it is written: a file that was cut would be filled up with zeros.
        self.storage.verify(self.written)?;
        let Self {
            staging, storage, ..
        } = self;
        self.written += staging.take_with(|bytes| {
            storage
                .write_all(bytes)
                .and_then(|()| storage.flush())
                .map(|()| bytes.len() as u64)
        })?;
        self.shared.bytes.store(self.written, Ordering::Relaxed);
        let messages = std::mem::take(&mut self.chunk_messages);
        self.shared.messages.fetch_add(messages, Ordering::Relaxed);
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn sync(&mut self) {
        let begun = Instant::now();
        self.unsynced = None;
        let synced = self.storage.sync();
        if let Err(error) = synced.and_then(|()| self.storage.verify(self.written)) {
            return self.fail(&error.to_string());
        }
        self.shared.synced(begun.elapsed());
    }

    /// Ends the recording, once. What follows is taken and dropped, so that nobody is held up.
    fn fail(&mut self, reason: &str) {
        // Finishing it writes to memory only.
        self.file = None;
        self.staging.take_with(|_| ());
        self.shared
            .drop_many(std::mem::take(&mut self.chunk_messages));
        // Half a chunk would be read as far as it goes; without it the file ends cleanly.
        let truncated = self.storage.truncate(self.written);
        self.complain(format!(
            "recording stopped after {} bytes of {}: {reason}; what stands in the file until then is readable. Free space or \
             check the disk, and record again under another name",
            self.written, self.path
        ));
        if let Err(error) = truncated {
            self.complain(format!(
                "{} could not be cut back to its last whole chunk either: {error}",
                self.path
            ));
        }
    }

    /// Notes a fault and logs it, unless it is known.
    fn complain(&self, fault: String) {
        if self.shared.add_fault(fault.clone()) {
            tracing::error!("{fault}");
        }
    }

    fn tell_drops(&mut self) {
        let dropped = self.shared.dropped();
        // At the first and then ever more rarely. After a fault everything is dropped, and that has been said.
        if self.file.is_some() && dropped > 2 * self.dropped_told {
            self.dropped_told = dropped;
            tracing::warn!(
                "{dropped} messages not recorded in {}: no room before the disk",
                self.path
            );
        }
    }

    fn finish(&mut self) {
        if self.file.is_some() {
            self.finish_chunk();
        }
        if let Some(file) = &mut self.file {
            let losses = Metadata {
                name: losses::METADATA.to_owned(),
                metadata: losses::to_map(self.dropped_before_end, &self.shared.gaps()),
            };
            let ended = file
                .write_metadata(&losses)
                .and_then(|()| file.finish())
                .map_err(io::Error::other);
            match ended.and_then(|_| self.append()) {
                Ok(()) => self.file = None,
                Err(error) => self.fail(&error.to_string()),
            }
        }
        if self.shared.fault().is_none() {
            self.sync();
        } else if let Err(error) = self.storage.sync() {
            self.complain(format!(
                "the disk did not confirm what had been written of {} before either: {error}",
                self.path
            ));
        }
        // Sent while the last messages were written.
        while let Ok(entry) = self.entries.try_recv() {
            self.shared
                .drop_many(u64::from(matches!(entry, Entry::Message { .. })));
        }
    }
}
