//! Reading of zarr v2 arrays: little-endian numbers in C order, Blosc or no compressor.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::blosc;
use crate::{Error, Result};

/// Shape and layout of an array, from its `.zarray`.
#[derive(Debug, Clone)]
pub struct ArrayInfo {
    /// Size of every axis; the first one counts rows.
    pub shape: Vec<usize>,
    path: PathBuf,
    chunks: Vec<usize>,
    kind: ElementKind,
    compressed: bool,
    separator: char,
}

/// An array in memory, converted to f32 (f64 for integers would not fit a plan any better).
#[derive(Debug, Clone)]
pub struct Array {
    /// Size of every axis.
    pub shape: Vec<usize>,
    /// Values in C order.
    pub values: Vec<f32>,
}

/// Numbers in an array or a chunk; more is damage.
const LARGEST: usize = 1 << 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElementKind {
    F4,
    F8,
    I4,
    I8,
    U1,
}

#[derive(Deserialize)]
struct Metadata {
    zarr_format: u32,
    shape: Vec<usize>,
    chunks: Vec<usize>,
    dtype: String,
    order: String,
    compressor: Option<Compressor>,
    filters: Option<serde_json::Value>,
    dimension_separator: Option<char>,
}

#[derive(Deserialize)]
struct Compressor {
    id: String,
}

