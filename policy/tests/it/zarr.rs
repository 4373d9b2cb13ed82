//! The Push-T demonstrations as they are, and copies of them damaged in every way that a copy can
//! be: always one clear error that names the file, never a panic.
//!
//! The data set lies beside the checkout; without it the tests skip, and say so.
use std::path::{Path, PathBuf};

use kinestream_policy::config::{ObservationPart, TaskConfig};
use kinestream_policy::data::{ArrayInfo, Episodes, Store};

#[test]
fn the_demonstrations_are_complete_and_have_their_known_limits() {
    let Some(store) = store() else { return };
    let episodes = Episodes::read(&store, &task()).unwrap();
    assert_eq!(episodes.len(), 206);
    assert_eq!(
        (episodes.observation_size, episodes.action_size),
        (5 + 18, 2)
    );
    assert_eq!(episodes.actions.len(), 2 * 25_650);
    assert_eq!(episodes.observations.len(), 23 * 25_650);
    assert_eq!(*episodes.ends.last().unwrap(), 25_650);
    let lengths: Vec<usize> = (0..206)
        .map(|episode| {
            let (first, end) = episodes.bounds(episode);
            end - first
        })
        .collect();
    assert_eq!(
        (
            *lengths.iter().min().unwrap(),
            *lengths.iter().max().unwrap()
        ),
        (49, 246)
    );
    let limits = |rows: &[f32], size: usize, column: usize| {
        let values = rows.chunks_exact(size).map(|row| row[column]);
        (
            values.clone().fold(f32::MAX, f32::min),
            values.fold(f32::MIN, f32::max),
        )
    };
    assert_eq!(limits(&episodes.actions, 2, 0), (12.0, 511.0));
    assert_eq!(limits(&episodes.actions, 2, 1), (25.0, 511.0));
    for (column, low, high) in [(0, 13.456, 496.146), (1, 32.938, 510.958)] {
        let found = limits(&episodes.observations, 23, column);
        assert!(
            (found.0 - low).abs() < 1e-3 && (found.1 - high).abs() < 1e-3,
            "{found:?}"
        );
    }
}

#[test]
fn only_the_named_columns_are_read() {
    let Some(store) = store() else { return };
    let mut task = task();
    let all = Episodes::read(&store, &task).unwrap();
    task.observation[0].columns = Some(vec![1, 4]);
    task.observation.truncate(1);
    let some = Episodes::read(&store, &task).unwrap();
    assert_eq!(some.observation_size, 2);
    for (some, all) in some
        .observations
        .chunks_exact(2)
        .zip(all.observations.chunks_exact(23))
    {
        assert_eq!(some, [all[1], all[4]]);
    }
    task.observation[0].columns = Some(vec![5]);
    let message = Episodes::read(&store, &task).unwrap_err().to_string();
    says(
        &message,
        &["data/state", "column 5", "there are 5", "task.observation"],
    );
}

#[test]
fn damaged_copies_are_refused_by_file() {
    let Some(copy) = Copy::new() else { return };
    let (store, action) = (copy.store(), copy.store().join("data/action"));
    assert_eq!(Episodes::read(&store, &task()).unwrap().len(), 206);
    let refusal = || Episodes::read(&store, &task()).unwrap_err().to_string();
    let damaged = |path: &Path, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>| {
        let bytes = std::fs::read(path).unwrap();
        match change(bytes.clone()) {
            Some(changed) => std::fs::write(path, changed).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        let message = refusal();
        std::fs::write(path, bytes).unwrap();
        message
    };

    for share in [0, 1, 40, 99] {
        let cut = |bytes: Vec<u8>| Some(bytes[..bytes.len() * share / 100].to_vec());
        says(
            &damaged(&action.join("7.0"), &cut),
            &["data/action/7.0", "truncated"],
        );
    }
    let found = damaged(&store.join("meta/episode_ends/0"), &|_| None);
    says(
        &found,
        &["meta/episode_ends", "none of its 1 chunks", "copied"],
    );
    let found = damaged(&store.join("data/state/.zarray"), &|_| None);
    says(
        &found,
        &[
            "data/state",
            "neither .zarray nor zarr.json",
            "task.observation",
        ],
    );

    let reworded = |from: &str, to: &str| {
        damaged(&action.join(".zarray"), &|bytes| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{text}");
            Some(text.replacen(from, to, 1).into_bytes())
        })
    };
    let found = reworded("25650", "25500");
    says(
        &found,
        &["data/action", "25500 rows", "the episodes end at row 25650"],
    );
    says(
        &reworded("25650", "25950"),
        &["data/action", "25950 rows", "the episodes end at row 25650"],
    );
    for huge in ["9000000000000000000", "18446744073709551615"] {
        says(
            &reworded("25650", huge),
            &["data/action/.zarray", "damaged"],
        );
        says(&reworded("161", huge), &["data/action/.zarray", "damaged"]);
    }
    says(
        &reworded("25650", "-1"),
        &["data/action/.zarray", "invalid"],
    );
    says(
        &reworded("\"blosc\"", "\"lz77\""),
        &[
            "data/action/.zarray",
            "`lz77`",
            "expected one of",
            "Blosc zstd",
        ],
    );
    says(
        &reworded("<f4", "<c8"),
        &["data/action/.zarray", "number type `<c8`"],
    );
    says(
        &reworded("<f4", "<f8"),
        &["data/action/0.0", "bytes after decompression"],
    );
    says(&reworded("\"C\"", "\"K\""), &["data/action/.zarray", "`K`"]);
    says(
        &reworded("\"zarr_format\": 2", "\"zarr_format\": 3"),
        &["data/action/.zarray", "format 3", "expected 2"],
    );
    says(
        &reworded("161", "0"),
        &["data/action/.zarray", "do not fit"],
    );
    says(
        &reworded("161", "100"),
        &["data/action/0.0", "expected 800"],
    );
    says(&reworded("{", ""), &["data/action/.zarray", "line"]);
    let found = Episodes::read(Path::new("no/such/store"), &task())
        .unwrap_err()
        .to_string();
    says(&found, &["no/such/store", "--data"]);
    // All of it was put back.
    assert_eq!(
        Episodes::read(&store, &task()).unwrap().actions.len(),
        2 * 25_650
    );
}

