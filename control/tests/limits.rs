//! What the limiter promises, whatever it is asked to follow. Virtual time only.

#![allow(clippy::unwrap_used)]

#[path = "limits/support.rs"]
mod support;

use kinestream_control::{
    CommandEngine, Interpolation, Limiter, LimitsConfig, Orientations, PerJoint, Plan, PlanHeader,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{Bounds, Checker, Random, References, Scene, step};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(17),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    /// At least a thousand steps in each of a thousand cases.
    #[test]
    fn no_command_leaves_the_limits_in_a_million_steps(seed in any::<u64>(), steps in 1_000..1_500) {
        let mut scene = Scene::random(seed);
        for index in 0..steps {
            let reference = scene.references.next(scene.period_s());
            let (command, _) = step(&mut scene.limiter, reference);
            if let Err(error) = scene.checker.check(command) {
                prop_assert!(false, "step {index}, {} ns, {:?}: {error}", scene.period_ns, scene.bounds);
            }
        }
        prop_assert_eq!(scene.limiter.counts().unsolved, 0);
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn braking_ends_at_rest_inside_the_box(seed in any::<u64>(), steps in 0..300) {
        let mut scene = Scene::random(seed);
        for _ in 0..steps {
            let reference = scene.references.next(scene.period_s());
            let (command, _) = step(&mut scene.limiter, reference);
            scene.checker.check(command).unwrap();
        }
        // Half of an acceleration may have to be taken back before and after full deceleration.
        let bounds = scene.bounds;
        let time = 2.0 * bounds.velocity / bounds.acceleration + 4.0 * bounds.acceleration / bounds.jerk;
        let most = if time.is_finite() { (time / scene.period_s()) as usize + 2 } else { 1 };
        let (mut taken, mut command) = (0, f64::NAN);
        while !scene.limiter.is_at_rest() {
            command = step(&mut scene.limiter, None).0;
            prop_assert!(scene.checker.check(command).is_ok());
            taken += 1;
            prop_assert!(taken <= most, "{taken} of {most} periods");
        }
        for _ in 0..5 {
            let held = step(&mut scene.limiter, None).0;
            prop_assert!(taken == 0 || held == command, "{held} after {command}");
            prop_assert!(scene.checker.check(held).is_ok());
        }
    }

    /// Seven joints with limits of their own beside an orientation: each keeps to its own.
    #[test]
    fn every_joint_keeps_its_own_limits(seed in any::<u64>()) {
        let mut random = Random(seed);
        let columns = [0, 1, 6, 7, 8, 9, 10];
        let period_ns = random.log_between(1e6, 1e8) as u64;
        let joints: Vec<Bounds> = columns.iter().map(|_| Bounds::full(&mut random)).collect();
        let each = |pick: fn(&Bounds) -> f64| Some(PerJoint::Each(joints.iter().map(pick).collect()));
        let turning = random.log_between(0.1, 10.0);
        let limits = LimitsConfig {
            lower: each(|bounds| bounds.lower),
            upper: each(|bounds| bounds.upper),
            velocity: each(|bounds| bounds.velocity),
            acceleration: each(|bounds| bounds.acceleration),
            jerk: each(|bounds| bounds.jerk),
            angular_velocity: Some(turning),
        };
        let orientations = Orientations::new(&[[2, 3, 4, 5].into()], 11).unwrap();
        let mut limiter = Limiter::new(&limits, &orientations, period_ns).unwrap();
        limiter.start(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        let mut references: Vec<References> =
            joints.iter().map(|bounds| References::new(random.next(), bounds.upper)).collect();
        let mut checkers: Vec<Checker> =
            joints.iter().map(|&bounds| Checker::new(bounds, period_ns, 0.0)).collect();
        let (mut out, mut before) = ([0.0; 11], [0.0, 0.0, 0.0, 1.0]);
        for _ in 0..300 {
            let mut reference = [0.0; 11];
            let mut velocity = [0.0; 11];
            for (column, references) in columns.into_iter().zip(&mut references) {
                let (position, rate) = references.next(period_ns as f64 * 1e-9).unwrap_or((0.0, 0.0));
                // A single number that is not finite would stop them all.
                reference[column] = if position.is_finite() { position } else { 0.0 };
                velocity[column] = rate;
            }
            (2..6).for_each(|column| reference[column] = random.between(-1.0, 1.0));
            limiter.follow(&reference, &velocity, &mut out);
            for (column, checker) in columns.into_iter().zip(&mut checkers) {
                if let Err(error) = checker.check(out[column]) {
                    prop_assert!(false, "column {column}: {error}");
                }
            }
            let turned: [f64; 4] = out[2..6].try_into().unwrap();
            let apart: f64 = (0..4).map(|i| (turned[i] - before[i]).powi(2)).sum();
            let angle = 4.0 * (apart.sqrt() / 2.0).asin();
            prop_assert!(angle <= turning * period_ns as f64 * 1e-9 * (1.0 + 1e-9) + 1e-12, "{angle}");
            prop_assert!((turned.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
            before = turned;
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    /// A 10 Hz policy that draws its plans at random, through the command engine, at three rates.
    #[test]
    fn plans_drawn_at_random_are_commanded_within_the_limits(
        seed in any::<u64>(),
        rate_hz in prop_oneof![Just(100_u64), Just(500), Just(1000)],
        interpolation in prop_oneof![
            Just(Interpolation::Hold),
            Just(Interpolation::Linear),
            Just(Interpolation::Cubic),
        ],
    ) {
        let mut random = Random(seed);
        let bounds = Bounds::full(&mut random);
        let period_ns = 1_000_000_000 / rate_hz;
        let mut limiter = bounds.limiter(period_ns);
        let mut engine = CommandEngine::new(interpolation, 1);
        let mut checker: Option<Checker> = None;
        let (mut now, mut wandering) = (1_000_000_000, 0.0);
        for chunk in 0..30 {
            let wild = random.below(4) == 0;
            let actions = (0..1 + random.below(8)).map(|_| {
                if wild {
                    random.between(-2.0, 2.0) as f32 * bounds.upper as f32
                } else {
                    wandering += random.between(-0.05, 0.05) * bounds.velocity;
                    wandering as f32
                }
            });
            let actions: Vec<f32> = actions.collect();
            let header = PlanHeader {
                stream: 0,
                chunk,
                observation_sequence: chunk,
                start_ns: now - random.below(100_000_000),
                period_ns: 100_000_000,
                action_size: 1,
                committed: 1 + random.below(actions.len() as u64) as usize,
            };
            let plan = Plan::new(header, actions).unwrap();
            for _ in 0..rate_hz / 10 {
                let mut reference = [f64::NAN];
                engine.command(Some(&plan), now, &mut reference);
                let (command, _) = step(&mut limiter, Some((reference[0], engine.velocity()[0])));
                let checker = checker.get_or_insert_with(|| Checker::new(bounds, period_ns, command));
                if let Err(error) = checker.check(command) {
                    prop_assert!(false, "{rate_hz} Hz, {interpolation:?}, {bounds:?}: {error}");
                }
                now += period_ns;
            }
        }
    }
}
