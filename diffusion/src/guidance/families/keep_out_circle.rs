//! A circle that plans are kept out of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::error::check_option;
use crate::guidance::{GuidanceContext, GuidanceFamily};

/// Moves every position of a plan that lies in a circle to its rim, in the plane of two columns.
///
/// The projection onto the allowed set, as constrained diffusion planners do after every step
/// (Christopher, Baek and Fioretto 2024), here of the clean estimate before it is noised again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepOutCircle {
    /// The columns of the action that are the place, x and y.
    pub columns: [usize; 2],
    /// Center, in the units of the actions.
    pub center: [f64; 2],
    /// Radius, above 0.
    pub radius: f64,
    /// How far outside the circle plans are moved, 0 or more.
    #[serde(default)]
    pub margin: f64,
}

impl KeepOutCircle {
    fn reach(&self) -> f64 {
        self.radius + self.margin
    }

    /// From the center to the place of an action.
    fn offset_of(&self, action: &[f32]) -> [f64; 2] {
        [0, 1].map(|axis| f64::from(action[self.columns[axis]]) - self.center[axis])
    }
}

impl GuidanceFamily for KeepOutCircle {
    fn example(action: usize) -> Self {
        Self {
            columns: [0, action - 1],
            center: [0.2, -0.1],
            radius: 0.5,
            margin: 0.05,
        }
    }

    fn check(&self, action: usize) -> Result<()> {
        let [x, y] = self.columns;
        let fits = x != y && x.max(y) < action;
        let expected = format!(
            "two different columns of the action, 0 to {}",
            action.saturating_sub(1)
        );
        let columns = format!("{:?}", self.columns);
        check_option(fits, "plan.guidance.columns", columns, expected)?;
        let fits = self.center.iter().all(|value| (*value as f32).is_finite());
        let expected = "two finite numbers, in the units of the actions";
        let center = format!("{:?}", self.center);
        check_option(fits, "plan.guidance.center", center, expected)?;
        let fits = self.radius > 0.0 && (self.radius as f32).is_finite();
        let expected = "a number above 0, in the units of the actions";
        check_option(fits, "plan.guidance.radius", self.radius, expected)?;
        let fits = self.margin >= 0.0 && (self.reach() as f32).is_finite();
        let expected = "0 or more, in the units of the actions";
        check_option(fits, "plan.guidance.margin", self.margin, expected)
    }

    fn apply(&self, at: &GuidanceContext<'_>, plan: &mut [f32]) {
        let reach = self.reach();
        // Where a plan goes through the very center, it leaves the way that it came.
        let mut normal = [1.0, 0.0];
        for action in plan.chunks_exact_mut(at.action) {
            let off = self.offset_of(action);
            let distance = off[0].hypot(off[1]);
            if distance > 1e-6 * reach {
                normal = off.map(|value| value / distance);
            }
            if distance < self.radius {
                for (axis, column) in self.columns.into_iter().enumerate() {
                    action[column] = (self.center[axis] + reach * normal[axis]) as f32;
                }
            }
        }
    }

    /// The deepest place within the circle.
    fn cost(&self, action: usize, plan: &[f32]) -> f64 {
        let depths = plan.chunks_exact(action).map(|action| {
            let off = self.offset_of(action);
            self.radius - off[0].hypot(off[1])
        });
        depths.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_within_move_to_the_rim_and_others_stay() {
        let circle = KeepOutCircle {
            columns: [0, 1],
            center: [1.0, 0.0],
            radius: 2.0,
            margin: 0.5,
        };
        let at = GuidanceContext {
            action: 3,
            deviations: &[0.5; 3],
        };
        let mut plan = [1.0, 1.0, 7.0, 1.0, 0.0, 7.0, 4.0, 0.0, 7.0];
        assert_eq!(circle.cost(3, &plan), 2.0);
        circle.apply(&at, &mut plan);
        // The one at the center goes on the way that the plan came.
        assert_eq!(plan, [1.0, 2.5, 7.0, 1.0, 2.5, 7.0, 4.0, 0.0, 7.0]);
        assert_eq!(circle.cost(3, &plan), 0.0);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let good = KeepOutCircle::example(2);
        good.check(2).unwrap();
        let refusal = |circle: KeepOutCircle| circle.check(2).unwrap_err().to_string();
        let columns = [0, 2];
        let message = refusal(KeepOutCircle {
            columns,
            ..good.clone()
        });
        assert!(
            message.contains("plan.guidance.columns is [0, 2]"),
            "{message}"
        );
        let radius = f64::NAN;
        let message = refusal(KeepOutCircle { radius, ..good });
        assert!(message.contains("plan.guidance.radius is NaN"), "{message}");
    }
}
