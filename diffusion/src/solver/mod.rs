//! Solvers: how a step goes from one noise level to the next, and which of them there are.
//!
//! Every solver but DDPM and DDIM is a first-order step plus a combination of *differences* of what
//! the network said of the same position at this level and at the levels above:
//!
//! ```text
//! next = a x + b x0 + sum_k c_k m_k + s z,   sum_k c_k = 0,
//! ```
//!
//! with x the sample, x0 the clean estimate, m_0 the output now and m_1, m_2, ... those before, all
//! of them as clean sample, noise or flow velocity, and z fresh noise. The coefficients depend on
//! nothing but the levels, so positions at different levels take their steps together,
//! and a position that has no history yet takes the first-order step.

pub(crate) mod rows;
mod weights;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a step goes from one noise level to the next.
///
/// Orders say how fast the error falls with the number of steps, once a position has the history
/// for it; below that a solver takes the order that the history allows. The last step, to a clean
/// position, is the clean estimate itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Solver {
    /// Ancestral sampling with the posterior variance ("fixed small"; Ho et al. 2020).
    Ddpm,
    /// DDIM (Song et al. 2021); `eta` 0 is deterministic and of order 1, 1 has the variance of
    /// ancestral sampling.
    Ddim {
        /// Share of the ancestral noise, 0 to 1.
        #[serde(default)]
        eta: f64,
    },
    /// Pseudo linear multistep (PLMS; Liu et al. 2022): the Adams-Bashforth mean of the noise in
    /// DDIM's step. Begins with lower orders in place of Runge-Kutta, so that an evaluation is a
    /// step.
    Pndm {
        /// Outputs that a step takes into account, 1 to 4.
        #[serde(default = "four")]
        order: usize,
    },
    /// DPM-Solver (Lu et al. 2022): exponential integrator of the noise.
    DpmSolver {
        /// Order, 1 to 3.
        #[serde(default = "two")]
        order: usize,
        /// Where the outputs of a step come from; `single` is what the paper proposes.
        #[serde(default = "Stepping::single")]
        steps: Stepping,
    },
    /// DPM-Solver++ (Lu et al. 2022): exponential integrator of the clean sample.
    #[serde(rename = "dpm_solver_plus_plus")]
    DpmSolverPlusPlus {
        /// Order, 1 to 3.
        #[serde(default = "two")]
        order: usize,
        /// Where the outputs of a step come from.
        #[serde(default = "Stepping::multi")]
        steps: Stepping,
        /// Follows the stochastic equation, with fresh noise in every step; `multi` only.
        #[serde(default, skip_serializing_if = "is_false")]
        sde: bool,
    },
    /// DEIS, time-based Adams-Bashforth (tAB; Zhang and Chen 2023): the noise as a polynomial of
    /// the timestep.
    Deis {
        /// Degree of the polynomial, 0 (DDIM) to 3: tAB0 to tAB3.
        #[serde(default = "three")]
        degree: usize,
    },
    /// UniPC with B(h) = e^h - 1 (Zhao et al. 2023): DPM-Solver++ as predictor, and the evaluation
    /// that follows also corrects where it was made.
    #[serde(rename = "unipc")]
    UniPc {
        /// Order of the predictor, 1 to 3; the corrector has one more.
        #[serde(default = "two")]
        order: usize,
    },
    /// Euler's method on the straight path of flow matching. Where the schedule is another, on the
    /// straight path that it is a rescaling of; there it is DDIM.
    Euler,
    /// Heun's method on the same path (Karras et al. 2022): two evaluations a step.
    Heun,
}

/// Where the outputs that a step of higher order needs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stepping {
    /// A step makes all of its evaluations itself, at levels between its ends. Each of them takes a
    /// position down one level of the ladder.
    Single,
    /// A step makes one evaluation and remembers those before.
    Multi,
}

impl Stepping {
    fn single() -> Self {
        Self::Single
    }
    fn multi() -> Self {
        Self::Multi
    }
}

fn two() -> usize {
    2
}
fn three() -> usize {
    3
}
fn four() -> usize {
    4
}
fn is_false(value: &bool) -> bool {
    !value
}

/// What of an output is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The clean sample x0.
    Clean,
    /// The noise epsilon.
    Noise,
    /// Their difference epsilon - x0.
    Flow,
}

impl Solver {
    /// Ready solvers by the name that a command line takes.
    pub const NAMED: [(&str, Self); 21] = {
        const fn dpm(order: usize, steps: Stepping) -> Solver {
            Solver::DpmSolver { order, steps }
        }
        const fn plus(order: usize, steps: Stepping, sde: bool) -> Solver {
            Solver::DpmSolverPlusPlus { order, steps, sde }
        }
        const SINGLE: Stepping = Stepping::Single;
        const MULTI: Stepping = Stepping::Multi;
        [
            ("ddpm", Self::Ddpm),
            ("ddim", Self::Ddim { eta: 0.0 }),
            ("pndm", Self::Pndm { order: 4 }),
            ("dpm-1", dpm(1, SINGLE)),
            ("dpm-2s", dpm(2, SINGLE)),
            ("dpm-3s", dpm(3, SINGLE)),
            ("dpm-2m", dpm(2, MULTI)),
            ("dpm-3m", dpm(3, MULTI)),
            ("dpmpp-2s", plus(2, SINGLE, false)),
            ("dpmpp-3s", plus(3, SINGLE, false)),
            ("dpmpp-2m", plus(2, MULTI, false)),
            ("dpmpp-3m", plus(3, MULTI, false)),
            ("dpmpp-1-sde", plus(1, MULTI, true)),
            ("dpmpp-2m-sde", plus(2, MULTI, true)),
            ("deis-1", Self::Deis { degree: 1 }),
            ("deis-2", Self::Deis { degree: 2 }),
            ("deis-3", Self::Deis { degree: 3 }),
            ("unipc-2", Self::UniPc { order: 2 }),
            ("unipc-3", Self::UniPc { order: 3 }),
            ("euler", Self::Euler),
            ("heun", Self::Heun),
        ]
    };

