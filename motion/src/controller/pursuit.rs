//! What a live character is at: the goal that counts, and since when.

use nalgebra::Vector2;

use crate::data::FRAME_RATE;
use crate::stick::{JoystickInput, TimedPath};
use crate::trajectory::Root;

/// A goal that was checked, and its age.
#[derive(Debug)]
pub(super) struct GoalFollower {
    pub(super) goal: GoalMode,
    /// Frames since it was taken.
    pub(super) age: u64,
    /// Whether more was asked for.
    pub(super) clamped: bool,
}

#[derive(Debug)]
pub(super) enum GoalMode {
    Stick(JoystickInput),
    Path(TimedPath),
}

impl Default for GoalFollower {
    /// To stand.
    fn default() -> Self {
        Self {
            goal: GoalMode::Stick(JoystickInput::default()),
            age: 0,
            clamped: false,
        }
    }
}

impl GoalFollower {
    /// Seconds since the goal was taken.
    pub(super) fn seconds(&self) -> f64 {
        self.age as f64 / FRAME_RATE
    }

    /// Whether nothing is asked any more: a stick counts for `patience` seconds, a path to its end.
    pub(super) fn is_idle(&self, patience: f64) -> bool {
        match &self.goal {
            GoalMode::Stick(stick) => {
                let rests = stick.velocity == Vector2::zeros() && stick.facing.is_none();
                rests || self.seconds() >= patience
            }
            GoalMode::Path(path) => self.seconds() >= path.end(),
        }
    }

    /// The stick that counts; none on a path.
    pub(super) fn stick(&self, patience: f64) -> Option<JoystickInput> {
        match &self.goal {
            GoalMode::Stick(stick) if !self.is_idle(patience) => Some(*stick),
            GoalMode::Stick(_) => Some(JoystickInput::default()),
            GoalMode::Path(_) => None,
        }
    }

    /// Places of the path that are still to come; none without a path.
    pub(super) fn path_left(&self) -> Vec<Vector2<f64>> {
        let GoalMode::Path(path) = &self.goal else {
            return Vec::new();
        };
        let now = self.seconds();
        let left = path.points().iter().filter(|point| point.seconds > now);
        left.map(|point| point.position).collect()
    }

    /// Where the path wants the root to be; none without a path.
    pub(super) fn path_root(&self) -> Option<Root> {
        match &self.goal {
            GoalMode::Stick(_) => None,
            GoalMode::Path(path) => Some(path.at(self.seconds())),
        }
    }

    /// The heading that is asked for; none if that is left to the motion.
    pub(super) fn asked_heading(&self, patience: f64) -> Option<f64> {
        let Some(stick) = self.stick(patience) else {
            return self.path_root().map(|root| root.heading);
        };
        let moves = stick.velocity != Vector2::zeros();
        let along = moves.then(|| stick.velocity.x.atan2(stick.velocity.y));
        stick.facing.or(along)
    }

    /// The velocity that is asked for, m/s.
    pub(super) fn asked_velocity(&self, patience: f64) -> Vector2<f64> {
        match &self.goal {
            GoalMode::Stick(_) => self.stick(patience).unwrap_or_default().velocity,
            GoalMode::Path(path) => {
                let [now, next] = [0.0, 1.0].map(|frames| self.seconds() + frames / FRAME_RATE);
                (path.at(next).position - path.at(now).position) * FRAME_RATE
            }
        }
    }
}
