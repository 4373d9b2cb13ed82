//! The transformer of Diffusion Policy (Chi et al. 2023, appendix A): every position of the plan is a
//! token; noise level and observations are the memory that the decoder looks at.
//!
//! Layers normalise before they attend ("pre-norm"), with GELU between their two linear maps. With
//! `causal` a position sees the positions up to itself, and of the observations those up to its own
//! time; without, everything. Dropout belongs to training and is left out. The variant without a
//! memory (time as a token, no observations) is not there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::error::check_option;
use crate::network::architecture::check_horizon;
use crate::network::blocks::{Affine, sinusoid};
use crate::network::legacy::LegacyTable;
use crate::network::{Activation, Architecture, Dimensions, NetworkModule};

/// The architecture, whose sizes stand in a table of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "LegacyTable<TransformerConfig>")]
#[schemars(!try_from, deny_unknown_fields)]
pub struct TransformerNetwork {
    /// The sizes.
    pub transformer: TransformerConfig,
}

impl TryFrom<LegacyTable<TransformerConfig>> for TransformerNetwork {
    type Error = String;

    fn try_from(table: LegacyTable<TransformerConfig>) -> std::result::Result<Self, String> {
        let transformer = table.sizes("transformer", "sizes of the transformer")?;
        Ok(Self { transformer })
    }
}

impl Architecture for TransformerNetwork {
    fn small(dimensions: Dimensions) -> Option<Self> {
        let transformer = TransformerConfig {
            observation_steps: if dimensions.condition % 2 == 0 { 2 } else { 1 },
            layers: 2,
            memory_layers: 0,
            heads: 2,
            width: 16,
            causal: true,
        };
        Some(Self { transformer })
    }

    fn check(&self, dimensions: Dimensions) -> Result<()> {
        self.transformer.check(dimensions)
    }

    fn build(&self, root: &Path<'_>, dimensions: Dimensions) -> Result<Box<dyn NetworkModule>> {
        Ok(Box::new(Transformer::new(
            root,
            self.transformer,
            dimensions,
        )))
    }

    fn takes_levels_per_position(&self) -> bool {
        false
    }

    fn summary(&self) -> String {
        format!("{:?}", self.transformer)
    }
}

/// Sizes of a transformer, as written in TOML and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Observations in the condition, To; each is a token.
    pub observation_steps: i64,
    /// Layers of the decoder.
    #[serde(default = "default_layers")]
    pub layers: i64,
    /// Layers of self-attention over the memory; 0 for two linear maps in their place.
    #[serde(default)]
    pub memory_layers: i64,
    /// Heads of every attention; `width` is a multiple of it.
    #[serde(default = "default_heads")]
    pub heads: i64,
    /// Numbers per token; even.
    #[serde(default = "default_width")]
    pub width: i64,
    /// Whether attention looks at the past only.
    #[serde(default = "default_causal")]
    pub causal: bool,
}

fn default_layers() -> i64 {
    8
}
fn default_heads() -> i64 {
    4
}
fn default_width() -> i64 {
    256
}
fn default_causal() -> bool {
    true
}

impl TransformerConfig {
    /// Checks every value, and that the condition is made of whole observations.
    ///
    /// # Errors
    /// The first value out of its range.
    fn check(&self, dimensions: Dimensions) -> Result<()> {
        let steps = self.observation_steps;
        let whole = steps >= 1 && dimensions.condition % steps == 0;
        let condition = dimensions.condition;
        let expected = format!("a divisor of the condition's {condition} numbers");
        check_option(
            whole,
            "network.transformer.observation_steps",
            steps,
            expected,
        )?;
        let (width, heads) = (self.width, self.heads);
        let wide = width >= 4 && width % 2 == 0 && width <= 1 << 14;
        let expected = "an even number from 4 to 16384";
        check_option(wide, "network.transformer.width", width, expected)?;
        let divides = heads >= 1 && width % heads == 0;
        let expected = format!("a divisor of the width {width}");
        check_option(divides, "network.transformer.heads", heads, expected)?;
        for (key, count, least) in [
            ("network.transformer.layers", self.layers, 1),
            ("network.transformer.memory_layers", self.memory_layers, 0),
        ] {
            let fits = (least..=64).contains(&count);
            check_option(fits, key, count, format!("{least} to 64"))?;
        }
        check_horizon(dimensions.horizon)
    }
}

