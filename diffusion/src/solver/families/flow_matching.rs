//! Runge-Kutta methods on the straight path of flow matching.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::solver::{
    Differences, OutputForm, SolverFamily, StagePlace, StepCoefficients, StepContext,
};

/// Explicit Runge-Kutta methods of the flow velocity (Lipman et al. 2023) on the straight path of
/// equal signal-to-noise ratio, as flow-matching policies are run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowMatching {
    /// Which method.
    #[serde(default)]
    pub method: Method,
}

/// A Runge-Kutta method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One evaluation a step, of order 1.
    #[default]
    Euler,
    /// Two evaluations a step, the second at its middle, of order 2.
    Midpoint,
    /// Four evaluations a step, the classical method of order 4.
    Rk4,
}

impl FlowMatching {
    const fn new(method: Method) -> Self {
        Self { method }
    }
}

impl SolverFamily for FlowMatching {
    const NAMED: &'static [(&'static str, Self)] = &[
        ("flow-euler", Self::new(Method::Euler)),
        ("flow-midpoint", Self::new(Method::Midpoint)),
        ("flow-rk4", Self::new(Method::Rk4)),
    ];

    fn form(&self) -> OutputForm {
        OutputForm::Flow
    }

    fn order(&self) -> Option<f64> {
        Some(self.stages() as f64)
    }

    fn stages(&self) -> usize {
        match self.method {
            Method::Euler => 1,
            Method::Midpoint => 2,
            Method::Rk4 => 4,
        }
    }

    fn history(&self) -> usize {
        self.stages() - 1
    }

    fn stage_place(&self, index: usize, size: usize) -> StagePlace {
        // A method of three or four evaluations makes its last one at the step's end.
        let is_end = index + 1 == size && size > 2;
        StagePlace::FlowTime(if is_end {
            1.0
        } else if size == 3 {
            // Of three timesteps the first: at two thirds the method of three evaluations has a pole.
            0.4
        } else {
            0.5
        })
    }

    fn step(&self, _at: &StepContext<'_>, _step: &mut StepCoefficients) {}

    fn stage_differences(&self, at: &StepContext<'_>, index: usize) -> Differences {
        let time = |level: crate::schedule::NoiseLevel| level.flow_time();
        let (begin, end) = (time(at.beginning(index)), time(at.end(index)));
        // Timesteps are whole, so that the middle may be a little off.
        let middle = (time(at.since_beginning(index)[1]) - begin) / (end - begin);
        let weights = velocity_weights(at.stages(), index, middle);
        let (next, length) = (at.next(), end - begin);
        let scale = (next.signal + next.noise) * length;
        // Outputs are counted from now on back; the first-order step is that of the first velocity.
        let mut outputs = Differences::default();
        for (evaluation, weight) in weights.iter().enumerate().take(index + 1) {
            outputs[index - evaluation] = scale * weight;
        }
        outputs[index] -= scale * (time(next) - begin) / length;
        outputs
    }
}

/// Weights of the velocities, the first of the step first, in where a step of `stages` evaluations
/// goes on from evaluation `index` (1 or above), in lengths of the step. The middle evaluations lie at
/// the share `middle` of the step; the methods keep order 2 and 3 wherever that is, and the one of
/// four evaluations has order 4 at a half.
fn velocity_weights(stages: usize, index: usize, middle: f64) -> Differences {
    let weight = 1.0 / (6.0 * middle * (1.0 - middle));
    let last = 0.5 - weight * middle;
    match (stages, index) {
        (2, _) => {
            let second = 1.0 / (2.0 * middle);
            [1.0 - second, second, 0.0, 0.0]
        }
        // Kutta's method of order 3, which the first step of a ladder may be.
        (3, 1) => {
            // Near the pole it is the midpoint's step, of order 2.
            let second = match last.abs() < 0.05 {
                true => 0.5 / middle,
                false => 1.0 / (6.0 * last * middle),
            };
            [1.0 - second, second, 0.0, 0.0]
        }
        (3, _) => [1.0 - weight - last, weight, last, 0.0],
        (_, 1) => [0.0, middle, 0.0, 0.0],
        (_, 2) => [0.0, 0.0, 1.0, 0.0],
        _ => {
            let third = (1.0 / 6.0 - last * middle) / middle.powi(2);
            [1.0 - weight - last, weight - third, third, last]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_gives_the_textbook_weights() {
        let close = |found: Differences, expected: Differences| {
            let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(error.fold(0.0, f64::max) < 1e-12, "{found:?} {expected:?}");
        };
        close(velocity_weights(2, 1, 0.5), [0.0, 1.0, 0.0, 0.0]);
        close(velocity_weights(3, 1, 0.5), [-1.0, 2.0, 0.0, 0.0]);
        close(
            velocity_weights(3, 2, 0.5),
            [1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0, 0.0],
        );
        close(
            velocity_weights(4, 3, 0.5),
            [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
        );
    }
}
