//! A plan on the time axis: which action is due when, and how many have come due.
//!
//! A [`Plan`] is checked when it is made, so whoever reads one need not check again. All arithmetic on times is in whole
//! nanoseconds and saturates: no time, however odd, makes it panic.

use thiserror::Error;

/// Everything about a plan but its actions.
///
/// Two plans with equal headers are taken for the same plan. A publisher that changes a committed action must change the
/// header too: a new observation, a new chunk or a new start does so by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanHeader {
    /// The episode that the plan belongs to; a new one is a new motion.
    pub stream: u32,
    /// Counts the plans of a stream.
    pub chunk: u64,
    /// Sequence of the newest observation that this plan answers.
    pub observation_sequence: u64,
    /// When position 0, the action current at publication, is due; nanoseconds on the monotonic clock.
    pub start_ns: u64,
    /// Time from one position to the next in nanoseconds, at least 1.
    pub period_ns: u64,
    /// Numbers per action, Da, at least 1.
    pub action_size: usize,
    /// How many leading positions are clean and will not change, 1 to Tp.
    pub committed: usize,
}

/// Actions `[Tp, Da]` from the current one on, each with its time; always finite, at least one of them committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    header: PlanHeader,
    actions: Vec<f32>,
    /// Empty where it is not known.
    measured: Vec<f32>,
}

/// Where a moment lies in a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlanPhase {
    /// Before position 0 is due.
    Before,
    /// In the period of a position.
    In {
        /// The position due; may lie beyond the committed ones, and beyond the plan.
        position: usize,
        /// How much of its period has passed, 0 up to 1.
        fraction: f64,
    },
}

/// Why a plan was refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// Actions of no numbers.
    #[error("a plan's action_size is 0, expected at least 1")]
    NoNumbers,
    /// Positions without duration.
    #[error("a plan's period_ns is 0, expected at least 1 (10 Hz is 100000000)")]
    NoPeriod,
    /// The actions are not whole rows.
    #[error(
        "a plan's actions are {found} numbers, expected a multiple of action_size = {action_size}, and at least one row"
    )]
    Shape {
        /// Numbers per action.
        action_size: usize,
        /// Numbers given.
        found: usize,
    },
    /// Nothing to hold on to, or more than there is.
    #[error(
        "a plan has {committed} committed positions of {positions}, expected 1 to {positions}: refine a plan until its \
         first action is clean before publishing it"
    )]
    Committed {
        /// Committed positions given.
        committed: usize,
        /// Positions of the plan, Tp.
        positions: usize,
    },
    /// NaN or infinity.
    #[error(
        "a plan's action at position {position}, number {index}, is {value}, expected a finite number: check the \
         checkpoint and the observation that it answers"
    )]
    NotFinite {
        /// Position in the plan.
        position: usize,
        /// Number in the action.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// The measured values are not as many as an action has, or not finite.
    #[error("a plan's measured position is {found:?}, expected {action_size} finite numbers")]
    Measured {
        /// Numbers per action.
        action_size: usize,
        /// What was given.
        found: Vec<f32>,
    },
    /// The hand-off was made for another robot.
    #[error("a plan's action_size is {found}, but the control loop was set up for {expected}")]
    ActionSize {
        /// What the hand-off was made for.
        expected: usize,
        /// What the plan has.
        found: usize,
    },
    /// The hand-off was made for shorter plans.
    #[error(
        "a plan has {found} positions, but the control loop was set up for at most {capacity}: shorten the plan or \
         set the hand-off up for its horizon"
    )]
    TooLong {
        /// Positions the hand-off has room for.
        capacity: usize,
        /// Positions of the plan.
        found: usize,
    },
}

