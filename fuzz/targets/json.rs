//! Everything that comes as JSON: the mirror of messages, health, skeletons, requests for clips, steering, pages.

#![no_main]

use kinestream_bridge::engines::axes::Axes;
use kinestream_bridge::engines::steering::Steering;
use kinestream_bridge::{ActRequest, Health, Message, SkeletonInfo};
use kinestream_viewer::{PageInput, character, pusht};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Health::from_json(bytes);
    let _ = ActRequest::parse(bytes);
    if let Ok(value) = serde_json::from_slice(bytes) {
        let _ = SkeletonInfo::from_value(value);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(message) = Message::from_json(text) {
        let _ = message.encode_into(&mut Vec::new());
    }
    let _ = Steering::parse(text, Axes::Unreal);
    let _ = pusht::Input::from_json(text);
    let _ = character::Input::from_json(text);
});
