//! The coefficients of a position's step from one level of a ladder to the next, for as many
//! earlier outputs as it has.
//!
//! Formulas: PNDM, Liu et al. 2022; DPM-Solver, Lu et al. 2022 (order 3 with the Taylor form of their
//! code, since the stages lie at whole timesteps and not quite at thirds); DPM-Solver++ and its
//! stochastic form, Lu et al. 2022; DEIS, Zhang and Chen 2023; UniPC, Zhao et al. 2023; Heun, Karras
//! et al. 2022. All of them are written here as the first-order step and what is added to it.

use super::weights::{NODES, adams_bashforth, along, exponential, midpoint};
use super::{Form, Solver, Stepping};
use crate::schedule::NoiseLevel;
use crate::{NoiseSchedule, TimestepSchedule};

/// next = `sample` x + `clean` x0 + sum_k `outputs[k]` m_k + `deviation` noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) sample: f64,
    pub(crate) clean: f64,
    pub(crate) outputs: [f64; NODES],
    pub(crate) deviation: f64,
}

/// The steps of one solver down one ladder.
pub(crate) struct Rows<'a> {
    solver: Solver,
    ladder: &'a TimestepSchedule,
    schedule: &'a NoiseSchedule,
}

/// What is added to a first-order step, as factors of outputs; they sum to 0.
type Differences = [f64; NODES];

impl<'a> Rows<'a> {
    pub(crate) fn new(
        solver: Solver,
        ladder: &'a TimestepSchedule,
        schedule: &'a NoiseSchedule,
    ) -> Self {
        Self {
            solver,
            ladder,
            schedule,
        }
    }

    /// The step from `level` to the one below, for a position that has the outputs of the `depth`
    /// levels above.
    pub(crate) fn row(&self, level: usize, depth: usize) -> Row {
        let mut row = Row {
            sample: 1.0,
            clean: 0.0,
            outputs: [0.0; NODES],
            deviation: 0.0,
        };
        if level == 0 {
            return row;
        }
        let (now, next) = (self.at(level), self.at(level - 1));
        let depth = depth.min(self.ladder.levels() - level);
        row.sample = next.noise / now.noise;
        row.clean = next.signal - now.signal * row.sample;
        if next.noise == 0.0 {
            return row;
        }
        match self.solver {
            Solver::Ddpm | Solver::Ddim { .. } | Solver::Euler => {}
            Solver::DpmSolver { steps, .. } | Solver::DpmSolverPlusPlus { steps, .. }
                if steps == Stepping::Single =>
            {
                self.stage(&mut row, level, depth);
            }
            Solver::Heun => self.stage(&mut row, level, depth),
            Solver::DpmSolverPlusPlus {
                order, sde: true, ..
            } => {
                let step = next.log_ratio() - now.log_ratio();
                row.sample *= (-step).exp();
                row.clean = -next.signal * (-2.0 * step).exp_m1();
                row.deviation = next.noise * (-(-2.0 * step).exp_m1()).sqrt();
                let nodes = self.above(level, depth.min(order - 1));
                row.outputs = self.integrated(now, next, &nodes, 2.0);
            }
            Solver::DpmSolver { order, .. } | Solver::DpmSolverPlusPlus { order, .. } => {
                let nodes = self.above(level, depth.min(order - 1));
                row.outputs = self.integrated(now, next, &nodes, 1.0);
            }
            Solver::Pndm { order } => {
                let outputs = depth.min(order - 1) + 1;
                if now.signal > 0.0 {
                    let step = next.noise - next.signal * now.noise_ratio();
                    row.outputs = differences(adams_bashforth(outputs).map(|w| step * w), outputs);
                }
            }
            Solver::Deis { degree } => self.polynomial_of_time(&mut row, level, depth.min(degree)),
            Solver::UniPc { order } => self.corrected(&mut row, level, depth, order),
        }
        row
    }

    fn at(&self, level: usize) -> NoiseLevel {
        self.schedule.level(self.ladder.timestep(level))
    }

    /// This level and `count` above it, as far as they have any signal.
    fn above(&self, level: usize, count: usize) -> Vec<NoiseLevel> {
        let levels = (level..=level + count).map(|level| self.at(level));
        levels.take_while(|level| level.signal > 0.0).collect()
    }

    /// The exponential integrator over `from` to `to` of the polynomial through outputs at `nodes`,
    /// of which `from` is the first. `rate` is 1, or 2 for the stochastic equation.
    fn integrated(
        &self,
        from: NoiseLevel,
        to: NoiseLevel,
        nodes: &[NoiseLevel],
        rate: f64,
    ) -> Differences {
        self.weighted(from, to, nodes, rate, nodes.len() == 2)
    }