impl ArrayInfo {
    /// Reads the description of an array.
    ///
    /// # Errors
    /// No such array, or one in a form that is not supported; the reason is named.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(".zarray");
        let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::data(
                path,
                "no zarr v2 array here (.zarray is missing); check --data and task.observation",
            ),
            _ => Error::Io {
                path: file.clone(),
                source: error,
            },
        })?;
        let metadata: Metadata = serde_json::from_str(&text).map_err(|error| Error::Json {
            path: file.clone(),
            reason: error.to_string(),
        })?;
        let unsupported = |what: String| Error::data(&file, what);
        if metadata.zarr_format != 2 {
            return Err(unsupported(format!(
                "zarr format {} found, 2 is supported",
                metadata.zarr_format
            )));
        }
        if metadata.order != "C" || metadata.filters.is_some_and(|filters| !filters.is_null()) {
            return Err(unsupported(
                "only C order without filters is supported".into(),
            ));
        }
        let compressed = match metadata.compressor.as_ref().map(|c| c.id.as_str()) {
            None => false,
            Some("blosc") => true,
            Some(other) => {
                return Err(unsupported(format!(
                    "compressor `{other}` found, `blosc` is supported"
                )));
            }
        };
        let kind = match metadata.dtype.as_str() {
            "<f4" => ElementKind::F4,
            "<f8" => ElementKind::F8,
            "<i4" => ElementKind::I4,
            "<i8" => ElementKind::I8,
            "|u1" => ElementKind::U1,
            other => {
                return Err(unsupported(format!(
                    "number type `{other}` is not supported"
                )));
            }
        };
        if metadata.shape.is_empty()
            || metadata.shape.len() != metadata.chunks.len()
            || metadata.chunks.contains(&0)
        {
            return Err(unsupported(format!(
                "shape {:?} and chunks {:?} do not fit each other",
                metadata.shape, metadata.chunks
            )));
        }
        let count = |sizes: &[usize]| {
            sizes
                .iter()
                .try_fold(1, |all: usize, size| all.checked_mul(*size))
        };
        for (what, sizes) in [("shape", &metadata.shape), ("chunks", &metadata.chunks)] {
            if count(sizes).is_none_or(|numbers| numbers > LARGEST) {
                return Err(unsupported(format!(
                    "{what} {sizes:?} announces more than {LARGEST} numbers; the file is damaged"
                )));
            }
        }
        Ok(Self {
            shape: metadata.shape,
            path: path.to_path_buf(),
            chunks: metadata.chunks,
            kind,
            compressed,
            separator: metadata.dimension_separator.unwrap_or('.'),
        })
    }

    /// Reads all values. The array must be chunked along its first axis only.
    ///
    /// # Errors
    /// A chunk that is missing, truncated or of the wrong length, by file name.
    pub fn read(&self) -> Result<Array> {
        // The chunks, not the announced shape, decide how much memory is asked for.
        let mut values = Vec::new();
        self.read_rows(|_, decoded| {
            values.extend_from_slice(decoded);
            Ok(())
        })?;
        Ok(Array {
            shape: self.shape.clone(),
            values,
        })
    }

    /// Reads pictures, numbers from 0 to 255, a byte each: a quarter of the memory.
    ///
    /// # Errors
    /// Those of [`ArrayInfo::read`], or a number that is no brightness, by row.
    pub fn read_bytes(&self) -> Result<Vec<u8>> {
        let row: usize = self.shape[1..].iter().product();
        let mut bytes = Vec::new();
        self.read_rows(|first, decoded| {
            let wrong = |value: &f32| !(0.0..=255.0).contains(value);
            if let Some(at) = decoded.iter().position(wrong) {
                let reason = format!(
                    "row {} holds {}, expected brightnesses from 0 to 255",
                    first + at / row,
                    decoded[at]
                );
                return Err(Error::data(&self.path, reason));
            }
            bytes.extend(decoded.iter().map(|value| value.round() as u8));
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Hands out the values chunk by chunk, with the number of the first row.
    fn read_rows(&self, mut take: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        if self.chunks[1..] != self.shape[1..] {
            return Err(Error::data(
                &self.path,
                format!("chunks {:?} split more than the first axis", self.chunks),
            ));
        }
        let row: usize = self.shape[1..].iter().product();
        for chunk in 0..self.shape[0].div_ceil(self.chunks[0]) {
            let decoded = self.chunk(chunk, row)?;
            let first = chunk * self.chunks[0];
            let rows = self.chunks[0].min(self.shape[0] - first);
            take(first, &decoded[..rows * row])?;
        }
        Ok(())
    }

    fn chunk(&self, index: usize, row: usize) -> Result<Vec<f32>> {
        let separator = self.separator.to_string();
        let mut name = vec![index.to_string()];
        name.extend(self.shape[1..].iter().map(|_| "0".to_owned()));
        let path = self.path.join(name.join(&separator));
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::data(
                &path,
                format!(
                    "chunk {index} of {} is missing; the data set was not copied whole",
                    self.shape[0].div_ceil(self.chunks[0])
                ),
            ),
            _ => Error::Io {
                path: path.clone(),
                source: error,
            },
        })?;
        let bytes = if self.compressed {
            blosc::decompress(&bytes).map_err(|reason| Error::data(&path, reason))?
        } else {
            bytes
        };
        let expected = self.chunks[0] * row * self.kind.size();
        if bytes.len() != expected {
            return Err(Error::data(
                &path,
                format!(
                    "{} bytes after decompression, expected {expected}",
                    bytes.len()
                ),
            ));
        }
        Ok(self.kind.decode(&bytes))
    }
}

impl ElementKind {
    fn size(self) -> usize {
        match self {
            Self::U1 => 1,
            Self::F4 | Self::I4 => 4,
            Self::F8 | Self::I8 => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        fn numbers<const SIZE: usize>(bytes: &[u8], read: fn([u8; SIZE]) -> f32) -> Vec<f32> {
            let (chunks, _) = bytes.as_chunks::<SIZE>();
            chunks.iter().map(|chunk| read(*chunk)).collect()
        }
        match self {
            Self::F4 => numbers(bytes, f32::from_le_bytes),
            Self::F8 => numbers(bytes, |raw| f64::from_le_bytes(raw) as f32),
            Self::I4 => numbers(bytes, |raw| i32::from_le_bytes(raw) as f32),
            Self::I8 => numbers(bytes, |raw| i64::from_le_bytes(raw) as f32),
            Self::U1 => bytes.iter().map(|byte| f32::from(*byte)).collect(),
        }
    }
}
