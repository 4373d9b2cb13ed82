//! Episodes of a policy in an environment, divided among threads.
//!
//! An episode depends on its seed and the policy; LibTorch may round otherwise in batches of other sizes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use kinestream_diffusion::{Execution, Executor, Solver};
use kinestream_policy::config::PlanConfig;
use kinestream_policy::{Checkpoint, Policy};
use kinestream_sim::delay::{Delay, DelayedController};
use kinestream_sim::environment::EnvironmentSpec;
use kinestream_sim::evaluation::{self, Controller, Episode, EpisodeSet};
use kinestream_sim::registry;
use tch::Device;

use super::variant::RunOverrides;
use kinestream_command_line::EvalArguments;
use kinestream_runtime::config::Config;
use kinestream_runtime::environments::controller::PolicyController;
use kinestream_runtime::{checkpoint, device, run_settings};

/// Threads divide the episodes where networks have at most so many parameters: every thread has its own
/// policy. Larger ones do not fit the caches beside each other, and the threads share every evaluation.
const LARGEST_APART: usize = 16_000_000;

/// Where and on what variants are run.
pub(super) struct EvalContext<'a> {
    pub(super) folder: PathBuf,
    /// What the checkpoint is for.
    pub(super) environment: &'static EnvironmentSpec,
    pub(super) device: Device,
    pub(super) execution: Execution,
    pub(super) arguments: &'a EvalArguments,
    /// The configuration: the run settings of its own checkpoint, and the guidances of every one.
    pub(super) config: &'a Config,
}

/// What a variant scored.
pub(super) struct Scored {
    pub(super) episodes: Vec<Episode>,
    pub(super) executor: Executor,
    pub(super) evaluations_per_action: f64,
    pub(super) plan: PlanConfig,
    pub(super) solver: Solver,
    /// What was observed: `state` or `image`.
    pub(super) observation: &'static str,
}

/// What one thread scored.
struct Part {
    episodes: Vec<Episode>,
    /// Per action, times episodes.
    evaluations: f64,
    executor: Executor,
    observation: &'static str,
}

impl EvalContext<'_> {
    /// Runs every seed, telling `progress` how many episodes took each control step.
    pub(super) fn score(
        &self,
        variant: &RunOverrides,
        seeds: &[u32],
        progress: impl Fn(usize) + Sync,
    ) -> Result<Scored> {
        let checkpoint = self.open(variant)?;
        let policy = checkpoint.policy();
        let (plan, solver) = (policy.plan.clone(), policy.sampler.solver);
        let delay = variant.delay(&plan, policy.task.rate_hz)?;
        let apart = self.apart(&checkpoint, seeds.len());
        drop(checkpoint);
        let parts = if apart == 1 {
            vec![self.part(variant, delay, seeds, self.execution, &progress)]
        } else {
            let execution = Execution {
                threads: 1,
                ..self.execution
            };
            device::set_threads(Some(1))?;
            let parts = std::thread::scope(|scope| {
                let progress = &progress;
                let start = |seeds| {
                    scope.spawn(move || self.part(variant, delay, seeds, execution, progress))
                };
                let begun: Vec<_> = seeds
                    .chunks(seeds.len().div_ceil(apart))
                    .map(start)
                    .collect();
                let ended = begun.into_iter().map(|thread| thread.join());
                ended
                    .map(|part| {
                        part.unwrap_or_else(|_| Err(anyhow!("an evaluating thread panicked")))
                    })
                    .collect()
            });
            device::set_threads(Some(self.execution.threads))?;
            parts
        };
        let mut scored = Scored {
            episodes: Vec::with_capacity(seeds.len()),
            executor: self.execution.executor,
            evaluations_per_action: 0.0,
            plan,
            solver,
            observation: "state",
        };
        for part in parts {
            let part = part?;
            scored.episodes.extend(part.episodes);
            scored.evaluations_per_action += part.evaluations / seeds.len() as f64;
            (scored.executor, scored.observation) = (part.executor, part.observation);
        }
        Ok(scored)
    }

    /// How many threads take episodes of their own.
    fn apart(&self, checkpoint: &Checkpoint, episodes: usize) -> usize {
        let is_small = checkpoint.network().parameters() <= LARGEST_APART;
        match self.device {
            Device::Cpu if is_small => self.execution.threads.clamp(1, episodes.max(1)),
            _ => 1,
        }
    }

    fn part(
        &self,
        variant: &RunOverrides,
        delay: Delay,
        seeds: &[u32],
        execution: Execution,
        progress: &(impl Fn(usize) + Sync),
    ) -> Result<Part> {
        let mut part = Part {
            episodes: Vec::with_capacity(seeds.len()),
            evaluations: 0.0,
            executor: execution.executor,
            observation: "state",
        };
        for batch in seeds.chunks(self.arguments.batch) {
            let policy =
                Policy::executed(self.open(variant)?, self.device, batch.len(), execution)?;
            part.executor = policy.executor();
            let mut controller = PolicyController::new(policy, self.environment)?;
            part.observation = controller.sight().name();
            let episodes = EpisodeSet {
                start: self.arguments.start,
                ..EpisodeSet::new(self.environment, batch)
            };
            let progress = |_, running| progress(running);
            let per_action = if delay.steps == 0 {
                part.episodes
                    .extend(score(&mut controller, &episodes, progress)?);
                controller.evaluations_per_action()
            } else {
                let mut delayed = DelayedController::new(controller, delay);
                part.episodes
                    .extend(score(&mut delayed, &episodes, progress)?);
                delayed.planning().evaluations_per_action()
            };
            part.evaluations += per_action * batch.len() as f64;
        }
        Ok(part)
    }

    pub(super) fn open(&self, variant: &RunOverrides) -> Result<Checkpoint> {
        let mut checkpoint = checkpoint::open(&self.folder, self.device)?;
        let policy = checkpoint.policy_mut();
        let found = environment_of(&policy.task.name, &self.folder)?;
        ensure!(
            found.name == self.environment.name,
            "{}: the checkpoint is for task `{}`, the others for `{}`; compare policies of one task",
            self.folder.display(),
            found.name,
            self.environment.name
        );
        if self.folder == self.config.runtime.checkpoint {
            let said = self.config.policy();
            let folder = self.folder.display().to_string();
            *policy =
                run_settings::run_policy(&self.config.written, &said, policy, &folder)?.policy;
        }
        policy.plan.guidance.clone_from(&self.config.plan.guidance);
        if let Some(solver) = variant.solver {
            policy.sampler.solver = solver;
        }
        let delay_steps = variant.delay_steps(policy.task.rate_hz)?;
        variant.override_plan(&mut policy.plan, delay_steps)?;
        policy.check()?;
        Ok(checkpoint)
    }
}

/// Runs episodes with a controller.
pub(crate) fn score<C: Controller<Error = kinestream_policy::Error>>(
    controller: &mut C,
    episodes: &EpisodeSet<'_>,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Episode>> {
    evaluation::evaluate(controller, episodes, progress).map_err(|error| anyhow!("{error}"))
}

/// The environment of a checkpoint's task.
///
/// # Errors
/// There is none of this name; those that there are, and the nearest.
pub(super) fn environment_of(task: &str, folder: &Path) -> Result<&'static EnvironmentSpec> {
    registry::find(task).with_context(|| {
        format!(
            "{}: the checkpoint's task.name is `{task}`, which nothing simulates",
            folder.display()
        )
    })
}
