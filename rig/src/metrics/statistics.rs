//! Feature sets, and 95 % intervals of what is computed from them, by bootstrap.
//!
//! A resample draws as many clips as there are, with replacement, and takes all rows of each: rows
//! of one clip depend on each other, so drawing rows alone would make intervals too narrow. Where
//! clips are not given, every row is its own. Intervals are basic (pivotal) bootstrap intervals,
//! [2 v - q(97.5 %), 2 v - q(2.5 %)] for a value v and the quantiles q of its resamples (B. Efron,
//! R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 13): where resampling shifts a
//! measure one way, as it does the Fréchet distance, they take that shift off again.

use kinestream_random::NoiseStream;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Features of samples, and the clips that they come from.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// Features `[N, D]`, one row per sample.
    pub values: &'a DMatrix<f64>,
    /// For each row the clip it comes from, in any numbering; none if the rows are independent.
    pub clips: Option<&'a [usize]>,
}

/// How intervals are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Number of resamples; 0 leaves the interval out.
    pub resamples: usize,
    /// Seed of the resamples and of every other random choice.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 200,
            seed: 0,
        }
    }
}

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower and upper bound; none without resamples, or with one clip alone.
    pub interval: Option<[f64; 2]>,
    /// Mean of the resamples less the value: how much resampling alone shifts the measure. None for
    /// random pairs.
    pub shift: Option<f64>,
    /// Number of resamples behind the interval.
    pub resamples: usize,
}

impl Estimate {
    /// A value and what its resamples gave.
    pub fn new(value: f64, mut resampled: Vec<f64>) -> Self {
        let resamples = resampled.len();
        if resamples < 2 {
            return Self {
                value,
                interval: None,
                shift: None,
                resamples: 0,
            };
        }
        let mean = resampled.iter().sum::<f64>() / resamples as f64;
        resampled.sort_by(f64::total_cmp);
        let [low, high] = [0.025, 0.975].map(|share| quantile(&resampled, share));
        Self {
            value,
            interval: Some([2.0 * value - high, 2.0 * value - low]),
            shift: Some(mean - value),
            resamples,
        }
    }

    /// The same for a value that is a random draw itself: the spread of the resamples about their
    /// own mean.
    pub(super) fn centred(value: f64, resampled: Vec<f64>) -> Self {
        let mut estimate = Self::new(value, resampled);
        let shift = estimate.shift.take().unwrap_or(0.0);
        if let Some(bounds) = &mut estimate.interval {
            bounds.iter_mut().for_each(|bound| *bound += shift);
        }
        estimate
    }
}

impl<'a> Features<'a> {
    /// Rows that are independent.
    pub fn independent(values: &'a DMatrix<f64>) -> Self {
        Self {
            values,
            clips: None,
        }
    }

    /// Whether there are at least two rows, all of them finite, and a clip for each.
    pub(super) fn check(&self, metric: &'static str) -> Result<()> {
        let (rows, columns) = self.values.shape();
        let refuse = |reason: String| Err(Error::Metric { metric, reason });
        if rows < 2 || columns == 0 {
            return refuse(format!(
                "features are [{rows}, {columns}], expected at least two samples of one number"
            ));
        }
        if let Some(clips) = self.clips
            && clips.len() != rows
        {
            return refuse(format!("{} clips for {rows} samples", clips.len()));
        }
        for column in 0..columns {
            for row in 0..rows {
                let value = self.values[(row, column)];
                if !value.is_finite() {
                    return refuse(format!("feature {column} of sample {row} is {value}"));
                }
            }
        }
        Ok(())
    }

    /// Rows, by the clips they come from.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let rows = 0..self.values.nrows();
        match self.clips {
            None => rows.map(|row| vec![row]).collect(),
            Some(clips) => {
                let mut groups = std::collections::BTreeMap::<usize, Vec<usize>>::new();
                rows.for_each(|row| groups.entry(clips[row]).or_default().push(row));
                groups.into_values().collect()
            }
        }
    }
}

/// How often each of `rows` rows is in each resample: `[resamples][rows]`. Empty with fewer than
/// two groups, which say nothing about their spread.
pub(super) fn resampled_counts(
    rows: usize,
    groups: &[Vec<usize>],
    resamples: usize,
    stream: &mut NoiseStream,
) -> Vec<Vec<u32>> {
    if groups.len() < 2 {
        return Vec::new();
    }
    (0..resamples)
        .map(|_| {
            let mut counts = vec![0; rows];
            for _ in 0..groups.len() {
                for row in &groups[stream.below(groups.len())] {
                    counts[*row] += 1;
                }
            }
            counts
        })
        .collect()
}

/// The value below which a share of sorted values lies, linear between two of them.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_values() {
        let sorted = [0.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sorted, 0.0), 0.0);
        assert_eq!(quantile(&sorted, 0.5), 2.0);
        assert!((quantile(&sorted, 0.975) - 3.9).abs() < 1e-12);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn clips_are_drawn_whole() {
        let values = DMatrix::zeros(6, 1);
        let features = Features {
            values: &values,
            clips: Some(&[7, 7, 2, 2, 2, 9]),
        };
        let groups = features.groups();
        assert_eq!(groups, [vec![2, 3, 4], vec![0, 1], vec![5]]);
        for counts in resampled_counts(6, &groups, 50, &mut NoiseStream::new(1)) {
            assert_eq!((counts[0], counts[2]), (counts[1], counts[4]));
            assert_eq!(counts[0] + counts[2] + counts[5], 3);
        }
        assert!(resampled_counts(6, &groups[..1], 50, &mut NoiseStream::new(1)).is_empty());
    }

    #[test]
    fn the_interval_of_a_mean_is_the_known_one() {
        // 400 standard normal numbers: the mean's standard error is 0.05.
        let mut stream = NoiseStream::new(4);
        let numbers: Vec<f64> = stream.normals(400).into_iter().map(f64::from).collect();
        let mean = numbers.iter().sum::<f64>() / 400.0;
        let values = DMatrix::from_vec(400, 1, numbers.clone());
        let groups = Features::independent(&values).groups();
        let resampled = resampled_counts(400, &groups, 2000, &mut stream)
            .iter()
            .map(|counts| {
                let sum: f64 = counts
                    .iter()
                    .zip(&numbers)
                    .map(|(count, x)| f64::from(*count) * x)
                    .sum();
                sum / 400.0
            })
            .collect();
        let estimate = Estimate::new(mean, resampled);
        let [low, high] = estimate.interval.unwrap();
        assert!(
            (high - low - 2.0 * 1.96 * 0.05).abs() < 0.02,
            "{estimate:?}"
        );
        assert!(low < mean && mean < high && estimate.shift.unwrap().abs() < 0.01);
    }
}
