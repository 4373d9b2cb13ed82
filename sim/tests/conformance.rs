//! What every registered environment promises: determinism, a state that can be saved, a specification that is true, errors
//! that name what is wrong, episodes that end.

#![allow(clippy::unwrap_used)]

use kinestream_sim::environment::{Environment, EnvironmentSpec, EpisodeEnd, StepResult};
use kinestream_sim::registry::ENVIRONMENTS;

/// Control steps that scripts take.
const STEPS: usize = 40;

/// Everything that can be observed, as bits.
#[derive(Debug, PartialEq)]
struct Observed {
    arrays: Vec<Vec<u64>>,
    pictures: Vec<Vec<u8>>,
    hold: Vec<u64>,
    result: Option<(u64, Option<EpisodeEnd>, Option<&'static str>)>,
}

fn bits(values: Vec<f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

fn observe(environment: &dyn Environment, result: Option<StepResult>) -> Observed {
    let spec = environment.spec();
    let arrays = spec.arrays.iter();
    let cameras = spec.cameras.iter();
    Observed {
        arrays: arrays
            .map(|array| bits(environment.array(array.name).unwrap()))
            .collect(),
        pictures: cameras
            .map(|camera| environment.picture(camera.name).unwrap())
            .collect(),
        hold: bits(environment.hold_action()),
        result: result.map(|it| (it.reward.to_bits(), it.end, it.route)),
    }
}

/// An action within the limits that depends on the step alone: a slow walk over the whole range.
fn action(spec: &EnvironmentSpec, step: usize) -> Vec<f64> {
    let limits = spec.action.low.iter().zip(spec.action.high).enumerate();
    limits
        .map(|(number, (low, high))| {
            let phase = 0.37 * step as f64 + 1.3 * number as f64;
            low + (high - low) * (0.5 + 0.45 * phase.sin())
        })
        .collect()
}

/// Steps until there are `steps` of them or the episode ends; what was observed after each.
fn play(environment: &mut dyn Environment, steps: std::ops::Range<usize>) -> Vec<Observed> {
    let mut seen = Vec::new();
    for step in steps {
        let action = action(environment.spec(), step);
        let result = environment.step(&action).unwrap();
        seen.push(observe(environment, Some(result)));
        if result.end.is_some() {
            break;
        }
    }
    seen
}

fn begin(spec: &EnvironmentSpec, seed: u32) -> Box<dyn Environment> {
    let mut environment = (spec.make)();
    environment.reset(seed);
    environment
}

#[test]
fn equal_seeds_and_actions_give_equal_bits_and_other_seeds_others() {
    for spec in ENVIRONMENTS {
        let mut first = begin(spec, 11);
        let start = observe(&*first, None);
        let seen = play(&mut *first, 0..STEPS);
        // Neither the object nor what it did before matters.
        let mut again = begin(spec, 5);
        play(&mut *again, 0..3);
        again.reset(11);
        assert_eq!(observe(&*again, None), start, "{}", spec.name);
        assert_eq!(play(&mut *again, 0..STEPS), seen, "{}", spec.name);

        let starts: Vec<Vec<Vec<u64>>> = (0..20)
            .map(|seed| observe(&*begin(spec, seed), None).arrays)
            .collect();
        for (seed, start) in starts.iter().enumerate() {
            assert!(
                !starts[..seed].contains(start),
                "{}, seed {seed}",
                spec.name
            );
        }
    }
}

#[test]
fn a_saved_state_goes_on_with_the_same_bits() {
    for spec in ENVIRONMENTS {
        let mut original = begin(spec, 3);
        play(&mut *original, 0..4);
        let saved = original.save();
        let seen = play(&mut *original, 4..STEPS);
        // In another object, and in the one that has gone on since.
        let mut other = begin(spec, 4);
        for environment in [&mut other, &mut original] {
            environment.restore(&saved).unwrap();
            assert_eq!(play(&mut **environment, 4..STEPS), seen, "{}", spec.name);
        }
    }
}

#[test]
fn a_state_of_another_environment_is_refused_by_name() {
    for spec in ENVIRONMENTS {
        for other in ENVIRONMENTS.iter().filter(|other| other.name != spec.name) {
            let saved = begin(other, 1).save();
            let mut environment = begin(spec, 1);
            let before = observe(&*environment, None);
            let message = environment.restore(&saved).unwrap_err().to_string();
            assert!(
                message.contains(spec.name) && message.contains(other.name),
                "{message}"
            );
            assert_eq!(observe(&*environment, None), before);
        }
    }
}

#[test]
fn specifications_are_true() {
    for spec in ENVIRONMENTS {
        let environment = begin(spec, 1);
        assert_eq!(environment.spec().name, spec.name);
        let name = spec.name;
        for array in spec.arrays {
            let values = environment.array(array.name).unwrap();
            assert_eq!(values.len(), array.size(), "{name}, {}", array.name);
            assert!(values.iter().all(|value| value.is_finite()));
        }
        for camera in spec.cameras {
            let picture = environment.picture(camera.name).unwrap();
            assert_eq!(picture.len(), camera.height * camera.width * 3, "{name}");
        }
        assert_eq!(environment.array("no such array"), None);
        assert_eq!(environment.picture("no such camera"), None);
        let action = &spec.action;
        assert!(
            action.size() > 0 && action.low.len() == action.high.len(),
            "{name}"
        );
        assert!(
            action
                .low
                .iter()
                .zip(action.high)
                .all(|(low, high)| low < high),
            "{name}"
        );
        assert_eq!(environment.hold_action().len(), action.size(), "{name}");
        assert!(spec.rate_hz > 0.0 && spec.max_steps > 0, "{name}");
        for observation in spec.observations {
            for array in observation.arrays {
                assert!(environment.array(array).is_some(), "{name}, {array}");
            }
            for camera in observation.cameras {
                assert!(environment.picture(camera).is_some(), "{name}, {camera}");
            }
        }
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(spec.configuration);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.contains(&format!("name = \"{name}\"")),
            "{}",
            file.display()
        );
    }
}

#[test]
fn impossible_actions_are_refused_by_name_and_change_nothing() {
    for spec in ENVIRONMENTS {
        let mut environment = begin(spec, 2);
        let before = observe(&*environment, None);
        let size = spec.action.size();
        let mut refused = |action: &[f64], texts: &[&str]| {
            let message = environment.step(action).unwrap_err().to_string();
            for text in [&[spec.name], texts].concat() {
                assert!(message.contains(text), "{text} in {message}");
            }
            assert_eq!(observe(&*environment, None), before, "{}", spec.name);
        };
        for wrong in [0, size - 1, size + 1] {
            let found = format!("{wrong} numbers");
            refused(&vec![0.0; wrong], &[&found, &format!("expected {size}")]);
        }
        for index in 0..size {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
                let mut action = action(spec, 0);
                action[index] = value;
                refused(&action, &[&format!("number {index}"), "finite"]);
            }
        }
    }
}

