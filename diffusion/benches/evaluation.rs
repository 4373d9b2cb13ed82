//! One network evaluation at batch 1: by LibTorch without gradients and in inference mode, and by the fused kernels in every
//! precision.
//!
//!     cargo bench -p kinestream-diffusion
//!
//! Random weights: the shipped policy's network, and Diffusion Policy's of 65.8 M parameters. `kinestream bench policy` says
//! more, of trained ones: the floor that the machine sets, cold caches, busy cores. And the perceptrons of the shipped
//! character, for one and for several: `kinestream bench motion` times whole frames.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kinestream_diffusion::executor::{Fused, FusedMlp};
use kinestream_diffusion::network::{Activation, Dimensions, UNetConfig, UNetKind, seeded};
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Denoiser, Mlp, Network, NetworkConfig, Precision};
use kinestream_torch_shim::InferenceMode;
use tch::nn::VarStore;
use tch::{Device, Tensor};

/// Horizon 16, two observations of 20 numbers.
const DIMENSIONS: Dimensions = Dimensions {
    horizon: 16,
    action: 2,
    condition: 40,
    train_timesteps: 100,
};

fn shipped() -> NetworkConfig {
    NetworkConfig::unet(
        UNetKind::PerPosition,
        UNetConfig {
            channels: vec![64, 128, 256],
            level_embedding: 128,
            observation_embedding: 128,
            kernel_size: 3,
            groups: 8,
            activation: Activation::Silu,
            modulation_scale: true,
            ..UNetConfig::default()
        },
    )
}

fn diffusion_policy() -> NetworkConfig {
    let config = UNetConfig::default();
    NetworkConfig::unet(UNetKind::DiffusionPolicy, config)
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

/// The generation module's and the decoder's: sizes, layers, whether they are normalised.
const PERCEPTRONS: [(&str, [i64; 3], usize, bool); 2] = [
    ("generation", [333, 256, 64], 4, false),
    ("decoder", [64, 512, 132], 2, true),
];

fn perceptrons(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    for (name, [inputs, width, outputs], layers, normalised) in PERCEPTRONS {
        let mut store = VarStore::new(Device::Cpu);
        let network = seeded(1, || match normalised {
            true => Mlp::new(&store.root(), inputs, outputs, width, layers),
            false => Mlp::plain(&store.root(), inputs, outputs, width, layers),
        });
        store.freeze();
        for rows in [1, 16, 64, 256] {
            let mut group = criterion.benchmark_group(format!("{name}_{rows}"));
            let input = NoiseStream::new(1).normals(rows * inputs as usize);
            let tensor = Tensor::from_slice(&input).view([rows as i64, inputs]);
            group.bench_function("libtorch", |bencher| {
                let _guard = tch::no_grad_guard();
                bencher.iter(|| black_box(network.forward(&tensor)));
            });
            let mut output = vec![0.0; rows * outputs as usize];
            for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
                match FusedMlp::new(&network, precision) {
                    Ok(mut fused) => {
                        group.bench_function(precision.name(), |bencher| {
                            bencher.iter(|| fused.evaluate(black_box(&input), &mut output));
                        });
                    }
                    Err(error) => eprintln!("{name}, {precision}: {error}"),
                }
            }
        }
    }
}

criterion_group!(benches, evaluations, perceptrons);
criterion_main!(benches);
