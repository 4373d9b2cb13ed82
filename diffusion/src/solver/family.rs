//! What a solver family is, and the numbers of a step that it computes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::step::StepContext;
use super::weights::NODES;
use crate::sampler::Transition;
use crate::schedule::Posterior;
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
        [0.0; NODES]
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

/// Which form of the network's output a family remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// The clean sample x0.
    Clean,
    /// The noise epsilon.
    Noise,
    /// The flow velocity epsilon - x0.
    Flow,
}

/// Where an evaluation between the ends of a step lies, as a share of the step, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StagePlace {
    /// Of the logarithm of the signal-to-noise ratio.
    LogRatio(f64),
    /// Of the time of the straight path of equal signal-to-noise ratio; 1 is the step's end.
    FlowTime(f64),
}

/// What is added to a first-order step, as factors of the outputs, the newest first; they sum to 0.
pub type Differences = [f64; NODES];

/// next = `sample` x + `clean` x0 + sum_k `outputs[k]` m_k + `deviation` noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepCoefficients {
    /// Factor of the sample.
    pub sample: f64,
    /// Factor of the clean estimate.
    pub clean: f64,
    /// Factors of the outputs in the family's form, the newest first.
    pub outputs: Differences,
    /// Factor of standard normal noise.
    pub deviation: f64,
}

/// A step without memory: next = `clean` x0 + `sample` x + `epsilon` eps + `deviation` noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransitionCoefficients {
    /// Factor of the clean estimate.
    pub clean: f64,
    /// Factor of the sample.
    pub sample: f64,
    /// Factor of the noise that the unclipped prediction implies; none where the step has no such
    /// term, so that an infinite noise doesn't reach it.
    pub epsilon: Option<f64>,
    /// Factor of standard normal noise.
    pub deviation: f64,
}

impl TransitionCoefficients {
    /// The ancestral step (Ho et al. 2020, equations 6 and 7).
    pub(super) fn ancestral(posterior: Posterior, deviation: f64) -> Self {
        Self {
            clean: posterior.clean,
            sample: posterior.sample,
            epsilon: None,
            deviation,
        }
    }
}
