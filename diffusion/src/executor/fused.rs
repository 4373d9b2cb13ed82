//! The fused kernels behind the denoiser's face.

use std::borrow::Cow;
use std::cell::RefCell;

use kinestream_kernels as kernels;
use kinestream_kernels::{Isa, NamedTensor, Precision};
use tch::{Kind, Tensor};

use crate::network::{Activation, Dimensions, UNetKind};
use crate::{Denoiser, Error, Network, Result};

/// A network whose weights were packed for the fused kernels.
///
/// Plans of a batch are evaluated one after the other.
pub struct Fused {
    unet: RefCell<kernels::UNet>,
    dimensions: Dimensions,
    takes_levels_per_position: bool,
}

impl Fused {
    /// Packs the weights of a network on the CPU, which is not needed afterwards.
    ///
    /// # Errors
    /// A network that the kernels do not know, a weight that the precision cannot hold, no memory or
    /// no thread.
    pub fn new(network: &Network, precision: Precision, threads: usize) -> Result<Self> {
        let dimensions = network.dimensions();
        let size = |value: i64| value as usize;
        let Some(unet) = network.unet() else {
            return Err(Error::Config {
                key: "network.kind",
                found: network.config().kind().into(),
                expected: "a U-Net; executor libtorch runs the others".into(),
            });
        };
        let sizes = unet.config();
        if sizes.local_observation_steps.is_some() {
            return Err(Error::Config {
                key: "network.local_observation_steps",
                found: "set".into(),
                expected: "absent; executor libtorch runs such networks".into(),
            });
        }
        let config = kernels::UNetConfig {
            kind: match unet.kind() {
                UNetKind::DiffusionPolicy => kernels::UNetKind::DiffusionPolicy,
                UNetKind::StreamingDiffusionPolicy => kernels::UNetKind::StreamingDiffusionPolicy,
                UNetKind::PerPosition => kernels::UNetKind::PerPosition,
            },
            channels: sizes.channels.iter().copied().map(size).collect(),
            level_embedding: size(sizes.level_embedding),
            observation_embedding: size(sizes.observation_embedding),
            kernel_size: size(sizes.kernel_size),
            groups: size(sizes.groups),
            activation: match sizes.activation {
                Activation::Mish => kernels::Activation::Mish,
                Activation::Silu => kernels::Activation::Silu,
            },
            modulation_scale: sizes.modulation_scale,
            horizon: size(dimensions.horizon),
            action: size(dimensions.action),
            condition: size(dimensions.condition),
            precision,
            threads,
            isa: Isa::detect(),
        };
        let variables = network.store().variables();
        let unet = kernels::UNet::new(&config, &|name| {
            let tensor = variables.get(name)?.detach().to_kind(Kind::Float);
            Some(NamedTensor {
                shape: tensor.size().into_iter().map(size).collect(),
                values: Cow::Owned(Vec::try_from(tensor.flatten(0, -1)).ok()?),
            })
        })?;
        Ok(Self {
            unet: RefCell::new(unet),
            dimensions,
            takes_levels_per_position: network.takes_levels_per_position(),
        })
    }
}

impl Fused {
    /// Number format of the weights.
    pub fn precision(&self) -> Precision {
        self.unet.borrow().precision()
    }

    /// Bytes of weights that an evaluation of one plan reads.
    pub fn bytes(&self) -> usize {
        self.unet.borrow().bytes()
    }

    /// Multiplications of an evaluation of one plan.
    pub fn multiplications(&self) -> usize {
        self.unet.borrow().multiplications()
    }
}

