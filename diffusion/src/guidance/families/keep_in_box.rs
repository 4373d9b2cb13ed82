//! A box that plans are kept in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::check_option;
use crate::guidance::{GuidanceContext, GuidanceFamily};

/// Moves every number of a plan that lies outside its range to the range's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepInBox {
    /// Columns of the action.
    pub columns: Vec<usize>,
    /// Smallest value of each of them, in the units of the actions.
    pub low: Vec<f64>,
    /// Largest value of each of them.
    pub high: Vec<f64>,
}

impl KeepInBox {
    /// Column, smallest and largest value.
    fn ranges(&self) -> impl Iterator<Item = (usize, [f32; 2])> {
        let ends = self.low.iter().zip(&self.high);
        let ends = ends.map(|(low, high)| [*low as f32, *high as f32]);
        self.columns.iter().copied().zip(ends)
    }
}

impl GuidanceFamily for KeepInBox {
    fn example(action: usize) -> Self {
        Self {
            columns: vec![action - 1],
            low: vec![-0.3],
            high: vec![0.4],
        }
    }

    fn check(&self, action: usize) -> Result<()> {
        let mut columns = self.columns.clone();
        columns.sort_unstable();
        columns.dedup();
        let differ = columns.len() == self.columns.len() && !columns.is_empty();
        let fits = differ && columns.iter().all(|column| *column < action);
        let expected = format!(
            "different columns of the action, 0 to {}",
            action.saturating_sub(1)
        );
        let found = format!("{:?}", self.columns);
        check_option(fits, "plan.guidance.columns", found, expected)?;
        let numbers = self.columns.len();
        for (key, values) in [
            ("plan.guidance.low", &self.low),
            ("plan.guidance.high", &self.high),
        ] {
            let fits =
                values.len() == numbers && values.iter().all(|value| (*value as f32).is_finite());
            let expected = format!("{numbers} finite numbers, as many as columns");
            check_option(fits, key, format!("{values:?}"), expected)?;
        }
        let rises = self
            .low
            .iter()
            .zip(&self.high)
            .all(|(low, high)| low < high);
        let expected = "each above plan.guidance.low";
        check_option(
            rises,
            "plan.guidance.high",
            format!("{:?}", self.high),
            expected,
        )
    }

    fn apply(&self, at: &GuidanceContext<'_>, plan: &mut [f32]) {
        for action in plan.chunks_exact_mut(at.action) {
            for (column, [low, high]) in self.ranges() {
                action[column] = action[column].clamp(low, high);
            }
        }
    }

    /// The largest distance from the box.
    fn cost(&self, action: usize, plan: &[f32]) -> f64 {
        let beyond = plan.chunks_exact(action).flat_map(|action| {
            let ranges = self.ranges();
            ranges.map(|(column, [low, high])| (low - action[column]).max(action[column] - high))
        });
        beyond.fold(0.0, |most, beyond| most.max(f64::from(beyond)))
    }
}
