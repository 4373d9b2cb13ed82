//! Embedded frames to train modules on, and the windows that are rolled out over them.

use kinestream_diffusion::noise::NoiseStream;
use tch::{Device, Kind, Tensor};

use super::rollout::Rollout;
use crate::data::MotionSet;
use crate::embedding::Embedding;
use crate::model::{FrameDeltaStats, MotionModel};
use crate::{Result, steering};

/// Largest share of a change that carries on by itself.
const MOST_CARRY: f64 = 0.98;
/// States that a model keeps to begin with, beside the one that stands still.
const STARTS: i64 = 31;

/// A set in the embedded space, with the steering of every frame.
#[derive(Debug)]
pub struct Frames {
    embedded: Tensor,
    steering: Tensor,
    /// Rows of every sequence.
    sequences: Vec<std::ops::Range<usize>>,
    /// How much the root is asked to change its motion within a second of every row, m/s [N].
    demand: Vec<f32>,
}

/// Windows of one step, one row for each.
pub(super) struct Windows<'a> {
    frames: &'a Frames,
    starts: Vec<i64>,
    /// 1 where the window is steered `[B, 1]`.
    pub(super) steered: Tensor,
    /// The state before the frame to be made next, as the module made it `[B, 2 E]`.
    pub(super) state: Tensor,
    farthest: f64,
}

impl Frames {
    /// Embeds a set.
    pub fn new(embedding: &Embedding, set: &MotionSet, device: Device) -> Self {
        let rows = Tensor::from_slice(&set.rows)
            .view([set.len() as i64, set.layout.size() as i64])
            .to_device(device);
        let steering = set.steering();
        Self {
            demand: steering.chunks_exact(steering::SIZE).map(demand).collect(),
            embedded: tch::no_grad(|| embedding.encode(&rows)),
            steering: Tensor::from_slice(&steering)
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
    pub fn changes(&self) -> Result<FrameDeltaStats> {
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
        let (change, change_mean) = (deviation(&changes)?, mean(&changes)?);
        let [scale, middle] = [&change, &change_mean]
            .map(|list| Tensor::from_slice(list).to_device(self.embedded.device()));
        Ok(FrameDeltaStats {
            lowest: Vec::try_from(lowest)?,
            highest: Vec::try_from(highest)?,
            starts: self.starts(&scale, &middle)?,
            carry: self.carry()?,
            residual: Vec::new(),
            change,
            change_mean,
            steering_mean: mean(&self.steering)?,
            steering_deviation: deviation(&self.steering)?,
        })
    }

    /// Correlation of changes with the ones before, number by number.
    fn carry(&self) -> Result<Vec<f32>> {
        let [first, second] = [0, 1].map(|offset| {
            let rows: Vec<i64> = self
                .windows(3)
                .iter()
                .map(|row| *row as i64 + offset)
                .collect();
            let rows = Tensor::from_slice(&rows).to_device(self.embedded.device());
            let change =
                self.embedded.index_select(0, &(&rows + 1)) - self.embedded.index_select(0, &rows);
            let centred = &change - change.mean_dim([0].as_slice(), true, Kind::Float);
            let deviation = centred.std_dim([0].as_slice(), false, true).clamp_min(1e-6);
            centred / deviation
        });
        let carry = (first * second).mean_dim([0].as_slice(), false, Kind::Float);
        Ok(Vec::try_from(carry.clamp(0.0, MOST_CARRY))?)
    }

    /// Deviation of what the predictor of a model does not tell of steered changes, in deviations of
    /// the change `[E]`.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn residual(&self, model: &MotionModel) -> Result<Vec<f32>> {
        let device = self.embedded.device();
        let windows = self.windows(3);
        let mut sum = Tensor::zeros([self.embedded.size()[1]], (Kind::Float, device));
        for rows in windows.chunks(8192) {
            let at = |offset: i64| {
                let rows: Vec<i64> = rows.iter().map(|row| *row as i64 + offset).collect();
                Tensor::from_slice(&rows).to_device(device)
            };
            let frame = |offset: i64| self.embedded.index_select(0, &at(offset));
            let state = model.state(&frame(0), &frame(1));
            let steering = self.steering.index_select(0, &at(1));
            let steered = Tensor::ones([rows.len() as i64, 1], (Kind::Float, device));
            let off = tch::no_grad(|| {
                let condition = model.condition(&state, &steering, &steered);
                let truth = model.state(&frame(1), &frame(2));
                let size = self.embedded.size()[1];
                truth.narrow(1, size, size) - model.expected(&condition)
            });
            sum += off
                .square()
                .sum_dim_intlist([0].as_slice(), false, Kind::Float);
        }
        let deviation = (sum / windows.len().max(1) as f64).sqrt().clamp_min(0.01);
        Ok(Vec::try_from(deviation)?)
    }

    /// The state that moves least, and others evenly from all over the set.
    fn starts(&self, change: &Tensor, mean: &Tensor) -> Result<Vec<Vec<f32>>> {
        let windows = self.windows(2);
        let rows: Vec<i64> = windows.iter().map(|row| *row as i64).collect();
        let rows = Tensor::from_slice(&rows).to_device(self.embedded.device());
        let from = self.embedded.index_select(0, &rows);
        let to = self.embedded.index_select(0, &(rows + 1));
        let moved = (&to - from - mean) / change;
        let least = moved
            .square()
            .sum_dim_intlist([-1].as_slice(), false, Kind::Float)
            .argmin(None, false);
        let states = Tensor::cat(&[to, moved], 1);
        let count = windows.len() as i64;
        let others = (0..STARTS).map(|index| (2 * index + 1) * count / (2 * STARTS));
        std::iter::once(i64::try_from(least)?)
            .chain(others)
            .map(|row| Ok(Vec::try_from(states.get(row))?))
            .collect()
    }

    /// Draws windows with `length` frames to be made after their first.
    pub(super) fn draw(
        &self,
        model: &MotionModel,
        rollout: &Rollout,
        length: usize,
        batch: usize,
        random: &mut NoiseStream,
    ) -> Windows<'_> {
        // A frame more in front: the first state has the change that led to it.
        let windows = self.windows(length + 2);
        let device = self.embedded.device();
        let mut sum = 0.0;
        let sums: Vec<f64> = windows
            .iter()
            .map(|row| {
                sum += 1.0 + rollout.demand * f64::from(self.demand[*row]);
                sum
            })
            .collect();
        let (mut starts, mut steered) = (Vec::with_capacity(batch), Vec::with_capacity(batch));
        for _ in 0..batch {
            let free = random.uniform() < rollout.free;
            // What follows a frame under its steering does not depend on how often that is shown;
            // what follows without any does.
            let window = if free {
                random.below(windows.len())
            } else {
                let place = random.uniform() * sum;
                sums.partition_point(|upto| *upto <= place)
                    .min(windows.len() - 1)
            };
            starts.push(windows[window] as i64 + 1);
            steered.push(f32::from(u8::from(!free)));
        }
        let at = |offset: i64| {
            let rows: Vec<i64> = starts.iter().map(|row| row + offset).collect();
            let rows = Tensor::from_slice(&rows).to_device(device);
            self.embedded.index_select(0, &rows)
        };
        let first = model.state(&at(-1), &at(0));
        let noise = normal(random, &first.size(), device);
        Windows {
            frames: self,
            starts,
            steered: Tensor::from_slice(&steered).view([-1, 1]).to_device(device),
            state: first + noise * model.state_scale() * rollout.noise,
            farthest: rollout.farthest,
        }
    }
}

