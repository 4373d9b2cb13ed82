//! Fréchet distance between two sets of features, each taken for a Gaussian: "FID" of the papers.
//!
//! d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)
//!
//! for means m and covariances C (D. Dowson, B. Landau, "The Fréchet distance between multivariate
//! normal distributions", 1982; M. Heusel et al., "GANs trained by a two time-scale update rule
//! converge to a local Nash equilibrium", 2017). The root is taken of a symmetric matrix through its
//! eigenvalues, so it stays real; the root of C1 C2 of the usual implementations does not.
//!
//! The distance of two finite sets from one distribution is above 0, and falls with 1 / N. Compare
//! distances of equally large sets, and look at the yardstick of two real sets.

#[cfg(test)]
mod tests;

use kinestream_random::NoiseStream;
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use serde::{Deserialize, Serialize};

use super::statistics::{Bootstrap, Estimate, Features, resampled_counts};
use crate::{Error, Result};

/// With fewer samples per dimension than this, the result carries a warning.
pub const SAMPLES_PER_DIMENSION: usize = 10;

/// Largest number of features D.
pub const MOST_DIMENSIONS: usize = 1024;

/// Steps of an eigenvalue iteration after which it is given up.
const ITERATIONS: usize = 100_000;

/// How the distance is computed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrechetConfig {
    /// Share, 0 to 1, by which covariances are drawn to a multiple of the identity of equal trace:
    /// (1 - a) C + a tr(C) / D I. 0, as in the literature, leaves them as they are; where there are
    /// few samples, more is steadier, and not comparable with 0.
    pub shrinkage: f64,
    /// Resamples of the interval.
    pub bootstrap: Bootstrap,
}

/// A Fréchet distance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frechet {
    /// The distance with its interval. The interval is of the distance of the two distributions; for
    /// small sets it can lie below the value, which the finite number of samples raises.
    pub distance: Estimate,
    /// Part of the means: |m1 - m2|^2.
    pub means: f64,
    /// Part of the covariances.
    pub covariances: f64,
    /// Samples in both sets.
    pub samples: [usize; 2],
    /// Features D.
    pub dimensions: usize,
    /// What makes the figure doubtful: too few samples for the dimensions.
    pub warning: Option<String>,
}

/// Mean and covariance of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    /// Mean `[D]`.
    pub mean: DVector<f64>,
    /// Covariance `[D, D]`, over N - 1.
    pub covariance: DMatrix<f64>,
}

/// The Fréchet distance between two sets of features with equal D.
///
/// # Errors
/// Fewer than two samples, features that are not finite or not of one size, a shrinkage outside 0..=1.
pub fn frechet(
    first: &Features<'_>,
    second: &Features<'_>,
    config: &FrechetConfig,
) -> Result<Frechet> {
    const METRIC: &str = "Fréchet distance";
    first.check(METRIC)?;
    second.check(METRIC)?;
    let dimensions = first.values.ncols();
    let samples = [first.values.nrows(), second.values.nrows()];
    if second.values.ncols() != dimensions || dimensions > MOST_DIMENSIONS {
        return Err(Error::Metric {
            metric: METRIC,
            reason: format!(
                "features of {dimensions} and {} numbers, expected equally many and at most {MOST_DIMENSIONS}",
                second.values.ncols()
            ),
        });
    }
    if !(0.0..=1.0).contains(&config.shrinkage) {
        return Err(Error::Config {
            key: "shrinkage",
            found: config.shrinkage.to_string(),
            expected: "0 to 1".into(),
        });
    }
    let fitted = [first, second]
        .map(|features| Gaussian::fit(features.values, None).shrunk(config.shrinkage));
    let (means, covariances) = parts(&fitted[0], &fitted[1])?;

    let mut stream = NoiseStream::new(config.bootstrap.seed);
    let counts = [first, second].map(|features| {
        resampled_counts(
            features.values.nrows(),
            &features.groups(),
            config.bootstrap.resamples,
            &mut stream,
        )
    });
    let mut resampled = Vec::with_capacity(counts[0].len());
    for (of_first, of_second) in counts[0].iter().zip(&counts[1]) {
        let fitted = [(first, of_first), (second, of_second)].map(|(features, counts)| {
            Gaussian::fit(features.values, Some(counts)).shrunk(config.shrinkage)
        });
        let (means, covariances) = parts(&fitted[0], &fitted[1])?;
        resampled.push(means + covariances);
    }
    let mut distance = Estimate::new(means + covariances, resampled);
    if let Some(bounds) = &mut distance.interval {
        // A distance is not negative.
        bounds.iter_mut().for_each(|bound| *bound = bound.max(0.0));
    }
    let least = samples[0].min(samples[1]);
    let warning = (least < SAMPLES_PER_DIMENSION * dimensions).then(|| {
        format!(
            "{least} samples for {dimensions} features: with fewer than {} the covariances are noise and the distance \
             is too large",
            SAMPLES_PER_DIMENSION * dimensions
        )
    });
    Ok(Frechet {
        distance,
        means,
        covariances,
        samples,
        dimensions,
        warning,
    })
}

