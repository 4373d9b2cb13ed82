//! Linear normalisation of observations and actions by the training data: to [-1, 1] by its limits,
//! or as an imported checkpoint says.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{Error, Result};

/// y = scale (x - centre) + offset, number by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normaliser {
    /// Factors, one per number.
    pub scale: Vec<f32>,
    /// Summands, one per number.
    pub offset: Vec<f32>,
    /// What is taken away first, one per number; empty for nothing. Values far from 0 in a narrow
    /// range keep their digits so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub centre: Vec<f32>,
    /// Smallest value in the training data; empty where nobody kept it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub minimum: Vec<f32>,
    /// Largest value in the training data; empty where nobody kept it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
            centre: Vec::new(),
            minimum,
            maximum,
        }
    }

    /// Leaves `size` numbers as they are.
    pub fn identity(size: usize) -> Self {
        Self {
            scale: vec![1.0; size],
            offset: vec![0.0; size],
            centre: Vec::new(),
            minimum: Vec::new(),
            maximum: Vec::new(),
        }
    }

    /// One normaliser for the numbers of several, one after the other. The limits are known where
    /// those of all are.
    pub fn joined(parts: &[Self]) -> Self {
        let all = |values: fn(&Self) -> &[f32]| {
            parts.iter().flat_map(values).copied().collect::<Vec<f32>>()
        };
        let limits = |values: fn(&Self) -> &[f32]| {
            let known = parts.iter().all(|part| values(part).len() == part.size());
            if known { all(values) } else { Vec::new() }
        };
        Self {
            scale: all(|part| &part.scale),
            offset: all(|part| &part.offset),
            centre: parts.iter().flat_map(Self::centres).collect(),
            minimum: limits(|part| &part.minimum),
            maximum: limits(|part| &part.maximum),
        }
    }

    /// What is taken away first, zeros where that is nothing.
    fn centres(&self) -> Vec<f32> {
        if self.centre.is_empty() {
            vec![0.0; self.size()]
        } else {
            self.centre.clone()
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
        let required = [(&self.scale, true), (&self.offset, true)];
        let optional = [&self.centre, &self.minimum, &self.maximum].map(|part| (part, false));
        for (part, required) in required.into_iter().chain(optional) {
            let complete = part.len() == size || (part.is_empty() && !required);
            if !complete || part.iter().any(|value| !value.is_finite()) {
                return Err(Error::Config {
                    key,
                    found: format!("{} numbers", part.len()),
                    expected: format!(
                        "{size} finite numbers each for scale and offset, and for centre and limits \
                         where there are any"
                    ),
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
            let centre = self.centre.get(index).copied().unwrap_or(0.0);
            *value = (*value - centre) * self.scale[index] + self.offset[index];
        }
    }

    /// Brings one normalised row back to its units in place.
    pub fn restore(&self, row: &mut [f32]) {
        for (index, value) in row.iter_mut().enumerate() {
            let centre = self.centre.get(index).copied().unwrap_or(0.0);
            *value = (*value - self.offset[index]) / self.scale[index] + centre;
        }
    }

    /// Normalises a tensor [.., size].
    pub fn normalise_tensor(&self, rows: &Tensor) -> Tensor {
        let on_device = |values: &[f32]| Tensor::from_slice(values).to_device(rows.device());
        let (scale, offset) = (on_device(&self.scale), on_device(&self.offset));
        if self.centre.is_empty() {
            return rows * scale + offset;
        }
        (rows - on_device(&self.centre)) * scale + offset
    }

    /// Normalises images [B, size, H, W], channel by channel.
    pub fn normalise_channels(&self, images: &Tensor) -> Tensor {
        let channels_last = self.normalise_tensor(&images.permute([0, 2, 3, 1]));
        channels_last.permute([0, 3, 1, 2]).contiguous()
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
    fn narrow_ranges_far_from_zero_keep_their_digits() {
        let normaliser = Normaliser {
            scale: vec![2e3],
            offset: vec![-1.0],
            centre: vec![5000.0],
            minimum: vec![5000.0],
            maximum: vec![5000.001],
        };
        let mut row = [5000.0_f32];
        normaliser.normalise(&mut row);
        assert_eq!(row, [-1.0]);
        normaliser.restore(&mut row);
        assert_eq!(row, [5000.0]);
    }

    #[test]
    fn joined_normalisers_act_side_by_side() {
        let first = Normaliser {
            centre: vec![1.0],
            scale: vec![2.0],
            ..Normaliser::identity(1)
        };
        let joined = Normaliser::joined(&[Normaliser::identity(2), first]);
        assert!(joined.check("normaliser", 3).is_ok());
        let mut row = [5.0, 6.0, 7.0];
        joined.normalise(&mut row);
        assert_eq!(row, [5.0, 6.0, 12.0]);
        let tensor = joined.normalise_tensor(&Tensor::from_slice(&[5.0_f32, 6.0, 7.0]));
        assert_eq!(Vec::<f32>::try_from(tensor).unwrap(), row);
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
