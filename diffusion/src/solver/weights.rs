//! Quadrature weights: what the outputs at some nodes are worth when the polynomial through them is
//! integrated over a step.

/// Most nodes of a formula.
pub(super) const NODES: usize = 4;

/// Weights of the nodes in z int_0^1 e^{-z (1 - v)} P(v) dv with P the polynomial through them: the
/// exponential integrator of DPM-Solver and UniPC. Nodes are counted from the beginning of the step
/// (0) in steps (its end is 1).
pub(super) fn exponential(z: f64, nodes: &[f64]) -> [f64; NODES] {
    let moments = moments(z);
    each(nodes, |polynomial| {
        polynomial.iter().zip(moments).map(|(c, m)| c * m).sum()
    })
}

/// The same for two nodes, 0 and `node`, with the output in the middle of the step taken for that
/// of the whole: of order 2 as well, and what DPM-Solver's papers choose. Returns the weight of
/// the difference of the outputs.
pub(super) fn midpoint(z: f64, node: f64) -> f64 {
    -(-z).exp_m1() / (2.0 * node)
}

/// Weights of the nodes in the integral of the polynomial through them over a curve that is given
/// by the ends of straight pieces: places `at` of the polynomial's variable, rising or falling, and
/// the curve's value there.
pub(super) fn along(curve: impl Iterator<Item = (f64, f64)>, nodes: &[f64]) -> [f64; NODES] {
    let curve: Vec<_> = curve.collect();
    each(nodes, |polynomial| {
        let value = |at: f64| polynomial.iter().rev().fold(0.0, |sum, c| sum * at + c);
        let pieces = curve.windows(2).map(|ends| {
            let [(from, before), (to, after)] = [ends[0], ends[1]];
            // Two points of Gauss: exact for cubic polynomials.
            let (middle, half) = ((from + to) / 2.0, (to - from) / 2.0);
            let offset = half / 3.0_f64.sqrt();
            (after - before) * (value(middle - offset) + value(middle + offset)) / 2.0
        });
        pieces.sum()
    })
}

/// Weights of Adams and Bashforth for 1 to 4 evenly spaced outputs, the newest first.
pub(super) fn adams_bashforth(outputs: usize) -> [f64; NODES] {
    match outputs {
        0 | 1 => [1.0, 0.0, 0.0, 0.0],
        2 => [3.0 / 2.0, -1.0 / 2.0, 0.0, 0.0],
        3 => [23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0, 0.0],
        _ => [55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    }
}

/// A number for every node, from the coefficients (constant first) of the polynomial that is 1
/// there and 0 at the other nodes.
fn each(nodes: &[f64], number: impl Fn(&[f64; NODES]) -> f64) -> [f64; NODES] {
    let mut numbers = [0.0; NODES];
    for (index, node) in nodes.iter().enumerate().take(NODES) {
        let mut polynomial = [1.0, 0.0, 0.0, 0.0];
        for (_, other) in nodes.iter().enumerate().filter(|(at, _)| *at != index) {
            // Times (v - other) / (node - other).
            let lower = [0.0, polynomial[0], polynomial[1], polynomial[2]];
            for (c, below) in polynomial.iter_mut().zip(lower) {
                *c = (below - other * *c) / (node - other);
            }
        }
        numbers[index] = number(&polynomial);
    }
    numbers
}

/// z int_0^1 e^{-z (1 - v)} v^n dv for n from 0 to 3.
fn moments(z: f64) -> [f64; NODES] {
    let mut moments = [-(-z).exp_m1(); NODES];
    for power in 1..NODES {
        let n = power as f64;
        moments[power] = if z.abs() < 2.0 {
            // The recursion divides by z; its series sum_k (-z)^k n! / (n + k + 1)! does not.
            let (mut term, mut sum) = (1.0 / (n + 1.0), 0.0);
            for k in 0..30 {
                sum += term;
                term *= -z / (n + f64::from(k) + 2.0);
            }
            z * sum
        } else {
            1.0 - n / z * moments[power - 1]
        };
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simpson's rule, as a second opinion.
    fn simpson(function: impl Fn(f64) -> f64) -> f64 {
        let count = 2000;
        let sum: f64 = (0..=count)
            .map(|index| {
                let factor = match index {
                    0 => 1.0,
                    index if index == count => 1.0,
                    index if index % 2 == 1 => 4.0,
                    _ => 2.0,
                };
                factor * function(f64::from(index) / f64::from(count))
            })
            .sum();
        sum / (3.0 * f64::from(count))
    }

    #[test]
    fn moments_are_integrals_whatever_the_length_of_the_step() {
        for z in [-9.0, -2.01, -1.99, -0.3, -1e-4, 1e-4, 0.3, 1.99, 2.01, 9.0] {
            for (power, moment) in moments(z).into_iter().enumerate() {
                let expected = z * simpson(|v| (-z * (1.0 - v)).exp() * v.powi(power as i32));
                let error = (moment - expected).abs() / expected.abs();
                assert!(error < 1e-9, "{z} {power}: {moment} {expected}");
            }
        }
    }

    #[test]
    fn polynomials_through_the_nodes_are_integrated_exactly() {
        let cubic = |v: f64| 2.0 - v + 0.5 * v * v + 3.0 * v.powi(3);
        let nodes = [0.0, -0.7, -1.9, 1.0];
        for z in [-1.2, 0.4, 3.0] {
            let weights = exponential(z, &nodes);
            let sum: f64 = weights.iter().zip(nodes).map(|(w, v)| w * cubic(v)).sum();
            let expected = z * simpson(|v| (-z * (1.0 - v)).exp() * cubic(v));
            assert!((sum - expected).abs() < 1e-9, "{z}: {sum} {expected}");
        }
        // Along a curve of two straight pieces.
        let weights = along([(0.0, 1.0), (0.4, 3.0), (1.0, 2.0)].into_iter(), &nodes);
        let sum: f64 = weights.iter().zip(nodes).map(|(w, v)| w * cubic(v)).sum();
        let expected = 2.0 * simpson(|u| cubic(0.4 * u)) - simpson(|u| cubic(0.4 + 0.6 * u));
        assert!((sum - expected).abs() < 1e-9, "{sum} {expected}");
    }

    #[test]
    fn short_steps_have_the_weights_of_adams_and_bashforth() {
        let nodes = [0.0, -1.0, -2.0, -3.0];
        for count in 1..=4 {
            let expected = adams_bashforth(count);
            for (weight, expected) in exponential(1e-7, &nodes[..count]).iter().zip(expected) {
                assert!((weight / 1e-7 - expected).abs() < 1e-5, "{count}");
            }
        }
    }
}
