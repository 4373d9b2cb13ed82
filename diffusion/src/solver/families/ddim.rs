//! Denoising diffusion implicit models (DDIM).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::solver::{
    OutputForm, SolverFamily, StepCoefficients, StepContext, TransitionCoefficients,
};
use crate::transition::Transition;
use crate::{NoiseSchedule, Result};

/// DDIM (Song et al. 2021, equations 12 and 16): `eta` 0 is deterministic and of order 1, 1 has the
/// variance of ancestral sampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ddim {
    /// Share of the ancestral noise, 0 to 1.
    #[serde(default)]
    pub eta: f64,
}

impl SolverFamily for Ddim {
    const NAMED: &'static [(&'static str, Self)] = &[("ddim", Self { eta: 0.0 })];

    fn form(&self) -> OutputForm {
        OutputForm::Clean
    }

    fn check(&self) -> Result<()> {
        let fits = (0.0..=1.0).contains(&self.eta);
        check_option(fits, "sampler.solver.eta", self.eta, "0 to 1")
    }

    fn order(&self) -> Option<f64> {
        (self.eta == 0.0).then_some(1.0)
    }

    fn is_memoryless(&self) -> bool {
        true
    }

    fn step(&self, _at: &StepContext<'_>, _step: &mut StepCoefficients) {}

    fn transition(&self, schedule: &NoiseSchedule, at: Transition) -> TransitionCoefficients {
        transition(schedule, at, self.eta)
    }
}

/// The step of DDIM with a share `eta` of the ancestral noise.
pub(in crate::solver) fn transition(
    schedule: &NoiseSchedule,
    Transition { from, to }: Transition,
    eta: f64,
) -> TransitionCoefficients {
    let next = schedule.level(to);
    let deviation = match from <= to || to < 0 {
        true => 0.0,
        false => eta * schedule.ancestral(from, to).deviation,
    };
    let kept = next.noise.powi(2) - deviation.powi(2);
    TransitionCoefficients {
        clean: next.signal,
        sample: 0.0,
        epsilon: Some(kept.max(0.0).sqrt()),
        deviation,
    }
}
