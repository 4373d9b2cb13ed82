//! What a policy sees of Push-T: numbers, or the table's picture and where the agent is.

use anyhow::{Result, bail};
use kinestream_policy::config::{ImageSize, TaskConfig};
use kinestream_policy::{Image, Pixels};
use kinestream_sim::pusht::{IMAGE_SIZE, OBSERVATION_SIZE, PushT};

const TABLE: ImageSize = ImageSize {
    height: IMAGE_SIZE,
    width: IMAGE_SIZE,
};

/// Numbers and picture of an observation, as a policy takes them.
pub type PushtObservation = (Vec<f32>, Option<Vec<u8>>);

/// What a policy sees of Push-T.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObservationMode {
    /// The nine keypoints of the T and the agent.
    Keypoints,
    /// The table from above, and the agent.
    Picture {
        /// Name of the camera, as in its key `obs/<name>`.
        camera: String,
    },
}

impl ObservationMode {
    /// What a task observes; `numbers` are those of an observation without its pictures, where they are known.
    ///
    /// # Errors
    /// Push-T has no such observation.
    pub fn of(task: &TaskConfig, numbers: Option<usize>) -> Result<Self> {
        let cameras: Vec<_> = task
            .observation
            .iter()
            .filter_map(|part| Some((part.short_name(), part.image?)))
            .collect();
        let expect = |size: usize| numbers.is_none_or(|found| found == size);
        match cameras[..] {
            [] if expect(OBSERVATION_SIZE) => Ok(Self::Keypoints),
            [(camera, size)] if expect(2) && size == TABLE => Ok(Self::Picture {
                camera: camera.to_owned(),
            }),
            _ => bail!(
                "the checkpoint observes {} numbers and {} images; Push-T shows {OBSERVATION_SIZE} numbers \
                 (nine keypoints and the agent), or the agent's 2 and one image of {IMAGE_SIZE} x {IMAGE_SIZE}: train it \
                 with configs/pusht-state.toml or configs/pusht-image.toml",
                numbers.map_or_else(|| "other".to_owned(), |count| count.to_string()),
                cameras.len(),
            ),
        }
    }

    /// As `eval` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keypoints => "state",
            Self::Picture { .. } => "image",
        }
    }

    /// The numbers of an observation.
    pub fn numbers(&self, world: &PushT) -> Vec<f64> {
        match self {
            Self::Keypoints => world.observation().to_vec(),
            Self::Picture { .. } => world.state().agent_position.to_vec(),
        }
    }

    /// Numbers and picture.
    pub fn see(&self, world: &PushT) -> PushtObservation {
        let numbers = self.numbers(world).into_iter();
        let numbers = numbers.map(|value| value as f32).collect();
        (numbers, self.picture(world))
    }

    /// A picture as a policy takes it: one, or none.
    pub fn images(picture: Option<&Vec<u8>>) -> Vec<Image<'_>> {
        let pixels = picture.map(|bytes| Pixels::Bytes(bytes));
        pixels
            .map(|pixels| Image {
                size: TABLE,
                pixels,
            })
            .into_iter()
            .collect()
    }

    /// The picture of an observation, [`IMAGE_SIZE`] pixels a side: red, green and blue.
    pub fn picture(&self, world: &PushT) -> Option<Vec<u8>> {
        match self {
            Self::Keypoints => None,
            Self::Picture { .. } => Some(world.render(IMAGE_SIZE)),
        }
    }
}
