//! Perceptrons on the fused kernels: rows of numbers in, rows of numbers out, without a tensor between.

use std::borrow::Cow;

use kinestream_kernels::{
    Activation, Isa, NamedTensor, Perceptron, PerceptronConfig, Precision, Weights,
};
use tch::{Kind, Tensor};

use crate::noise::NoiseStream;
use crate::{Mlp, Result};

/// Rows of random numbers that weights of one byte are judged on.
const TRIALS: usize = 16;

/// A perceptron whose weights were packed for the fused kernels; what becomes of the network afterwards
/// does not change it.
#[derive(Debug)]
pub struct FusedMlp {
    perceptron: Perceptron,
}

impl FusedMlp {
    /// Packs the weights of a network on the CPU.
    ///
    /// # Errors
    /// A weight that the precision cannot hold, or no memory.
    pub fn new(network: &Mlp, precision: Precision) -> Result<Self> {
        let size = |value: i64| value as usize;
        let [inputs, width, outputs] = network.sizes().map(size);
        let config = PerceptronConfig {
            inputs,
            outputs,
            width,
            layers: network.layers(),
            normalised: network.is_normalised(),
            activation: Activation::Silu,
            precision,
            isa: Isa::detect(),
        };
        let weights: &Weights<'_> = &|name| {
            let tensor = network.parameter(name)?.detach().to_kind(Kind::Float);
            Some(NamedTensor {
                shape: tensor.size().into_iter().map(size).collect(),
                values: Cow::Owned(Vec::try_from(tensor.flatten(0, -1)).ok()?),
            })
        };
        Ok(Self {
            perceptron: Perceptron::new(&config, weights)?,
        })
    }

    /// Outputs of inputs, both row by row. A row does not depend on its neighbours.
    ///
    /// # Panics
    /// No whole rows, or another number of them.
    pub fn evaluate(&mut self, input: &[f32], output: &mut [f32]) {
        self.perceptron.evaluate(input, output);
    }

    /// Numbers of an input and of an output.
    pub fn sizes(&self) -> [usize; 2] {
        let config = self.perceptron.config();
        [config.inputs, config.outputs]
    }

    /// Number format of the weights.
    pub fn precision(&self) -> Precision {
        self.perceptron.config().precision
    }

    /// Bytes of weights that an evaluation reads.
    pub fn bytes(&self) -> usize {
        self.perceptron.bytes()
    }

    /// Multiplications of a row.
    pub fn multiplications(&self) -> usize {
        self.perceptron.multiplications()
    }

    /// How far its outputs are from those of the network itself, root mean square over root mean square,
    /// on rows of standard normal numbers.
    ///
    /// # Errors
    /// LibTorch's.
    pub fn relative_error(&mut self, network: &Mlp) -> Result<f64> {
        let [inputs, outputs] = self.sizes();
        let rows = NoiseStream::new(0x0e11_0e11).normals(TRIALS * inputs);
        let mut found = vec![0.0; TRIALS * outputs];
        self.evaluate(&rows, &mut found);
        let rows = Tensor::from_slice(&rows).view([TRIALS as i64, -1]);
        let expected = tch::no_grad(|| network.forward(&rows)).flatten(0, -1);
        let expected = Vec::<f32>::try_from(expected)?;
        let square = |value: f32| f64::from(value).powi(2);
        let difference: f64 = (found.iter().zip(&expected))
            .map(|(found, expected)| square(found - expected))
            .sum();
        let whole: f64 = expected.iter().copied().map(square).sum();
        Ok((difference / whole.max(f64::MIN_POSITIVE)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::executor::ADMITTED_ERROR;
    use crate::network::seeded;
    use crate::{Execution, Executor};

    /// A network whose output layer is drawn like the others.
    fn network(sizes: [i64; 3], layers: usize, normalised: bool) -> (VarStore, Mlp) {
        let mut store = VarStore::new(Device::Cpu);
        let [inputs, width, outputs] = sizes;
        let network = seeded(7, || {
            let root = store.root();
            let network = match normalised {
                true => Mlp::new(&root, inputs, outputs, width, layers),
                false => Mlp::plain(&root, inputs, outputs, width, layers),
            };
            for (name, mut variable) in store.variables() {
                let _ = tch::no_grad(|| match name.contains("norm.weight") {
                    true => variable.uniform_(0.5, 1.5),
                    false => variable.uniform_(-0.08, 0.08),
                });
            }
            network
        });
        store.freeze();
        (store, network)
    }

    /// The shipped character's predictor, generation and decoder, and an odd one.
    const SHAPES: [([i64; 3], usize, bool); 4] = [
        ([141, 256, 64], 3, false),
        ([333, 256, 64], 4, false),
        ([64, 512, 132], 2, true),
        ([11, 70, 3], 5, true),
    ];

    #[test]
    fn every_layer_agrees_with_libtorch() {
        for (sizes, layers, normalised) in SHAPES {
            let (_store, network) = network(sizes, layers, normalised);
            for rows in [1, 16] {
                let mut random = NoiseStream::new(3);
                let input = random.normals(rows * sizes[0] as usize);
                let mut expected = Vec::new();
                let tensor = Tensor::from_slice(&input).view([rows as i64, -1]);
                let _ = network.forward_observed(&tensor, &mut |state| {
                    expected.push(Vec::<f32>::try_from(state.flatten(0, -1)).unwrap());
                });
                let mut fused = FusedMlp::new(&network, Precision::Fp32).unwrap();
                let mut output = vec![0.0; rows * sizes[2] as usize];
                let mut seen = 0;
                let mut compare = |name: &str, _: usize, found: &[f32]| {
                    let expected = &expected[seen];
                    assert_eq!(found.len(), expected.len());
                    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                    for (found, expected) in found.iter().zip(expected) {
                        let difference = (found - expected).abs() / largest;
                        assert!(difference < 5e-6, "{sizes:?} {name}: {difference:e}");
                    }
                    seen += 1;
                };
                (fused.perceptron).evaluate_observed(&input, &mut output, &mut compare);
                assert_eq!(seen, expected.len());
            }
        }
    }

    #[test]
    fn an_execution_says_who_runs_perceptrons() {
        let (_store, network) = network([64, 128, 32], 3, true);
        let run = |executor, precision, device| {
            let execution = Execution {
                executor,
                precision,
                threads: 1,
            };
            execution.perceptrons(&[&network, &network], device)
        };
        let (auto, fused, libtorch) = (Executor::Auto, Executor::Fused, Executor::LibTorch);
        let (fp16, cuda) = (Precision::Fp16, Device::Cuda(0));
        let found = run(auto, fp16, Device::Cpu).unwrap().unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].precision(), Precision::Fp16);
        assert!(run(libtorch, fp16, Device::Cpu).unwrap().is_none());
        assert!(run(auto, fp16, cuda).unwrap().is_none());
        let message = run(fused, fp16, cuda).unwrap_err().to_string();
        assert!(message.contains("fused with device Cuda(0)"), "{message}");
        let mut bytes = run(fused, Precision::Int8, Device::Cpu).unwrap().unwrap();
        let error = bytes[0].relative_error(&network).unwrap();
        assert!((1e-4..ADMITTED_ERROR).contains(&error), "{error:e}");
    }
}
