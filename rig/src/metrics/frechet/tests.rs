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
