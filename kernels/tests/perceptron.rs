//! Perceptrons beside the same in double precision, layer by layer, on every instruction set that this
//! processor has; and rows that do not know one another.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use kinestream_kernels::{Activation, Isa, NamedTensor, Perceptron, PerceptronConfig, Precision};

/// Largest difference of a layer, as a share of its largest number.
const TOLERANCE: f64 = 5e-6;

/// Numbers between -1 and 1 without a pattern, of 8 bits: binary16 holds them and their halves exactly.
fn number(index: usize) -> f32 {
    let mixed = (index as u32 + 1).wrapping_mul(2_654_435_761);
    (mixed >> 23) as f32 / 256.0 - 1.0
}

/// The tensor of a name: its numbers depend on its name and its place.
fn tensor(config: &PerceptronConfig, name: &str) -> NamedTensor<'static> {
    let (layer, part) = name.split_once('.').unwrap();
    let (outputs, inputs) = match layer {
        "input" => (config.width, config.inputs),
        "output" => (config.outputs, config.width),
        _ => (config.width, config.width),
    };
    let shape = match part {
        "weight" => vec![outputs, inputs],
        _ => vec![outputs],
    };
    let seed: usize = name.bytes().map(usize::from).sum();
    // A power of two, so that rounding to binary16 changes nothing.
    let scale = 2.0_f32.powi(-(inputs.ilog2() as i32) / 2);
    let values = (0..shape.iter().product::<usize>()).map(|at| match part {
        "weight" => scale * number(at + 7919 * seed),
        "norm.weight" => 1.0 + 0.5 * number(at + seed),
        _ => 0.5 * number(at + seed),
    });
    NamedTensor {
        shape,
        values: Cow::Owned(values.collect()),
    }
}

fn perceptron(config: &PerceptronConfig) -> Perceptron {
    Perceptron::new(config, &|name| Some(tensor(config, name))).unwrap()
}

/// The state after every layer of one row, in double precision.
fn reference(config: &PerceptronConfig, input: &[f32]) -> Vec<Vec<f64>> {
    let values = |name: String| -> Vec<f64> {
        let tensor = tensor(config, &name);
        tensor.values.iter().copied().map(f64::from).collect()
    };
    let linear = |name: &str, input: &[f64]| -> Vec<f64> {
        let weight = values(format!("{name}.weight"));
        let rows = weight
            .chunks_exact(input.len())
            .zip(values(format!("{name}.bias")));
        rows.map(|(row, bias)| bias + row.iter().zip(input).map(|(w, x)| w * x).sum::<f64>())
            .collect()
    };
    let act = |x: f64| match config.activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
    };
    let input: Vec<f64> = input.iter().copied().map(f64::from).collect();
    let mut state: Vec<f64> = linear("input", &input).into_iter().map(act).collect();
    let mut states = vec![state.clone()];
    for layer in 1..config.layers {
        let seen = match config.normalised {
            false => state.clone(),
            true => {
                let count = state.len() as f64;
                let mean = state.iter().sum::<f64>() / count;
                let variance = state.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                let gamma = values(format!("{layer}.norm.weight"));
                let beta = values(format!("{layer}.norm.bias"));
                (state.iter().zip(gamma.iter().zip(beta)))
                    .map(|(x, (gamma, beta))| (x - mean) / (variance + 1e-5).sqrt() * gamma + beta)
                    .collect()
            }
        };
        let change = linear(&layer.to_string(), &seen);
        (state.iter_mut().zip(change)).for_each(|(x, change)| *x += act(change));
        states.push(state.clone());
    }
    states.push(linear("output", &state));
    states
}

fn config(sizes: [usize; 4], normalised: bool) -> PerceptronConfig {
    let [inputs, width, outputs, layers] = sizes;
    PerceptronConfig {
        inputs,
        outputs,
        width,
        layers,
        normalised,
        activation: Activation::Silu,
        precision: Precision::Fp32,
        isa: Isa::detect(),
    }
}

/// Inputs, width, outputs, layers: round and odd ones, and those whose rows lie next to each other as
/// positions do.
const SIZES: [[usize; 4]; 8] = [
    [64, 128, 64, 3],
    [141, 256, 64, 3],
    [1, 8, 1, 1],
    [2, 33, 2, 2],
    [17, 47, 132, 4],
    [5, 100, 20, 2],
    [333, 80, 37, 5],
    [3, 16, 49, 2],
];