#[test]
fn an_episode_ends_at_its_limit_and_not_before() {
    for spec in ENVIRONMENTS {
        let mut environment = begin(spec, 8);
        for step in 1..=spec.max_steps {
            let action = environment.hold_action();
            let end = environment.step(&action).unwrap().end;
            let expected = (step == spec.max_steps).then_some(EpisodeEnd::TimeLimit);
            assert_eq!(end, expected, "{}, step {step}", spec.name);
        }
        let action = environment.hold_action();
        let message = environment.step(&action).unwrap_err().to_string();
        assert!(
            message.contains(spec.name) && message.contains("has ended"),
            "{message}"
        );
        environment.reset(8);
        assert_eq!(environment.step(&action).unwrap().end, None);
    }
}

#[test]
fn rewards_and_routes_are_those_that_are_announced() {
    for spec in ENVIRONMENTS {
        for seed in 0..5 {
            let mut environment = begin(spec, seed);
            for step in 0..STEPS {
                let result = environment.step(&action(spec, step)).unwrap();
                assert!(
                    (0.0..=1.0).contains(&result.reward),
                    "{}: {result:?}",
                    spec.name
                );
                let known = |route| spec.routes.contains(&route) && result.success();
                assert!(result.route.is_none_or(known), "{}: {result:?}", spec.name);
                if result.end.is_some() {
                    break;
                }
            }
        }
    }
}

#[test]
fn demonstrators_succeed() {
    for (spec, make) in ENVIRONMENTS
        .iter()
        .filter_map(|spec| Some((spec, spec.demonstrator?)))
    {
        let mut successes = 0;
        for seed in 0..200 {
            let mut environment = begin(spec, seed);
            let mut demonstrator = make(seed);
            let end = loop {
                let action = demonstrator.act(&*environment);
                if let Some(end) = environment.step(&action).unwrap().end {
                    break end;
                }
            };
            successes += usize::from(end == EpisodeEnd::Success);
        }
        assert!(successes >= 190, "{}: {successes} of 200", spec.name);
    }
}
