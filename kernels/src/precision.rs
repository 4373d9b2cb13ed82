//! Number formats of packed weights, and rounding to them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number format of packed weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "KernelPrecision")]
pub enum Precision {
    /// Four bytes a weight: equal to the network up to the order of summation.
    Fp32,
    /// IEEE 754 binary16, two bytes a weight: exact for weights that were stored so, and within
    /// 2^-11 of others.
    #[default]
    Fp16,
    /// One byte a weight and one scale per output channel: within 1/254 of the channel's largest
    /// weight. Whether that is good enough has to be looked at for every checkpoint. Where there are
    /// several positions, inputs are rounded to 16 bits and products are whole numbers; elsewhere, and in
    /// the other formats, arithmetic is in fp32.
    Int8,
}

impl Precision {
    /// Bytes per weight.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Fp32 => 4,
            Self::Fp16 => 2,
            Self::Int8 => 1,
        }
    }

    /// The name that configurations use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Fp32, Self::Fp16, Self::Int8];
        let found = all.into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| format!("precision `{name}` is unknown; write fp32, fp16 or int8"))
    }
}

/// Rounds to the nearest number of binary16, ties to even; beyond its range infinity.
pub(crate) fn to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // Below 2^-14 the result is subnormal: adding 1/2 moves its bits to the end of the fraction,
    // and the addition rounds.
    if magnitude < 0x3880_0000 {
        let rounded = f32::from_bits(magnitude) + 0.5;
        return sign | (rounded.to_bits() - 0.5_f32.to_bits()) as u16;
    }
    let odd = (magnitude >> 13) & 1;
    let rounded = magnitude + 0x0fff + odd;
    if rounded >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    // From an exponent with bias 127 to one with bias 15.
    sign | ((rounded - 0x3800_0000) >> 13) as u16
}

/// The fp32 number that is equal to a finite binary16 number.
#[inline(always)]
pub(crate) fn from_half(half: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13);
    // 2^112 moves the exponent's bias from 15 to 127, of subnormal numbers too.
    let value = magnitude * f32::from_bits((127 + 112) << 23);
    f32::from_bits(value.to_bits() | u32::from(half & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_survives() {
        for half in (0..=u16::MAX).filter(|half| half & 0x7c00 != 0x7c00) {
            let value = from_half(half);
            assert_eq!(to_half(value), half, "{half:#06x} is {value}");
        }
        assert_eq!(from_half(0x3c00), 1.0);
        assert_eq!(from_half(0x7bff), 65504.0);
        assert_eq!(from_half(1), 2.0_f32.powi(-24));
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        // Between 1 and 1 + 2^-10: the tie goes to the even one.
        let step = 2.0_f32.powi(-10);
        assert_eq!(from_half(to_half(1.0 + 0.5 * step)), 1.0);
        assert_eq!(from_half(to_half(1.0 + 0.51 * step)), 1.0 + step);
        assert_eq!(from_half(to_half(1.0 + 1.5 * step)), 1.0 + 2.0 * step);
        assert_eq!(to_half(65520.0), 0x7c00);
        assert_eq!(to_half(-1e9), 0xfc00);
        assert_eq!(to_half(2.0_f32.powi(-26)), 0);
    }
}
