//! Recordings written and read back: whole, cut, damaged, and on a disk that is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tempfile::TempDir;

use super::channel::{Entry, Shared, pop, queue};
use super::storage::Storage;
use super::*;

/// A storage in memory, full after `limit` bytes.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) bytes: Arc<Mutex<Vec<u8>>>,
    pub(super) limit: usize,
    /// Whether the file can neither be cut nor synced once it is full.
    pub(super) is_broken: bool,
}

impl Disk {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Arc::default(),
            limit,
            is_broken: false,
        }
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.bytes.lock().unwrap();
        let room = bytes.len().min(self.limit - all.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        all.extend_from_slice(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Disk {
    fn sync(&mut self) -> io::Result<()> {
        if self.is_broken && self.bytes.lock().unwrap().len() == self.limit {
            return Err(io::Error::other("the sync fails too"));
        }
        Ok(())
    }

    fn verify(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("the cut fails too"));
        }
        self.bytes.lock().unwrap().truncate(length as usize);
        Ok(())
    }
}

pub(super) const PLAIN: Format<'_> = Format {
    message_encoding: "plain",
    schema: None,
};

/// The bytes of message `number`, which differ from any other's.
pub(super) fn payload(number: u64, length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (at % 8)) as u8 ^ at as u8)
        .collect()
}

/// A recording of `count` messages of `length` bytes on two topics; one chunk for every 4 MiB.
pub(super) fn recorded(count: u64, length: usize) -> Vec<u8> {
    let disk = Disk::new(usize::MAX);
    let recorder = Recorder::start(disk.clone(), Path::new("test")).unwrap();
    let topics = [
        recorder.channel("even", Format::json("test.Even")),
        recorder.channel("odd", PLAIN),
    ];
    for number in 0..count {
        let sent = topics[number as usize % 2].send(number, 7 * number, &payload(number, length));
        assert!(sent);
    }
    let status = recorder.finish();
    assert_eq!((status.messages, status.dropped), (count, 0));
    assert_eq!(status.fault, None);
    let bytes = disk.contents();
    assert_eq!(status.bytes, bytes.len() as u64);
    bytes
}

pub(super) fn messages(bytes: &[u8]) -> Messages<&[u8]> {
    Messages::new(bytes, bytes.len() as u64, PathBuf::from("test"))
}

pub(super) fn read(bytes: &[u8]) -> Vec<RecordedMessage> {
    messages(bytes).map(Result::unwrap).collect()
}

pub(super) fn survey(bytes: &[u8]) -> Survey {
    Survey::of(messages(bytes)).unwrap()
}

#[test]
fn what_was_sent_comes_back() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.mcap");
    let recorder = Recorder::create(&path).unwrap();
    let states = recorder.channel("obs/state", Format::WIRE);
    let mut ticks = recorder.realtime_channel("control/tick", PLAIN, 16, 64);
    let config = recorder.channel("config", Format::json("test.Config"));
    assert!(config.send(10, 10, b"{}"));
    assert!(states.clone().send(20, 19, b"first"));
    assert!(ticks.send(21, 20, b"tick"));
    assert!(states.send(30, 29, b""));
    let status = recorder.finish();
    assert_eq!((status.messages, status.dropped), (4, 0));
    assert_eq!(recorder.finish(), status);
    assert!(!states.send(40, 40, b"late"));

    let recording = Recording::open(&path).unwrap();
    let found: Vec<_> = recording
        .messages()
        .unwrap()
        .map(Result::unwrap)
        .map(|m| {
            (
                m.topic.to_string(),
                m.log_ns,
                m.publish_ns,
                m.sequence,
                m.bytes,
            )
        })
        .collect();
    let expected = [
        ("config", 10, 10, 1, &b"{}"[..]),
        ("obs/state", 20, 19, 1, b"first"),
        ("control/tick", 21, 20, 1, b"tick"),
        ("obs/state", 30, 29, 2, b""),
    ]
    .map(|(topic, log, publish, sequence, bytes)| {
        (topic.to_owned(), log, publish, sequence, bytes.to_vec())
    });
    assert_eq!(found, expected);
    let survey = recording.survey().unwrap();
    assert!(survey.complete, "{survey:?}");
    assert_eq!((survey.messages, survey.bytes_lost), (4, 0));
    assert_eq!(
        (survey.first_log_ns, survey.last_log_ns),
        (Some(10), Some(30))
    );
    assert_eq!(survey.bytes, status.bytes);
    assert_eq!(survey.topics["obs/state"].messages, 2);
}

