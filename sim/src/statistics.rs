//! Confidence intervals for evaluations.
//!
//! All intervals are two-sided at 95 %.

/// 97.5 % quantile of the standard normal distribution.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Share of successes with the Wilson score interval (E. B. Wilson, 1927). `None` without
/// trials, or where there are more successes than trials.
#[must_use]
pub fn proportion(successes: u64, trials: u64) -> Option<Estimate> {
    if trials == 0 || successes > trials {
        return None;
    }
    let n = trials as f64;
    let value = successes as f64 / n;
    let z2 = NORMAL_QUANTILE * NORMAL_QUANTILE;
    let center = (value + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half =
        NORMAL_QUANTILE / (1.0 + z2 / n) * (value * (1.0 - value) / n + z2 / (4.0 * n * n)).sqrt();
    // At the ends the bound equals the proportion; rounding must not carry it past.
    Some(Estimate {
        value,
        low: (center - half).clamp(0.0, value),
        high: (center + half).clamp(value, 1.0),
    })
}

/// Mean with the Student t interval, sample variance over n - 1. `None` for fewer than two
/// values: one value says nothing about the spread.
#[must_use]
pub fn mean(values: &[f64]) -> Option<Estimate> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
    let half = student_quantile(values.len() as u64 - 1) * (variance / n).sqrt();
    Some(Estimate {
        value,
        low: value - half,
        high: value + half,
    })
}

/// 97.5 % quantile of Student's t distribution: exact for one and two degrees of freedom, else
/// by its expansion about the normal quantile (M. Abramowitz and I. A. Stegun, 26.7.5), within
/// 0.2 % from three degrees of freedom on.
fn student_quantile(degrees: u64) -> f64 {
    match degrees {
        0 => f64::INFINITY,
        // tan(0.475 pi) and sqrt(2 a^2 / (1 - a^2)) with a = 0.95.
        1 => (0.475 * std::f64::consts::PI).tan(),
        2 => (2.0_f64 * 0.95 * 0.95 / (1.0 - 0.95 * 0.95)).sqrt(),
        _ => {
            let n = degrees as f64;
            let z = NORMAL_QUANTILE;
            let odd = |power: i32| z.powi(power);
            let terms = [
                (odd(3) + z) / 4.0,
                (5.0 * odd(5) + 16.0 * odd(3) + 3.0 * z) / 96.0,
                (3.0 * odd(7) + 19.0 * odd(5) + 17.0 * odd(3) - 15.0 * z) / 384.0,
                (79.0 * odd(9) + 776.0 * odd(7) + 1482.0 * odd(5) - 1920.0 * odd(3) - 945.0 * z)
                    / 92160.0,
            ];
            // Horner's scheme in 1 / n.
            z + terms.iter().rev().fold(0.0, |sum, term| (sum + term) / n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_interval_of_known_cases() {
        // 8 of 10: 0.4902 to 0.9433 (E. B. Wilson's formula, tabulated widely).
        let estimate = proportion(8, 10).unwrap();
        assert!((estimate.low - 0.490_162).abs() < 1e-5, "{estimate:?}");
        assert!((estimate.high - 0.943_318).abs() < 1e-5, "{estimate:?}");
        let none = proportion(0, 50).unwrap();
        assert_eq!((none.value, none.low), (0.0, 0.0));
        assert!(none.high > 0.05 && none.high < 0.1);
        let all = proportion(50, 50).unwrap();
        assert_eq!((all.value, all.high), (1.0, 1.0));
        assert_eq!(proportion(0, 0), None);
        assert_eq!(proportion(3, 2), None);
    }

    #[test]
    fn student_quantiles_equal_the_tables() {
        let table = [
            (1, 12.706_205),
            (2, 4.302_653),
            (3, 3.182_446),
            (4, 2.776_445),
            (9, 2.262_157),
            (29, 2.045_230),
            (499, 1.964_729),
        ];
        for (degrees, expected) in table {
            let relative = student_quantile(degrees) / expected - 1.0;
            assert!(relative.abs() < 2e-3, "{degrees}: {relative:e}");
        }
        assert!((student_quantile(29) - 2.045_230).abs() < 1e-5);
    }

    #[test]
    fn mean_of_a_known_sample() {
        let estimate = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        // Standard error sqrt(2.5 / 5), t = 2.7764 with four degrees of freedom.
        assert_eq!(estimate.value, 3.0);
        assert!((estimate.high - 3.0 - 1.963_243).abs() < 5e-3);
        assert!((estimate.low + estimate.high - 6.0).abs() < 1e-12);
        assert_eq!(mean(&[1.0]), None);
        let constant = mean(&[0.5; 7]).unwrap();
        assert_eq!((constant.low, constant.high), (0.5, 0.5));
    }
}
