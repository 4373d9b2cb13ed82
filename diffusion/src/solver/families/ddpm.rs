//! Ancestral sampling (DDPM).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NoiseSchedule;
use crate::solver::{
    OutputForm, SolverFamily, StepCoefficients, StepContext, TransitionCoefficients,
};
use crate::transition::Transition;

/// Ancestral sampling with the posterior variance ("fixed small"; Ho et al. 2020, equations 6 and 7).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ddpm {}

impl SolverFamily for Ddpm {
    const NAMED: &'static [(&'static str, Self)] = &[("ddpm", Self {})];

    fn form(&self) -> OutputForm {
        OutputForm::Clean
    }

    fn order(&self) -> Option<f64> {
        None
    }

    fn is_memoryless(&self) -> bool {
        true
    }

    fn step(&self, _at: &StepContext<'_>, _step: &mut StepCoefficients) {}

    fn transition(
        &self,
        schedule: &NoiseSchedule,
        transition: Transition,
    ) -> TransitionCoefficients {
        let Transition { from, to } = transition;
        let posterior = schedule.ancestral(from, to);
        // The floor is that of the reference implementation's "fixed_small".
        let deviation = match from <= to || to < 0 {
            true => 0.0,
            false => posterior.deviation.max(1e-10),
        };
        TransitionCoefficients::ancestral(posterior, deviation)
    }
}