impl Denoiser for Fused {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let rows = sample.size()[0] as usize;
        let Dimensions {
            horizon,
            action,
            condition: width,
            ..
        } = self.dimensions;
        let numbers = |tensor: &Tensor, width: i64| {
            let mut numbers = vec![0.0; rows * width as usize];
            tensor.copy_data(&mut numbers, rows * width as usize);
            numbers
        };
        let plans = numbers(sample, horizon * action);
        let mut levels = vec![0_i64; rows * horizon as usize];
        timesteps.copy_data(&mut levels, rows * horizon as usize);
        let mut output = vec![0.0; plans.len()];
        self.evaluate_on_host(&plans, &levels, &numbers(condition, width), &mut output);
        Tensor::from_slice(&output).view([rows as i64, horizon, action])
    }

    fn evaluate_on_host(
        &self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
    ) -> bool {
        let Dimensions {
            horizon,
            action,
            condition: width,
            ..
        } = self.dimensions;
        let (horizon, plan) = (horizon as usize, (horizon * action) as usize);
        let mut unet = self.unet.borrow_mut();
        for (((sample, timesteps), condition), output) in sample
            .chunks_exact(plan)
            .zip(timesteps.chunks_exact(horizon))
            .zip(condition.chunks_exact(width as usize))
            .zip(output.chunks_exact_mut(plan))
        {
            unet.evaluate(sample, timesteps, condition, output);
        }
        true
    }

    fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    fn takes_levels_per_position(&self) -> bool {
        self.takes_levels_per_position
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::NetworkConfig;
    use crate::network::UNetConfig;
    use crate::noise::NoiseStream;

    /// Largest difference between the two executors on random weights and inputs.
    fn difference(config: &NetworkConfig, precision: Precision, threads: usize) -> f64 {
        let dimensions = Dimensions {
            horizon: 16,
            action: 3,
            condition: 10,
            train_timesteps: 100,
        };
        let mut network = Network::new(config, dimensions, Device::Cpu, 5).unwrap();
        network.freeze();
        let fused = Fused::new(&network, precision, threads).unwrap();
        let mut random = NoiseStream::new(7);
        let mut tensor = |shape: [i64; 3]| {
            let numbers = random.normals(shape.iter().product::<i64>() as usize);
            Tensor::from_slice(&numbers).view(shape)
        };
        let mut worst = 0.0_f64;
        for offset in 0..3 {
            let sample = tensor([2, 16, 3]);
            let condition = tensor([1, 2, 10]).view([2, 10]);
            let timesteps: Vec<i64> = (0..32).map(|at| (at * 3 + offset) % 101 - 1).collect();
            let timesteps = Tensor::from_slice(&timesteps).view([2, 16]);
            let of = |network: &dyn Denoiser| {
                tch::no_grad(|| network.evaluate(&sample, &timesteps, &condition))
            };
            let difference = (of(&fused) - of(&network)).abs().max();
            worst = worst.max(f64::try_from(difference).unwrap());
        }
        worst
    }

    fn sizes() -> UNetConfig {
        UNetConfig {
            channels: vec![32, 48, 64],
            level_embedding: 16,
            observation_embedding: 24,
            kernel_size: 3,
            groups: 8,
            activation: Activation::Silu,
            modulation_scale: true,
            ..UNetConfig::default()
        }
    }

    #[test]
    fn all_kinds_agree_with_libtorch() {
        for kind in [
            UNetKind::DiffusionPolicy,
            UNetKind::StreamingDiffusionPolicy,
            UNetKind::PerPosition,
        ] {
            for activation in [Activation::Silu, Activation::Mish] {
                for scale in [true, false] {
                    let sizes = UNetConfig {
                        activation,
                        modulation_scale: scale,
                        ..sizes()
                    };
                    let config = NetworkConfig::unet(kind, sizes);
                    for threads in [1, 2] {
                        let found = difference(&config, Precision::Fp32, threads);
                        assert!(found < 5e-6, "{config:?}: {found:e}");
                    }
                    let found = difference(&config, Precision::Fp16, 1);
                    assert!(found < 5e-3, "{config:?} fp16: {found:e}");
                    let found = difference(&config, Precision::Int8, 1);
                    assert!(found < 0.1, "{config:?} int8: {found:e}");
                }
            }
        }
    }

    #[test]
    fn odd_sizes_agree_too() {
        // One stage; channels that fill no vector; many groups; a wide kernel.
        for (channels, groups, kernel_size) in [
            (vec![24], 3, 5),
            (vec![20, 36], 4, 7),
            (vec![128, 16], 2, 1),
            (vec![8, 24, 40, 56], 8, 3),
        ] {
            let sizes = UNetConfig {
                channels,
                groups,
                kernel_size,
                ..sizes()
            };
            let config = NetworkConfig::unet(UNetKind::PerPosition, sizes);
            let found = difference(&config, Precision::Fp32, 2);
            assert!(found < 5e-6, "{config:?}: {found:e}");
        }
    }
}