#[test]
fn chunks_that_are_missing_are_fill_values_unless_nearly_all_are() {
    let Some(copy) = Copy::new() else { return };
    let (store, action) = (copy.store(), copy.store().join("data/action"));
    let whole = Episodes::read(&store, &task()).unwrap().actions;
    for chunk in [7, 159] {
        std::fs::remove_file(action.join(format!("{chunk}.0"))).unwrap();
    }
    let some = Episodes::read(&store, &task()).unwrap().actions;
    for (at, (found, sound)) in some.iter().zip(&whole).enumerate() {
        let missing = [7, 159].contains(&(at / 2 / 161));
        assert_eq!(*found, if missing { 0.0 } else { *sound }, "{at}");
    }
    for chunk in 2..160 {
        _ = std::fs::remove_file(action.join(format!("{chunk}.0")));
    }
    let refusal = || Episodes::read(&store, &task()).unwrap_err().to_string();
    says(
        &refusal(),
        &[
            "data/action",
            "only 2 of its 160 chunks",
            "not copied whole",
        ],
    );
    for chunk in [0, 1] {
        std::fs::remove_file(action.join(format!("{chunk}.0"))).unwrap();
    }
    says(
        &refusal(),
        &[
            "data/action",
            "none of its 160 chunks",
            "nothing of it was copied",
        ],
    );
}

#[test]
fn flipped_bytes_are_an_error_or_other_numbers_never_a_panic() {
    let Some(copy) = Copy::new() else { return };
    let array = copy.store().join("data/action");
    let description = std::fs::read_to_string(array.join(".zarray")).unwrap();
    std::fs::write(
        array.join(".zarray"),
        description.replacen("25650", "161", 1),
    )
    .unwrap();
    let chunk = array.join("0.0");
    let bytes = std::fs::read(&chunk).unwrap();
    let (mut refused, mut read) = (0, 0);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            std::fs::write(&chunk, damaged).unwrap();
            let store = Store::open(&copy.store()).unwrap();
            match ArrayInfo::open(&store, "data/action").unwrap().read() {
                Ok(array) => {
                    assert_eq!((array.shape, array.values.len()), (vec![161, 2], 322));
                    read += 1;
                }
                Err(error) => {
                    says(&error.to_string(), &["data/action/0.0"]);
                    refused += 1;
                }
            }
        }
    }
    println!(
        "{} bytes: {refused} damages refused, {read} not noticed",
        bytes.len()
    );
    assert!(refused > 0);
}

fn task() -> TaskConfig {
    let part = |array: &str| ObservationPart {
        array: array.into(),
        columns: None,
        image: None,
    };
    TaskConfig {
        name: "pusht".into(),
        observation: vec![part("state"), part("keypoint")],
        action: "action".into(),
        rate_hz: 10.0,
    }
}

/// A writable copy of the arrays that the tests read.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Option<Self> {
        let source = store()?;
        let folder = tempfile::tempdir().unwrap();
        for array in [
            "data/state",
            "data/keypoint",
            "data/action",
            "meta/episode_ends",
        ] {
            let target = folder.path().join(array);
            std::fs::create_dir_all(&target).unwrap();
            for entry in std::fs::read_dir(source.join(array)).unwrap() {
                let path = entry.unwrap().path();
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(target.join(path.file_name().unwrap()), bytes).unwrap();
            }
        }
        Some(Self(folder))
    }

    fn store(&self) -> PathBuf {
        self.0.path().to_path_buf()
    }
}

/// The data set, if it is there.
fn store() -> Option<PathBuf> {
    let store = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/pusht/pusht_cchi_v7_replay.zarr");
    if store.is_dir() {
        return Some(store);
    }
    println!("skipped: {} is not there", store.display());
    None
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}
