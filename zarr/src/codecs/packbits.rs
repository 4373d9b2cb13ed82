//! Eight booleans in a byte, the first one highest, behind the number of bits that the last byte has too many.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured};

#[derive(Debug, Deserialize)]
struct PackBits {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<PackBits>(configuration)
}

impl Codec for PackBits {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.map(|bytes| 1 + bytes.div_ceil(8))
    }

    fn decode(&self, encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        let (surplus, packed) = encoded.split_first().ok_or("packbits: truncated")?;
        let bits = packed
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        let mut bytes: Vec<u8> = bits.collect();
        let count = bytes.len().checked_sub(usize::from(*surplus));
        bytes.truncate(count.ok_or("packbits: more surplus bits than bits")?);
        Ok(bytes)
    }
}
