//! Demonstrations by an environment's own script.

use anyhow::{Context, Result, bail, ensure};
use kinestream_policy::data::RecordedArray;
use kinestream_sim::environment::{Demonstrator, Environment, EnvironmentSpec};
use kinestream_sim::evaluation::Episode;

/// Demonstrations so far.
pub struct Demonstrations {
    /// All arrays of the environment, and the actions last.
    pub arrays: Vec<RecordedArray>,
    /// Rows behind the last of every episode.
    pub ends: Vec<usize>,
    /// The episodes that are recorded.
    pub episodes: Vec<Episode>,
    /// Seeds of those that failed and are left out.
    pub failed: Vec<u32>,
}

/// Records episodes from `first_seed` on until `wanted` have succeeded; `action` names the array of the actions.
///
/// # Errors
/// An environment without a demonstrator, more failures than successes wanted, or no more seeds.
pub fn record(
    environment: &'static EnvironmentSpec,
    action: &str,
    first_seed: u32,
    wanted: usize,
) -> Result<Demonstrations> {
    let demonstrator = environment
        .demonstrator
        .with_context(|| format!("`{}` has no demonstrator", environment.name))?;
    let observed = environment.arrays.iter();
    let mut recording = Demonstrations {
        arrays: observed
            .map(|array| RecordedArray::new(array.name, array.shape))
            .chain([RecordedArray::new(action, &[environment.action.size()])])
            .collect(),
        ends: Vec::new(),
        episodes: Vec::new(),
        failed: Vec::new(),
    };
    let mut world = (environment.make)();
    let mut seed = first_seed;
    while recording.ends.len() < wanted {
        // Episodes that fail are rare, or the demonstrator is broken.
        ensure!(
            recording.failed.len() <= wanted,
            "{} of {} demonstrations of `{}` failed; the demonstrator is broken",
            recording.failed.len(),
            recording.failed.len() + recording.ends.len(),
            environment.name
        );
        world.reset(seed);
        demonstrate(&mut *world, &mut *demonstrator(seed), seed, &mut recording)?;
        if recording.ends.len() == wanted {
            break;
        }
        seed = seed.checked_add(1).with_context(|| {
            format!("seed {first_seed} with {wanted} episodes passes the largest seed")
        })?;
    }
    Ok(recording)
}

/// One episode, recorded if it succeeds.
fn demonstrate(
    world: &mut dyn Environment,
    demonstrator: &mut dyn Demonstrator,
    seed: u32,
    recording: &mut Demonstrations,
) -> Result<()> {
    let environment = world.spec();
    let before: Vec<usize> = recording
        .arrays
        .iter()
        .map(|array| array.values.len())
        .collect();
    let mut episode = Episode::begun(seed);
    while episode.end.is_none() {
        let action = demonstrator.act(world);
        let Some((actions, arrays)) = recording.arrays.split_last_mut() else {
            bail!("a recording has an array of actions");
        };
        for array in arrays {
            let values = world.array(&array.name).unwrap_or_default();
            array
                .values
                .extend(values.into_iter().map(|value| value as f32));
        }
        actions
            .values
            .extend(action.iter().map(|value| *value as f32));
        let result = world
            .step(&action)
            .with_context(|| format!("seed {seed}"))?;
        episode.advance(environment, &result);
    }
    if episode.success {
        let rows = recording.ends.last().copied().unwrap_or(0);
        recording.ends.push(rows + episode.steps);
        recording.episodes.push(episode);
    } else {
        recording.failed.push(seed);
        for (array, length) in recording.arrays.iter_mut().zip(before) {
            array.values.truncate(length);
        }
    }
    Ok(())
}
