//! The policy as the runtime drives it: observations as they arrive, plans with their times.
//!
//! No clock and no network: it is told when what arrived, and the same inputs in the same order give
//! the same plans, bit for bit on the same machine. That is what a recording is simulated again with.
//! A robot has a *seat*; those that wait for a plan at the same time are answered in one batch.
//!
//! A stream's motion begins with its first plan, when that is there: nothing was consumed before. Later plans take over at
//! the action due when their observation arrived; one that was observed between two actions leaves them where they are.

use crate::arrivals::{Arrival, ObservationOrder};
use crate::dispatch::InferenceRequest;
use crate::image::Image;
use crate::{Error, Policy, Result};

/// An observation as it arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedObservation<'a> {
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
pub enum IngestOutcome {
    /// It is in the history.
    Valid,
    /// It is the first of a stream that has begun anew under its old number: see [`Arrival::Anew`].
    Anew,
    /// It is the newest once more, or older than the newest, and was left out.
    Old(Arrival),
    /// It was left out for its contents; the text says why.
    Refused(String),
}

/// A plan from the action due when its observation arrived, in the task's units.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionChunk {
    /// Counts the answers to this robot since the engine was made.
    pub chunk: u64,
    /// The stream that it belongs to.
    pub stream: u32,
    /// The observation that it answers.
    pub observation_sequence: u64,
    /// When that observation arrived, in nanoseconds.
    pub arrived_ns: u64,
    /// When its first action is due, in nanoseconds: when the observation arrived at which that action came to be the first.
    /// Of the first answer of a stream, where it came late, whole periods later, so that no action has passed.
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
    arrivals: ObservationOrder,
    stream: u32,
    /// Of the newest observation, with the time at which it was made.
    newest: u64,
    time_ns: u64,
    chunk: u64,
    /// Evaluations since the last answer.
    evaluations: u64,
    waiting: Option<Waiting>,
    /// When the first action of the plan as it stands is due.
    start_ns: u64,
    /// Whether the stream has had an answer: its motion has begun.
    has_moved: bool,
    /// Set where that answer came late, until the next observation.
    late: Option<Late>,
}

/// A first answer that came late.
#[derive(Debug, Clone, Copy)]
struct Late {
    /// When its observation was made, on its sender's clock, and when it arrived.
    time_ns: u64,
    arrived_ns: u64,
    /// When the answer was handed on.
    now_ns: u64,
    /// How long after its observation its first action is due.
    later_ns: u64,
}

impl Late {
    /// Whether the sender's clock went on while the answer was made, by the next observation: it came meanwhile, or as much
    /// later as it was made. A simulator in lock step waits for the answer instead, and no time passes in it.
    fn has_passed(&self, sensed: &TimedObservation<'_>, period_ns: u64) -> bool {
        let made_ns = i128::from(sensed.time_ns) - i128::from(self.time_ns);
        let came_ns = i128::from(sensed.arrived_ns) - i128::from(self.arrived_ns);
        let apart_ns = (came_ns - made_ns).unsigned_abs();
        sensed.arrived_ns <= self.now_ns || apart_ns <= u128::from(period_ns / 10)
    }
}

/// When observations came that have had no answer: the oldest of them and the newest, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    since_ns: u64,
    arrived_ns: u64,
    /// When the newest was made, on its sender's clock.
    time_ns: u64,
}

impl Seat {
    /// Whether the motion goes on where it is with an observation between two actions. It does not with a sender whose clock
    /// stands still, or falls behind: its plan would grow old.
    fn goes_on(&self, sensed: &TimedObservation<'_>, period_ns: u64) -> bool {
        let old_ns = sensed.arrived_ns.saturating_sub(self.start_ns);
        self.has_moved && sensed.time_ns > self.time_ns && old_ns <= period_ns.saturating_mul(2)
    }

    /// Counts actions from when the first one is due, where the first answer came late and time passed meanwhile.
    fn settle(&mut self, next: &TimedObservation<'_>, period_ns: u64) {
        let is_next = |late: &mut Late| next.time_ns > late.time_ns && next.sequence > self.newest;
        if let Some(late) = self.late.take_if(is_next)
            && late.has_passed(next, period_ns)
        {
            let first_ns = late.time_ns.saturating_add(late.later_ns);
            self.arrivals.count_from(first_ns);
        }
    }
}

