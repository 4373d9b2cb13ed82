//! Evaluation under an injected delay: the plan that answers the observation of a control step is
//! there only so many control steps later, and the actions of the plan before it go on meanwhile.
//!
//! One plan is computed at a time, as on a policy thread of its own: the next one begins at the
//! newest observation once the last has arrived and its share of actions was consumed. Actions are
//! counted where they are consumed. Before the first plan the robot holds its position: nothing is
//! consumed then, and that plan is executed from its first action. Delay is counted in control
//! steps; nothing here reads a clock.

use crate::environment::Environment;
use crate::evaluation::Controller;

/// What answers observations with plans.
pub trait AsyncPolicy {
    /// What can go wrong.
    type Error;

    /// Begins the episode of a slot (0..batch) with its seed.
    ///
    /// # Errors
    /// It cannot begin.
    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error>;

    /// Takes in what there is to observe of the environments of `slots` at a control step.
    ///
    /// # Errors
    /// An observation is refused.
    fn observe(
        &mut self,
        slots: &[usize],
        environments: &[&dyn Environment],
    ) -> Result<(), Self::Error>;

    /// The answer to the newest observation for each of `slots`: actions `[Da]`, the first of them
    /// due at that observation. `consumed` says how many actions were consumed since the last
    /// answer's observation.
    ///
    /// # Errors
    /// It cannot plan.
    fn plan(
        &mut self,
        slots: &[usize],
        consumed: &[usize],
    ) -> Result<Vec<Vec<Vec<f64>>>, Self::Error>;
}

/// Where a plan is entered when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// At its first action, as if it had been there at once.
    First,
    /// At the action that is due: those consumed while it was computed are dropped.
    Due,
}

/// How plans come late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// Control steps between an observation and its plan.
    pub steps: usize,
    /// Actions consumed from one observation that is answered to the next, at least; the delay
    /// where that is longer.
    pub action_steps: usize,
    /// Where a plan is entered.
    pub entry: Entry,
}

/// A controller whose plans come late.
pub struct DelayedController<P> {
    planning: P,
    delay: Delay,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    step: usize,
    executed: Vec<Vec<f64>>,
    /// Index of the next action in `executed`.
    next: usize,
    coming: Option<PendingPlan>,
    /// Actions consumed since the observation that was answered last.
    consumed: usize,
    answered: bool,
    /// The action that keeps the robot where it was first seen.
    hold: Vec<f64>,
}

struct PendingPlan {
    arrives: usize,
    actions: Vec<Vec<f64>>,
}

impl<P> DelayedController<P> {
    /// A controller that executes the plans of `planning` late.
    pub fn new(planning: P, delay: Delay) -> Self {
        Self {
            planning,
            delay,
            slots: Vec::new(),
        }
    }

    /// What plans.
    pub fn planning(&self) -> &P {
        &self.planning
    }
}

impl Slot {
    fn arrive(&mut self, entry: Entry) {
        if let Some(coming) = self.coming.take_if(|coming| coming.arrives <= self.step) {
            self.executed = coming.actions;
            self.next = match entry {
                Entry::First => 0,
                Entry::Due => self.consumed,
            };
        }
    }

    /// The action of this control step; past the end of a plan its last one is repeated.
    fn act(&mut self) -> Vec<f64> {
        self.step += 1;
        let Some(last) = self.executed.last() else {
            return self.hold.clone();
        };
        let action = self.executed.get(self.next).unwrap_or(last).clone();
        self.next += 1;
        self.consumed += 1;
        action
    }
}

impl<P: AsyncPolicy> Controller for DelayedController<P> {
    type Error = P::Error;

