//! The command due now, at any rate, from the latest plan.
//!
//! The engine never waits, allocates or fails: whatever plan and time it is given, it answers with finite numbers. Linear
//! and cubic commands do not jump when a plan replaces another: they move from the last command to the new plan's path
//! within a quarter to five quarters of a period. What is published on time and agrees with the plan before it is followed
//! without a deviation. Orientations are always of length 1 and do not change their sign on the way.

use crate::blend::Blend;
use crate::curve::{Curve, Interpolation, Motion};
use crate::interpolation::Interpolations;
use crate::orientation::{OrientationCurve, Orientations};
use crate::quaternion::{Quaternion, Turn};
use crate::timeline::{Plan, PlanHeader, PlanPhase};

/// What a command rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandStatus {
    /// No plan: the last command is repeated; if there never was one, nothing is written.
    Idle,
    /// The plan has not begun: its first action.
    Early,
    /// On the plan.
    Active {
        /// The position due, below the number of committed ones.
        position: usize,
    },
    /// Beyond the committed positions: the last of them is held.
    Late {
        /// The position that would be due.
        position: usize,
    },
}

/// How many commands of each kind there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandCounts {
    /// Commands without a plan.
    pub idle: u64,
    /// Commands before their plan's start.
    pub early: u64,
    /// Commands on a plan.
    pub active: u64,
    /// Commands beyond the committed positions.
    pub late: u64,
    /// Plans taken up.
    pub plans: u64,
    /// Orientations in commands that rest on a position whose four numbers say none.
    pub unsaid_orientations: u64,
}

/// Turns plans into commands `[Da]`. Clock-free: all times are given.
#[derive(Debug, Clone)]
pub struct CommandEngine {
    interpolations: Interpolations,
    orientations: Orientations,
    following: Option<PlanHeader>,
    blend: Option<Blend>,
    /// The last command and its velocity per second; meaningful once `last_ns` is set.
    last: Vec<f64>,
    velocity: Vec<f64>,
    last_ns: Option<u64>,
    /// Where the blend began.
    from: Vec<Motion>,
    counts: CommandCounts,
}

impl CommandEngine {
    /// An engine for actions of `action_size` numbers, none of them an orientation's.
    #[must_use]
    pub fn new(interpolation: Interpolation, action_size: usize) -> Self {
        let orientations = Orientations::none(action_size);
        Self::with_orientations(
            Interpolations::all(interpolation, action_size),
            orientations,
        )
    }

    /// An engine for actions with orientations and an interpolation for every number.
    #[must_use]
    pub fn with_orientations(interpolations: Interpolations, orientations: Orientations) -> Self {
        let action_size = orientations.action_size();
        Self {
            interpolations,
            orientations,
            following: None,
            blend: None,
            last: vec![0.0; action_size],
            velocity: vec![0.0; action_size],
            last_ns: None,
            from: vec![Motion::at_rest(0.0); action_size],
            counts: CommandCounts::default(),
        }
    }

    /// Writes the command due at `now_ns` to `out` `[Da]`, in the action's own units, no number beyond what an f32 holds.
    ///
    /// An orientation's columns become a unit quaternion, a rotation vector or two axes, of all numbers that say the same
    /// those nearest to the last command's. Where a plan says no orientation the last one is kept, at first the identity.
    ///
    /// A plan of another action size counts as none. `out` should hold Da numbers; of a shorter one only the leading
    /// numbers are written, of a longer one the rest is left alone.
    pub fn command(&mut self, plan: Option<&Plan>, now_ns: u64, out: &mut [f64]) -> CommandStatus {
        let status = match plan.filter(|plan| plan.header().action_size == self.last.len()) {
            Some(plan) => self.follow(plan, now_ns),
            None => self.idle(now_ns),
        };
        if self.last_ns.is_some() {
            out.iter_mut()
                .zip(&self.last)
                .for_each(|(out, last)| *out = *last);
        }
        status
    }

    /// The last command's rate of change `[Da]`, in the action's units per second: that of the path it lies on, 0 for hold
    /// and without a plan. For an orientation's columns it is the derivative of its numbers.
    #[must_use]
    pub fn velocity(&self) -> &[f64] {
        &self.velocity
    }

