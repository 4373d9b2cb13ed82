//! bzip2.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured, read_to_end};

#[derive(Debug, Deserialize)]
struct Bz2 {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Bz2>(configuration)
}

impl Codec for Bz2 {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        read_to_end("bz2", bzip2::read::MultiBzDecoder::new(&encoded[..]), size)
    }
}
