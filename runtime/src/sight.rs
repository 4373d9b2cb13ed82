//! What a policy sees of an environment: arrays of numbers and pictures, as its task names them.

use anyhow::{Result, bail};
use kinestream_policy::config::{ImageSize, ObservationPart, TaskConfig};
use kinestream_policy::{Image, Pixels};
use kinestream_sim::environment::{CameraSpec, Environment, EnvironmentSpec};

/// Numbers and pictures of an observation, as a policy takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentObservation {
    /// The numbers `[Do]`, in the order of `task.observation`.
    pub numbers: Vec<f32>,
    /// A picture for each camera, in the order of `task.observation`: red, green and blue, `[H, W, 3]`.
    pub pictures: Vec<Vec<u8>>,
}

/// Which arrays and cameras of an environment a policy sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservationMode {
    arrays: Vec<ObservedArray>,
    cameras: Vec<ObservedCamera>,
}

/// The name of an array and the columns that are seen of it, all without columns.
type ObservedArray = (&'static str, Option<Vec<usize>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct ObservedCamera {
    /// As the environment calls it.
    own: &'static str,
    /// As in its key `obs/<name>`.
    wire: String,
    size: ImageSize,
}

impl ObservationMode {
    /// What a task observes of an environment; `numbers` are those of an observation without its pictures, where they are
    /// known.
    ///
    /// Arrays are found by their names. An observation with names of its own, as imported checkpoints have them, is taken for
    /// the published one ([`EnvironmentSpec::observations`]) with as many numbers and cameras.
    ///
    /// # Errors
    /// The environment has no such observation.
    pub fn of(
        environment: &'static EnvironmentSpec,
        task: &TaskConfig,
        numbers: Option<usize>,
    ) -> Result<Self> {
        let parts = task.observation.iter();
        let (images, arrays): (Vec<_>, Vec<_>) = parts.partition(|part| part.image.is_some());
        let cameras = cameras(environment, &images);
        let arrays = named(environment, &arrays, numbers)
            .or_else(|| published(environment, &images, numbers));
        if let (Some(arrays), Some(cameras)) = (arrays, cameras) {
            return Ok(Self { arrays, cameras });
        }
        bail!(
            "the checkpoint observes {} numbers and {} images; {} shows {}: train it with {}",
            numbers.map_or_else(|| "other".to_owned(), |count| count.to_string()),
            images.len(),
            environment.title,
            shown(environment),
            environment.configuration,
        )
    }

    /// As `eval` names it.
    pub fn name(&self) -> &'static str {
        match self.cameras[..] {
            [] => "state",
            _ => "image",
        }
    }

    /// Names of the cameras as in their keys `obs/<name>`.
    pub fn cameras(&self) -> impl Iterator<Item = &str> {
        self.cameras.iter().map(|camera| camera.wire.as_str())
    }

    /// The numbers of an observation.
    pub fn numbers(&self, environment: &dyn Environment) -> Vec<f64> {
        let mut numbers = Vec::new();
        for (name, columns) in &self.arrays {
            // Every array of a specification is there, by the conformance test.
            let all = environment.array(name).unwrap_or_default();
            match columns {
                None => numbers.extend(all),
                Some(columns) => numbers.extend(columns.iter().map(|column| all[*column])),
            }
        }
        numbers
    }

    /// The pictures of an observation.
    pub fn pictures(&self, environment: &dyn Environment) -> Vec<Vec<u8>> {
        let cameras = self.cameras.iter();
        cameras
            .map(|camera| environment.picture(camera.own).unwrap_or_default())
            .collect()
    }

    /// Numbers and pictures.
    pub fn see(&self, environment: &dyn Environment) -> EnvironmentObservation {
        let numbers = self.numbers(environment).into_iter();
        EnvironmentObservation {
            numbers: numbers.map(|value| value as f32).collect(),
            pictures: self.pictures(environment),
        }
    }

    /// Pictures as a policy takes them.
    pub fn images<'a>(&self, pictures: &'a [Vec<u8>]) -> Vec<Image<'a>> {
        let sized = self.cameras.iter().zip(pictures);
        sized
            .map(|(camera, bytes)| Image {
                size: camera.size,
                pixels: Pixels::Bytes(bytes),
            })
            .collect()
    }
}

/// Arrays by their names, if all are known and have `numbers` numbers together.
fn named(
    environment: &'static EnvironmentSpec,
    parts: &[&ObservationPart],
    numbers: Option<usize>,
) -> Option<Vec<ObservedArray>> {
    let mut found = Vec::new();
    let mut count = 0;
    for part in parts {
        let names = [part.array.as_str(), part.short_name()];
        let mut known = environment.arrays.iter();
        let array = known.find(|array| names.contains(&array.name))?;
        match &part.columns {
            None => count += array.size(),
            Some(columns) if columns.iter().all(|column| *column < array.size()) => {
                count += columns.len();
            }
            Some(_) => return None,
        }
        found.push((array.name, part.columns.clone()));
    }
    numbers
        .is_none_or(|numbers| numbers == count)
        .then_some(found)
}

