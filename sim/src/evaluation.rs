//! Evaluation of controllers on Push-T under the published protocol: at most 300 control steps, the
//! score of an episode is the largest reward in it.
//!
//! All episodes run in lock step, so that a controller can serve them as one batch. Nothing here
//! reads a clock: the same controller and seeds give the same scores.

use serde::Serialize;

use crate::pusht::PushT;
use crate::statistics;

/// Control steps of an episode under the protocol.
pub const MAX_STEPS: usize = 300;

/// What drives the agent in an evaluation.
pub trait Controller {
    /// What can go wrong.
    type Error;

    /// Begins the episode of a slot (0..batch) with its seed.
    ///
    /// # Errors
    /// The controller cannot begin.
    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error>;

    /// One target position in pixels for each of `slots`, whose worlds may be observed.
    ///
    /// # Errors
    /// The controller cannot act.
    fn act(&mut self, slots: &[usize], worlds: &[&PushT]) -> Result<Vec<[f64; 2]>, Self::Error>;
}

/// One finished episode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Episode {
    /// Seed of the reset.
    pub seed: u32,
    /// Largest reward, 0 to 1.
    pub score: f64,
    /// Whether the coverage of the goal exceeded 0.95.
    pub success: bool,
    /// Control steps taken; an episode ends with its success.
    pub steps: usize,
}

impl std::fmt::Display for Episode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let success = if self.success { ", success" } else { "" };
        write!(
            out,
            "seed {}: score {:.3}, {} steps{success}",
            self.seed, self.score, self.steps
        )
    }
}

/// Why an evaluation ended early.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError<E> {
    /// The controller failed.
    #[error(transparent)]
    Controller(E),
    /// The controller asked for an impossible target.
    #[error("seed {seed}, step {step}: {source}")]
    Target {
        /// The episode.
        seed: u32,
        /// The control step.
        step: usize,
        /// What is wrong with it.
        source: crate::pusht::PushTError,
    },
}

/// Runs one episode for each seed, telling `progress` (control step, episodes still running) after
/// every control step.
///
/// # Errors
/// The controller failed or asked for a target that is not finite.
pub fn evaluate<C: Controller>(
    controller: &mut C,
    seeds: &[u32],
    max_steps: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Episode>, EvaluationError<C::Error>> {
    let mut worlds = Vec::with_capacity(seeds.len());
    let mut episodes = Vec::with_capacity(seeds.len());
    for (slot, &seed) in seeds.iter().enumerate() {
        let mut world = PushT::new();
        world.reset(seed);
        worlds.push(world);
        episodes.push(Episode {
            seed,
            score: 0.0,
            success: false,
            steps: 0,
        });
        controller
            .begin(slot, seed)
            .map_err(EvaluationError::Controller)?;
    }
    for step in 0..max_steps {
        let running: Vec<usize> = (0..seeds.len())
            .filter(|slot| !episodes[*slot].success)
            .collect();
        if running.is_empty() {
            break;
        }
        let observed: Vec<&PushT> = running.iter().map(|slot| &worlds[*slot]).collect();
        let targets = controller
            .act(&running, &observed)
            .map_err(EvaluationError::Controller)?;
        for (&slot, target) in running.iter().zip(targets) {
            let episode = &mut episodes[slot];
            let outcome = worlds[slot]
                .step(target)
                .map_err(|source| EvaluationError::Target {
                    seed: episode.seed,
                    step,
                    source,
                })?;
            episode.score = episode.score.max(outcome.reward);
            episode.success = outcome.success;
            episode.steps = step + 1;
        }
        progress(step + 1, running.len());
    }
    Ok(episodes)
}

/// Scores of an evaluation; none of them where there was no episode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Mean of the episodes' largest rewards.
    pub mean_max_reward: Option<f64>,
    /// Its 95 % interval (Student t); takes two episodes.
    pub mean_max_reward_interval: Option<[f64; 2]>,
    /// Share of episodes with a coverage above 0.95.
    pub success_rate: Option<f64>,
    /// Its 95 % interval (Wilson).
    pub success_interval: Option<[f64; 2]>,
}

/// Summarises episodes.
pub fn summarise(episodes: &[Episode]) -> Summary {
    let scores: Vec<f64> = episodes.iter().map(|episode| episode.score).collect();
    let successes = episodes.iter().filter(|episode| episode.success).count() as u64;
    let success = statistics::proportion(successes, episodes.len() as u64);
    let count = scores.len() as f64;
    Summary {
        mean_max_reward: (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / count),
        mean_max_reward_interval: statistics::mean(&scores).map(|mean| [mean.low, mean.high]),
        success_rate: success.map(|rate| rate.value),
        success_interval: success.map(|rate| [rate.low, rate.high]),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Chases the T, alone or in a batch in the same way.
    struct Chaser;

    impl Controller for Chaser {
        type Error = Infallible;

        fn begin(&mut self, _slot: usize, _seed: u32) -> Result<(), Infallible> {
            Ok(())
        }

        fn act(
            &mut self,
            _slots: &[usize],
            worlds: &[&PushT],
        ) -> Result<Vec<[f64; 2]>, Infallible> {
            let observations = worlds.iter().map(|world| world.observation());
            Ok(observations.map(|seen| [seen[0], seen[1]]).collect())
        }
    }

    #[test]
    fn a_batch_scores_as_its_episodes_alone() {
        let together = evaluate(&mut Chaser, &[1, 2, 3], 60, |_, _| {}).unwrap();
        for (seed, episode) in [1, 2, 3].into_iter().zip(&together) {
            let alone = evaluate(&mut Chaser, &[seed], 60, |_, _| {}).unwrap();
            assert_eq!(&alone[0], episode);
            assert_eq!(episode.steps, 60);
        }
        let summary = summarise(&together);
        let [low, high] = summary.mean_max_reward_interval.unwrap();
        let mean = summary.mean_max_reward.unwrap();
        assert!(low <= mean && mean <= high);
        assert_eq!(summary.success_rate, Some(0.0));
        let one = summarise(&together[..1]);
        assert_eq!(one.mean_max_reward, Some(together[0].score));
        assert_eq!(one.mean_max_reward_interval, None);
        assert_eq!(summarise(&[]).success_rate, None);
    }
}
