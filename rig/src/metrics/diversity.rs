//! Diversity: how far samples are apart on average.
//!
//! - [`diversity`]: mean distance between the features of two samples. The papers draw 300 random
//!   pairs (C. Guo et al., "Generating diverse and natural 3D human motions from text", 2022), or
//!   200 (C. Guo et al., "Action2Motion", 2020). Here no sample is paired with itself, which the
//!   published code lets happen (1 in N pairs); with [`Pairs::All`] every pair counts, and the
//!   choice of pairs adds no noise. It is no figure to make large: compare with the ground truth.
//! - [`multimodality`]: the same within each label, averaged over labels (20 pairs each in
//!   "Action2Motion").
//! - [`average_pairwise_distance`]: APD of motions that begin in one frame: the mean distance of a
//!   joint in one motion from that joint in another, over pairs, frames and joints, in metres (as in
//!   the released code of Y. Shi et al., "Interactive character control with auto-regressive motion
//!   diffusion models", 2024).

use std::collections::BTreeMap;

use kinestream_random::NoiseStream;
use nalgebra::{DMatrix, Vector3};

use super::statistics::{Bootstrap, Estimate, Features, resampled_counts};
use crate::{Error, Result};

/// Rows of the matrix of distances that are in memory at a time.
const BLOCK: usize = 64;

/// Which pairs are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// All pairs.
    All,
    /// This many random pairs.
    Random(usize),
}

/// Mean distance between the features of two samples, with its interval over clips.
///
/// # Errors
/// Fewer than two samples, features that are not finite, or no pairs.
pub fn diversity(features: &Features<'_>, pairs: Pairs, bootstrap: &Bootstrap) -> Result<Estimate> {
    const METRIC: &str = "diversity";
    features.check(METRIC)?;
    check(pairs, METRIC)?;
    let rows = features.values.nrows();
    let groups = features.groups();
    let samples = features.values.transpose();
    let distance = |one: usize, other: usize| apart(&samples, one, other);
    let (value, resampled) = mean_distance(rows, &groups, pairs, bootstrap, distance);
    let resampled = resampled.into_iter().flatten().collect();
    Ok(estimate(pairs, value, resampled))
}

