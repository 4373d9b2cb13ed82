//! A zarr store in a zip archive.

#![no_main]

use kinestream_policy::data::{ArrayInfo, Store};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path =
        std::env::temp_dir().join(format!("kinestream-fuzz-{}.zarr.zip", std::process::id()));
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    if let Ok(store) = Store::open(&path) {
        // Arrays of the seeds in zarr/tests/fixtures.
        for name in [
            "data/action",
            "meta/episode_ends",
            "smooth/plain",
            "smooth/zstd",
        ] {
            if let Ok(info) = ArrayInfo::open(&store, name) {
                let _ = info.read();
                let _ = info.read_indices();
            }
        }
    }
});
