//! gzip, of one or more members.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured, read_to_end};

#[derive(Debug, Deserialize)]
struct Gzip {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Gzip>(configuration)
}

impl Codec for Gzip {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        read_to_end(
            "gzip",
            flate2::read::MultiGzDecoder::new(&encoded[..]),
            size,
        )
    }
}
