//! DPM-Solver++, the exponential integrator of the clean sample.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dpm_solver::exponential_stage;
use crate::Result;
use crate::error::check_option;
use crate::solver::{
    Differences, OutputForm, SolverFamily, StepCoefficients, StepContext, Stepping,
};

/// DPM-Solver++ (Lu et al. 2022): exponential integrator of the clean sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DpmSolverPlusPlus {
    /// Order, 1 to 3.
    #[serde(default = "two")]
    pub order: usize,
    /// Where the outputs of a step come from.
    #[serde(default = "multi")]
    pub steps: Stepping,
    /// Follows the stochastic equation, with fresh noise in every step; `multi` only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sde: bool,
}

fn two() -> usize {
    2
}
fn multi() -> Stepping {
    Stepping::Multi
}
fn is_false(value: &bool) -> bool {
    !value
}

impl DpmSolverPlusPlus {
    const fn new(order: usize, steps: Stepping, sde: bool) -> Self {
        Self { order, steps, sde }
    }
}

impl SolverFamily for DpmSolverPlusPlus {
    const NAMED: &'static [(&'static str, Self)] = &[
        ("dpmpp-2s", Self::new(2, Stepping::Single, false)),
        ("dpmpp-3s", Self::new(3, Stepping::Single, false)),
        ("dpmpp-2m", Self::new(2, Stepping::Multi, false)),
        ("dpmpp-3m", Self::new(3, Stepping::Multi, false)),
        ("dpmpp-1-sde", Self::new(1, Stepping::Multi, true)),
        ("dpmpp-2m-sde", Self::new(2, Stepping::Multi, true)),
    ];

    fn form(&self) -> OutputForm {
        OutputForm::Clean
    }

    fn check(&self) -> Result<()> {
        let fits = (1..=3).contains(&self.order);
        check_option(fits, "sampler.solver.order", self.order, "1 to 3")?;
        let is_single = self.sde && self.steps == Stepping::Single;
        let (key, expected) = ("sampler.solver.sde", "false, or steps multi");
        check_option(!is_single, key, "true with steps single", expected)
    }

    fn order(&self) -> Option<f64> {
        (!self.sde).then_some(self.order as f64)
    }

    fn stages(&self) -> usize {
        self.steps.stages(self.order)
    }

    fn history(&self) -> usize {
        self.order.saturating_sub(1)
    }

    fn step(&self, at: &StepContext<'_>, step: &mut StepCoefficients) {
        let (now, next) = (at.now(), at.next());
        let nodes = at.above(at.depth().min(self.order - 1));
        if !self.sde {
            step.outputs = at.integrated(now, next, &nodes, 1.0);
            return;
        }
        let length = next.log_ratio() - now.log_ratio();
        step.sample *= (-length).exp();
        step.clean = -next.signal * (-2.0 * length).exp_m1();
        step.deviation = next.noise * (-(-2.0 * length).exp_m1()).sqrt();
        step.outputs = at.integrated(now, next, &nodes, 2.0);
    }

    fn stage_differences(&self, at: &StepContext<'_>, index: usize) -> Differences {
        exponential_stage(at, index)
    }
}
