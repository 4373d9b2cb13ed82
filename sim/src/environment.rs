//! The interface of an environment: what evaluation, demonstrations and tests need of a simulated task.
//!
//! An environment reads no clock. Equal seeds and actions give equal observations, rewards and pictures, bit for bit.
//! `tests/conformance.rs` holds every registered environment to that.

use std::any::Any;

/// A simulated task that a policy acts in, one action per control step.
pub trait Environment: Send {
    /// Name, sizes, limits and rules, before and after any reset the same.
    fn spec(&self) -> &'static EnvironmentSpec;

    /// Begins the episode of `seed`.
    fn reset(&mut self, seed: u32);

    /// Applies `action` (`[Da]`, in the units of [`ActionSpec`]) for one control step.
    ///
    /// # Errors
    /// An action of another size, one that is not finite, or an episode that has ended. The state is unchanged then.
    fn step(&mut self, action: &[f64]) -> Result<StepResult, EnvironmentError>;

    /// The present values of an array of observations, as a data set holds them in a row; none for a name that
    /// [`EnvironmentSpec::arrays`] does not have.
    fn array(&self, name: &str) -> Option<Vec<f64>>;

    /// The present picture of a camera: red, green and blue, row by row, `[H, W, 3]`; none for a name that
    /// [`EnvironmentSpec::cameras`] does not have.
    fn picture(&self, camera: &str) -> Option<Vec<u8>>;

    /// The action that keeps the robot where it is.
    fn hold_action(&self) -> Vec<f64>;

    /// The whole state, the episode's progress included.
    fn save(&self) -> SavedState;

    /// Goes on from a saved state exactly as the environment that saved it.
    ///
    /// # Errors
    /// A state that another environment saved. The own state is unchanged then.
    fn restore(&mut self, state: &SavedState) -> Result<(), EnvironmentError>;
}

/// What acts in an environment by a script, to record demonstrations.
pub trait Demonstrator: Send {
    /// The next action of an episode that this demonstrator has acted in from its beginning.
    fn act(&mut self, environment: &dyn Environment) -> Vec<f64>;
}

/// What an environment is, for those who only know its name.
#[derive(Debug, Clone, Copy)]
pub struct EnvironmentSpec {
    /// The name that a configuration gives in `task.name`.
    pub name: &'static str,
    /// Its name in sentences.
    pub title: &'static str,
    /// What a step takes.
    pub action: ActionSpec,
    /// Control steps per second.
    pub rate_hz: f64,
    /// Control steps after which an episode ends.
    pub max_steps: usize,
    /// How rewards become the score of an episode.
    pub score: ScoreProtocol,
    /// When an episode is a success, in a word or two.
    pub success: &'static str,
    /// Arrays of numbers that may be observed, as data sets call them.
    pub arrays: &'static [ArraySpec],
    /// Cameras.
    pub cameras: &'static [CameraSpec],
    /// Observations that published checkpoints use under other names: a checkpoint whose arrays have names of its own is
    /// shown the first of these that has as many numbers and cameras.
    pub observations: &'static [ObservationSpec],
    /// Ways to solve the task that are equally right, as [`StepResult::route`] names them; empty where none are told apart.
    pub routes: &'static [&'static str],
    /// A configuration that trains a policy for it.
    pub configuration: &'static str,
    /// Makes one, to be reset before use.
    pub make: fn() -> Box<dyn Environment>,
    /// Makes a demonstrator whose choices depend on its seed and on what it observes; none where demonstrations come from
    /// elsewhere.
    pub demonstrator: Option<fn(seed: u32) -> Box<dyn Demonstrator>>,
}

/// What an action is.
#[derive(Debug, Clone, Copy)]
pub struct ActionSpec {
    /// Smallest value of each number that means something, `[Da]`.
    pub low: &'static [f64],
    /// Largest value of each number that means something, `[Da]`.
    pub high: &'static [f64],
    /// What the numbers are, with their unit.
    pub meaning: &'static str,
}

impl ActionSpec {
    /// Numbers of an action, Da.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.low.len()
    }
}

/// An array of observations.
#[derive(Debug, Clone, Copy)]
pub struct ArraySpec {
    /// Its name in data sets and in `task.observation`.
    pub name: &'static str,
    /// Shape of a row, such as `[9, 2]`.
    pub shape: &'static [usize],
    /// What the numbers are, with their unit.
    pub meaning: &'static str,
}

impl ArraySpec {
    /// Numbers of a row.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A camera.
#[derive(Debug, Clone, Copy)]
pub struct CameraSpec {
    /// Its name in data sets and in `task.observation`.
    pub name: &'static str,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
}

/// Arrays that are observed together.
#[derive(Debug, Clone, Copy)]
pub struct ObservationSpec {
    /// Names of the arrays, in their order; all numbers of each.
    pub arrays: &'static [&'static str],
    /// Names of the cameras, in their order.
    pub cameras: &'static [&'static str],
}

