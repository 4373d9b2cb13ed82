//! DPM-Solver, the exponential integrator of the noise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::check_option;
use crate::solver::{
    Differences, OutputForm, SolverFamily, StepCoefficients, StepContext, Stepping,
};

/// DPM-Solver (Lu et al. 2022): exponential integrator of the noise. Order 3 has the Taylor form of
/// the authors' code, since the stages lie at whole timesteps and not quite at thirds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DpmSolver {
    /// Order, 1 to 3.
    #[serde(default = "two")]
    pub order: usize,
    /// Where the outputs of a step come from; `single` is what the paper proposes.
    #[serde(default = "single")]
    pub steps: Stepping,
}

fn two() -> usize {
    2
}
fn single() -> Stepping {
    Stepping::Single
}

impl DpmSolver {
    const fn new(order: usize, steps: Stepping) -> Self {
        Self { order, steps }
    }
}

impl SolverFamily for DpmSolver {
    const NAMED: &'static [(&'static str, Self)] = &[
        ("dpm-1", Self::new(1, Stepping::Single)),
        ("dpm-2s", Self::new(2, Stepping::Single)),
        ("dpm-3s", Self::new(3, Stepping::Single)),
        ("dpm-2m", Self::new(2, Stepping::Multi)),
        ("dpm-3m", Self::new(3, Stepping::Multi)),
    ];

    fn form(&self) -> OutputForm {
        OutputForm::Noise
    }

    fn check(&self) -> Result<()> {
        let fits = (1..=3).contains(&self.order);
        check_option(fits, "sampler.solver.order", self.order, "1 to 3")
    }

    fn order(&self) -> Option<f64> {
        Some(self.order as f64)
    }

    fn stages(&self) -> usize {
        self.steps.stages(self.order)
    }

    fn history(&self) -> usize {
        self.order.saturating_sub(1)
    }

    fn step(&self, at: &StepContext<'_>, step: &mut StepCoefficients) {
        let nodes = at.above(at.depth().min(self.order - 1));
        step.outputs = at.integrated(at.now(), at.next(), &nodes, 1.0);
    }

    fn stage_differences(&self, at: &StepContext<'_>, index: usize) -> Differences {
        exponential_stage(at, index)
    }
}

/// What an evaluation of a single-step exponential integrator adds, from its outputs until now.
pub(in crate::solver) fn exponential_stage(at: &StepContext<'_>, index: usize) -> Differences {
    let nodes = at.since_beginning(index);
    let is_last = at.stages() == index + 1;
    let at_midpoint = is_last && nodes.len() == 2;
    let weights = at.weighted(at.beginning(index), at.next(), &nodes, 1.0, at_midpoint);
    // Outputs are counted from now on back, nodes from the beginning on.
    let mut outputs = Differences::default();
    for (node, weight) in weights.iter().enumerate().take(nodes.len()) {
        outputs[index - node] = *weight;
    }
    outputs
}
