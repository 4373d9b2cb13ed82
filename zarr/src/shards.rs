//! Shards of zarr v3 (`sharding_indexed`): a file that holds many inner chunks and says where each of them is.

use std::sync::Arc;

use super::MAX_FILL_RATIO;
use super::blocks::copy_block;
use super::chain::{CodecChain, Serializer, ShardDecoder};
use super::codecs::{self, Codec, Size};
use super::element::{Number, NumberKind};

/// Offset and length of an inner chunk that holds nothing but fill values.
const MISSING: u64 = u64::MAX;
/// Bytes of an entry of the index: offset and length.
const ENTRY_BYTES: usize = 16;

/// How shards are laid out.
#[derive(Debug, Clone)]
pub(super) struct Shards {
    inner_shape: Vec<usize>,
    inner: CodecChain,
    /// Codecs of the index behind its bytes, which are little-endian.
    index: Vec<Arc<dyn Codec>>,
    index_at_end: bool,
    fill: Option<Number>,
}

impl Shards {
    /// Reads the configuration for chunks of `shape`.
    ///
    /// # Errors
    /// Inner chunks that do not divide the chunks, an index of unknown size.
    pub(super) fn new(
        chunk_shape: &[usize],
        index_location: Option<&str>,
        (inner, index): (CodecChain, CodecChain),
        shape: &[usize],
        fill: Option<Number>,
    ) -> Result<Self, String> {
        let divides = |(inner, outer): (&usize, &usize)| *inner > 0 && outer.is_multiple_of(*inner);
        if chunk_shape.len() != shape.len() || !chunk_shape.iter().zip(shape).all(divides) {
            return Err(format!(
                "inner chunks {chunk_shape:?} do not divide shards of {shape:?}"
            ));
        }
        let little = matches!(index.serializer, Serializer::Bytes { big_endian: false });
        let exact = Size::Exact(ENTRY_BYTES).along(&index.compressors);
        if !little
            || index.order.is_some()
            || exact.iter().any(|size| matches!(size, Size::AtMost(_)))
        {
            return Err(
                "an index of shards is read in little-endian bytes with checksums only".into(),
            );
        }
        let index_at_end = match index_location {
            None | Some("end") => true,
            Some("start") => false,
            Some(other) => {
                return Err(format!(
                    "index_location is `{other}`, expected `end` or `start`"
                ));
            }
        };
        Ok(Self {
            inner_shape: chunk_shape.to_vec(),
            inner,
            index: index.compressors,
            index_at_end,
            fill,
        })
    }

    /// Inner chunks in a shard of `shape`, along every axis.
    fn grid(&self, shape: &[usize]) -> Vec<usize> {
        shape
            .iter()
            .zip(&self.inner_shape)
            .map(|(outer, inner)| outer / inner)
            .collect()
    }

    fn index_size(&self, chunks: usize) -> usize {
        let sizes = Size::Exact(chunks.saturating_mul(ENTRY_BYTES)).along(&self.index);
        sizes.last().map_or(0, |size| size.most())
    }
}

impl ShardDecoder for Shards {
    fn max_encoded_bytes(&self, numbers: usize, kind: NumberKind) -> usize {
        let each: usize = self.inner_shape.iter().product();
        let chunks = numbers / each.max(1);
        let inner = self.inner.max_encoded_bytes(each, kind);
        // Chunks that were written anew may leave holes.
        chunks
            .saturating_mul(inner)
            .saturating_mul(2)
            .saturating_add(self.index_size(chunks))
    }

    fn decode(&self, shard: &[u8], shape: &[usize], kind: NumberKind) -> Result<Vec<u8>, String> {
        let grid = self.grid(shape);
        let chunks: usize = grid.iter().product();
        let length = self.index_size(chunks);
        let index = if self.index_at_end {
            shard.len().checked_sub(length).map(|start| &shard[start..])
        } else {
            shard.get(..length)
        };
        let index = index.ok_or_else(|| {
            format!(
                "{} bytes, too few for an index of {length}; truncated",
                shard.len()
            )
        })?;
        let index = codecs::decode(
            &self.index,
            index.to_vec(),
            Size::Exact(chunks * ENTRY_BYTES),
        )
        .map_err(|reason| format!("index of the shard: {reason}"))?;
        let (entries, _) = index.as_chunks::<ENTRY_BYTES>();
        let entries: Vec<(usize, u64, u64)> = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| {
                let word = |from: usize| {
                    entry[from..]
                        .first_chunk()
                        .map_or(0, |it| u64::from_le_bytes(*it))
                };
                (at, word(0), word(8))
            })
            .filter(|(_, offset, length)| (*offset, *length) != (MISSING, MISSING))
            .collect();
        if chunks > entries.len().saturating_mul(MAX_FILL_RATIO) {
            return Err(format!(
                "{} of {chunks} inner chunks are there; damaged",
                entries.len()
            ));
        }
        let mut numbers = Vec::new();
        let fill = kind
            .decoded()
            .bytes(self.fill.unwrap_or(Number::Unsigned(0)));
        for (at, offset, length) in entries {
            let stored = usize::try_from(offset)
                .ok()
                .zip(usize::try_from(length).ok());
            let stored =
                stored.and_then(|(offset, length)| shard.get(offset..offset.checked_add(length)?));
            let stored = stored.ok_or_else(|| {
                format!("inner chunk {at} of {length} bytes at byte {offset} lies outside of the {} there", shard.len())
            })?;
            let block = self.inner.decode(stored.to_vec(), &self.inner_shape, kind);
            let block = block.map_err(|reason| format!("inner chunk {at}: {reason}"))?;
            if numbers.is_empty() {
                // Not before a chunk has been decoded: its size is no mere announcement then.
                numbers = fill.repeat(shape.iter().product());
            }
            let (mut rest, mut origin) = (at, vec![0; grid.len()]);
            for axis in (0..grid.len()).rev() {
                origin[axis] = rest % grid[axis] * self.inner_shape[axis];
                rest /= grid[axis];
            }
            copy_block(
                &mut numbers,
                shape,
                &block,
                (&self.inner_shape, &origin),
                kind.size(),
            );
        }
        Ok(numbers)
    }
}
