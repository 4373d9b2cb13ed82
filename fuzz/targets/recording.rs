//! MCAP recordings, whole, cut and damaged.

#![no_main]

use kinestream_bridge::recording::Recording;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("kinestream-fuzz-{}.mcap", std::process::id()));
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    if let Ok(recording) = Recording::open(&path) {
        let _ = recording.survey();
        if let Ok(messages) = recording.messages() {
            let _ = messages
                .take(10_000)
                .filter(|message| message.is_ok())
                .count();
        }
    }
});
