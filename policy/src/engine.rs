//! The policy as the runtime drives it: observations as they arrive, plans with their times.
//!
//! One stream, no clock and no network: it is told when what arrived, and the same inputs in the
//! same order give the same plans, bit for bit on the same machine. That is what a recording is
//! simulated again with.

use crate::arrivals::{Arrival, Arrivals};
use crate::image::Image;
use crate::{Error, Policy, Result};

/// An observation as it arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensed<'a> {
    /// The sender's episode; another than before begins the stream anew.
    pub stream: u32,
    /// The sender's count.
    pub sequence: u64,
    /// The sender's time, in nanoseconds; only differences count.
    pub time_ns: u64,
    /// Numbers `[Do]` in the task's units.
    pub values: &'a [f32],
    /// The image of every camera of the policy, in its order; empty without cameras.
    pub images: &'a [Image<'a>],
}

/// What became of an observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It is in the history.
    Valid,
    /// It is the newest once more, or older than the newest, and was left out.
    Old(Arrival),
    /// It was left out for its contents; the text says why.
    Refused(String),
}

/// A plan from the action due at the observation's arrival on, in the task's units.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Counts the answers since the engine was made.
    pub chunk: u64,
    /// The stream that it belongs to.
    pub stream: u32,
    /// The observation that it answers.
    pub observation_sequence: u64,
    /// When its first action is due: when the observation arrived, in nanoseconds.
    pub start_ns: u64,
    /// Time from one action to the next, in nanoseconds.
    pub period_ns: u64,
    /// How many leading actions are clean.
    pub committed: usize,
    /// Actions `[T, Da]`, row by row.
    pub actions: Vec<f32>,
    /// Standard deviation of the noise left in every action, 0 to 1, `[T]`.
    pub noise: Vec<f32>,
    /// Denoise steps left for every action, `[T]`.
    pub levels: Vec<u32>,
    /// Network evaluations that it took; 0 where the plan before it goes on.
    pub evaluations: u64,
}

/// A policy that answers one stream of observations.
pub struct Engine {
    policy: Policy,
    arrivals: Arrivals,
    period_ns: u64,
    stream: u32,
    newest: u64,
    chunk: u64,
}

impl Engine {
    /// An engine for the first stream of `policy`, which it begins with seed 0.
    ///
    /// # Errors
    /// A policy without streams.
    pub fn new(mut policy: Policy) -> Result<Self> {
        policy.reset(0, 0)?;
        let period_ns = (1e9 / policy.config().task.rate_hz) as u64;
        Ok(Self {
            policy,
            arrivals: Arrivals::new(period_ns),
            period_ns,
            stream: 0,
            newest: 0,
            chunk: 0,
        })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The stream that is being answered.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Begins a stream anew; its randomness depends on `seed` alone.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn begin(&mut self, stream: u32, seed: u64) -> Result<()> {
        self.policy.reset(0, seed)?;
        self.arrivals.reset();
        self.stream = stream;
        Ok(())
    }

    /// Takes an observation into the history and rolls the plan by the time that passed. One of
    /// another stream begins that stream, with its number for a seed: its reset was lost.
    ///
    /// # Errors
    /// LibTorch refused. A bad observation is no error.
    pub fn take(&mut self, sensed: &Sensed<'_>) -> Result<Taken> {
        if sensed.stream != self.stream {
            self.begin(sensed.stream, u64::from(sensed.stream))?;
        }
        if let Err(error) = self.policy.check_observation(sensed.values, sensed.images) {
            return Ok(Taken::Refused(error.to_string()));
        }
        let arrival = self.arrivals.take(sensed.sequence, sensed.time_ns);
        let Arrival::News { consumed } = arrival else {
            return Ok(Taken::Old(arrival));
        };
        self.policy.advance(0, consumed);
        self.policy
            .observe_images(0, sensed.values, sensed.images)?;
        self.newest = sensed.sequence;
        Ok(Taken::Valid)
    }

    /// Refines until nothing is owed, and reads the plan that answers the newest observation, which
    /// arrived at `arrived_ns`. None if the network returned NaN: the last good plan is back in
    /// place.
    ///
    /// # Errors
    /// LibTorch refused, or there was no observation.
    pub fn answer(&mut self, arrived_ns: u64) -> Result<Option<Answer>> {
        let before = self.policy.evaluations();
        while self.policy.refine(&[0])? > 0 {}
        let plan = match self.policy.plan(0) {
            Ok(plan) => plan,
            Err(Error::NonFinitePlan) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.chunk += 1;
        let size = self.policy.action_size();
        Ok(Some(Answer {
            chunk: self.chunk,
            stream: self.stream,
            observation_sequence: self.newest,
            start_ns: arrived_ns,
            period_ns: self.period_ns,
            committed: plan.committed,
            actions: plan.actions[plan.current * size..].to_vec(),
            noise: plan.noise[plan.current..].to_vec(),
            levels: plan.levels[plan.current..].to_vec(),
            evaluations: self.policy.evaluations() - before,
        }))
    }
}
