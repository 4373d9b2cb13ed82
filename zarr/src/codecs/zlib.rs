//! zlib, with its header and checksum; also within Blosc frames.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured, read_to_end};

#[derive(Debug, Deserialize)]
struct Zlib {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Zlib>(configuration)
}

impl Codec for Zlib {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        decompress(&encoded, size)
    }
}

/// Inflates a stream.
pub(super) fn decompress(stream: &[u8], size: Size) -> Result<Vec<u8>, String> {
    read_to_end("zlib", flate2::read::ZlibDecoder::new(stream), size)
}
