//! Network tables of before November 2026, which carried the sizes of a U-Net whatever their kind.

use serde::Deserialize;

use super::Activation;

/// A table whose sizes stand in one of their own, perhaps beside the sizes of a U-Net that an older
/// version wrote there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LegacyTable<T> {
    #[serde(alias = "script", alias = "transformer")]
    sizes: Option<T>,
    #[serde(default)]
    channels: Vec<i64>,
    level_embedding: Option<i64>,
    observation_embedding: Option<i64>,
    kernel_size: Option<i64>,
    groups: Option<i64>,
    activation: Option<Activation>,
    modulation_scale: Option<bool>,
}

impl<T> LegacyTable<T> {
    /// The sizes. What an older version wrote beside them is dropped; what somebody set is refused.
    pub(super) fn sizes(self, key: &str, expected: &str) -> Result<T, String> {
        let was_written = (self.channels.is_empty() || self.channels == [256, 512, 1024])
            && self.level_embedding == self.observation_embedding
            && matches!(self.kernel_size, None | Some(1 | 5))
            && matches!(self.groups, None | Some(1 | 8))
            && matches!(self.activation, None | Some(Activation::Mish))
            && self.modulation_scale != Some(false);
        if !was_written {
            return Err(format!(
                "network has sizes of a U-Net beside network.{key}, expected {expected} alone: this \
                 kind has no channels, embeddings, kernel_size, groups, activation or modulation_scale"
            ));
        }
        let absent = || format!("network.{key} is absent, expected {expected}");
        self.sizes.ok_or_else(absent)
    }
}
