//! MotionVAE: a conditional variational autoencoder of the next frame (Ling et al., "Character
//! controllers using motion VAEs", SIGGRAPH 2020), a baseline for what is diffused.
//!
//! An encoder turns the frame to come, seen beside the last, into a latent; a decoder makes it again
//! from the latent and the last frame. At run time the latent is drawn from a standard normal. The
//! decoder is a mixture of experts whose layers are blended by a gate, and every layer sees the
//! latent, so that it cannot be ignored. Frames are the embedded ones of this crate, as innovations
//! (see [`crate::model`]), and the condition has the steering, as all generators here: the paper
//! works on poses and steers by reinforcement learning on the latent instead.

use kinestream_diffusion::Mlp;
use kinestream_diffusion::network::seeded;
use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path, VarStore};
use tch::{Device, Kind, Tensor};

use crate::frame::FrameSizes;
use crate::{Error, Result};

/// Configuration of a MotionVAE, as written in TOML and JSON. The defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MotionVaeConfig {
    /// Numbers of the latent, 1 to 512.
    pub latent: i64,
    /// Width of the layers of encoder and experts, 8 to 8192.
    pub width: i64,
    /// Layers of that width, 1 to 32; an output layer follows.
    pub layers: usize,
    /// Experts of the decoder, 1 to 64.
    pub experts: i64,
    /// Width of the two layers of the gate, 8 to 8192.
    pub gate_width: i64,
}

impl Default for MotionVaeConfig {
    fn default() -> Self {
        Self {
            latent: 32,
            width: 256,
            layers: 2,
            experts: 6,
            gate_width: 64,
        }
    }
}

/// Encoder, gate and experts.
#[derive(Debug)]
pub struct MotionVae {
    store: VarStore,
    encoder: Mlp,
    gate: Mlp,
    experts: Vec<Experts>,
    config: MotionVaeConfig,
    sizes: FrameSizes,
}

impl MotionVae {
    /// Fresh parameters, which depend on `seed` alone.
    ///
    /// # Errors
    /// A configuration value out of its range.
    pub fn new(
        config: &MotionVaeConfig,
        sizes: FrameSizes,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let MotionVaeConfig {
            latent,
            width,
            layers,
            experts,
            gate_width,
        } = *config;
        let FrameSizes { sample, condition } = sizes;
        let store = VarStore::new(device);
        let root = store.root();
        let (encoder, gate, experts) = seeded(seed, || {
            let encoder = &root / "encoder";
            let encoder = Mlp::plain(&encoder, condition + sample, 2 * latent, width, layers);
            let gate = Mlp::plain(
                &(&root / "gate"),
                latent + condition,
                experts,
                gate_width,
                2,
            );
            let inner = std::iter::repeat_n(width, layers);
            let inputs = std::iter::once(condition).chain(inner.clone());
            let outputs = inner.chain(std::iter::once(sample));
            let experts = inputs.zip(outputs).enumerate().map(|(layer, (from, to))| {
                Experts::new(&(&root / "experts" / layer), experts, latent + from, to)
            });
            (encoder, gate, experts.collect())
        });
        Ok(Self {
            store,
            encoder,
            gate,
            experts,
            config: config.clone(),
            sizes,
        })
    }

    /// The parameters.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The parameters, for freezing.
    pub fn store_mut(&mut self) -> &mut VarStore {
        &mut self.store
    }

    /// The configuration.
    pub fn config(&self) -> &MotionVaeConfig {
        &self.config
    }

    /// Sizes of inputs and outputs.
    pub fn sizes(&self) -> FrameSizes {
        self.sizes
    }

    /// Weights that one frame reads: those of the gate and of all experts.
    pub fn weights_per_frame(&self) -> usize {
        let variables = self.store.variables();
        let read = variables
            .iter()
            .filter(|(name, _)| !name.starts_with("encoder"));
        read.map(|(_, weights)| weights.numel()).sum()
    }

