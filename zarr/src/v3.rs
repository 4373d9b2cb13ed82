//! Descriptions of zarr v3 arrays, `zarr.json`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::chain::{CodecChain, Serializer};
use super::codecs;
use super::element::{Number, NumberKind, fill_value};
use super::layout::{ChunkKeys, Layout};
use super::shards::Shards;

#[derive(Deserialize)]
struct Description {
    zarr_format: u32,
    node_type: String,
    #[serde(default)]
    shape: Vec<usize>,
    data_type: Option<Extension>,
    chunk_grid: Option<Extension>,
    chunk_key_encoding: Option<Extension>,
    #[serde(default)]
    fill_value: Value,
    #[serde(default)]
    codecs: Vec<Extension>,
    #[serde(default)]
    storage_transformers: Vec<Value>,
}

/// A name with what belongs to it; a name alone where nothing does.
#[derive(Deserialize)]
#[serde(untagged)]
enum Extension {
    Name(String),
    Configured {
        name: String,
        #[serde(default = "empty")]
        configuration: Value,
    },
}

fn empty() -> Value {
    json!({})
}

impl Extension {
    fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Configured { name, .. } => name,
        }
    }

    fn configuration(&self) -> Value {
        match self {
            Self::Name(_) => empty(),
            Self::Configured { configuration, .. } => configuration.clone(),
        }
    }

    fn configured<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        T::deserialize(self.configuration()).map_err(|error| format!("`{}`: {error}", self.name()))
    }
}

#[derive(Deserialize)]
struct GridConfiguration {
    chunk_shape: Vec<usize>,
}

#[derive(Deserialize)]
struct KeyConfiguration {
    separator: Option<char>,
}

#[derive(Deserialize)]
struct BytesConfiguration {
    endian: Option<String>,
}

#[derive(Deserialize)]
struct TransposeConfiguration {
    order: Value,
}

/// Of `sharding_indexed`.
#[derive(Deserialize)]
struct ShardsConfiguration {
    chunk_shape: Vec<usize>,
    codecs: Vec<Extension>,
    index_codecs: Vec<Extension>,
    index_location: Option<String>,
}

/// Reads a description.
///
/// # Errors
/// In words: JSON that is none, or an array that is not read.
pub(super) fn read(text: &[u8]) -> Result<Layout, String> {
    let description: Description =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if description.zarr_format != 3 {
        return Err(format!(
            "zarr format {} in a zarr.json, expected 3",
            description.zarr_format
        ));
    }
    if description.node_type != "array" {
        return Err(format!("a {}, expected an array", description.node_type));
    }
    if !description.storage_transformers.is_empty() {
        return Err("storage transformers are not read".into());
    }
    let missing = |key: &str| format!("`{key}` is missing");
    let kind = NumberKind::from_name(
        description
            .data_type
            .ok_or_else(|| missing("data_type"))?
            .name(),
    )?;
    let grid = description
        .chunk_grid
        .ok_or_else(|| missing("chunk_grid"))?;
    if grid.name() != "regular" {
        return Err(format!(
            "chunk grid `{}` is not read, expected `regular`",
            grid.name()
        ));
    }
    let chunks = grid.configured::<GridConfiguration>()?.chunk_shape;
    let keys = description
        .chunk_key_encoding
        .ok_or_else(|| missing("chunk_key_encoding"))?;
    let (prefix, usual) = match keys.name() {
        "default" => ("c", '/'),
        "v2" => ("", '.'),
        other => {
            return Err(format!(
                "chunk key encoding `{other}` is not read, expected `default` or `v2`"
            ));
        }
    };
    let separator = keys
        .configured::<KeyConfiguration>()?
        .separator
        .unwrap_or(usual);
    let fill = fill_value(&description.fill_value, kind)?;
    let chain = chain(&description.codecs, &chunks, kind, fill)?;
    Layout::new(
        description.shape,
        chunks,
        kind,
        fill,
        ChunkKeys { prefix, separator },
        chain,
    )
}

/// Reads a list of codecs: filters of numbers, what makes bytes of them, compressions of bytes.
fn chain(
    listed: &[Extension],
    shape: &[usize],
    kind: NumberKind,
    fill: Option<Number>,
) -> Result<CodecChain, String> {
    let (mut order, mut filters, mut serializer, mut compressors) =
        (None, Vec::new(), None, Vec::new());
    let mut stored = shape.to_vec();
    for codec in listed {
        let name = codec
            .name()
            .strip_prefix("numcodecs.")
            .unwrap_or(codec.name());
        let sharded = matches!(serializer, Some(Serializer::Shards(_)));
        match name {
            "transpose" | "bytes" | "endian" | "sharding_indexed" if serializer.is_some() => {
                return Err(format!(
                    "codec `{name}` stands behind one that makes bytes of numbers"
                ));
            }
            "transpose" => {
                let next = axes(
                    &codec.configured::<TransposeConfiguration>()?.order,
                    shape.len(),
                )?;
                let before = order
                    .take()
                    .unwrap_or_else(|| (0..shape.len()).collect::<Vec<usize>>());
                order = Some(next.iter().map(|axis| before[*axis]).collect());
                stored = next.iter().map(|axis| stored[*axis]).collect();
            }
            "bytes" | "endian" => {
                let big_endian = match codec.configured::<BytesConfiguration>()?.endian.as_deref() {
                    None | Some("little") => false,
                    Some("big") => kind.size() > 1,
                    Some(other) => {
                        return Err(format!("endian is `{other}`, expected `little` or `big`"));
                    }
                };
                serializer = Some(Serializer::Bytes { big_endian });
            }
            "sharding_indexed" => {
                let configuration: ShardsConfiguration = codec.configured()?;
                let inner = chain(
                    &configuration.codecs,
                    &configuration.chunk_shape,
                    kind,
                    fill,
                )?;
                let index = chain(&configuration.index_codecs, &[1], NumberKind::U8, None)?;
                let shards = Shards::new(
                    &configuration.chunk_shape,
                    configuration.index_location.as_deref(),
                    (inner, index),
                    &stored,
                    fill,
                )?;
                serializer = Some(Serializer::Shards(Arc::new(shards)));
            }
            _ if sharded => {
                return Err(format!(
                    "codec `{name}` behind `sharding_indexed` is not read"
                ));
            }
            _ => {
                let opened = codecs::open(name, &codec.configuration())?;
                let list = if serializer.is_some() {
                    &mut compressors
                } else {
                    &mut filters
                };
                list.push(opened);
            }
        }
    }
    let serializer = serializer
        .ok_or("no codec makes bytes of numbers, expected `bytes` or `sharding_indexed`")?;
    let plain = matches!(serializer, Serializer::Bytes { big_endian: false });
    if !filters.is_empty() && (order.is_some() || !plain) {
        return Err(
            "filters of numbers are read alone, not with a transpose, big-endian bytes or shards; rewrite the array with \
             zstd alone"
                .into(),
        );
    }
    Ok(CodecChain {
        order,
        filters,
        serializer,
        compressors,
    })
}

/// The order of a transpose: a permutation, or a letter as older descriptions have it.
fn axes(order: &Value, count: usize) -> Result<Vec<usize>, String> {
    let found = match order.as_str() {
        Some("C") => Some((0..count).collect()),
        Some("F") => Some((0..count).rev().collect()),
        _ => Vec::<usize>::deserialize(order).ok(),
    };
    let is_permutation = |axes: &Vec<usize>| {
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..count)
    };
    found
        .filter(is_permutation)
        .ok_or_else(|| format!("transpose: order {order} is no permutation of {count} axes"))
}
