//! What the training clips are like in the embedded space, and the same as tensors.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::embedding::Embedding;
use crate::{Error, Result, steering};

/// What the training clips are like in the embedded space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Deviation of the change of every embedded number from one frame to the next `[E]`.
    pub change: Vec<f32>,
    /// Mean of the steering `[S]`.
    pub steering_mean: Vec<f32>,
    /// Deviation of the steering `[S]`.
    pub steering_deviation: Vec<f32>,
    /// Mean change `[E]`, about 0 but for drifts.
    pub change_mean: Vec<f32>,
    /// Smallest value of every embedded number `[E]`: frames are kept between these.
    pub lowest: Vec<f32>,
    /// Largest value of every embedded number `[E]`.
    pub highest: Vec<f32>,
    /// Frames of the data to begin with, each `[E]`; the first stands still.
    pub starts: Vec<Vec<f32>>,
}

#[derive(Debug)]
pub(super) struct Scales {
    pub(super) change: Tensor,
    pub(super) change_mean: Tensor,
    pub(super) steering_mean: Tensor,
    pub(super) steering_deviation: Tensor,
    pub(super) lowest: Tensor,
    pub(super) highest: Tensor,
    /// Mean and deviation of the root's motion in m/s, m/s and rad/s `[2, 3]`.
    pub(super) root: Tensor,
}

impl Scales {
    pub(super) fn new(changes: &Changes, embedding: &Embedding, device: Device) -> Self {
        let tensor = |list: &[f32]| Tensor::from_slice(list).to_device(device);
        let statistics = embedding.statistics();
        let root = [&statistics.mean[..3], &statistics.deviation[..3]].concat();
        Self {
            change: tensor(&changes.change),
            change_mean: tensor(&changes.change_mean),
            steering_mean: tensor(&changes.steering_mean),
            steering_deviation: tensor(&changes.steering_deviation),
            lowest: tensor(&changes.lowest),
            highest: tensor(&changes.highest),
            root: tensor(&root).view([2, 3]),
        }
    }
}

impl Changes {
    pub(super) fn check(&self, embedded: usize, path: &Path) -> Result<()> {
        for (key, list, expected, positive) in [
            ("change", &self.change, embedded, true),
            ("change_mean", &self.change_mean, embedded, false),
            ("lowest", &self.lowest, embedded, false),
            ("highest", &self.highest, embedded, false),
            ("steering_mean", &self.steering_mean, steering::SIZE, false),
            (
                "steering_deviation",
                &self.steering_deviation,
                steering::SIZE,
                true,
            ),
        ] {
            let fits = |x: &f32| x.is_finite() && (!positive || *x > 0.0);
            if list.len() != expected || !list.iter().all(fits) {
                return Err(Error::Data {
                    path: path.to_path_buf(),
                    reason: format!(
                        "changes.{key}: {} numbers found, expected {expected} finite ones",
                        list.len()
                    ),
                });
            }
        }
        let sound =
            |start: &Vec<f32>| start.len() == embedded && start.iter().all(|x| x.is_finite());
        if self.starts.is_empty() || !self.starts.iter().all(sound) {
            return Err(Error::Data {
                path: path.to_path_buf(),
                reason: format!("changes.starts: expected frames of {embedded} finite numbers"),
            });
        }
        Ok(())
    }
}
