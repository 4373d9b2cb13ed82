//! What the training clips are like in the embedded space, and the same as tensors.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::embedding::Embedding;
use crate::{Error, Result, steering};

/// What the training clips are like in the embedded space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameDeltaStats {
    /// Deviation of the change of every embedded number from one frame to the next `[E]`.
    pub change: Vec<f32>,
    /// Mean of the steering `[S]`.
    pub steering_mean: Vec<f32>,
    /// Deviation of the steering `[S]`.
    pub steering_deviation: Vec<f32>,
    /// Mean change `[E]`, about 0 but for drifts.
    pub change_mean: Vec<f32>,
    /// Correlation of every change with the one before `[E]`, 0 to below 1.
    pub carry: Vec<f32>,
    /// Deviation of what a predictor does not tell of every change, in deviations of the change
    /// `[E]`; empty without a predictor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residual: Vec<f32>,
    /// Smallest value of every embedded number `[E]`: frames are kept between these.
    pub lowest: Vec<f32>,
    /// Largest value of every embedded number `[E]`.
    pub highest: Vec<f32>,
    /// States of the data to begin with, each a frame and the change that led to it `[2 E]`; the
    /// first stands still.
    pub starts: Vec<Vec<f32>>,
}

#[derive(Debug)]
pub(super) struct Scales {
    pub(super) change: Tensor,
    pub(super) change_mean: Tensor,
    pub(super) carry: Tensor,
    /// Share of a change's deviation that is not expected.
    pub(super) fresh: Tensor,
    /// `fresh` in units of embedded frames.
    pub(super) fresh_change: Tensor,
    pub(super) steering_mean: Tensor,
    pub(super) steering_deviation: Tensor,
    pub(super) lowest: Tensor,
    pub(super) highest: Tensor,
    pub(super) root: RootScales,
}

/// Of the root's motion, in m/s, m/s and rad/s, all `[3]`.
#[derive(Debug)]
pub(super) struct RootScales {
    pub(super) deviation: Tensor,
    /// Mean of the motion, and of its change from frame to frame.
    pub(super) middle: Tensor,
    /// What a change at unit size adds.
    pub(super) change: Tensor,
    /// What an innovation at unit size adds.
    pub(super) fresh: Tensor,
    /// Farthest that a clean estimate is drawn at rest.
    pub(super) most: Tensor,
    /// How much farther for every m/s of speed.
    pub(super) most_by_speed: Tensor,
}

/// How far a clean estimate is drawn at most, in m/s, m/s and rad/s: at rest, and more for every m/s
/// of speed. A pull bends a motion; a root that it moves on its own leaves its feet behind.
const MOST_AT_REST: [f32; 3] = [0.05, 0.05, 0.5];
const MOST_BY_SPEED: [f32; 3] = [0.3, 0.3, 0.5];

impl Scales {
    pub(super) fn new(changes: &FrameDeltaStats, embedding: &Embedding, device: Device) -> Self {
        let tensor = |list: &[f32]| Tensor::from_slice(list).to_device(device);
        let statistics = embedding.statistics();
        let deviation = tensor(&statistics.deviation[..3]);
        let carry = tensor(&changes.carry);
        let fresh = if changes.residual.is_empty() {
            (-carry.square() + 1.0).sqrt()
        } else {
            tensor(&changes.residual)
        };
        let change = tensor(&changes.change);
        let root_change = change.narrow(0, 0, 3) * &deviation;
        let root = RootScales {
            middle: tensor(&statistics.mean[..3]) + tensor(&changes.change_mean[..3]) * &deviation,
            fresh: fresh.narrow(0, 0, 3) * &root_change,
            change: root_change,
            deviation,
            most: tensor(&MOST_AT_REST),
            most_by_speed: tensor(&MOST_BY_SPEED),
        };
        Self {
            fresh_change: &fresh * &change,
            change,
            change_mean: tensor(&changes.change_mean),
            steering_mean: tensor(&changes.steering_mean),
            steering_deviation: tensor(&changes.steering_deviation),
            lowest: tensor(&changes.lowest),
            highest: tensor(&changes.highest),
            fresh,
            carry,
            root,
        }
    }
}

impl FrameDeltaStats {
    pub(super) fn check(&self, embedded: usize, path: &Path) -> Result<()> {
        for (key, list, expected, positive) in [
            ("change", &self.change, embedded, true),
            ("change_mean", &self.change_mean, embedded, false),
            ("carry", &self.carry, embedded, false),
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
        let fits = |x: &f32| x.is_finite() && *x > 0.0;
        let residual = &self.residual;
        if !residual.is_empty() && (residual.len() != embedded || !residual.iter().all(fits)) {
            return Err(Error::Data {
                path: path.to_path_buf(),
                reason: format!(
                    "changes.residual: {} numbers found, expected none or {embedded} above 0",
                    residual.len()
                ),
            });
        }
        if let Some(wrong) = self.carry.iter().find(|one| !(0.0..1.0).contains(*one)) {
            return Err(Error::Data {
                path: path.to_path_buf(),
                reason: format!("changes.carry: {wrong} found, expected 0 to below 1"),
            });
        }
        let sound =
            |start: &Vec<f32>| start.len() == 2 * embedded && start.iter().all(|x| x.is_finite());
        if self.starts.is_empty() || !self.starts.iter().all(sound) {
            return Err(Error::Data {
                path: path.to_path_buf(),
                reason: format!(
                    "changes.starts: expected states of {} finite numbers",
                    2 * embedded
                ),
            });
        }
        Ok(())
    }
}