fn inputs(config: &PerceptronConfig, rows: usize) -> Vec<f32> {
    (0..rows * config.inputs)
        .map(|at| 2.0 * number(at + 31))
        .collect()
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

#[test]
fn every_layer_is_that_of_double_precision() {
    let mut worst = 0.0_f64;
    for sizes in SIZES {
        for normalised in [false, true] {
            for activation in [Activation::Silu, Activation::Mish] {
                for rows in [1, 2, 5] {
                    let config = PerceptronConfig {
                        activation,
                        ..config(sizes, normalised)
                    };
                    let input = inputs(&config, rows);
                    let expected: Vec<Vec<Vec<f64>>> = (input.chunks_exact(config.inputs))
                        .map(|row| reference(&config, row))
                        .collect();
                    for isa in available() {
                        for precision in [Precision::Fp32, Precision::Fp16] {
                            let config = PerceptronConfig {
                                isa,
                                precision,
                                ..config.clone()
                            };
                            worst = worst.max(distance(&config, &input, &expected));
                        }
                    }
                }
            }
        }
    }
    println!("layers within {worst:.1e} of their largest number");
}

/// The largest difference of a layer, as a share of its largest number.
fn distance(config: &PerceptronConfig, input: &[f32], expected: &[Vec<Vec<f64>>]) -> f64 {
    let mut network = perceptron(config);
    let mut output = vec![f32::NAN; expected.len() * config.outputs];
    let mut worst = 0.0_f64;
    let mut layer = 0;
    network.evaluate_observed(input, &mut output, &mut |name, width, found| {
        let expected: Vec<f64> = (expected.iter())
            .flat_map(|layers| layers[layer].iter().copied())
            .collect();
        assert_eq!(found.len(), expected.len());
        assert_eq!(width, expected.len() / (input.len() / config.inputs));
        let largest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let differences = found.iter().zip(&expected);
        let difference = differences
            .map(|(found, expected)| (f64::from(*found) - expected).abs())
            .fold(0.0_f64, f64::max);
        let share = difference / largest.max(1.0);
        assert!(share <= TOLERANCE, "{config:?} {name}: {share:e}");
        worst = worst.max(share);
        layer += 1;
    });
    assert_eq!(layer, config.layers + 1);
    let mut again = vec![f32::NAN; output.len()];
    network.evaluate(input, &mut again);
    assert_eq!(output, again);
    worst
}

#[test]
fn weights_of_one_byte_stay_close() {
    for sizes in SIZES {
        for normalised in [false, true] {
            let config = PerceptronConfig {
                precision: Precision::Int8,
                ..config(sizes, normalised)
            };
            let input = inputs(&config, 1);
            let expected = reference(&config, &input);
            let expected = expected.last().unwrap();
            let square: f64 = expected.iter().map(|x| x * x).sum();
            for isa in available() {
                let config = PerceptronConfig {
                    isa,
                    ..config.clone()
                };
                let mut output = vec![0.0; config.outputs];
                perceptron(&config).evaluate(&input, &mut output);
                let differences = output.iter().zip(expected);
                let difference: f64 = differences
                    .map(|(found, expected)| (f64::from(*found) - expected).powi(2))
                    .sum();
                let error = (difference / square).sqrt();
                assert!(error < 3e-2, "{config:?}: {error:e}");
            }
        }
    }
}

#[test]
fn a_row_does_not_know_its_neighbours() {
    for sizes in SIZES {
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            for isa in available() {
                let config = PerceptronConfig {
                    precision,
                    isa,
                    ..config(sizes, true)
                };
                let mut network = perceptron(&config);
                let all = inputs(&config, 37);
                let mut alone = vec![0.0; 37 * config.outputs];
                for (row, output) in
                    (all.chunks_exact(config.inputs)).zip(alone.chunks_exact_mut(config.outputs))
                {
                    network.evaluate(row, output);
                }
                for rows in [1, 2, 3, 4, 7, 8, 15, 16, 17, 37] {
                    let mut together = vec![0.0; rows * config.outputs];
                    network.evaluate(&all[..rows * config.inputs], &mut together);
                    assert_eq!(together, alone[..together.len()], "{config:?}, {rows} rows");
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let good = config([4, 8, 2, 2], true);
    let message = |config: &PerceptronConfig, missing: &str| {
        let weights = |name: &str| (name != missing).then(|| tensor(&good, name));
        Perceptron::new(config, &weights).unwrap_err().to_string()
    };
    assert_eq!(
        message(&good, "1.norm.bias"),
        "tensor `1.norm.bias` [8] is missing"
    );
    let wider = PerceptronConfig {
        outputs: 3,
        ..good.clone()
    };
    let found = message(&wider, "");
    assert_eq!(found, "tensor `output.weight` is [2, 8], expected [3, 8]");
    let none = PerceptronConfig {
        layers: 0,
        ..good.clone()
    };
    assert_eq!(message(&none, ""), "layers is 0, expected at least 1");
}
