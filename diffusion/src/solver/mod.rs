//! Solvers: how a step goes from one noise level to the next, and which families of them there are.
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
//!
//! Orders say how fast the error falls with the number of steps, once a position has the history
//! for it; below that a solver takes the order that the history allows. The last step, to a clean
//! position, is the clean estimate itself.

mod coefficients;
mod family;
pub(crate) mod step;
mod weights;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::registry;
use crate::transition::Transition;
use crate::{NoiseSchedule, Result};

pub use coefficients::{
    Differences, OutputForm, StagePlace, StepCoefficients, TransitionCoefficients,
};
pub use families::ddim::Ddim;
pub use families::ddpm::Ddpm;
pub use family::SolverFamily;
pub use step::StepContext;

/// The families of solvers, one file each.
pub mod families {
    pub mod ddim;
    pub mod ddpm;
    pub mod deis;
    pub mod dpm_solver;
    pub mod dpm_solver_plus_plus;
    pub mod euler;
    pub mod flow_matching;
    pub mod heun;
    pub mod pndm;
    pub mod unipc;
}

registry! {
    /// How a step goes from one noise level to the next: the registry of solver families.
    ///
    /// Written as a table with `kind` and the options of the family.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
    pub enum Solver in families, each by each_family, all by all_families {
        "ddpm" => Ddpm(ddpm::Ddpm),
        "ddim" => Ddim(ddim::Ddim),
        "pndm" => Pndm(pndm::Pndm),
        "dpm_solver" => DpmSolver(dpm_solver::DpmSolver),
        "dpm_solver_plus_plus" => DpmSolverPlusPlus(dpm_solver_plus_plus::DpmSolverPlusPlus),
        "deis" => Deis(deis::Deis),
        "unipc" => UniPc(unipc::UniPc),
        "euler" => Euler(euler::Euler),
        "heun" => Heun(heun::Heun),
        "flow_matching" => FlowMatching(flow_matching::FlowMatching),
    }
}

impl Solver {
    /// Ancestral sampling.
    pub const DDPM: Self = Self::Ddpm(Ddpm {});
    /// DDIM without fresh noise.
    pub const DDIM: Self = Self::Ddim(Ddim { eta: 0.0 });

    /// Ready solvers of all families by the name that a command line takes.
    pub fn named_solvers() -> impl Iterator<Item = (&'static str, Self)> {
        let families = all_families!(Family => {
            let members = Family::NAMED.iter();
            members.map(|(name, member)| (*name, Self::from(*member))).collect::<Vec<_>>()
        });
        families.into_iter().flatten()
    }

    /// The solver of [`Self::named_solvers`] with this name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::named_solvers().find(|(known, _)| *known == name);
        found.map(|(_, solver)| solver)
    }

    /// See [`SolverFamily::stages`].
    pub fn stages(self) -> usize {
        each_family!(self, family => family.stages())
    }

    /// See [`SolverFamily::history`].
    pub fn history(self) -> usize {
        each_family!(self, family => family.history())
    }

    /// See [`SolverFamily::order`].
    pub fn order(self) -> Option<f64> {
        each_family!(self, family => SolverFamily::order(&family))
    }

    /// See [`SolverFamily::check`].
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(self) -> Result<()> {
        each_family!(self, family => family.check())
    }

    /// Whether steps are those of [`crate::Sampler::step`], which mixes clean estimate and noise.
    pub fn is_memoryless(self) -> bool {
        each_family!(self, family => family.is_memoryless())
    }

    /// Whether steps are made of flow velocities, which are defined at pure noise, too.
    pub fn is_on_the_straight_path(self) -> bool {
        self.form() == OutputForm::Flow
    }

    pub(crate) fn form(self) -> OutputForm {
        each_family!(self, family => family.form())
    }

    pub(crate) fn stage_place(self, index: usize, size: usize) -> StagePlace {
        each_family!(self, family => family.stage_place(index, size))
    }

    pub(crate) fn transition(
        self,
        schedule: &NoiseSchedule,
        transition: Transition,
    ) -> TransitionCoefficients {
        each_family!(self, family => family.transition(schedule, transition))
    }

    fn step(self, at: &StepContext<'_>, step: &mut StepCoefficients) {
        each_family!(self, family => family.step(at, step));
    }

    fn stage_differences(self, at: &StepContext<'_>, index: usize) -> Differences {
        each_family!(self, family => family.stage_differences(at, index))
    }
}

/// Where the outputs that a step of higher order needs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stepping {
    /// A step makes all of its evaluations itself, at levels between its ends. Each of them takes a
    /// position down one level of the ladder.
    Single,
    /// A step makes one evaluation and remembers those before.
    Multi,
}

impl Stepping {
    /// Evaluations of a step of `order`.
    fn stages(self, order: usize) -> usize {
        match self {
            Self::Single => order,
            Self::Multi => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::families::deis::Deis;
    use super::families::dpm_solver_plus_plus::DpmSolverPlusPlus;
    use super::families::pndm::Pndm;
    use super::families::unipc::UniPc;
    use super::*;

    #[test]
    fn solvers_are_written_as_they_are_read() {
        for (name, solver) in Solver::named_solvers() {
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
            r#"{"kind": "ddpm", "eta": 0.5}"#,
            r#"{"kind": "unipc", "orders": 2}"#,
            r#"{"kind": "dpm_solver", "steps": "both"}"#,
        ] {
            assert!(serde_json::from_str::<Solver>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let stochastic = DpmSolverPlusPlus {
            order: 2,
            steps: Stepping::Single,
            sde: true,
        };
        for (solver, key) in [
            (Solver::from(Ddim { eta: 1.5 }), "eta"),
            (Pndm { order: 5 }.into(), "order"),
            (UniPc { order: 0 }.into(), "order"),
            (Deis { degree: 4 }.into(), "degree"),
            (stochastic.into(), "sde"),
        ] {
            let message = solver.check().unwrap_err().to_string();
            assert!(
                message.contains(&format!("sampler.solver.{key}")),
                "{message}"
            );
        }
    }
}
