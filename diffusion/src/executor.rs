//! Which program evaluates a network: LibTorch, LibTorch with its evaluations captured, or the fused kernels on the CPU, which
//! take U-Nets one plan at a time and perceptrons in any number of rows.

mod captured;
mod fused;
mod perceptron;

use tch::{Device, Tensor};

pub use captured::Captured;
pub use fused::Fused;
pub use kinestream_kernels::{Executor, Precision};
pub use perceptron::FusedMlp;

use crate::noise::NoiseStream;
use crate::{Denoiser, Error, Mlp, Network, Result};

/// Relative error of an evaluation up to which weights of one byte are admitted, root mean square
/// over root mean square.
pub const ADMITTED_ERROR: f64 = 1.2e-2;

/// How a network is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// Which program.
    pub executor: Executor,
    /// Number format of the fused kernels' weights.
    pub precision: Precision,
    /// Threads of the fused kernels, the caller's among them; those of LibTorch are set for the
    /// whole process.
    pub threads: usize,
}

impl Execution {
    /// LibTorch.
    pub const LIBTORCH: Self = Self {
        executor: Executor::LibTorch,
        precision: Precision::Fp32,
        threads: 1,
    };

    /// What a policy runs on where nothing else is said.
    pub fn auto(threads: usize) -> Self {
        Self {
            executor: Executor::default(),
            precision: Precision::default(),
            threads,
        }
    }

    /// Perceptrons on `device` as the fused kernels run them, one for each, or none where LibTorch is to
    /// run them.
    ///
    /// # Errors
    /// As [`Self::denoiser`].
    pub fn perceptrons(&self, networks: &[&Mlp], device: Device) -> Result<Option<Vec<FusedMlp>>> {
        let fused = || -> Result<Vec<FusedMlp>> {
            if device != Device::Cpu {
                return Err(not_here(device));
            }
            let packed = networks
                .iter()
                .map(|network| FusedMlp::new(network, self.precision));
            packed.collect()
        };
        let mut fused = match self.executor {
            Executor::LibTorch | Executor::Graph => return Ok(None),
            Executor::Fused => fused()?,
            Executor::Auto => match fused() {
                Ok(fused) => fused,
                Err(_) => return Ok(None),
            },
        };
        if self.precision == Precision::Int8 {
            for (fused, network) in fused.iter_mut().zip(networks) {
                admit(fused.relative_error(network)?)?;
            }
        }
        Ok(Some(fused))
    }

    /// A frozen network on `device` as what evaluates it, and which program that is.
    ///
    /// # Errors
    /// The fused kernels were asked for, and do not run on this device or do not know the network;
    /// or weights of one byte, and they change what it tells by more than [`ADMITTED_ERROR`]; or
    /// graphs, and the network cannot be captured.
    pub fn denoiser(
        &self,
        network: Network,
        device: Device,
    ) -> Result<(Box<dyn Denoiser>, Executor)> {
        let fused = || -> Result<Fused> {
            if device != Device::Cpu {
                return Err(not_here(device));
            }
            Fused::new(&network, self.precision, self.threads)
        };
        let fused = match self.executor {
            Executor::LibTorch => None,
            Executor::Fused => Some(fused()?),
            Executor::Auto if matches!(device, Device::Cuda(_)) => {
                return Ok(captured_if_possible(network, device));
            }
            Executor::Auto => fused().ok(),
            Executor::Graph => {
                let captured = Captured::new(network, device).map_err(|error| Error::Config {
                    key: "executor",
                    found: format!("graph, and the network cannot be captured ({error})"),
                    expected: "auto or libtorch".into(),
                })?;
                return Ok((Box::new(captured), Executor::Graph));
            }
        };
        let Some(fused) = fused else {
            return Ok((Box::new(network), Executor::LibTorch));
        };
        if self.precision == Precision::Int8 {
            let error = relative_error(&fused, &network)?;
            admit(error)?;
        }
        Ok((Box::new(fused), Executor::Fused))
    }
}

/// Graphs where they can be, else LibTorch, and a warning that says why.
fn captured_if_possible(network: Network, device: Device) -> (Box<dyn Denoiser>, Executor) {
    let captured = Captured::uncaptured(network, device);
    let executor = match captured.capture(1) {
        Ok(()) => Executor::Graph,
        Err(error) => {
            tracing::warn!("no CUDA graphs, LibTorch evaluates the network: {error}");
            Executor::LibTorch
        }
    };
    (Box::new(captured), executor)
}

