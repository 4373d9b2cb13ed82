//! Linear normalisation of observations and actions to [-1, 1] by the limits of the training data.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{Error, Result};

/// y = scale x + offset, number by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normaliser {
    /// Factors, one per number.
    pub scale: Vec<f32>,
    /// Summands, one per number.
    pub offset: Vec<f32>,
    /// Smallest value in the training data.
    pub minimum: Vec<f32>,
    /// Largest value in the training data.
    pub maximum: Vec<f32>,
}

/// Below this range a number counts as constant and is only shifted, as in the reference.
const SMALLEST_RANGE: f32 = 1e-4;

impl Normaliser {
    /// Fits the limits of rows of `size` numbers to [-1, 1].
    pub fn fit<'a>(rows: impl Iterator<Item = &'a [f32]>, size: usize) -> Self {
        let mut minimum = vec![f32::INFINITY; size];
        let mut maximum = vec![f32::NEG_INFINITY; size];
        for row in rows {
            for (index, value) in row.iter().enumerate() {
                minimum[index] = minimum[index].min(*value);
                maximum[index] = maximum[index].max(*value);
            }
        }
        let (scale, offset) = minimum
            .iter()
            .zip(&maximum)
            .map(|(low, high)| {
                if high - low < SMALLEST_RANGE {
                    (1.0, -low)
                } else {
                    let scale = 2.0 / (high - low);
                    (scale, -1.0 - scale * low)
                }
            })
            .unzip();
        Self {
            scale,
            offset,
            minimum,
            maximum,
        }
    }

    /// Numbers per row.
    pub fn size(&self) -> usize {
        self.scale.len()
    }

    /// Checks a normaliser that came from a file.
    ///
    /// # Errors
    /// Unequal lengths, numbers that are not finite, or a factor of 0.
    pub fn check(&self, key: &'static str, size: usize) -> Result<()> {
        for part in [&self.scale, &self.offset, &self.minimum, &self.maximum] {
            if part.len() != size || part.iter().any(|value| !value.is_finite()) {
                return Err(Error::Config {
                    key,
                    found: format!("{} numbers", part.len()),
                    expected: format!("{size} finite numbers each for scale, offset and limits"),
                });
            }
        }
        if self.scale.contains(&0.0) {
            return Err(Error::Config {
                key,
                found: "a scale of 0".into(),
                expected: "factors other than 0".into(),
            });
        }
        Ok(())
    }

    /// Normalises one row in place.
    pub fn normalise(&self, row: &mut [f32]) {
        for (index, value) in row.iter_mut().enumerate() {
            *value = *value * self.scale[index] + self.offset[index];
        }
    }

    /// Brings one normalised row back to its units in place.
    pub fn restore(&self, row: &mut [f32]) {
        for (index, value) in row.iter_mut().enumerate() {
            *value = (*value - self.offset[index]) / self.scale[index];
        }
    }

    /// Normalises a tensor [.., size].
    pub fn normalise_tensor(&self, rows: &Tensor) -> Tensor {
        let on_device = |values: &[f32]| Tensor::from_slice(values).to_device(rows.device());
        rows * on_device(&self.scale) + on_device(&self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_map_to_plus_and_minus_one_and_back() {
        let rows = [[0.0_f32, 5.0, 100.0], [10.0, 5.0, 300.0]];
        let normaliser = Normaliser::fit(rows.iter().map(|row| &row[..]), 3);
        let mut low = rows[0];
        normaliser.normalise(&mut low);
        assert_eq!(low, [-1.0, 0.0, -1.0]);
        let mut high = rows[1];
        normaliser.normalise(&mut high);
        assert_eq!(high, [1.0, 0.0, 1.0]);
        normaliser.restore(&mut high);
        assert_eq!(high, rows[1]);
    }

    #[test]
    fn damaged_normalisers_are_refused() {
        let mut normaliser = Normaliser::fit([[0.0_f32], [1.0]].iter().map(|row| &row[..]), 1);
        assert!(normaliser.check("normaliser.action", 1).is_ok());
        assert!(normaliser.check("normaliser.action", 2).is_err());
        normaliser.scale[0] = f32::NAN;
        assert!(normaliser.check("normaliser.action", 1).is_err());
    }
}
