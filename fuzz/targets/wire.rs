//! Messages on zenoh, as bytes: what is read is written again, and read as the same.

#![no_main]

use kinestream_bridge::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    let mut again = Vec::new();
    if message.encode_into(&mut again).is_ok() {
        assert!(Message::decode(&again).is_ok());
    }
});
