//! The plans of all streams in one tensor, so that one evaluation serves many streams.

use kinestream_diffusion::Denoiser;
use kinestream_diffusion::sampler::timestep_tensor;
use tch::{Device, Tensor};

use crate::{Error, Result};

/// Buffers and conditions of all streams on the device.
pub(super) struct Batch {
    network: Box<dyn Denoiser>,
    device: Device,
    horizon: usize,
    action: usize,
    /// [S, Tp, Da].
    buffer: Tensor,
    /// [S, To Do].
    condition: Tensor,
    observed: Vec<bool>,
}

impl Batch {
    pub(super) fn new(network: Box<dyn Denoiser>, device: Device, streams: usize) -> Self {
        let sizes = network.dimensions();
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (tch::Kind::Float, device));
        Self {
            device,
            horizon: sizes.horizon as usize,
            action: sizes.action as usize,
            buffer: zeros(&[streams as i64, sizes.horizon, sizes.action]),
            condition: zeros(&[streams as i64, sizes.condition]),
            observed: vec![false; streams],
            network,
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.observed.len()
    }

    pub(super) fn action(&self) -> usize {
        self.action
    }

    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// Whether the network takes a noise level for every position.
    pub(super) fn takes_levels_per_position(&self) -> bool {
        self.network.takes_levels_per_position()
    }

    pub(super) fn forget(&mut self, stream: usize) {
        self.observed[stream] = false;
    }

    pub(super) fn observe(&mut self, stream: usize, condition: &[f32]) {
        let row = Tensor::from_slice(condition).to_device(self.device);
        self.condition.get(stream as i64).copy_(&row);
        self.observed[stream] = true;
    }

    /// A tensor [1, rows, Da] on the device.
    pub(super) fn rows(&self, values: &[f32]) -> Tensor {
        Tensor::from_slice(values)
            .to_device(self.device)
            .view([1, -1, self.action as i64])
    }

    /// The plan of a stream, [1, Tp, Da].
    pub(super) fn buffer(&self, stream: usize) -> Tensor {
        self.buffer.narrow(0, stream as i64, 1)
    }

    /// Replaces the plan of a stream by [1, Tp, Da].
    pub(super) fn set_buffer(&mut self, stream: usize, plan: &Tensor) {
        // A copy first: the new plan may be a view of the old one.
        let plan = plan.copy();
        self.buffer.narrow(0, stream as i64, 1).copy_(&plan);
    }

    /// The plan of a stream on the host.
    ///
    /// # Errors
    /// NaN or infinity.
    pub(super) fn read(&self, stream: usize) -> Result<Vec<f32>> {
        let values = Vec::<f32>::try_from(self.buffer(stream).flatten(0, -1))?;
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(Error::NonFinitePlan)
        }
    }

    /// One network evaluation for `streams` at `timesteps`, and the step that `next` takes with
    /// sample, output and noise. `timesteps` and `noise` are row by row, Tp timesteps and Tp Da
    /// numbers a stream.
    ///
    /// # Errors
    /// A stream without an observation.
    pub(super) fn step(
        &mut self,
        streams: &[usize],
        timesteps: &[i64],
        noise: Option<&[f32]>,
        next: impl FnOnce(&Tensor, &Tensor, Option<&Tensor>) -> Tensor,
    ) -> Result<()> {
        if let Some(&stream) = streams.iter().find(|stream| !self.observed[**stream]) {
            return Err(Error::NoObservation { stream });
        }
        let _guard = tch::no_grad_guard();
        let all = streams.len() == self.streams()
            && streams
                .iter()
                .enumerate()
                .all(|(index, stream)| index == *stream);
        let index = (!all).then(|| {
            let index: Vec<i64> = streams.iter().map(|stream| *stream as i64).collect();
            Tensor::from_slice(&index).to_device(self.device)
        });
        let select = |tensor: &Tensor| match &index {
            Some(index) => tensor.index_select(0, index),
            None => tensor.shallow_clone(),
        };
        let (sample, condition) = (select(&self.buffer), select(&self.condition));
        let timesteps = timestep_tensor(timesteps, self.horizon as i64, self.device);
        let output = self.network.evaluate(&sample, &timesteps, &condition);
        let noise = noise.map(|values| {
            Tensor::from_slice(values)
                .to_device(self.device)
                .view_as(&sample)
        });
        let next = next(&sample, &output, noise.as_ref());
        match &index {
            Some(index) => {
                let _ = self.buffer.index_copy_(0, index, &next);
            }
            None => self.buffer = next,
        }
        Ok(())
    }
}
