//! What both formats say of an array: its shape, its chunks and how they are stored.

use super::chain::CodecChain;
use super::element::{Number, NumberKind};

/// Numbers in an array or a chunk; more is damage.
const MAX_NUMBERS: usize = 1 << 32;

/// Description of an array, checked.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) shape: Vec<usize>,
    pub(super) chunks: Vec<usize>,
    pub(super) kind: NumberKind,
    pub(super) fill: Option<Number>,
    pub(super) keys: ChunkKeys,
    pub(super) chain: CodecChain,
}

/// How chunks are named.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkKeys {
    /// What stands before the numbers; empty for nothing.
    pub(super) prefix: &'static str,
    pub(super) separator: char,
}

impl Layout {
    /// Checks that shape and chunks are possible.
    ///
    /// # Errors
    /// In words.
    pub(super) fn new(
        shape: Vec<usize>,
        chunks: Vec<usize>,
        kind: NumberKind,
        fill: Option<Number>,
        keys: ChunkKeys,
        chain: CodecChain,
    ) -> Result<Self, String> {
        if shape.is_empty() || shape.len() != chunks.len() || chunks.contains(&0) {
            return Err(format!(
                "shape {shape:?} and chunks {chunks:?} do not fit each other"
            ));
        }
        if !['.', '/'].contains(&keys.separator) {
            return Err(format!(
                "separator `{}` of chunks is not read, expected `.` or `/`",
                keys.separator
            ));
        }
        for (what, sizes) in [("shape", &shape), ("chunks", &chunks)] {
            let numbers = sizes
                .iter()
                .try_fold(1, |all: usize, size| all.checked_mul(*size));
            if numbers.is_none_or(|numbers| numbers > MAX_NUMBERS) {
                return Err(format!(
                    "{what} {sizes:?} announces more than {MAX_NUMBERS} numbers; the file is damaged"
                ));
            }
        }
        Ok(Self {
            shape,
            chunks,
            kind,
            fill,
            keys,
            chain,
        })
    }

    /// Chunks along every axis.
    pub(super) fn grid(&self) -> Vec<usize> {
        self.shape
            .iter()
            .zip(&self.chunks)
            .map(|(size, chunk)| size.div_ceil(*chunk))
            .collect()
    }

    /// What a chunk that is not there is filled with; 0 where the description leaves that open, as zarr-python 3 has it.
    pub(super) fn fill(&self) -> Number {
        self.fill.unwrap_or(Number::Unsigned(0))
    }

    /// The file of a chunk.
    pub(super) fn key(&self, chunk: &[usize]) -> String {
        let ChunkKeys { prefix, separator } = self.keys;
        let mut parts = Vec::new();
        if !prefix.is_empty() {
            parts.push(prefix.to_owned());
        }
        parts.extend(chunk.iter().map(usize::to_string));
        parts.join(&separator.to_string())
    }

    /// The chunk that a file holds; none where it is no chunk of this array.
    pub(super) fn chunk(&self, key: &str) -> Option<Vec<usize>> {
        let ChunkKeys { prefix, separator } = self.keys;
        let mut numbers = key;
        if !prefix.is_empty() {
            numbers = numbers.strip_prefix(prefix)?.strip_prefix(separator)?;
        }
        let chunk: Vec<usize> = numbers
            .split(separator)
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        let grid = self.grid();
        let inside =
            chunk.len() == grid.len() && chunk.iter().zip(&grid).all(|(at, count)| at < count);
        (inside && self.key(&chunk) == key).then_some(chunk)
    }
}