#[test]
fn other_mcap_readers_agree() {
    let bytes = recorded(200, 40);
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    assert_eq!(summary.stats.unwrap().message_count, 200);
    let ours = read(&bytes);
    let theirs: Vec<_> = mcap::MessageStream::new(&bytes)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(ours.len(), theirs.len());
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(*our.topic, *their.channel.topic);
        assert_eq!(
            (our.log_ns, our.publish_ns, our.sequence, &our.bytes[..]),
            (
                their.log_time,
                their.publish_time,
                their.sequence,
                &their.data[..]
            )
        );
    }
    let schema = theirs[0].channel.schema.as_ref().unwrap();
    assert_eq!(
        (
            &*schema.name,
            &*schema.encoding,
            &*theirs[0].channel.message_encoding
        ),
        ("test.Even", "jsonschema", "json")
    );
    assert!(theirs[1].channel.schema.is_none());
}

#[test]
fn nothing_is_overwritten_and_nothing_left_behind() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.mcap");
    std::fs::write(&path, "precious").unwrap();
    let refused = Recorder::create(&path).unwrap_err();
    assert!(matches!(refused, RecordError::Exists { .. }), "{refused}");
    assert!(refused.to_string().contains("another name"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let refused = Recorder::create(folder.path().join("absent/a.mcap")).unwrap_err();
    assert!(matches!(refused, RecordError::Create { .. }), "{refused}");
}

/// Cut at `cut`, `whole` opens, reports as much as can be, and loses nothing before the cut.
fn check_cut(whole: &[u8], all: &[RecordedMessage], cut: usize) -> u64 {
    let part = &whole[..cut];
    let found = read(part);
    assert_eq!(found, all[..found.len()], "cut at {cut}: not a prefix");
    let survey = survey(part);
    assert_eq!(survey.messages, found.len() as u64, "cut at {cut}");
    assert_eq!(survey.complete, cut == whole.len(), "cut at {cut}");
    assert_eq!(survey.problem.is_none(), survey.complete, "cut at {cut}");
    assert_eq!(survey.skipped_chunks, 0, "cut at {cut}");
    assert!(survey.bytes_lost <= cut as u64, "cut at {cut}");
    survey.messages
}

#[test]
fn cut_at_every_byte_a_recording_opens() {
    let whole = recorded(12, 9);
    let all = read(&whole);
    assert_eq!(all.len(), 12);
    let mut last = 0;
    for cut in 0..=whole.len() {
        let survived = check_cut(&whole, &all, cut);
        assert!(survived >= last, "cut at {cut}: {survived} after {last}");
        last = survived;
    }
    assert_eq!(last, 12);
    // What stands in an unfinished chunk counts: the messages do not come all at once.
    let half = whole.windows(9).rposition(|window| window == payload(5, 9));
    assert_eq!(check_cut(&whole, &all, half.unwrap() + 9), 6);
}

#[test]
fn cut_at_random_bytes_a_recording_of_several_chunks_opens() {
    // Seed 3 of a small generator (the constants of Numerical Recipes, section 7.1).
    let mut state = 3_u64;
    let whole = recorded(3000, 4000);
    let all = read(&whole);
    assert_eq!(all.len(), 3000);
    let mut cuts: Vec<usize> = (0..100)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 16) as usize % whole.len()
        })
        .collect();
    cuts.sort_unstable();
    let survived: Vec<u64> = cuts
        .iter()
        .map(|cut| check_cut(&whole, &all, *cut))
        .collect();
    assert!(survived.is_sorted(), "{survived:?}");
    for (cut, survived) in cuts.iter().zip(survived) {
        // A message takes 31 bytes beside its own, and nothing but the one under the knife is lost.
        let expected = (cut.saturating_sub(20_000)) as u64 / 4050;
        assert!(survived >= expected, "{survived} messages at byte {cut}");
    }
}

