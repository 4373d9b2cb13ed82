//! `.ckpt` files: the archive, the pickle in it, and what they say of a policy.

#![no_main]

use kinestream_policy::import;
use libfuzzer_sys::fuzz_target;
use tch::Device;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("kinestream-fuzz-{}.ckpt", std::process::id()));
    if std::fs::write(&path, bytes).is_ok() {
        let _ = import::open(&path, Device::Cpu);
    }
});
