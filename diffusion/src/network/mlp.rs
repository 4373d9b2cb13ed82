//! A residual multilayer perceptron for vectors: one frame of a motion, one point of a toy.

use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use super::blocks::sinusoid;

/// Layers of equal width with skip connections, with or without normalisation:
/// h = silu(A x), then h = h + silu(B norm(h)) for every further layer, then C h.
#[derive(Debug)]
pub struct Mlp {
    input: Linear,
    hidden: Vec<(Option<Normalisation>, Linear)>,
    output: Linear,
}

impl Mlp {
    /// Draws parameters under `path`: `layers` layers of `width`, at least one, with layer
    /// normalisation before each but the first.
    ///
    /// The output begins at zero, so that what it is added to stays as it is at first.
    pub fn new(path: &Path<'_>, inputs: i64, outputs: i64, width: i64, layers: usize) -> Self {
        Self::build(path, [inputs, width, outputs], layers, true)
    }

    /// As [`Self::new`], without normalisation. A critic that normalises cannot tell how far off a
    /// sample is, and the generator that follows it loses modes; without it a step costs less, too.
    pub fn plain(path: &Path<'_>, inputs: i64, outputs: i64, width: i64, layers: usize) -> Self {
        Self::build(path, [inputs, width, outputs], layers, false)
    }

    fn build(path: &Path<'_>, sizes: [i64; 3], layers: usize, normalised: bool) -> Self {
        let [inputs, width, outputs] = sizes;
        let hidden = (1..layers)
            .map(|layer| {
                let path = path / layer;
                (
                    normalised.then(|| Normalisation::new(&(&path / "norm"), width)),
                    Linear::new(&path, width, width),
                )
            })
            .collect();
        Self {
            input: Linear::new(&(path / "input"), inputs, width),
            hidden,
            output: Linear::zeros(&(path / "output"), width, outputs),
        }
    }

    /// From `[B, inputs]` to `[B, outputs]`.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        self.forward_observed(input, &mut |_| {})
    }

    /// As [`Self::forward`], showing the state after every layer, and the output, to `observe`.
    pub(crate) fn forward_observed(
        &self,
        input: &Tensor,
        observe: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        let mut state = self.input.apply(input).silu();
        observe(&state);
        for (norm, linear) in &self.hidden {
            let change = match norm {
                Some(norm) => linear.apply(&norm.apply(&state)),
                None => linear.apply(&state),
            };
            state = &state + change.silu();
            observe(&state);
        }
        let output = self.output.apply(&state);
        observe(&output);
        output
    }

    /// Numbers of an input, of a layer and of an output.
    pub fn sizes(&self) -> [i64; 3] {
        let [width, inputs] = self.input.sizes();
        [inputs, width, self.output.sizes()[0]]
    }

    /// Layers before the output.
    pub fn layers(&self) -> usize {
        1 + self.hidden.len()
    }

    /// Whether a layer normalisation stands before every layer but the first and the output.
    pub fn is_normalised(&self) -> bool {
        self.hidden.iter().any(|(norm, _)| norm.is_some())
    }

    /// A parameter by its name under the path that the network was drawn at.
    pub(crate) fn parameter(&self, name: &str) -> Option<&Tensor> {
        let (layer, part) = name.split_once('.')?;
        let (norm, linear) = match layer {
            "input" => (None, &self.input),
            "output" => (None, &self.output),
            _ => {
                let index = layer.parse::<usize>().ok()?.checked_sub(1)?;
                let (norm, linear) = self.hidden.get(index)?;
                (norm.as_ref(), linear)
            }
        };
        match part {
            "weight" => Some(&linear.weight),
            "bias" => Some(&linear.bias),
            "norm.weight" => norm.map(|norm| &norm.weight),
            "norm.bias" => norm.map(|norm| &norm.bias),
            _ => None,
        }
    }
}

/// Sinusoids of the timesteps 0 to `timesteps` - 1, as a table `[N, width]`.
pub fn timestep_table(timesteps: i64, width: i64, device: Device) -> Tensor {
    sinusoid(&Tensor::arange(timesteps, (Kind::Float, device)), width)
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(path: &Path<'_>, inputs: i64, outputs: i64) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Self {
            weight: path.var("weight", &[outputs, inputs], uniform),
            bias: path.var("bias", &[outputs], uniform),
        }
    }

    fn zeros(path: &Path<'_>, inputs: i64, outputs: i64) -> Self {
        Self {
            weight: path.var("weight", &[outputs, inputs], Init::Const(0.0)),
            bias: path.var("bias", &[outputs], Init::Const(0.0)),
        }
    }

    /// Outputs and inputs.
    fn sizes(&self) -> [i64; 2] {
        let sizes = self.weight.size();
        [sizes[0], sizes[1]]
    }

    fn apply(&self, input: &Tensor) -> Tensor {
        input.linear(&self.weight, Some(&self.bias))
    }
}

#[derive(Debug)]
struct Normalisation {
    weight: Tensor,
    bias: Tensor,
}

impl Normalisation {
    fn new(path: &Path<'_>, width: i64) -> Self {
        Self {
            weight: path.var("weight", &[width], Init::Const(1.0)),
            bias: path.var("bias", &[width], Init::Const(0.0)),
        }
    }

    fn apply(&self, input: &Tensor) -> Tensor {
        let width = self.weight.size();
        input.layer_norm(width, Some(&self.weight), Some(&self.bias), 1e-5, false)
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;

    use super::*;
    use crate::optimiser::AdamW;

    #[test]
    fn it_begins_at_zero_and_learns_a_curve() {
        let store = VarStore::new(Device::Cpu);
        let mlp = super::super::seeded(1, || Mlp::new(&store.root(), 1, 1, 32, 3));
        let x = Tensor::linspace(-2.0, 2.0, 64, (Kind::Float, Device::Cpu)).view([64, 1]);
        let target = (&x * 2.0).sin();
        assert_eq!(f64::try_from(mlp.forward(&x).abs().max()).unwrap(), 0.0);
        let mut optimiser = AdamW::new(&store, (0.9, 0.999), 0.0);
        for step in 0..400 {
            optimiser.zero_gradients();
            (mlp.forward(&x) - &target)
                .square()
                .mean(Kind::Float)
                .backward();
            optimiser.step(step, 3e-3, 0.0);
        }
        let error = (mlp.forward(&x) - target).abs().max();
        assert!(f64::try_from(error).unwrap() < 0.05);
    }

    #[test]
    fn timesteps_have_rows_of_their_own() {
        let table = timestep_table(5, 8, Device::Cpu);
        assert_eq!(table.size(), [5, 8]);
        let distance = (table.get(3) - table.get(4)).norm();
        assert!(f64::try_from(distance).unwrap() > 0.1);
    }
}
