//! Restarts of a chunk from states that the chunks before it went through (after Falcon, Chen et al. 2025).
//!
//! On its way down a chunk leaves behind what it was at every level. When the next chunk is due, these states, moved on by what
//! was executed, are as many places to begin at, each with fewer steps to go the cleaner it is. A state is tried by the very
//! evaluation that would be its next step: if the clean plan that the network now sees in it begins as the last plan goes on,
//! the new observation was no surprise, and the step is taken. Otherwise a noisier state is tried, twice as many steps away,
//! until the chunk begins from noise. The paper tries all states at once, in a batch; on a CPU that costs
//! as much as one after the other, of which the first is usually the last.

use std::collections::BTreeMap;

use super::NoiseSource;

/// States of the last chunks by their level, moved on to the present.
#[derive(Default)]
pub(super) struct DenoisingTrajectory {
    states: BTreeMap<usize, Vec<f32>>,
}

/// A chunk that may not begin where it is.
pub(super) struct RestartCheck {
    /// The rest of the last plan, from the present on.
    reference: Vec<f32>,
}

impl DenoisingTrajectory {
    /// What a chunk was at a level, [Tp, Da].
    pub(super) fn remember(&mut self, level: usize, state: Vec<f32>) {
        self.states.insert(level, state);
    }

    /// Forgets everything: what comes next has nothing to do with it.
    pub(super) fn clear(&mut self) {
        self.states.clear();
    }

    /// Moves all states on by `consumed` actions of `action` numbers; what becomes free is the last plan's last action, noised
    /// to each state's level by `noised` (level, clean action, noise).
    pub(super) fn move_on(
        &mut self,
        consumed: usize,
        last: &[f32],
        random: &mut dyn NoiseSource,
        noised: impl Fn(usize, f32, f32) -> f32,
    ) {
        let action = last.len();
        for (level, state) in &mut self.states {
            let gone = (consumed * action).min(state.len());
            state.drain(..gone);
            let noise = random.draw(gone);
            let clean = last.iter().cycle();
            state.extend(
                noise
                    .iter()
                    .zip(clean)
                    .map(|(noise, clean)| noised(*level, *clean, *noise)),
            );
        }
    }

    /// The cleanest state with at least `steps` to go.
    pub(super) fn from(&self, steps: usize) -> Option<(usize, &Vec<f32>)> {
        let found = self.states.range(steps..).next();
        found.map(|(level, state)| (*level, state))
    }
}

impl RestartCheck {
    /// A trial against the rest of the last plan.
    pub(super) fn against(reference: Vec<f32>) -> Self {
        Self { reference }
    }

    /// Root of the mean square between the first `numbers` of a clean estimate and of the last plan's rest.
    pub(super) fn distance(&self, estimate: &[f32], numbers: usize) -> f64 {
        let count = numbers.min(self.reference.len()).max(1);
        let pairs = estimate.iter().zip(&self.reference).take(count);
        let squares = pairs.map(|(now, before)| f64::from(now - before).powi(2));
        (squares.sum::<f64>() / count as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use kinestream_diffusion::noise::NoiseStream;

    use super::*;

    #[test]
    fn states_move_on_and_what_is_new_has_its_levels_noise() {
        let mut trail = DenoisingTrajectory::default();
        trail.remember(4, vec![1.0, 2.0, 3.0]);
        trail.remember(2, vec![10.0, 20.0, 30.0]);
        let noised =
            |level: usize, clean: f32, noise: f32| clean + 100.0 * level as f32 + 0.0 * noise;
        trail.move_on(2, &[7.0], &mut NoiseStream::new(1), noised);
        assert_eq!(trail.from(1), Some((2, &vec![30.0, 207.0, 207.0])));
        assert_eq!(trail.from(3), Some((4, &vec![3.0, 407.0, 407.0])));
        assert_eq!(trail.from(5), None);
        // More than a plan is consumed.
        trail.move_on(9, &[0.0], &mut NoiseStream::new(1), noised);
        assert_eq!(trail.from(2), Some((2, &vec![200.0; 3])));
        trail.clear();
        assert_eq!(trail.from(1), None);
    }

    #[test]
    fn a_trial_looks_at_what_is_executed_next() {
        let trial = RestartCheck::against(vec![1.0, 1.0, 1.0, 9.0]);
        assert_eq!(trial.distance(&[1.0, 1.0, 1.0, 0.0], 2), 0.0);
        assert_eq!(trial.distance(&[4.0, 5.0, 1.0, 0.0], 2), (12.5_f64).sqrt());
    }
}
