//! What the commands print: one JSON object or readable lines on stdout, progress on stderr.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Prints one JSON object.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value).context("cannot write the result as JSON")?);
    Ok(())
}

/// A progress bar with rate and time left, drawn on terminals only.
pub(crate) fn progress(length: u64, unit: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let template =
        format!("{{bar:30}} {{pos}}/{{len}} {unit} {{per_sec}} {{eta}} left {{msg}}");
    let bar = ProgressBar::with_draw_target(Some(length), target);
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Percentiles of durations.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    /// Percentiles in ms of durations in ns; zeros for none. A percentile is the smallest duration
    /// that at least this share does not exceed.
    pub(crate) fn milliseconds(durations: &[u64]) -> Self {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).map_or(0.0, |ns| *ns as f64 / 1e6)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_occurred() {
        let durations: Vec<u64> = (1..=1000).map(|ms| ms * 1_000_000).collect();
        let found = Percentiles::milliseconds(&durations);
        assert_eq!((found.p50, found.p99, found.p999, found.max), (500.0, 990.0, 999.0, 1000.0));
        assert_eq!(Percentiles::milliseconds(&[]).max, 0.0);
    }
}
