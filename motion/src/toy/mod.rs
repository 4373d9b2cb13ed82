//! Squ-9-Gaussian: nine Gaussians on a square grid, the toy on which AAMDM's paper shows that its
//! model finds all modes of a distribution and others do not (T. Li et al., "AAMDM: accelerated
//! auto-regressive motion diffusion model", 2024).
//!
//! The paper's numbers were not to be had, so they are set here: centres at -1, 0 and 1 in both
//! coordinates, standard deviation 0.05, equal weights. The deviation is a twentieth of the distance
//! of two centres: modes do not overlap, and a model that blends two of them is seen to.
//!
//! As a sequence, every point is drawn anew and independently of the one before, so that all nine
//! modes may follow each. A model that is given the last point and regresses the next one ends in
//! the middle; a generative one must find all nine from each.

mod learn;

pub use learn::{Learned, ToyOptions, learn};

use kinestream_diffusion::noise::NoiseStream;
use serde::Serialize;

/// Number of modes.
pub const MODES: usize = 9;

/// Standard deviation of a mode, in both coordinates.
pub const DEVIATION: f64 = 0.05;

/// Standard deviations from a centre within which a point belongs to its mode. 98.9 % of a
/// two-dimensional Gaussian are within three.
pub const RADIUS: f64 = 3.0;

/// A mode is found if at least this share of a ninth of all points lies within its radius.
pub const FOUND: f64 = 0.1;

/// The centre of a mode, 0..9, row by row from (-1, -1).
#[must_use]
pub fn centre(mode: usize) -> [f64; 2] {
    [(mode % 3) as f64 - 1.0, (mode / 3) as f64 - 1.0]
}

/// Points of the distribution, independent of each other; equal seeds give equal points.
#[must_use]
pub fn sample(seed: u64, count: usize) -> Vec<[f64; 2]> {
    let mut stream = NoiseStream::new(seed);
    (0..count)
        .map(|_| {
            let centre = centre(stream.below(MODES));
            centre.map(|place| place + DEVIATION * f64::from(stream.normal()))
        })
        .collect()
}

/// How well points cover the modes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Points, 0 if there was none.
    pub samples: usize,
    /// Modes that are found, of nine.
    pub modes_found: usize,
    /// Share of the points that are nearest to each centre. Points that are not finite are nearest
    /// to none.
    pub masses: [f64; MODES],
    /// Largest difference of a mass from a ninth. Points of the true distribution have some too:
    /// about 0.006 with 10,000 of them.
    pub mode_mass_error: f64,
    /// Share of the points outside the radius of every mode; 0.011 for the true distribution.
    pub outside: f64,
}

/// Measures how points cover the modes.
#[must_use]
pub fn coverage(points: &[[f64; 2]]) -> Coverage {
    let mut nearest_counts = [0_usize; MODES];
    let mut within_counts = [0_usize; MODES];
    for point in points {
        let distance = |mode: usize| {
            let [x, y] = centre(mode);
            (point[0] - x).hypot(point[1] - y)
        };
        if !point.iter().all(|value| value.is_finite()) {
            continue;
        }
        let nearest = (1..MODES).fold(0, |best, mode| {
            if distance(mode) < distance(best) {
                mode
            } else {
                best
            }
        });
        nearest_counts[nearest] += 1;
        within_counts[nearest] += usize::from(distance(nearest) <= RADIUS * DEVIATION);
    }
    let share = |count: usize| count as f64 / points.len().max(1) as f64;
    let fair = 1.0 / MODES as f64;
    let masses = nearest_counts.map(share);
    Coverage {
        samples: points.len(),
        modes_found: within_counts
            .iter()
            .filter(|count| **count > 0 && share(**count) >= FOUND * fair)
            .count(),
        masses,
        mode_mass_error: masses
            .iter()
            .map(|mass| (mass - fair).abs())
            .fold(0.0, f64::max),
        outside: 1.0 - share(within_counts.iter().sum()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_true_distribution_covers_itself() {
        let found = coverage(&sample(1, 20_000));
        assert_eq!((found.modes_found, found.samples), (9, 20_000));
        assert!(found.mode_mass_error < 0.008, "{found:?}");
        assert!(
            (found.outside - (-4.5_f64).exp()).abs() < 0.003,
            "{found:?}"
        );
        assert!((found.masses.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn modes_have_their_centre_and_deviation() {
        let points = sample(2, 90_000);
        for mode in 0..MODES {
            let [x, y] = centre(mode);
            let own: Vec<_> = points
                .iter()
                .filter(|point| (point[0] - x).hypot(point[1] - y) < 0.5)
                .collect();
            let count = own.len() as f64;
            let mean = [0, 1].map(|axis| own.iter().map(|point| point[axis]).sum::<f64>() / count);
            assert!(
                (mean[0] - x).abs() < 0.003 && (mean[1] - y).abs() < 0.003,
                "{mean:?}"
            );
            let spread = own.iter().map(|point| (point[0] - x).powi(2)).sum::<f64>() / count;
            assert!((spread.sqrt() - DEVIATION).abs() < 0.002, "{spread}");
        }
        assert_eq!(sample(2, 90_000), points);
        assert_ne!(sample(3, 10), points[..10]);
    }

    #[test]
    fn collapse_and_blur_are_seen() {
        let collapsed = coverage(&vec![[1.0, 0.0]; 500]);
        assert_eq!(collapsed.modes_found, 1);
        assert!((collapsed.mode_mass_error - 8.0 / 9.0).abs() < 1e-12);
        let mean = coverage(&[[0.5, 0.5]; 100]);
        assert_eq!((mean.modes_found, mean.outside), (0, 1.0));
        // A mode with less than a tenth of its share is not found.
        let mut points = vec![[0.0, 0.0]; 991];
        points.extend([[1.0, 1.0]; 9]);
        assert_eq!(coverage(&points).modes_found, 1);
        points.extend([[1.0, 1.0]; 3]);
        assert_eq!(coverage(&points).modes_found, 2);
    }

    #[test]
    fn nothing_and_nan_are_no_mode() {
        let nothing = coverage(&[]);
        assert_eq!(
            (nothing.modes_found, nothing.samples, nothing.outside),
            (0, 0, 1.0)
        );
        let broken = coverage(&[[f64::NAN, 0.0], [0.0, 0.0]]);
        assert_eq!(broken.outside, 0.5);
    }
}