    /// Mean and logarithm of the variance of the latent, both `[B, R]`, of a sample `[B, E]` under a
    /// condition `[B, C]`.
    pub fn posterior(&self, sample: &Tensor, condition: &Tensor) -> (Tensor, Tensor) {
        let input = Tensor::cat(&[sample, condition], -1);
        let both = self.encoder.forward(&input);
        let latent = self.config.latent;
        (
            both.narrow(-1, 0, latent),
            both.narrow(-1, latent, latent).clamp(-12.0, 4.0),
        )
    }

    /// How much every expert counts `[B, X]`, above 0 and 1 in all, for a latent `[B, R]` and a
    /// condition `[B, C]`.
    pub fn gates(&self, latent: &Tensor, condition: &Tensor) -> Tensor {
        let input = Tensor::cat(&[latent, condition], -1);
        self.gate.forward(&input).softmax(-1, Kind::Float)
    }

    /// The sample `[B, E]` of a latent `[B, R]` under a condition `[B, C]`.
    pub fn decode(&self, latent: &Tensor, condition: &Tensor) -> Tensor {
        let gates = self.gates(latent, condition).unsqueeze(1);
        let mut state = condition.shallow_clone();
        for (layer, experts) in self.experts.iter().enumerate() {
            if layer > 0 {
                state = state.elu();
            }
            state = experts.forward(&Tensor::cat(&[latent, &state], -1), &gates);
        }
        state
    }
}

/// The divergence of normal latents of this mean and logarithm of the variance, both `[B, R]`, from
/// a standard normal: per number, as a mean.
pub fn divergence(mean: &Tensor, log_variance: &Tensor) -> Tensor {
    (mean.square() + log_variance.exp() - 1.0 - log_variance).mean(Kind::Float) * 0.5
}

/// One layer of all experts.
#[derive(Debug)]
struct Experts {
    weight: Tensor,
    bias: Tensor,
    count: i64,
}

impl Experts {
    fn new(path: &Path<'_>, count: i64, inputs: i64, outputs: i64) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Self {
            weight: path.var("weight", &[count * outputs, inputs], uniform),
            bias: path.var("bias", &[count * outputs], uniform),
            count,
        }
    }

    /// From `[B, inputs]` and gates `[B, 1, X]` to `[B, outputs]`. A layer of blended weights is the
    /// blend of the layers, and that needs no weights for every row.
    fn forward(&self, input: &Tensor, gates: &Tensor) -> Tensor {
        let all = input.linear(&self.weight, Some(&self.bias));
        let all = all.view([input.size()[0], self.count, -1]);
        gates.bmm(&all).squeeze_dim(1)
    }
}

