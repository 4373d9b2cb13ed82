//! How the limiter follows: what it leaves alone, how it comes back, what it does with what cannot be followed. Virtual
//! time only.

#![allow(clippy::unwrap_used)]

#[path = "limits/support.rs"]
mod support;

use kinestream_control::{
    CommandEngine, Interpolation, LimitFlags, Limiter, LimitsConfig, Orientations, PerJoint, Plan,
    PlanHeader, StartError,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{Bounds, Checker, Random, References, Scene, step};

const MS: u64 = 1_000_000;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(19),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn arm() -> Bounds {
    Bounds {
        lower: -3.0,
        upper: 3.0,
        velocity: 1.0,
        acceleration: 5.0,
        jerk: 50.0,
    }
}

fn limiter_at(bounds: Bounds, period_ns: u64, start: f64) -> (Limiter, Checker) {
    let mut limiter = bounds.limiter(period_ns);
    limiter.start(&[start]).unwrap();
    (limiter, Checker::new(bounds, period_ns, start))
}

proptest! {
    #![proptest_config(config(300))]

    /// What a limiter with seven tenths of the limits says keeps to all of them by itself.
    #[test]
    fn what_keeps_to_the_limits_is_left_alone_bit_for_bit(seed in any::<u64>()) {
        let mut random = Random(seed);
        let bounds = Bounds::full(&mut random);
        // Several periods to each limit and to either wall: otherwise a period's share of a stop counts.
        let wall = (bounds.upper.min(-bounds.lower) / bounds.jerk).cbrt();
        let shortest = (bounds.velocity / bounds.acceleration).min(bounds.acceleration / bounds.jerk);
        let shortest = shortest.min(wall);
        let period_ns = ((shortest / 20.0).min(0.1) * 1e9) as u64;
        prop_assume!(period_ns > 10_000);
        let narrow = Bounds {
            lower: bounds.lower * 0.7,
            upper: bounds.upper * 0.7,
            velocity: bounds.velocity * 0.7,
            acceleration: bounds.acceleration * 0.7,
            jerk: bounds.jerk * 0.7,
        };
        let mut references = References::new(random.next(), bounds.upper);
        let (mut first, _) = limiter_at(narrow, period_ns, 0.0);
        let (mut second, _) = limiter_at(bounds, period_ns, 0.0);
        for _ in 0..1000 {
            let reference = references.next(period_ns as f64 * 1e-9);
            let admissible = step(&mut first, reference).0;
            let (command, interventions) = step(&mut second, Some((admissible, 0.0)));
            prop_assert_eq!(command.to_bits(), admissible.to_bits(), "{:?}", interventions);
            prop_assert_eq!(interventions, LimitFlags::NONE);
        }
        prop_assert_eq!(second.counts().limited, 0);
    }

    #[test]
    fn without_limits_every_finite_number_passes(seed in any::<u64>()) {
        let mut references = References::new(seed, 100.0);
        let mut limiter = Bounds::NONE.limiter(MS);
        let mut before = f64::NAN;
        for _ in 0..1000 {
            let reference = references.next(1e-3);
            let (command, interventions) = step(&mut limiter, reference);
            let finite = reference.map(|(position, _)| position).filter(|position| position.is_finite());
            let refused = reference.is_some() && finite.is_none();
            let expected = finite.unwrap_or(before);
            prop_assert!(command == expected || (command.is_nan() && before.is_nan()));
            prop_assert_eq!(interventions.contains(LimitFlags::NOT_FINITE), refused);
            before = command;
        }
    }

    /// From whatever came before: no later than it takes, and never away from it again.
    #[test]
    fn a_constant_and_a_ramp_are_met_and_kept(seed in any::<u64>(), steps in 0..500, ramp in any::<bool>()) {
        let mut scene = Scene::random(seed);
        if ramp {
            (scene.bounds.lower, scene.bounds.upper) = (f64::NEG_INFINITY, f64::INFINITY);
            (scene.limiter, scene.checker) = limiter_at(scene.bounds, scene.period_ns, scene.references.centre);
        }
        let (bounds, period_s) = (scene.bounds, scene.period_s());
        let mut last = 0.0;
        for _ in 0..steps {
            last = step(&mut scene.limiter, scene.references.next(period_s)).0;
        }
        let mut random = Random(seed ^ 1);
        let (centre, size) = (scene.references.centre, scene.references.size);
        let goal = random.between(centre - size, centre + size);
        let goal = goal.clamp(bounds.lower, bounds.upper);
        let rate = if ramp { random.between(-0.8, 0.8) * bounds.velocity.min(1e3) } else { 0.0 };
        // To rest, and over the whole way at a fifth of the speed, with twice the time for reaching it.
        let time = 10.0 * (goal - last).abs() / bounds.velocity
            + 20.0 * bounds.velocity / bounds.acceleration
            + 20.0 * bounds.acceleration / bounds.jerk;
        let time = if time.is_finite() { time } else { 10.0 * (goal - last).abs() / bounds.velocity };
        let most = (time / period_s) as usize + 20;
        if most > 5_000 {
            // Too slow a joint to wait for.
            return Ok(());
        }
        for index in 0..most + 50 {
            let reference = goal + rate * (index as f64 * period_s);
            let (command, interventions) = step(&mut scene.limiter, Some((reference, rate)));
            if index >= most {
                prop_assert_eq!(command, reference, "{} of {}, {:?}", index, most, &bounds);
                prop_assert_eq!(interventions, LimitFlags::NONE);
            }
        }
    }

    /// The shortest time there is for a long way: the way at full speed, one ramp of velocity and one of acceleration.
    #[test]
    fn a_step_takes_the_shortest_time(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut bounds = Bounds::full(&mut random);
        (bounds.lower, bounds.upper) = (f64::NEG_INFINITY, f64::INFINITY);
        bounds.jerk = bounds.jerk.max(bounds.acceleration * bounds.acceleration / bounds.velocity);
        let ramps = bounds.velocity / bounds.acceleration + bounds.acceleration / bounds.jerk;
        let way = bounds.velocity * ramps * random.between(1.0, 3.0);
        let shortest = way / bounds.velocity + ramps;
        let period_ns = (shortest / 500.0 * 1e9) as u64;
        let (mut limiter, mut checker) = limiter_at(bounds, period_ns, 0.0);
        let mut periods = 0;
        loop {
            let (command, interventions) = step(&mut limiter, Some((way, 0.0)));
            checker.check(command).unwrap();
            if interventions.is_empty() {
                break;
            }
            prop_assert!(command <= way * (1.0 + 1e-9), "past the goal: {command} of {way}");
            periods += 1;
            prop_assert!(periods < 510);
        }
        prop_assert!(periods > 490, "{periods}");
    }
}

#[test]
fn a_smooth_reference_is_met_again_while_it_accelerates() {
    let (mut limiter, mut checker) = limiter_at(arm(), MS, 0.0);
    let mut off = 0;
    for period in 0..10_000 {
        let t = f64::from(period) * 1e-3;
        let (command, interventions) = step(&mut limiter, Some((0.4 * t.cos(), -0.4 * t.sin())));
        checker.check(command).unwrap();
        if !interventions.is_empty() {
            off = period;
        }
    }
    assert!(off < 800, "last off the reference at {off} ms");
}

#[test]
fn a_reference_through_the_wall_ends_at_the_wall() {
    for bounds in [
        arm(),
        Bounds {
            jerk: f64::INFINITY,
            ..arm()
        },
        Bounds {
            jerk: f64::INFINITY,
            acceleration: f64::INFINITY,
            ..arm()
        },
    ] {
        let (mut limiter, mut checker) = limiter_at(bounds, 2 * MS, 2.0);
        let mut command = 2.0;
        for period in 0..2000 {
            let reference = 2.0 + 0.9 * f64::from(period) * 2e-3;
            let interventions;
            (command, interventions) = step(&mut limiter, Some((reference, 0.9)));
            checker.check(command).unwrap();
            if reference > 3.0 {
                assert!(interventions.contains(LimitFlags::POSITION));
            }
        }
        assert_eq!(command, 3.0);
        assert!(limiter.is_at_rest());
        let (command, interventions) = step(&mut limiter, Some((3.0, 0.0)));
        assert_eq!((command, interventions), (3.0, LimitFlags::NONE));
        for period in 0..1000 {
            let reference = 3.0 - 0.5 * f64::from(period) * 2e-3;
            checker
                .check(step(&mut limiter, Some((reference, -0.5))).0)
                .unwrap();
        }
        assert_eq!(step(&mut limiter, Some((2.0, -0.5))).0, 2.0, "and back");
    }
}

#[test]
fn a_number_that_is_not_finite_brakes_all_joints() {
    let all = |value| Some(PerJoint::All(value));
    let limits = LimitsConfig {
        velocity: all(1.0),
        acceleration: all(5.0),
        jerk: all(50.0),
        ..LimitsConfig::default()
    };
    let mut limiter = Limiter::new(&limits, &Orientations::none(2), 10 * MS).unwrap();
    limiter.start(&[0.0, 0.0]).unwrap();
    let mut out = [0.0; 2];
    for _ in 0..50 {
        limiter.follow(&[1.0, -1.0], &[0.0; 2], &mut out);
    }
    assert!(!limiter.is_at_rest());
    let limited = limiter.counts().limited;
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let interventions = limiter.follow(&[odd, -1.0], &[0.0; 2], &mut out);
        assert_eq!(interventions, LimitFlags::NOT_FINITE);
    }
    limiter.follow(&[1.0], &[0.0; 2], &mut out);
    while !limiter.is_at_rest() {
        limiter.follow(&[f64::NAN; 2], &[f64::NAN; 2], &mut out);
    }
    assert_eq!(out[0], -out[1]);
    let counts = limiter.counts();
    assert_eq!(counts.not_finite, counts.limited - limited);
    let resting = out;
    limiter.follow(&[f64::NAN; 2], &[0.0; 2], &mut out);
    assert_eq!(out, resting);
    let interventions = limiter.follow(&resting, &[f64::NAN, f64::INFINITY], &mut out);
    assert_eq!((interventions, out), (LimitFlags::NONE, resting));
}

