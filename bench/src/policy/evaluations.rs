//! One network evaluation by every executor, turn by turn.

use std::time::{Duration, Instant};

use anyhow::Result;
use kinestream_control::{Latencies, Percentiles};
use kinestream_diffusion::executor::{Captured, Fused, relative_error};
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{Denoiser, Execution, Executor, Network, Precision};
use kinestream_policy::Checkpoint;
use serde::Serialize;
use tch::{Device, Tensor};

use super::floor::Floor;
use super::wait;

/// Evaluations of each number of streams.
const ROUNDS: usize = 60;
/// Of these the first are not measured.
const WARM_UP: usize = 10;

/// Time after which threads that wait for work, spinning, have gone to sleep: each executor has some of its own.
const SETTLING: Duration = Duration::from_millis(10);

/// What an executor does before it is the next one's turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) evaluations: usize,
    /// Of these the first are not measured.
    pub(super) unmeasured: usize,
}

impl Turn {
    /// One after the other.
    pub(super) const BURST: Self = Self {
        evaluations: 6,
        unmeasured: 2,
    };
    /// A single one, as of a loop with a rate.
    pub(super) const ONE: Self = Self {
        evaluations: 1,
        unmeasured: 0,
    };
}

/// Waits until the threads of what ran last leave the processors alone.
pub(super) fn settle() {
    std::thread::sleep(SETTLING);
}

/// Time of one evaluation.
#[derive(Debug, Serialize)]
pub(super) struct Evaluated {
    pub(super) executor: Executor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<Precision>,
    /// Bytes of weights that are read.
    pub(super) weight_bytes: usize,
    /// Distance of the outputs from LibTorch's, root mean square over root mean square.
    pub(super) relative_error: f64,
    pub(super) ms: Percentiles,
    pub(super) floor_ms: f64,
    pub(super) ratio_to_floor: f64,
    pub(super) ratio_to_libtorch: f64,
}

/// Time of one evaluation of several plans.
#[derive(Debug, Serialize)]
pub(super) struct Streams {
    pub(super) streams: usize,
    pub(super) executor: Executor,
    pub(super) ms: Percentiles,
    pub(super) libtorch_ms: Percentiles,
    /// Of the faster of both.
    pub(super) plans_per_second: f64,
}

/// The executors that can run a network on a device.
pub(super) struct Evaluations<'a> {
    checkpoint: &'a Checkpoint,
    device: Device,
    inputs: Inputs,
    libtorch: Latencies,
    fused: Vec<(Fused, Latencies, f64)>,
    graph: Option<(Captured, Latencies, f64)>,
}

struct Inputs {
    sample: Tensor,
    timesteps: Tensor,
    condition: Tensor,
    /// The same as slices.
    on_host: (Vec<f32>, Vec<i64>, Vec<f32>),
}

impl<'a> Evaluations<'a> {
    /// Packs the weights in every precision, where the kernels know the network, and captures `graph`, the same network once
    /// more.
    pub(super) fn new(
        checkpoint: &'a Checkpoint,
        device: Device,
        threads: usize,
        graph: Option<Network>,
    ) -> Result<Self> {
        let network = checkpoint.network();
        let mut fused = Vec::new();
        for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            if device == Device::Cpu
                && let Ok(packed) = Fused::new(network, precision, threads)
            {
                let error = relative_error(&packed, network)?;
                fused.push((packed, Latencies::new(), error));
            }
        }
        let inputs = Inputs::new(network, 1, device);
        let graph = match graph {
            Some(captured) => {
                let captured = Captured::new(captured, device)?;
                let error = inputs.difference(&captured, network)?;
                Some((captured, Latencies::new(), error))
            }
            None => None,
        };
        Ok(Self {
            checkpoint,
            device,
            inputs,
            libtorch: Latencies::new(),
            fused,
            graph,
        })
    }

    /// A turn of each; `evict` is called before every evaluation.
    pub(super) fn round(&mut self, turn: Turn, is_measured: bool, evict: &impl Fn()) -> Result<()> {
        let (inputs, device) = (&self.inputs, self.device);
        let take_turn = |latencies: &mut Latencies, time: &dyn Fn() -> Result<u64>| {
            settle();
            for index in 0..turn.evaluations {
                evict();
                let nanoseconds = time()?;
                if is_measured && index >= turn.unmeasured {
                    latencies.record(nanoseconds);
                }
            }
            anyhow::Ok(())
        };
        let network = self.checkpoint.network();
        take_turn(&mut self.libtorch, &|| inputs.time(network, device))?;
        for (fused, latencies, _) in &mut self.fused {
            take_turn(latencies, &|| inputs.time(fused, device))?;
        }
        if let Some((graph, latencies, _)) = &mut self.graph {
            take_turn(latencies, &|| inputs.time_on_host(graph, device))?;
        }
        Ok(())
    }

    /// Evaluations of several plans at once, by LibTorch and as `execution` says.
    pub(super) fn streams(&self, counts: &[usize], execution: Execution) -> Result<Vec<Streams>> {
        let network = self.checkpoint.network();
        let chosen = self.fused.iter().map(|(fused, _, _)| fused).find(|fused| {
            matches!(execution.executor, Executor::Auto | Executor::Fused)
                && fused.precision() == execution.precision
        });
        counts
            .iter()
            .map(|&streams| {
                let inputs = Inputs::new(network, streams as i64, self.device);
                let measure = |time: &dyn Fn() -> Result<u64>| {
                    let mut latencies = Latencies::new();
                    settle();
                    for round in 0..ROUNDS {
                        let nanoseconds = time()?;
                        if round >= WARM_UP {
                            latencies.record(nanoseconds);
                        }
                    }
                    anyhow::Ok(latencies.percentiles_ms())
                };
                let libtorch_ms = measure(&|| inputs.time(network, self.device))?;
                let (executor, ms) = match (&self.graph, chosen) {
                    (Some((graph, _, _)), _) => {
                        let ms = measure(&|| inputs.time_on_host(graph, self.device))?;
                        (Executor::Graph, ms)
                    }
                    (None, Some(fused)) => {
                        let ms = measure(&|| inputs.time(fused, self.device))?;
                        (Executor::Fused, ms)
                    }
                    (None, None) => (Executor::LibTorch, libtorch_ms),
                };
                Ok(Streams {
                    streams,
                    executor,
                    ms,
                    libtorch_ms,
                    plans_per_second: streams as f64 * 1e3 / ms.p50.min(libtorch_ms.p50),
                })
            })
            .collect()
    }

    /// What was measured.
    pub(super) fn report(&self, floor: &Floor) -> Vec<Evaluated> {
        let libtorch = self.libtorch.percentiles_ms();
        let row = |executor, precision, weight_bytes, relative_error, ms: Percentiles| {
            let floor_ms = floor.milliseconds(weight_bytes);
            Evaluated {
                executor,
                precision,
                weight_bytes,
                relative_error,
                ms,
                floor_ms,
                ratio_to_floor: ms.p50 / floor_ms,
                ratio_to_libtorch: ms.p50 / libtorch.p50,
            }
        };
        let bytes = self.checkpoint.network().parameters() * 4;
        let mut rows = vec![row(Executor::LibTorch, None, bytes, 0.0, libtorch)];
        rows.extend(self.fused.iter().map(|(fused, latencies, error)| {
            let precision = Some(fused.precision());
            let ms = latencies.percentiles_ms();
            row(Executor::Fused, precision, fused.bytes(), *error, ms)
        }));
        rows.extend(self.graph.iter().map(|(_, latencies, error)| {
            let ms = latencies.percentiles_ms();
            row(Executor::Graph, None, bytes, *error, ms)
        }));
        rows
    }
}

