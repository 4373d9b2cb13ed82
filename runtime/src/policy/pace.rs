//! Whether a policy keeps up with its robot, and what would make it.

use kinestream_policy::PolicyConfig;
use kinestream_policy::config::PlanMode;

/// How long a policy's plans take, and how long they may.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From an observation to a plan that costs network evaluations, in milliseconds.
    pub plan_ms: f64,
    /// Network evaluations of such a plan.
    pub evaluations: usize,
    /// `control.watchdog.plan_timeout_ms`; 0 for none.
    pub plan_timeout_ms: f64,
}

impl Pace {
    /// Why the policy cannot keep up, and what to do; none where it can. A plan is there before the actions of the last one
    /// are used up, and before that is too old for the watchdog: it is a period old when the new one is asked for.
    pub fn complaint(&self, policy: &PolicyConfig) -> Option<String> {
        let Self {
            plan_ms,
            evaluations,
            plan_timeout_ms,
        } = *self;
        let period_ms = 1e3 / policy.task.rate_hz;
        let actions = policy.plan.action_steps;
        let last_ms = actions as f64 * period_ms;
        let allowed_ms = if plan_timeout_ms > 0.0 {
            last_ms.min(plan_timeout_ms - period_ms)
        } else {
            last_ms
        };
        if plan_ms <= allowed_ms {
            return None;
        }
        let what = match policy.plan.mode {
            PlanMode::Chunk => "a chunk",
            PlanMode::Streaming | PlanMode::Released => "a plan",
        };
        let watchdog = match plan_timeout_ms > 0.0 {
            true => format!(" and control.watchdog.plan_timeout_ms is {plan_timeout_ms:.0}"),
            false => String::new(),
        };
        let mut text = format!(
            "{what} takes {plan_ms:.0} ms; {actions} actions last {last_ms:.0} ms{watchdog}: it cannot keep up. "
        );
        let steps = (evaluations as f64 * allowed_ms / plan_ms) as usize;
        if steps > 0 && evaluations > 1 {
            let levels = policy.plan.ladder_levels() * steps / evaluations;
            text += &format!(
                "Fewer denoise steps: plan.levels = {} in place of {}, with sampler.solver.kind = \"ddim\", in the \
                 checkpoint's config.json (LeRobot: num_inference_steps and noise_scheduler_type). ",
                levels.max(1),
                policy.plan.ladder_levels()
            );
        }
        text += "Faster ones: runtime.executor = \"fused\", runtime.precision = \"int8\" or \"fp16\", more runtime.threads, a GPU";
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use kinestream_policy::Checkpoint;
    use tch::Device;

    use super::*;

    fn policy(levels: usize, mode: PlanMode) -> PolicyConfig {
        let folder = std::path::Path::new(crate::checkpoint::SHIPPED);
        let checkpoint = Checkpoint::load(&crate::checkpoint::locate(folder), Device::Cpu).unwrap();
        let mut policy = checkpoint.policy().clone();
        policy.plan.mode = mode;
        policy.plan.levels = Some(levels);
        policy.plan.action_steps = 8;
        policy
    }

    #[test]
    fn a_slow_policy_is_told_what_would_make_it_fast() {
        let pace = |plan_ms, plan_timeout_ms| Pace {
            plan_ms,
            evaluations: 100,
            plan_timeout_ms,
        };
        let chunk = policy(100, PlanMode::Chunk);
        let told = pace(1582.0, 500.0).complaint(&chunk).unwrap();
        for part in [
            "a chunk takes 1582 ms; 8 actions last 800 ms and control.watchdog.plan_timeout_ms is 500: it cannot keep up",
            "plan.levels = 25 in place of 100",
            "ddim",
            "num_inference_steps",
            "runtime.executor",
            "runtime.precision",
        ] {
            assert!(told.contains(part), "no `{part}` in {told}");
        }
        // In time for the actions and not for the watchdog, which may be off.
        assert!(pace(600.0, 500.0).complaint(&chunk).is_some());
        assert!(pace(450.0, 500.0).complaint(&chunk).is_some());
        assert!(pace(600.0, 0.0).complaint(&chunk).is_none());
        assert!(pace(900.0, 0.0).complaint(&chunk).is_some());
        assert!(pace(399.0, 500.0).complaint(&chunk).is_none());
        // Where no number of steps is small enough none is named.
        let told = pace(90_000.0, 500.0).complaint(&chunk).unwrap();
        assert!(!told.contains("plan.levels"), "{told}");
    }
}
