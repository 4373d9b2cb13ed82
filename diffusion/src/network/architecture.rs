//! What an architecture of denoisers is: its sizes as they are written in a configuration, and the
//! network that they build.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::nn;
use tch::{Device, Tensor};

use super::{Dimensions, UNet};
use crate::error::check_option;
use crate::{Error, Result};

/// An architecture: one struct with its sizes, one file in `architectures/`, one line in the
/// registry of [`super::NetworkConfig`].
pub trait Architecture:
    Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + 'static
{
    /// Small sizes for a plan of `dimensions`, with which the conformance tests build it; none for an
    /// architecture that is loaded and not built.
    fn small(dimensions: Dimensions) -> Option<Self>;

    /// Checks every size against those of the plan and of the condition.
    ///
    /// # Errors
    /// The first value out of its range.
    fn check(&self, dimensions: Dimensions) -> Result<()>;

    /// Builds the network with fresh random parameters below `root`.
    ///
    /// # Errors
    /// An architecture that is loaded and not built.
    fn build(&self, root: &nn::Path<'_>, dimensions: Dimensions) -> Result<Box<dyn NetworkModule>>;

    /// Whether positions may carry different noise levels.
    fn takes_levels_per_position(&self) -> bool;

    /// The sizes in a few words, for whoever looks at a checkpoint.
    fn summary(&self) -> String {
        format!("{self:?}")
    }

    /// Name of the file, in a checkpoint's folder, of the program that the network is; none where it
    /// is built from weights.
    fn program_file(&self) -> Option<&'static str> {
        None
    }

    /// Loads the program of [`Self::program_file`].
    ///
    /// # Errors
    /// A file that cannot be loaded or does not take these sizes.
    fn load(
        &self,
        _path: &Path,
        _dimensions: Dimensions,
        _device: Device,
    ) -> Result<Box<dyn NetworkModule>> {
        Err(Error::Config {
            key: "network.kind",
            found: "a network that is built from weights".into(),
            expected: "torch_script or aot_inductor, which are loaded from a program".into(),
        })
    }
}

/// A network that an architecture built.
pub trait NetworkModule: Send {
    /// Prediction [B, Tp, Da] for `sample` [B, Tp, Da], `timesteps` [B, Tp] int64 (-1 for clean
    /// positions) and `condition` [B, To Do].
    fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor;

    /// Computes what depends on the parameters alone, which are final from now on.
    fn freeze(&mut self, _dimensions: Dimensions) {}

    /// The number of parameters, where they are not in the network's store.
    fn parameters(&self) -> Option<usize> {
        None
    }

    /// The file of the program that this is.
    fn program(&self) -> Option<&Path> {
        None
    }

    /// The U-Net that this is, for the fused kernels.
    fn as_unet(&self) -> Option<&UNet> {
        None
    }
}

/// Refuses a horizon that no plan has.
pub(super) fn check_horizon(horizon: i64) -> Result<()> {
    let fits = (1..=4096).contains(&horizon);
    check_option(fits, "plan.horizon", horizon, "1 to 4096")
}