/// A transformer over the positions of a plan.
#[derive(Debug)]
pub struct Transformer {
    config: TransformerConfig,
    positions: Affine,
    position_embedding: Tensor,
    observations: Affine,
    memory_embedding: Tensor,
    memory: MemoryEncoder,
    layers: Vec<Layer>,
    norm: Norm,
    head: Affine,
    /// Added to the scores of attention, 0 or minus infinity: [Tp, Tp] and [Tp, 1 + To].
    masks: Option<[Tensor; 2]>,
}

/// What becomes of the memory before the decoder sees it.
#[derive(Debug)]
enum MemoryEncoder {
    Linear([Affine; 2]),
    Attention(Vec<Layer>),
}

impl Transformer {
    fn new(root: &Path<'_>, config: TransformerConfig, dimensions: Dimensions) -> Self {
        let TransformerConfig { width, heads, .. } = config;
        let steps = config.observation_steps;
        let embedding = Init::Randn {
            mean: 0.0,
            stdev: 0.02,
        };
        let layers = |name: &str, count: i64, looks_at_memory: bool| {
            let path = root / name / "layers";
            (0..count)
                .map(|index| Layer::new(&(&path / index), width, heads, looks_at_memory))
                .collect()
        };
        let memory = if config.memory_layers == 0 {
            let path = root / "encoder";
            MemoryEncoder::Linear([
                Affine::linear(&(&path / 0), width, 4 * width),
                Affine::linear(&(&path / 2), 4 * width, width),
            ])
        } else {
            MemoryEncoder::Attention(layers("encoder", config.memory_layers, false))
        };
        let device = root.device();
        Self {
            config,
            positions: Affine::linear(&(root / "input_emb"), dimensions.action, width),
            position_embedding: root.var("pos_emb", &[1, dimensions.horizon, width], embedding),
            observations: Affine::linear(
                &(root / "cond_obs_emb"),
                dimensions.condition / steps,
                width,
            ),
            memory_embedding: root.var("cond_pos_emb", &[1, 1 + steps, width], embedding),
            memory,
            layers: layers("decoder", config.layers, true),
            norm: Norm::new(&(root / "ln_f"), width),
            head: Affine::linear(&(root / "head"), width, dimensions.action),
            masks: config.causal.then(|| {
                let horizon = dimensions.horizon;
                // The noise level stands before the observations, and every position sees it.
                [
                    mask(horizon, horizon, 0, device),
                    mask(horizon, 1 + steps, 1, device),
                ]
            }),
        }
    }

    /// Prediction [B, Tp, Da] for `sample` [B, Tp, Da], `timesteps` [B, Tp], of which the first
    /// counts for all, and `condition` [B, To Do].
    pub fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        let masks = self.masks.as_ref();
        let level = sinusoid(&timesteps.narrow(1, 0, 1), self.config.width);
        let steps = self.config.observation_steps;
        let observed = condition.view([condition.size()[0], steps, -1]);
        let observed = self.observations.apply_linear(&observed);
        let mut memory = Tensor::cat(&[level, observed], 1) + &self.memory_embedding;
        match &self.memory {
            MemoryEncoder::Linear([first, second]) => {
                let hidden = Activation::Mish.apply(&first.apply_linear(&memory));
                memory = second.apply_linear(&hidden);
            }
            MemoryEncoder::Attention(layers) => {
                for layer in layers {
                    memory = layer.forward(memory, None, None);
                }
            }
        }
        let mut plan = self.positions.apply_linear(sample) + &self.position_embedding;
        for layer in &self.layers {
            let looked_at = (&memory, masks.map(|[_, memory]| memory));
            plan = layer.forward(plan, masks.map(|[plan, _]| plan), Some(looked_at));
        }
        self.head.apply_linear(&self.norm.forward(&plan))
    }
}

