//! Windows of frames that a model makes from its own last ones in training.

use serde::{Deserialize, Serialize};

/// The windows of a stage, as written in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// Frames of a window: each but the first is made from the module's own last one.
    pub frames: usize,
    /// Steps with windows of one frame at first, all made from true ones. A module that cannot tell
    /// the next frame of a clip yet has nothing to learn from where its own frames lead.
    pub first_steps: u64,
    /// Steps over which the windows then grow from two frames to their length.
    pub grow_steps: u64,
    /// Deviation of the noise on the first state of a window, as a share of that of changes.
    pub noise: f64,
    /// Share of windows without steering, for motion without control.
    pub free: f64,
    /// How much more often windows are drawn whose steering asks for much, per m/s of change of
    /// velocity or radian of turn within a second; 0: all alike. Clips mostly go straight on.
    pub demand: f64,
    /// Largest magnitude of a change that is trained on, at unit size: beyond it the module's own
    /// frame is too far from the data to come back in one.
    pub farthest: f64,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            frames: 8,
            first_steps: 0,
            grow_steps: 2_000,
            noise: 0.15,
            free: 0.2,
            demand: 1.0,
            farthest: 6.0,
        }
    }
}

impl Rollout {
    /// Frames of the windows at a step, at least 1.
    pub fn length(&self, step: u64) -> usize {
        let Some(step) = step.checked_sub(self.first_steps) else {
            return 1;
        };
        let share = (step as f64 / self.grow_steps.max(1) as f64).min(1.0);
        let more = self.frames.saturating_sub(2) as f64 * share;
        (2.0 + more).round().min(self.frames as f64).max(1.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_to_their_length() {
        let rollout = Rollout {
            frames: 8,
            grow_steps: 100,
            ..Rollout::default()
        };
        assert_eq!(rollout.length(0), 2);
        assert_eq!(rollout.length(50), 5);
        assert_eq!(rollout.length(1000), 8);
        let later = Rollout {
            first_steps: 50,
            ..rollout.clone()
        };
        assert_eq!(
            [0, 49, 50, 100].map(|step| later.length(step)),
            [1, 1, 2, 5]
        );
        let single = Rollout {
            frames: 1,
            ..rollout
        };
        assert_eq!(single.length(1000), 1);
    }
}
