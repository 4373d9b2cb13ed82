//! What holds for commands whatever the plans and times are. Virtual time only.

use kinestream_control::{CommandEngine, CommandStatus, Interpolation, Plan, PlanHeader};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const PERIOD: u64 = 100_000_000;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// One number per action; every plan has its own chunk.
#[derive(Debug, Clone)]
struct Sketch {
    start_ns: u64,
    period_ns: u64,
    actions: Vec<f32>,
    uncommitted: usize,
}

impl Sketch {
    fn plan(&self, chunk: usize) -> Plan {
        let header = PlanHeader {
            stream: 0,
            chunk: chunk as u64,
            observation_sequence: chunk as u64,
            start_ns: self.start_ns,
            period_ns: self.period_ns,
            action_size: 1,
            committed: self.actions.len().saturating_sub(self.uncommitted).max(1),
        };
        Plan::new(header, self.actions.clone()).expect("a valid plan")
    }
}

/// A plan that begins within three periods around 1 s.
fn ordinary() -> impl Strategy<Value = Sketch> {
    let actions = prop::collection::vec(-500.0_f32..500.0, 1..8);
    (0..3 * PERIOD, actions, 0_usize..4).prop_map(|(offset, actions, uncommitted)| Sketch {
        start_ns: 1_000_000_000 + offset,
        period_ns: PERIOD,
        actions,
        uncommitted,
    })
}

fn extreme_number() -> impl Strategy<Value = f32> {
    prop_oneof![
        -1.0_f32..1.0,
        Just(f32::MAX),
        Just(f32::MIN),
        Just(f32::MIN_POSITIVE),
        Just(-0.0),
    ]
}

fn extreme_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0_u64..5,
        Just(u64::MAX),
        Just(u64::MAX - 1),
        1000_u64..1100
    ]
}

fn extreme() -> impl Strategy<Value = Sketch> {
    let actions = prop::collection::vec(extreme_number(), 1..6);
    (extreme_time(), extreme_time(), actions, 0_usize..4).prop_map(
        |(start_ns, period, actions, uncommitted)| Sketch {
            start_ns,
            period_ns: period.max(1),
            actions,
            uncommitted,
        },
    )
}

fn interpolation() -> impl Strategy<Value = Interpolation> {
    prop_oneof![
        Just(Interpolation::Hold),
        Just(Interpolation::Linear),
        Just(Interpolation::Cubic),
    ]
}

/// Commands at a hundredth of a period, each plan for as many ticks as said.
fn stream(
    interpolation: Interpolation,
    plans: &[(Sketch, u64)],
    mut look: impl FnMut(&Plan, Option<f64>, f64) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut engine = CommandEngine::new(interpolation, 1);
    let (mut now, mut before) = (1_000_000_000, None);
    for (chunk, (sketch, ticks)) in plans.iter().enumerate() {
        let plan = sketch.plan(chunk);
        for _ in 0..*ticks {
            let mut out = [f64::NAN];
            engine.command(Some(&plan), now, &mut out);
            look(&plan, before, out[0])?;
            before = Some(out[0]);
            now += PERIOD / 100;
        }
    }
    Ok(())
}

fn committed(plan: &Plan) -> impl Iterator<Item = f64> {
    let actions = &plan.actions()[..plan.header().committed];
    actions.iter().map(|&action| f64::from(action))
}

fn replacements() -> impl Strategy<Value = Vec<(Sketch, u64)>> {
    prop::collection::vec((ordinary(), 1_u64..120), 1..8)
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn hold_sends_nothing_but_committed_actions(plans in replacements()) {
        stream(Interpolation::Hold, &plans, |plan, _, command| {
            prop_assert!(committed(plan).any(|action| action == command));
            Ok(())
        })?;
    }

    #[test]
    fn linear_stays_between_the_last_command_and_the_committed_actions(plans in replacements()) {
        stream(Interpolation::Linear, &plans, |plan, before, command| {
            let involved = || committed(plan).chain(before);
            let low = involved().fold(f64::INFINITY, f64::min);
            let high = involved().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!((low..=high).contains(&command), "{command} not in {low}..={high}");
            Ok(())
        })?;
    }

    /// At most the whole range within a quarter of a period.
    #[test]
    fn linear_never_jumps(plans in replacements()) {
        stream(Interpolation::Linear, &plans, |_, before, command| {
            let step = before.map_or(0.0, |before| (command - before).abs());
            prop_assert!(step <= 1000.0 * 0.04 + 1e-3, "{step}");
            Ok(())
        })?;
    }

    /// Three times that: a cubic is steeper in its middle, and arrives with a velocity.
    #[test]
    fn cubic_never_jumps(plans in replacements()) {
        stream(Interpolation::Cubic, &plans, |_, before, command| {
            let step = before.map_or(0.0, |before| (command - before).abs());
            prop_assert!(step <= 1000.0 * 0.12, "{step}");
            Ok(())
        })?;
    }

    #[test]
    fn a_plan_rolled_by_what_was_consumed_says_the_same(sketch in ordinary(), share in 0.0..1.0) {
        let plan = sketch.plan(0);
        let end = plan.due_ns(plan.header().committed);
        let now = end - 1 - (share * (end - 1_000_000_000) as f64) as u64;
        let consumed = plan.consumed(now);
        let rolled = Sketch {
            start_ns: plan.due_ns(consumed),
            actions: sketch.actions[consumed..].to_vec(),
            ..sketch.clone()
        }.plan(1);
        let [first, second] = [&plan, &rolled].map(|plan| {
            let mut out = [f64::NAN];
            CommandEngine::new(Interpolation::Hold, 1).command(Some(plan), now, &mut out);
            out[0]
        });
        prop_assert_eq!(first, second);
        prop_assert_eq!(rolled.consumed(now), 0);
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn no_time_and_no_plan_makes_a_command_that_is_not_a_number(
        interpolation in interpolation(),
        steps in prop::collection::vec((prop::option::of(extreme()), extreme_time(), any::<bool>()), 1..20),
    ) {
        let mut engine = CommandEngine::new(interpolation, 1);
        let (mut plan, mut commanded) = (None, false);
        for (chunk, (sketch, now, replace)) in steps.iter().enumerate() {
            if *replace {
                plan = sketch.as_ref().map(|sketch| sketch.plan(chunk));
            }
            let mut out = [f64::NAN];
            let status = engine.command(plan.as_ref(), *now, &mut out);
            commanded |= plan.is_some();
            prop_assert_eq!((out[0] as f32).is_finite(), commanded, "{}", out[0]);
            prop_assert_eq!(status == CommandStatus::Idle, plan.is_none());
        }
    }
}
