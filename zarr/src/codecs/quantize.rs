//! Floats rounded to decimal digits when they were written; their type is all that is to be undone.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::astype::Conversion;
use super::{Codec, Size};

#[derive(Debug)]
struct Quantize(Conversion);

#[derive(Deserialize)]
struct Configuration {
    dtype: String,
    astype: Option<String>,
}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    let Configuration { dtype, astype } =
        Configuration::deserialize(configuration).map_err(|error| error.to_string())?;
    let astype = astype.as_deref().unwrap_or(&dtype);
    Ok(Arc::new(Quantize(Conversion::new(&dtype, astype)?)))
}

impl Codec for Quantize {
    fn encoded_size(&self, decoded: Size) -> Size {
        self.0.encoded_size(decoded)
    }

    fn decode(&self, encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        self.0.decode(&encoded, |number| number)
    }
}
