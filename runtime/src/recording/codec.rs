//! The encoding of messages that only this program reads back: bincode 2, fixed-size integers,
//! little-endian. The only place that knows it (RUSTSEC-2025-0141: bincode is not maintained).

use anyhow::{Context, Result, ensure};
use bincode::config::{Configuration, Fixint, LittleEndian, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Name of the encoding in recordings.
pub(super) const ENCODING: &str = "bincode/2";

fn layout() -> Configuration<LittleEndian, Fixint> {
    standard().with_fixed_int_encoding()
}

/// Encodes a message.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    bincode::serde::encode_to_vec(message, layout()).context("cannot encode for the recording")
}

/// Encodes a message without allocation; returns its bytes within `slot`, or none if it does not
/// fit.
pub(super) fn encode_into<'a>(message: &impl Serialize, slot: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = bincode::serde::encode_into_slice(message, slot, layout()).ok()?;
    slot.get(..length)
}

/// Decodes a message of `topic`, all of it.
pub fn decode<M: DeserializeOwned>(topic: &str, bytes: &[u8]) -> Result<M> {
    let (message, read) =
        bincode::serde::decode_from_slice(bytes, layout()).with_context(|| {
            format!("a message on `{topic}` does not decode; was it recorded by another version?")
        })?;
    ensure!(
        read == bytes.len(),
        "a message on `{topic}` has {} bytes, expected {read}; was it recorded by another version?",
        bytes.len()
    );
    Ok(message)
}
