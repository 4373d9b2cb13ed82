//! An evaluation with known noise levels and a known observation uses no heap.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use kinestream_control::allocations::{CountingAllocator, is_counting, thread_allocations};
use kinestream_kernels::{
    Activation, Isa, NamedTensor, Perceptron, PerceptronConfig, Precision, UNet, UNetConfig,
    UNetKind,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A small network whose weights are drawn from a formula: any shape that is asked for is there.
fn network(kind: UNetKind, threads: usize) -> UNet {
    let config = UNetConfig {
        kind,
        channels: vec![32, 64],
        level_embedding: 16,
        observation_embedding: 16,
        kernel_size: 3,
        groups: 8,
        activation: Activation::Silu,
        modulation_scale: true,
        horizon: 8,
        action: 2,
        condition: 6,
        precision: Precision::Fp16,
        threads,
        isa: Isa::detect(),
    };
    UNet::new(&config, &|name| {
        let shape = shape_of(name, kind);
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 500.0);
        Some(NamedTensor {
            shape,
            values: Cow::Owned(values.collect()),
        })
    })
    .unwrap()
}

/// The shape of a tensor of the network above.
fn shape_of(name: &str, kind: UNetKind) -> Vec<usize> {
    let weight = name.ends_with("weight");
    let stage = |channels: [usize; 2]| -> Vec<usize> {
        let [inputs, outputs] = channels;
        let shape: &[usize] = if name.contains("blocks.0.block.0") {
            &[outputs, inputs, 3]
        } else if name.contains("blocks.1.block.0") || name.contains("final_conv.0.block.0") {
            &[outputs, outputs, 3]
        } else if name.contains("block.1.") {
            &[outputs]
        } else if name.contains("cond_encoder") {
            &[2 * outputs, 22]
        } else if name.contains("level_encoder") || name.contains("observation_encoder") {
            &[2 * outputs, 16]
        } else {
            &[outputs, inputs, 1]
        };
        shape[..if weight { shape.len() } else { 1 }].to_vec()
    };
    let plain = |shape: &[usize]| shape[..if weight { shape.len() } else { 1 }].to_vec();
    let sinusoids = match kind {
        UNetKind::StreamingDiffusionPolicy => 8 * 16,
        _ => 16,
    };
    match name.rsplit_once('.').map_or("", |(path, _)| path) {
        "diffusion_step_encoder.1" => plain(&[64, sinusoids]),
        "diffusion_step_encoder.3" if kind == UNetKind::StreamingDiffusionPolicy => {
            plain(&[64, sinusoids])
        }
        "diffusion_step_encoder.3" | "diffusion_step_encoder.5" => plain(&[16, 64]),
        "observation_encoder.0" => plain(&[32, 6]),
        "observation_encoder.2" => plain(&[16, 32]),
        "down_modules.0.2.conv" => plain(&[32, 32, 3]),
        "up_modules.0.2.conv" => plain(&[32, 32, 4]),
        "final_conv.1" => plain(&[2, 32, 1]),
        path if path.starts_with("down_modules.0.0") => stage([2, 32]),
        path if path.starts_with("down_modules.0.1") => stage([32, 32]),
        path if path.starts_with("down_modules.1.0") => stage([32, 64]),
        path if path.starts_with("up_modules.0.0") => stage([128, 32]),
        path if path.starts_with("up_modules.0.1") || path.starts_with("final") => stage([32, 32]),
        _ => stage([64, 64]),
    }
}

#[test]
fn an_evaluation_uses_no_heap() {
    assert!(is_counting());
    for kind in [
        UNetKind::DiffusionPolicy,
        UNetKind::StreamingDiffusionPolicy,
        UNetKind::PerPosition,
    ] {
        for threads in [1, 2] {
            let mut network = network(kind, threads);
            let mut output = [0.0; 16];
            let mut run = |round: usize| {
                let sample: [f32; 16] = std::array::from_fn(|at| ((at + round) as f32 * 0.7).sin());
                let timesteps: [i64; 8] = std::array::from_fn(|at| (at + round % 4) as i64);
                // A new observation every time, as in control.
                let condition = [round as f32; 6];
                network.evaluate(&sample, &timesteps, &condition, &mut output);
                output.iter().all(|value| value.is_finite())
            };
            // The tables fill up.
            assert!((0..20).all(&mut run));
            let before = thread_allocations();
            assert!((20..200).all(&mut run));
            assert_eq!(
                thread_allocations() - before,
                0,
                "{kind:?}, {threads} threads"
            );
        }
    }
}

#[test]
fn a_perceptron_uses_no_heap_at_all() {
    assert!(is_counting());
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        let config = PerceptronConfig {
            inputs: 20,
            outputs: 10,
            width: 40,
            layers: 3,
            normalised: true,
            activation: Activation::Silu,
            precision,
            isa: Isa::detect(),
        };
        let mut network = Perceptron::new(&config, &|name| {
            let shape = match name {
                "input.weight" => vec![40, 20],
                "output.weight" => vec![10, 40],
                "output.bias" => vec![10],
                "1.weight" | "2.weight" => vec![40, 40],
                _ => vec![40],
            };
            let values = vec![0.1; shape.iter().product()];
            Some(NamedTensor {
                shape,
                values: Cow::Owned(values),
            })
        })
        .unwrap();
        let (input, mut output) = ([0.5; 60], [0.0; 30]);
        let before = thread_allocations();
        for rows in [1, 3, 2] {
            network.evaluate(&input[..rows * 20], &mut output[..rows * 10]);
        }
        assert_eq!(thread_allocations() - before, 0, "{precision}");
        assert!(output.iter().all(|value| value.is_finite()));
    }
}
