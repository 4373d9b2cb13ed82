//! Guidance: a change of the clean estimate in every denoise step.
//!
//! The sampler knows [`Guidance`] alone: clean estimates of all rows, normalised. What a robot's user
//! configures is a [`GuidanceConfig`], one of the families in `families/`, which change a plan in the
//! units of its actions. In-painting, which goes on with the chunk before, is [`TargetGuidance`].

mod family;
mod inpaint;

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::registry::registry;

pub use family::{GuidanceContext, GuidanceFamily};
pub use inpaint::{TargetGuidance, flow_time, gain, soft_mask};

/// The families of guidance, one file each.
pub mod families {
    pub mod keep_in_box;
    pub mod keep_out_circle;
}

/// Changes the clean estimates of a denoise step.
///
/// An estimate is clipped before, so that a network that predicts noise cannot drown what guidance
/// wants where there is almost no signal, and after.
pub trait Guidance {
    /// Changes clean estimates [B, T, D], row by row, in place.
    fn apply(&self, estimate: &mut [f32]);

    /// The same on a tensor, of any kind and on any device.
    fn apply_to_tensor(&self, estimate: &Tensor) -> Tensor {
        let single = estimate.to_kind(Kind::Float).to_device(Device::Cpu);
        let mut numbers = vec![0.0_f32; single.numel()];
        single.copy_data(&mut numbers, single.numel());
        self.apply(&mut numbers);
        let changed = Tensor::from_slice(&numbers).view_as(&single);
        changed
            .to_kind(estimate.kind())
            .to_device(estimate.device())
    }
}

registry! {
    /// A guidance as it is configured: the registry of families.
    ///
    /// Written as a table with `kind` and the options of the family.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub enum GuidanceConfig in families, each by each_family, all by all_families {
        "keep_in_box" => KeepInBox(keep_in_box::KeepInBox),
        "keep_out_circle" => KeepOutCircle(keep_out_circle::KeepOutCircle),
    }
}

impl GuidanceConfig {
    /// A member of every family for actions of `action` numbers (2 or more), with the interesting
    /// values within -1 to 1, for tests.
    pub fn examples(action: usize) -> Vec<Self> {
        all_families!(Family => Self::from(Family::example(action))).into()
    }

    /// See [`GuidanceFamily::check`].
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self, action: usize) -> Result<()> {
        each_family!(self, family => family.check(action))
    }

    /// See [`GuidanceFamily::apply`].
    pub fn apply(&self, at: &GuidanceContext<'_>, plan: &mut [f32]) {
        each_family!(self, family => family.apply(at, plan));
    }

    /// See [`GuidanceFamily::cost`].
    pub fn cost(&self, action: usize, plan: &[f32]) -> f64 {
        each_family!(self, family => family.cost(action, plan))
    }
}
