//! The names of the programs that evaluate networks. They stand here, below LibTorch, so that the command line knows them
//! without it; `kinestream-diffusion` does what they say.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A program that evaluates networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// On the CPU the fused kernels where they know the network, on CUDA graphs where it can be captured; LibTorch otherwise.
    /// The choice depends on device and checkpoint alone.
    #[default]
    Auto,
    /// LibTorch: any device, any network, any number of plans at once.
    LibTorch,
    /// The fused kernels: one plan after the other on the CPU.
    Fused,
    /// LibTorch, with the copies and the evaluation of every number of plans captured: one CUDA graph. On the CPU the same
    /// without a graph, with the bits of LibTorch.
    Graph,
}

impl fmt::Display for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::LibTorch => "libtorch",
            Self::Fused => "fused",
            Self::Graph => "graph",
        })
    }
}

impl FromStr for Executor {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let all = [Self::Auto, Self::LibTorch, Self::Fused, Self::Graph];
        let found = all
            .into_iter()
            .find(|executor| executor.to_string() == name);
        found.ok_or_else(|| {
            format!("executor `{name}` is unknown; write auto, libtorch, fused or graph")
        })
    }
}
