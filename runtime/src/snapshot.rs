//! How a robot's runtime is at this moment, for those who ask (`info/snapshot`): rung, newest health, newest plan.

use std::sync::{Arc, Mutex, PoisonError};

use kinestream_bridge::{Health, Plan};
use serde_json::{Value, json};

use super::signals::ControlMetrics;

/// Filled by the runtime's threads, read by zenoh's.
#[derive(Default)]
pub(crate) struct Snapshot(Mutex<Newest>);

#[derive(Default)]
struct Newest {
    health: Option<Health>,
    plan: Option<Arc<Plan>>,
}

impl Snapshot {
    /// The newest health.
    pub(crate) fn keep_health(&self, health: &Health) {
        self.lock().health = Some(health.clone());
    }

    /// The newest plan.
    pub(crate) fn keep_plan(&self, plan: Plan) {
        let plan = Some(Arc::new(plan));
        self.lock().plan = plan;
    }

    /// The newest health, none before the first.
    pub(crate) fn health(&self) -> Option<Health> {
        self.lock().health.clone()
    }

    /// The newest plan, none before the first.
    pub(crate) fn plan(&self) -> Option<Arc<Plan>> {
        self.lock().plan.clone()
    }

    /// The answer; health and plan are null before the first.
    pub(crate) fn answer(&self, gauges: &Arc<ControlMetrics>) -> Value {
        // Nothing is written while the policy thread may want to keep a plan.
        let (health, plan) = (self.health(), self.plan());
        json!({
            "rung": gauges.rung(),
            "reason": gauges.reason(),
            "at_rest": gauges.is_at_rest(),
            "actions": gauges.published(),
            "health": health,
            "plan": plan.as_deref(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
