//! Number types of arrays, their bytes, and fill values.

use half::f16;
use serde_json::Value;

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberKind {
    Bool,
    I1,
    I2,
    I4,
    I8,
    U1,
    U2,
    U4,
    U8,
    F2,
    F4,
    F8,
}

/// How a number is stored, and in which order its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberType {
    pub(super) kind: NumberKind,
    pub(super) big_endian: bool,
}

/// A number as it was stored, exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl Number {
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Signed(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// Rounds once.
    pub(super) fn to_f32(self) -> f32 {
        match self {
            Self::Signed(value) => value as f32,
            Self::Unsigned(value) => value as f32,
            Self::Float(value) => value as f32,
        }
    }

    /// The bits of a whole number in two's complement; floats are cut towards 0, as NumPy does.
    fn to_bits(self) -> u64 {
        match self {
            Self::Signed(value) => value as u64,
            Self::Unsigned(value) => value,
            Self::Float(value) if value < 0.0 => value as i64 as u64,
            Self::Float(value) => value as u64,
        }
    }

    /// The number as an index, where it is one.
    pub(super) fn to_index(self) -> Option<usize> {
        match self {
            Self::Signed(value) => value.try_into().ok(),
            Self::Unsigned(value) => value.try_into().ok(),
            // Above 2^53 a double skips whole numbers.
            Self::Float(value)
                if value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value) =>
            {
                Some(value as usize)
            }
            Self::Float(_) => None,
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Signed(value) => write!(formatter, "{value}"),
            Self::Unsigned(value) => write!(formatter, "{value}"),
            Self::Float(value) => write!(formatter, "{value}"),
        }
    }
}

impl NumberKind {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bool | Self::I1 | Self::U1 => 1,
            Self::I2 | Self::U2 | Self::F2 => 2,
            Self::I4 | Self::U4 | Self::F4 => 4,
            Self::I8 | Self::U8 | Self::F8 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F2 | Self::F4 | Self::F8)
    }

    /// A number type by its name in zarr v3, such as `float32`.
    pub(super) fn from_name(name: &str) -> Result<Self, String> {
        Ok(match name {
            "bool" => Self::Bool,
            "int8" => Self::I1,
            "int16" => Self::I2,
            "int32" => Self::I4,
            "int64" => Self::I8,
            "uint8" => Self::U1,
            "uint16" => Self::U2,
            "uint32" => Self::U4,
            "uint64" => Self::U8,
            "float16" => Self::F2,
            "float32" => Self::F4,
            "float64" => Self::F8,
            other => return Err(refused_type(other)),
        })
    }

    /// The number in `raw`, [`Self::size`] bytes, the lowest first.
    fn read(self, raw: u64) -> Number {
        match self {
            Self::Bool => Number::Unsigned(u64::from(raw != 0)),
            Self::I1 => Number::Signed(i64::from(raw as i8)),
            Self::I2 => Number::Signed(i64::from(raw as i16)),
            Self::I4 => Number::Signed(i64::from(raw as i32)),
            Self::I8 => Number::Signed(raw as i64),
            Self::U1 | Self::U2 | Self::U4 | Self::U8 => Number::Unsigned(raw),
            Self::F2 => Number::Float(f16::from_bits(raw as u16).to_f64()),
            Self::F4 => Number::Float(f64::from(f32::from_bits(raw as u32))),
            Self::F8 => Number::Float(f64::from_bits(raw)),
        }
    }

    /// The bits of a number of this kind, converted as NumPy's `astype` does.
    fn write(self, number: Number) -> u64 {
        match self {
            Self::Bool => u64::from(number.to_f64() != 0.0),
            Self::F2 => u64::from(f16::from_f64(number.to_f64()).to_bits()),
            Self::F4 => u64::from(number.to_f32().to_bits()),
            Self::F8 => number.to_f64().to_bits(),
            _ => number.to_bits(),
        }
    }
}

impl NumberType {
    /// A number type by NumPy's letters, such as `<f4`.
    pub(super) fn from_letters(letters: &str) -> Result<Self, String> {
        let (order, kind) = letters.split_at_checked(1).unwrap_or_default();
        let kind = match kind {
            "b1" => NumberKind::Bool,
            "i1" => NumberKind::I1,
            "i2" => NumberKind::I2,
            "i4" => NumberKind::I4,
            "i8" => NumberKind::I8,
            "u1" => NumberKind::U1,
            "u2" => NumberKind::U2,
            "u4" => NumberKind::U4,
            "u8" => NumberKind::U8,
            "f2" => NumberKind::F2,
            "f4" => NumberKind::F4,
            "f8" => NumberKind::F8,
            _ => return Err(refused_type(letters)),
        };
        match order {
            "<" | ">" => {}
            "|" if kind.size() == 1 => {}
            _ => return Err(refused_type(letters)),
        }
        Ok(Self {
            kind,
            big_endian: order == ">",
        })
    }

    /// Hands out the numbers in `bytes`, and ignores what is no whole number at the end.
    pub(super) fn for_each(self, bytes: &[u8], mut take: impl FnMut(Number)) {
        fn all<const SIZE: usize>(bytes: &[u8], mut take: impl FnMut([u8; SIZE])) {
            bytes.as_chunks().0.iter().for_each(|raw| take(*raw));
        }
        let Self { kind, big_endian } = self;
        match kind.size() {
            1 => all(bytes, |[raw]| take(kind.read(u64::from(raw)))),
            2 => all(bytes, |raw| {
                let raw = if big_endian {
                    u16::from_be_bytes(raw)
                } else {
                    u16::from_le_bytes(raw)
                };
                take(kind.read(u64::from(raw)));
            }),
            4 => all(bytes, |raw| {
                let raw = if big_endian {
                    u32::from_be_bytes(raw)
                } else {
                    u32::from_le_bytes(raw)
                };
                take(kind.read(u64::from(raw)));
            }),
            _ => all(bytes, |raw| {
                let raw = if big_endian {
                    u64::from_be_bytes(raw)
                } else {
                    u64::from_le_bytes(raw)
                };
                take(kind.read(raw));
            }),
        }
    }

