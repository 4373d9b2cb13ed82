//! The plans of all streams side by side, so that one evaluation serves many streams.
//!
//! Plans, conditions and noise lie on the host: they are a few hundred numbers, and whatever LibTorch
//! does with so few costs more than the arithmetic. What evaluates the network gets them as slices, or
//! as tensors on its device.

use kinestream_diffusion::Denoiser;
use kinestream_diffusion::sampler::timestep_tensor;
use tch::{Device, Tensor};

use crate::{Error, Result};

/// Plans and conditions of all streams.
pub(super) struct Batch {
    network: Box<dyn Denoiser>,
    device: Device,
    horizon: usize,
    action: usize,
    /// Numbers of a condition, To Do.
    width: usize,
    /// [S, Tp, Da].
    plans: Vec<f32>,
    /// [S, To Do].
    conditions: Vec<f32>,
    observed: Vec<bool>,
    scratch: Scratch,
}

/// Rows of an evaluation, kept for the next one.
#[derive(Default)]
struct Scratch {
    plans: Vec<f32>,
    conditions: Vec<f32>,
    output: Vec<f32>,
}

impl Batch {
    pub(super) fn new(network: Box<dyn Denoiser>, device: Device, streams: usize) -> Self {
        let sizes = network.dimensions();
        let size = |value: i64| value as usize;
        let (horizon, action) = (size(sizes.horizon), size(sizes.action));
        Self {
            device,
            horizon,
            action,
            width: size(sizes.condition),
            plans: vec![0.0; streams * horizon * action],
            conditions: vec![0.0; streams * size(sizes.condition)],
            observed: vec![false; streams],
            scratch: Scratch::default(),
            network,
        }
    }

    pub(super) fn action(&self) -> usize {
        self.action
    }

    /// Whether the network takes a noise level for every position.
    pub(super) fn takes_levels_per_position(&self) -> bool {
        self.network.takes_levels_per_position()
    }

    pub(super) fn forget(&mut self, stream: usize) {
        self.observed[stream] = false;
    }

    pub(super) fn observe(&mut self, stream: usize, condition: &[f32]) {
        self.conditions[stream * self.width..][..self.width].copy_from_slice(condition);
        self.observed[stream] = true;
    }

    /// The plan of a stream, [Tp, Da].
    pub(super) fn plan(&self, stream: usize) -> &[f32] {
        let numbers = self.horizon * self.action;
        &self.plans[stream * numbers..][..numbers]
    }

    /// Replaces the plan of a stream by [Tp, Da].
    pub(super) fn set_plan(&mut self, stream: usize, plan: &[f32]) {
        let numbers = self.horizon * self.action;
        self.plans[stream * numbers..][..numbers].copy_from_slice(plan);
    }

    /// The plan of a stream, if it is one.
    ///
    /// # Errors
    /// NaN or infinity.
    pub(super) fn read(&self, stream: usize) -> Result<Vec<f32>> {
        let plan = self.plan(stream);
        if plan.iter().all(|value| value.is_finite()) {
            Ok(plan.to_vec())
        } else {
            Err(Error::NonFinitePlan)
        }
    }

    /// One network evaluation for `streams` at `timesteps`, Tp of them a stream, and the step that
    /// `next` takes: from their plans, one after the other, and the network's outputs to their next
    /// plans, in place.
    ///
    /// # Errors
    /// A stream without an observation, or LibTorch refused.
    pub(super) fn step(
        &mut self,
        streams: &[usize],
        timesteps: &[i64],
        next: impl FnOnce(&mut [f32], &[f32]),
    ) -> Result<()> {
        if let Some(&stream) = streams.iter().find(|stream| !self.observed[**stream]) {
            return Err(Error::NoObservation { stream });
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.plans.clear();
        scratch.conditions.clear();
        for stream in streams {
            scratch.plans.extend_from_slice(self.plan(*stream));
            let condition = &self.conditions[stream * self.width..][..self.width];
            scratch.conditions.extend_from_slice(condition);
        }
        self.evaluate(timesteps, &mut scratch)?;
        next(&mut scratch.plans, &scratch.output);
        let numbers = self.horizon * self.action;
        for (stream, plan) in streams.iter().zip(scratch.plans.chunks_exact(numbers)) {
            self.set_plan(*stream, plan);
        }
        self.scratch = scratch;
        Ok(())
    }

    fn evaluate(&self, timesteps: &[i64], scratch: &mut Scratch) -> Result<()> {
        let Scratch {
            plans,
            conditions,
            output,
        } = scratch;
        output.resize(plans.len(), 0.0);
        if self
            .network
            .evaluate_on_host(plans, timesteps, conditions, output)
        {
            return Ok(());
        }
        let _guard = tch::no_grad_guard();
        let tensor = |values: &[f32]| Tensor::from_slice(values).to_device(self.device);
        let (horizon, width) = (self.horizon as i64, self.width as i64);
        let sample = tensor(plans).view([-1, horizon, self.action as i64]);
        let condition = tensor(conditions).view([-1, width]);
        let timesteps = timestep_tensor(timesteps, horizon, self.device);
        let found = self.network.evaluate(&sample, &timesteps, &condition);
        let count = output.len();
        found.f_copy_data(output, count)?;
        Ok(())
    }
}