#[test]
fn a_limiter_starts_where_the_robot_is() {
    let limits = LimitsConfig {
        lower: Some(PerJoint::All(-1.0)),
        upper: Some(PerJoint::Each(vec![1.0, 2.0])),
        velocity: Some(PerJoint::All(1.0)),
        ..LimitsConfig::default()
    };
    let orientations = Orientations::new(&[[2, 3, 4, 5].into()], 6).unwrap();
    let mut limiter = Limiter::new(&limits, &orientations, MS).unwrap();
    let mut refused = |position: &[f64]| limiter.start(position);
    assert_eq!(
        refused(&[0.0]).unwrap_err(),
        StartError::Size {
            expected: 6,
            found: 1
        }
    );
    assert!(matches!(
        refused(&[0.0, f64::NAN, 0.0, 0.0, 0.0, 1.0]).unwrap_err(),
        StartError::NotFinite { column: 1, .. }
    ));
    assert_eq!(
        refused(&[1.0, 2.1, 0.0, 0.0, 0.0, 1.0])
            .unwrap_err()
            .to_string(),
        "a start position's number 1 is 2.1, expected -1 to 2 (control.limits.lower and upper): move the robot there or \
         widen the limits"
    );
    assert_eq!(
        refused(&[0.0; 6]).unwrap_err(),
        StartError::NoOrientation {
            columns: [2, 3, 4, 5].into()
        }
    );
    let mut out = [7.0; 6];
    limiter.brake(&mut out);
    assert_eq!(out, [7.0; 6], "nothing is known yet");
    assert!(limiter.is_at_rest() && !limiter.is_started());
    let first = [5.0, 0.5, 0.0, 0.0, 0.0, -1.0];
    let interventions = limiter.follow(&first, &[0.0; 6], &mut out);
    assert_eq!(interventions, LimitFlags::POSITION);
    assert_eq!(
        out,
        [1.0, 0.5, 0.0, 0.0, 0.0, -1.0],
        "the first reference, inside the box"
    );
    limiter.reset();
    limiter.start(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]).unwrap();
    limiter.follow(&first, &[0.0; 6], &mut out);
    assert_eq!(out, [1e-3, 1e-3, 0.0, 0.0, 0.0, -1.0]);
    limiter.follow(&first, &[0.0; 6], &mut out[..1]);
}

