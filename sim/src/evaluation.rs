//! Evaluation of controllers in an environment, under its own protocol: the score of an episode is made of its rewards, and
//! an episode ends as the environment says.
//!
//! All episodes run in lock step, so that a controller can serve them as one batch. Nothing here
//! reads a clock: the same controller and seeds give the same scores.

use serde::Serialize;

use crate::environment::{Environment, EnvironmentError, EnvironmentSpec, EpisodeEnd, StepResult};
use crate::statistics;

/// First of the seeds that policies are tested on; settings are chosen, and demonstrations are recorded, on smaller ones.
pub const TEST_SEED: u32 = 100_000;

/// What acts in the environments of an evaluation.
pub trait Controller {
    /// What can go wrong.
    type Error;

    /// Begins the episode of a slot (0..batch) with its seed.
    ///
    /// # Errors
    /// The controller cannot begin.
    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error>;

    /// One action `[Da]` for each of `slots`, whose environments may be observed.
    ///
    /// # Errors
    /// The controller cannot act.
    fn act(
        &mut self,
        slots: &[usize],
        environments: &[&dyn Environment],
    ) -> Result<Vec<Vec<f64>>, Self::Error>;
}

/// Which episodes an evaluation runs.
#[derive(Debug, Clone, Copy)]
pub struct EpisodeSet<'a> {
    /// Where they take place.
    pub environment: &'static EnvironmentSpec,
    /// One episode for each: the controller begins with it, and so does the environment, unless `start` says otherwise.
    pub seeds: &'a [u32],
    /// The environment's seed of every episode, so that all of them begin from one state.
    pub start: Option<u32>,
    /// Control steps after which an episode is cut off, if it has not ended before.
    pub max_steps: usize,
}

impl<'a> EpisodeSet<'a> {
    /// Whole episodes, each from the state of its seed.
    #[must_use]
    pub fn new(environment: &'static EnvironmentSpec, seeds: &'a [u32]) -> Self {
        Self {
            environment,
            seeds,
            start: None,
            max_steps: environment.max_steps,
        }
    }
}

/// One finished episode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Episode {
    /// Seed of the reset.
    pub seed: u32,
    /// What its rewards make, 0 to 1: in Push-T the largest of them.
    pub score: f64,
    /// Whether the task was solved.
    pub success: bool,
    /// Control steps taken; an episode ends with its success.
    pub steps: usize,
    /// Why it ended; none where it was cut off before.
    #[serde(skip)]
    pub end: Option<EpisodeEnd>,
    /// Which of the environment's routes it took, if it was a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'static str>,
}

impl Episode {
    /// An episode before its first step.
    #[must_use]
    pub fn begun(seed: u32) -> Self {
        Self {
            seed,
            score: 0.0,
            success: false,
            steps: 0,
            end: None,
            route: None,
        }
    }

    /// Takes in what one more control step came to.
    pub fn advance(&mut self, environment: &EnvironmentSpec, result: &StepResult) {
        self.score = environment.score.update(self.score, result.reward);
        self.success = result.success();
        self.steps += 1;
        (self.end, self.route) = (result.end, result.route);
    }
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
    /// The environment refused the controller's action.
    #[error("seed {seed}, step {step}: {source}")]
    Action {
        /// The episode.
        seed: u32,
        /// The control step.
        step: usize,
        /// What is wrong with it.
        source: EnvironmentError,
    },
}

/// Runs episodes, telling `progress` (control step, episodes still running) after
/// every control step.
///
/// # Errors
/// The controller failed or made an action that the environment refuses.
pub fn evaluate<C: Controller>(
    controller: &mut C,
    set: &EpisodeSet<'_>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Episode>, EvaluationError<C::Error>> {
    let mut environments = Vec::with_capacity(set.seeds.len());
    let mut episodes = Vec::with_capacity(set.seeds.len());
    for (slot, &seed) in set.seeds.iter().enumerate() {
        let mut environment = (set.environment.make)();
        environment.reset(set.start.unwrap_or(seed));
        environments.push(environment);
        episodes.push(Episode::begun(seed));
        controller
            .begin(slot, seed)
            .map_err(EvaluationError::Controller)?;
    }
    for step in 0..set.max_steps {
        let running: Vec<usize> = (0..episodes.len())
            .filter(|slot| episodes[*slot].end.is_none())
            .collect();
        if running.is_empty() {
            break;
        }
        let observed: Vec<&dyn Environment> =
            running.iter().map(|slot| &*environments[*slot]).collect();
        let actions = controller
            .act(&running, &observed)
            .map_err(EvaluationError::Controller)?;
        for (&slot, action) in running.iter().zip(actions) {
            let episode = &mut episodes[slot];
            let result =
                environments[slot]
                    .step(&action)
                    .map_err(|source| EvaluationError::Action {
                        seed: episode.seed,
                        step,
                        source,
                    })?;
            episode.advance(set.environment, &result);
        }
        progress(step + 1, running.len());
    }
    Ok(episodes)
}

/// Scores of an evaluation; none of them where there was no episode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Mean of the episodes' scores.
    pub mean_max_reward: Option<f64>,
    /// Its 95 % interval (Student t); takes two episodes.
    pub mean_max_reward_interval: Option<[f64; 2]>,
    /// Share of episodes that were a success.
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
    use crate::pusht::{self, PushT};

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
            environments: &[&dyn Environment],
        ) -> Result<Vec<Vec<f64>>, Infallible> {
            let seen = environments
                .iter()
                .map(|one| one.array("keypoint").unwrap());
            Ok(seen.map(|points| points[..2].to_vec()).collect())
        }
    }

    fn chase(seeds: &[u32], start: Option<u32>) -> Vec<Episode> {
        let set = EpisodeSet {
            start,
            max_steps: 60,
            ..EpisodeSet::new(&pusht::SPEC, seeds)
        };
        evaluate(&mut Chaser, &set, |_, _| {}).unwrap()
    }

    #[test]
    fn scores_are_those_of_push_t_itself() {
        for episode in chase(&[1, 2, 3], None) {
            let mut world = PushT::new();
            world.reset(episode.seed);
            let mut best = 0.0_f64;
            for _ in 0..60 {
                let seen = world.observation();
                best = best.max(world.step([seen[0], seen[1]]).unwrap().reward);
            }
            assert_eq!(episode.score.to_bits(), best.to_bits());
        }
    }

    #[test]
    fn episodes_from_one_start_differ_in_the_controller_alone() {
        let [first, second] = chase(&[1, 2], Some(7))[..] else {
            panic!("two episodes");
        };
        assert_eq!((first.seed, second.seed), (1, 2));
        assert_eq!(first.score, second.score);
        assert_eq!(first.score, chase(&[7], None)[0].score);
    }

    #[test]
    fn a_batch_scores_as_its_episodes_alone() {
        let together = chase(&[1, 2, 3], None);
        for (seed, episode) in [1, 2, 3].into_iter().zip(&together) {
            assert_eq!(&chase(&[seed], None)[0], episode);
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
