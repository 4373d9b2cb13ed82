//! Motion capture files: BVH, ASF with AMC (after a zero byte), exponential maps.

#![no_main]

use std::path::Path;

use kinestream_rig::formats::asf_amc::Asf;
use kinestream_rig::formats::{bvh, expmap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let path = Path::new("fuzzed");
    let _ = bvh::parse(text, path);
    let _ = expmap::parse(text, path);
    let (skeleton, motion) = text.split_once('\0').unwrap_or((text, ""));
    if let Ok(asf) = Asf::parse(skeleton, path) {
        let _ = asf.motion(motion, path);
    }
});