    /// Appends the bytes of `number`, converted.
    pub(super) fn append(self, number: Number, bytes: &mut Vec<u8>) {
        let raw = self.kind.write(number).to_le_bytes();
        let raw = raw.into_iter().take(self.kind.size());
        if self.big_endian {
            bytes.extend(raw.rev());
        } else {
            bytes.extend(raw);
        }
    }

    /// The bytes of one number.
    pub(super) fn bytes(self, number: Number) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.kind.size());
        self.append(number, &mut bytes);
        bytes
    }
}

fn refused_type(name: &str) -> String {
    format!(
        "number type `{name}` is not read, expected bool, int or uint of 1 to 8 bytes, or float of 2, 4 or 8; convert the \
         array with astype"
    )
}

/// The `fill_value` of an array; none where it is null.
///
/// # Errors
/// A value that is no number of this kind.
pub(super) fn fill_value(value: &Value, kind: NumberKind) -> Result<Option<Number>, String> {
    let wrong = || format!("fill_value {value} is no number of this array's type");
    let number = match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => Number::Unsigned(u64::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Number::Signed(value),
            (_, Some(value), _) => Number::Unsigned(value),
            (.., value) => Number::Float(value.ok_or_else(wrong)?),
        },
        Value::String(text) => match (text.as_str(), kind.is_float()) {
            ("NaN", true) => Number::Float(f64::NAN),
            ("Infinity", true) => Number::Float(f64::INFINITY),
            ("-Infinity", true) => Number::Float(f64::NEG_INFINITY),
            // The bits of a float, the highest first.
            (bits, true) => {
                let digits = bits
                    .strip_prefix("0x")
                    .filter(|it| it.len() == 2 * kind.size());
                let raw = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                kind.read(raw.ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        },
        Value::Array(_) | Value::Object(_) => return Err(wrong()),
    };
    let little = NumberType {
        kind,
        big_endian: false,
    };
    let mut stored = None;
    little.for_each(&little.bytes(number), |number| stored = Some(number));
    let stored = stored.ok_or_else(wrong)?;
    if !kind.is_float() && stored.to_f64() != number.to_f64() {
        return Err(wrong());
    }
    Ok(Some(stored))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn numbers(letters: &str, bytes: &[u8]) -> Vec<Number> {
        let mut found = Vec::new();
        let number_type = NumberType::from_letters(letters).unwrap();
        number_type.for_each(bytes, |number| found.push(number));
        found
    }

    #[test]
    fn both_byte_orders_and_all_kinds_are_read_exactly() {
        for letters in ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8"] {
            let little = NumberType::from_letters(&format!("<{letters}")).unwrap();
            let mut bytes = little.bytes(Number::Signed(77));
            assert_eq!(
                numbers(&format!("<{letters}"), &bytes)[0].to_index(),
                Some(77)
            );
            bytes.reverse();
            assert_eq!(
                numbers(&format!(">{letters}"), &bytes)[0].to_index(),
                Some(77)
            );
        }
        let large = (1_i64 << 53) + 1;
        assert_eq!(
            numbers("<i8", &large.to_le_bytes()),
            [Number::Signed(large)]
        );
        assert_eq!(numbers("<u8", &[0xff; 8]), [Number::Unsigned(u64::MAX)]);
        assert_eq!(
            numbers("|i1", &[0xff, 1]),
            [Number::Signed(-1), Number::Signed(1)]
        );
        assert_eq!(numbers("<f2", &[0, 0x3c]), [Number::Float(1.0)]);
        for letters in ["<c8", "|O", "<U4", "<M8[ns]", "|f4", "f4", "", "é"] {
            let message = NumberType::from_letters(letters).unwrap_err();
            assert!(
                message.contains(letters) && message.contains("astype"),
                "{message}"
            );
        }
    }

    #[test]
    fn fill_values_are_numbers_of_the_arrays_type() {
        let of = |value, kind| fill_value(&value, kind).map(|it| it.map(Number::to_f64));
        assert_eq!(of(json!(null), NumberKind::F4), Ok(None));
        assert_eq!(of(json!(-3), NumberKind::I2), Ok(Some(-3.0)));
        assert_eq!(of(json!(0.5), NumberKind::F2), Ok(Some(0.5)));
        assert_eq!(of(json!(true), NumberKind::Bool), Ok(Some(1.0)));
        assert_eq!(of(json!(0.0), NumberKind::U1), Ok(Some(0.0)));
        assert_eq!(
            of(json!("-Infinity"), NumberKind::F8),
            Ok(Some(f64::NEG_INFINITY))
        );
        assert_eq!(of(json!("0x3f800000"), NumberKind::F4), Ok(Some(1.0)));
        assert!(of(json!("NaN"), NumberKind::F4).unwrap().unwrap().is_nan());
        for (value, kind) in [
            (json!(300), NumberKind::U1),
            (json!(-1), NumberKind::U8),
            (json!(0.5), NumberKind::I8),
            (json!("NaN"), NumberKind::I8),
            (json!("0x3f80"), NumberKind::F4),
            (json!("zero"), NumberKind::F4),
            (json!([0]), NumberKind::F4),
        ] {
            assert!(
                of(value.clone(), kind).unwrap_err().contains("fill_value"),
                "{value}"
            );
        }
    }
}
