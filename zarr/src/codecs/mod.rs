//! Codecs that chunks are stored in: compressions, filters and checksums, by the names that numcodecs gives them.
//!
//! A codec is a file here and a line in [`CODECS`]. What is decoded is never larger than was asked for, and memory grows
//! with what has been decoded, not with what a chunk announces.

mod astype;
mod bitround;
mod blosc;
mod blosclz;
mod bz2;
mod checksums;
mod delta;
mod fixedscaleoffset;
mod gzip;
mod lz4;
mod lzma;
mod packbits;
mod quantize;
mod shuffle;
mod zlib;
mod zstd;

use std::fmt::Debug;
use std::io::Read;
use std::sync::Arc;

use serde_json::Value;

/// One step from numbers to a file, undone.
pub(super) trait Codec: Debug + Send + Sync {
    /// How many bytes `decoded` bytes are encoded in.
    fn encoded_size(&self, decoded: Size) -> Size;

    /// Undoes the step; the result has `size` bytes.
    ///
    /// # Errors
    /// In words: damage, truncation, another size.
    fn decode(&self, encoded: Vec<u8>, size: Size) -> Result<Vec<u8>, String>;
}

/// Reads the configuration of a codec.
type Open = fn(&Value) -> Result<Arc<dyn Codec>, String>;

/// All codecs.
const CODECS: [(&str, Open); 17] = [
    ("adler32", checksums::open_adler32),
    ("astype", astype::open),
    ("bitround", bitround::open),
    ("blosc", blosc::open),
    ("bz2", bz2::open),
    ("crc32", checksums::open_crc32),
    ("crc32c", checksums::open_crc32c),
    ("delta", delta::open),
    ("fixedscaleoffset", fixedscaleoffset::open),
    ("gzip", gzip::open),
    ("lz4", lz4::open),
    ("lzma", lzma::open),
    ("packbits", packbits::open),
    ("quantize", quantize::open),
    ("shuffle", shuffle::open),
    ("zlib", zlib::open),
    ("zstd", zstd::open),
];

/// Codecs that are not read, by the beginning of their name, and what they are.
const REFUSED: [(&str, &str); 10] = [
    (
        "imagecodecs_",
        "pictures compressed by imagecodecs are not read",
    ),
    ("vlen-", "values of different lengths are no numbers"),
    ("json", "objects are no numbers"),
    ("pickle", "objects are no numbers"),
    ("msgpack", "objects are no numbers"),
    ("categorize", "texts are no numbers"),
    ("zfpy", "ZFP is not read"),
    ("pcodec", "pcodec is not read"),
    ("fletcher32", "this checksum is not read"),
    ("jenkins_lookup3", "this checksum is not read"),
];

/// What to do about a codec that is not read.
const REMEDY: &str = "rewrite the array with Blosc zstd: load it in Python with zarr as it was written (imagecodecs registered if \
                      it needs that) and save it with compressor=numcodecs.Blosc('zstd')";

/// Opens the codec `name` with its configuration.
///
/// # Errors
/// In words: one that is not read, with the remedy, or a configuration that does not fit it.
pub(super) fn open(name: &str, configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    if let Some((_, open)) = CODECS.iter().find(|(known, _)| *known == name) {
        return open(configuration).map_err(|reason| format!("codec `{name}`: {reason}"));
    }
    let known = CODECS.map(|(name, _)| name).join(", ");
    let refused = REFUSED.iter().find(|(start, _)| name.starts_with(start));
    Err(match refused {
        Some((_, reason)) => format!("codec `{name}`: {reason}; {REMEDY}"),
        None => format!("codec `{name}` is not known, expected one of {known}; {REMEDY}"),
    })
}

/// Reads a configuration into a codec.
fn configured<'a, C: Codec + serde::Deserialize<'a> + 'static>(
    configuration: &'a Value,
) -> Result<Arc<dyn Codec>, String> {
    let codec = C::deserialize(configuration).map_err(|error| error.to_string())?;
    Ok(Arc::new(codec))
}

/// A number of bytes, known before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// So many.
    Exact(usize),
    /// As many or fewer: what was compressed.
    AtMost(usize),
}

impl Size {
    /// The largest size.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Exact(bytes) | Self::AtMost(bytes) => bytes,
        }
    }

    /// The size of `self` bytes compressed: whatever cannot be compressed hardly grows.
    fn compressed(self) -> Self {
        let most = self.most();
        Self::AtMost(most.saturating_add(most / 8).saturating_add(1 << 16))
    }

    fn map(self, change: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Exact(bytes) => Self::Exact(change(bytes)),
            Self::AtMost(bytes) => Self::AtMost(change(bytes)),
        }
    }

    /// Whether `found` bytes are of this size.
    pub(super) fn check(self, found: usize) -> Result<(), String> {
        match self {
            Self::Exact(expected) if found != expected => Err(format!(
                "{found} bytes after decompression, expected {expected}"
            )),
            Self::AtMost(most) if found > most => Err(format!(
                "{found} bytes after decompression, expected at most {most}"
            )),
            _ => Ok(()),
        }
    }

    /// The sizes that lie between codecs, the decoded size first.
    pub(super) fn along(self, codecs: &[Arc<dyn Codec>]) -> Vec<Self> {
        let mut sizes = vec![self];
        for codec in codecs {
            sizes.push(codec.encoded_size(sizes[sizes.len() - 1]));
        }
        sizes
    }
}

/// Undoes `codecs`, the last one first; `decoded` is the size of what comes out.
///
/// # Errors
/// Those of the codecs.
pub(super) fn decode(
    codecs: &[Arc<dyn Codec>],
    encoded: Vec<u8>,
    decoded: Size,
) -> Result<Vec<u8>, String> {
    let sizes = decoded.along(codecs);
    sizes[codecs.len()].check(encoded.len()).map_err(|_| {
        let most = sizes[codecs.len()].most();
        format!(
            "{} bytes, expected {most}; truncated or of another array",
            encoded.len()
        )
    })?;
    let mut bytes = encoded;
    for (codec, size) in codecs.iter().zip(sizes).rev() {
        bytes = codec.decode(bytes, size)?;
        size.check(bytes.len())?;
    }
    Ok(bytes)
}

/// All that a decompressor has to say, unless that is more than `size`.
fn read_to_end(name: &str, decompressor: impl Read, size: Size) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    decompressor
        .take(size.most() as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| {
            format!(
                "{name}: {}; truncated or damaged",
                one_line(&error.to_string())
            )
        })?;
    if bytes.len() > size.most() {
        return Err(format!("{name}: more than {} bytes; damaged", size.most()));
    }
    Ok(bytes)
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