/// The arrays of the published observation with as many numbers and cameras.
fn published(
    environment: &'static EnvironmentSpec,
    images: &[&ObservationPart],
    numbers: Option<usize>,
) -> Option<Vec<ObservedArray>> {
    let size = |name: &str| {
        let mut arrays = environment.arrays.iter();
        arrays
            .find(|array| array.name == name)
            .map_or(0, |array| array.size())
    };
    let mut all = environment.observations.iter();
    let observation = all.find(|observation| {
        let count: usize = observation.arrays.iter().map(|name| size(name)).sum();
        observation.cameras.len() == images.len() && numbers.is_none_or(|it| it == count)
    })?;
    Some(
        observation
            .arrays
            .iter()
            .map(|name| (*name, None))
            .collect(),
    )
}

/// Cameras by their names, or the only one by whatever name.
fn cameras(
    environment: &'static EnvironmentSpec,
    images: &[&ObservationPart],
) -> Option<Vec<ObservedCamera>> {
    let one = |part: &&ObservationPart| {
        let name = part.short_name();
        let camera = match (environment.cameras, images) {
            ([only], [_]) => Some(only),
            (all, _) => all.iter().find(|camera| camera.name == name),
        };
        let size = camera.map(size_of)?;
        (part.image == Some(size)).then_some(ObservedCamera {
            own: camera?.name,
            wire: name.to_owned(),
            size,
        })
    };
    images.iter().map(one).collect()
}

fn size_of(camera: &CameraSpec) -> ImageSize {
    ImageSize {
        height: camera.height,
        width: camera.width,
    }
}

/// Arrays and cameras of an environment, for a message.
fn shown(environment: &EnvironmentSpec) -> String {
    let arrays = environment.arrays.iter();
    let arrays = arrays.map(|array| {
        format!(
            "`{}` ({} numbers: {})",
            array.name,
            array.size(),
            array.meaning
        )
    });
    let cameras = environment.cameras.iter();
    let cameras = cameras.map(|camera| {
        format!(
            "camera `{}` ({} x {})",
            camera.name, camera.height, camera.width
        )
    });
    arrays.chain(cameras).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kinestream_sim::pusht::{self, IMAGE_SIZE, PushT};

    use super::*;

    fn part(array: &str, columns: Option<Vec<usize>>) -> ObservationPart {
        ObservationPart {
            array: array.into(),
            columns,
            image: None,
        }
    }

    fn picture(array: &str, side: usize) -> ObservationPart {
        let image = Some(ImageSize {
            height: side,
            width: side,
        });
        ObservationPart {
            image,
            ..part(array, None)
        }
    }

    fn of(parts: Vec<ObservationPart>, numbers: Option<usize>) -> Result<ObservationMode> {
        let task = TaskConfig {
            name: "pusht".into(),
            observation: parts,
            action: "action".into(),
            rate_hz: 10.0,
        };
        ObservationMode::of(&pusht::SPEC, &task, numbers)
    }

    #[test]
    fn arrays_are_seen_in_the_order_of_the_task() {
        let mut world = PushT::new();
        world.reset(5);
        let agent = part("state", Some(vec![0, 1]));
        let usual = of(vec![part("keypoint", None), agent.clone()], Some(20)).unwrap();
        assert_eq!(usual.numbers(&world), world.observation());
        assert_eq!(usual.name(), "state");
        let turned = of(vec![agent, part("keypoint", None)], None).unwrap();
        let seen = world.observation();
        assert_eq!(turned.numbers(&world), [&seen[18..], &seen[..18]].concat());
    }

    #[test]
    fn imported_names_mean_the_published_observation_of_their_size() {
        let mut world = PushT::new();
        world.reset(5);
        for numbers in [Some(20), None] {
            let foreign = of(vec![part("obs", None)], numbers).unwrap();
            assert_eq!(foreign.numbers(&world), world.observation());
        }
        let parts = vec![
            picture("observation.images.top", IMAGE_SIZE),
            part("observation.state", Some(vec![0, 1])),
        ];
        let mode = of(parts, Some(2)).unwrap();
        assert_eq!(mode.name(), "image");
        assert_eq!(mode.cameras().collect::<Vec<_>>(), ["top"]);
        let seen = mode.see(&world);
        assert_eq!(seen.numbers.len(), 2);
        assert_eq!(seen.pictures, [world.render(IMAGE_SIZE)]);
        assert_eq!(mode.images(&seen.pictures).len(), 1);
    }

    #[test]
    fn what_an_environment_does_not_show_is_refused_with_what_it_shows() {
        let wrong = [
            (vec![part("obs", None)], 7),
            (vec![part("state", Some(vec![5]))], 1),
            (vec![picture("img", 32), part("agent_pos", None)], 2),
            (
                vec![picture("img", IMAGE_SIZE), picture("top", IMAGE_SIZE)],
                2,
            ),
        ];
        for (parts, numbers) in wrong {
            let message = of(parts, Some(numbers)).unwrap_err().to_string();
            for text in [
                &format!("observes {numbers}"),
                "`keypoint`",
                "configs/pusht",
            ] {
                assert!(message.contains(text), "{message}");
            }
        }
    }
}
