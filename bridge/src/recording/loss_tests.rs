//! What recordings lack: numbers that senders left out, bytes that changed, disks that failed; and that it is said.

use std::path::Path;

use proptest::prelude::*;

use super::tests::{Disk, PLAIN, messages, payload, read, recorded, survey};
use super::*;
use crate::wire::{Action, ActionFlags, Encode, Stamp};

/// A command of a sender that counts.
fn command(sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Action {
        stamp: Stamp {
            sequence,
            monotonic_ns: sequence,
            ..Stamp::default()
        },
        chunk: 1,
        position: 0.0,
        noise: 0.0,
        flags: ActionFlags::NONE,
        values: vec![1.0],
    }
    .encode_into(&mut bytes)
    .unwrap();
    bytes
}

/// A recording of commands with these numbers, and the recorder's last word.
fn commands(numbers: impl Iterator<Item = u64>) -> (Vec<u8>, RecorderStatus) {
    let disk = Disk::new(usize::MAX);
    let recorder = Recorder::start(disk.clone(), Path::new("test")).unwrap();
    let topic = recorder.channel("act", Format::WIRE);
    for number in numbers {
        assert!(topic.send(number, number, &command(number)));
    }
    let status = recorder.finish();
    (disk.contents(), status)
}

#[test]
fn numbers_that_senders_left_out_are_counted_and_found_again() {
    // As after 15 s in which the recorder stood still.
    let (bytes, status) = commands((1..=100).chain(739..=800));
    let lost = GapCounts {
        gaps: 1,
        missing: 638,
    };
    assert_eq!(status.gaps, [("act".to_owned(), lost)].into());
    assert_eq!((status.missing(), status.dropped), (638, 0));
    let found = survey(&bytes);
    assert!(found.finished && !found.complete, "{found:?}");
    assert_eq!(
        (found.missing, found.gaps, found.dropped),
        (638, 1, Some(0))
    );
    assert_eq!(
        (found.topics["act"].missing, found.topics["act"].gaps),
        (638, 1)
    );
    // Of a killed recorder, too: its file says nothing of its end.
    let at = bytes
        .windows(8)
        .position(|window| window == 790_u64.to_le_bytes());
    let cut = survey(&bytes[..at.unwrap()]);
    assert_eq!((cut.missing, cut.finished, cut.dropped), (638, false, None));
    // Other programs find the counts.
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let metadata = mcap::read::metadata(&bytes, &summary.metadata_indexes[0]).unwrap();
    assert_eq!(metadata.name, losses::METADATA);
    assert_eq!(metadata.metadata["missing"], "638");
    assert_eq!(metadata.metadata["missing act"], "638 in 1 gaps");
}

#[test]
fn a_recording_without_gaps_is_complete() {
    let (bytes, status) = commands((1..=100).chain(1..=50));
    assert_eq!((status.gaps.len(), status.missing()), (0, 0));
    let found = survey(&bytes);
    assert!(found.complete && found.finished, "{found:?}");
    assert_eq!((found.missing, found.gaps), (0, 0));
}

#[test]
fn what_was_dropped_is_missing_wherever_it_stood() {
    let disk = Disk::new(usize::MAX);
    let recorder = Recorder::start(disk.clone(), Path::new("test")).unwrap();
    let mut ticks = recorder.realtime_channel("tick", PLAIN, 4, 64);
    for number in 0..12 {
        // The first, one in between and the last two are too long for their slots.
        let is_long = matches!(number, 0 | 5 | 10 | 11);
        ticks.send(number, 0, if is_long { b"too long" } else { b"ok" });
    }
    let status = recorder.finish();
    assert_eq!((status.messages, status.dropped), (8, 4));
    let found = survey(&disk.contents());
    assert_eq!((found.missing, found.dropped), (4, Some(4)));
    assert_eq!(
        (found.topics["tick"].missing, found.topics["tick"].gaps),
        (2, 2)
    );
    assert!(!found.complete);
}

#[test]
fn every_fault_is_told_and_not_the_first_alone() {
    let disk = Disk {
        is_broken: true,
        ..Disk::new(100_000)
    };
    let recorder = Recorder::start(disk, Path::new("full.mcap")).unwrap();
    let topic = recorder.channel("a", PLAIN);
    let mut number = 0;
    while recorder.status().fault.is_none() {
        number += u64::from(topic.send(number, number, &payload(number, 4000)));
    }
    let fault = recorder.finish().fault.unwrap();
    for word in [
        "recording stopped",
        "the cut fails too",
        "the sync fails too",
    ] {
        assert_eq!(fault.matches(word).count(), 1, "{fault}");
    }
}

#[test]
fn a_file_that_is_taken_away_is_missed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 2] = [
        ("was removed", |path| std::fs::remove_file(path).unwrap()),
        ("another program changed", |path| {
            std::fs::write(path, "gone").unwrap();
        }),
    ];
    for (word, change) in changes {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.mcap");
        let recorder = Recorder::create(&path).unwrap();
        let topic = recorder.channel("a", PLAIN);
        topic.send(1, 1, b"before");
        change(&path);
        // Every message asks for the disk's word again.
        while recorder.status().fault.is_none() {
            topic.send(2, 2, b"behind");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let fault = recorder.finish().fault.unwrap();
        assert!(fault.contains(word), "{fault}");
    }
}

#[test]
fn a_changed_byte_loses_nothing_in_silence() {
    let whole = recorded(12, 9);
    let all = read(&whole);
    for at in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            let found: Vec<_> = messages(&bytes).map_while(Result::ok).collect();
            let report = survey(&bytes);
            assert!(
                found == all || !report.complete,
                "byte {at} changed by {change:#04x}: {report:?}"
            );
        }
    }
}

#[test]
fn files_that_were_appended_are_told() {
    let (first, second) = (recorded(12, 9), recorded(40, 9));
    for cut in 0..=first.len() {
        let joined = [&first[..cut], &second].concat();
        if survey(&first[..cut]).messages == 0 {
            // Nothing of the first has survived: at best the second is read.
            continue;
        }
        assert!(!survey(&joined).complete, "cut at {cut}");
    }
    let both = [&first[..], &second].concat();
    assert_eq!(read(&both), read(&first));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Wherever the disk is full, what it holds is whole and what is lost is counted.
    #[test]
    fn a_disk_that_fills_anywhere_keeps_what_it_took(limit in 400_usize..200_000, length in 0_usize..3000) {
        let disk = Disk::new(limit);
        // No room for the file's beginning is an error at once.
        let Ok(recorder) = Recorder::start(disk.clone(), Path::new("full.mcap")) else {
            return Ok(());
        };
        let topic = recorder.channel("a", Format::json("test.A"));
        let mut sent = 0;
        for number in 0..100 {
            sent += u64::from(topic.send(number, number, &payload(number, length)));
        }
        let status = recorder.finish();
        let bytes = disk.contents();
        prop_assert_eq!(bytes.len() as u64, status.bytes);
        let found = read(&bytes);
        prop_assert_eq!(found.len() as u64, status.messages);
        for (number, message) in found.iter().enumerate() {
            prop_assert_eq!(&message.bytes, &payload(number as u64, length));
        }
        let report = survey(&bytes);
        prop_assert_eq!(report.finished, status.fault.is_none());
        prop_assert_eq!(status.messages + status.dropped, 100.max(sent));
        prop_assert_eq!(report.bytes_lost, 0);
    }
}
