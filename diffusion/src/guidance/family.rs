//! What a family of guidance is.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

/// A family of guidance: one struct with its options, one file in `families/`, one line in the
/// registry of [`super::GuidanceConfig`].
///
/// It sees clean estimates, which are blurred where there is much noise, and moves them; the network
/// makes of them what it can. It is a preference and no promise: what must never happen belongs to the
/// limits behind the plan.
pub trait GuidanceFamily:
    Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// A member for actions of `action` numbers, whose interesting values lie within -1 to 1.
    fn example(action: usize) -> Self;

    /// Checks the options, for actions of `action` numbers.
    ///
    /// # Errors
    /// The first value out of its range.
    fn check(&self, action: usize) -> Result<()>;

    /// Moves the clean estimate of one plan: [T, D] in the units of the actions, row by row. A plan
    /// with no cost stays as it is, bit for bit.
    fn apply(&self, at: &GuidanceContext<'_>, plan: &mut [f32]);

    /// How far a plan [T, D] is from what is wanted: 0 where nothing is wrong.
    fn cost(&self, action: usize, plan: &[f32]) -> f64;
}

/// Where a guidance is applied.
#[derive(Debug, Clone, Copy)]
pub struct GuidanceContext<'a> {
    /// Numbers per action, D.
    pub action: usize,
    /// Standard deviation of the noise in every position, 0 (final) to 1, T.
    pub deviations: &'a [f32],
}
