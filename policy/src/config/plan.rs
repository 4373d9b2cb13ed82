//! `[plan]`: how plans are laid out, kept and refined.

use kinestream_diffusion::GuidanceConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refuse;
use crate::Result;

/// Which observation the first position of a plan belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// Position 0 is the action taken at the oldest observation of the history, as in Diffusion
    /// Policy and SDP: the first To - 1 positions lie in the past.
    OldestObservation,
    /// Position 0 is the action due now.
    NewestObservation,
}

impl Alignment {
    /// Positions of a plan that lie in the past, for a history of `observation_steps`.
    pub fn past_actions(self, observation_steps: usize) -> usize {
        match self {
            Self::OldestObservation => observation_steps.saturating_sub(1),
            Self::NewestObservation => 0,
        }
    }
}

/// How a plan is kept between observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanMode {
    /// A rolling plan whose later positions are noisier (Streaming Diffusion Policy, coherent).
    Streaming,
    /// The streaming of the released SDP code, its quirks included, for its checkpoints.
    Released,
    /// A whole plan denoised from noise whenever the last one is used up (Diffusion Policy).
    Chunk,
}

/// How a rolling plan begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanInit {
    /// Zeros, noised to the ladder.
    Zero,
    /// The observation's `primer_columns` repeated, noised to the ladder.
    Constant,
    /// A whole plan denoised from noise, then noised to the ladder.
    Denoise,
}

/// How plans are laid out and refined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// How a plan is kept between observations.
    #[serde(default = "default_mode")]
    pub mode: PlanMode,
    /// Positions of a plan, Tp.
    pub horizon: usize,
    /// Observations in the history, To.
    pub observation_steps: usize,
    /// Actions executed per observation, Ta.
    pub action_steps: usize,
    /// Noise levels K of the ladder; K / h network evaluations per observation with
    /// h = (Tp - past - d) / Ta chunks. Absent: one per chunk, hence one evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Which observation position 0 belongs to.
    #[serde(default = "default_alignment")]
    pub alignment: Alignment,
    /// How a rolling plan begins.
    #[serde(default = "default_primer")]
    pub primer: PlanInit,
    /// Numbers of the observation that hold the current value of every action (for the constant
    /// primer); absent: the first Da numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primer_columns: Option<Vec<usize>>,
    /// Actions from the current one on that a new plan takes over unchanged, because they are
    /// executed while it is computed: the committed prefix, 0 to Ta. As many as actions pass
    /// between an observation and its plan; 0 where that is less than one action. It matters where
    /// a policy runs, not where it is trained.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub commit_ahead: usize,
    /// Chunk mode: draws a new chunk towards the rest of the one that is executed; absent: a new
    /// chunk knows the committed prefix alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inpaint: Option<InpaintConfig>,
    /// Chunk mode: begins a new chunk from the one that is executed; absent: from noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterate: Option<IterateConfig>,
    /// Chunk mode: begins a new chunk from what the ones before it were on their way down, unless
    /// the observation is a surprise; absent: from noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartConfig>,
    /// What changes the clean estimates of every denoise step: zones that plans are kept out of and
    /// the like. It matters where a policy runs, evaluations within a training included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guidance: Vec<GuidanceConfig>,
}

/// How a chunk restarts from states of the chunks before it (after Falcon, Chen et al. 2025).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartConfig {
    /// Denoise steps that the shortest restart has to go, 1 to `plan.levels`; one that is refused is
    /// followed by one of twice as many.
    pub steps: usize,
    /// How far the plan that a state stands for may be from the last plan's rest, over the actions
    /// that are executed next: root of the mean square, normalised (2 is the whole range of the
    /// training data), above 0.
    pub within: f64,
}

/// How a chunk goes on from the one before it (real-time iteration, Duan et al. 2025): that one,
/// moved on by what was executed, its last action repeated, counts as a sample that is nearly clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IterateConfig {
    /// Denoise steps that it is given, the last ones of the ladder: 1 to `plan.levels`.
    pub steps: usize,
}

/// How a chunk is in-painted (real-time chunking, Black et al. 2025).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InpaintConfig {
    /// Largest guidance weight of a step, beta, above 0.
    pub guidance: f64,
}

