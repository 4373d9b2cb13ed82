//! BloscLZ, which is level 2 of FastLZ with far matches; within Blosc frames only.
//!
//! A control byte below 32 is followed by so many literals and one more. Any other begins a match: three bits of length and
//! five high bits of distance, more length in bytes of 255 and a last smaller one, then the low byte of the distance. The
//! largest distance of 13 bits says that the distance beyond it follows in 16 bits.

/// The largest distance that 13 bits hold.
const MAX_NEAR_DISTANCE: usize = 8191;
const MIN_MATCH_BYTES: usize = 3;

/// Decompresses a stream of `size` bytes.
pub(super) fn decompress(stream: &[u8], size: usize) -> Result<Vec<u8>, String> {
    read(stream, size).ok_or_else(|| "blosclz: truncated or damaged".into())
}

fn read(stream: &[u8], size: usize) -> Option<Vec<u8>> {
    let (first, mut input) = stream.split_first()?;
    // The first control byte is one of literals: its high bits tell the level.
    let mut control = usize::from(first & 31);
    let mut bytes = Vec::new();
    loop {
        if control < 32 {
            let (literals, rest) = input.split_at_checked(control + 1)?;
            bytes.extend_from_slice(literals);
            input = rest;
        } else {
            let mut length = (control >> 5) - 1 + MIN_MATCH_BYTES;
            if control >> 5 == 7 {
                loop {
                    let more = next(&mut input)?;
                    length += more;
                    if more != 255 {
                        break;
                    }
                }
            }
            let mut distance = (control & 31) << 8 | next(&mut input)?;
            if distance == MAX_NEAR_DISTANCE {
                distance += next(&mut input)? << 8;
                distance += next(&mut input)?;
            }
            let start = bytes.len().checked_sub(distance + 1)?;
            if bytes.len() + length > size {
                return None;
            }
            // A match may go on into what it writes.
            for at in start..start + length {
                bytes.push(bytes[at]);
            }
        }
        if bytes.len() > size {
            return None;
        }
        control = match next(&mut input) {
            Some(control) => control,
            None => return (bytes.len() == size).then_some(bytes),
        };
    }
}

fn next(input: &mut &[u8]) -> Option<usize> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(usize::from(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_matches_near_and_far() {
        // "abc", then nine bytes from three back.
        let stream = [2, b'a', b'b', b'c', 6 << 5, 2];
        assert_eq!(decompress(&stream, 11).unwrap(), b"abcabcabcab");
        // A run of 600: one literal, and a length of 6 + 255 + 255 + 80, and 3.
        let stream = [0, b'x', 7 << 5, 255, 255, 80, 0];
        assert_eq!(decompress(&stream, 600).unwrap(), [b'x'; 600]);
        // Zeros of 9000, then four bytes from 9001 back, which is 8191 and 809 more, and one.
        let mut stream = vec![3, 1, 2, 3, 0, 7 << 5];
        stream.extend([255; 35]);
        stream.extend([62, 0]);
        let zeros = 1 + 6 + 35 * 255 + 62 + 3;
        let back = zeros + 3 - 1 - MAX_NEAR_DISTANCE;
        stream.extend([2 << 5 | 31, 255]);
        stream.extend((back as u16).to_be_bytes());
        let found = decompress(&stream, zeros + 3 + 4).unwrap();
        assert_eq!(found[zeros + 3..], [1, 2, 3, 0]);
    }

    #[test]
    fn cuts_and_other_sizes_are_refused() {
        let stream = [2, b'a', b'b', b'c', 6 << 5, 2];
        for length in 0..stream.len() {
            assert!(decompress(&stream[..length], 11).is_err(), "{length}");
        }
        for size in [0, 3, 10, 12] {
            assert!(decompress(&stream, size).is_err(), "{size}");
        }
        // A match from before the beginning.
        assert!(decompress(&[0, b'x', 1 << 5, 1], 4).is_err());
    }
}