impl Plan {
    /// Makes a plan of `actions` `[Tp, Da]`, row by row.
    ///
    /// # Errors
    /// A header that does not fit the actions, NaN or infinity in any of them, committed or not.
    pub fn new(header: PlanHeader, actions: Vec<f32>) -> Result<Self, PlanError> {
        let size = header.action_size;
        if size == 0 {
            return Err(PlanError::NoNumbers);
        }
        if header.period_ns == 0 {
            return Err(PlanError::NoPeriod);
        }
        if actions.is_empty() || !actions.len().is_multiple_of(size) {
            return Err(PlanError::Shape {
                action_size: size,
                found: actions.len(),
            });
        }
        let positions = actions.len() / size;
        if header.committed == 0 || header.committed > positions {
            return Err(PlanError::Committed {
                committed: header.committed,
                positions,
            });
        }
        if let Some(bad) = actions.iter().position(|value| !value.is_finite()) {
            let (position, index) = (bad / size, bad % size);
            return Err(PlanError::NotFinite {
                position,
                index,
                value: actions[bad],
            });
        }
        Ok(Self {
            header,
            actions,
            measured: Vec::new(),
        })
    }

    /// Adds where the robot was when the plan's observation was made, `[Da]` in the action's units: a new motion begins
    /// there.
    ///
    /// # Errors
    /// Another number of values than an action has, NaN or infinity.
    pub fn with_measured(mut self, measured: Vec<f32>) -> Result<Self, PlanError> {
        let action_size = self.header.action_size;
        if measured.len() != action_size || !measured.iter().all(|value| value.is_finite()) {
            return Err(PlanError::Measured {
                action_size,
                found: measured,
            });
        }
        self.measured = measured;
        Ok(self)
    }

    /// Where the robot was when the plan's observation was made, `[Da]`, if that is known.
    #[must_use]
    pub fn measured(&self) -> Option<&[f32]> {
        (!self.measured.is_empty()).then_some(&self.measured[..])
    }

    /// Everything but the actions.
    #[must_use]
    pub fn header(&self) -> &PlanHeader {
        &self.header
    }

    /// All actions `[Tp, Da]`, row by row.
    #[must_use]
    pub fn actions(&self) -> &[f32] {
        &self.actions
    }

