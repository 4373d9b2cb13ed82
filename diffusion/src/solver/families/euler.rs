//! Euler's method on the straight path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::solver::{OutputForm, SolverFamily, StepCoefficients, StepContext};

/// Euler's method on the straight path of flow matching (Lipman et al. 2023). Where the schedule is
/// another, on the straight path that it is a rescaling of; there it is DDIM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Euler {}

impl SolverFamily for Euler {
    const NAMED: &'static [(&'static str, Self)] = &[("euler", Self {})];

    fn form(&self) -> OutputForm {
        OutputForm::Flow
    }

    fn order(&self) -> Option<f64> {
        Some(1.0)
    }

    fn step(&self, _at: &StepContext<'_>, _step: &mut StepCoefficients) {}
}
