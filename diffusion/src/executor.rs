//! Which program evaluates a network: LibTorch, or the fused kernels for one plan at a time on the
//! CPU.

mod fused;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Device;

pub use fused::Fused;
pub use kinestream_kernels::Precision;

use crate::{Denoiser, Error, Network, Result};

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

    /// A frozen network on `device` as what evaluates it, and which program that is.
    ///
    /// # Errors
    /// The fused kernels were asked for, and do not run on this device or do not know the network.
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
        match self.executor {
            Executor::LibTorch => Ok((Box::new(network), Executor::LibTorch)),
            Executor::Fused => Ok((Box::new(fused()?), Executor::Fused)),
            Executor::Auto => match fused() {
                Ok(fused) => Ok((Box::new(fused), Executor::Fused)),
                Err(_) => Ok((Box::new(network), Executor::LibTorch)),
            },
        }
    }
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
