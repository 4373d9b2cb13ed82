//! The hand-off of plans under loom: every order in which the two ends' atomic operations can happen, and every value that
//! the memory model lets a load return.
//!
//! `cargo xtask ci` runs it, as `RUSTFLAGS="--cfg loom" cargo test -p kinestream-control --test loom_latest` does with a
//! target folder of its own.
//!
//! That either end is wait-free shows in that the models end: a loop that waits for the other end would have loom give up.

#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use kinestream_control::{Plan, PlanHeader, PlanReader, latest_plan};

/// A plan whose every field and action tells its chunk, with a length that varies.
fn plan(chunk: u64) -> Plan {
    let positions = 1 + chunk as usize % 2;
    let header = PlanHeader {
        stream: 0,
        chunk,
        observation_sequence: chunk * 3,
        start_ns: chunk * 7,
        period_ns: chunk + 1,
        action_size: 1,
        committed: positions,
    };
    Plan::new(header, vec![chunk as f32; positions]).unwrap()
}

/// The chunk of what the reader finds, which has to be whole; 0 for none.
fn chunk(reader: &mut PlanReader) -> u64 {
    reader.latest().map_or(0, |found| {
        let chunk = found.header().chunk;
        assert_eq!(found, &plan(chunk));
        chunk
    })
}

#[test]
fn plans_arrive_whole_and_in_order() {
    loom::model(|| {
        let (mut writer, mut reader) = latest_plan(2, 1);
        let sender = loom::thread::spawn(move || {
            (1..=3).for_each(|chunk| writer.publish(&plan(chunk)).unwrap());
        });
        let mut newest = 0;
        for _ in 0..3 {
            let found = chunk(&mut reader);
            assert!(found >= newest, "{found} after {newest}");
            newest = found;
        }
        sender.join().unwrap();
        // Whatever was seen on the way, the last one is there now, once.
        assert_eq!(chunk(&mut reader), 3);
        assert_eq!(chunk(&mut reader), 3);
        assert!((1..=3).contains(&reader.received()));
    });
}

#[test]
fn a_withdrawn_plan_does_not_come_back() {
    loom::model(|| {
        let (mut writer, mut reader) = latest_plan(2, 1);
        let sender = loom::thread::spawn(move || {
            writer.publish(&plan(1)).unwrap();
            writer.withdraw();
            writer.publish(&plan(2)).unwrap();
        });
        let found = [(); 3].map(|()| chunk(&mut reader));
        // None before the first; then 1; none again; then 2 for good. Any of these may be skipped.
        let mut stages = [0, 1, 0, 2].into_iter().peekable();
        for seen in found {
            while stages.peek().is_some_and(|stage| *stage != seen) {
                stages.next();
            }
            assert!(stages.peek().is_some(), "{found:?}");
        }
        sender.join().unwrap();
        assert_eq!(chunk(&mut reader), 2);
    });
}

#[test]
fn the_last_withdrawal_leaves_nothing() {
    loom::model(|| {
        let (mut writer, mut reader) = latest_plan(2, 1);
        let sender = loom::thread::spawn(move || {
            writer.publish(&plan(1)).unwrap();
            writer.withdraw();
        });
        chunk(&mut reader);
        sender.join().unwrap();
        assert_eq!(chunk(&mut reader), 0);
    });
}
