//! A network that LibTorch evaluates, captured: one graph for every number of plans.
//!
//! Between a plan on the host and the network's output on the host there is one launch and one wait: the copies to the device,
//! the evaluation and the copy back are recorded once and replayed. On the CPU the same is done again without a graph, with the
//! same bits as [`Network`] alone.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use kinestream_torch_shim as shim;
use shim::Staging;
use tch::{Device, Kind, Tensor};

use crate::network::Dimensions;
use crate::{Denoiser, Network, Result};

/// Numbers of plans that are captured at most, those asked for first: each holds memory of its own on the device. Others are
/// evaluated without a graph.
const MOST_GRAPHS: usize = 8;

/// Evaluations before one is captured: libraries choose and compile what they will run, and allocate what they keep.
const WARM_UP: usize = 3;

/// A network whose evaluations are captured.
pub struct Captured {
    graphs: RefCell<Graphs>,
    /// Shared with the work of every graph, which outlives no graph.
    network: Arc<Mutex<Network>>,
    device: Device,
    dimensions: Dimensions,
    takes_levels_per_position: bool,
}

#[derive(Default)]
struct Graphs {
    ready: Vec<Graph>,
    /// Numbers of plans that cannot be captured, and why.
    refused: Vec<(usize, String)>,
}

/// One number of plans.
struct Graph {
    rows: usize,
    captured: shim::Captured,
    sample: Staging,
    timesteps: Staging,
    condition: Staging,
    output: Staging,
}

impl Captured {
    /// A frozen network on `device`, captured for one plan.
    ///
    /// # Errors
    /// It cannot be captured, or one plan cannot be evaluated.
    pub fn new(network: Network, device: Device) -> Result<Self> {
        let captured = Self::uncaptured(network, device);
        captured.capture(1)?;
        Ok(captured)
    }

    /// The same, to be captured when it is first used.
    pub(super) fn uncaptured(network: Network, device: Device) -> Self {
        Self {
            graphs: RefCell::default(),
            dimensions: network.dimensions(),
            takes_levels_per_position: network.takes_levels_per_position(),
            network: Arc::new(Mutex::new(network)),
            device,
        }
    }

    /// Captures the evaluation of `rows` plans.
    ///
    /// # Errors
    /// It cannot be captured: not now, nor later.
    pub fn capture(&self, rows: usize) -> Result<()> {
        let graph = Graph::new(rows, &self.network, self.dimensions, self.device);
        let mut graphs = self.graphs.borrow_mut();
        match graph {
            Ok(graph) => graphs.ready.push(graph),
            Err(error) => {
                graphs.refused.push((rows, error.to_string()));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Why a number of plans is evaluated without a graph, if it was tried.
    pub fn refusal(&self, rows: usize) -> Option<String> {
        let graphs = self.graphs.borrow();
        let found = graphs.refused.iter().find(|(refused, _)| *refused == rows);
        found.map(|(_, reason)| reason.clone())
    }

    /// Whether evaluations of `rows` plans are replayed from now on.
    fn is_ready(&self, rows: usize) -> bool {
        let graphs = self.graphs.borrow();
        let is_there = graphs.ready.iter().any(|graph| graph.rows == rows);
        let is_refused = graphs.refused.iter().any(|(refused, _)| *refused == rows);
        let is_full = graphs.ready.len() >= MOST_GRAPHS;
        drop(graphs);
        if is_there || is_refused || is_full {
            return is_there;
        }
        match self.capture(rows) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("{rows} plans at once are evaluated without a graph: {error}");
                false
            }
        }
    }
}

impl Graph {
    fn new(
        rows: usize,
        network: &Arc<Mutex<Network>>,
        sizes: Dimensions,
        device: Device,
    ) -> Result<Self> {
        let plans = rows as i64;
        let buffer = |shape: &[i64], kind| Staging::new(shape, kind, device);
        let shape = [plans, sizes.horizon, sizes.action];
        let sample = buffer(&shape, Kind::Float)?;
        let timesteps = buffer(&shape[..2], Kind::Int64)?;
        let condition = buffer(&[plans, sizes.condition], Kind::Float)?;
        let output = buffer(&shape, Kind::Float)?;
        let network = Arc::clone(network);
        let mut inputs = [sample.shared(), timesteps.shared(), condition.shared()];
        let mut result = output.shared();
        let captured = shim::Captured::new(device, WARM_UP, move || {
            for input in &mut inputs {
                input.upload()?;
            }
            let [sample, timesteps, condition] = inputs.each_ref().map(Staging::tensor);
            let network = network.lock().unwrap_or_else(PoisonError::into_inner);
            result.download(&network.evaluate(sample, timesteps, condition))
        })?;
        Ok(Self {
            rows,
            captured,
            sample,
            timesteps,
            condition,
            output,
        })
    }

