//! The bundled simulator's physics run again on recorded targets, and compared bit for bit.

use kinestream_sim::pusht::{PushT, PushTError};
use serde::Serialize;

use super::messages::{SimInput, SimStep};

/// Runs beside a recording's messages and tells whether the same states come out.
pub struct PhysicsCheck {
    world: PushT,
    /// Stream and number of the step that the world can take next; none before a reset and after a
    /// gap.
    next: Option<(u32, u64)>,
    report: PhysicsReport,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PhysicsReport {
    /// Steps run again and compared.
    pub steps_compared: u64,
    /// Of these, steps after which any bit of agent, T, coverage or reward is different.
    pub steps_differing: u64,
    /// Steps that could not be run again: before the first reset, and from a gap to the next reset.
    pub steps_skipped: u64,
    /// Things done by hand on the page, which are run again as well.
    pub interventions: u64,
    /// Where the first difference is.
    pub first_difference: Option<Difference>,
}

/// A step whose state came out differently.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    pub seed: u32,
    pub stream: u32,
    pub step: u64,
    /// Largest difference of agent and T, in pixels and radians.
    pub largest: f64,
}

impl Default for PhysicsCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl PhysicsCheck {
    /// A world before its first reset.
    pub fn new() -> Self {
        Self {
            world: PushT::new(),
            next: None,
            report: PhysicsReport::default(),
        }
    }

    /// What was compared so far.
    pub fn report(&self) -> &PhysicsReport {
        &self.report
    }

    /// Forgets the world, as where a recording begins again; the counts stay.
    pub fn restart(&mut self) {
        self.next = None;
    }

    /// Takes what changed the world.
    pub fn input(&mut self, input: &SimInput) -> Result<(), PushTError> {
        match *input {
            SimInput::Reset { seed, stream } => self.reset(seed, stream),
            SimInput::MoveBlock { position, angle } => {
                self.report.interventions += 1;
                self.world.move_block(position, angle)?;
            }
            SimInput::PushAgent { velocity } => {
                self.report.interventions += 1;
                self.world.push_agent(velocity)?;
            }
        }
        Ok(())
    }

    /// Runs a step again and compares.
    pub fn step(&mut self, recorded: &SimStep) -> Result<(), PushTError> {
        let wanted = Some((recorded.stream, recorded.step));
        if recorded.step == 1 && self.next != wanted {
            // Its reset was not recorded.
            self.reset(recorded.seed, recorded.stream);
        }
        if self.next != wanted {
            self.next = None;
            self.report.steps_skipped += 1;
            return Ok(());
        }
        self.world.physics_step(recorded.target)?;
        self.world.return_block()?;
        self.next = Some((recorded.stream, recorded.step + 1));
        self.report.steps_compared += 1;
        let (state, outcome) = (self.world.state(), self.world.outcome());
        let [x, y] = state.block_position;
        let found = SimStep {
            agent: state.agent_position,
            block: [x, y, state.block_angle],
            coverage: outcome.coverage,
            reward: outcome.reward,
            ..*recorded
        };
        if numbers(&found).map(f64::to_bits) != numbers(recorded).map(f64::to_bits) {
            self.report.steps_differing += 1;
            let pairs = numbers(&found).into_iter().zip(numbers(recorded));
            self.report.first_difference.get_or_insert(Difference {
                seed: recorded.seed,
                stream: recorded.stream,
                step: recorded.step,
                largest: pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
            });
        }
        Ok(())
    }

    fn reset(&mut self, seed: u32, stream: u32) {
        self.world.reset(seed);
        self.next = Some((stream, 1));
    }
}

fn numbers(step: &SimStep) -> [f64; 7] {
    let ([a, b], [c, d, e]) = (step.agent, step.block);
    [a, b, c, d, e, step.coverage, step.reward]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A simulator's messages, as its node records them.
    fn recorded(seed: u32, stream: u32, count: u64) -> Vec<SimStep> {
        let mut world = PushT::new();
        world.reset(seed);
        (1..=count)
            .map(|step| {
                let angle = 0.05 * step as f64;
                let target = [256.0 + 90.0 * angle.cos(), 256.0 + 90.0 * angle.sin()];
                if step == 50 {
                    world.move_block([200.0, 250.0], 1.0).unwrap();
                }
                world.physics_step(target).unwrap();
                world.return_block().unwrap();
                let (state, outcome) = (world.state(), world.outcome());
                let [x, y] = state.block_position;
                SimStep {
                    seed,
                    stream,
                    step,
                    target,
                    agent: state.agent_position,
                    block: [x, y, state.block_angle],
                    coverage: outcome.coverage,
                    reward: outcome.reward,
                }
            })
            .collect()
    }

    const BY_HAND: SimInput = SimInput::MoveBlock {
        position: [200.0, 250.0],
        angle: 1.0,
    };

    fn check(steps: &[SimStep], by_hand: bool) -> PhysicsReport {
        let mut check = PhysicsCheck::new();
        for step in steps {
            if by_hand && step.step == 50 {
                check.input(&BY_HAND).unwrap();
            }
            check.step(step).unwrap();
        }
        *check.report()
    }

    #[test]
    fn equal_targets_and_hands_give_equal_bits() {
        let report = check(&recorded(7, 1, 400), true);
        let expected = PhysicsReport {
            steps_compared: 400,
            interventions: 1,
            ..PhysicsReport::default()
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn a_hand_that_was_not_recorded_shows_as_a_difference() {
        let report = check(&recorded(7, 1, 100), false);
        assert_eq!(report.steps_differing, 51);
        let first = report.first_difference.unwrap();
        assert_eq!((first.seed, first.stream, first.step), (7, 1, 50));
        assert!(first.largest > 1.0);
    }

    #[test]
    fn one_bit_is_a_difference() {
        let mut steps = recorded(7, 1, 40);
        steps[20].agent[0] = f64::from_bits(steps[20].agent[0].to_bits() ^ 1);
        assert_eq!(check(&steps, true).steps_differing, 1);
    }

    #[test]
    fn after_a_gap_nothing_is_compared_until_the_next_reset() {
        let mut steps = recorded(7, 1, 40);
        steps.remove(10);
        steps.extend(recorded(8, 2, 30));
        let report = check(&steps[5..], true);
        // The beginning is missing too.
        assert_eq!((report.steps_compared, report.steps_skipped), (30, 34));
        let report = check(&steps, true);
        assert_eq!((report.steps_compared, report.steps_skipped), (40, 29));
        assert_eq!(report.steps_differing, 0);
    }
}