    /// The solver of [`Self::NAMED`] with this name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::NAMED.iter().find(|(known, _)| *known == name);
        found.map(|(_, solver)| *solver)
    }

    /// Evaluations that a step of a single-step solver makes, each a level of the ladder; 1 for all
    /// others.
    pub fn stages(self) -> usize {
        match self {
            Self::Heun => 2,
            Self::DpmSolver {
                order,
                steps: Stepping::Single,
            }
            | Self::DpmSolverPlusPlus {
                order,
                steps: Stepping::Single,
                ..
            } => order,
            _ => 1,
        }
    }

    /// Outputs of earlier evaluations that a step takes into account.
    pub fn history(self) -> usize {
        match self {
            Self::Ddpm | Self::Ddim { .. } | Self::Euler => 0,
            Self::Heun => 1,
            Self::Pndm { order }
            | Self::DpmSolver { order, .. }
            | Self::DpmSolverPlusPlus { order, .. } => order.saturating_sub(1),
            Self::Deis { degree } => degree,
            Self::UniPc { order } => order,
        }
    }

    /// Whether steps are those of [`crate::Sampler::step`], which mixes clean estimate and noise.
    pub(crate) fn without_table(self) -> bool {
        matches!(self, Self::Ddpm | Self::Ddim { .. })
    }

    /// What of an output is remembered.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Pndm { .. } | Self::DpmSolver { .. } | Self::Deis { .. } => Form::Noise,
            Self::Euler | Self::Heun => Form::Flow,
            _ => Form::Clean,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(self) -> Result<()> {
        let refuse = |key, found: String, expected: &str| {
            Err(Error::Config {
                key,
                found,
                expected: expected.into(),
            })
        };
        match self {
            Self::Ddim { eta } if !(0.0..=1.0).contains(&eta) => {
                refuse("sampler.solver.eta", eta.to_string(), "0 to 1")
            }
            Self::Pndm { order } if !(1..=4).contains(&order) => {
                refuse("sampler.solver.order", order.to_string(), "1 to 4 for pndm")
            }
            Self::DpmSolver { order, .. }
            | Self::DpmSolverPlusPlus { order, .. }
            | Self::UniPc { order }
                if !(1..=3).contains(&order) =>
            {
                refuse("sampler.solver.order", order.to_string(), "1 to 3")
            }
            Self::Deis { degree } if degree > 3 => {
                refuse("sampler.solver.degree", degree.to_string(), "0 to 3")
            }
            Self::DpmSolverPlusPlus {
                steps: Stepping::Single,
                sde: true,
                ..
            } => refuse(
                "sampler.solver.sde",
                "true with steps single".into(),
                "false, or steps multi",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solvers_are_written_as_they_are_read() {
        for (name, solver) in Solver::NAMED {
            solver.check().unwrap();
            let text = serde_json::to_string(&solver).unwrap();
            assert_eq!(serde_json::from_str::<Solver>(&text).unwrap(), solver);
            assert_eq!(Solver::named(name), Some(solver));
        }
        assert_eq!(Solver::named("rk45"), None);
        let solver: Solver = serde_json::from_str(r#"{"kind": "dpm_solver_plus_plus"}"#).unwrap();
        assert_eq!(Some(solver), Solver::named("dpmpp-2m"));
        let solver: Solver = serde_json::from_str(r#"{"kind": "dpm_solver"}"#).unwrap();
        assert_eq!(Some(solver), Solver::named("dpm-2s"));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for text in [
            r#"{"kind": "rk45"}"#,
            r#"{"kind": "unipc", "orders": 2}"#,
            r#"{"kind": "dpm_solver", "steps": "both"}"#,
        ] {
            assert!(serde_json::from_str::<Solver>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (solver, key) in [
            (Solver::Ddim { eta: 1.5 }, "eta"),
            (Solver::Pndm { order: 5 }, "order"),
            (Solver::UniPc { order: 0 }, "order"),
            (Solver::Deis { degree: 4 }, "degree"),
            (
                Solver::DpmSolverPlusPlus {
                    order: 2,
                    steps: Stepping::Single,
                    sde: true,
                },
                "sde",
            ),
        ] {
            let message = solver.check().unwrap_err().to_string();
            assert!(
                message.contains(&format!("sampler.solver.{key}")),
                "{message}"
            );
        }
    }
}
