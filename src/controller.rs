//! A policy as the controller of Push-T evaluations, with the latency of every observation.

use std::time::Instant;

use anyhow::{Result, ensure};
use kinestream_control::Latencies;
use kinestream_policy::image::Image;
use kinestream_policy::{Observation, Policy};
use kinestream_sim::delay::AsyncPolicy;
use kinestream_sim::evaluation::Controller;
use kinestream_sim::pusht::PushT;

use kinestream_runtime::sight::{ObservationMode, PushtObservation};

/// Drives Push-T with a policy: in lock step as a [`Controller`], or with late plans as what
/// [`AsyncPolicy`] asks for.
pub(crate) struct PolicyController {
    policy: Policy,
    sight: ObservationMode,
    /// Times from observations to actions, a batch at a time, without the first.
    latencies: Latencies,
    batches: u64,
    actions: u64,
}

impl PolicyController {
    /// A controller, if the policy fits Push-T.
    pub(crate) fn new(policy: Policy) -> Result<Self> {
        let sight = ObservationMode::of(&policy.config().task, Some(policy.observation_size()))?;
        ensure!(
            policy.action_size() == 2,
            "the checkpoint makes actions of {} numbers, Push-T takes 2: train it with configs/pusht-state.toml",
            policy.action_size(),
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
    pub(crate) fn sight(&self) -> &ObservationMode {
        &self.sight
    }

    /// Network evaluations per executed action.
    pub(crate) fn evaluations_per_action(&self) -> f64 {
        self.policy.evaluations() as f64 / self.actions.max(1) as f64
    }

    /// Times from the observations of a batch to its actions, where they cost network evaluations;
    /// the first, which warms LibTorch up, is left out.
    pub(crate) fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

impl Controller for PolicyController {
    type Error = kinestream_policy::Error;

    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error> {
        self.policy.reset(slot, u64::from(seed))
    }

    fn act(&mut self, slots: &[usize], worlds: &[&PushT]) -> Result<Vec<[f64; 2]>, Self::Error> {
        let seen: Vec<PushtObservation> =
            worlds.iter().map(|world| self.sight.see(world)).collect();
        let images: Vec<Vec<Image<'_>>> = seen
            .iter()
            .map(|(_, picture)| ObservationMode::images(picture.as_ref()))
            .collect();
        let rows = seen.iter().zip(&images);
        let observations: Vec<Observation<'_>> = rows
            .map(|((numbers, _), images)| Observation { numbers, images })
            .collect();
        let before = self.policy.evaluations();
        let begun = Instant::now();
        let actions = self.policy.step(slots, &observations)?;
        if self.batches > 0 && self.policy.evaluations() > before {
            self.latencies.record(begun.elapsed().as_nanos() as u64);
        }
        self.batches += 1;
        self.actions += slots.len() as u64;
        Ok(actions.iter().map(|action| target(action)).collect())
    }
}

impl AsyncPolicy for PolicyController {
    type Error = kinestream_policy::Error;

    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error> {
        self.policy.reset(slot, u64::from(seed))
    }

    fn observe(&mut self, slots: &[usize], worlds: &[&PushT]) -> Result<(), Self::Error> {
        self.actions += slots.len() as u64;
        slots.iter().zip(worlds).try_for_each(|(slot, world)| {
            let (numbers, picture) = self.sight.see(world);
            self.policy
                .observe_images(*slot, &numbers, &ObservationMode::images(picture.as_ref()))
        })
    }

    fn plan(
        &mut self,
        slots: &[usize],
        consumed: &[usize],
    ) -> Result<Vec<Vec<[f64; 2]>>, Self::Error> {
        let plans = self.policy.answer(slots, consumed)?;
        Ok(plans
            .iter()
            .map(|plan| {
                let actions = plan.actions.chunks_exact(2).skip(plan.current);
                actions.map(target).collect()
            })
            .collect())
    }
}

fn target(action: &[f32]) -> [f64; 2] {
    [f64::from(action[0]), f64::from(action[1])]
}

#[cfg(test)]
mod tests {
    use kinestream_policy::config::PlanMode;
    use kinestream_sim::delay::{Delay, DelayedController, Entry};
    use kinestream_sim::evaluation::{Episode, evaluate};
    use tch::Device;

    use super::*;

    const SEEDS: [u32; 2] = [7, 8];
    const STEPS: usize = 25;

    fn controller(mode: PlanMode) -> PolicyController {
        let folder = std::path::Path::new(kinestream_runtime::checkpoint::SHIPPED);
        let mut checkpoint = kinestream_runtime::checkpoint::open(folder, Device::Cpu).unwrap();
        checkpoint.policy_mut().plan.mode = mode;
        PolicyController::new(Policy::new(checkpoint, Device::Cpu, SEEDS.len()).unwrap()).unwrap()
    }

    fn late(mode: PlanMode, steps: usize, entry: Entry) -> (Vec<Episode>, f64) {
        let delay = Delay {
            steps,
            action_steps: 4,
            entry,
        };
        let mut late = DelayedController::new(controller(mode), delay);
        let episodes = evaluate(&mut late, &SEEDS, STEPS, |_, _| {}).unwrap();
        (episodes, late.planning().evaluations_per_action())
    }

    #[test]
    fn plans_that_come_late_by_nothing_are_the_plain_evaluation() {
        tch::set_num_threads(1);
        for mode in [PlanMode::Streaming, PlanMode::Chunk] {
            let mut plain = controller(mode);
            let episodes = evaluate(&mut plain, &SEEDS, STEPS, |_, _| {}).unwrap();
            for entry in [Entry::First, Entry::Due] {
                let expected = (episodes.clone(), plain.evaluations_per_action());
                assert_eq!(late(mode, 0, entry), expected, "{mode:?}");
            }
            assert_ne!(late(mode, 2, Entry::Due).0, episodes);
        }
    }
}
