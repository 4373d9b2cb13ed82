//! Which program evaluates a network: LibTorch, or the fused kernels for one plan at a time on the
//! CPU.

mod fused;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

pub use fused::Fused;
pub use kinestream_kernels::Precision;

use crate::noise::NoiseStream;
use crate::{Denoiser, Error, Network, Result};

/// Relative error of an evaluation up to which weights of one byte are admitted, root mean square
/// over root mean square.
pub const ADMITTED_ERROR: f64 = 1.2e-2;

/// A program that evaluates networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// The fused kernels on the CPU where they know the network, LibTorch otherwise. The choice
    /// depends on device and checkpoint alone.
    #[default]
    Auto,
    /// LibTorch: any device, any network, any number of plans at once.
    LibTorch,
    /// The fused kernels: one plan after the other on the CPU.
    Fused,
}

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

    /// A frozen network on `device` as what evaluates it, and which program that is.
    ///
    /// # Errors
    /// The fused kernels were asked for, and do not run on this device or do not know the network;
    /// or weights of one byte, and they change what it tells by more than [`ADMITTED_ERROR`].
    pub fn denoiser(
        &self,
        network: Network,
        device: Device,
    ) -> Result<(Box<dyn Denoiser>, Executor)> {
        let fused = || -> Result<Fused> {
            if device != Device::Cpu {
                return Err(Error::Config {
                    key: "executor",
                    found: format!("fused with device {device:?}"),
                    expected: "auto or libtorch, or device cpu".into(),
                });
            }
            Fused::new(&network, self.precision, self.threads)
        };
        let fused = match self.executor {
            Executor::LibTorch => None,
            Executor::Fused => Some(fused()?),
            Executor::Auto => fused().ok(),
        };
        let Some(fused) = fused else {
            return Ok((Box::new(network), Executor::LibTorch));
        };
        if self.precision == Precision::Int8 {
            let error = relative_error(&fused, &network)?;
            if error > ADMITTED_ERROR {
                return Err(Error::Config {
                    key: "precision",
                    found: format!(
                        "int8, which changes this network's output by {:.2} %",
                        100.0 * error
                    ),
                    expected: format!("at most {:.1} %; write fp16", 100.0 * ADMITTED_ERROR),
                });
            }
        }
        Ok((Box::new(fused), Executor::Fused))
    }
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

impl fmt::Display for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::LibTorch => "libtorch",
            Self::Fused => "fused",
        })
    }
}

impl FromStr for Executor {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let all = [Self::Auto, Self::LibTorch, Self::Fused];
        let found = all
            .into_iter()
            .find(|executor| executor.to_string() == name);
        found.ok_or_else(|| format!("executor `{name}` is unknown; write auto, libtorch or fused"))
    }
}
