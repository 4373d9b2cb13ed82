//! Bars of block characters: the lateness histogram and the sparkline of a rate.
//!
//! Both axes of the histogram are logarithmic, so that one late wake-up among a million shows.

/// Eighths of a cell, from nothing to full.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Rows of a histogram, the top one first, two columns per bucket; the last row is its axis.
/// `buckets` are `[upper bound in µs, count]`.
pub fn rows(buckets: &[[f64; 2]], height: usize) -> Vec<String> {
    let tallest = buckets.iter().map(|[_, count]| *count).fold(0.0, f64::max);
    let full = height * 8;
    let eighths = |count: f64| {
        if count <= 0.0 {
            return 0;
        }
        // One count is the least that shows.
        let share = count.ln_1p() / tallest.ln_1p();
        ((share * full as f64).round() as usize).clamp(full.min(1), full)
    };
    let heights: Vec<usize> = buckets.iter().map(|[_, count]| eighths(*count)).collect();
    let mut rows: Vec<String> = (0..height)
        .rev()
        .map(|row| {
            heights
                .iter()
                .flat_map(|tall| {
                    let cell = EIGHTHS[tall.saturating_sub(8 * row).min(8)];
                    [cell, cell]
                })
                .collect()
        })
        .collect();
    rows.push(axis(buckets));
    rows
}

/// The bounds that are powers of ten, each under its bucket.
fn axis(buckets: &[[f64; 2]]) -> String {
    let mut axis = String::new();
    for (index, [bound, _]) in buckets.iter().enumerate() {
        let decade = bound.log10();
        if (decade - decade.round()).abs() > 1e-9 {
            continue;
        }
        let at = 2 * index;
        let written = axis.chars().count();
        if written > 0 && written >= at {
            continue;
        }
        axis.extend(std::iter::repeat_n(' ', at - written));
        axis.push_str(
            &super::words::microseconds(*bound)
                .replace(".0", "")
                .replace(' ', ""),
        );
    }
    axis
}

/// A line of bars between 0 and `full`; blank where there is no value.
pub fn sparkline(values: &[Option<f64>], full: f64) -> String {
    let largest = values.iter().flatten().copied().fold(full, f64::max);
    values
        .iter()
        .map(|value| match value {
            None => ' ',
            Some(value) if largest > 0.0 => {
                EIGHTHS[((value / largest * 8.0).round() as usize).clamp(1, 8)]
            }
            Some(_) => EIGHTHS[1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::health::{LATENESS_BOUNDS_US, lateness_buckets};

    use super::*;

    #[test]
    fn one_among_a_million_shows_and_nothing_does_not() {
        let buckets = [[10.0, 999_999.0], [20.0, 0.0], [50.0, 1.0], [100.0, 0.0]];
        let rows = rows(&buckets, 4);
        assert_eq!(rows[0], "██      ");
        assert_eq!(rows[3], "██  ▂▂  ");
        assert_eq!(rows[4], "10µs  100µs");
    }

    #[test]
    fn the_axis_of_the_usual_buckets_fits_forty_columns() {
        let buckets = lateness_buckets(0, |_| 0);
        let rows = rows(&buckets, 2);
        assert_eq!(rows[0].chars().count(), 2 * LATENESS_BOUNDS_US.len());
        assert_eq!(rows[2], "1µs   10µs  100µs 1ms   10ms  100ms 1s");
        assert!(rows[..2].iter().all(|row| row.trim().is_empty()));
    }

    #[test]
    fn any_buckets_are_drawn() {
        let many: Vec<[f64; 2]> = (0..64)
            .map(|index| [10_f64.powi(index - 30), f64::MAX])
            .collect();
        for buckets in [&[][..], &[[1e-300, 1e300]], &many] {
            for height in [0, 1, 9] {
                assert_eq!(rows(buckets, height).len(), height + 1);
            }
        }
    }

    #[test]
    fn a_sparkline_begins_at_zero() {
        let values = [None, Some(0.0), Some(50.0), Some(100.0)];
        assert_eq!(sparkline(&values, 100.0), " ▁▄█");
        assert_eq!(sparkline(&[Some(200.0), Some(100.0)], 100.0), "█▄");
        assert_eq!(sparkline(&[Some(0.0)], 0.0), "▁");
    }
}
