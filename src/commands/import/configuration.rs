//! The configuration that goes with an imported checkpoint.

use std::path::Path;

use anyhow::{Context, Result};
use kinestream_control::limits::PerJoint;
use kinestream_control::{Interpolation, InterpolationConfig, LimitsConfig};
use kinestream_diffusion::Solver;
use kinestream_policy::checkpoint::Normalisers;
use kinestream_policy::config::{PlanInit, PlanMode};
use kinestream_policy::{Checkpoint, Normaliser, PolicyConfig};
use serde::Serialize;

/// A range of 0 leaves a command no room; it gets this much of its place, at least this much.
const LEAST_RANGE: f64 = 1e-6;
/// Commands per second that are written.
const COMMAND_RATE_HZ: f64 = 100.0;
/// A number may go through its whole trained range in so many seconds.
const RANGE_S: f64 = 1.0;
/// Share of the demonstrations' changes that are no faster than their speed: single leaps are faults of a recording.
pub(super) const SPEED_QUANTILE: f64 = 0.999;
/// The longest that a number may take through its whole trained range.
const SLOWEST_RANGE_S: f64 = 100.0;
/// How much faster than its demonstrations a policy may be.
const SPEED_ROOM: f64 = 1.2;
/// Share of its trained range that a plan may begin away from where the robot is.
const FARTHEST: f64 = 0.5;
/// Two ranges are of one thing where they have so much of the wider one in common: angles in degrees are no positions of a
/// gripper, though its range lies within theirs.
const COMMON: f64 = 0.5;

/// The tables that say something: of the policy its run settings, all others have their defaults.
#[derive(Serialize)]
struct Tables<'a> {
    task: Task,
    plan: Plan<'a>,
    sampler: Sampler<'a>,
    runtime: Runtime<'a>,
    control: Control,
    session: Session,
}

#[derive(Serialize)]
struct Task {
    rate_hz: f64,
}

#[derive(Serialize)]
struct Plan<'a> {
    mode: PlanMode,
    action_steps: usize,
    levels: usize,
    primer: PlanInit,
    #[serde(skip_serializing_if = "Option::is_none")]
    primer_columns: Option<&'a [usize]>,
}

#[derive(Serialize)]
struct Sampler<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    clip_sample: Option<f64>,
    solver: &'a Solver,
}

#[derive(Serialize)]
struct Runtime<'a> {
    checkpoint: &'a Path,
    robot: &'a str,
    device: &'a str,
    threads: usize,
}

#[derive(Serialize)]
struct Control {
    rate_hz: f64,
    interpolation: InterpolationConfig,
    limits: LimitsConfig,
}