    fn replay(
        &mut self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
    ) -> Result<()> {
        self.sample.write(sample)?;
        self.timesteps.write(timesteps)?;
        self.condition.write(condition)?;
        self.captured.replay()?;
        Ok(self.output.read(output)?)
    }
}

impl Denoiser for Captured {
    fn evaluate(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.evaluate(sample, timesteps, condition)
    }

    fn evaluate_on_host(
        &self,
        sample: &[f32],
        timesteps: &[i64],
        condition: &[f32],
        output: &mut [f32],
    ) -> bool {
        let rows = sample.len() / (self.dimensions.horizon * self.dimensions.action) as usize;
        if rows == 0 || !self.is_ready(rows) {
            return false;
        }
        let mut graphs = self.graphs.borrow_mut();
        let Some(graph) = graphs.ready.iter_mut().find(|graph| graph.rows == rows) else {
            return false;
        };
        if let Err(error) = graph.replay(sample, timesteps, condition, output) {
            tracing::error!("an evaluation of {rows} plans failed: {error}");
            output.fill(f32::NAN);
        }
        true
    }

    fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    fn takes_levels_per_position(&self) -> bool {
        self.takes_levels_per_position
    }
}

#[cfg(test)]
mod tests {
    use tch::Cuda;

    use super::*;
    use crate::NetworkConfig;
    use crate::network::{Activation, UNetConfig, UNetKind};
    use crate::noise::NoiseStream;

    const SIZES: Dimensions = Dimensions {
        horizon: 8,
        action: 2,
        condition: 6,
        train_timesteps: 100,
    };

    fn config(kind: UNetKind) -> NetworkConfig {
        NetworkConfig::unet(
            kind,
            UNetConfig {
                channels: vec![16, 32],
                level_embedding: 16,
                observation_embedding: 16,
                kernel_size: 3,
                groups: 8,
                activation: Activation::Silu,
                modulation_scale: true,
                ..UNetConfig::default()
            },
        )
    }

    fn network(config: &NetworkConfig, device: Device) -> Network {
        let mut network = Network::new(config, SIZES, device, 5).unwrap();
        network.freeze();
        network
    }

    fn captured() -> Captured {
        let network = network(&config(UNetKind::PerPosition), Device::Cpu);
        Captured::new(network, Device::Cpu).unwrap()
    }

    /// Plans, levels and conditions of `rows` plans.
    fn inputs(
        random: &mut NoiseStream,
        rows: usize,
        is_even: bool,
    ) -> (Vec<f32>, Vec<i64>, Vec<f32>) {
        let timesteps = (0..rows as i64 * 8).map(|at| match is_even {
            true => at / 8 * 7 % 100,
            false => (at * 3) % 101 - 1,
        });
        (
            random.normals(rows * 16),
            timesteps.collect(),
            random.normals(rows * 6),
        )
    }

    /// What evaluations without a graph give, as planners ask for them.
    fn plainly(
        network: &dyn Denoiser,
        (sample, timesteps, condition): &(Vec<f32>, Vec<i64>, Vec<f32>),
        device: Device,
    ) -> Vec<f32> {
        let sample = Tensor::from_slice(sample)
            .view([-1, 8, 2])
            .to_device(device);
        let timesteps = Tensor::from_slice(timesteps)
            .view([-1, 8])
            .to_device(device);
        let condition = Tensor::from_slice(condition)
            .view([-1, 6])
            .to_device(device);
        let found = tch::no_grad(|| network.evaluate(&sample, &timesteps, &condition));
        Vec::try_from(found.flatten(0, -1)).unwrap()
    }

