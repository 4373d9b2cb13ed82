//! Pseudo linear multistep (PNDM, PLMS).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::check_option;
use crate::solver::step::differences;
use crate::solver::weights::adams_bashforth;
use crate::solver::{OutputForm, SolverFamily, StepCoefficients, StepContext};

/// Pseudo linear multistep (PLMS; Liu et al. 2022): the Adams-Bashforth mean of the noise in DDIM's
/// step. Begins with lower orders in place of Runge-Kutta, so that an evaluation is a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pndm {
    /// Outputs that a step takes into account, 1 to 4.
    #[serde(default = "four")]
    pub order: usize,
}

fn four() -> usize {
    4
}

impl SolverFamily for Pndm {
    const NAMED: &'static [(&'static str, Self)] = &[("pndm", Self { order: 4 })];

    fn form(&self) -> OutputForm {
        OutputForm::Noise
    }

    fn check(&self) -> Result<()> {
        let fits = (1..=4).contains(&self.order);
        check_option(fits, "sampler.solver.order", self.order, "1 to 4 for pndm")
    }

    fn order(&self) -> Option<f64> {
        // Adams and Bashforth's mean counts timesteps, the step counts noise over signal.
        Some(self.order.min(2) as f64)
    }

    fn history(&self) -> usize {
        self.order.saturating_sub(1)
    }

    fn step(&self, at: &StepContext<'_>, step: &mut StepCoefficients) {
        let (now, next) = (at.now(), at.next());
        let outputs = at.depth().min(self.order - 1) + 1;
        if now.signal > 0.0 {
            let length = next.noise - next.signal * now.noise_ratio();
            let weights = adams_bashforth(outputs).map(|weight| length * weight);
            step.outputs = differences(weights, outputs);
        }
    }
}
