//! The numbers of a step, and what they are numbers of.

use super::weights::NODES;
use crate::schedule::Posterior;

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
