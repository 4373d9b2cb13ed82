//! An array of a zarr v2 store: its description up to a zero byte, then its first chunk, plain or in a Blosc frame.

#![no_main]

use kinestream_policy::data::ArrayInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("kinestream-fuzz-{}.zarr", std::process::id()));
    let at = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let (description, chunk) = bytes.split_at(at);
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(".zarray"), description))
        .and_then(|()| std::fs::write(folder.join("0"), chunk.get(1..).unwrap_or_default()))
        .and_then(|()| std::fs::write(folder.join("0.0"), chunk.get(1..).unwrap_or_default()));
    if written.is_err() {
        return;
    }
    if let Ok(info) = ArrayInfo::open(&folder) {
        let _ = info.read();
        let _ = info.read_bytes();
    }
});
