//! The way from a chunk as it is stored to its numbers.

use std::fmt::Debug;
use std::sync::Arc;

use super::blocks::undo_transpose;
use super::codecs::{self, Codec, Size};
use super::element::{NumberKind, NumberType};

/// All that has been done to a chunk, in the order in which it was done.
#[derive(Debug, Clone)]
pub(super) struct CodecChain {
    /// Which axis of the array every stored axis is; none where they are in order.
    pub(super) order: Option<Vec<usize>>,
    /// Filters of numbers.
    pub(super) filters: Vec<Arc<dyn Codec>>,
    /// How numbers become bytes.
    pub(super) serializer: Serializer,
    /// Compressions and checksums of bytes.
    pub(super) compressors: Vec<Arc<dyn Codec>>,
}

/// How numbers become bytes.
#[derive(Debug, Clone)]
pub(super) enum Serializer {
    /// One after the other.
    Bytes { big_endian: bool },
    /// In inner chunks.
    Shards(Arc<dyn ShardDecoder>),
}

/// Files of inner chunks.
pub(super) trait ShardDecoder: Debug + Send + Sync {
    /// The most bytes that a shard of `numbers` has.
    fn max_encoded_bytes(&self, numbers: usize, kind: NumberKind) -> usize;

    /// The numbers of a shard of `shape`, as [`CodecChain::decode`] yields them.
    ///
    /// # Errors
    /// In words: damage, truncation.
    fn decode(&self, shard: &[u8], shape: &[usize], kind: NumberKind) -> Result<Vec<u8>, String>;
}

impl CodecChain {
    /// The most bytes that a chunk of `numbers` is stored in.
    pub(super) fn max_encoded_bytes(&self, numbers: usize, kind: NumberKind) -> usize {
        let size = *self
            .filtered(numbers, kind)
            .last()
            .unwrap_or(&Size::Exact(0));
        match &self.serializer {
            Serializer::Bytes { .. } => size
                .along(&self.compressors)
                .last()
                .map_or(0, |size| size.most()),
            Serializer::Shards(shards) => shards.max_encoded_bytes(numbers, kind),
        }
    }

    /// The numbers of a chunk of `shape` in C order, the lowest byte of each first.
    ///
    /// # Errors
    /// In words: damage, truncation, another size.
    pub(super) fn decode(
        &self,
        encoded: Vec<u8>,
        shape: &[usize],
        kind: NumberKind,
    ) -> Result<Vec<u8>, String> {
        let numbers = shape.iter().product();
        let size = *self
            .filtered(numbers, kind)
            .last()
            .unwrap_or(&Size::Exact(0));
        let bytes = match &self.serializer {
            Serializer::Bytes { big_endian } => {
                let mut bytes = codecs::decode(&self.compressors, encoded, size)?;
                if *big_endian {
                    bytes
                        .chunks_exact_mut(kind.size())
                        .for_each(<[u8]>::reverse);
                }
                bytes
            }
            Serializer::Shards(shards) => {
                let stored: Vec<usize> = match &self.order {
                    Some(order) => order.iter().map(|axis| shape[*axis]).collect(),
                    None => shape.to_vec(),
                };
                shards.decode(&encoded, &stored, kind)?
            }
        };
        let bytes = codecs::decode(&self.filters, bytes, Size::Exact(numbers * kind.size()))?;
        Ok(match &self.order {
            Some(order) => undo_transpose(&bytes, shape, order, kind.size()),
            None => bytes,
        })
    }

    /// Sizes from the numbers to what the serializer is given.
    fn filtered(&self, numbers: usize, kind: NumberKind) -> Vec<Size> {
        Size::Exact(numbers.saturating_mul(kind.size())).along(&self.filters)
    }
}

impl NumberKind {
    /// As [`CodecChain::decode`] yields it.
    pub(super) fn decoded(self) -> NumberType {
        NumberType {
            kind: self,
            big_endian: false,
        }
    }
}
