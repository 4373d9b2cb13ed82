//! LZ4 blocks: behind their size, as numcodecs writes them, and bare within Blosc frames.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured};

/// Bytes that a byte of a block decodes to at most: a length goes on in bytes of up to 255.
const MAX_RATIO: usize = 255;

#[derive(Debug, Deserialize)]
struct Lz4 {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Lz4>(configuration)
}

impl Codec for Lz4 {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        let (announced, block) = encoded.split_first_chunk().ok_or("lz4: truncated")?;
        let announced = u32::from_le_bytes(*announced) as usize;
        size.check(announced)?;
        decompress(block, announced)
    }
}

/// Decompresses a block to `size` bytes.
pub(super) fn decompress(block: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if size > block.len().saturating_mul(MAX_RATIO) {
        return Err(format!(
            "lz4: {} bytes cannot hold {size}; truncated",
            block.len()
        ));
    }
    let mut bytes = vec![0; size];
    let found = lz4_flex::block::decompress_into(block, &mut bytes)
        .map_err(|error| format!("lz4: {error}; truncated or damaged"))?;
    Size::Exact(size).check(found)?;
    Ok(bytes)
}
