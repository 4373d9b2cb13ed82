//! Formats of demonstrations that are known and not read, so that an error says what a folder or file is.

use std::fmt::{Display, Formatter};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{ArrayInfo, EPISODE_ENDS, Store};

/// A data set of another format than a zarr replay buffer, or one in another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetFormat {
    /// A folder of LeRobot, with its version where the folder says it.
    LeRobot(Option<String>),
    /// An HDF5 file, as robomimic writes.
    Hdf5,
    /// A folder of TensorFlow Datasets, as RLDS has.
    TensorFlow,
    /// A folder that holds a replay buffer.
    Above(PathBuf),
}

/// Where versions of LeRobot keep the description of a data set.
const LEROBOT_INFO: [&str; 2] = ["meta/info.json", "meta_data/info.json"];
const HDF5_SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Bytes of a description that are looked at.
const MAX_INFO_BYTES: u64 = 1 << 24;

impl DatasetFormat {
    /// Says what lies at `path`, judged by a few files; none where it is a replay buffer or nothing that is known.
    pub fn detect(path: &Path) -> Option<Self> {
        if path.is_file() {
            return (start(path, HDF5_SIGNATURE.len() as u64)? == HDF5_SIGNATURE)
                .then_some(Self::Hdf5);
        }
        if is_replay_folder(path) {
            return None;
        }
        for info in LEROBOT_INFO {
            let described = start(&path.join(info), MAX_INFO_BYTES);
            if let Some(Value::Object(info)) =
                described.and_then(|text| serde_json::from_slice(&text).ok())
            {
                let version = info.get("codebase_version").and_then(Value::as_str);
                return Some(Self::LeRobot(version.map(str::to_owned)));
            }
        }
        if path.join("dataset_info.json").is_file() && path.join("features.json").is_file() {
            return Some(Self::TensorFlow);
        }
        let inside = std::fs::read_dir(path).ok()?;
        let mut inside: Vec<PathBuf> = inside
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        inside
            .retain(|path| is_replay_folder(path) || path.to_string_lossy().ends_with(".zarr.zip"));
        inside.into_iter().min().map(Self::Above)
    }

    /// Whether there is a replay buffer, of either format of zarr: a folder or a zip archive.
    pub fn is_replay_buffer(path: &Path) -> bool {
        let store = Store::open(path);
        store.is_ok_and(|store| ArrayInfo::open(&store, EPISODE_ENDS).is_ok())
    }
}

impl Display for DatasetFormat {
    fn fmt(&self, formatter: &mut Formatter) -> std::fmt::Result {
        let (kind, version) = match self {
            Self::Above(path) => {
                return write!(
                    formatter,
                    "a folder with a replay buffer in it, expected the replay buffer; name {}",
                    path.display()
                );
            }
            Self::LeRobot(Some(version)) => ("a LeRobotDataset", format!(" ({version})")),
            Self::LeRobot(None) => ("a LeRobotDataset", String::new()),
            Self::Hdf5 => ("an HDF5 file", String::new()),
            Self::TensorFlow => ("a folder of TensorFlow Datasets", String::new()),
        };
        write!(
            formatter,
            "{kind}{version}: kinestream trains from zarr replay buffers; convert it: data/<array> with a row for every step, \
             meta/episode_ends with the row after the last one of every episode (docs/TRAINING.md)"
        )
    }
}

/// Whether a folder looks like a replay buffer, whatever its description says.
fn is_replay_folder(path: &Path) -> bool {
    let ends = path.join(EPISODE_ENDS);
    ends.join(".zarray").is_file() || ends.join("zarr.json").is_file()
}

/// The first bytes of a file; none where it cannot be read.
fn start(path: &Path, bytes: u64) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)
        .ok()?
        .take(bytes)
        .read_to_end(&mut start)
        .ok()?;
    Some(start)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        let said =
            |name: &str| DatasetFormat::detect(&folder.path().join(name)).map(|it| it.to_string());
        write("three/meta/info.json", br#"{"codebase_version": "v3.0"}"#);
        write(
            "one/meta_data/info.json",
            br#"{"codebase_version": "v1.6"}"#,
        );
        write("none/meta/info.json", b"{}");
        write("damaged/meta/info.json", b"{");
        write("square.hdf5", b"\x89HDF\r\n\x1a\nrest");
        write("fractal/dataset_info.json", b"{}");
        write("fractal/features.json", b"{}");
        write("two.zarr/meta/episode_ends/.zarray", b"{}");
        for (name, words) in [
            (
                "three",
                vec![
                    "a LeRobotDataset (v3.0)",
                    "zarr replay buffers",
                    "convert it",
                ],
            ),
            ("one", vec!["a LeRobotDataset (v1.6)"]),
            ("none", vec!["a LeRobotDataset: "]),
            ("square.hdf5", vec!["an HDF5 file", "convert it"]),
            ("fractal", vec!["TensorFlow Datasets", "convert it"]),
            ("", vec!["replay buffer in it", "two.zarr"]),
        ] {
            let message = said(name).unwrap();
            for word in words {
                assert!(message.contains(word), "`{word}` is not in: {message}");
            }
        }
        for name in ["damaged", "two.zarr", "absent"] {
            assert_eq!(said(name), None, "{name}");
        }
    }
}
