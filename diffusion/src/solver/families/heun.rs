//! Heun's method on the straight path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::solver::{
    Differences, OutputForm, SolverFamily, StagePlace, StepCoefficients, StepContext,
};

/// Heun's method on the straight path of equal signal-to-noise ratio (Karras et al. 2022): two
/// evaluations a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heun {}

impl SolverFamily for Heun {
    const NAMED: &'static [(&'static str, Self)] = &[("heun", Self {})];

    fn form(&self) -> OutputForm {
        OutputForm::Flow
    }

    fn order(&self) -> Option<f64> {
        Some(2.0)
    }

    fn stages(&self) -> usize {
        2
    }

    fn history(&self) -> usize {
        1
    }

    fn stage_place(&self, _index: usize, _size: usize) -> StagePlace {
        StagePlace::FlowTime(1.0)
    }

    fn step(&self, _at: &StepContext<'_>, _step: &mut StepCoefficients) {}

    /// Half the difference of the velocities at both ends.
    fn stage_differences(&self, at: &StepContext<'_>, index: usize) -> Differences {
        let (next, beginning) = (at.next(), at.beginning(index));
        let length = next.flow_time() - beginning.flow_time();
        let half = (next.signal + next.noise) * length / 2.0;
        [half, -half, 0.0, 0.0]
    }
}
