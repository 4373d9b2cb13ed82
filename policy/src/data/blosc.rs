//! Decompression of Blosc 1 frames with zstd inside, as zarr v2 chunks hold them.
//!
//! Layout after the public c-blosc header description: 16 bytes of header, the offset of every
//! block, then the blocks, each a run of length-prefixed streams, byte- or bit-shuffled.
//! Every length is checked before it is used; nothing larger than the announced size is allocated.

use std::io::Read;

const HEADER: usize = 16;
/// Chunks of the stores that we read are far below; a larger announcement is damage.
const LARGEST: usize = 1 << 30;

/// Decompresses one frame.
///
/// # Errors
/// In words: truncation, damage, or a compressor that is not supported.
pub(super) fn decompress(frame: &[u8]) -> Result<Vec<u8>, String> {
    let short = || format!("truncated: {} bytes", frame.len());
    let header = frame.get(..HEADER).ok_or_else(short)?;
    let word = |bytes: &[u8], at: usize| -> Option<usize> {
        let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(i32::from_le_bytes(bytes)).ok()
    };
    let flags = header[2];
    let element = usize::from(header[3]).max(1);
    let size = word(header, 4).ok_or("damaged header: negative size")?;
    let block_size = word(header, 8).ok_or("damaged header: negative block size")?;
    let stored = word(header, 12).ok_or("damaged header: negative stored size")?;
    if stored > frame.len() {
        return Err(format!("truncated: {} of {stored} bytes", frame.len()));
    }
    if size > LARGEST {
        return Err(format!("damaged header: {size} bytes announced"));
    }
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
    let mut output = Vec::with_capacity(size);
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
    let mut block = Vec::with_capacity(length);
    let mut at = start;
    for _ in 0..streams {
        let prefix = frame
            .get(at..at + 4)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let stored = prefix
            .and_then(|bytes| usize::try_from(i32::from_le_bytes(bytes)).ok())
            .ok_or("damaged block offset")?;
        let stream = at
            .checked_add(4 + stored)
            .and_then(|end| frame.get(at + 4..end))
            .ok_or("truncated inside a block")?;
        at += 4 + stored;
        if stored == stream_length {
            block.extend_from_slice(stream);
            continue;
        }
        if compressor != 4 {
            return Err(format!(
                "compressor number {compressor} is not supported, only zstd (4)"
            ));
        }
        let before = block.len();
        let decoder = ruzstd::decoding::StreamingDecoder::new(stream)
            .map_err(|error| format!("zstd: {error}"))?;
        decoder
            .take(stream_length as u64 + 1)
            .read_to_end(&mut block)
            .map_err(|error| format!("zstd: {error}"))?;
        if block.len() - before != stream_length {
            return Err(format!(
                "a block has {} bytes, {stream_length} were announced",
                block.len() - before
            ));
        }
    }
    Ok(block)
}

fn undo_byte_shuffle(block: Vec<u8>, element: usize) -> Vec<u8> {
    let count = block.len() / element;
    let mut output = block.clone();
    for byte in 0..element {
        for index in 0..count {
            output[index * element + byte] = block[byte * count + index];
        }
    }
    output
}

/// Bits of the same rank lie together: plane (byte b, bit k) holds bit k of byte b of all elements.
fn undo_bit_shuffle(block: Vec<u8>, element: usize) -> Vec<u8> {
    let count = block.len() / element;
    if !count.is_multiple_of(8) {
        return block;
    }
    let plane = count / 8;
    let mut output = block.clone();
    for byte in 0..element {
        for group in 0..plane {
            // Eight elements at once: a square of 8 planes by 8 elements.
            let planes = (0..8).map(|bit| block[(byte * 8 + bit) * plane + group]);
            let square = planes.enumerate();
            let square = square.fold(0, |all, (bit, bits)| all | u64::from(bits) << (8 * bit));
            for (lane, value) in transpose_bits(square).to_le_bytes().into_iter().enumerate() {
                output[(group * 8 + lane) * element + byte] = value;
            }
        }
    }
    output
}

/// Exchanges bit i of byte j with bit j of byte i, by halves of halves.
fn transpose_bits(mut square: u64) -> u64 {
    for (distance, mask) in [
        (7, 0x00aa_00aa_00aa_00aa),
        (14, 0x0000_cccc_0000_cccc),
        (28, 0x0000_0000_f0f0_f0f0),
    ] {
        let exchanged = (square ^ (square >> distance)) & mask;
        square ^= exchanged ^ (exchanged << distance);
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_frames_come_back_as_they_are() {
        let mut frame = vec![2, 1, 0x02, 4];
        for word in [5_i32, 5, 21] {
            frame.extend(word.to_le_bytes());
        }
        frame.extend(b"hello");
        assert_eq!(decompress(&frame).unwrap(), b"hello");
        for length in 0..frame.len() {
            assert!(decompress(&frame[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn shuffles_are_undone() {
        let elements: Vec<u8> = (0..64).map(|value: u8| value.wrapping_mul(37)).collect();
        let mut bytes = vec![0; 64];
        let mut bits = vec![0; 64];
        for (index, value) in elements.iter().enumerate() {
            let (element, byte) = (index / 4, index % 4);
            bytes[byte * 16 + element] = *value;
            for bit in 0..8 {
                bits[(byte * 8 + bit) * 2 + element / 8] |= ((value >> bit) & 1) << (element % 8);
            }
        }
        assert_eq!(undo_byte_shuffle(bytes, 4), elements);
        assert_eq!(undo_bit_shuffle(bits, 4), elements);
    }

    #[test]
    fn nonsense_is_an_error_never_a_panic() {
        let mut stream = kinestream_diffusion::noise::NoiseStream::new(5);
        for _ in 0..2000 {
            let length = stream.below(80);
            let frame: Vec<u8> = (0..length).map(|_| stream.below(256) as u8).collect();
            let _ = decompress(&frame);
        }
    }
}
