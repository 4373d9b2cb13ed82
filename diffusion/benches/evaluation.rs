//! One network evaluation at batch 1: by LibTorch without gradients and in inference mode, and by the fused kernels in every
//! precision.
//!
//!     cargo bench -p kinestream-diffusion
//!
//! Random weights: the shipped policy's network, and Diffusion Policy's of 65.8 M parameters. `kinestream bench policy` says
//! more, of trained ones: the floor that the machine sets, cold caches, busy cores.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kinestream_diffusion::executor::Fused;
use kinestream_diffusion::network::{Activation, Dimensions, NetworkKind};
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Denoiser, Network, NetworkConfig, Precision};
use kinestream_torch_shim::InferenceMode;
use tch::{Device, Tensor};

/// Horizon 16, two observations of 20 numbers.
const DIMENSIONS: Dimensions = Dimensions {
    horizon: 16,
    action: 2,
    condition: 40,
    train_timesteps: 100,
};

fn shipped() -> NetworkConfig {
    NetworkConfig {
        transformer: None,
        script: None,
        local_observation_steps: None,
        kind: NetworkKind::PerPosition,
        channels: vec![64, 128, 256],
        level_embedding: 128,
        observation_embedding: 128,
        kernel_size: 3,
        groups: 8,
        activation: Activation::Silu,
        modulation_scale: true,
    }
}

fn diffusion_policy() -> NetworkConfig {
    NetworkConfig {
        kind: NetworkKind::DiffusionPolicy,
        channels: vec![256, 512, 1024],
        level_embedding: 256,
        kernel_size: 5,
        activation: Activation::Mish,
        ..shipped()
    }
}

fn evaluations(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    for (name, config) in [
        ("shipped", shipped()),
        ("diffusion_policy", diffusion_policy()),
    ] {
        let mut group = criterion.benchmark_group(name);
        let Ok(mut network) = Network::new(&config, DIMENSIONS, Device::Cpu, 1) else {
            eprintln!("{name}: the network cannot be built");
            continue;
        };
        network.freeze();
        let mut random = NoiseStream::new(1);
        let sample = Tensor::from_slice(&random.normals(32)).view([1, 16, 2]);
        let condition = Tensor::from_slice(&random.normals(40)).view([1, 40]);
        let levels = match network.takes_levels_per_position() {
            true => (0..16).map(|at| (at + 1) * 100 / 16 - 1).collect(),
            false => vec![99; 16],
        };
        let timesteps = Tensor::from_slice::<i64>(&levels).view([1, 16]);
        group.bench_function("libtorch_inference_mode", |bencher| {
            let Ok(_mode) = InferenceMode::enter() else {
                return;
            };
            bencher.iter(|| black_box(network.evaluate(&sample, &timesteps, &condition)));
        });
        let mut measure = |label: &str, denoiser: &dyn Denoiser| {
            group.bench_function(label, |bencher| {
                let _guard = tch::no_grad_guard();
                bencher.iter(|| black_box(denoiser.evaluate(&sample, &timesteps, &condition)));
            });
        };
        measure("libtorch", &network);
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            match Fused::new(&network, precision, 1) {
                Ok(fused) => measure(precision.name(), &fused),
                Err(error) => eprintln!("{name}, {precision}: {error}"),
            }
        }
    }
}

criterion_group!(benches, evaluations);
criterion_main!(benches);
