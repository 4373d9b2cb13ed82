//! What holds for commanded orientations whatever the plans are. Virtual time only.

#![allow(clippy::unwrap_used)]

use kinestream_control::{
    CommandEngine, Interpolation, Interpolations, Orientations, Plan, PlanHeader,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const PERIOD: u64 = 100_000_000;
/// A position before the orientation, so that columns and rows differ.
const COLUMNS: [usize; 4] = [1, 2, 3, 4];

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn quaternion() -> impl Strategy<Value = [f32; 4]> {
    prop_oneof![
        8 => prop::array::uniform4(-1.0_f32..1.0),
        1 => Just([0.0; 4]),
        1 => prop::array::uniform4(prop_oneof![Just(0.0_f32), Just(f32::MAX), Just(-1.0)]),
    ]
}

fn plans() -> impl Strategy<Value = Vec<(u64, Vec<[f32; 4]>, u64)>> {
    let actions = prop::collection::vec(quaternion(), 1..8);
    prop::collection::vec((0..3 * PERIOD, actions, 1_u64..120), 1..8)
}

fn interpolation() -> impl Strategy<Value = Interpolation> {
    prop_oneof![
        Just(Interpolation::Hold),
        Just(Interpolation::Linear),
        Just(Interpolation::Cubic),
    ]
}

fn plan(chunk: u64, start_ns: u64, actions: &[[f32; 4]]) -> Plan {
    let header = PlanHeader {
        stream: 0,
        chunk,
        observation_sequence: chunk,
        start_ns,
        period_ns: PERIOD,
        action_size: 5,
        committed: actions.len(),
    };
    let numbers = actions.iter().flat_map(|q| [7.0, q[0], q[1], q[2], q[3]]);
    Plan::new(header, numbers.collect()).unwrap()
}

fn engine(interpolation: Interpolation) -> CommandEngine {
    CommandEngine::with_orientations(
        Interpolations::all(interpolation, 5),
        Orientations::new(&[COLUMNS.into()], 5).unwrap(),
    )
}

/// Commands and their derivatives at a hundredth of a period, each plan for as many ticks as said.
fn stream(
    interpolation: Interpolation,
    plans: &[(u64, Vec<[f32; 4]>, u64)],
) -> Vec<([f64; 4], [f64; 4])> {
    let mut engine = engine(interpolation);
    let (mut now, mut commands) = (1_000_000_000, Vec::new());
    for (chunk, (offset, actions, ticks)) in (0..).zip(plans) {
        let plan = plan(chunk, 1_000_000_000 + offset, actions);
        for _ in 0..*ticks {
            let mut out = [f64::NAN; 5];
            engine.command(Some(&plan), now, &mut out);
            assert_eq!(out[0], 7.0);
            let pick = |numbers: &[f64]| COLUMNS.map(|column| numbers[column]);
            commands.push((pick(&out), pick(engine.velocity())));
            now += PERIOD / 100;
        }
    }
    commands
}

fn dot(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Angle of the rotation between two unit quaternions that lie on the same side.
fn angle(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let apart: [f64; 4] = std::array::from_fn(|i| a[i] - b[i]);
    4.0 * (dot(&apart, &apart).sqrt() / 2.0).min(1.0).asin()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn commands_have_length_one_and_never_change_sign(interpolation in interpolation(), plans in plans()) {
        let commands = stream(interpolation, &plans);
        for (command, _) in &commands {
            prop_assert!((dot(command, command) - 1.0).abs() < 1e-14, "{command:?}");
        }
        for pair in commands.windows(2) {
            prop_assert!(dot(&pair[0].0, &pair[1].0) > -1e-12, "{pair:?}");
        }
    }

    /// Half a turn within a quarter of a period at most.
    #[test]
    fn what_is_not_held_never_jumps(cubic in any::<bool>(), plans in plans()) {
        let interpolation = if cubic { Interpolation::Cubic } else { Interpolation::Linear };
        let commands = stream(interpolation, &plans);
        for pair in commands.windows(2) {
            let step = angle(&pair[0].0, &pair[1].0);
            prop_assert!(step <= std::f64::consts::PI * 0.04 + 1e-9, "{step}");
        }
    }

    #[test]
    fn the_signs_in_a_plan_mean_nothing(interpolation in interpolation(), plans in plans(), signs in any::<u64>()) {
        // Half a turn has two shorter ways; random numbers do not hit it, the extremes do.
        let ordinary = |action: &[f32; 4]| action.iter().all(|number| number.abs() < 1.0);
        prop_assume!(plans.iter().all(|(_, actions, _)| actions.iter().all(ordinary)));
        let mut other = plans.clone();
        let actions = other.iter_mut().flat_map(|(_, actions, _)| actions);
        for (index, action) in actions.enumerate() {
            if signs >> (index % 64) & 1 == 1 {
                *action = action.map(|number| -number);
            }
        }
        for (one, other) in stream(interpolation, &plans).iter().zip(stream(interpolation, &other)) {
            prop_assert!(dot(&one.0, &other.0).abs() > 1.0 - 1e-12);
        }
    }

    #[test]
    fn the_angular_velocity_within_a_segment_is_constant(cubic in any::<bool>(), from in quaternion(), to in quaternion()) {
        let interpolation = if cubic { Interpolation::Cubic } else { Interpolation::Linear };
        let commands = stream(interpolation, &[(0, vec![from, to], 100)]);
        let speed = |velocity: &[f64; 4]| 2.0 * dot(velocity, velocity).sqrt();
        for pair in commands.windows(2) {
            let step = angle(&pair[0].0, &pair[1].0) / (PERIOD as f64 * 1e-11);
            prop_assert!((step - speed(&pair[0].1)).abs() < 1e-6, "{step}");
            prop_assert!((speed(&pair[0].1) - speed(&commands[0].1)).abs() < 1e-9);
        }
    }
}

#[test]
fn an_unsaid_orientation_is_counted_and_the_last_one_kept() {
    let mut engine = engine(Interpolation::Linear);
    let mut out = [0.0; 5];
    engine.command(Some(&plan(0, 1_000, &[[0.0; 4]])), 2_000, &mut out);
    assert_eq!(out, [7.0, 0.0, 0.0, 0.0, 1.0], "at first the identity");
    engine.command(
        Some(&plan(1, 3_000, &[[2.0, 0.0, 0.0, 0.0]])),
        9_000_000_000,
        &mut out,
    );
    assert_eq!(out, [7.0, 0.0, 0.0, 0.0, 1.0], "from rest after a pause");
    engine.command(
        Some(&plan(1, 3_000, &[[2.0, 0.0, 0.0, 0.0]])),
        9_200_000_000,
        &mut out,
    );
    assert_eq!(out, [7.0, 1.0, 0.0, 0.0, 0.0]);
    for now in [9_210_000_000, 9_300_000_000] {
        engine.command(Some(&plan(2, 3_000, &[[0.0; 4]])), now, &mut out);
        assert_eq!(out, [7.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(engine.velocity(), [0.0; 5]);
    }
    assert_eq!(engine.counts().unsaid_orientations, 3);
}
