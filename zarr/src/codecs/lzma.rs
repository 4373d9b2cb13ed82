//! LZMA: xz files (format 1) and the older `.lzma` (format 2), as Python's `lzma` writes them.

use std::io::{Error, Write};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{Codec, Size, configured, one_line};

const XZ: u32 = 1;
const ALONE: u32 = 2;

#[derive(Debug, Deserialize)]
struct Lzma {
    #[serde(default = "xz")]
    format: u32,
}

fn xz() -> u32 {
    XZ
}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    configured::<Lzma>(configuration)
}

impl Codec for Lzma {
    fn encoded_size(&self, decoded: Size) -> Size {
        decoded.compressed()
    }

    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String> {
        let mut input = &encoded[..];
        let mut output = Bounded {
            bytes: Vec::new(),
            most: size.most(),
        };
        match self.format {
            XZ => lzma_rs::xz_decompress(&mut input, &mut output),
            ALONE => lzma_rs::lzma_decompress(&mut input, &mut output),
            other => {
                return Err(format!(
                    "lzma: format {other} is not read, expected 1 (xz) or 2 (lzma)"
                ));
            }
        }
        .map_err(|error| {
            let reason = one_line(&error.to_string());
            format!("lzma: {reason}; truncated, damaged, or with filters other than LZMA2")
        })?;
        Ok(output.bytes)
    }
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(Error::other(format!("more than {} bytes", self.most)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