impl NetworkModule for Transformer {
    fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        Self::forward(self, sample, timesteps, condition)
    }
}

/// Minus infinity where `column` - `ahead` lies behind `row`, 0 elsewhere: [rows, columns].
fn mask(rows: i64, columns: i64, ahead: i64, device: Device) -> Tensor {
    let row = Tensor::arange(rows, (Kind::Int64, device)).unsqueeze(1);
    let column = Tensor::arange(columns, (Kind::Int64, device)) - ahead;
    let hidden = column.unsqueeze(0).greater_tensor(&row);
    Tensor::zeros([rows, columns], (Kind::Float, device)).masked_fill(&hidden, f64::NEG_INFINITY)
}

/// Self-attention, attention to the memory, and two linear maps, each around a shortcut.
#[derive(Debug)]
struct Layer {
    itself: (Norm, Attention),
    memory: Option<(Norm, Attention)>,
    norm: Norm,
    linear: [Affine; 2],
}

impl Layer {
    fn new(path: &Path<'_>, width: i64, heads: i64, looks_at_memory: bool) -> Self {
        let norm = |index: i64| Norm::new(&(path / format!("norm{index}")), width);
        let attention = |name: &str| Attention::new(&(path / name), width, heads);
        Self {
            itself: (norm(1), attention("self_attn")),
            memory: looks_at_memory.then(|| (norm(2), attention("multihead_attn"))),
            norm: norm(if looks_at_memory { 3 } else { 2 }),
            linear: [
                Affine::linear(&(path / "linear1"), width, 4 * width),
                Affine::linear(&(path / "linear2"), 4 * width, width),
            ],
        }
    }

    /// `input` is [B, T, E]; the memory [B, M, E] comes with its mask [T, M].
    fn forward(
        &self,
        input: Tensor,
        mask: Option<&Tensor>,
        memory: Option<(&Tensor, Option<&Tensor>)>,
    ) -> Tensor {
        let (norm, attention) = &self.itself;
        let normalised = norm.forward(&input);
        let mut hidden = input + attention.forward(&normalised, &normalised, mask);
        if let (Some((norm, attention)), Some((memory, mask))) = (&self.memory, memory) {
            hidden = &hidden + attention.forward(&norm.forward(&hidden), memory, mask);
        }
        let [first, second] = &self.linear;
        let inner = first.apply_linear(&self.norm.forward(&hidden)).gelu("none");
        hidden + second.apply_linear(&inner)
    }
}

/// Attention with several heads (Vaswani et al. 2017), parameters laid out as in PyTorch: queries,
/// keys and values below each other.
#[derive(Debug)]
struct Attention {
    weight: Tensor,
    bias: Tensor,
    output: Affine,
    width: i64,
    heads: i64,
}