impl Default for InpaintConfig {
    fn default() -> Self {
        Self { guidance: 5.0 }
    }
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn default_mode() -> PlanMode {
    PlanMode::Streaming
}
fn default_alignment() -> Alignment {
    Alignment::NewestObservation
}
fn default_primer() -> PlanInit {
    PlanInit::Constant
}

impl PlanConfig {
    /// The plan of a trained policy as a configuration that runs it has it: the one says what the network was trained for,
    /// the other how late plans and their beginnings are dealt with.
    #[must_use]
    pub fn run_as(&self, run: &Self) -> Self {
        // A new field does not compile until it is decided which of the two says it.
        let Self {
            mode: _,
            horizon: _,
            observation_steps: _,
            action_steps,
            levels: _,
            alignment: _,
            primer: _,
            primer_columns,
            commit_ahead,
            inpaint,
            iterate,
            restart,
            guidance,
        } = run.clone();
        // They are for answering more often than a chunk is long.
        let is_often = iterate.is_some() || restart.is_some();
        Self {
            action_steps: if is_often {
                action_steps
            } else {
                self.action_steps
            },
            primer_columns: primer_columns.or_else(|| self.primer_columns.clone()),
            commit_ahead,
            inpaint,
            iterate,
            restart,
            guidance,
            ..self.clone()
        }
    }

    /// Checks the guidances, for actions of `action` numbers.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check_guidance(&self, action: usize) -> Result<()> {
        let mut all = self.guidance.iter();
        all.try_for_each(|guidance| guidance.check(action))?;
        Ok(())
    }

    /// Positions of a plan that lie in the past.
    pub fn past(&self) -> usize {
        self.alignment.past_actions(self.observation_steps)
    }

    /// The first position behind the past and the committed prefix.
    pub fn first_open(&self) -> usize {
        self.past() + self.commit_ahead
    }

    /// Number of chunks h of a plan behind its committed prefix.
    pub fn chunks(&self) -> usize {
        (self.horizon.saturating_sub(self.first_open()) / self.action_steps).max(1)
    }

    /// Number of noise levels K of the ladder.
    pub fn ladder_levels(&self) -> usize {
        self.levels.unwrap_or_else(|| self.chunks())
    }

    /// The chunk of a position: the past and the committed prefix belong to the first, an
    /// incomplete tail to the last.
    pub fn chunk_of(&self, position: usize) -> usize {
        (position.saturating_sub(self.first_open()) / self.action_steps).min(self.chunks() - 1)
    }

    fn check_iteration(&self) -> Result<()> {
        let Some(iterate) = self.iterate else {
            return Ok(());
        };
        if self.mode != PlanMode::Chunk || self.inpaint.is_some() {
            let found = match self.inpaint {
                Some(_) => "set, with plan.inpaint".to_owned(),
                None => format!("set, with plan.mode {:?}", self.mode).to_lowercase(),
            };
            let expected = "plan.mode chunk without plan.inpaint, or no plan.iterate";
            return refuse("plan.iterate", found, expected);
        }
        let most = self.ladder_levels();
        if !(1..=most).contains(&iterate.steps) {
            let expected = format!("1 to {most} (plan.levels)");
            return refuse("plan.iterate.steps", iterate.steps, expected);
        }
        Ok(())
    }

    fn check_restart(&self) -> Result<()> {
        let Some(RestartConfig { steps, within }) = self.restart else {
            return Ok(());
        };
        if self.mode != PlanMode::Chunk || self.iterate.is_some() || self.inpaint.is_some() {
            let found = format!("set, with plan.mode {:?}", self.mode).to_lowercase();
            let expected =
                "plan.mode chunk without plan.iterate and plan.inpaint, or no plan.restart";
            return refuse("plan.restart", found, expected);
        }
        let most = self.ladder_levels();
        if !(1..=most).contains(&steps) {
            let expected = format!("1 to {most} (plan.levels)");
            return refuse("plan.restart.steps", steps, expected);
        }
        if !(within > 0.0 && within.is_finite()) {
            return refuse("plan.restart.within", within, "a number above 0");
        }
        Ok(())
    }