#[test]
fn a_tail_of_garbage_loses_no_finished_chunk() {
    let whole = recorded(3000, 4000);
    let all = read(&whole);
    for tail in [vec![0; 5000], payload(1, 5000), b"MCAP".to_vec()] {
        let long = [&whole[..], &tail].concat();
        assert_eq!(read(&long), all);
        let found = survey(&long);
        assert_eq!(found.bytes_lost, tail.len() as u64);
        assert!(found.finished && !found.complete, "{found:?}");
        assert!(
            found
                .problem
                .unwrap()
                .contains("behind the recording's end")
        );
        // The first chunk ends a little after 4 MiB.
        let cut = [&whole[..6 << 20], &tail].concat();
        let found = survey(&cut);
        assert!(found.messages >= 1000, "{found:?}");
        assert!(!found.complete);
        assert_eq!(read(&cut)[..1000], all[..1000]);
    }
}

#[test]
fn a_chunk_with_a_wrong_checksum_is_left_out_and_reading_goes_on() {
    let mut bytes = recorded(3000, 4000);
    let all = read(&bytes);
    bytes[1 << 20] ^= 1;
    let found = survey(&bytes);
    assert_eq!(found.skipped_chunks, 1);
    assert!(found.finished && !found.complete);
    assert_eq!(found.missing, 3000 - found.messages);
    let left = read(&bytes);
    // Of three chunks or more one is gone; the topics that it named are still known.
    assert!((1500..3000).contains(&left.len()), "{}", left.len());
    assert_eq!(left, all[all.len() - left.len()..]);
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let disk = Disk::new(6 << 20);
    let recorder = Recorder::start(disk.clone(), Path::new("full.mcap")).unwrap();
    let topic = recorder.channel("a", PLAIN);
    let mut ticks = recorder.realtime_channel("tick", PLAIN, 8, 8);
    let mut accepted = 0;
    while recorder.status().fault.is_none() {
        accepted += u64::from(topic.send(accepted, accepted, &payload(accepted, 4000)));
    }
    assert!(!topic.send(0, 0, b"refused at once"));
    assert!(!ticks.send(0, 0, b"too"));
    let status = recorder.finish();
    let fault = status.fault.unwrap();
    for word in ["full.mcap", "stopped", "readable", "another name"] {
        assert!(fault.contains(word), "{fault}");
    }
    let found = read(&disk.contents());
    assert_eq!(found.len() as u64, status.messages);
    assert!(status.messages >= 1000, "the first chunk");
    for (number, message) in found.iter().enumerate() {
        assert_eq!(message.bytes, payload(number as u64, 4000));
    }
    assert!(status.messages <= accepted);
    assert!(
        status.dropped >= accepted - status.messages + 2,
        "{accepted} accepted, {} written, {} dropped",
        status.messages,
        status.dropped
    );
}

#[test]
fn a_disk_without_any_room_is_an_error_at_once() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let refused = Recorder::start(full, Path::new("/dev/full")).unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("/dev/full") && said.contains("No space left"),
        "{said}"
    );
}

