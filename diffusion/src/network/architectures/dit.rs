//! The diffusion transformer (DiT) over the positions of a plan, with adaptive layer normalisation.
//!
//! Peebles and Xie 2023, "Scalable Diffusion Models with Transformers", with positions of the plan for
//! patches of a picture: every position is a token, and noise level and observation enter by shifts,
//! scales and gates alone (adaLN-Zero), each position's by its own level. Gates and head begin at
//! zero, so that a fresh network predicts zero and every block begins as the identity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{Init, Path};

use crate::Result;
use crate::error::check_option;
use crate::network::architecture::check_horizon;
use crate::network::blocks::{Affine, sinusoid};
use crate::network::{Architecture, Dimensions, NetworkModule};

/// Sizes of a diffusion transformer, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dit {
    /// Numbers per token; even, and a multiple of `heads`.
    pub width: i64,
    /// Blocks of attention and perceptron.
    pub layers: i64,
    /// Heads of every attention.
    pub heads: i64,
    /// Width of the perceptron in every block, in widths of a token.
    pub mlp_ratio: i64,
}

impl Default for Dit {
    /// DiT-S but for half its layers.
    fn default() -> Self {
        Self {
            width: 384,
            layers: 6,
            heads: 6,
            mlp_ratio: 4,
        }
    }
}

impl Architecture for Dit {
    fn small(_dimensions: Dimensions) -> Option<Self> {
        Some(Self {
            width: 16,
            layers: 2,
            heads: 2,
            mlp_ratio: 2,
        })
    }

    fn check(&self, dimensions: Dimensions) -> Result<()> {
        let (width, heads) = (self.width, self.heads);
        let fits = width >= 4 && width % 2 == 0 && width <= 1 << 14;
        let expected = "an even number from 4 to 16384";
        check_option(fits, "network.width", width, expected)?;
        let divides = heads >= 1 && width % heads == 0;
        let expected = format!("a divisor of the width {width}");
        check_option(divides, "network.heads", heads, expected)?;
        for (key, size, most) in [
            ("network.layers", self.layers, 64),
            ("network.mlp_ratio", self.mlp_ratio, 16),
        ] {
            let fits = (1..=most).contains(&size);
            check_option(fits, key, size, format!("1 to {most}"))?;
        }
        check_horizon(dimensions.horizon)
    }

    fn build(&self, root: &Path<'_>, dimensions: Dimensions) -> Result<Box<dyn NetworkModule>> {
        Ok(Box::new(DiffusionTransformer::new(root, self, dimensions)))
    }

    fn takes_levels_per_position(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct DiffusionTransformer {
    width: i64,
    input: Affine,
    position_embedding: Tensor,
    level_encoder: [Affine; 2],
    observation_encoder: [Affine; 2],
    blocks: Vec<Block>,
    final_modulation: Affine,
    head: Affine,
}

impl DiffusionTransformer {
    fn new(root: &Path<'_>, config: &Dit, dimensions: Dimensions) -> Self {
        let width = config.width;
        let encoder = |name: &str, inputs: i64| {
            let path = root / name / "mlp";
            [
                Affine::linear(&(&path / 0), inputs, width),
                Affine::linear(&(&path / 2), width, width),
            ]
        };
        let embedding = Init::Randn {
            mean: 0.0,
            stdev: 0.02,
        };
        let last = root / "final_layer";
        Self {
            width,
            input: Affine::linear(&(root / "x_embedder"), dimensions.action, width),
            position_embedding: root.var("pos_embed", &[1, dimensions.horizon, width], embedding),
            level_encoder: encoder("t_embedder", width),
            observation_encoder: encoder("y_embedder", dimensions.condition),
            blocks: (0..config.layers)
                .map(|index| Block::new(&(root / "blocks" / index), config))
                .collect(),
            final_modulation: zero(&(&last / "adaLN_modulation" / 1), width, 2 * width),
            head: zero(&(&last / "linear"), width, dimensions.action),
        }
    }
}

impl NetworkModule for DiffusionTransformer {
    fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let encode = |[first, second]: &[Affine; 2], input: &Tensor| {
            second.apply_linear(&first.apply_linear(input).silu())
        };
        let levels = encode(&self.level_encoder, &sinusoid(timesteps, self.width));
        let observed = encode(&self.observation_encoder, condition).unsqueeze(1);
        let conditioning = (levels + observed).silu();
        let mut hidden = self.input.apply_linear(sample) + &self.position_embedding;
        for block in &self.blocks {
            hidden = block.forward(hidden, &conditioning);
        }
        let last = self.final_modulation.apply_linear(&conditioning);
        let last = last.chunk(2, -1);
        self.head
            .apply_linear(&modulated(&hidden, &last[0], &last[1]))
    }
}

/// Self-attention and a perceptron, both modulated and gated.
#[derive(Debug)]
struct Block {
    heads: i64,
    attention: [Affine; 2],
    mlp: [Affine; 2],
    modulation: Affine,
}

impl Block {
    fn new(path: &Path<'_>, config: &Dit) -> Self {
        let (width, inner) = (config.width, config.mlp_ratio * config.width);
        let attention = path / "attn";
        let mlp = path / "mlp";
        Self {
            heads: config.heads,
            attention: [
                Affine::linear(&(&attention / "qkv"), width, 3 * width),
                Affine::linear(&(&attention / "proj"), width, width),
            ],
            mlp: [
                Affine::linear(&(&mlp / "fc1"), width, inner),
                Affine::linear(&(&mlp / "fc2"), inner, width),
            ],
            modulation: zero(&(path / "adaLN_modulation" / 1), width, 6 * width),
        }
    }

