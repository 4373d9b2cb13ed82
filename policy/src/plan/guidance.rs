//! The guidances that a configuration asks for, on normalised plans.

use kinestream_diffusion::Guidance;
use kinestream_diffusion::guidance::{GuidanceConfig, GuidanceContext};

use crate::Normaliser;

/// Guidances of a policy's plans, none by default.
#[derive(Debug, Default)]
pub struct PlanGuidance {
    configured: Vec<GuidanceConfig>,
    /// Of the actions.
    units: Option<Normaliser>,
}

impl PlanGuidance {
    /// Guidances in the units that `actions` brings plans back to.
    pub fn new(configured: Vec<GuidanceConfig>, actions: &Normaliser) -> Self {
        Self {
            units: (!configured.is_empty()).then(|| actions.clone()),
            configured,
        }
    }

    /// The guidance of one step whose positions, T of every plan, have noise of these `deviations`;
    /// none where there is nothing to guide by.
    pub(super) fn of_step<'a>(
        &'a self,
        horizon: usize,
        deviations: impl FnOnce() -> Vec<f32>,
    ) -> Option<GuidanceStep<'a>> {
        let units = self.units.as_ref()?;
        Some(GuidanceStep {
            configured: &self.configured,
            units,
            horizon,
            deviations: deviations(),
        })
    }
}

/// All guidances of one denoise step.
pub(super) struct GuidanceStep<'a> {
    configured: &'a [GuidanceConfig],
    units: &'a Normaliser,
    horizon: usize,
    /// Of the noise in every position of every row.
    deviations: Vec<f32>,
}

impl Guidance for GuidanceStep<'_> {
    fn apply(&self, estimate: &mut [f32]) {
        let action = self.units.size();
        let plans = estimate.chunks_exact_mut(self.horizon * action);
        for (plan, deviations) in plans.zip(self.deviations.chunks_exact(self.horizon)) {
            let at = GuidanceContext { action, deviations };
            let mut restored = plan.to_vec();
            for action in restored.chunks_exact_mut(action) {
                self.units.restore(action);
            }
            let mut guided = restored.clone();
            for guidance in self.configured {
                guidance.apply(&at, &mut guided);
            }
            // What no guidance moved keeps its bits.
            let rows = plan.chunks_exact_mut(action);
            let rows = rows.zip(guided.chunks_exact_mut(action));
            for ((plan, guided), restored) in rows.zip(restored.chunks_exact(action)) {
                if guided != restored {
                    self.units.normalise(guided);
                    plan.copy_from_slice(guided);
                }
            }
        }
    }
}
