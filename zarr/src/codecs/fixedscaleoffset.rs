//! Numbers scaled and moved: what is stored is `(number - offset) * scale`, rounded.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::super::element::{Number, NumberKind};
use super::astype::Conversion;
use super::{Codec, Size};

#[derive(Debug)]
struct FixedScaleOffset {
    conversion: Conversion,
    scale: f64,
    offset: f64,
}

#[derive(Deserialize)]
struct Configuration {
    offset: f64,
    scale: f64,
    dtype: String,
    astype: Option<String>,
}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    let Configuration {
        offset,
        scale,
        dtype,
        astype,
    } = Configuration::deserialize(configuration).map_err(|error| error.to_string())?;
    let astype = astype.as_deref().unwrap_or(&dtype);
    let conversion = Conversion::new(&dtype, astype)?;
    if conversion.encoded.kind == NumberKind::F2 {
        return Err(format!(
            "astype `{astype}` is not read, expected whole numbers or float of 4 or 8 bytes"
        ));
    }
    Ok(Arc::new(FixedScaleOffset {
        conversion,
        scale,
        offset,
    }))
}

impl Codec for FixedScaleOffset {
    fn encoded_size(&self, decoded: Size) -> Size {
        self.conversion.encoded_size(decoded)
    }

    fn decode(&self, encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        // NumPy stays in single precision where the stored numbers are, and goes to double from whole ones.
        let single = self.conversion.encoded.kind == NumberKind::F4;
        self.conversion.decode(&encoded, |number| {
            Number::Float(if single {
                f64::from(number.to_f32() / self.scale as f32 + self.offset as f32)
            } else {
                number.to_f64() / self.scale + self.offset
            })
        })
    }
}
