//! Frames of Blosc 1, with all of its compressors but Snappy.
//!
//! Layout after the public c-blosc header description: 16 bytes of header, the offset of every
//! block, then the blocks, each a run of length-prefixed streams, byte- or bit-shuffled.
//! Every length is checked before it is used; memory grows with what has been decoded.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::shuffle::{undo_bit_shuffle, undo_byte_shuffle};
use super::{Codec, Size, blosclz, configured, lz4, zlib, zstd};

const HEADER: usize = 16;
/// Frames of Blosc 2 have higher versions and a longer header.
const MAX_VERSION: u8 = 2;

/// What a frame is compressed with stands in its header, not in the configuration.
#[derive(Debug, Deserialize)]
struct Blosc {}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Blosc>(configuration)
}

impl Codec for Blosc {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        decompress(&encoded, size)
    }
}

/// Decompresses one frame.
fn decompress(frame: &[u8], expected: Size) -> Result<Vec<u8>, String> {
    let short = || format!("truncated: {} bytes", frame.len());
    let header = frame.get(..HEADER).ok_or_else(short)?;
    let (version, flags) = (header[0], header[2]);
    if version > MAX_VERSION {
        return Err(format!(
            "Blosc frame of version {version}, expected at most {MAX_VERSION}; damaged, or of Blosc 2"
        ));
    }
    let element = usize::from(header[3]).max(1);
    let size = word(header, 4).ok_or("damaged header: negative size")?;
    let block_size = word(header, 8).ok_or("damaged header: negative block size")?;
    let stored = word(header, 12).ok_or("damaged header: negative stored size")?;
    if stored > frame.len() {
        return Err(format!("truncated: {} of {stored} bytes", frame.len()));
    }
    expected.check(size)?;
    if flags & 0x02 != 0 {
        return frame
            .get(HEADER..HEADER + size)
            .map(<[u8]>::to_vec)
            .ok_or_else(short);
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    if block_size == 0 {
        return Err("damaged header: block size 0".into());
    }
    let mut output = Vec::new();
    for index in 0..size.div_ceil(block_size) {
        let length = block_size.min(size - index * block_size);
        let start = word(frame, HEADER + 4 * index).ok_or_else(short)?;
        // Whole blocks of elements of up to 16 bytes may be stored as one stream per byte.
        let split = flags & 0x10 == 0
            && element <= 16
            && block_size / element >= 128
            && length == block_size;
        let streams = if split { element } else { 1 };
        let block = read_block(frame, start, length, streams, flags >> 5)?;
        output.extend(if flags & 0x04 != 0 {
            undo_bit_shuffle(block, element)
        } else if flags & 0x01 != 0 {
            undo_byte_shuffle(block, element)
        } else {
            block
        });
    }
    Ok(output)
}

fn read_block(
    frame: &[u8],
    start: usize,
    length: usize,
    streams: usize,
    compressor: u8,
) -> Result<Vec<u8>, String> {
    let stream_length = length / streams;
    let mut block = Vec::new();
    let mut at = start;
    for _ in 0..streams {
        let stored = word(frame, at).ok_or("damaged block offset")?;
        let stream = at
            .checked_add(4 + stored)
            .and_then(|end| frame.get(at + 4..end))
            .ok_or("truncated inside a block")?;
        at += 4 + stored;
        // What does not become smaller is stored as it is.
        if stored == stream_length {
            block.extend_from_slice(stream);
        } else {
            block.extend(read_stream(stream, stream_length, compressor)?);
        }
    }
    Size::Exact(length).check(block.len())?;
    Ok(block)
}

fn read_stream(stream: &[u8], length: usize, compressor: u8) -> Result<Vec<u8>, String> {
    let size = Size::Exact(length);
    let bytes = match compressor {
        0 => blosclz::decompress(stream, length)?,
        // LZ4 and LZ4HC differ in how they are written only.
        1 => lz4::decompress(stream, length)?,
        2 => return Err("Blosc with Snappy is not read; rewrite the array with Blosc zstd".into()),
        3 => zlib::decompress(stream, size)?,
        4 => zstd::decompress(stream, size)?,
        other => {
            return Err(format!(
                "Blosc compressor number {other} is not known, expected 0 to 4; damaged"
            ));
        }
    };
    size.check(bytes.len())?;
    Ok(bytes)
}

/// A length or offset, never negative.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk()?;
    usize::try_from(i32::from_le_bytes(*word)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stored_frames_come_back_as_they_are() {
        let mut frame = vec![2, 1, 0x02, 4];
        for word in [5_i32, 5, 21] {
            frame.extend(word.to_le_bytes());
        }
        frame.extend(b"hello");
        let decompress = |frame: &[u8]| decompress(frame, Size::AtMost(100));
        assert_eq!(decompress(&frame).unwrap(), b"hello");
        for length in 0..frame.len() {
            assert!(decompress(&frame[..length]).is_err(), "{length}");
        }
        frame[0] = 5;
        assert!(decompress(&frame).unwrap_err().contains("Blosc 2"));
    }

    #[test]
    fn snappy_is_named() {
        let mut frame = vec![2, 1, 2 << 5, 1];
        for word in [5_i32, 5, 27, 20, 3] {
            frame.extend(word.to_le_bytes());
        }
        frame.extend(b"abc");
        let message = decompress(&frame, Size::Exact(5)).unwrap_err();
        assert!(
            message.contains("Snappy") && message.contains("zstd"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn nonsense_is_an_error_never_a_panic(mut frame in prop::collection::vec(any::<u8>(), 0..80), likely: bool) {
            if likely && frame.len() > HEADER {
                // A header that is believed.
                frame[0] = 2;
                frame[4..16].copy_from_slice(&[40, 0, 0, 0, 40, 0, 0, 0, 16, 0, 0, 0]);
            }
            let _ = decompress(&frame, Size::AtMost(1 << 20));
        }
    }
}