    fn captured_gives_what_the_network_gives(make: impl Fn() -> Network, device: Device) {
        let (direct, captured) = (make(), Captured::new(make(), device).unwrap());
        assert_eq!(captured.dimensions(), SIZES);
        let mut random = NoiseStream::new(7);
        let tolerance = if device == Device::Cpu { 0.0 } else { 1e-4 };
        for rows in [1, 3, 1, 2, 3, 16, 1] {
            let inputs = inputs(&mut random, rows, !direct.takes_levels_per_position());
            let mut found = vec![0.0; inputs.0.len()];
            assert!(captured.evaluate_on_host(&inputs.0, &inputs.1, &inputs.2, &mut found));
            let expected = plainly(&direct, &inputs, device);
            let is_near = |(a, b): (&f32, &f32)| (a - b).abs() < tolerance;
            let is_same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
            let mut pairs = found.iter().zip(&expected);
            assert!(pairs.all(|pair| is_same(pair) || is_near(pair)), "{rows}");
            assert_eq!(expected, plainly(&captured, &inputs, device));
        }
    }

    fn all_networks(device: Device) {
        for config in NetworkConfig::small(SIZES) {
            captured_gives_what_the_network_gives(|| network(&config, device), device);
        }
    }

    #[test]
    fn the_bits_are_those_of_the_network() {
        all_networks(Device::Cpu);
    }

    #[test]
    fn a_graph_tells_what_the_network_tells() {
        if !Cuda::is_available() {
            eprintln!("skipped: there is no CUDA device");
            return;
        }
        all_networks(Device::Cuda(0));
    }

    #[test]
    fn not_a_number_passes_through_and_is_forgotten() {
        let captured = captured();
        let (mut sample, timesteps, condition) = inputs(&mut NoiseStream::new(3), 1, false);
        let evaluate = |sample: &[f32]| {
            let mut output = vec![0.0; 16];
            assert!(captured.evaluate_on_host(sample, &timesteps, &condition, &mut output));
            output
        };
        let good = evaluate(&sample);
        sample[5] = f32::NAN;
        assert!(evaluate(&sample).iter().any(|value| value.is_nan()));
        let (again, _, _) = inputs(&mut NoiseStream::new(3), 1, false);
        assert_eq!(evaluate(&again), good);
        assert!(good.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn inputs_of_the_wrong_size_make_no_plan() {
        let captured = captured();
        let (sample, timesteps, condition) = inputs(&mut NoiseStream::new(3), 2, false);
        let mut output = vec![0.0; 32];
        assert!(captured.evaluate_on_host(&sample, &timesteps[..9], &condition, &mut output));
        assert!(output.iter().all(|value| value.is_nan()));
        assert!(captured.evaluate_on_host(&sample, &timesteps, &condition[1..], &mut output));
        assert!(output.iter().all(|value| value.is_nan()));
        assert!(!captured.evaluate_on_host(&[], &[], &[], &mut []));
        assert!(captured.evaluate_on_host(&sample, &timesteps, &condition, &mut output));
        assert!(output.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn the_number_of_graphs_is_bounded() {
        let captured = captured();
        let mut random = NoiseStream::new(3);
        for rows in 1..=MOST_GRAPHS + 2 {
            let (sample, timesteps, condition) = inputs(&mut random, rows, false);
            let mut output = vec![0.0; sample.len()];
            let is_replayed =
                captured.evaluate_on_host(&sample, &timesteps, &condition, &mut output);
            assert_eq!(is_replayed, rows <= MOST_GRAPHS, "{rows}");
        }
    }

    #[test]
    fn a_network_that_cannot_be_captured_says_why_and_is_evaluated_plainly() {
        let captured = Captured::uncaptured(
            network(&config(UNetKind::PerPosition), Device::Cpu),
            // Where there is no CUDA; with CUDA a device that no machine has.
            Device::Cuda(127),
        );
        let (sample, timesteps, condition) = inputs(&mut NoiseStream::new(3), 1, false);
        let mut output = vec![0.0; 16];
        assert!(!captured.evaluate_on_host(&sample, &timesteps, &condition, &mut output));
        assert!(!captured.refusal(1).unwrap().is_empty());
        assert!(captured.refusal(2).is_none());
        let inputs = (sample, timesteps, condition);
        let found = plainly(&captured, &inputs, Device::Cpu);
        assert!(found.iter().all(|value| value.is_finite()));
    }
}