#[test]
fn a_full_ring_drops_and_counts_and_keeps_its_order() {
    let (producer, mut consumer) = RealtimeChannel::ring(8, 4);
    let shared = Arc::new(Shared::default());
    let mut channel = RealtimeChannel {
        ring: producer,
        shared: Arc::clone(&shared),
        slot_bytes: 8,
        sequence: 0,
    };
    let mut expected = Vec::new();
    let mut dropped = 0;
    for round in 0..50_u64 {
        // Lengths from 0 to 9, of which 9 is too long.
        for number in 0..6 {
            let bytes = payload(round, (round + number) as usize % 10);
            let sequence = (6 * round + number + 1) as u32;
            if channel.send(round, number, &bytes) {
                expected.push((sequence, bytes));
            } else {
                dropped += 1;
            }
        }
        for (sequence, bytes) in expected.drain(..) {
            let packet = pop(&mut consumer).unwrap();
            assert_eq!((packet.sequence, &*packet.bytes), (sequence, &bytes[..]));
            assert_eq!(packet.log_ns, round);
        }
        assert!(pop(&mut consumer).is_none());
    }
    assert!(dropped >= 50 * 5 / 10, "{dropped}");
    assert_eq!(shared.dropped(), dropped);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (sender, entries) = queue();
    let shared = Arc::new(Shared::default());
    let channel = RecordChannel {
        index: 0,
        queue: sender,
        shared: Arc::clone(&shared),
        sequence: Arc::default(),
    };
    // By bytes: 32 MiB.
    let large = vec![0; 1 << 20];
    let taken = (0..40).filter(|_| channel.send(0, 0, &large)).count();
    assert_eq!((taken, shared.dropped()), (32, 8));
    while let Ok(Entry::Message { packet, .. }) = entries.try_recv() {
        shared.release(packet.bytes.len());
    }
    // By count: 8192. Dropped messages keep their numbers.
    let taken = (0..9000).filter(|_| channel.send(0, 0, b"")).count();
    assert_eq!((taken, shared.dropped()), (8192, 8 + 808));
    drop(entries);
    assert!(!channel.send(0, 0, b""));
}

#[test]
fn missing_numbers_are_counted() {
    let disk = Disk::new(usize::MAX);
    let recorder = Recorder::start(disk.clone(), Path::new("test")).unwrap();
    let mut ticks = recorder.realtime_channel("tick", PLAIN, 4, 64);
    for number in 0..10 {
        // Every third is too long for its slot.
        ticks.send(number, 0, if number % 3 == 1 { b"too long" } else { b"ok" });
    }
    let status = recorder.finish();
    assert_eq!((status.messages, status.dropped), (7, 3));
    assert_eq!(survey(&disk.contents()).topics["tick"].missing, 3);
}

#[test]
fn what_is_no_recording_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Recording::open(&path)
    };
    assert!(matches!(
        Recording::open(folder.path().join("absent")),
        Err(ReadError::Io { .. })
    ));
    assert!(matches!(
        Recording::open(folder.path()),
        Err(ReadError::NotAFile { .. })
    ));
    for other in [&b"PK\x03\x04"[..], b"\x89PNG\r\n\x1a\n", b"x"] {
        let refused = open(other).unwrap_err();
        assert!(refused.to_string().contains("MCAP"), "{refused}");
    }
    for part in 0..=mcap::MAGIC.len() {
        let recording = open(&mcap::MAGIC[..part]).unwrap();
        let survey = recording.survey().unwrap();
        assert_eq!((survey.messages, survey.complete), (0, false));
    }
    assert!(File::open(&path).is_ok());
}

#[test]
fn a_compressed_chunk_is_named_with_its_remedy() {
    let mut bytes = mcap::MAGIC.to_vec();
    let header = [
        &[0; 28][..],
        &4_u32.to_le_bytes(),
        b"zstd",
        &0_u64.to_le_bytes(),
    ]
    .concat();
    bytes.push(6);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    let problem = survey(&bytes).problem.unwrap();
    assert!(
        problem.contains("zstd") && problem.contains("mcap decompress"),
        "{problem}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        cut in 0_usize..2000,
        at in 0_usize..2000,
    ) {
        let mut bytes = recorded(12, 9);
        bytes.truncate(cut);
        bytes.extend(&noise);
        let at = at % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = byte.wrapping_add(1);
        }
        let found = survey(&bytes);
        prop_assert!(found.bytes_lost <= bytes.len() as u64);
    }
}