impl Windows<'_> {
    /// Puts the true state in front of frame `frame` in place of the model's own, in about a share
    /// `share` of the windows.
    pub(super) fn correct(
        &mut self,
        model: &MotionModel,
        frame: usize,
        share: f64,
        random: &mut NoiseStream,
    ) {
        let tosses: Vec<bool> = (0..self.starts.len())
            .map(|_| random.uniform() < share)
            .collect();
        let device = self.state.device();
        let at = |offset: i64| {
            let rows: Vec<i64> = self.starts.iter().map(|row| row + offset).collect();
            let rows = Tensor::from_slice(&rows).to_device(device);
            self.frames.embedded.index_select(0, &rows)
        };
        let truth = model.state(&at(frame as i64 - 2), &at(frame as i64 - 1));
        let mask = Tensor::from_slice(&tosses).view([-1, 1]).to_device(device);
        self.state = truth.where_self(&mask, &self.state);
    }

    /// Every window so many times, in blocks one behind the other.
    pub(super) fn repeat(&mut self, times: i64) {
        self.starts = self.starts.repeat(times as usize);
        self.steered = self.steered.repeat([times, 1]);
        self.state = self.state.repeat([times, 1]);
    }

    /// Rows of the windows, so many frames after their first.
    fn rows(&self, offset: i64) -> Tensor {
        let rows: Vec<i64> = self.starts.iter().map(|row| row + offset).collect();
        Tensor::from_slice(&rows).to_device(self.state.device())
    }

    /// The true state `[B, 2 E]` at frame `frame` of the windows, 0 or later.
    pub(super) fn truth(&self, model: &MotionModel, frame: usize) -> Tensor {
        let [before, now] = [frame as i64 - 1, frame as i64]
            .map(|offset| self.frames.embedded.index_select(0, &self.rows(offset)));
        model.state(&before, &now)
    }

    /// Condition `[B, C]` of frame `frame` of the windows, 1 or later.
    pub(super) fn condition(&self, model: &MotionModel, frame: usize) -> Tensor {
        let rows = self.rows(frame as i64 - 1);
        let steering = self.frames.steering.index_select(0, &rows);
        model.condition(&self.state, &steering, &self.steered)
    }

    /// Condition `[B, C]` and innovation to learn `[B, E]` for frame `frame` of the windows, 1 or
    /// later: the true one, and beyond it a part of the way back to the clip.
    pub(super) fn target(&self, model: &MotionModel, frame: usize) -> (Tensor, Tensor) {
        let next = self
            .frames
            .embedded
            .index_select(0, &self.rows(frame as i64));
        let target = model.recovering(&self.state, &self.truth(model, frame - 1), &next);
        let condition = self.condition(model, frame);
        let innovation = model
            .innovation(&condition, &target)
            .clamp(-self.farthest, self.farthest);
        (condition, innovation)
    }
}

/// How much a steering asks for: the change of the velocity within the second ahead in m/s, and the
/// turn in radians, together at most [`MOST_DEMAND`].
fn demand(steering: &[f32]) -> f32 {
    let place = |index: usize| [steering[4 * index], steering[4 * index + 1]];
    let (first, second, third) = (place(0), place(1), place(2));
    let change = |axis: usize| 3.0 * (third[axis] - second[axis] - first[axis]);
    let turn = steering[10].atan2(steering[11]);
    (change(0).hypot(change(1)) + turn.abs()).min(MOST_DEMAND)
}

const MOST_DEMAND: f32 = 4.0;

/// Standard normal numbers of a size.
pub(crate) fn normal(random: &mut NoiseStream, size: &[i64], device: Device) -> Tensor {
    let count: i64 = size.iter().product();
    Tensor::from_slice(&random.normals(count as usize))
        .view(size)
        .to_device(device)
}