#[test]
fn orientations_turn_no_faster_than_allowed() {
    let limits = LimitsConfig {
        angular_velocity: Some(0.5),
        ..LimitsConfig::default()
    };
    let orientations = Orientations::new(&[[0, 1, 2, 3].into()], 4).unwrap();
    let mut limiter = Limiter::new(&limits, &orientations, 10 * MS).unwrap();
    limiter.start(&[0.0, 0.0, 0.0, 1.0]).unwrap();
    let about_z = |angle: f64| [0.0, 0.0, (angle / 2.0).sin(), (angle / 2.0).cos()];
    let mut out = [0.0; 4];
    for period in 1..=100 {
        let goal = about_z(0.25).map(|number| -number);
        let interventions = limiter.follow(&goal, &[0.0; 4], &mut out);
        let expected = about_z((f64::from(period) * 0.005).min(0.25));
        let apart = (0..4).map(|i| (out[i] - expected[i]).abs());
        assert!(
            apart.fold(0.0, f64::max) < 1e-12,
            "{out:?} in period {period}"
        );
        assert_eq!(interventions.contains(LimitFlags::VELOCITY), period < 50);
    }
    let near = about_z(0.252);
    assert_eq!(limiter.follow(&near, &[0.0; 4], &mut out), LimitFlags::NONE);
    assert_eq!(out, near, "bit for bit");
    assert_eq!(
        limiter.follow(&[0.0; 4], &[0.0; 4], &mut out),
        LimitFlags::NOT_FINITE
    );
    assert_eq!(out, near);
    limiter.brake(&mut out);
    assert_eq!(out, near);
    let counts = limiter.counts();
    assert_eq!((counts.velocity, counts.not_finite), (49, 1));
    assert!((counts.largest_rotation - 0.245).abs() < 1e-12);
}