impl MotionVaeConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value out of its range.
    pub fn check(&self) -> Result<()> {
        let values = [
            ("latent", self.latent, 1, 512),
            ("width", self.width, 8, 8192),
            ("layers", self.layers as i64, 1, 32),
            ("experts", self.experts, 1, 64),
            ("gate_width", self.gate_width, 8, 8192),
        ];
        for (key, value, least, most) in values {
            if !(least..=most).contains(&value) {
                return Err(Error::Config {
                    key,
                    found: value.to_string(),
                    expected: format!("{least} to {most}"),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kinestream_diffusion::noise::NoiseStream;

    use super::*;
    use crate::training::frames::normal;

    fn small() -> MotionVae {
        let config = MotionVaeConfig {
            latent: 3,
            width: 16,
            experts: 4,
            gate_width: 8,
            ..MotionVaeConfig::default()
        };
        let sizes = FrameSizes {
            sample: 5,
            condition: 7,
        };
        MotionVae::new(&config, sizes, Device::Cpu, 1).unwrap()
    }

    /// A gate begins without a preference; it gets one here.
    fn opinionated(vae: &MotionVae) {
        for (name, mut variable) in vae.store.variables() {
            if name.starts_with("gate") {
                let _ = tch::no_grad(|| variable.uniform_(-1.0, 1.0));
            }
        }
    }

    fn inputs(vae: &MotionVae, count: i64) -> (Tensor, Tensor) {
        let mut random = NoiseStream::new(2);
        let latent = normal(&mut random, &[count, vae.config.latent], Device::Cpu);
        let condition = normal(&mut random, &[count, vae.sizes.condition], Device::Cpu);
        (latent, condition)
    }

    fn largest(tensor: &Tensor) -> f64 {
        f64::try_from(tensor.abs().max()).unwrap()
    }

    #[test]
    fn shapes_are_those_documented_and_gates_sum_to_one() {
        let vae = small();
        kinestream_diffusion::network::seeded(3, || opinionated(&vae));
        let (latent, condition) = inputs(&vae, 6);
        let sample = vae.decode(&latent, &condition);
        assert_eq!(sample.size(), [6, 5]);
        let (mean, log_variance) = vae.posterior(&sample, &condition);
        assert_eq!((mean.size(), log_variance.size()), (vec![6, 3], vec![6, 3]));
        let gates = vae.gates(&latent, &condition);
        assert_eq!(gates.size(), [6, 4]);
        let sums = gates.sum_dim_intlist([1].as_slice(), false, Kind::Float);
        assert!(largest(&(sums - 1.0)) < 1e-6);
        assert!(f64::try_from(gates.min()).unwrap() > 0.0);
        assert!(largest(&(gates - 0.25)) > 0.01);
    }

    #[test]
    fn blending_outputs_is_blending_weights() {
        let vae = small();
        let (latent, condition) = inputs(&vae, 1);
        let layer = &vae.experts[0];
        let gates = Tensor::from_slice(&[0.1_f32, 0.2, 0.3, 0.4]).view([1, 1, 4]);
        let input = Tensor::cat(&[&latent, &condition], 1);
        let shares = gates.view([4, 1, 1]);
        let whole = [0_i64].as_slice();
        let weight =
            (layer.weight.view([4, 16, 10]) * &shares).sum_dim_intlist(whole, false, Kind::Float);
        let bias = (layer.bias.view([4, 16]) * shares.view([4, 1])).sum_dim_intlist(
            whole,
            false,
            Kind::Float,
        );
        let expected = input.linear(&weight, Some(&bias));
        assert!(largest(&(layer.forward(&input, &gates) - expected)) < 1e-6);
    }

    #[test]
    fn rows_do_not_depend_on_one_another() {
        let vae = small();
        kinestream_diffusion::network::seeded(3, || opinionated(&vae));
        let (latent, condition) = inputs(&vae, 4);
        let all = vae.decode(&latent, &condition);
        for row in 0..4 {
            let one = vae.decode(&latent.narrow(0, row, 1), &condition.narrow(0, row, 1));
            assert!(largest(&(all.narrow(0, row, 1) - one)) < 1e-5);
        }
    }

    #[test]
    fn the_divergence_is_that_of_two_normals() {
        let standard = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        assert_eq!(largest(&divergence(&standard, &standard)), 0.0);
        // ln(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1 / 2 for m1 = 1.5, s1 = 2, m2 = 0, s2 = 1.
        let mean = Tensor::from_slice(&[1.5_f32]).view([1, 1]);
        let log_variance = Tensor::from_slice(&[2.0_f32 * 2.0_f32.ln()]).view([1, 1]);
        let expected = -(2.0_f64.ln()) + (4.0 + 2.25) / 2.0 - 0.5;
        assert!((largest(&divergence(&mean, &log_variance)) - expected).abs() < 1e-6);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let config = MotionVaeConfig {
            experts: 0,
            ..MotionVaeConfig::default()
        };
        let message = config.check().unwrap_err().to_string();
        assert!(
            message.contains("experts is 0, expected 1 to 64"),
            "{message}"
        );
    }
}