impl Engine {
    /// An engine with a seat for every stream of `policy`, each of which it begins with seed 0.
    ///
    /// # Errors
    /// A policy without streams.
    pub fn new(mut policy: Policy) -> Result<Self> {
        let period_ns = policy.config().period_ns();
        let count = policy.streams().max(1);
        for seat in 0..count {
            policy.reset(seat, 0)?;
        }
        let seat = || Seat {
            arrivals: ObservationOrder::new(period_ns),
            stream: 0,
            newest: 0,
            time_ns: 0,
            chunk: 0,
            evaluations: 0,
            waiting: None,
            start_ns: 0,
            has_moved: false,
            late: None,
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
        seat.has_moved = false;
        seat.late = None;
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
    /// another stream begins that stream, with its number for a seed: its reset was lost. So does one of
    /// a robot that was started again.
    ///
    /// # Errors
    /// LibTorch refused. A bad observation is no error.
    pub fn take(&mut self, seat: usize, sensed: &TimedObservation<'_>) -> Result<IngestOutcome> {
        self.follow(seat, sensed.stream)?;
        if let Err(error) = self.policy.check_observation(sensed.values, sensed.images) {
            return Ok(IngestOutcome::Refused(error.to_string()));
        }
        let (sequence, time_ns) = (sensed.sequence, sensed.time_ns);
        self.seats[seat].settle(sensed, self.period_ns);
        let mut arrival = self.seats[seat].arrivals.take(sequence, time_ns);
        let is_anew = arrival == Arrival::Anew;
        if is_anew {
            self.begin(seat, sensed.stream, u64::from(sensed.stream))?;
            arrival = self.seats[seat].arrivals.take(sequence, time_ns);
        }
        let Arrival::News { mut consumed } = arrival else {
            return Ok(IngestOutcome::Old(arrival));
        };
        let state = &mut self.seats[seat];
        if !state.has_moved {
            consumed = 0;
            state.arrivals.count_from(time_ns);
        }
        if consumed > 0 || !state.goes_on(sensed, self.period_ns) {
            state.start_ns = sensed.arrived_ns;
        }
        (state.newest, state.time_ns) = (sequence, time_ns);
        let before = state.waiting.map(|waiting| waiting.since_ns);
        state.waiting = Some(Waiting {
            since_ns: before.unwrap_or(sensed.arrived_ns),
            arrived_ns: sensed.arrived_ns,
            time_ns,
        });
        self.policy.advance(seat, consumed);
        self.policy
            .observe_at(seat, time_ns, sensed.values, sensed.images)?;
        Ok(if is_anew {
            IngestOutcome::Anew
        } else {
            IngestOutcome::Valid
        })
    }

    /// Refines until no seat named owes anything, all in one batch, and reads the plans that answer
    /// their newest observations, as if no time had passed. None for a seat whose network returned NaN: its
    /// last good plan is back in place.
    ///
    /// # Errors
    /// LibTorch refused, or a seat has no observation that waits.
    pub fn answer(&mut self, seats: &[usize]) -> Result<Vec<Option<ActionChunk>>> {
        while self.refine(seats)? > 0 {}
        seats.iter().map(|&seat| self.read(seat, 0)).collect()
    }

    /// What a seat waits for, if it does, to be there `within_ns` after its newest observation came. One
    /// that owes nothing has only to be read.
    pub fn demand(&self, seat: usize, within_ns: u64) -> Option<InferenceRequest> {
        let Waiting {
            since_ns,
            arrived_ns,
            ..
        } = self.seats[seat].waiting?;
        Some(InferenceRequest {
            stream: seat,
            since_ns,
            arrived_ns,
            deadline_ns: arrived_ns.saturating_add(within_ns),
            owed: self.policy.owed(seat),
        })
    }

    /// Whether a seat's next answer is the first of its stream: when it is handed on says when the motion begins.
    pub fn is_at_rest(&self, seat: usize) -> bool {
        !self.seats[seat].has_moved
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

    /// The plan that answers the newest observation of a seat, which owes nothing; it is handed on at `now_ns`, of the clock
    /// that arrivals are told in. None if the network returned NaN: the last good plan is back in place.
    ///
    /// # Errors
    /// No observation waits, or LibTorch refused.
    pub fn read(&mut self, seat: usize, now_ns: u64) -> Result<Option<ActionChunk>> {
        let waiting = self.seats[seat].waiting.take();
        let evaluations = std::mem::take(&mut self.seats[seat].evaluations);
        let Some(waiting) = waiting else {
            return Err(Error::NoObservation { stream: seat });
        };
        let plan = match self.policy.plan(seat) {
            Ok(plan) => plan,
            Err(Error::NonFinitePlan) => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = self.policy.action_size();
        let state = &mut self.seats[seat];
        if !state.has_moved {
            state.has_moved = true;
            let late_ns = now_ns.saturating_sub(waiting.arrived_ns);
            if late_ns > self.period_ns / 2 {
                // Whole periods, so that observations that come with the actions still do.
                let periods = late_ns.div_ceil(self.period_ns);
                let later_ns = periods.saturating_mul(self.period_ns);
                state.start_ns = waiting.arrived_ns.saturating_add(later_ns);
                state.late = Some(Late {
                    time_ns: waiting.time_ns,
                    arrived_ns: waiting.arrived_ns,
                    now_ns,
                    later_ns,
                });
            }
        }
        state.chunk += 1;
        Ok(Some(ActionChunk {
            chunk: state.chunk,
            stream: state.stream,
            observation_sequence: state.newest,
            arrived_ns: waiting.arrived_ns,
            start_ns: state.start_ns,
            period_ns: self.period_ns,
            committed: plan.committed,
            actions: plan.actions[plan.current * size..].to_vec(),
            noise: plan.noise[plan.current..].to_vec(),
            levels: plan.levels[plan.current..].to_vec(),
            evaluations,
        }))
    }
}
