//! Embedded frames to train modules on, and the windows that are rolled out over them.

use kinestream_diffusion::noise::NoiseStream;
use tch::{Device, Kind, Tensor};

use super::config::Rollout;
use crate::data::MotionSet;
use crate::embedding::Embedding;
use crate::model::{Changes, MotionModel};
use crate::{Result, steering};

/// Frames that a model keeps to begin with, beside the one that stands still.
const STARTS: i64 = 31;

/// A set in the embedded space, with the steering of every frame.
#[derive(Debug)]
pub struct Frames {
    embedded: Tensor,
    steering: Tensor,
    /// Rows of every sequence.
    sequences: Vec<std::ops::Range<usize>>,
}

/// Windows of one step, one row for each.
pub(super) struct Windows<'a> {
    frames: &'a Frames,
    starts: Vec<i64>,
    /// 1 where the window is steered `[B, 1]`.
    pub(super) steered: Tensor,
    /// The frame before the one to be made next, as the module made it `[B, E]`.
    pub(super) last: Tensor,
    farthest: f64,
}

impl Frames {
    /// Embeds a set.
    pub fn new(embedding: &Embedding, set: &MotionSet, device: Device) -> Self {
        let rows = Tensor::from_slice(&set.rows)
            .view([set.len() as i64, set.layout.size() as i64])
            .to_device(device);
        Self {
            embedded: tch::no_grad(|| embedding.encode(&rows)),
            steering: Tensor::from_slice(&set.steering())
                .view([-1, steering::SIZE as i64])
                .to_device(device),
            sequences: set.sequences.iter().map(|one| one.rows.clone()).collect(),
        }
    }

    /// Embedded frames `[N, E]`.
    pub fn embedded(&self) -> &Tensor {
        &self.embedded
    }

    /// Steering of every frame `[N, S]`.
    pub fn steering(&self) -> &Tensor {
        &self.steering
    }

    /// First rows of all windows of `length` rows.
    pub fn windows(&self, length: usize) -> Vec<usize> {
        self.sequences
            .iter()
            .flat_map(|rows| rows.start..(rows.end + 1).saturating_sub(length).max(rows.start))
            .collect()
    }

    /// Measures the changes from frame to frame, and the steering.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn changes(&self) -> Result<Changes> {
        let firsts: Vec<i64> = self.windows(2).iter().map(|row| *row as i64).collect();
        let firsts = Tensor::from_slice(&firsts).to_device(self.embedded.device());
        let from = self.embedded.index_select(0, &firsts);
        let changes = self.embedded.index_select(0, &(firsts + 1)) - from;
        let mean = |tensor: &Tensor| {
            Vec::<f32>::try_from(tensor.mean_dim([0].as_slice(), false, Kind::Float))
        };
        let deviation = |tensor: &Tensor| {
            Vec::<f32>::try_from(tensor.std_dim([0].as_slice(), false, false).clamp_min(1e-3))
        };
        let (lowest, _) = self.embedded.min_dim(0, false);
        let (highest, _) = self.embedded.max_dim(0, false);
        Ok(Changes {
            lowest: Vec::try_from(lowest)?,
            highest: Vec::try_from(highest)?,
            starts: self.starts()?,
            change: deviation(&changes)?,
            change_mean: mean(&changes)?,
            steering_mean: mean(&self.steering)?,
            steering_deviation: deviation(&self.steering)?,
        })
    }

    /// The frame that moves least, and others evenly from all over the set.
    fn starts(&self) -> Result<Vec<Vec<f32>>> {
        let count = self.embedded.size()[0];
        let from = self.embedded.narrow(0, 0, count - 1);
        let moved = (self.embedded.narrow(0, 1, count - 1) - from)
            .square()
            .sum_dim_intlist([-1].as_slice(), false, Kind::Float);
        let stillest = i64::try_from(moved.argmin(None, false))?;
        let others = (0..STARTS).map(|index| (2 * index + 1) * count / (2 * STARTS));
        std::iter::once(stillest)
            .chain(others)
            .map(|row| Ok(Vec::try_from(self.embedded.get(row))?))
            .collect()
    }

    /// Draws windows with `length` frames to be made after their first.
    pub(super) fn draw(
        &self,
        rollout: &Rollout,
        length: usize,
        batch: usize,
        random: &mut NoiseStream,
    ) -> Windows<'_> {
        let windows = self.windows(length + 1);
        let device = self.embedded.device();
        let starts: Vec<i64> = (0..batch)
            .map(|_| windows[random.below(windows.len())] as i64)
            .collect();
        let steered: Vec<f32> = (0..batch)
            .map(|_| f32::from(u8::from(random.uniform() >= rollout.free)))
            .collect();
        let first = self
            .embedded
            .index_select(0, &Tensor::from_slice(&starts).to_device(device));
        let noise = normal(random, &first.size(), device);
        Windows {
            frames: self,
            starts,
            steered: Tensor::from_slice(&steered).view([-1, 1]).to_device(device),
            last: first + noise * rollout.noise,
            farthest: rollout.farthest,
        }
    }
}

impl Windows<'_> {
    /// Condition `[B, C]` and true change `[B, E]` for frame `frame` of the windows, 1 or later.
    pub(super) fn target(&self, model: &MotionModel, frame: usize) -> (Tensor, Tensor) {
        let at = |offset: usize| {
            let rows: Vec<i64> = self.starts.iter().map(|row| row + offset as i64).collect();
            Tensor::from_slice(&rows).to_device(self.last.device())
        };
        let target = self.frames.embedded.index_select(0, &at(frame));
        let steering = self.frames.steering.index_select(0, &at(frame - 1));
        let condition = model.condition(&self.last, &steering, &self.steered);
        let change = model
            .change(&self.last, &target)
            .clamp(-self.farthest, self.farthest);
        (condition, change)
    }
}

/// Standard normal numbers of a size.
pub(super) fn normal(random: &mut NoiseStream, size: &[i64], device: Device) -> Tensor {
    let count: i64 = size.iter().product();
    Tensor::from_slice(&random.normals(count as usize))
        .view(size)
        .to_device(device)
}
