//! UniPC, predictor and corrector in one evaluation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::check_option;
use crate::solver::{Differences, OutputForm, SolverFamily, StepCoefficients, StepContext};

/// UniPC with B(h) = e^h - 1 (Zhao et al. 2023): DPM-Solver++ as predictor, and the evaluation that
/// follows also corrects where it was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UniPc {
    /// Order of the predictor, 1 to 3; the corrector has one more.
    #[serde(default = "two")]
    pub order: usize,
}

fn two() -> usize {
    2
}

impl UniPc {
    fn prediction(&self, at: &StepContext<'_>) -> Differences {
        let nodes = at.above(at.depth().min(self.order - 1));
        at.integrated(at.now(), at.next(), &nodes, 1.0)
    }
}

impl SolverFamily for UniPc {
    const NAMED: &'static [(&'static str, Self)] = &[
        ("unipc-2", Self { order: 2 }),
        ("unipc-3", Self { order: 3 }),
    ];

    fn form(&self) -> OutputForm {
        OutputForm::Clean
    }

    fn check(&self) -> Result<()> {
        let fits = (1..=3).contains(&self.order);
        check_option(fits, "sampler.solver.order", self.order, "1 to 3")
    }

    fn order(&self) -> Option<f64> {
        Some((self.order + 1) as f64)
    }

    fn history(&self) -> usize {
        self.order
    }

    /// The output at this level first corrects the sample, then predicts the next one.
    fn step(&self, at: &StepContext<'_>, step: &mut StepCoefficients) {
        step.outputs = self.prediction(at);
        let Some(earlier) = at.earlier() else {
            return;
        };
        let mut nodes = earlier.above(earlier.depth().min(self.order - 1));
        if nodes.is_empty() {
            return;
        }
        nodes.insert(1, at.now());
        let correction = at.integrated(earlier.now(), at.now(), &nodes, 1.0);
        let prediction = self.prediction(&earlier);
        // The nodes of the correction are the level above, this one, and those further up.
        step.outputs[0] += step.sample * correction[1];
        let others = prediction.len() - 1;
        for (output, was) in prediction.iter().enumerate().take(others) {
            let becomes = match output {
                0 => correction[0],
                _ => correction.get(output + 1).copied().unwrap_or(0.0),
            };
            step.outputs[output + 1] += step.sample * (becomes - was);
        }
    }
}
