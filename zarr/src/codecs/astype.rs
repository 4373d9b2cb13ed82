//! Numbers stored in another type, and the conversion that other filters share.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::super::element::{Number, NumberType};
use super::{Codec, Size};

#[derive(Debug)]
struct AsType(Conversion);

#[derive(Deserialize)]
struct Configuration {
    encode_dtype: String,
    decode_dtype: String,
}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    let Configuration {
        encode_dtype,
        decode_dtype,
    } = Configuration::deserialize(configuration).map_err(|error| error.to_string())?;
    Ok(Arc::new(AsType(Conversion::new(
        &decode_dtype,
        &encode_dtype,
    )?)))
}

impl Codec for AsType {
    fn encoded_size(&self, decoded: Size) -> Size {
        self.0.encoded_size(decoded)
    }

    fn decode(&self, encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        self.0.decode(&encoded, |number| number)
    }
}

/// Number types of an array and of what is stored of it.
#[derive(Debug)]
pub(super) struct Conversion {
    pub(super) decoded: NumberType,
    pub(super) encoded: NumberType,
}

impl Conversion {
    /// Types by NumPy's letters.
    pub(super) fn new(decoded: &str, encoded: &str) -> Result<Self, String> {
        Ok(Self {
            decoded: NumberType::from_letters(decoded)?,
            encoded: NumberType::from_letters(encoded)?,
        })
    }

    pub(super) fn encoded_size(&self, decoded: Size) -> Size {
        let (from, to) = (self.decoded.kind.size(), self.encoded.kind.size());
        decoded.map(|bytes| (bytes / from).saturating_mul(to))
    }

    /// Converts every stored number by `change`, then to the array's type.
    pub(super) fn decode(
        &self,
        encoded: &[u8],
        mut change: impl FnMut(Number) -> Number,
    ) -> Result<Vec<u8>, String> {
        let size = self.encoded.kind.size();
        if !encoded.len().is_multiple_of(size) {
            return Err(format!(
                "{} bytes are no whole number of {size} each",
                encoded.len()
            ));
        }
        let mut bytes = Vec::new();
        self.encoded.for_each(encoded, |number| {
            self.decoded.append(change(number), &mut bytes)
        });
        Ok(bytes)
    }
}