impl Inputs {
    /// Random plans at levels that rise along the plan.
    fn new(network: &dyn Denoiser, plans: i64, device: Device) -> Self {
        let sizes = network.dimensions();
        let mut random = NoiseStream::new(1);
        let count = |width: i64| (plans * width) as usize;
        let sample = random.normals(count(sizes.horizon * sizes.action));
        let condition = random.normals(count(sizes.condition));
        let tensor = |numbers: &[f32], shape: &[i64]| {
            Tensor::from_slice(numbers).view(shape).to_device(device)
        };
        let last = sizes.train_timesteps;
        let levels: Vec<i64> = (0..sizes.horizon)
            .map(|at| match network.takes_levels_per_position() {
                true => (last * (at + 1) / sizes.horizon - 1).max(0),
                false => last - 1,
            })
            .collect();
        Self {
            sample: tensor(&sample, &[plans, sizes.horizon, sizes.action]),
            condition: tensor(&condition, &[plans, sizes.condition]),
            timesteps: Tensor::from_slice(&levels)
                .view([1, -1])
                .repeat([plans, 1])
                .to_device(device),
            on_host: (sample, levels.repeat(plans as usize), condition),
        }
    }

    /// How far what a captured network tells is from what `reference` tells, root mean square over root mean square.
    fn difference(&self, captured: &Captured, reference: &Network) -> Result<f64> {
        let (sample, timesteps, condition) = &self.on_host;
        let mut output = vec![0.0; sample.len()];
        captured.evaluate_on_host(sample, timesteps, condition, &mut output);
        let expected =
            tch::no_grad(|| reference.evaluate(&self.sample, &self.timesteps, &self.condition));
        let found = Tensor::from_slice(&output)
            .view_as(&expected)
            .to_device(expected.device());
        let square = |tensor: &Tensor| f64::try_from(tensor.square().sum(tch::Kind::Double));
        Ok((square(&(found - &expected))? / square(&expected)?).sqrt())
    }

    /// Nanoseconds of one evaluation from numbers on the host to numbers on the host.
    fn time_on_host(&self, denoiser: &dyn Denoiser, device: Device) -> Result<u64> {
        let (sample, timesteps, condition) = &self.on_host;
        let mut output = vec![0.0; sample.len()];
        let started = Instant::now();
        if denoiser.evaluate_on_host(sample, timesteps, condition, &mut output) {
            return Ok(started.elapsed().as_nanos() as u64);
        }
        self.time(denoiser, device)
    }

    /// Nanoseconds of one evaluation.
    fn time(&self, denoiser: &dyn Denoiser, device: Device) -> Result<u64> {
        let started = Instant::now();
        let output =
            tch::no_grad(|| denoiser.evaluate(&self.sample, &self.timesteps, &self.condition));
        wait(device, &output)?;
        Ok(started.elapsed().as_nanos() as u64)
    }
}
