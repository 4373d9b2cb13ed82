//! Zstandard, of one or more frames; also within Blosc frames.

use std::sync::Arc;

use ruzstd::decoding::StreamingDecoder;
use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured, read_to_end};

/// The largest window of a level that `zstd` has.
const MAX_WINDOW_BYTES: u64 = 1 << 31;

#[derive(Debug, Deserialize)]
struct Zstd {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Zstd>(configuration)
}

impl Codec for Zstd {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        decompress(&encoded, size)
    }
}

/// Decompresses frames, one after the other.
pub(super) fn decompress(mut stream: &[u8], size: Size) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while !stream.is_empty() || bytes.is_empty() {
        let rest = Size::AtMost(size.most() - bytes.len());
        // The window is a bound only: the decoder holds what it has decoded.
        let mut decoder = StreamingDecoder::new_with_max_window_size(stream, MAX_WINDOW_BYTES)
            .map_err(|error| format!("zstd: {error}; truncated or damaged"))?;
        let frame = read_to_end("zstd", &mut decoder, rest)?;
        stream = decoder.into_inner();
        bytes.extend(frame);
    }
    Ok(bytes)
}
