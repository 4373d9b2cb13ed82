//! Differences from one number to the next; the first one is stored as it is.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::super::element::{Number, NumberKind};
use super::astype::Conversion;
use super::{Codec, Size};

#[derive(Debug)]
struct Delta(Conversion);

#[derive(Deserialize)]
struct Configuration {
    dtype: String,
    astype: Option<String>,
}

pub(super) fn open(configuration: &Value) -> Result<Arc<dyn Codec>, String> {
    let Configuration { dtype, astype } =
        Configuration::deserialize(configuration).map_err(|error| error.to_string())?;
    let conversion = Conversion::new(&dtype, astype.as_deref().unwrap_or(&dtype))?;
    let (decoded, encoded) = (conversion.decoded.kind, conversion.encoded.kind);
    let unknown = [decoded, encoded]
        .iter()
        .any(|kind| matches!(kind, NumberKind::Bool | NumberKind::F2));
    if unknown || (encoded.is_float() && !decoded.is_float()) {
        return Err(
            "its differences are read between whole numbers and floats of 4 or 8 bytes only".into(),
        );
    }
    Ok(Arc::new(Delta(conversion)))
}

impl Codec for Delta {
    fn encoded_size(&self, decoded: Size) -> Size {
        self.0.encoded_size(decoded)
    }

    fn decode(&self, encoded: Vec<u8>, _: Size) -> Result<Vec<u8>, String> {
        // Sums are formed in the array's own type, in the order of the numbers, as NumPy's are.
        let kind = self.0.decoded.kind;
        let (mut whole, mut single, mut double) = (0_u64, 0_f32, 0_f64);
        self.0.decode(&encoded, |number| match kind {
            NumberKind::F4 => {
                single += number.to_f32();
                Number::Float(f64::from(single))
            }
            NumberKind::F8 => {
                double += number.to_f64();
                Number::Float(double)
            }
            _ => {
                let bits = match number {
                    Number::Signed(value) => value as u64,
                    Number::Unsigned(value) => value,
                    Number::Float(_) => 0,
                };
                whole = whole.wrapping_add(bits);
                Number::Unsigned(whole)
            }
        })
    }
}
