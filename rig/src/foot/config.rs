//! Settings of the foot lock.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// When feet are held, how they are let go, and how far legs stretch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FootLockConfig {
    /// Height of the floor, in metres.
    pub floor: f64,
    /// A contact begins when its probability is above this.
    pub contact_begin: f64,
    /// A contact ends when its probability is below this; at most `contact_begin`.
    pub contact_end: f64,
    /// A contact higher than this over the point's height at rest is not believed, in metres.
    pub lock_height: f64,
    /// A foot is let go when the generated one is farther away than this, in metres.
    pub release_distance: f64,
    /// Time in which 99 % of the way back to the generated foot are made, in seconds.
    pub release_seconds: f64,
    /// The same for the height of a free foot, in seconds: a foot that swings should be off the
    /// floor soon.
    pub lift_seconds: f64,
    /// Distance from hip to ankle that a leg is stretched to at most, as a share of its length. A
    /// generated leg that is straighter stays so.
    pub reach: f64,
    /// Share of its length from which on a leg with a free foot is stretched ever less, so that the
    /// knee does not snap straight; at most `reach`.
    pub soft_reach: f64,
    /// Ankles and toes may be lower than at rest by this much, in metres; never below the floor.
    pub floor_tolerance: f64,
}

impl Default for FootLockConfig {
    fn default() -> Self {
        Self {
            floor: 0.0,
            contact_begin: 0.6,
            contact_end: 0.4,
            lock_height: 0.04,
            release_distance: 0.15,
            release_seconds: 0.3,
            lift_seconds: 0.15,
            reach: 0.995,
            soft_reach: 0.97,
            floor_tolerance: 0.01,
        }
    }
}

impl FootLockConfig {
    /// Whether all settings are in their ranges.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("foot_lock.floor", self.floor, f64::MIN, f64::MAX),
            ("foot_lock.contact_begin", self.contact_begin, 0.0, 1.0),
            (
                "foot_lock.contact_end",
                self.contact_end,
                0.0,
                self.contact_begin,
            ),
            ("foot_lock.lock_height", self.lock_height, 0.0, 1.0),
            (
                "foot_lock.release_distance",
                self.release_distance,
                0.01,
                1.0,
            ),
            (
                "foot_lock.release_seconds",
                self.release_seconds,
                0.01,
                10.0,
            ),
            ("foot_lock.lift_seconds", self.lift_seconds, 0.01, 10.0),
            ("foot_lock.reach", self.reach, 0.5, 1.0),
            ("foot_lock.soft_reach", self.soft_reach, 0.5, self.reach),
            ("foot_lock.floor_tolerance", self.floor_tolerance, 0.0, 1.0),
        ];
        for (key, value, least, most) in ranges {
            // NaN is in no range.
            if !(least..=most).contains(&value) {
                return Err(Error::Config {
                    key,
                    found: value.to_string(),
                    expected: if key == "foot_lock.floor" {
                        "a finite number".into()
                    } else {
                        format!("{least} to {most}")
                    },
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        FootLockConfig::default().check().unwrap();
        let refused = |config: FootLockConfig, words: &str| {
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        };
        let good = FootLockConfig::default();
        refused(
            FootLockConfig {
                floor: f64::INFINITY,
                ..good
            },
            "foot_lock.floor is inf",
        );
        refused(
            FootLockConfig {
                contact_end: 0.7,
                ..good
            },
            "contact_end is 0.7, expected 0 to 0.6",
        );
        refused(
            FootLockConfig {
                release_seconds: 0.0,
                ..good
            },
            "release_seconds",
        );
        refused(
            FootLockConfig {
                reach: f64::NAN,
                ..good
            },
            "reach is NaN",
        );
    }
}