    /// Number of positions, Tp.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.actions.len() / self.header.action_size
    }

    /// The action `[Da]` at a position, none beyond the plan.
    #[must_use]
    pub fn action(&self, position: usize) -> Option<&[f32]> {
        self.actions
            .chunks_exact(self.header.action_size)
            .nth(position)
    }

    /// When a position is due, in nanoseconds.
    #[must_use]
    pub fn due_ns(&self, position: usize) -> u64 {
        let offset = self.header.period_ns.saturating_mul(position as u64);
        self.header.start_ns.saturating_add(offset)
    }

    /// How many actions have been consumed by `now_ns`: whose period lies wholly in the past. 0 before the start and
    /// during the first period. May exceed the plan: this is time that really passed, by which its owner rolls it.
    #[must_use]
    pub fn consumed(&self, now_ns: u64) -> usize {
        let periods = now_ns.saturating_sub(self.header.start_ns) / self.header.period_ns;
        usize::try_from(periods).unwrap_or(usize::MAX)
    }

    /// Where `now_ns` lies.
    #[must_use]
    pub fn place(&self, now_ns: u64) -> PlanPhase {
        let Some(elapsed) = now_ns.checked_sub(self.header.start_ns) else {
            return PlanPhase::Before;
        };
        let into = elapsed % self.header.period_ns;
        let fraction = into as f64 / self.header.period_ns as f64;
        PlanPhase::In {
            position: self.consumed(now_ns),
            fraction,
        }
    }

    /// A plan to be refilled, with room for `capacity` numbers. Not valid until then.
    pub(crate) fn with_capacity(capacity: usize, action_size: usize) -> Self {
        let header = PlanHeader {
            stream: 0,
            chunk: 0,
            observation_sequence: 0,
            start_ns: 0,
            period_ns: 1,
            action_size,
            committed: 0,
        };
        Self {
            header,
            actions: Vec::with_capacity(capacity),
            measured: Vec::with_capacity(action_size),
        }
    }

    /// Replaces everything by what was a valid plan before. Allocates nothing within the capacity.
    pub(crate) fn refill(
        &mut self,
        header: PlanHeader,
        actions: impl Iterator<Item = f32>,
        measured: impl Iterator<Item = f32>,
    ) {
        self.header = header;
        self.actions.clear();
        self.actions.extend(actions);
        self.measured.clear();
        self.measured.extend(measured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> PlanHeader {
        PlanHeader {
            stream: 0,
            chunk: 1,
            observation_sequence: 2,
            start_ns: 1000,
            period_ns: 100,
            action_size: 2,
            committed: 1,
        }
    }

    #[test]
    fn time_finds_the_position() {
        let plan = Plan::new(header(), vec![0.0; 6]).unwrap();
        assert_eq!(plan.positions(), 3);
        assert_eq!(plan.place(999), PlanPhase::Before);
        assert_eq!(
            plan.place(1000),
            PlanPhase::In {
                position: 0,
                fraction: 0.0
            }
        );
        assert_eq!(
            plan.place(1125),
            PlanPhase::In {
                position: 1,
                fraction: 0.25
            }
        );
        assert_eq!(plan.due_ns(2), 1200);
        let counts = [0, 999, 1000, 1099, 1100, 1199, 1200, 5000].map(|now| plan.consumed(now));
        assert_eq!(counts, [0, 0, 0, 0, 1, 1, 2, 40]);
        assert_eq!(plan.action(2), Some(&[0.0, 0.0][..]));
        assert_eq!(plan.action(3), None);
    }

    #[test]
    fn extreme_times_saturate() {
        let late = PlanHeader {
            start_ns: u64::MAX - 1,
            period_ns: u64::MAX,
            ..header()
        };
        let plan = Plan::new(late, vec![0.0; 2]).unwrap();
        assert_eq!(plan.due_ns(usize::MAX), u64::MAX);
        assert_eq!(plan.consumed(u64::MAX), 0);
        let dense = PlanHeader {
            start_ns: 0,
            period_ns: 1,
            ..header()
        };
        assert_eq!(
            Plan::new(dense, vec![0.0; 2]).unwrap().consumed(u64::MAX),
            usize::MAX
        );
    }

    #[test]
    fn the_measured_position_is_checked() {
        let plan = Plan::new(header(), vec![0.0; 6]).unwrap();
        assert_eq!(plan.measured(), None);
        for bad in [vec![1.0], vec![1.0, f32::NAN]] {
            assert!(plan.clone().with_measured(bad).is_err());
        }
        let plan = plan.with_measured(vec![1.0, 2.0]).unwrap();
        assert_eq!(plan.measured(), Some(&[1.0, 2.0][..]));
    }

    #[test]
    fn bad_plans_are_refused() {
        let refused = |header, actions| Plan::new(header, actions).unwrap_err();
        assert_eq!(
            refused(
                PlanHeader {
                    action_size: 0,
                    ..header()
                },
                vec![]
            ),
            PlanError::NoNumbers
        );
        assert_eq!(
            refused(
                PlanHeader {
                    period_ns: 0,
                    ..header()
                },
                vec![0.0; 2]
            ),
            PlanError::NoPeriod
        );
        for found in [0, 3] {
            let expected = PlanError::Shape {
                action_size: 2,
                found,
            };
            assert_eq!(refused(header(), vec![0.0; found]), expected);
        }
        for committed in [0, 3] {
            let expected = PlanError::Committed {
                committed,
                positions: 2,
            };
            assert_eq!(
                refused(
                    PlanHeader {
                        committed,
                        ..header()
                    },
                    vec![0.0; 4]
                ),
                expected
            );
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = refused(header(), vec![0.0, 0.0, 0.0, value]);
            assert!(
                matches!(
                    error,
                    PlanError::NotFinite {
                        position: 1,
                        index: 1,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }
}