    fn begin(&mut self, slot: usize, seed: u32) -> Result<(), Self::Error> {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Slot::default);
        }
        self.slots[slot] = Slot::default();
        self.planning.begin(slot, seed)
    }

    fn act(
        &mut self,
        slots: &[usize],
        environments: &[&dyn Environment],
    ) -> Result<Vec<Vec<f64>>, Self::Error> {
        self.planning.observe(slots, environments)?;
        let mut due = Vec::new();
        for (&slot, environment) in slots.iter().zip(environments) {
            let state = &mut self.slots[slot];
            if state.step == 0 {
                state.hold = environment.hold_action();
            }
            state.arrive(self.delay.entry);
            let used_up = !state.answered || state.consumed >= self.delay.action_steps;
            if state.coming.is_none() && used_up {
                due.push(slot);
            }
        }
        if !due.is_empty() {
            let consumed: Vec<usize> = due.iter().map(|slot| self.slots[*slot].consumed).collect();
            let plans = self.planning.plan(&due, &consumed)?;
            for (&slot, actions) in due.iter().zip(plans) {
                let state = &mut self.slots[slot];
                state.answered = true;
                state.consumed = 0;
                state.coming = Some(PendingPlan {
                    arrives: state.step + self.delay.steps,
                    actions,
                });
                state.arrive(self.delay.entry);
            }
        }
        Ok(slots.iter().map(|slot| self.slots[*slot].act()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::evaluation::{EpisodeSet, evaluate};
    use crate::pusht::{self, PushT};

    /// Action i of the plan for step t is at x = 100 + t, y = 100 + i; notes what it is told.
    #[derive(Default)]
    struct Script {
        steps: Vec<usize>,
        told: Pairs,
    }

    impl AsyncPolicy for Script {
        type Error = Infallible;

        fn begin(&mut self, slot: usize, _seed: u32) -> Result<(), Infallible> {
            self.steps.resize(self.steps.len().max(slot + 1), 0);
            self.steps[slot] = 0;
            Ok(())
        }

        fn observe(
            &mut self,
            slots: &[usize],
            _environments: &[&dyn Environment],
        ) -> Result<(), Infallible> {
            slots.iter().for_each(|slot| self.steps[*slot] += 1);
            Ok(())
        }

        fn plan(
            &mut self,
            slots: &[usize],
            consumed: &[usize],
        ) -> Result<Vec<Vec<Vec<f64>>>, Infallible> {
            let steps = &self.steps;
            let told = slots
                .iter()
                .zip(consumed)
                .map(|(slot, consumed)| (steps[*slot] - 1, *consumed));
            self.told.extend(told);
            let plan = |slot: &usize| {
                let step = 100.0 + (steps[*slot] - 1) as f64;
                (0..12)
                    .map(|index| vec![step, 100.0 + f64::from(index)])
                    .collect()
            };
            Ok(slots.iter().map(plan).collect())
        }
    }

    const HELD: (usize, usize) = (300, 300);

    type Pairs = Vec<(usize, usize)>;

    /// (step of the observation, index of the action) of every control step, and (step of the
    /// observation, actions consumed) that the script was told.
    fn executed(delay: Delay, steps: usize) -> (Pairs, Pairs) {
        let mut delayed = DelayedController::new(Script::default(), delay);
        delayed.begin(0, 1).unwrap();
        let mut world = PushT::new();
        let actions = (0..steps)
            .map(|step| {
                // Where the agent is first seen is where it holds.
                let at = if step == 0 { 400.0 } else { 50.0 };
                world.move_agent([at; 2]).unwrap();
                let action = delayed.act(&[0], &[&world]).unwrap().remove(0);
                ((action[0] - 100.0) as usize, (action[1] - 100.0) as usize)
            })
            .collect();
        (actions, delayed.planning.told)
    }

    fn delay(steps: usize, entry: Entry) -> Delay {
        Delay {
            steps,
            action_steps: 4,
            entry,
        }
    }

    #[test]
    fn without_delay_every_observation_that_is_due_is_answered_at_once() {
        for entry in [Entry::First, Entry::Due] {
            let (actions, told) = executed(delay(0, entry), 9);
            let expected = [
                (0, 0),
                (0, 1),
                (0, 2),
                (0, 3),
                (4, 0),
                (4, 1),
                (4, 2),
                (4, 3),
                (8, 0),
            ];
            assert_eq!(actions, expected);
            assert_eq!(told, [(0, 0), (4, 4), (8, 4)]);
        }
    }

    #[test]
    fn consumed_actions_are_dropped_or_not() {
        // The first plan arrives at step 2 and is executed from its first action; the observation
        // after four of them, of step 6, is answered at step 8.
        let begun = [HELD, HELD, (0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5)];
        let (actions, told) = executed(delay(2, Entry::Due), 13);
        assert_eq!(actions[..8], begun);
        assert_eq!(actions[8..], [(6, 2), (6, 3), (6, 4), (6, 5), (10, 2)]);
        assert_eq!(told, [(0, 0), (6, 4), (10, 4)]);
        let (actions, told) = executed(delay(2, Entry::First), 13);
        assert_eq!(actions[..8], begun);
        assert_eq!(actions[8..], [(6, 0), (6, 1), (6, 2), (6, 3), (10, 0)]);
        assert_eq!(told, [(0, 0), (6, 4), (10, 4)]);
    }

    #[test]
    fn one_plan_is_computed_at_a_time() {
        // Six steps of delay with four actions a plan: a plan lasts for six.
        let (actions, told) = executed(delay(6, Entry::Due), 24);
        assert_eq!(told, [(0, 0), (10, 4), (16, 6), (22, 6)]);
        assert_eq!(
            actions[6..16],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|index| (0, index))
        );
        assert_eq!(
            actions[16..22],
            [6, 7, 8, 9, 10, 11].map(|index| (10, index))
        );
        // The plan of step 16 arrives at step 22.
        assert_eq!(actions[22..], [(16, 6), (16, 7)]);
    }

    #[test]
    fn a_plan_that_runs_out_repeats_its_last_action() {
        let (actions, _) = executed(delay(9, Entry::Due), 30);
        assert_eq!(actions[9..13], [(0, 0), (0, 1), (0, 2), (0, 3)]);
        assert_eq!(actions[20..22], [(0, 11), (0, 11)]);
    }

    #[test]
    fn a_batch_scores_as_its_episodes_alone_and_again() {
        let run = |seeds: &[u32]| {
            let mut delayed = DelayedController::new(Script::default(), delay(2, Entry::Due));
            let set = EpisodeSet {
                max_steps: 40,
                ..EpisodeSet::new(&pusht::SPEC, seeds)
            };
            evaluate(&mut delayed, &set, |_, _| {}).unwrap()
        };
        let together = run(&[1, 2, 3]);
        assert_eq!(together, run(&[1, 2, 3]));
        for (seed, episode) in [1, 2, 3].into_iter().zip(&together) {
            assert_eq!(run(&[seed])[0], *episode);
        }
    }
}
