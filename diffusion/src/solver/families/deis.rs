//! DEIS, an exponential integrator of a polynomial of time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::check_option;
use crate::solver::step::differences;
use crate::solver::weights::along;
use crate::solver::{OutputForm, SolverFamily, StepCoefficients, StepContext};

/// DEIS, time-based Adams-Bashforth (tAB; Zhang and Chen 2023): the noise as a polynomial of the
/// timestep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deis {
    /// Degree of the polynomial, 0 (DDIM) to 3: tAB0 to tAB3.
    #[serde(default = "three")]
    pub degree: usize,
}

fn three() -> usize {
    3
}

impl SolverFamily for Deis {
    const NAMED: &'static [(&'static str, Self)] = &[
        ("deis-1", Self { degree: 1 }),
        ("deis-2", Self { degree: 2 }),
        ("deis-3", Self { degree: 3 }),
    ];

    fn form(&self) -> OutputForm {
        OutputForm::Noise
    }

    fn check(&self) -> Result<()> {
        let fits = self.degree <= 3;
        check_option(fits, "sampler.solver.degree", self.degree, "0 to 3")
    }

    fn order(&self) -> Option<f64> {
        Some((self.degree + 1) as f64)
    }

    fn history(&self) -> usize {
        self.degree
    }

    /// y = x / signal moves by the integral of the noise over rho = noise / signal.
    fn step(&self, at: &StepContext<'_>, step: &mut StepCoefficients) {
        let nodes = at.above(at.depth().min(self.degree));
        if nodes.len() < 2 {
            return;
        }
        let (now, next) = (at.now(), at.next());
        let length = (now.timestep - next.timestep) as f64;
        let place = |timestep: i64| (now.timestep - timestep) as f64 / length;
        let places: Vec<f64> = nodes.iter().map(|node| place(node.timestep)).collect();
        let curve = (next.timestep..=now.timestep)
            .rev()
            .map(|timestep| (place(timestep), at.schedule().level(timestep).noise_ratio()));
        let weights = along(curve, &places).map(|weight| next.signal * weight);
        step.outputs = differences(weights, nodes.len());
    }
}
