//! The coefficients of a position's step from one level of a ladder to the next, for as many
//! earlier outputs as it has: the first-order step and what the solver's family adds to it.

use super::Solver;
use super::coefficients::{Differences, OutputForm, StepCoefficients};
use super::weights::{NODES, exponential, midpoint};
use crate::schedule::NoiseLevel;
use crate::{NoiseSchedule, TimestepSchedule};

/// Computes the step from `level` to the one below, for a position that has the outputs of the
/// `depth` levels above.
pub(crate) fn coefficients(
    solver: Solver,
    ladder: &TimestepSchedule,
    schedule: &NoiseSchedule,
    level: usize,
    depth: usize,
) -> StepCoefficients {
    let mut step = StepCoefficients {
        sample: 1.0,
        clean: 0.0,
        outputs: [0.0; NODES],
        deviation: 0.0,
    };
    if level == 0 {
        return step;
    }
    let at = StepContext {
        form: solver.form(),
        ladder,
        schedule,
        level,
        depth: depth.min(ladder.levels() - level),
    };
    let (now, next) = (at.now(), at.next());
    step.sample = next.noise / now.noise;
    step.clean = next.signal - now.signal * step.sample;
    if next.noise == 0.0 {
        return step;
    }
    if solver.stages() > 1 {
        at.add_stage(&mut step, |at, index| solver.stage_differences(at, index));
    } else {
        solver.step(&at, &mut step);
    }
    step
}

/// Where a step begins: a level of a ladder, with the outputs of some levels above it.
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    form: OutputForm,
    ladder: &'a TimestepSchedule,
    schedule: &'a NoiseSchedule,
    level: usize,
    depth: usize,
}

impl StepContext<'_> {
    /// Signal and noise at the step's beginning.
    pub fn now(&self) -> NoiseLevel {
        self.at(self.level)
    }

    /// Signal and noise at the step's end, the level below.
    pub fn next(&self) -> NoiseLevel {
        self.at(self.level - 1)
    }

    /// Outputs of earlier evaluations that the position has.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The schedule that the ladder's timesteps belong to.
    pub fn schedule(&self) -> &NoiseSchedule {
        self.schedule
    }

    /// The step that ended where this one begins, with one output less; none at the first level.
    pub fn earlier(&self) -> Option<Self> {
        Some(Self {
            level: self.level + 1,
            depth: self.depth.checked_sub(1)?,
            ..*self
        })
    }

    /// The beginning of the step whose evaluation `index` this is.
    pub fn beginning(&self, index: usize) -> NoiseLevel {
        self.at(self.level + index)
    }

    /// Evaluations of the step that this one belongs to.
    pub fn stages(&self) -> usize {
        self.ladder.stage(self.level).size
    }

    /// The levels of a step's evaluations from its beginning to this one, which has `index`.
    pub fn since_beginning(&self, index: usize) -> Vec<NoiseLevel> {
        let levels = (self.level..=self.level + index).rev();
        levels.map(|level| self.at(level)).collect()
    }

    /// The level at which the step whose evaluation `index` this is will end.
    pub fn end(&self, index: usize) -> NoiseLevel {
        self.at((self.level + index).saturating_sub(self.stages()))
    }

    /// This level and `count` above it, as far as they have any signal.
    pub fn above(&self, count: usize) -> Vec<NoiseLevel> {
        let levels = (self.level..=self.level + count).map(|level| self.at(level));
        levels.take_while(|level| level.signal > 0.0).collect()
    }

    /// The exponential integrator over `from` to `to` of the polynomial through outputs at `nodes`,
    /// of which `from` is the first. `rate` is 1, or 2 for the stochastic equation.
    pub fn integrated(
        &self,
        from: NoiseLevel,
        to: NoiseLevel,
        nodes: &[NoiseLevel],
        rate: f64,
    ) -> Differences {
        self.weighted(from, to, nodes, rate, nodes.len() == 2)
    }

    /// As [`Self::integrated`]; `at_midpoint` takes the second output for that of the whole step.
    pub fn weighted(
        &self,
        from: NoiseLevel,
        to: NoiseLevel,
        nodes: &[NoiseLevel],
        rate: f64,
        at_midpoint: bool,
    ) -> Differences {
        if nodes.len() < 2 || to.noise == 0.0 {
            return [0.0; NODES];
        }
        let (start, step) = (from.log_ratio(), to.log_ratio() - from.log_ratio());
        let (factor, z) = match self.form {
            OutputForm::Noise => (to.noise, -step),
            _ => (to.signal, rate * step),
        };
        let places: Vec<f64> = nodes
            .iter()
            .map(|node| (node.log_ratio() - start) / step)
            .collect();
        let weights = if at_midpoint {
            [0.0, midpoint(z, places[1]), 0.0, 0.0]
        } else {
            exponential(z, &places)
        };
        differences(weights.map(|weight| factor * weight), nodes.len())
    }

    fn at(&self, level: usize) -> NoiseLevel {
        self.schedule.level(self.ladder.timestep(level))
    }

    /// Adds an evaluation of a step that makes several. The sample at such an evaluation is the
    /// first-order step from the step's beginning plus what the evaluation before added; that is taken
    /// back, and the first-order step goes on to the next level, since it may be cut in two anywhere.
    fn add_stage(
        &self,
        step: &mut StepCoefficients,
        added_by: impl Fn(&Self, usize) -> Differences,
    ) {
        let index = self.ladder.stage(self.level).index;
        // Without any signal there is no logarithm of its ratio to the noise, but there is a velocity.
        let defined = self.form == OutputForm::Flow || self.beginning(index).signal > 0.0;
        if index == 0 || self.depth < index || !defined {
            return;
        }
        let (kept, added) = self.transfer();
        step.sample = kept;
        step.clean = 0.0;
        let above = Self {
            level: self.level + 1,
            ..*self
        };
        let was = match index {
            1 => [0.0; NODES],
            _ => added_by(&above, index - 1),
        };
        step.outputs = added_by(self, index);
        for (output, was) in step.outputs[1..].iter_mut().zip(was) {
            *output -= kept * was;
        }
        step.outputs[index] += added;
    }

    /// The first-order step with an output of the family's form: next = first x + second m.
    fn transfer(&self) -> (f64, f64) {
        let (now, next) = (self.now(), self.next());
        match self.form {
            OutputForm::Clean => {
                let kept = next.noise / now.noise;
                (kept, next.signal - now.signal * kept)
            }
            OutputForm::Noise => {
                let kept = next.signal / now.signal;
                (kept, next.noise - now.noise * kept)
            }
            OutputForm::Flow => {
                let sum = next.signal + next.noise;
                let kept = sum / (now.signal + now.noise);
                (kept, sum * (next.flow_time() - now.flow_time()))
            }
        }
    }
}

/// Weights of outputs as differences to the first of them, whose own step is the first-order one.
pub(super) fn differences(mut weights: Differences, outputs: usize) -> Differences {
    weights[outputs..].fill(0.0);
    weights[0] = -weights[1..].iter().sum::<f64>();
    weights
}
