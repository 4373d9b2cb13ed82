//! Cautions: what a colleague would say of a checkpoint before it moves a robot. Nothing is refused for them.

use kinestream_diffusion::network::vision::VisionConfig;

use crate::checkpoint::Normalisers;
use crate::config::ObservationPart;
use crate::{Normaliser, PolicyConfig};

/// A deviation that nobody would notice on a robot.
const SMALL: f32 = 1e-3;
/// What it may become for the network, whose inputs lie between -1 and 1.
const LARGE: f32 = 10.0;
/// A picture of which less is seen was probably larger where the policy was trained.
const LEAST_SEEN: f64 = 0.4;
/// Share of its trained range that an action may lose at its ends.
const CUT: f32 = 0.01;

/// All that there is to say, a sentence each.
pub fn cautions(policy: &PolicyConfig, normalisers: &Normalisers) -> Vec<String> {
    let mut all = Vec::new();
    let numbers = number_names(&policy.task.observation, normalisers.observation.size());
    let actions: Vec<String> = (0..normalisers.action.size())
        .map(|index| format!("{}[{index}]", policy.task.action))
        .collect();
    for (names, normaliser) in [
        (&numbers, &normalisers.observation),
        (&actions, &normalisers.action),
    ] {
        all.extend(statistics(names, normaliser));
    }
    all.extend(constants(&numbers, &normalisers.observation));
    all.extend(clipping(policy, &normalisers.action));
    if let Some(vision) = &policy.vision {
        all.extend(crops(policy, vision));
    }
    all
}

/// What every number of an observation is called.
fn number_names(parts: &[ObservationPart], count: usize) -> Vec<String> {
    let mut names = Vec::with_capacity(count);
    for part in parts.iter().filter(|part| part.image.is_none()) {
        match &part.columns {
            Some(columns) => {
                names.extend(
                    columns
                        .iter()
                        .map(|column| format!("{}[{column}]", part.array)),
                );
            }
            // How many numbers it has only the data set knows.
            None => break,
        }
    }
    names.extend((names.len()..count).map(|index| format!("number {index} of the observation")));
    names.truncate(count);
    names
}

/// Limits that are the wrong way round, and deviations below 0.
fn statistics<'a>(
    names: &'a [String],
    normaliser: &'a Normaliser,
) -> impl Iterator<Item = String> + 'a {
    let limits = normaliser.minimum.iter().zip(&normaliser.maximum);
    let swapped = limits
        .zip(names)
        .filter(|((low, high), _)| low > high)
        .map(|((low, high), name)| {
            format!("{name}: the statistics have a smallest value of {low} above the largest, {high}: are they swapped?")
        });
    let scales = normaliser.scale.iter().zip(names);
    let negative = scales
        .filter(|(scale, _)| **scale < 0.0)
        .map(|(scale, name)| {
            format!(
                "{name}: the network is given {scale:.3} times the number, by a range or deviation below 0 in the \
                 statistics: larger becomes smaller"
            )
        });
    swapped.chain(negative)
}

/// Numbers that never changed: the smallest deviation is enormous to the network.
fn constants<'a>(
    names: &'a [String],
    normaliser: &'a Normaliser,
) -> impl Iterator<Item = String> + 'a {
    (0..normaliser.size()).filter_map(|index| {
        let limits = normaliser.minimum.get(index).zip(normaliser.maximum.get(index));
        let becomes = SMALL * normaliser.scale[index].abs();
        let is_constant = limits.is_none_or(|(low, high)| high - low <= SMALL);
        (is_constant && becomes > LARGE).then(|| {
            let value = match limits {
                Some((low, _)) => format!(" ({low})"),
                None => String::new(),
            };
            format!(
                "{} is constant{value} in the training data: {SMALL} off it is {becomes:.0} to the network; send it exactly, or \
                 train without it",
                names[index]
            )
        })
    })
}

/// Actions that clipping keeps within less than their trained range.
fn clipping(policy: &PolicyConfig, action: &Normaliser) -> Option<String> {
    let bound = policy.sampler.clip_sample? as f32;
    if action.minimum.len() != action.size() || action.maximum.len() != action.size() {
        return None;
    }
    let ends = [-bound, bound].map(|end| {
        let mut row = vec![end; action.size()];
        action.restore(&mut row);
        row
    });
    let cut: Vec<usize> = (0..action.size())
        .filter(|&index| {
            let (low, high) = (action.minimum[index], action.maximum[index]);
            let room = CUT * (high - low);
            ends[0][index] > low + room || ends[1][index] < high - room
        })
        .collect();
    let first = *cut.first()?;
    Some(format!(
        "actions are cut at {bound} of what the network is trained on, one standard deviation where that is how they are \
         normalised: {} of {} numbers lose part of their range, {}[{first}] keeps {:.4} to {:.4} of a trained {:.4} to {:.4}; \
         train without clip_sample, or with actions normalised by their limits",
        cut.len(),
        action.size(),
        policy.task.action,
        ends[0][first],
        ends[1][first],
        action.minimum[first],
        action.maximum[first],
    ))
}

/// Cameras of which little is seen.
fn crops<'a>(
    policy: &'a PolicyConfig,
    vision: &'a VisionConfig,
) -> impl Iterator<Item = String> + 'a {
    policy.cameras().filter_map(|(part, size)| {
        let [rows, columns] = vision.crop?;
        let [height, width] = vision.resize.unwrap_or([size.height, size.width]);
        let seen = (rows * columns) as f64 / (height * width) as f64;
        (seen < LEAST_SEEN).then(|| {
            format!(
                "camera `{}`: the policy sees the middle {rows} x {columns} of {height} x {width} pixels, {:.1} % of the \
                 picture",
                part.short_name(),
                1e2 * seen
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> (PolicyConfig, Normalisers) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("../models/pusht-image");
        let checkpoint = crate::Checkpoint::load(&folder, tch::Device::Cpu).unwrap();
        (
            checkpoint.policy().clone(),
            checkpoint.normalisers().clone(),
        )
    }

    #[test]
    fn nothing_is_said_of_the_shipped_policy() {
        let (policy, normalisers) = shipped();
        assert_eq!(cautions(&policy, &normalisers), [""; 0]);
    }

    #[test]
    fn a_colleague_would_say_it() {
        let (mut policy, mut normalisers) = shipped();
        let size = normalisers.observation.size();
        normalisers.observation = Normaliser {
            minimum: vec![1.57; size],
            maximum: vec![1.57; size],
            scale: vec![2e8; size],
            ..Normaliser::identity(size)
        };
        normalisers.action = Normaliser {
            minimum: vec![-3.0, 1.0],
            maximum: vec![3.0, -1.0],
            scale: vec![1.0, -1.0],
            ..Normaliser::identity(2)
        };
        let vision = policy.vision.as_mut().unwrap();
        (vision.resize, vision.crop) = (Some([480, 640]), Some([84, 84]));
        policy.sampler.clip_sample = Some(1.0);
        let all = cautions(&policy, &normalisers).join("\n");
        for expected in [
            "[0] is constant (1.57) in the training data: 0.001 off it is 200000 to the network",
            "keeps -1.0000 to 1.0000 of a trained -3.0000 to 3.0000",
            "action[1]: the statistics have a smallest value of 1 above the largest, -1",
            "the network is given -1.000 times the number",
            "the middle 84 x 84 of 480 x 640 pixels, 2.3 % of the picture",
        ] {
            assert!(all.contains(expected), "no `{expected}` in {all}");
        }
    }
}