    pub(super) fn check_delay(&self) -> Result<()> {
        let most = match self.mode {
            PlanMode::Released => 0,
            // More than Ta would be used up before the next plan is there.
            _ => (self.horizon - self.past() - self.action_steps).min(self.action_steps),
        };
        if self.commit_ahead > most {
            let expected = match self.mode {
                PlanMode::Released => {
                    "0 with plan.mode released; streaming and chunk take more".into()
                }
                _ => format!(
                    "0 to {most}: at most plan.action_steps ({}), and with them at most \
                     plan.horizon without the past ({})",
                    self.action_steps,
                    self.horizon - self.past()
                ),
            };
            return refuse("plan.commit_ahead", self.commit_ahead, expected);
        }
        self.check_iteration()?;
        self.check_restart()?;
        let Some(inpaint) = self.inpaint else {
            return Ok(());
        };
        if self.mode != PlanMode::Chunk {
            let found = format!("set, with plan.mode {:?}", self.mode).to_lowercase();
            return refuse("plan.inpaint", found, "plan.mode chunk, or no plan.inpaint");
        }
        if !(inpaint.guidance > 0.0 && inpaint.guidance.is_finite()) {
            return refuse(
                "plan.inpaint.guidance",
                inpaint.guidance,
                "a number above 0",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(horizon: usize, alignment: Alignment, action_steps: usize) -> PlanConfig {
        PlanConfig {
            mode: PlanMode::Streaming,
            horizon,
            observation_steps: 2,
            action_steps,
            levels: None,
            alignment,
            primer: PlanInit::Zero,
            primer_columns: None,
            commit_ahead: 0,
            inpaint: None,
            iterate: None,
            restart: None,
            guidance: Vec::new(),
        }
    }

    #[test]
    fn a_configuration_says_how_a_trained_plan_is_run_and_nothing_else() {
        let trained = plan(16, Alignment::OldestObservation, 8);
        let said = PlanConfig {
            mode: PlanMode::Chunk,
            levels: Some(3),
            primer_columns: Some(vec![2, 3]),
            commit_ahead: 2,
            inpaint: Some(InpaintConfig::default()),
            ..plan(32, Alignment::NewestObservation, 4)
        };
        let expected = PlanConfig {
            primer_columns: said.primer_columns.clone(),
            commit_ahead: 2,
            inpaint: said.inpaint,
            ..trained.clone()
        };
        assert_eq!(trained.run_as(&said), expected);
        // Where the robot is stays known, and answers come as often as asked where chunks go on from the last.
        let often = PlanConfig {
            iterate: Some(IterateConfig { steps: 1 }),
            ..plan(16, Alignment::OldestObservation, 1)
        };
        let run = expected.run_as(&often);
        assert_eq!((run.action_steps, run.iterate), (1, often.iterate));
        assert_eq!(run.primer_columns, Some(vec![2, 3]));
        assert_eq!((run.commit_ahead, run.inpaint), (0, None));
    }

    #[test]
    fn chunks_of_the_released_configurations() {
        let released = plan(16, Alignment::OldestObservation, 5);
        assert_eq!(released.chunks(), 3);
        let chunks: Vec<_> = (0..16)
            .map(|position| released.chunk_of(position))
            .collect();
        assert_eq!(chunks, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!(plan(20, Alignment::OldestObservation, 8).chunks(), 2);
        // An incomplete tail joins the last chunk.
        let tail = plan(20, Alignment::OldestObservation, 8);
        assert_eq!((tail.chunk_of(16), tail.chunk_of(19)), (1, 1));
    }

    #[test]
    fn one_action_a_time_means_one_level_a_position() {
        let ours = plan(16, Alignment::NewestObservation, 1);
        assert_eq!((ours.chunks(), ours.ladder_levels()), (16, 16));
    }

    #[test]
    fn chunks_lie_behind_the_committed_prefix() {
        let mut plan = plan(16, Alignment::OldestObservation, 4);
        plan.commit_ahead = 3;
        assert_eq!((plan.first_open(), plan.chunks()), (4, 3));
        let chunks: Vec<_> = (0..16).map(|position| plan.chunk_of(position)).collect();
        assert_eq!(chunks, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn a_prefix_that_cannot_be_is_refused() {
        let message = |change: fn(&mut PlanConfig)| {
            let mut plan = plan(16, Alignment::NewestObservation, 4);
            change(&mut plan);
            plan.check_delay().map_err(|error| error.to_string())
        };
        for (change, expected) in [
            (
                (|plan| plan.commit_ahead = 5) as fn(&mut PlanConfig),
                "plan.commit_ahead is 5, expected 0 to 4",
            ),
            (
                |plan| (plan.action_steps, plan.commit_ahead) = (14, 3),
                "plan.commit_ahead is 3, expected 0 to 2",
            ),
            (
                |plan| (plan.mode, plan.commit_ahead) = (PlanMode::Released, 1),
                "expected 0 with plan.mode released",
            ),
            (
                |plan| plan.inpaint = Some(InpaintConfig::default()),
                "plan.inpaint is set, with plan.mode streaming",
            ),
            (
                |plan| {
                    plan.mode = PlanMode::Chunk;
                    plan.inpaint = Some(InpaintConfig { guidance: 0.0 });
                },
                "plan.inpaint.guidance is 0",
            ),
        ] {
            let message = message(change).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(message(|plan| plan.commit_ahead = 4), Ok(()));
    }

    #[test]
    fn without_a_prefix_nothing_of_it_is_written() {
        let plan = plan(16, Alignment::NewestObservation, 4);
        let text = serde_json::to_string(&plan).unwrap();
        assert!(
            !text.contains("commit") && !text.contains("inpaint"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<PlanConfig>(&text).unwrap(), plan);
    }
}
