//! Push-T for training: its mirror symmetry, and scenes drawn at random for image encoders.

use std::f64::consts::TAU;

use anyhow::{Result, bail};
use kinestream_diffusion::noise::NoiseStream;
use kinestream_policy::config::{ObservationPart, TaskConfig};
use kinestream_policy::data::{AffineMap, PictureMirror, Symmetry};
use kinestream_policy::training::Examples;
use kinestream_sim::environment::Environment;
use kinestream_sim::pusht::{self, AGENT_RADIUS, IMAGE_SIZE, PushT, TABLE_SIZE, symmetry};

/// Where the T's origin may be put, pixels from the table's edges.
const MARGIN: f64 = 60.0;
/// The mirror of Push-T, (x, y) to (512 - y, 512 - x), of what a task observes and of `targets`; none where an array's
/// mirror image is not known.
pub fn mirror(task: &TaskConfig, targets: &[ObservationPart]) -> Option<Symmetry> {
    let numbers = task.observation.iter().filter(|part| part.image.is_none());
    Some(Symmetry {
        observation: side_by_side(numbers)?,
        action: map(symmetry::mirror_action()),
        targets: side_by_side(targets.iter())?,
        pictures: PictureMirror {
            transpose: true,
            flip_rows: true,
            flip_columns: true,
        },
    })
}

/// Scenes with the agent and the T at random places, drawn as the data set's pictures are. What `targets` name of them are
/// the columns of the data set's arrays, such as `keypoint` and `state`.
///
/// # Errors
/// Another array, or a column that it does not have.
pub fn random(count: usize, targets: &[ObservationPart], seed: u64) -> Result<Examples> {
    let mut random = NoiseStream::with_stream(seed, u64::MAX - 1);
    let mut examples = Examples {
        pictures: vec![Vec::with_capacity(count * IMAGE_SIZE * IMAGE_SIZE * 3)],
        ..Examples::default()
    };
    let mut drawn = 0;
    while drawn < count {
        let mut within = |margin: f64| margin + random.uniform() * (TABLE_SIZE - 2.0 * margin);
        let agent = [within(AGENT_RADIUS), within(AGENT_RADIUS)];
        let block = [within(MARGIN), within(MARGIN)];
        let angle = random.uniform() * TAU;
        let mut world = PushT::new();
        // One step of physics: where the agent stands on the T, the T gives way.
        world.reset_to_state([agent[0], agent[1], block[0], block[1], angle])?;
        if !world.block_is_on_table() {
            continue;
        }
        drawn += 1;
        examples.pictures[0].extend(world.render(IMAGE_SIZE));
        for part in targets {
            let all = array(&world, &part.array)?;
            match &part.columns {
                None => examples.targets.extend(&all),
                Some(columns) => {
                    for column in columns {
                        let Some(value) = all.get(*column) else {
                            bail!(
                                "training.vision.targets names column {column} of {}, there are {}",
                                part.array,
                                all.len()
                            );
                        };
                        examples.targets.push(*value);
                    }
                }
            }
        }
    }
    Ok(examples)
}

/// An array of the data set, as it would be recorded of a world.
fn array(world: &PushT, name: &str) -> Result<Vec<f32>> {
    let Some(values) = world.array(name) else {
        let known = pusht::SPEC.arrays.iter().map(|array| array.name);
        bail!(
            "training.vision.scenes: the simulator does not know the array `{name}` of training.vision.targets, expected \
             one of {}; set training.vision.scenes = 0",
            known.collect::<Vec<_>>().join(", ")
        );
    };
    Ok(values.into_iter().map(|value| value as f32).collect())
}

/// The mirrors of several arrays, side by side.
fn side_by_side<'a>(parts: impl Iterator<Item = &'a ObservationPart>) -> Option<AffineMap> {
    let maps: Vec<AffineMap> = parts
        .map(
            |part| match (part.array.as_str(), part.columns.as_deref()) {
                ("keypoint", None) => Some(map(symmetry::mirror_keypoints())),
                // The agent: a point, as an action is.
                ("state", Some([0, 1])) => Some(map(symmetry::mirror_action())),
                _ => None,
            },
        )
        .collect::<Option<_>>()?;
    let size: usize = maps.iter().map(|map| map.offset.len()).sum();
    let mut matrix = vec![0.0; size * size];
    let mut first = 0;
    for map in &maps {
        let own = map.offset.len();
        for row in 0..own {
            matrix[(first + row) * size + first..][..own]
                .copy_from_slice(&map.matrix[row * own..][..own]);
        }
        first += own;
    }
    Some(AffineMap {
        matrix,
        offset: maps.into_iter().flat_map(|map| map.offset).collect(),
    })
}

fn map(symmetry::AffineMap { matrix, offset }: symmetry::AffineMap) -> AffineMap {
    AffineMap { matrix, offset }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kinestream_sim::pusht::KEYPOINTS;

    use super::*;

    fn part(array: &str, columns: Option<Vec<usize>>) -> ObservationPart {
        ObservationPart {
            array: array.into(),
            columns,
            image: None,
        }
    }

    #[test]
    fn scenes_are_those_of_their_seed_and_show_what_they_say() {
        let targets = [part("keypoint", None), part("state", Some(vec![0, 1]))];
        let scenes = random(3, &targets, 7).unwrap();
        let size = 2 * KEYPOINTS + 2;
        assert_eq!(scenes.targets.len(), 3 * size);
        assert_eq!(scenes.pictures[0].len(), 3 * 3 * IMAGE_SIZE * IMAGE_SIZE);
        assert_eq!(random(3, &targets, 7).unwrap().targets, scenes.targets);
        // Where the agent is said to be, the picture is blue.
        for (picture, targets) in scenes.pictures[0]
            .chunks_exact(3 * IMAGE_SIZE * IMAGE_SIZE)
            .zip(scenes.targets.chunks_exact(size))
        {
            let [column, row] = [0, 1].map(|axis| {
                (f64::from(targets[2 * KEYPOINTS + axis]) * IMAGE_SIZE as f64 / TABLE_SIZE) as usize
            });
            let pixel = &picture[3 * (row * IMAGE_SIZE + column)..][..3];
            assert!(pixel[2] > 200 && pixel[0] < 120, "{pixel:?}");
        }
        let message = random(1, &[part("velocity", None)], 7)
            .unwrap_err()
            .to_string();
        assert!(message.contains("`velocity`"), "{message}");
        let message = random(1, &[part("state", Some(vec![5]))], 7)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("column 5 of state, there are 5"),
            "{message}"
        );
    }

    #[test]
    fn an_observation_is_mirrored_array_by_array() {
        let task = |observation| TaskConfig {
            name: "pusht".into(),
            observation,
            action: "action".into(),
            rate_hz: 10.0,
        };
        let agent = part("state", Some(vec![0, 1]));
        let both = mirror(&task(vec![part("keypoint", None), agent.clone()]), &[]).unwrap();
        assert_eq!(both.observation.offset.len(), 20);
        assert_eq!(both.observation.matrix[18 * 20 + 19], -1.0);
        assert!(both.targets.offset.is_empty());
        assert!(mirror(&task(vec![part("state", None)]), &[]).is_none());
        assert!(mirror(&task(vec![agent]), &[part("n_contacts", None)]).is_none());
    }
}
