//! Byte and bit shuffles: the filter of numcodecs, and what Blosc does within its blocks.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured};

#[derive(Debug, Deserialize)]
struct Shuffle {
    #[serde(default = "four")]
    elementsize: usize,
}

fn four() -> usize {
    4
}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Shuffle>(configuration)
}

impl Codec for Shuffle {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded
    }

    fn decode(&self, encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        if self.elementsize <= 1 {
            return Ok(encoded);
        }
        if !encoded.len().is_multiple_of(self.elementsize) {
            return Err(format!(
                "shuffle: {} bytes are no whole number of {} each",
                encoded.len(),
                self.elementsize
            ));
        }
        Ok(undo_byte_shuffle(encoded, self.elementsize))
    }
}

/// Bytes of the same rank lie together; what is left over behind the last whole element stays.
pub(super) fn undo_byte_shuffle(block: Vec<u8>, element: usize) -> Vec<u8> {
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
pub(super) fn undo_bit_shuffle(block: Vec<u8>, element: usize) -> Vec<u8> {
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
}
