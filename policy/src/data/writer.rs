//! Writing of replay buffers: zarr v2, single precision, without a compressor, as [`Episodes::read`](super::Episodes::read)
//! and zarr's own libraries read them.
//!
//! Promise: a folder of the final name holds a whole buffer or does not exist. It is written beside, under the name with
//! `.partial` appended, and takes its name when all of it is on disk.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::{Error, Result};

/// Rows of a chunk, each a file of its own.
const CHUNK_ROWS: usize = 1024;

/// An array of a replay buffer, to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedArray {
    /// Name under `data/`.
    pub name: String,
    /// Shape of a row.
    pub row: Vec<usize>,
    /// Values row by row, `[rows, row...]`.
    pub values: Vec<f32>,
}

impl RecordedArray {
    /// An array without rows yet.
    pub fn new(name: &str, row: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            row: row.to_vec(),
            values: Vec::new(),
        }
    }
}

/// Writes a replay buffer: `data/<name>` of every array, and `meta/episode_ends` with the row after the last one of every
/// episode.
///
/// # Errors
/// `store` exists, or what a write that was ended left beside it; arrays that have other rows than the episodes, by name;
/// what the operating system says. Nothing is left of a buffer that could not be written.
pub fn write_replay_buffer(store: &Path, arrays: &[RecordedArray], ends: &[usize]) -> Result<()> {
    let rows = ends.last().copied().unwrap_or(0);
    for array in arrays {
        let found = array.values.len();
        let expected = rows * array.row.iter().product::<usize>();
        if found != expected {
            let reason = format!(
                "{found} numbers, expected {expected}: {rows} rows of {:?}",
                array.row
            );
            return Err(Error::data(store.join("data").join(&array.name), reason));
        }
    }
    if store.exists() {
        let reason = "already exists and is not replaced; remove it or name another folder";
        return Err(Error::data(store, reason));
    }
    let beside = partial(store);
    if let Err(error) = std::fs::create_dir(&beside) {
        return Err(match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::data(
                &beside,
                "already exists: another program writes it, or was ended while it did; remove it if none does",
            ),
            _ => Error::io(&beside)(error),
        });
    }
    let written = write_all(&beside, arrays, ends)
        .and_then(|()| std::fs::rename(&beside, store).map_err(Error::io(store)));
    if written.is_err() {
        // The first error is the one to tell.
        _ = std::fs::remove_dir_all(&beside);
    }
    written
}

fn partial(store: &Path) -> PathBuf {
    let mut name = store.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".partial");
    store.with_file_name(name)
}

fn write_all(folder: &Path, arrays: &[RecordedArray], ends: &[usize]) -> Result<()> {
    for group in ["", "data", "meta"] {
        let group = folder.join(group);
        std::fs::create_dir_all(&group).map_err(Error::io(&group))?;
        let description = json!({ "zarr_format": 2 }).to_string();
        write_file(&group.join(".zgroup"), description.as_bytes())?;
    }
    for array in arrays {
        let bytes: Vec<u8> = array
            .values
            .iter()
            .flat_map(|it| it.to_le_bytes())
            .collect();
        let width = array.row.iter().product::<usize>();
        let shape = [&[array.values.len() / width.max(1)], &array.row[..]].concat();
        write_array(
            &folder.join("data").join(&array.name),
            "<f4",
            &shape,
            &bytes,
        )?;
    }
    let bytes: Vec<u8> = ends
        .iter()
        .flat_map(|end| (*end as i64).to_le_bytes())
        .collect();
    write_array(
        &folder.join("meta/episode_ends"),
        "<i8",
        &[ends.len()],
        &bytes,
    )
}

/// Writes an array of `shape` with chunks along its first axis.
fn write_array(folder: &Path, kind: &str, shape: &[usize], bytes: &[u8]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let chunks = [&[CHUNK_ROWS], &shape[1..]].concat();
    let description = json!({
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": kind,
        "compressor": null,
        "fill_value": 0,
        "filters": null,
        "order": "C",
    });
    write_file(&folder.join(".zarray"), description.to_string().as_bytes())?;
    let size = bytes.len() / shape[0].max(1) * CHUNK_ROWS;
    for (index, part) in bytes.chunks(size.max(1)).enumerate() {
        // Chunk files are of full size; what lies beyond the array counts for nothing.
        let mut chunk = part.to_vec();
        chunk.resize(size, 0);
        let name = format!("{index}{}", ".0".repeat(shape.len() - 1));
        write_file(&folder.join(name), &chunk)?;
    }
    Ok(())
}