    /// How many commands of each kind there were so far.
    #[must_use]
    pub fn counts(&self) -> CommandCounts {
        self.counts
    }

    /// Forgets plan and last command, as before a new episode: the next plan is followed at once. The counts stay.
    pub fn reset(&mut self) {
        self.following = None;
        self.blend = None;
        self.last_ns = None;
        self.last.fill(0.0);
        self.velocity.fill(0.0);
    }

    fn idle(&mut self, now_ns: u64) -> CommandStatus {
        self.following = None;
        self.blend = None;
        self.velocity.fill(0.0);
        self.last_ns = self.last_ns.map(|_| now_ns);
        self.counts.idle += 1;
        CommandStatus::Idle
    }

    fn follow(&mut self, plan: &Plan, now_ns: u64) -> CommandStatus {
        if self.following != Some(*plan.header()) {
            self.following = Some(*plan.header());
            self.blend = self.begin_blend(plan, now_ns);
            self.counts.plans += 1;
        }
        self.blend = self.blend.filter(|blend| !blend.is_over(now_ns));
        self.move_numbers(plan, now_ns);
        self.turn_orientations(plan, now_ns);
        self.last_ns = Some(now_ns);
        match plan.place(now_ns) {
            PlanPhase::Before => {
                self.counts.early += 1;
                CommandStatus::Early
            }
            PlanPhase::In { position, .. } if position < plan.header().committed => {
                self.counts.active += 1;
                CommandStatus::Active { position }
            }
            PlanPhase::In { position, .. } => {
                self.counts.late += 1;
                CommandStatus::Late { position }
            }
        }
    }

    fn move_numbers(&mut self, plan: &Plan, now_ns: u64) {
        for index in 0..self.last.len() {
            if self.orientations.contains(index) {
                continue;
            }
            let curve = Curve::new(plan, index, self.interpolations.of(index));
            let motion = match self.blend {
                Some(blend) => blend.at(curve, self.from[index], now_ns),
                None => curve.at(now_ns),
            };
            // A cubic through numbers near f32::MAX may overshoot the type.
            self.last[index] = motion.value.clamp(f64::from(f32::MIN), f64::from(f32::MAX));
            self.velocity[index] = motion.velocity;
        }
    }

    fn turn_orientations(&mut self, plan: &Plan, now_ns: u64) {
        for &group in self.orientations.groups() {
            let columns = group.columns();
            let interpolation = self.interpolations.of(columns[0]);
            let curve = OrientationCurve::new(plan, group, interpolation);
            let last = group.read(|column| self.last[column]);
            let last = last.unwrap_or(Quaternion::IDENTITY);
            let from = group.read(|column| self.from[column].value);
            let turn = match (self.blend, from) {
                (Some(blend), Some(from)) => blend.turn_at(curve, from, now_ns),
                _ => curve.at(now_ns),
            };
            let turn = turn.unwrap_or(Turn::at_rest(last)).on_the_side_of(last);
            let numbers = group.numbers(turn.at, |column| self.last[column]);
            for (&column, number) in columns.iter().zip(numbers) {
                self.last[column] = number;
            }
            let rates = group.rates(turn, &numbers);
            for (&column, rate) in columns.iter().zip(rates) {
                self.velocity[column] = rate;
            }
            self.counts.unsaid_orientations += u64::from(!curve.is_said(now_ns));
        }
    }

