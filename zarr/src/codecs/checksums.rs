//! Checksums beside the bytes, four of them, the lowest first.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size};

const CRC32C: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);

#[derive(Debug)]
struct Checksum {
    name: &'static str,
    of: fn(&[u8]) -> u32,
    location: Location,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Location {
    Start,
    End,
}

#[derive(Deserialize)]
struct Configuration {
    location: Option<Location>,
}

pub(super) fn open_crc32(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    open("crc32", crc32fast::hash, Location::Start, configuration)
}

pub(super) fn open_crc32c(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    open(
        "crc32c",
        |bytes| CRC32C.checksum(bytes),
        Location::End,
        configuration,
    )
}

pub(super) fn open_adler32(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    open(
        "adler32",
        adler2::adler32_slice,
        Location::Start,
        configuration,
    )
}

fn open(
    name: &'static str,
    of: fn(&[u8]) -> u32,
    usual: Location,
    configuration: &Value,
) -> Result<Arc<dyn Codec>, String> {
    let Configuration { location } =
        Configuration::deserialize(configuration).map_err(|error| error.to_string())?;
    Ok(Arc::new(Checksum {
        name,
        of,
        location: location.unwrap_or(usual),
    }))
}

impl Codec for Checksum {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.map(|bytes| bytes.saturating_add(4))
    }

    fn decode(&self, mut encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        let truncated = || format!("{}: truncated", self.name);
        let end = encoded.len().checked_sub(4).ok_or_else(truncated)?;
        let sum: Vec<u8> = match self.location {
            Location::Start => encoded.drain(..4).collect(),
            Location::End => encoded.split_off(end),
        };
        if sum != (self.of)(&encoded).to_le_bytes() {
            return Err(format!(
                "the {} checksum does not match; copy the file again",
                self.name
            ));
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_nine_digits_are_the_published_ones() {
        for (open, sum) in [
            (open_crc32 as super::super::Open, 0xcbf4_3926_u32),
            (open_crc32c, 0xe306_9283),
            (open_adler32, 0x091e_01de),
        ] {
            let digits = b"123456789";
            let before = [&sum.to_le_bytes(), &digits[..]].concat();
            let behind = [&digits[..], &sum.to_le_bytes()].concat();
            for (location, bytes) in [("start", before), ("end", behind)] {
                let codec = open(&serde_json::json!({ "location": location })).unwrap();
                assert_eq!(codec.decode(bytes.clone(), Size::Exact(9)).unwrap(), digits);
                let mut damaged = bytes;
                damaged[6] ^= 1;
                let message = codec.decode(damaged, Size::Exact(9)).unwrap_err();
                assert!(message.contains("does not match"), "{message}");
                assert!(codec.decode(vec![1, 2, 3], Size::Exact(9)).is_err());
            }
        }
    }
}
