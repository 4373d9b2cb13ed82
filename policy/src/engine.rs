//! The policy as the runtime drives it: observations as they arrive, plans with their times.
//!
//! No clock and no network: it is told when what arrived, and the same inputs in the same order give
//! the same plans, bit for bit on the same machine. That is what a recording is simulated again with.
//! A robot has a *seat*; those that wait for a plan at the same time are answered in one batch.

use crate::arrivals::{Arrival, Arrivals};
use crate::dispatch::Demand;
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
    /// When it came, on the clock that answers are given in, in nanoseconds.
    pub arrived_ns: u64,
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
    /// Counts the answers to this robot since the engine was made.
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

/// A policy that answers the observations of one robot, or of several.
pub struct Engine {
    policy: Policy,
    seats: Vec<Seat>,
    period_ns: u64,
}

/// One robot's part.
#[derive(Debug)]
struct Seat {
    arrivals: Arrivals,
    stream: u32,
    newest: u64,
    chunk: u64,
    /// Evaluations since the last answer.
    evaluations: u64,
    waiting: Option<Waiting>,
}

/// When observations came that have had no answer: the oldest of them and the newest, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    since_ns: u64,
    arrived_ns: u64,
}

impl Engine {
    /// An engine with a seat for every stream of `policy`, each of which it begins with seed 0.
    ///
    /// # Errors
    /// A policy without streams.
    pub fn new(mut policy: Policy) -> Result<Self> {
        let period_ns = (1e9 / policy.config().task.rate_hz) as u64;
        let count = policy.streams().max(1);
        for seat in 0..count {
            policy.reset(seat, 0)?;
        }
        let seat = || Seat {
            arrivals: Arrivals::new(period_ns),
            stream: 0,
            newest: 0,
            chunk: 0,
            evaluations: 0,
            waiting: None,
        };
        Ok(Self {
            policy,
            seats: (0..count).map(|_| seat()).collect(),
            period_ns,
        })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The stream that a seat is being answered on.
    pub fn stream(&self, seat: usize) -> u32 {
        self.seats[seat].stream
    }

    /// Begins a seat's stream anew; its randomness depends on `seed` alone. What was observed in the last
    /// stream gets no answer in this one.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn begin(&mut self, seat: usize, stream: u32, seed: u64) -> Result<()> {
        self.policy.reset(seat, seed)?;
        let seat = &mut self.seats[seat];
        seat.arrivals.reset();
        seat.stream = stream;
        seat.evaluations = 0;
        seat.waiting = None;
        Ok(())
    }

    /// Begins the stream of an observation, with its number for a seed, if that is another than the
    /// seat's: its reset was lost. Says whether it was.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn follow(&mut self, seat: usize, stream: u32) -> Result<bool> {
        let is_other = stream != self.stream(seat);
        if is_other {
            self.begin(seat, stream, u64::from(stream))?;
        }
        Ok(is_other)
    }

    /// Takes an observation into a seat's history and rolls its plan by the time that passed. One of
    /// another stream begins that stream, with its number for a seed: its reset was lost.
    ///
    /// # Errors
    /// LibTorch refused. A bad observation is no error.
    pub fn take(&mut self, seat: usize, sensed: &Sensed<'_>) -> Result<Taken> {
        self.follow(seat, sensed.stream)?;
        if let Err(error) = self.policy.check_observation(sensed.values, sensed.images) {
            return Ok(Taken::Refused(error.to_string()));
        }
        let arrivals = &mut self.seats[seat].arrivals;
        let arrival = arrivals.take(sensed.sequence, sensed.time_ns);
        let Arrival::News { consumed } = arrival else {
            return Ok(Taken::Old(arrival));
        };
        self.policy.advance(seat, consumed);
        self.policy
            .observe_images(seat, sensed.values, sensed.images)?;
        let seat = &mut self.seats[seat];
        seat.newest = sensed.sequence;
        let before = seat.waiting.map(|waiting| waiting.since_ns);
        seat.waiting = Some(Waiting {
            since_ns: before.unwrap_or(sensed.arrived_ns),
            arrived_ns: sensed.arrived_ns,
        });
        Ok(Taken::Valid)
    }

    /// Refines until no seat named owes anything, all in one batch, and reads the plans that answer
    /// their newest observations. None for a seat whose network returned NaN: its last good plan is back
    /// in place.
    ///
    /// # Errors
    /// LibTorch refused, or a seat has no observation that waits.
    pub fn answer(&mut self, seats: &[usize]) -> Result<Vec<Option<Answer>>> {
        while self.refine(seats)? > 0 {}
        seats.iter().map(|&seat| self.read(seat)).collect()
    }

    /// What a seat waits for, if it does, to be there `within_ns` after its newest observation came. One
    /// that owes nothing has only to be read.
    pub fn demand(&self, seat: usize, within_ns: u64) -> Option<Demand> {
        let Waiting {
            since_ns,
            arrived_ns,
        } = self.seats[seat].waiting?;
        Some(Demand {
            stream: seat,
            since_ns,
            arrived_ns,
            deadline_ns: arrived_ns.saturating_add(within_ns),
            owed: self.policy.owed(seat),
        })
    }

    /// Whether evaluations of a seat's answer have been made: what it observes now is for the next one.
    pub fn has_begun(&self, seat: usize) -> bool {
        self.seats[seat].evaluations > 0
    }

    /// Network evaluations until a seat's newest observation is answered.
    pub fn owed(&self, seat: usize) -> usize {
        self.policy.owed(seat)
    }

    /// One network evaluation for those of `seats` that owe one; returns for how many.
    ///
    /// # Errors
    /// LibTorch refused, or a seat had no observation.
    pub fn refine(&mut self, seats: &[usize]) -> Result<usize> {
        for &seat in seats {
            self.seats[seat].evaluations += u64::from(self.policy.owed(seat) > 0);
        }
        self.policy.refine(seats)
    }

    /// The plan that answers the newest observation of a seat, which owes nothing. None if the network
    /// returned NaN: the last good plan is back in place.
    ///
    /// # Errors
    /// No observation waits, or LibTorch refused.
    pub fn read(&mut self, seat: usize) -> Result<Option<Answer>> {
        let waiting = self.seats[seat].waiting.take();
        let evaluations = std::mem::take(&mut self.seats[seat].evaluations);
        let Some(Waiting { arrived_ns, .. }) = waiting else {
            return Err(Error::NoObservation { stream: seat });
        };
        let plan = match self.policy.plan(seat) {
            Ok(plan) => plan,
            Err(Error::NonFinitePlan) => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = self.policy.action_size();
        let Seat {
            stream,
            newest,
            chunk,
            ..
        } = &mut self.seats[seat];
        *chunk += 1;
        Ok(Some(Answer {
            chunk: *chunk,
            stream: *stream,
            observation_sequence: *newest,
            start_ns: arrived_ns,
            period_ns: self.period_ns,
            committed: plan.committed,
            actions: plan.actions[plan.current * size..].to_vec(),
            noise: plan.noise[plan.current..].to_vec(),
            levels: plan.levels[plan.current..].to_vec(),
            evaluations,
        }))
    }
}
