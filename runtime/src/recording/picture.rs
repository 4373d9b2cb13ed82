//! What a recording's messages show: the simulator's state, the plan and the scores, as the viewer
//! page wants them.

use kinestream_bridge::wire::{
    Action, Command, Decode, Observation, Plan as WirePlan, Request, RunState as WireState, Status,
};
use kinestream_sim::pusht::{GOAL_POSE, OBSERVATION_SIZE, SUCCESS_COVERAGE, StepOutcome, pose_of};
use kinestream_viewer::pusht::{Frame, Latency, Rates, RunState};

use super::messages::SimStep;
use super::topic;
use crate::page;

/// Follows a recording's messages.
pub struct Picture {
    frame: Frame,
    plan: Option<WirePlan>,
    /// Stream of the episode shown.
    stream: Option<u32>,
    /// Stamp of the episode's first observation.
    begun_ns: u64,
    /// Whether the simulator's own steps are recorded, which say more than observations.
    has_steps: bool,
    observations: u64,
    plans: u64,
    actions: u64,
}

impl Default for Picture {
    fn default() -> Self {
        Self::new()
    }
}

impl Picture {
    /// Nothing shown yet.
    pub fn new() -> Self {
        Self {
            frame: Frame {
                goal: GOAL_POSE,
                ..Frame::default()
            },
            plan: None,
            stream: None,
            begun_ns: 0,
            has_steps: false,
            observations: 0,
            plans: 0,
            actions: 0,
        }
    }

    /// Takes a message of the wire; what does not decode, or is not shown, changes nothing.
    pub fn wire(&mut self, topic: &str, bytes: &[u8]) {
        match topic {
            topic::STATE => {
                if let Ok(observation) = Observation::decode(bytes) {
                    self.observation(&observation);
                }
            }
            topic::PLAN => {
                if let Ok(plan) = WirePlan::decode(bytes) {
                    self.plans += 1;
                    self.frame.state = RunState::Running;
                    self.plan = Some(plan);
                }
            }
            topic::ACTION => {
                if let Ok(action) = Action::decode(bytes) {
                    self.actions += 1;
                    if let (false, [x, y]) = (self.has_steps, &action.values[..]) {
                        self.frame.target = [f64::from(*x), f64::from(*y)];
                    }
                }
            }
            topic::STATUS => {
                if let Ok(status) = Status::decode(bytes) {
                    self.status(&status);
                }
            }
            _ if topic.starts_with("cmd/") => {
                if let Ok(command) = Command::decode(bytes)
                    && let Request::Reset { seed } = command.request
                {
                    self.begin(command.stamp.stream);
                    self.frame.seed = seed as u32;
                }
            }
            _ => {}
        }
    }

    /// Takes a step of the bundled simulator.
    pub fn step(&mut self, step: &SimStep) {
        self.has_steps = true;
        if self.stream != Some(step.stream) {
            self.begin(step.stream);
        }
        self.frame.seed = step.seed;
        self.frame.time = step.step as f64 / 100.0;
        self.frame.step = step.step / 10;
        self.frame.agent = step.agent;
        self.frame.block = step.block;
        self.frame.target = step.target;
        self.score(&StepOutcome {
            coverage: step.coverage,
            reward: step.reward,
            success: step.coverage > SUCCESS_COVERAGE,
        });
    }

    /// Plans and commands so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.plans, self.actions)
    }

    /// The picture of this moment.
    pub fn frame(&self, rates: Rates, fault: Option<String>) -> Frame {
        Frame {
            plan: page::plan(self.plan.as_ref()),
            rates,
            fault,
            ..self.frame.clone()
        }
    }

    fn observation(&mut self, observation: &Observation) {
        let stamp = observation.stamp;
        if self.stream != Some(stamp.stream) {
            self.begin(stamp.stream);
        }
        if self.observations == 0 {
            self.begun_ns = stamp.monotonic_ns;
        }
        self.observations += 1;
        if self.has_steps {
            return;
        }
        self.frame.step = self.observations - 1;
        self.frame.time = stamp.monotonic_ns.saturating_sub(self.begun_ns) as f64 / 1e9;
        let values = observation.values.to_f64();
        if values.len() == OBSERVATION_SIZE
            && let Some(block) = pose_of(&values)
        {
            self.frame.agent = [values[OBSERVATION_SIZE - 2], values[OBSERVATION_SIZE - 1]];
            self.frame.block = block;
            self.score(&StepOutcome::of_pose(block));
        }
    }

    fn status(&mut self, status: &Status) {
        let milliseconds = |known: Option<f64>| known.map_or(0.0, |us| us / 1e3);
        self.frame.missed = status.missed;
        self.frame.latency = Latency {
            last_ms: milliseconds(status.latency_p50_us),
            p50_ms: milliseconds(status.latency_p50_us),
            p99_ms: milliseconds(status.latency_p99_us),
            ..self.frame.latency
        };
        self.frame.state = match status.state {
            WireState::Starting | WireState::Waiting => RunState::Starting,
            WireState::Paused => RunState::Paused,
            WireState::Stopped => RunState::Finished,
            _ => RunState::Running,
        };
    }

    fn score(&mut self, outcome: &StepOutcome) {
        self.frame.coverage = outcome.coverage;
        self.frame.reward = outcome.reward;
        self.frame.best_reward = self.frame.best_reward.max(outcome.reward);
        self.frame.success |= outcome.success;
    }

    fn begin(&mut self, stream: u32) {
        if self.stream == Some(stream) {
            return;
        }
        if self.observations > 0 || self.frame.step > 0 {
            self.frame.history.push(self.frame.best_reward as f32);
        }
        self.stream = Some(stream);
        self.observations = 0;
        self.plan = None;
        self.frame.episode += 1;
        self.frame.step = 0;
        self.frame.time = 0.0;
        self.frame.best_reward = 0.0;
        self.frame.success = false;
    }
}