/// How the rewards of an episode become its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreProtocol {
    /// The largest reward, as published evaluations of Push-T score it.
    MaxReward,
}

impl ScoreProtocol {
    /// The score after one more reward; an episode begins at 0.
    #[must_use]
    pub fn update(self, score: f64, reward: f64) -> f64 {
        match self {
            Self::MaxReward => score.max(reward),
        }
    }
}

/// What a control step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// Reward of this step, 0 to 1.
    pub reward: f64,
    /// Why the episode ended with this step; none while it goes on.
    pub end: Option<EpisodeEnd>,
    /// Which of [`EnvironmentSpec::routes`] a successful episode took.
    pub route: Option<&'static str>,
}

impl StepResult {
    /// Whether the episode ended with its task solved.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == Some(EpisodeEnd::Success)
    }
}

/// Why an episode ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpisodeEnd {
    /// The task is solved.
    Success,
    /// It cannot be solved any more, for a reason in a word.
    Failure(&'static str),
    /// The control steps of an episode are used up.
    TimeLimit,
}

/// Why an environment refused a request. Its state is unchanged then.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum EnvironmentError {
    /// An action of another size.
    #[error("{environment}: the action has {found} numbers, expected {expected} ({meaning})")]
    ActionSize {
        /// Name of the environment.
        environment: &'static str,
        /// Numbers found.
        found: usize,
        /// Numbers expected, Da.
        expected: usize,
        /// What they are.
        meaning: &'static str,
    },
    /// An action with NaN, an infinity, or a number too large for the arithmetic.
    #[error(
        "{environment}: number {index} of the action is {value}, expected a finite number within ±{limit}; \
         check the policy's output and its normaliser"
    )]
    ActionRange {
        /// Name of the environment.
        environment: &'static str,
        /// Which number of the action, from 0 on.
        index: usize,
        /// Its value.
        value: f64,
        /// Largest permitted magnitude.
        limit: f64,
    },
    /// A step after the end of an episode.
    #[error("{environment}: the episode has ended; reset the environment before the next step")]
    EpisodeEnded {
        /// Name of the environment.
        environment: &'static str,
    },
    /// A state that another environment saved.
    #[error("{environment} cannot go on from a state that {found} saved")]
    ForeignState {
        /// Name of the environment.
        environment: &'static str,
        /// Name of the environment that saved the state.
        found: &'static str,
    },
}

/// Largest magnitude of a number of an action; guards the arithmetic against overflow.
pub const ACTION_LIMIT: f64 = 1e6;

/// A whole state, known to the environment that saved it alone.
pub struct SavedState {
    environment: &'static str,
    state: Box<dyn Any + Send + Sync>,
}

impl SavedState {
    /// The state of an environment.
    pub fn new<S: Any + Send + Sync>(spec: &EnvironmentSpec, state: S) -> Self {
        Self {
            environment: spec.name,
            state: Box::new(state),
        }
    }

    /// The state as the type that an environment saves.
    ///
    /// # Errors
    /// Another environment saved it.
    pub fn of<S: Any>(&self, spec: &EnvironmentSpec) -> Result<&S, EnvironmentError> {
        let state = self.state.downcast_ref();
        state.ok_or(EnvironmentError::ForeignState {
            environment: spec.name,
            found: self.environment,
        })
    }
}

/// Control steps of an episode and whether it has ended, for environments to keep beside their own state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EpisodeProgress {
    steps: usize,
    ended: bool,
}

impl EpisodeProgress {
    /// Control steps since the reset.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The action as an array, if a step may take it now.
    ///
    /// # Errors
    /// As [`Environment::step`].
    pub fn checked_action<const SIZE: usize>(
        &self,
        spec: &EnvironmentSpec,
        action: &[f64],
    ) -> Result<[f64; SIZE], EnvironmentError> {
        let environment = spec.name;
        if self.ended {
            return Err(EnvironmentError::EpisodeEnded { environment });
        }
        let checked = action
            .try_into()
            .map_err(|_| EnvironmentError::ActionSize {
                environment,
                found: action.len(),
                expected: SIZE,
                meaning: spec.action.meaning,
            })?;
        // NaN lies in no range.
        let outside = |value: &f64| !(-ACTION_LIMIT..=ACTION_LIMIT).contains(value);
        match action.iter().position(outside) {
            None => Ok(checked),
            Some(index) => Err(EnvironmentError::ActionRange {
                environment,
                index,
                value: action[index],
                limit: ACTION_LIMIT,
            }),
        }
    }

    /// Counts a control step that came to `end` by the task's own rules; returns how the episode ended with it, the time
    /// limit included.
    pub fn advance(
        &mut self,
        spec: &EnvironmentSpec,
        end: Option<EpisodeEnd>,
    ) -> Option<EpisodeEnd> {
        self.steps += 1;
        let end = end.or((self.steps >= spec.max_steps).then_some(EpisodeEnd::TimeLimit));
        self.ended = end.is_some();
        end
    }
}