    fn weighted(
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
        let (factor, z) = match self.solver.form() {
            Form::Noise => (to.noise, -step),
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

    /// DEIS: y = x / signal moves by the integral of the noise over rho = noise / signal.
    fn polynomial_of_time(&self, row: &mut Row, level: usize, depth: usize) {
        let nodes = self.above(level, depth);
        if nodes.len() < 2 {
            return;
        }
        let (now, next) = (self.at(level), self.at(level - 1));
        let length = (now.timestep - next.timestep) as f64;
        let place = |timestep: i64| (now.timestep - timestep) as f64 / length;
        let places: Vec<f64> = nodes.iter().map(|node| place(node.timestep)).collect();
        let curve = (next.timestep..=now.timestep)
            .rev()
            .map(|timestep| (place(timestep), self.schedule.level(timestep).noise_ratio()));
        let weights = along(curve, &places).map(|weight| next.signal * weight);
        row.outputs = differences(weights, nodes.len());
    }

    /// UniPC: the output at this level first corrects the sample, then predicts the next one.
    fn corrected(&self, row: &mut Row, level: usize, depth: usize, order: usize) {
        let predicted = |level: usize, depth: usize| {
            let nodes = self.above(level, depth.min(order - 1));
            self.integrated(self.at(level), self.at(level - 1), &nodes, 1.0)
        };
        row.outputs = predicted(level, depth);
        let (Some(earlier), now) = (depth.checked_sub(1), self.at(level)) else {
            return;
        };
        let mut nodes = self.above(level + 1, earlier.min(order - 1));
        if nodes.is_empty() {
            return;
        }
        nodes.insert(1, now);
        let correction = self.integrated(self.at(level + 1), now, &nodes, 1.0);
        let prediction = predicted(level + 1, earlier);
        // The nodes of the correction are the level above, this one, and those further up.
        row.outputs[0] += row.sample * correction[1];
        for (output, was) in prediction.iter().enumerate().take(NODES - 1) {
            let becomes = match output {
                0 => correction[0],
                _ => correction.get(output + 1).copied().unwrap_or(0.0),
            };
            row.outputs[output + 1] += row.sample * (becomes - was);
        }
    }

    /// A stage of a step that makes several evaluations. The sample at a stage is the first-order
    /// step from the step's beginning plus what the stage before added; that is taken back, and
    /// the first-order step goes on to the next level, since it may be cut in two anywhere.
    fn stage(&self, row: &mut Row, level: usize, depth: usize) {
        let stage = self.ladder.stage(level);
        let beginning = self.at(level + stage.index);
        if stage.index == 0 || depth < stage.index || beginning.signal == 0.0 {
            return;
        }
        let (now, next) = (self.at(level), self.at(level - 1));
        let (kept, added) = self.transfer(now, next);
        row.sample = kept;
        row.clean = 0.0;
        let was = self.stage_differences(level + 1, stage.index - 1);
        let becomes = self.stage_differences(level, stage.index);
        row.outputs = becomes;
        for (output, was) in row.outputs[1..].iter_mut().zip(was) {
            *output -= kept * was;
        }
        row.outputs[stage.index] += added;
    }

    /// What stage `index` of a step, at `level`, adds to the first-order step from the beginning.
    fn stage_differences(&self, level: usize, index: usize) -> Differences {
        let (now, next) = (self.at(level), self.at(level - 1));
        let beginning = self.at(level + index);
        if index == 0 {
            return [0.0; NODES];
        }
        if self.solver == Solver::Heun {
            // Half the difference of the velocities at both ends.
            let length = flow_time(next) - flow_time(beginning);
            let half = (next.signal + next.noise) * length / 2.0;
            return [half, -half, 0.0, 0.0];
        }
        let nodes: Vec<NoiseLevel> = std::iter::once(beginning)
            .chain((level..level + index).rev().map(|level| self.at(level)))
            .collect();
        let last = self.ladder.stage(level).size == index + 1;
        let weights = self.weighted(beginning, next, &nodes, 1.0, last && nodes.len() == 2);
        // Outputs are counted from now on back, nodes from the beginning on.
        let mut outputs = [0.0; NODES];
        for (node, weight) in weights.iter().enumerate().take(nodes.len()) {
            outputs[index - node] = *weight;
        }
        debug_assert!(now.noise >= next.noise);
        outputs
    }

    /// The first-order step with an output of this solver's form: next = first x + second m.
    fn transfer(&self, now: NoiseLevel, next: NoiseLevel) -> (f64, f64) {
        match self.solver.form() {
            Form::Clean => {
                let kept = next.noise / now.noise;
                (kept, next.signal - now.signal * kept)
            }
            Form::Noise => {
                let kept = next.signal / now.signal;
                (kept, next.noise - now.noise * kept)
            }
            Form::Flow => {
                let sum = next.signal + next.noise;
                let kept = sum / (now.signal + now.noise);
                (kept, sum * (flow_time(next) - flow_time(now)))
            }
        }
    }
}

/// Time on the straight path of equal signal-to-noise ratio, 0 (clean) to 1 (noise).
fn flow_time(level: NoiseLevel) -> f64 {
    level.noise / (level.signal + level.noise)
}

/// Weights of outputs as differences to the first of them, whose own step is the first-order one.
fn differences(mut weights: [f64; NODES], outputs: usize) -> Differences {
    weights[outputs..].fill(0.0);
    weights[0] = -weights[1..].iter().sum::<f64>();
    weights
}