/// Mean distance between the features of two samples with one label, averaged over labels, with its
/// interval over samples.
///
/// # Errors
/// As [`diversity`], for every label; a number of labels that is not that of the samples.
pub fn multimodality(
    values: &DMatrix<f64>,
    labels: &[usize],
    pairs: Pairs,
    bootstrap: &Bootstrap,
) -> Result<Estimate> {
    const METRIC: &str = "multimodality";
    Features {
        values,
        clips: Some(labels),
    }
    .check(METRIC)?;
    check(pairs, METRIC)?;
    let mut by_label = BTreeMap::<usize, Vec<usize>>::new();
    for (row, label) in labels.iter().enumerate() {
        by_label.entry(*label).or_default().push(row);
    }
    if let Some((label, _)) = by_label.iter().find(|(_, rows)| rows.len() < 2) {
        return Err(Error::Metric {
            metric: METRIC,
            reason: format!("label {label} has one sample, expected at least two of each"),
        });
    }
    let samples = values.transpose();
    let mut value = 0.0;
    let mut resampled = vec![0.0; bootstrap.resamples];
    for (label, rows) in &by_label {
        let distance = |one: usize, other: usize| apart(&samples, rows[one], rows[other]);
        let groups: Vec<_> = (0..rows.len()).map(|row| vec![row]).collect();
        // Labels are measured independently of each other.
        let of_its_own = Bootstrap {
            seed: bootstrap.seed ^ (*label as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ..*bootstrap
        };
        let (of_label, of_resamples) =
            mean_distance(rows.len(), &groups, pairs, &of_its_own, distance);
        value += of_label;
        // A resample that drew one sample alone has no pair: the value stands in for it.
        for (index, sum) in resampled.iter_mut().enumerate() {
            *sum += of_resamples
                .get(index)
                .copied()
                .flatten()
                .unwrap_or(of_label);
        }
    }
    let labels = by_label.len() as f64;
    let resampled = resampled.into_iter().map(|sum| sum / labels).collect();
    Ok(estimate(pairs, value / labels, resampled))
}

/// Mean distance of the joints of one motion from those of another, in metres, over all pairs of
/// motions `[motion][frame][joint]`, with its interval over motions.
///
/// # Errors
/// Fewer than two motions, motions without a joint or of different sizes, and what is not finite.
pub fn average_pairwise_distance(
    motions: &[Vec<Vec<Vector3<f64>>>],
    bootstrap: &Bootstrap,
) -> Result<Estimate> {
    let refuse = |reason: String| {
        Err(Error::Metric {
            metric: "average pairwise distance",
            reason,
        })
    };
    let frames = motions.first().map_or(0, Vec::len);
    let joints = motions
        .first()
        .and_then(|motion| motion.first())
        .map_or(0, Vec::len);
    if motions.len() < 2 || frames * joints == 0 {
        return refuse(format!(
            "{} motions of {frames} frames and {joints} joints, expected two or more with a joint",
            motions.len()
        ));
    }
    for (index, motion) in motions.iter().enumerate() {
        if motion.len() != frames || motion.iter().any(|frame| frame.len() != joints) {
            return refuse(format!(
                "motion {index} is not of {frames} frames with {joints} joints as the first one"
            ));
        }
        if motion
            .iter()
            .flatten()
            .any(|place| !place.iter().all(|value| value.is_finite()))
        {
            return refuse(format!("motion {index} is not finite"));
        }
    }
    let distance = |one: usize, other: usize| {
        let places = motions[one]
            .iter()
            .flatten()
            .zip(motions[other].iter().flatten());
        places
            .map(|(place, other)| (place - other).norm())
            .sum::<f64>()
            / (frames * joints) as f64
    };
    let groups: Vec<_> = (0..motions.len()).map(|motion| vec![motion]).collect();
    let (value, resampled) = mean_distance(motions.len(), &groups, Pairs::All, bootstrap, distance);
    let resampled = resampled.into_iter().flatten().collect();
    Ok(estimate(Pairs::All, value, resampled))
}

fn check(pairs: Pairs, metric: &'static str) -> Result<()> {
    if pairs == Pairs::Random(0) {
        return Err(Error::Metric {
            metric,
            reason: "0 random pairs, expected at least one".into(),
        });
    }
    Ok(())
}

/// Distance between two samples of features `[D, N]`, which lie in memory one after the other.
fn apart(samples: &DMatrix<f64>, one: usize, other: usize) -> f64 {
    let (one, other) = (samples.column(one), samples.column(other));
    let squares = one
        .iter()
        .zip(other.iter())
        .map(|(one, other)| (one - other).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Resamples of all pairs scatter about the value, those of random pairs about the mean of all:
/// the value then differs from it by the luck of its own draw, which is no shift to take off.
fn estimate(pairs: Pairs, value: f64, resampled: Vec<f64>) -> Estimate {
    match pairs {
        Pairs::All => Estimate::new(value, resampled),
        Pairs::Random(_) => Estimate::centred(value, resampled),
    }
}

/// Mean distance of the pairs, and that of every resample; none for one that holds no pair.
fn mean_distance(
    rows: usize,
    groups: &[Vec<usize>],
    pairs: Pairs,
    bootstrap: &Bootstrap,
    distance: impl Fn(usize, usize) -> f64,
) -> (f64, Vec<Option<f64>>) {
    let mut stream = NoiseStream::new(bootstrap.seed);
    let mut counts = resampled_counts(rows, groups, bootstrap.resamples, &mut stream);
    // The set itself is the first of all.
    counts.insert(0, vec![1; rows]);
    let mut means = match pairs {
        Pairs::All => over_all_pairs(rows, &counts, distance),
        Pairs::Random(number) => counts
            .iter()
            .map(|counts| over_random_pairs(counts, number, &mut stream, &distance))
            .collect(),
    };
    // At least two rows differ in it, so it has a pair.
    let value = means.remove(0).unwrap_or(0.0);
    (value, means)
}

/// Mean over all pairs of different rows, each row as often as it counts.
fn over_all_pairs(
    rows: usize,
    counts: &[Vec<u32>],
    distance: impl Fn(usize, usize) -> f64,
) -> Vec<Option<f64>> {
    // For counts c and distances D, the sum over pairs is that of c_i D_ij c_j over j < i: a product
    // of matrices, taken some rows at a time.
    let times = DMatrix::from_fn(rows, counts.len(), |row, set| f64::from(counts[set][row]));
    let mut sums = vec![0.0; counts.len()];
    for start in (0..rows).step_by(BLOCK) {
        let end = (start + BLOCK).min(rows);
        let distances = DMatrix::from_fn(end - start, end, |row, other| {
            if other < start + row {
                distance(start + row, other)
            } else {
                0.0
            }
        });
        let products = distances * times.rows(0, end);
        for (set, sum) in sums.iter_mut().enumerate() {
            let counted = times.view((start, set), (end - start, 1));
            *sum += products.column(set).dot(&counted);
        }
    }
    sums.into_iter()
        .zip(times.column_iter())
        .map(|(sum, times)| {
            let pairs = (times.sum().powi(2) - times.norm_squared()) / 2.0;
            (pairs > 0.0).then(|| sum / pairs)
        })
        .collect()
}

/// Mean over random pairs of different rows, each row as likely as it counts.
fn over_random_pairs(
    counts: &[u32],
    number: usize,
    stream: &mut NoiseStream,
    distance: impl Fn(usize, usize) -> f64,
) -> Option<f64> {
    let drawn: Vec<usize> = counts
        .iter()
        .enumerate()
        .flat_map(|(row, count)| std::iter::repeat_n(row, *count as usize))
        .collect();
    if drawn.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let sum: f64 = (0..number)
        .map(|_| {
            loop {
                let one = drawn[stream.below(drawn.len())];
                let other = drawn[stream.below(drawn.len())];
                if one != other {
                    return distance(one, other);
                }
            }
        })
        .sum();
    Some(sum / number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(seed: u64, rows: usize, columns: usize) -> DMatrix<f64> {
        let mut stream = NoiseStream::new(seed);
        DMatrix::from_fn(rows, columns, |_, _| f64::from(stream.normal()))
    }

    #[test]
    fn all_pairs_of_three_points() {
        let values = DMatrix::from_row_slice(3, 2, &[0.0, 0.0, 3.0, 4.0, 0.0, 8.0]);
        let features = Features::independent(&values);
        let found = diversity(&features, Pairs::All, &Bootstrap::default()).unwrap();
        assert!((found.value - (5.0 + 8.0 + 5.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn normal_samples_are_as_far_apart_as_they_should_be() {
        // The distance of two standard normal points in the plane has mean sqrt(pi).
        let expected = std::f64::consts::PI.sqrt();
        let values = normal(1, 800, 2);
        let features = Features::independent(&values);
        for pairs in [Pairs::All, Pairs::Random(300)] {
            let found = diversity(&features, pairs, &Bootstrap::default()).unwrap();
            let [low, high] = found.interval.unwrap();
            assert!(low < expected && expected < high, "{pairs:?}: {found:?}");
            assert_eq!(
                diversity(&features, pairs, &Bootstrap::default()).unwrap(),
                found
            );
        }
        let width = |pairs| {
            let [low, high] = diversity(&features, pairs, &Bootstrap::default())
                .unwrap()
                .interval
                .unwrap();
            high - low
        };
        assert!(width(Pairs::All) < width(Pairs::Random(300)));
    }

    #[test]
    fn clips_that_repeat_widen_the_interval() {
        let few = normal(2, 40, 3);
        let values = DMatrix::from_fn(400, 3, |row, column| {
            few[(row / 10, column)] + 1e-3 * (row % 10) as f64
        });
        let clips: Vec<usize> = (0..400).map(|row| row / 10).collect();
        let width = |clips| {
            let features = Features {
                values: &values,
                clips,
            };
            let [low, high] = diversity(&features, Pairs::All, &Bootstrap::default())
                .unwrap()
                .interval
                .unwrap();
            high - low
        };
        assert!(width(Some(&clips[..])) > 2.0 * width(None));
    }

    #[test]
    fn multimodality_looks_within_labels_only() {
        // Two labels, far apart from each other; within each, points on a line.
        let values = DMatrix::from_fn(
            40,
            1,
            |row, _| if row < 20 { 0.0 } else { 1e6 } + (row % 2) as f64,
        );
        let labels: Vec<usize> = (0..40).map(|row| row / 20).collect();
        let found = multimodality(&values, &labels, Pairs::All, &Bootstrap::default()).unwrap();
        assert!((found.value - 100.0 / 190.0).abs() < 1e-12, "{found:?}");
        let some =
            multimodality(&values, &labels, Pairs::Random(20), &Bootstrap::default()).unwrap();
        assert!((0.2..0.8).contains(&some.value), "{some:?}");
        let message = multimodality(
            &values,
            &[vec![0; 39], vec![5]].concat(),
            Pairs::All,
            &Bootstrap::default(),
        )
        .unwrap_err()
        .to_string();
        assert!(message.contains("label 5 has one sample"), "{message}");
    }

    #[test]
    fn motions_are_as_far_apart_as_their_joints() {
        let motion = |offset: f64| vec![vec![Vector3::new(0.0, offset, 0.0); 3]; 10];
        let found = average_pairwise_distance(
            &[motion(0.0), motion(1.0), motion(3.0)],
            &Bootstrap::default(),
        )
        .unwrap();
        assert!((found.value - 2.0).abs() < 1e-12);
        let refused = average_pairwise_distance(&[motion(0.0), vec![]], &Bootstrap::default());
        assert!(refused.unwrap_err().to_string().contains("motion 1"));
        assert!(average_pairwise_distance(&[motion(0.0)], &Bootstrap::default()).is_err());
    }

    #[test]
    fn no_pairs_are_refused() {
        let values = normal(1, 8, 2);
        let features = Features::independent(&values);
        assert!(diversity(&features, Pairs::Random(0), &Bootstrap::default()).is_err());
        let same = DMatrix::zeros(8, 2);
        let found = diversity(
            &Features::independent(&same),
            Pairs::Random(5),
            &Bootstrap::default(),
        );
        assert_eq!(found.unwrap().value, 0.0);
    }
}