/// A plan within the limits is commanded as it stands from the first command to the last.
#[test]
fn a_smooth_plan_is_not_touched() {
    let bounds = Bounds {
        jerk: f64::INFINITY,
        ..arm()
    };
    let (mut limiter, _) = limiter_at(bounds, 2 * MS, 0.0);
    let actions = (0..64).map(|step| {
        // At rest for two positions: the slope of the path is 0 there.
        let t = (f64::from(step) * 0.1 - 0.1).max(0.0);
        (0.5 - 0.5 * t.cos()) as f32
    });
    let header = PlanHeader {
        stream: 0,
        chunk: 0,
        observation_sequence: 0,
        start_ns: 0,
        period_ns: 100 * MS,
        action_size: 1,
        committed: 64,
    };
    let plan = Plan::new(header, actions.collect()).unwrap();
    let mut engine = CommandEngine::new(Interpolation::Cubic, 1);
    for now in (0..6_000 * MS).step_by(2 * MS as usize) {
        let mut reference = [f64::NAN];
        engine.command(Some(&plan), now, &mut reference);
        let (command, _) = step(&mut limiter, Some((reference[0], engine.velocity()[0])));
        assert_eq!(command, reference[0], "at {now} ns");
    }
    assert_eq!(limiter.counts(), kinestream_control::LimitCounts::default());
}
