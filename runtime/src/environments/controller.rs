//! A policy as the controller of evaluations in an environment, with the latency of every observation.

use std::time::Instant;

use anyhow::{Result, ensure};
use kinestream_control::Latencies;
use kinestream_policy::image::Image;
use kinestream_policy::{Observation, Policy};
use kinestream_sim::delay::AsyncPolicy;
use kinestream_sim::environment::{Environment, EnvironmentSpec};
use kinestream_sim::evaluation::Controller;

use crate::sight::{EnvironmentObservation, ObservationMode};

/// Acts in an environment with a policy: in lock step as a [`Controller`], or with late plans as what
/// [`AsyncPolicy`] asks for.
pub struct PolicyController {
    policy: Policy,
    sight: ObservationMode,
    /// Times from observations to actions, a batch at a time, without the first.
    latencies: Latencies,
    batches: u64,
    actions: u64,
}

impl PolicyController {
    /// A controller, if the policy fits the environment.
    pub fn new(policy: Policy, environment: &'static EnvironmentSpec) -> Result<Self> {
        let numbers = Some(policy.observation_size());
        let sight = ObservationMode::of(environment, &policy.config().task, numbers)?;
        ensure!(
            policy.action_size() == environment.action.size(),
            "the checkpoint makes actions of {} numbers, {} takes {}: train it with {}",
            policy.action_size(),
            environment.title,
            environment.action.size(),
            environment.configuration,
        );
        Ok(Self {
            policy,
            sight,
            latencies: Latencies::new(),
            batches: 0,
            actions: 0,
        })
    }

    /// What the policy sees.
    pub fn sight(&self) -> &ObservationMode {
        &self.sight
    }

    /// Network evaluations per executed action.
    pub fn evaluations_per_action(&self) -> f64 {
        self.policy.evaluations() as f64 / self.actions.max(1) as f64
    }

    /// Times from the observations of a batch to its actions, where they cost network evaluations;
    /// the first, which warms LibTorch up, is left out.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

impl Controller for PolicyController {
    type Error = kinestream_policy::Error;

    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error> {
        self.policy.reset(slot, u64::from(seed))
    }

    fn act(
        &mut self,
        slots: &[usize],
        environments: &[&dyn Environment],
    ) -> Result<Vec<Vec<f64>>, Self::Error> {
        let environments = environments.iter();
        let seen: Vec<EnvironmentObservation> =
            environments.map(|one| self.sight.see(*one)).collect();
        let images: Vec<Vec<Image<'_>>> = seen
            .iter()
            .map(|seen| self.sight.images(&seen.pictures))
            .collect();
        let rows = seen.iter().zip(&images);
        let observations: Vec<Observation<'_>> = rows
            .map(|(seen, images)| Observation {
                numbers: &seen.numbers,
                images,
            })
            .collect();
        let before = self.policy.evaluations();
        let begun = Instant::now();
        let actions = self.policy.step(slots, &observations)?;
        if self.batches > 0 && self.policy.evaluations() > before {
            self.latencies.record(begun.elapsed().as_nanos() as u64);
        }
        self.batches += 1;
        self.actions += slots.len() as u64;
        Ok(actions.iter().map(|action| wide(action)).collect())
    }
}

impl AsyncPolicy for PolicyController {
    type Error = kinestream_policy::Error;

    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error> {
        self.policy.reset(slot, u64::from(seed))
    }

    fn observe(
        &mut self,
        slots: &[usize],
        environments: &[&dyn Environment],
    ) -> Result<(), Self::Error> {
        self.actions += slots.len() as u64;
        slots.iter().zip(environments).try_for_each(|(slot, one)| {
            let seen = self.sight.see(*one);
            let images = self.sight.images(&seen.pictures);
            self.policy.observe_images(*slot, &seen.numbers, &images)
        })
    }

    fn plan(
        &mut self,
        slots: &[usize],
        consumed: &[usize],
    ) -> Result<Vec<Vec<Vec<f64>>>, Self::Error> {
        let plans = self.policy.answer(slots, consumed)?;
        let size = self.policy.action_size();
        Ok(plans
            .iter()
            .map(|plan| {
                let actions = plan.actions.chunks_exact(size).skip(plan.current);
                actions.map(wide).collect()
            })
            .collect())
    }
}

fn wide(action: &[f32]) -> Vec<f64> {
    action.iter().copied().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use kinestream_policy::config::PlanMode;
    use kinestream_sim::delay::{Delay, DelayedController, Entry};
    use kinestream_sim::evaluation::{Episode, EpisodeSet, evaluate};
    use kinestream_sim::pusht;
    use tch::Device;

    use super::*;

    const SEEDS: [u32; 2] = [7, 8];

    fn episode_set() -> EpisodeSet<'static> {
        EpisodeSet {
            max_steps: 25,
            ..EpisodeSet::new(&pusht::SPEC, &SEEDS)
        }
    }

    fn controller(mode: PlanMode) -> PolicyController {
        let folder = std::path::Path::new(crate::checkpoint::SHIPPED);
        let mut checkpoint = crate::checkpoint::open(folder, Device::Cpu).unwrap();
        checkpoint.policy_mut().plan.mode = mode;
        let policy = Policy::new(checkpoint, Device::Cpu, SEEDS.len()).unwrap();
        PolicyController::new(policy, &pusht::SPEC).unwrap()
    }

    fn late(mode: PlanMode, steps: usize, entry: Entry) -> (Vec<Episode>, f64) {
        let delay = Delay {
            steps,
            action_steps: 4,
            entry,
        };
        let mut late = DelayedController::new(controller(mode), delay);
        let episodes = evaluate(&mut late, &episode_set(), |_, _| {}).unwrap();
        (episodes, late.planning().evaluations_per_action())
    }

    #[test]
    fn plans_that_come_late_by_nothing_are_the_plain_evaluation() {
        tch::set_num_threads(1);
        for mode in [PlanMode::Streaming, PlanMode::Chunk] {
            let mut plain = controller(mode);
            let episodes = evaluate(&mut plain, &episode_set(), |_, _| {}).unwrap();
            for entry in [Entry::First, Entry::Due] {
                let expected = (episodes.clone(), plain.evaluations_per_action());
                assert_eq!(late(mode, 0, entry), expected, "{mode:?}");
            }
            assert_ne!(late(mode, 2, Entry::Due).0, episodes);
        }
    }
}
