//! From an observation, numbers and images, to a row of the network's condition.

use std::ops::Range;

use kinestream_diffusion::network::vision::VisionEncoder;
use tch::{Device, Tensor};

use crate::checkpoint::Normalisers;
use crate::config::ImageSize;
use crate::image::Image;
use crate::{Error, Normaliser, PolicyConfig, Result};

/// Normalises numbers, encodes images, and puts both in the order of `task.observation`.
///
/// Images are encoded here, once per observation, whatever a plan costs.
pub(crate) struct ObservationEncoder {
    numbers: Normaliser,
    vision: Option<VisionEncoder>,
    cameras: Vec<Camera>,
    layout: Vec<Piece>,
    device: Device,
}

struct Camera {
    name: String,
    size: ImageSize,
    normaliser: Normaliser,
}

/// What stands at a place of a row.
pub(crate) enum Piece {
    /// Some of the observation's numbers.
    Numbers(Range<usize>),
    /// The features of a camera, by number.
    Camera(usize),
}

/// The pieces of a row for observations of `numbers` numbers, in the order of `task.observation`.
pub(crate) fn layout(config: &PolicyConfig, numbers: usize) -> Vec<Piece> {
    if config.cameras().next().is_none() {
        return vec![Piece::Numbers(0..numbers)];
    }
    let (mut camera, mut start) = (0, 0);
    let mut layout = Vec::new();
    for part in &config.task.observation {
        if part.image.is_some() {
            layout.push(Piece::Camera(camera));
            camera += 1;
        } else {
            let end = start + part.columns.as_ref().map_or(0, Vec::len);
            layout.push(Piece::Numbers(start..end));
            start = end;
        }
    }
    layout
}

impl ObservationEncoder {
    /// An observer for a checked configuration; `vision` belongs to it.
    pub(crate) fn new(
        config: &PolicyConfig,
        normalisers: &Normalisers,
        vision: Option<VisionEncoder>,
        device: Device,
    ) -> Self {
        let cameras: Vec<Camera> = config
            .cameras()
            .zip(&normalisers.images)
            .map(|((part, size), normaliser)| Camera {
                name: part.short_name().to_owned(),
                size,
                normaliser: normaliser.clone(),
            })
            .collect();
        Self {
            numbers: normalisers.observation.clone(),
            vision,
            cameras,
            layout: layout(config, normalisers.observation.size()),
            device,
        }
    }

    /// Numbers of an observation.
    pub(crate) fn size(&self) -> usize {
        self.numbers.size()
    }

    /// How its numbers are normalised.
    pub(crate) fn numbers(&self) -> &Normaliser {
        &self.numbers
    }

    /// Name and size of every camera.
    pub(crate) fn cameras(&self) -> impl Iterator<Item = (&str, ImageSize)> {
        let cameras = self.cameras.iter();
        cameras.map(|camera| (camera.name.as_str(), camera.size))
    }

    /// Whether [`ObservationEncoder::row`] takes this observation.
    ///
    /// # Errors
    /// A wrong number of values or images, an image of another size, or a value that is not finite.
    pub(crate) fn check(&self, numbers: &[f32], images: &[Image<'_>]) -> Result<()> {
        let expected = self.size();
        if numbers.len() != expected {
            return Err(Error::ObservationSize {
                found: numbers.len(),
                expected,
            });
        }
        if let Some(index) = numbers.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFiniteObservation {
                index,
                value: numbers[index],
            });
        }
        if images.len() != self.cameras.len() {
            let names: Vec<&str> = self.cameras().map(|(name, _)| name).collect();
            return Err(Error::ImageCount {
                found: images.len(),
                expected: names.join(", "),
            });
        }
        for (camera, image) in self.cameras.iter().zip(images) {
            if let Some(reason) = image.misfit(camera.size) {
                return Err(Error::Image {
                    camera: camera.name.clone(),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// A row of the condition from a checked observation.
    ///
    /// # Errors
    /// LibTorch refused.
    pub(crate) fn row(&self, numbers: &[f32], images: &[Image<'_>]) -> Result<Vec<f32>> {
        let mut numbers = numbers.to_vec();
        self.numbers.normalise(&mut numbers);
        let mut row = Vec::new();
        for piece in &self.layout {
            match piece {
                Piece::Numbers(range) => row.extend_from_slice(&numbers[range.clone()]),
                Piece::Camera(camera) => row.extend(self.features(*camera, &images[*camera])?),
            }
        }
        Ok(row)
    }

    fn features(&self, camera: usize, image: &Image<'_>) -> Result<Vec<f32>> {
        let Some(vision) = &self.vision else {
            return Ok(Vec::new());
        };
        let _guard = tch::no_grad_guard();
        let pixels = self.cameras[camera]
            .normaliser
            .normalise_channels(&image.tensor(self.device));
        let features: Tensor = vision.encode(camera, &pixels);
        Ok(Vec::try_from(features.flatten(0, 1))?)
    }
}