    /// `hidden` and `conditioning` are [B, T, E].
    fn forward(&self, hidden: Tensor, conditioning: &Tensor) -> Tensor {
        let parts = self.modulation.apply_linear(conditioning);
        let parts = parts.chunk(6, -1);
        let attended = self.attend(&modulated(&hidden, &parts[0], &parts[1]));
        let hidden = hidden + &parts[2] * attended;
        let [first, second] = &self.mlp;
        let inner = first.apply_linear(&modulated(&hidden, &parts[3], &parts[4]));
        &hidden + &parts[5] * second.apply_linear(&inner.gelu("tanh"))
    }

    fn attend(&self, input: &Tensor) -> Tensor {
        let [projection, output] = &self.attention;
        let size = input.size();
        let by_head = projection
            .apply_linear(input)
            .view([size[0], size[1], 3, self.heads, size[2] / self.heads])
            .permute([2, 0, 3, 1, 4]);
        let (queries, keys, values) = (by_head.get(0), by_head.get(1), by_head.get(2));
        let mixed = Tensor::scaled_dot_product_attention::<Tensor>(
            &queries, &keys, &values, None, 0.0, false, None, false,
        );
        output.apply_linear(&mixed.transpose(1, 2).flatten(2, 3))
    }
}

/// Layer normalisation without parameters, then shifted and scaled.
fn modulated(input: &Tensor, shift: &Tensor, scale: &Tensor) -> Tensor {
    let width = *input.size().last().unwrap_or(&1);
    let normal = input.layer_norm::<Tensor>([width], None, None, 1e-6, true);
    normal * (scale + 1.0) + shift
}

/// A linear layer of zeros.
fn zero(path: &Path<'_>, inputs: i64, outputs: i64) -> Affine {
    Affine::constant(path, inputs, outputs, 0.0)
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_fresh_network_predicts_zero() {
        let dimensions = Dimensions {
            horizon: 5,
            action: 2,
            condition: 6,
            train_timesteps: 20,
        };
        let store = VarStore::new(Device::Cpu);
        let network = Dit::small(dimensions).unwrap();
        let network = network.build(&store.root(), dimensions).unwrap();
        let sample = Tensor::ones([1, 5, 2], (Kind::Float, Device::Cpu));
        let timesteps = Tensor::from_slice(&[-1_i64, 0, 3, 9, 19]).view([1, 5]);
        let condition = Tensor::ones([1, 6], (Kind::Float, Device::Cpu));
        let output = tch::no_grad(|| network.forward(&sample, &timesteps, &condition));
        assert_eq!(output, Tensor::zeros_like(&sample));
    }
}
