//! Descriptions of zarr v2 arrays, `.zarray`.

use serde::Deserialize;
use serde_json::Value;

use super::chain::{CodecChain, Serializer};
use super::codecs;
use super::element::{NumberType, fill_value};
use super::layout::{ChunkKeys, Layout};

#[derive(Deserialize)]
struct Description {
    zarr_format: u32,
    shape: Vec<usize>,
    chunks: Vec<usize>,
    dtype: Value,
    order: String,
    compressor: Option<Value>,
    filters: Option<Vec<Value>>,
    #[serde(default)]
    fill_value: Value,
    dimension_separator: Option<char>,
}

/// Reads a description.
///
/// # Errors
/// In words: JSON that is none, or an array that is not read.
pub(super) fn read(text: &[u8]) -> Result<Layout, String> {
    let description: Description =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if description.zarr_format != 2 {
        return Err(format!(
            "zarr format {} in a .zarray, expected 2",
            description.zarr_format
        ));
    }
    let Some(letters) = description.dtype.as_str() else {
        return Err(format!(
            "number type {} has fields; write each of them as an array of its own",
            description.dtype
        ));
    };
    let number = NumberType::from_letters(letters)?;
    let order = match description.order.as_str() {
        "C" => None,
        "F" => Some((0..description.shape.len()).rev().collect()),
        other => return Err(format!("order is `{other}`, expected `C` or `F`")),
    };
    let filters = description.filters.unwrap_or_default();
    let compressors = filters
        .iter()
        .chain(&description.compressor)
        .map(|configuration| {
            let id = configuration.get("id").and_then(Value::as_str);
            let id =
                id.ok_or_else(|| format!("compressor or filter {configuration} has no `id`"))?;
            codecs::open(id, configuration)
        });
    Layout::new(
        description.shape,
        description.chunks,
        number.kind,
        fill_value(&description.fill_value, number.kind)?,
        ChunkKeys {
            prefix: "",
            separator: description.dimension_separator.unwrap_or('.'),
        },
        CodecChain {
            order,
            filters: Vec::new(),
            serializer: Serializer::Bytes {
                big_endian: number.big_endian,
            },
            compressors: compressors.collect::<Result<_, _>>()?,
        },
    )
}
