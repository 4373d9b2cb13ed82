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

use kinestream_diffusion::noise::NoiseStream;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn diagonal(mean: &[f64], variances: &[f64]) -> Gaussian {
        Gaussian {
            mean: DVector::from_column_slice(mean),
            covariance: DMatrix::from_diagonal(&DVector::from_column_slice(variances)),
        }
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
            "{found} is not {expected}"
        );
    }

    /// Standard normal rows, stretched per column and shifted.
    fn samples(seed: u64, rows: usize, columns: usize, stretch: f64, shift: f64) -> DMatrix<f64> {
        let mut stream = NoiseStream::new(seed);
        DMatrix::from_fn(rows, columns, |_, column| {
            shift + f64::from(stream.normal()) * (1.0 + stretch * column as f64)
        })
    }

    fn orthogonal(seed: u64, size: usize) -> DMatrix<f64> {
        samples(seed, size, size, 0.0, 0.0).qr().q()
    }

    fn plain(first: &DMatrix<f64>, second: &DMatrix<f64>) -> Frechet {
        let config = FrechetConfig {
            bootstrap: Bootstrap {
                resamples: 0,
                seed: 0,
            },
            ..FrechetConfig::default()
        };
        frechet(
            &Features::independent(first),
            &Features::independent(second),
            &config,
        )
        .unwrap()
    }

    #[test]
    fn closed_forms() {
        let one = diagonal(&[1.0, 2.0, 3.0], &[4.0, 9.0, 0.25]);
        close(one.distance(&one).unwrap(), 0.0);
        close(
            one.distance(&diagonal(&[1.0, 5.0, -1.0], &[4.0, 9.0, 0.25]))
                .unwrap(),
            25.0,
        );
        // Diagonal covariances: sum of squared differences of the deviations.
        close(
            one.distance(&diagonal(&[1.0, 2.0, 3.0], &[1.0, 16.0, 0.0]))
                .unwrap(),
            1.0 + 1.0 + 0.25,
        );
        // Two dimensions: tr((C1 C2)^1/2) = (tr(C1 C2) + 2 (det C1 det C2)^1/2)^1/2.
        let full = |a: f64, b: f64, c: f64| Gaussian {
            mean: DVector::zeros(2),
            covariance: DMatrix::from_row_slice(2, 2, &[a, b, b, c]),
        };
        let (first, second) = (full(2.0, 0.5, 1.0), full(1.0, -0.3, 3.0));
        let product = (&first.covariance * &second.covariance).trace();
        let roots = (first.covariance.determinant() * second.covariance.determinant()).sqrt();
        let expected = 3.0 + 4.0 - 2.0 * (product + 2.0 * roots).sqrt();
        close(first.distance(&second).unwrap(), expected);
        close(second.distance(&first).unwrap(), expected);
    }

    #[test]
    fn covariances_that_commute_compare_by_their_eigenvalues() {
        let axes = orthogonal(3, 6);
        let gaussian = |values: [f64; 6]| Gaussian {
            mean: DVector::zeros(6),
            covariance: &axes
                * DMatrix::from_diagonal(&DVector::from_column_slice(&values))
                * axes.transpose(),
        };
        let (one, other) = (
            [1.0, 4.0, 9.0, 0.0, 2.0, 1e-6],
            [4.0, 4.0, 1.0, 1.0, 8.0, 1e-6],
        );
        let expected: f64 = one
            .iter()
            .zip(&other)
            .map(|(a, b): (&f64, &f64)| (a.sqrt() - b.sqrt()).powi(2))
            .sum();
        // The eigenvalue of 0 comes back as some 1e-16, whose root is 1e-8.
        let found = gaussian(one).distance(&gaussian(other)).unwrap();
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn rotating_shifting_and_reordering_both_sets_changes_nothing() {
        let (first, second) = (samples(1, 400, 8, 0.3, 0.0), samples(2, 300, 8, 0.1, 0.4));
        let plain_distance = plain(&first, &second).distance.value;
        let turn = orthogonal(9, 8);
        close(
            plain(&(&first * &turn), &(&second * &turn)).distance.value,
            plain_distance,
        );
        close(
            plain(&first.add_scalar(7.0), &second.add_scalar(7.0))
                .distance
                .value,
            plain_distance,
        );
        let reversed = DMatrix::from_fn(400, 8, |row, column| first[(399 - row, column)]);
        close(plain(&reversed, &second).distance.value, plain_distance);
    }

    #[test]
    fn counts_are_rows_taken_several_times() {
        let values = samples(5, 6, 3, 0.5, 0.0);
        let counts = [2, 0, 1, 3, 0, 1];
        let mut repeated = Vec::new();
        for (row, count) in counts.iter().enumerate() {
            (0..*count).for_each(|_| repeated.push(values.row(row).clone_owned()));
        }
        let fitted = Gaussian::fit(&values, Some(&counts));
        let expected = Gaussian::fit(&DMatrix::from_rows(&repeated), None);
        assert!((fitted.mean - expected.mean).norm() < 1e-12);
        assert!((fitted.covariance - expected.covariance).norm() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_distance_of_the_distributions() {
        // Means 0.5 apart in each of four dimensions, equal covariances: the distance is 1.
        let (first, second) = (samples(11, 600, 4, 0.0, 0.0), samples(12, 600, 4, 0.0, 0.5));
        let found = frechet(
            &Features::independent(&first),
            &Features::independent(&second),
            &FrechetConfig::default(),
        )
        .unwrap();
        let [low, high] = found.distance.interval.unwrap();
        assert!(low < 1.0 && 1.0 < high, "{found:?}");
        assert!(high - low < 0.6, "{found:?}");
        assert_eq!(
            (found.distance.resamples, found.warning.clone()),
            (200, None)
        );
        close(found.means + found.covariances, found.distance.value);
        let again = frechet(
            &Features::independent(&first),
            &Features::independent(&second),
            &FrechetConfig::default(),
        );
        assert_eq!(again.unwrap(), found);
    }

    #[test]
    fn few_samples_are_warned_of_and_shrinkage_helps() {
        let (first, second) = (samples(1, 30, 32, 0.0, 0.0), samples(2, 30, 32, 0.0, 0.0));
        let found = plain(&first, &second);
        assert!(
            found
                .warning
                .unwrap()
                .contains("30 samples for 32 features")
        );
        let config = FrechetConfig {
            shrinkage: 0.5,
            bootstrap: Bootstrap {
                resamples: 0,
                seed: 0,
            },
        };
        let shrunk = frechet(
            &Features::independent(&first),
            &Features::independent(&second),
            &config,
        );
        assert!(shrunk.unwrap().covariances < found.covariances / 2.0);
    }

    #[test]
    fn bad_features_are_refused() {
        let good = samples(1, 20, 3, 0.0, 0.0);
        let mut broken = good.clone();
        broken[(4, 2)] = f64::NAN;
        let message = |first: &DMatrix<f64>, second: &DMatrix<f64>| {
            frechet(
                &Features::independent(first),
                &Features::independent(second),
                &FrechetConfig::default(),
            )
            .unwrap_err()
            .to_string()
        };
        assert!(message(&good, &broken).contains("feature 2 of sample 4 is NaN"));
        assert!(message(&good, &samples(1, 20, 4, 0.0, 0.0)).contains("3 and 4"));
        assert!(message(&good.rows(0, 1).into(), &good).contains("[1, 3]"));
        assert!(message(&(&good * 1e200), &good).contains("too large"));
    }
}
