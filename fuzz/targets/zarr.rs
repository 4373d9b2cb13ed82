//! An array of a zarr store: its description, of either format, up to a zero byte, then its first chunk.

#![no_main]

use std::path::Path;

use kinestream_policy::data::{ArrayInfo, Store};
use libfuzzer_sys::fuzz_target;

/// Where a format keeps the description, and the first chunk of arrays with one axis and with two.
const FORMATS: [(&str, [&str; 3]); 2] = [
    ("two", [".zarray", "0", "0.0"]),
    ("three", ["zarr.json", "c/0", "c.0.0"]),
];

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("kinestream-fuzz-{}.zarr", std::process::id()));
    let end = bytes.iter().position(|byte| *byte == 0);
    let (description, chunk) = bytes.split_at(end.unwrap_or(bytes.len()));
    let chunk = chunk.get(1..).unwrap_or_default();
    for (name, files) in FORMATS {
        for (file, bytes) in files.iter().zip([description, chunk, chunk]) {
            if write(&folder.join(name).join(file), bytes).is_err() {
                return;
            }
        }
        let info = Store::open(&folder).and_then(|store| ArrayInfo::open(&store, name));
        if let Ok(info) = info {
            let _ = info.read();
            let _ = info.read_bytes();
            let _ = info.read_indices();
        }
    }
});

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes)
}