impl Gaussian {
    /// Mean and covariance of the rows of `[N, D]`, each counted as often as `counts` says.
    fn fit(values: &DMatrix<f64>, counts: Option<&[u32]>) -> Self {
        let count = |row: usize| counts.map_or(1.0, |counts| f64::from(counts[row]));
        let total: f64 = (0..values.nrows()).map(count).sum();
        let mean = DVector::from_fn(values.ncols(), |column, _| {
            let column = values.column(column);
            column
                .iter()
                .enumerate()
                .map(|(row, value)| count(row) * value)
                .sum::<f64>()
                / total
        });
        let centred = DMatrix::from_fn(values.nrows(), values.ncols(), |row, column| {
            count(row).sqrt() * (values[(row, column)] - mean[column])
        });
        let covariance = centred.transpose() * &centred / (total - 1.0).max(1.0);
        Self { mean, covariance }
    }

    /// Drawn to a multiple of the identity.
    fn shrunk(mut self, share: f64) -> Self {
        if share > 0.0 {
            let size = self.mean.len();
            let level = self.covariance.trace() / size as f64;
            self.covariance *= 1.0 - share;
            self.covariance += DMatrix::identity(size, size) * (share * level);
        }
        self
    }

    /// The Fréchet distance to another of the same dimension.
    ///
    /// # Errors
    /// Eigenvalues that cannot be found, which finite covariances of sensible size do not cause.
    pub fn distance(&self, other: &Self) -> Result<f64> {
        let (means, covariances) = parts(self, other)?;
        Ok(means + covariances)
    }
}

/// The two parts of the distance.
fn parts(first: &Gaussian, second: &Gaussian) -> Result<(f64, f64)> {
    let means = (&first.mean - &second.mean).norm_squared();
    let eigen = decomposed(first.covariance.clone())?;
    let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    let root =
        &eigen.eigenvectors * DMatrix::from_diagonal(&roots) * eigen.eigenvectors.transpose();
    let between = &root * &second.covariance * &root;
    // Rounding makes it a little unsymmetric, and eigenvalues of 0 a little negative.
    let symmetric = (&between + between.transpose()) * 0.5;
    let overlap: f64 = decomposed(symmetric)?
        .eigenvalues
        .iter()
        .map(|value| value.max(0.0).sqrt())
        .sum();
    let traces = first.covariance.trace() + second.covariance.trace();
    Ok((means, (traces - 2.0 * overlap).max(0.0)))
}

fn decomposed(matrix: DMatrix<f64>) -> Result<SymmetricEigen<f64, nalgebra::Dyn>> {
    let finite = matrix.iter().all(|value| value.is_finite());
    finite
        .then(|| SymmetricEigen::try_new(matrix, f64::EPSILON, ITERATIONS))
        .flatten()
        .ok_or_else(|| Error::Metric {
            metric: "Fréchet distance",
            reason: "a covariance is not finite, or its eigenvalues cannot be found: the features are too large".into(),
        })
}
