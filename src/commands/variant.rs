//! A way of running a checkpoint: mode, evaluations, and how its plans come late.

use anyhow::{Result, ensure};
use kinestream_diffusion::Solver;
use kinestream_policy::config::{IterateConfig, PlanConfig, PlanMode, RestartConfig};
use kinestream_sim::delay::{Delay, Entry};

use kinestream_command_line::{ChunkTransition, EvalArguments};

/// The solver that a command line names; `main` has had its name checked.
pub(super) fn named_solver(arguments: &EvalArguments) -> Option<Solver> {
    arguments.solver.as_deref().and_then(Solver::named)
}

/// A way of running a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RunOverrides {
    /// Whole chunks and how late ones join, in place of the checkpoint's own mode.
    pub(super) chunk: Option<ChunkTransition>,
    pub(super) steps: Option<f64>,
    pub(super) action_steps: Option<usize>,
    pub(super) solver: Option<Solver>,
    pub(super) commit_ahead: Option<usize>,
    /// Denoise steps of a chunk that goes on from the one before it.
    pub(super) iterate: Option<usize>,
    /// How a chunk restarts from states of those before it.
    pub(super) restart: Option<RestartConfig>,
    pub(super) delay_ms: f64,
}

impl RunOverrides {
    /// The delay in control steps.
    pub(super) fn delay_steps(&self, rate_hz: f64) -> Result<usize> {
        let (delay, period) = (self.delay_ms, 1e3 / rate_hz);
        let steps = (delay / period).round();
        ensure!(
            (0.0..1e6).contains(&steps) && (steps * period - delay).abs() < 1e-6,
            "--delay-ms is {delay}, expected a multiple of the control period, {period} ms, such \
             as {period} or {}: an evaluation goes in lock step",
            2.0 * period
        );
        Ok(steps as usize)
    }

    /// How the plans of an overridden plan configuration come late.
    pub(super) fn delay(&self, plan: &PlanConfig, rate_hz: f64) -> Result<Delay> {
        let entry = match self.chunk {
            Some(ChunkTransition::Restart) => Entry::First,
            _ => Entry::Due,
        };
        let delay = Delay {
            steps: self.delay_steps(rate_hz)?,
            action_steps: plan.action_steps,
            entry,
        };
        let dropped = if entry == Entry::Due { delay.steps } else { 0 };
        let most = plan.horizon - plan.past();
        let executed = delay.action_steps.max(delay.steps);
        ensure!(
            dropped + executed <= most,
            "--delay-ms {} is {} actions: with {executed} executed per plan a plan of {most} runs \
             out; lower it or --action-steps",
            self.delay_ms,
            delay.steps
        );
        Ok(delay)
    }

    /// Changes a checkpoint's plan configuration to what this variant asks for.
    pub(super) fn override_plan(&self, plan: &mut PlanConfig, delay_steps: usize) -> Result<()> {
        if self.chunk.is_some() {
            plan.mode = PlanMode::Chunk;
            plan.action_steps = (plan.horizon - plan.past()).min(8);
            plan.levels = Some(100);
        }
        if let Some(steps) = self.action_steps {
            let most = plan.horizon - plan.past();
            ensure!(
                (1..=most).contains(&steps),
                "--action-steps is {steps}, expected 1 to {most}, the actions that a plan of this checkpoint holds"
            );
            plan.action_steps = steps;
        }
        if let Some(steps) = self.steps {
            ensure!(
                steps > 0.0 && steps.is_finite(),
                "--steps is {steps}, expected a number above 0 such as 0.25, 1 or 100"
            );
            if plan.mode != PlanMode::Chunk && self.action_steps.is_none() && steps < 1.0 {
                // Fewer evaluations than actions: one evaluation serves several.
                plan.action_steps = (1.0 / steps).round() as usize;
            }
        }
        self.override_prefix(plan, delay_steps)?;
        if let Some(steps) = self.iterate {
            plan.iterate = Some(IterateConfig { steps });
        }
        if let Some(restart) = self.restart {
            plan.restart = Some(restart);
        }
        if let Some(steps) = self.steps {
            plan.levels = Some(if plan.mode == PlanMode::Chunk {
                steps.round().max(1.0) as usize
            } else {
                (steps * (plan.chunks() * plan.action_steps) as f64).round() as usize
            });
        }
        Ok(())
    }

    /// What is committed while a plan is computed, at the same evaluations per observation.
    fn override_prefix(&self, plan: &mut PlanConfig, delay_steps: usize) -> Result<()> {
        let (levels, chunks) = (plan.ladder_levels(), plan.chunks());
        plan.commit_ahead = match (self.commit_ahead, self.chunk) {
            (Some(actions), _) => actions,
            (None, Some(ChunkTransition::Restart | ChunkTransition::Skip)) => 0,
            (None, None) if delay_steps == 0 || plan.mode != PlanMode::Streaming => {
                plan.commit_ahead
            }
            (None, _) => {
                ensure!(
                    delay_steps <= plan.action_steps,
                    "--delay-ms {} is {delay_steps} actions, more than the {} that a plan brings; \
                     add --action-steps {delay_steps} or lower the delay",
                    self.delay_ms,
                    plan.action_steps
                );
                delay_steps
            }
        };
        plan.inpaint = match self.chunk {
            Some(ChunkTransition::Inpaint) => Some(plan.inpaint.unwrap_or_default()),
            Some(_) => None,
            None => plan.inpaint,
        };
        if plan.mode == PlanMode::Streaming && plan.chunks() != chunks {
            plan.levels = Some((levels * plan.chunks() + chunks / 2) / chunks);
        }
        Ok(())
    }
}