#[derive(Serialize)]
struct Session {
    namespace: &'static str,
    listen: [&'static str; 1],
}

/// A configuration in TOML: keys and rates, and limits from the statistics of the training data, whose speeds are known where
/// it was read.
pub(super) fn text(
    folder: &Path,
    checkpoint: &Checkpoint,
    demonstrations: Option<&DemonstratedActions>,
) -> Result<String> {
    let (policy, normalisers) = (checkpoint.policy(), checkpoint.normalisers());
    written(folder, policy, normalisers, demonstrations)
}

fn written(
    folder: &Path,
    policy: &PolicyConfig,
    normalisers: &Normalisers,
    demonstrations: Option<&DemonstratedActions>,
) -> Result<String> {
    let cameras = policy.cameras().map(|(part, _)| part.short_name());
    let keys: Vec<String> = ["state"]
        .into_iter()
        .chain(cameras)
        .map(|name| format!("<namespace>/<robot>/obs/{name}"))
        .collect();
    let action = &normalisers.action;
    let positions = match ranges(action) {
        Some(_) => {
            "# Positions in [control.limits] are the smallest and largest actions of the training data.\n"
        }
        None => {
            "# The training data's smallest and largest actions are not known: positions are not limited.\n"
        }
    };
    let velocities = match (demonstrations, ranges(action)) {
        (Some(_), _) => {
            "# `velocity` is what the demonstrations themselves reach (99.9 % of their steps), and a fifth more.\n"
        }
        (None, Some(_)) => {
            "# Its speeds are not known: `velocity` lets every number go through its whole range in 1 s, which is\n\
             # a guess; `kinestream import --data DEMONSTRATIONS` writes the data's own.\n"
        }
        (None, None) => "# Nothing limits how fast it moves.\n",
    };
    let known = format!(
        "{positions}{velocities}# Compare them with what the robot bears, and set acceleration and jerk there, too."
    );
    let tables = Tables {
        task: Task {
            rate_hz: policy.task.rate_hz,
        },
        plan: Plan {
            mode: policy.plan.mode,
            action_steps: policy.plan.action_steps,
            levels: policy.plan.ladder_levels(),
            primer: policy.plan.primer,
            primer_columns: policy.plan.primer_columns.as_deref(),
        },
        sampler: Sampler {
            clip_sample: policy.sampler.clip_sample,
            solver: &policy.sampler.solver,
        },
        runtime: Runtime {
            checkpoint: match folder.is_absolute() {
                true => folder,
                // From the file's own folder, so that both may be moved.
                false => Path::new("."),
            },
            robot: "robot",
            device: "cpu",
            threads: 1,
        },
        control: Control {
            rate_hz: COMMAND_RATE_HZ,
            interpolation: interpolation(action, demonstrations),
            limits: limits(action, demonstrations),
        },
        session: Session {
            namespace: "kinestream",
            listen: ["tcp/127.0.0.1:7447"],
        },
    };
    let tables = toml::to_string(&tables).context("cannot write the configuration")?;
    Ok(format!(
        "# Written by `kinestream import`. Observations come in on\n#   {}\n# and task.rate_hz is the \
         rate of the actions. Every key here takes effect; what is not here of the policy is what runtime.checkpoint \n\
         # (a path from this file's folder, or absolute) says: `kinestream run --print-config` shows all of it.\n\
         # Fewer levels and kind = \"ddim\" are faster (docs/SOLVERS.md).\n\
         {known}\n# Read docs/SAFETY.md before the first motion.\n\n{tables}\n{}",
        keys.join("\n#   "),
        start_table(policy, normalisers)
    ))
}

/// What is guessed in it, for who imports.
pub(super) fn guesses(
    checkpoint: &Checkpoint,
    demonstrations: Option<&DemonstratedActions>,
) -> Vec<String> {
    let (policy, normalisers) = (checkpoint.policy(), checkpoint.normalisers());
    let limits = match (demonstrations, ranges(&normalisers.action)) {
        (Some(_), _) => {
            "control.limits.velocity: the demonstrations' own speeds and a fifth more; no acceleration"
        }
        (None, Some(_)) => {
            "control.limits.velocity: the whole trained range of every number in 1 s, since the data's speeds are not known \
             (--data DEMONSTRATIONS tells them); no acceleration"
        }
        (None, None) => "no limits at all, since the actions' ranges are not known",
    };
    let limits = limits.to_owned();
    let start = match measured(policy, normalisers) {
        Some((columns, _)) => format!(
            "control.start.columns: numbers {columns:?} of obs/state are where the robot is"
        ),
        None => "control.start.from = \"plan\": which numbers of obs/state are where the robot is, nobody says".to_owned(),
    };
    let mut guesses = vec![limits, start];
    if let InterpolationConfig::Each(each) = interpolation(&normalisers.action, demonstrations) {
        let is_held = |(_, how): &(usize, &Interpolation)| **how == Interpolation::Hold;
        let held: Vec<usize> = each
            .iter()
            .enumerate()
            .filter(is_held)
            .map(|(at, _)| at)
            .collect();
        guesses.push(format!(
            "control.interpolation: numbers {held:?} of the action are held, not moved on lines, since {}",
            match demonstrations {
                Some(_) => "the demonstrations have two values of them alone: grippers, say",
                None => "they alone go from 0 to 1 (or -1 to 1) exactly: grippers, say",
            }
        ));
    }
    guesses
}

/// What demonstrations tell of the actions.
pub(super) struct DemonstratedActions {
    /// Of every number, per second.
    pub(super) speeds: Vec<f64>,
    /// Which numbers have two values and no others.
    pub(super) two_valued: Vec<bool>,
}

/// Lines, but for numbers that are open or closed.
fn interpolation(
    action: &Normaliser,
    demonstrations: Option<&DemonstratedActions>,
) -> InterpolationConfig {
    let two_valued: Vec<bool> = match demonstrations {
        Some(demonstrations) => demonstrations.two_valued.clone(),
        None => {
            let limits = action.minimum.iter().zip(&action.maximum);
            limits
                .map(|(low, high)| (*low == 0.0 || *low == -1.0) && *high == 1.0)
                .collect()
        }
    };
    // Where all are alike, they are not grippers but in units of their own.
    let some = two_valued.contains(&true) && two_valued.contains(&false);
    if !some {
        return Interpolation::Linear.into();
    }
    let how = two_valued.iter().map(|is_held| match is_held {
        true => Interpolation::Hold,
        false => Interpolation::Linear,
    });
    InterpolationConfig::Each(how.collect())
}

/// Where a motion begins: where the robot is measured, if the observation seems to say it.
fn start_table(policy: &PolicyConfig, normalisers: &Normalisers) -> String {
    let measured = measured(policy, normalisers);
    let is_measured = measured.is_some();
    let mut text = match measured {
        Some((columns, why)) => format!(
            "[control.start]\n\
             # Which numbers of obs/state are where the robot is, one for every number of the action: {why}.\n\
             columns = {columns:?}\n\
             from = \"measured\"\n"
        ),
        None => "[control.start]\n\
             # Which numbers of obs/state are where the robot is, nobody says: a motion begins where the plan begins.\n\
             # Bring the robot there first, or name them: columns = [0, 1, ...], one for every number of the\n\
             # action, and from = \"measured\".\n\
             from = \"plan\"\n"
            .to_owned(),
    };
    if let Some(ranges) = ranges(&normalisers.action).filter(|_| is_measured) {
        let farthest: Vec<f64> = ranges
            .iter()
            .map(|(low, high)| FARTHEST * (high - low))
            .collect();
        text += &format!(
            "# A plan that begins farther than this from there is refused: half of every number's trained range.\n\
             farthest = {farthest:?}\n"
        );
    }
    text
}

/// The numbers of an observation that are where the robot is, and who says so: the checkpoint, or that its first array has as
/// many numbers as an action, over the same ranges.
fn measured(
    policy: &PolicyConfig,
    normalisers: &Normalisers,
) -> Option<(Vec<usize>, &'static str)> {
    if let Some(columns) = &policy.plan.primer_columns {
        return Some((columns.clone(), "as the checkpoint says"));
    }
    let actions = ranges(&normalisers.action)?;
    let numbers = ranges(&normalisers.observation)?;
    let mut parts = policy.task.observation.iter();
    let first = parts.find(|part| part.image.is_none())?;
    let size = match &first.columns {
        Some(columns) => columns.len(),
        None => numbers.len(),
    };
    let in_common = |((low, high), (least, most)): (&(f64, f64), &(f64, f64))| {
        let common = high.min(*most) - low.max(*least);
        common >= COMMON * (high - low).max(most - least)
    };
    let is_like = size == actions.len() && actions.iter().zip(&numbers).all(in_common);
    is_like.then(|| {
        let why = "a guess, from their number and their trained ranges; check it";
        ((0..size).collect(), why)
    })
}

/// The smallest and largest value of every number, never equal; none where nobody kept them.
fn ranges(numbers: &Normaliser) -> Option<Vec<(f64, f64)>> {
    if numbers.minimum.is_empty() || numbers.maximum.is_empty() {
        return None;
    }
    let limits = numbers.minimum.iter().zip(&numbers.maximum);
    let range = |(low, high): (&f32, &f32)| {
        let (low, high) = (f64::from(*low), f64::from(*high));
        let room = LEAST_RANGE * high.abs().max(1.0);
        (low, high.max(low + room))
    };
    Some(limits.map(range).collect())
}

fn limits(action: &Normaliser, demonstrations: Option<&DemonstratedActions>) -> LimitsConfig {
    let ranges = ranges(action);
    let each = |number: &dyn Fn(&(f64, f64)) -> f64| {
        let ranges = ranges.as_ref()?;
        Some(PerJoint::Each(ranges.iter().map(number).collect()))
    };
    let known = demonstrations.map(|demonstrations| {
        let moving = demonstrations.speeds.iter().map(|speed| SPEED_ROOM * speed);
        // What hardly moved in the demonstrations may still be brought to its place.
        let least = |number: usize| {
            let range = ranges
                .as_ref()
                .map_or(0.0, |all| all[number].1 - all[number].0);
            (range / SLOWEST_RANGE_S).max(LEAST_RANGE)
        };
        let moving = moving
            .enumerate()
            .map(|(number, speed)| speed.max(least(number)));
        PerJoint::Each(moving.collect())
    });
    // What is open or closed goes from one to the other at once: a speed would leave it half open.
    let held = interpolation(action, demonstrations);
    let mut velocity = known.or_else(|| each(&|(low, high)| (high - low) / RANGE_S));
    if let (InterpolationConfig::Each(how), Some(PerJoint::Each(speeds)), Some(ranges)) =
        (&held, &mut velocity, &ranges)
    {
        for ((speed, how), (low, high)) in speeds.iter_mut().zip(how).zip(ranges) {
            if *how == Interpolation::Hold {
                *speed = (high - low) * COMMAND_RATE_HZ;
            }
        }
    }
    LimitsConfig {
        lower: each(&|(low, _)| *low),
        upper: each(&|(_, high)| *high),
        velocity,
        ..LimitsConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use kinestream_control::StartFrom;
    use kinestream_runtime::config::Config;

    /// What is written for the shipped policy with other statistics and another first array.
    fn imported(
        columns: Option<Vec<usize>>,
        action: [f32; 2],
        change: impl FnOnce(&mut Normalisers),
    ) -> (String, Config) {
        imported_with(columns, action, change, None)
    }

    fn imported_with(
        columns: Option<Vec<usize>>,
        action: [f32; 2],
        change: impl FnOnce(&mut Normalisers),
        demonstrations: Option<&DemonstratedActions>,
    ) -> (String, Config) {
        let shipped = Path::new(kinestream_runtime::checkpoint::SHIPPED);
        let checkpoint = kinestream_runtime::checkpoint::open(shipped, Device::Cpu).unwrap();
        let mut policy = checkpoint.policy().clone();
        let parts =
            serde_json::json!([{ "array": "state", "columns": [0, 1] }, { "array": "rest" }]);
        policy.task.observation = serde_json::from_value(parts).unwrap();
        policy.plan.primer_columns = columns;
        let mut normalisers = checkpoint.normalisers().clone();
        let range = |numbers: &mut Normaliser, [low, high]: [f32; 2]| {
            numbers.minimum = vec![low; numbers.size()];
            numbers.maximum = vec![high; numbers.size()];
        };
        range(&mut normalisers.observation, [-180.0, 180.0]);
        range(&mut normalisers.action, action);
        change(&mut normalisers);
        let text = written(Path::new("there"), &policy, &normalisers, demonstrations).unwrap();
        let config = Config::parse_about(&text, "run.toml", &policy)
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(config.policy(), policy, "{text}");
        // What is written runs.
        let controller = config.control.controller(2);
        assert!(controller.is_ok(), "{:?}: {text}", controller.err());
        (text, config)
    }

    fn each(number: f64) -> Option<PerJoint> {
        Some(PerJoint::Each(vec![number; 2]))
    }

    #[test]
    fn limits_and_a_start_are_written_from_the_trained_ranges() {
        let (text, config) = imported(None, [-90.0, 150.0], |_| {});
        assert!(text.contains("a guess"), "{text}");
        let limits = &config.control.limits;
        assert_eq!(limits.lower, each(-90.0));
        assert_eq!(limits.velocity, each(240.0));
        assert_eq!(limits.acceleration, None);
        let start = &config.control.start;
        assert_eq!(start.columns, Some(vec![0, 1]));
        assert_eq!(start.from, Some(StartFrom::Measured));
        assert_eq!(start.farthest, each(120.0));
    }

    #[test]
    fn velocities_are_the_demonstrations_own_where_they_are_read() {
        let demonstrations = DemonstratedActions {
            speeds: vec![50.0, 0.0],
            two_valued: vec![false, true],
        };
        let (text, config) = imported_with(None, [-90.0, 150.0], |_| {}, Some(&demonstrations));
        assert!(!text.contains("is\n# a guess"), "{text}");
        // The second one is held: through its range of 240 within a command.
        let expected = PerJoint::Each(vec![60.0, 24_000.0]);
        assert_eq!(config.control.limits.velocity, Some(expected));
        assert_eq!(config.control.limits.upper, each(150.0));
        let held = vec![Interpolation::Linear, Interpolation::Hold];
        assert_eq!(
            config.control.interpolation,
            InterpolationConfig::Each(held.clone())
        );
        // Without demonstrations by the trained ranges: one that is exactly 0 to 1.
        let (_, config) = imported(None, [-90.0, 150.0], |it| {
            (it.action.minimum[1], it.action.maximum[1]) = (0.0, 1.0);
        });
        assert_eq!(
            config.control.interpolation,
            InterpolationConfig::Each(held)
        );
        let (_, config) = imported(None, [-1.0, 1.0], |_| {});
        assert_eq!(config.control.interpolation, Interpolation::Linear.into());
    }

    #[test]
    fn what_is_no_measured_position_is_not_taken_for_one() {
        // Other ranges: velocities, say.
        let (text, config) = imported(None, [300.0, 600.0], |_| {});
        assert_eq!(config.control.start.columns, None);
        assert_eq!(config.control.start.from, Some(StartFrom::Plan));
        assert_eq!(config.control.start.farthest, None);
        assert!(text.contains("Bring the robot there first"), "{text}");
        // A range within the other, but another thing: a gripper between 0 and 2 beside degrees.
        let (_, config) = imported(None, [0.0, 2.0], |_| {});
        assert_eq!(config.control.start.columns, None);
        // The checkpoint knows.
        let (_, config) = imported(Some(vec![18, 19]), [300.0, 600.0], |_| {});
        assert_eq!(config.control.start.columns, Some(vec![18, 19]));
        // Without statistics nothing is limited, and that is said.
        let (text, config) = imported(None, [0.0, 1.0], |it| it.action.minimum.clear());
        assert_eq!(config.control.limits, LimitsConfig::default());
        assert!(text.contains("positions are not limited"), "{text}");
        assert_eq!(config.control.start.farthest, None);
    }

    #[test]
    fn a_constant_number_gets_a_little_room_and_a_speed() {
        let (_, config) = imported(None, [5.0, 5.0], |_| {});
        assert!(config.control.limits.velocity.is_some());
    }
}
