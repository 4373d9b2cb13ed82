//! What a solver family is, and the numbers of a step that it computes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::coefficients::{
    Differences, OutputForm, StagePlace, StepCoefficients, TransitionCoefficients,
};
use super::step::StepContext;
use crate::transition::Transition;
use crate::{NoiseSchedule, Result};

/// A family of solvers: one struct with its options, one file in `families/`, one line in the
/// registry of [`super::Solver`].
///
/// A step of every family is linear in the sample, the clean estimate and the outputs remembered,
/// so that all of them run on one fused path; a family computes the coefficients.
pub trait SolverFamily:
    Copy + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + 'static
{
    /// Ready members by the name that a command line takes; the options' defaults may be another.
    const NAMED: &'static [(&'static str, Self)];

    /// Which form of the network's output is remembered and combined.
    fn form(&self) -> OutputForm;

    /// Checks the options.
    ///
    /// # Errors
    /// The first value out of its range.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Order of convergence to the probability flow (an error that falls as `steps^-order`); none
    /// for a family that adds fresh noise. The conformance test measures it.
    fn order(&self) -> Option<f64>;

    /// Evaluations of one step, each a level of the ladder; 1 for all but single-step solvers.
    fn stages(&self) -> usize {
        1
    }

    /// Outputs of earlier evaluations that a step combines, at most 3.
    fn history(&self) -> usize {
        0
    }

    /// Where evaluation `index` (from 1) of a step of `size` evaluations lies between the step's ends.
    fn stage_place(&self, index: usize, size: usize) -> StagePlace {
        StagePlace::LogRatio(index as f64 / size as f64)
    }

    /// Adds what this family adds to the first-order step of `at`.
    fn step(&self, at: &StepContext<'_>, step: &mut StepCoefficients);

    /// What evaluation `index` of a step adds to the first-order step from the step's beginning to the
    /// level below: factors of the outputs, the newest first, that sum to 0. For families with stages.
    fn stage_differences(&self, _at: &StepContext<'_>, _index: usize) -> Differences {
        Differences::default()
    }

    /// The step without memory, where that is all that the family does: see
    /// [`crate::Sampler::step`].
    fn is_memoryless(&self) -> bool {
        false
    }

    /// The step of one position without memory. A family with memory takes DDIM's where it has none.
    fn transition(
        &self,
        schedule: &NoiseSchedule,
        transition: Transition,
    ) -> TransitionCoefficients {
        super::families::ddim::transition(schedule, transition, 0.0)
    }
}
