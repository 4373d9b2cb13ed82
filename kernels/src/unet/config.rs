//! What a U-Net looks like, and which of them can be run.

use crate::isa::{Activation, Isa};
use crate::{Error, Precision, Result};

/// How noise levels and observations enter a U-Net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UNetKind {
    /// Diffusion Policy's (Chi et al. 2023): one noise level for the whole plan.
    DiffusionPolicy,
    /// Streaming Diffusion Policy's (Høeg et al. 2024): the sinusoids of all positions are
    /// concatenated into one global condition.
    StreamingDiffusionPolicy,
    /// Every position is modulated by its own noise level and by the encoded observation.
    PerPosition,
}

/// A U-Net, and how it is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetConfig {
    /// Which variant.
    pub kind: UNetKind,
    /// Channels of every stage.
    pub channels: Vec<usize>,
    /// Width of the noise level's sinusoid and embedding; even, at least 4.
    pub level_embedding: usize,
    /// Width of the encoded observation ([`UNetKind::PerPosition`] only).
    pub observation_embedding: usize,
    /// Width of the convolutions; odd.
    pub kernel_size: usize,
    /// Groups of the normalisation; every entry of `channels` is a multiple of it.
    pub groups: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether the modulation scales as well as shifts.
    pub modulation_scale: bool,
    /// Positions of a plan, Tp: a multiple of 2^(stages - 1).
    pub horizon: usize,
    /// Numbers per action, Da.
    pub action: usize,
    /// Numbers of the condition, To Do.
    pub condition: usize,
    /// Number format of the weights.
    pub precision: Precision,
    /// Threads, the caller's among them.
    pub threads: usize,
    /// Instruction set; [`Isa::detect`] finds the fastest.
    pub isa: Isa,
}

impl UNetConfig {
    /// Refuses what cannot be run.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |key, found: String, expected: String| {
            Err(Error::Config {
                key,
                found,
                expected,
            })
        };
        let fits = |width: &usize| *width > 0 && width.is_multiple_of(self.groups.max(1));
        if self.groups == 0 || self.channels.is_empty() || !self.channels.iter().all(fits) {
            return refuse(
                "channels",
                format!("{:?} with {} groups", self.channels, self.groups),
                "positive multiples of groups".into(),
            );
        }
        if self.channels[0] == self.action {
            let found = self.action.to_string();
            return refuse("action", found, "another number than channels[0]".into());
        }
        // Where a residual block after the skip connection has no shortcut, its input would have to
        // be added across two arrays.
        if let Some(pair) = (self.channels.windows(2)).find(|pair| 2 * pair[1] == pair[0]) {
            return refuse("channels", format!("{pair:?}"), "no halving".into());
        }
        if !self.level_embedding.is_multiple_of(2) || self.level_embedding < 4 {
            return refuse(
                "level_embedding",
                self.level_embedding.to_string(),
                "an even number from 4".into(),
            );
        }
        if self.kernel_size.is_multiple_of(2) {
            return refuse(
                "kernel_size",
                self.kernel_size.to_string(),
                "an odd number".into(),
            );
        }
        let multiple = 1 << (self.channels.len() - 1);
        if self.horizon == 0 || !self.horizon.is_multiple_of(multiple) {
            return refuse(
                "horizon",
                self.horizon.to_string(),
                format!("a multiple of {multiple}"),
            );
        }
        for (key, size) in [
            ("action", self.action),
            ("condition", self.condition),
            ("threads", self.threads),
        ] {
            if size == 0 {
                return refuse(key, "0".into(), "at least 1".into());
            }
        }
        Ok(())
    }
}
