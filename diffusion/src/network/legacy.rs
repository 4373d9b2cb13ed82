//! Network tables of before November 2026, which carried the sizes of a U-Net whatever their kind.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A table whose sizes stand in one of their own, perhaps beside the sizes of a U-Net, which earlier
/// versions wrote there and read without effect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Deserialize<'de>")]
pub(super) struct LegacyTable<T> {
    script: Option<T>,
    transformer: Option<T>,
    channels: Option<IgnoredAny>,
    level_embedding: Option<IgnoredAny>,
    observation_embedding: Option<IgnoredAny>,
    kernel_size: Option<IgnoredAny>,
    groups: Option<IgnoredAny>,
    activation: Option<IgnoredAny>,
    modulation_scale: Option<IgnoredAny>,
    local_observation_steps: Option<IgnoredAny>,
}

impl<T> LegacyTable<T> {
    /// The sizes, which stand below `key`; the other key is refused.
    pub(super) fn sizes(self, key: &str, expected: &str) -> Result<T, String> {
        let remains = [
            ("channels", self.channels.is_some()),
            ("level_embedding", self.level_embedding.is_some()),
            (
                "observation_embedding",
                self.observation_embedding.is_some(),
            ),
            ("kernel_size", self.kernel_size.is_some()),
            ("groups", self.groups.is_some()),
            ("activation", self.activation.is_some()),
            ("modulation_scale", self.modulation_scale.is_some()),
            (
                "local_observation_steps",
                self.local_observation_steps.is_some(),
            ),
        ];
        let remains = remains
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| *name);
        let remains: Vec<&str> = remains.collect();
        if !remains.is_empty() {
            tracing::debug!(
                "{} of [network] belong to U-Nets: no effect",
                remains.join(", ")
            );
        }
        let (own, other, other_key) = match key {
            "script" => (self.script, self.transformer, "transformer"),
            _ => (self.transformer, self.script, "script"),
        };
        match (own, other) {
            (Some(sizes), None) => Ok(sizes),
            (_, Some(_)) => Err(format!(
                "network.{other_key} is set, expected network.{key}: {expected}"
            )),
            (None, None) => Err(format!("network.{key} is absent, expected {expected}")),
        }
    }
}