impl Attention {
    fn new(path: &Path<'_>, width: i64, heads: i64) -> Self {
        let bound = (6.0 / (4 * width) as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Self {
            weight: path.var("in_proj_weight", &[3 * width, width], uniform),
            bias: path.var("in_proj_bias", &[3 * width], Init::Const(0.0)),
            output: Affine::linear(&(path / "out_proj"), width, width),
            width,
            heads,
        }
    }

    /// `asking` is [B, T, E], `asked` [B, S, E], `mask` [T, S].
    fn forward(&self, asking: &Tensor, asked: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let width = self.width;
        let project = |input: &Tensor, first: i64, parts: i64| {
            let rows = |all: &Tensor| all.narrow(0, first * width, parts * width);
            input.linear(&rows(&self.weight), Some(&rows(&self.bias)))
        };
        let by_head = |input: Tensor| {
            let size = input.size();
            let split = [size[0], size[1], self.heads, width / self.heads];
            input.reshape(split).transpose(1, 2)
        };
        let queries = by_head(project(asking, 0, 1));
        let both = project(asked, 1, 2);
        let keys = by_head(both.narrow(2, 0, width));
        let values = by_head(both.narrow(2, width, width));
        let mixed = Tensor::scaled_dot_product_attention(
            &queries, &keys, &values, mask, 0.0, false, None, false,
        );
        self.output
            .apply_linear(&mixed.transpose(1, 2).flatten(2, 3))
    }
}

/// Layer normalisation.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    fn new(path: &Path<'_>, width: i64) -> Self {
        Self {
            weight: path.var("weight", &[width], Init::Const(1.0)),
            bias: path.var("bias", &[width], Init::Const(0.0)),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let shape = self.weight.size();
        input.layer_norm(shape, Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;

    use super::*;

    const DIMENSIONS: Dimensions = Dimensions {
        horizon: 5,
        action: 2,
        condition: 6,
        train_timesteps: 20,
    };

    fn config(causal: bool, memory_layers: i64) -> TransformerConfig {
        TransformerConfig {
            observation_steps: 3,
            layers: 2,
            memory_layers,
            heads: 2,
            width: 8,
            causal,
        }
    }

    fn evaluate(network: &Transformer, sample: &Tensor, condition: &Tensor) -> Tensor {
        let timesteps = Tensor::full([1, 5], 7, (Kind::Int64, Device::Cpu));
        tch::no_grad(|| network.forward(sample, &timesteps, condition))
    }

    /// Positions whose output changes when one input does.
    fn touched(before: &Tensor, after: &Tensor) -> Vec<bool> {
        let change = (before - after)
            .abs()
            .sum_dim_intlist([0_i64, 2].as_slice(), false, None);
        Vec::<f32>::try_from(change)
            .unwrap()
            .iter()
            .map(|value| *value > 0.0)
            .collect()
    }

    #[test]
    fn causal_attention_looks_at_the_past_alone() {
        for memory_layers in [0, 1] {
            let store = VarStore::new(Device::Cpu);
            let network = Transformer::new(&store.root(), config(true, memory_layers), DIMENSIONS);
            let (sample, condition) = (
                Tensor::rand([1, 5, 2], (Kind::Float, Device::Cpu)),
                Tensor::rand([1, 6], (Kind::Float, Device::Cpu)),
            );
            let before = evaluate(&network, &sample, &condition);
            assert_eq!(before.size(), [1, 5, 2]);
            let other = sample.copy();
            let _ = other.get(0).get(3).fill_(2.0);
            let after = evaluate(&network, &other, &condition);
            assert_eq!(touched(&before, &after), [false, false, false, true, true]);
            if memory_layers == 0 {
                // The last of three observations belongs to position 2.
                let other = condition.copy();
                let _ = other.narrow(1, 4, 2).fill_(2.0);
                let after = evaluate(&network, &sample, &other);
                assert_eq!(touched(&before, &after), [false, false, true, true, true]);
            }
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let check = |change: fn(&mut TransformerConfig)| {
            let mut config = config(true, 0);
            change(&mut config);
            config.check(DIMENSIONS).map_err(|error| error.to_string())
        };
        assert_eq!(check(|_| {}), Ok(()));
        for (change, key) in [
            (
                (|config| config.heads = 3) as fn(&mut TransformerConfig),
                "heads is 3",
            ),
            (|config| config.width = 7, "width is 7"),
            (
                |config| config.observation_steps = 4,
                "observation_steps is 4",
            ),
            (|config| config.layers = 0, "layers is 0"),
        ] {
            let message = check(change).unwrap_err();
            assert!(message.contains(key), "{message}");
        }
    }
}