/// The refusal of the fused kernels on a device that is no CPU.
fn not_here(device: Device) -> Error {
    Error::Config {
        key: "executor",
        found: format!("fused with device {device:?}"),
        expected: "auto or libtorch, or device cpu".into(),
    }
}

/// Refuses weights of one byte that change what a network tells by more than [`ADMITTED_ERROR`].
fn admit(error: f64) -> Result<()> {
    if error <= ADMITTED_ERROR {
        return Ok(());
    }
    Err(Error::Config {
        key: "precision",
        found: format!(
            "int8, which changes this network's output by {:.2} %",
            100.0 * error
        ),
        expected: format!("at most {:.1} %; write fp16", 100.0 * ADMITTED_ERROR),
    })
}

/// How far one denoiser's outputs are from another's, root mean square over root mean square, on
/// plans and conditions of random numbers at levels that rise along the plan and at one level.
///
/// # Errors
/// LibTorch's.
pub fn relative_error(found: &dyn Denoiser, reference: &dyn Denoiser) -> Result<f64> {
    const TRIALS: i64 = 8;
    let sizes = reference.dimensions();
    let mut random = NoiseStream::new(0x0e11_0e11);
    let mut tensor = |shape: &[i64]| {
        let numbers = random.normals(shape.iter().product::<i64>() as usize);
        Tensor::from_slice(&numbers).view(shape)
    };
    let (mut difference, mut whole) = (0.0, 0.0);
    for trial in 0..TRIALS {
        let sample = tensor(&[1, sizes.horizon, sizes.action]);
        let condition = tensor(&[1, sizes.condition]).clamp(-1.0, 1.0);
        let last = sizes.train_timesteps - 1;
        let timesteps: Vec<i64> = (0..sizes.horizon)
            .map(|at| match trial % 2 {
                0 => last * (trial + 1) / TRIALS,
                _ => (last * (at + 1) / sizes.horizon - trial).max(0),
            })
            .collect();
        let level = timesteps[0];
        let timesteps: Vec<i64> = match reference.takes_levels_per_position() {
            true => timesteps,
            false => vec![level; timesteps.len()],
        };
        let timesteps = Tensor::from_slice(&timesteps).view([1, -1]);
        let of = |network: &dyn Denoiser| {
            tch::no_grad(|| network.evaluate(&sample, &timesteps, &condition))
        };
        let (found, expected) = (of(found), of(reference));
        let square = |tensor: &Tensor| f64::try_from(tensor.square().sum(tch::Kind::Double));
        difference += square(&(found - &expected))?;
        whole += square(&expected)?;
    }
    Ok((difference / whole.max(f64::MIN_POSITIVE)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkConfig;
    use crate::network::{Dimensions, UNetConfig, UNetKind};

    #[test]
    fn each_executor_is_chosen_by_its_name() {
        let sizes = Dimensions {
            horizon: 8,
            action: 2,
            condition: 6,
            train_timesteps: 100,
        };
        let config = NetworkConfig::unet(
            UNetKind::PerPosition,
            UNetConfig {
                channels: vec![16, 32],
                level_embedding: 16,
                observation_embedding: 16,
                kernel_size: 3,
                groups: 8,
                activation: Default::default(),
                modulation_scale: true,
                ..UNetConfig::default()
            },
        );
        for (name, chosen) in [
            ("auto", Executor::Fused),
            ("libtorch", Executor::LibTorch),
            ("fused", Executor::Fused),
            ("graph", Executor::Graph),
        ] {
            let executor: Executor = name.parse().unwrap();
            assert_eq!(executor.to_string(), name);
            let execution = Execution {
                executor,
                ..Execution::LIBTORCH
            };
            let mut network = Network::new(&config, sizes, Device::Cpu, 1).unwrap();
            network.freeze();
            let (_, found) = execution.denoiser(network, Device::Cpu).unwrap();
            assert_eq!(found, chosen, "{name}");
        }
        assert!("gpu".parse::<Executor>().unwrap_err().contains("graph"));
    }
}
