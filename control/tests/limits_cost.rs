//! What a period of the limiter costs; measures time, so it runs only when asked for:
//! cargo test --release -p kinestream-control --test limits_cost -- --ignored --nocapture

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use kinestream_control::{Limiter, LimitsConfig, Orientations, PerJoint};

/// Position and velocity at a time in s.
type Reference<'a> = &'a dyn Fn(f64) -> (f64, f64);

const JOINTS: usize = 7;
const PERIODS: usize = 20_000;

#[test]
#[ignore = "measures time"]
fn cost_per_joint_and_period() {
    let all = |value| Some(PerJoint::All(value));
    let mut config = LimitsConfig {
        lower: all(-3.0),
        upper: all(30.0),
        velocity: all(2.0),
        ..LimitsConfig::default()
    };
    for order in ["velocity", "acceleration", "jerk"] {
        match order {
            "acceleration" => config.acceleration = all(10.0),
            "jerk" => config.jerk = all(500.0),
            _ => {}
        }
        let followed = |t: f64| (t - t.sin(), 1.0 - t.cos());
        let steps = |t: f64| ((t * 2.0).floor().sin() * 2.5, 0.0);
        let noise = |t: f64| (((t * 1e4).sin() * 1e4).sin() * 2.5, 0.0);
        let references: [(&str, Reference<'_>); 3] = [
            ("followed as it is", &followed),
            ("steps at 2 Hz", &steps),
            ("noise", &noise),
        ];
        for (name, reference) in references {
            let mut limiter =
                Limiter::new(&config, &Orientations::none(JOINTS), 1_000_000).unwrap();
            limiter.start(&[0.0; JOINTS]).unwrap();
            let mut out = [0.0; JOINTS];
            let mut times: Vec<f64> = (0..PERIODS)
                .map(|period| {
                    let (position, velocity) = reference(period as f64 * 1e-3);
                    let (position, velocity) = ([position; JOINTS], [velocity; JOINTS]);
                    let begin = Instant::now();
                    limiter.follow(black_box(&position), &velocity, &mut out);
                    begin.elapsed().as_secs_f64() * 1e9 / JOINTS as f64
                })
                .collect();
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((PERIODS - 1) as f64 * share) as usize];
            let counts = limiter.counts();
            println!(
                "{order}, {name}: {:.0} ns mean, p50 {:.0}, p99 {:.0}, p99.9 {:.0}; {} of {PERIODS} periods limited",
                times.iter().sum::<f64>() / PERIODS as f64,
                at(0.5),
                at(0.99),
                at(0.999),
                counts.limited,
            );
        }
    }
}