/// Writes a file and waits until it is on disk.
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io(path))?;
    file.write_all(bytes).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{ObservationPart, TaskConfig};
    use crate::data::Episodes;

    /// Two episodes over three chunks.
    fn recorded() -> (Vec<RecordedArray>, Vec<usize>) {
        let rows = 2 * CHUNK_ROWS + 5;
        let mut state = RecordedArray::new("state", &[3]);
        let mut points = RecordedArray::new("points", &[2, 2]);
        let mut action = RecordedArray::new("action", &[2]);
        for row in 0..rows {
            let row = row as f32;
            state.values.extend([row, row + 0.25, row + 0.5]);
            points
                .values
                .extend([-row, 1.0 - row, 2.0 - row, 3.0 - row]);
            action.values.extend([row / 7.0, -row]);
        }
        (vec![state, points, action], vec![40, rows])
    }

    fn task() -> TaskConfig {
        let part = |array: &str, columns: Option<Vec<usize>>| ObservationPart {
            array: array.into(),
            columns,
            image: None,
        };
        TaskConfig {
            name: "two_ways".into(),
            observation: vec![part("state", Some(vec![2])), part("points", None)],
            action: "action".into(),
            rate_hz: 10.0,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("data.zarr");
        let (arrays, ends) = recorded();
        write_replay_buffer(&store, &arrays, &ends).unwrap();
        let episodes = Episodes::read(&store, &task()).unwrap();
        assert_eq!(episodes.ends, ends);
        assert_eq!(episodes.actions, arrays[2].values);
        assert_eq!(episodes.observation_size, 5);
        let row = 2 * CHUNK_ROWS + 2;
        let found = &episodes.observations[5 * row..][..5];
        assert_eq!(found[0], arrays[0].values[3 * row + 2]);
        assert_eq!(found[1..], arrays[1].values[4 * row..][..4]);
        // Nothing lies beside it.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_replaced_and_nothing_half_written_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("data.zarr");
        let (mut arrays, ends) = recorded();
        std::fs::create_dir(&store).unwrap();
        let message = |arrays: &[RecordedArray], store: &Path| {
            write_replay_buffer(store, arrays, &ends)
                .unwrap_err()
                .to_string()
        };
        let found = message(&arrays, &store);
        assert!(
            found.contains("data.zarr") && found.contains("not replaced"),
            "{found}"
        );
        std::fs::remove_dir(&store).unwrap();

        std::fs::create_dir(partial(&store)).unwrap();
        let found = message(&arrays, &store);
        assert!(found.contains("data.zarr.partial"), "{found}");
        std::fs::remove_dir(partial(&store)).unwrap();

        let absent = folder.path().join("absent/data.zarr");
        assert!(message(&arrays, &absent).contains("absent"));

        // A name that no file can have fails when a part is written already.
        arrays[1].name = "a\0b".into();
        message(&arrays, &store);
        arrays[1].name = "points".into();
        arrays[1].values.pop();
        let found = message(&arrays, &store);
        assert!(
            found.contains("data/points") && found.contains("expected"),
            "{found}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    proptest! {
        // Every file is waited for until it is on disk.
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn buffers_of_any_shape_come_back(
            lengths in prop::collection::vec(1_usize..1500, 1..4),
            row in prop::collection::vec(1_usize..4, 0..3),
            seed: u32,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = folder.path().join("data.zarr");
            let ends: Vec<usize> = lengths
                .iter()
                .scan(0, |end, length| {
                    *end += length;
                    Some(*end)
                })
                .collect();
            let rows = ends[ends.len() - 1];
            let mut action = RecordedArray::new("action", &row);
            let numbers = rows * row.iter().product::<usize>();
            action.values = (0..numbers as u32)
                .map(|at| (at ^ seed).wrapping_mul(2_654_435_761) as f32 - 2e9)
                .collect();
            write_replay_buffer(&store, std::slice::from_ref(&action), &ends).unwrap();
            let task = TaskConfig { observation: Vec::new(), ..task() };
            let episodes = Episodes::read(&store, &task).unwrap();
            prop_assert_eq!(episodes.ends, ends);
            prop_assert_eq!(episodes.actions, action.values);
        }
    }
}