    /// None where nothing has to be bridged.
    fn begin_blend(&mut self, plan: &Plan, now_ns: u64) -> Option<Blend> {
        let last_ns = self.last_ns?;
        // A line from the last command keeps moving through this one. After a pause longer than a period, or when time
        // went backwards, that would be a jump: the way starts now, from rest.
        let gap_ns = now_ns
            .checked_sub(last_ns)
            .filter(|&gap| gap <= plan.header().period_ns);
        for ((from, &last), &velocity) in self.from.iter_mut().zip(&self.last).zip(&self.velocity) {
            let velocity = if gap_ns.is_some() { velocity } else { 0.0 };
            *from = Motion {
                value: last,
                velocity,
            };
        }
        Blend::begin(
            plan,
            &self.interpolations,
            &self.orientations,
            &self.from,
            now_ns,
            gap_ns.unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 100;

    fn plan(chunk: u64, start_ns: u64, actions: &[f32], committed: usize) -> Plan {
        let header = PlanHeader {
            stream: 0,
            chunk,
            observation_sequence: chunk,
            start_ns,
            period_ns: PERIOD,
            action_size: 1,
            committed,
        };
        Plan::new(header, actions.to_vec()).unwrap()
    }

    fn command(engine: &mut CommandEngine, plan: &Plan, now_ns: u64) -> f64 {
        let mut out = [f64::NAN];
        engine.command(Some(plan), now_ns, &mut out);
        out[0]
    }

    fn assert_near<const N: usize>(found: [f64; N], expected: [f64; N]) {
        let near = found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-12 * b.abs().max(1.0));
        assert!(near, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn status_and_counts_follow_time() {
        let mut engine = CommandEngine::new(Interpolation::Hold, 1);
        let plan = plan(1, 1000, &[1.0, 2.0, 3.0], 2);
        let mut out = [7.0];
        assert_eq!(engine.command(None, 900, &mut out), CommandStatus::Idle);
        assert_eq!(out, [7.0], "nothing to say before the first plan");
        let expected = [
            (950, CommandStatus::Early, 1.0),
            (1000, CommandStatus::Active { position: 0 }, 1.0),
            (1099, CommandStatus::Active { position: 0 }, 1.0),
            (1100, CommandStatus::Active { position: 1 }, 2.0),
            (1200, CommandStatus::Late { position: 2 }, 2.0),
            (9900, CommandStatus::Late { position: 89 }, 2.0),
        ];
        for (now, status, value) in expected {
            assert_eq!(engine.command(Some(&plan), now, &mut out), status);
            assert_eq!(out, [value]);
        }
        assert_eq!(engine.command(None, 9910, &mut out), CommandStatus::Idle);
        assert_eq!(out, [2.0]);
        let counts = CommandCounts {
            idle: 2,
            early: 1,
            active: 3,
            late: 2,
            plans: 1,
            unsaid_orientations: 0,
        };
        assert_eq!(engine.counts(), counts);
    }

    #[test]
    fn hold_applies_each_new_plan_exactly_for_its_period() {
        let mut engine = CommandEngine::new(Interpolation::Hold, 1);
        for step in 0..20 {
            let start = 1000 + step * PERIOD;
            let plan = plan(step, start, &[step as f32], 1);
            for now in (start..start + PERIOD).step_by(10) {
                assert_eq!(command(&mut engine, &plan, now), step as f64);
            }
        }
    }

    #[test]
    fn linear_goes_from_the_last_command_to_the_next_position() {
        let mut engine = CommandEngine::new(Interpolation::Linear, 1);
        let first = plan(1, 1000, &[0.0, 10.0, 20.0], 3);
        for now in (1000..1050).step_by(10) {
            command(&mut engine, &first, now);
        }
        let second = plan(2, 1000, &[0.0, 22.0, 32.0], 3);
        let found = [1050, 1060, 1100, 1150].map(|now| command(&mut engine, &second, now));
        assert_near(found, [7.0, 10.0, 22.0, 27.0]);
    }

    #[test]
    fn a_plan_that_arrives_just_before_a_position_meets_the_one_after() {
        let mut engine = CommandEngine::new(Interpolation::Linear, 1);
        let first = plan(1, 1000, &[0.0], 1);
        command(&mut engine, &first, 1080);
        let second = plan(2, 1000, &[12.0, 12.0, 12.0], 3);
        let found = [1090, 1100, 1140, 1200].map(|now| command(&mut engine, &second, now));
        assert_near(found, [1.0, 2.0, 6.0, 12.0]);
    }

    #[test]
    fn single_committed_actions_are_reached_when_their_period_ends() {
        let mut engine = CommandEngine::new(Interpolation::Linear, 1);
        for step in 0..20_u64 {
            let start = 1000 + step * PERIOD;
            let plan = plan(step, start, &[step as f32], 1);
            for now in (start..=start + PERIOD).step_by(10) {
                let value = command(&mut engine, &plan, now);
                let expected = (step as f64 - 1.0 + (now - start) as f64 / 100.0).max(0.0);
                assert!((value - expected).abs() < 1e-12, "{value} at {now}");
            }
        }
    }

    /// The same actions, published anew every period with the past ones dropped.
    fn deviation_of_agreeing_plans(interpolation: Interpolation, delay_ns: u64) -> f64 {
        let actions: Vec<f32> = (0..12)
            .map(|step| (step as f32 * 0.7).sin() * 300.0)
            .collect();
        let whole = plan(0, 1000, &actions, 12);
        let mut engine = CommandEngine::new(interpolation, 1);
        let deviations = (1000..1800).step_by(10).map(|now| {
            let rolled = whole.consumed(now - delay_ns);
            let start = whole.due_ns(rolled);
            let plan = plan(rolled as u64, start, &actions[rolled..], 12 - rolled);
            let value = command(&mut engine, &plan, now);
            (value - Curve::new(&whole, 0, interpolation).at(now).value).abs()
        });
        deviations.fold(0.0, f64::max)
    }

    #[test]
    fn plans_that_agree_change_nothing() {
        for delay in [0, 5, 30, 70, 90] {
            let deviation = deviation_of_agreeing_plans(Interpolation::Linear, delay);
            assert!(deviation < 1e-9, "linear, {delay} ns late: {deviation}");
        }
        // Without delay the last command came before the position where the plan begins, and one cubic from there to the
        // next position stands for a piece of one and the whole of another: 1 % of the range.
        for (delay, allowed) in [(0, 3.0), (5, 1e-9), (30, 1e-9), (70, 1e-9)] {
            let deviation = deviation_of_agreeing_plans(Interpolation::Cubic, delay);
            assert!(deviation < allowed, "cubic, {delay} ns late: {deviation}");
        }
    }

    #[test]
    fn after_a_pause_the_way_starts_from_rest() {
        let mut engine = CommandEngine::new(Interpolation::Linear, 1);
        command(&mut engine, &plan(1, 1000, &[0.0], 1), 1000);
        let second = plan(2, 5000, &[8.0], 1);
        let found = [5010, 5055, 5100].map(|now| command(&mut engine, &second, now));
        assert_eq!(found, [0.0, 4.0, 8.0]);
    }

    #[test]
    fn a_plan_far_ahead_is_approached_soon() {
        let mut engine = CommandEngine::new(Interpolation::Cubic, 1);
        command(&mut engine, &plan(1, 1000, &[0.0], 1), 1000);
        let second = plan(2, 9000, &[8.0, 9.0], 2);
        command(&mut engine, &second, 1010);
        assert_eq!(command(&mut engine, &second, 1150), 8.0);
        assert_eq!(command(&mut engine, &second, 8990), 8.0);
    }

    #[test]
    fn sizes_that_do_not_fit_are_harmless() {
        let mut engine = CommandEngine::new(Interpolation::Linear, 2);
        let mut out = [5.0; 3];
        let other = plan(1, 1000, &[1.0], 1);
        assert_eq!(
            engine.command(Some(&other), 1000, &mut out),
            CommandStatus::Idle
        );
        assert_eq!(out, [5.0; 3]);
        let header = PlanHeader {
            action_size: 2,
            ..*other.header()
        };
        let fitting = Plan::new(header, vec![1.0, 2.0]).unwrap();
        engine.command(Some(&fitting), 1000, &mut out);
        assert_eq!(out, [1.0, 2.0, 5.0]);
        engine.command(Some(&fitting), 1000, &mut out[..1]);
        engine.command(Some(&fitting), 1000, &mut []);
    }

    #[test]
    fn reset_forgets_the_last_command() {
        let mut engine = CommandEngine::new(Interpolation::Linear, 1);
        command(&mut engine, &plan(1, 1000, &[100.0], 1), 1000);
        engine.reset();
        assert_eq!(command(&mut engine, &plan(1, 1000, &[3.0], 1), 1010), 3.0);
    }
}
