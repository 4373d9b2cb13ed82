//! The one-dimensional conditional U-Net in three variants of conditioning.
//!
//! Stages as in Diffusion Policy (Chi et al. 2023): two residual blocks a stage, strided
//! convolutions down, transposed convolutions up, skip connections from the second block of every
//! stage but the first. The three variants differ in how noise levels enter:
//! [`UNetKind`]. Observations may also be told to the positions that they belong to
//! ("local conditioning").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::Path;

use crate::error::check_option;
use crate::network::architecture::check_horizon;
use crate::network::blocks::{
    Affine, BlockConfig, ConvolutionBlock, Modulation, ModulationSizes, ResidualBlock, sinusoid,
};
use crate::network::{Activation, Architecture, Dimensions, NetworkModule};
use crate::{Error, Result};

/// How noise levels and observations enter a U-Net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UNetKind {
    /// Diffusion Policy's ConditionalUnet1D: one noise level for the whole plan.
    DiffusionPolicy,
    /// Streaming Diffusion Policy's variant: the sinusoids of all positions are concatenated into
    /// one global condition, which ties the weights to the horizon.
    StreamingDiffusionPolicy,
    /// Each position is modulated by its own noise level (as in RNR-DP) and by the observation.
    PerPosition,
}

/// Sizes of a U-Net, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
// Within the table of its kind, which has a key more.
#[schemars(inline)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Channels of every resolution stage, for example [256, 512, 1024].
    pub channels: Vec<i64>,
    /// Width of the noise level's sinusoid and embedding; even.
    pub level_embedding: i64,
    /// Width of the encoded observation (`per_position` only).
    pub observation_embedding: i64,
    /// Width of the convolutions; odd.
    pub kernel_size: i64,
    /// Groups of the group normalisation; every entry of `channels` is a multiple of it.
    pub groups: i64,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether the modulation scales as well as shifts.
    pub modulation_scale: bool,
    /// Observations that the condition consists of, where they are told to the first positions of the
    /// plan, each its own, in place of to all positions alike (`diffusion_policy` only; there it is
    /// called local conditioning).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_observation_steps: Option<i64>,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self {
            channels: vec![256, 512, 1024],
            level_embedding: 256,
            observation_embedding: 256,
            kernel_size: 5,
            groups: 8,
            activation: Activation::default(),
            modulation_scale: true,
            local_observation_steps: None,
        }
    }
}

impl UNetConfig {
    /// Two resolution stages of 16 and 32 channels.
    fn small() -> Self {
        Self {
            channels: vec![16, 32],
            level_embedding: 16,
            observation_embedding: 16,
            kernel_size: 3,
            activation: Activation::Silu,
            ..Self::default()
        }
    }

    /// Checks every value, and that the horizon can be halved as often as needed.
    fn check(&self, kind: UNetKind, dimensions: Dimensions) -> Result<()> {
        if let Some(steps) = self.local_observation_steps {
            let key = "network.local_observation_steps";
            let knows = kind == UNetKind::DiffusionPolicy;
            let expected = "network.kind diffusion_policy, or absent";
            check_option(knows, key, "set", expected)?;
            let told = (1..=dimensions.horizon).contains(&steps);
            let fits = told && dimensions.condition % steps == 0;
            let expected = "plan.observation_steps, at most plan.horizon";
            check_option(fits, key, steps, expected)?;
        }
        check_option(
            self.groups >= 1,
            "network.groups",
            self.groups,
            "at least 1",
        )?;
        let usable = |width: &i64| *width > 0 && width % self.groups == 0 && *width <= 1 << 14;
        check_option(
            (1..=6).contains(&self.channels.len()) && self.channels.iter().all(usable),
            "network.channels",
            format!("{:?}", self.channels),
            "1 to 6 positive multiples of network.groups",
        )?;
        for (key, width) in [
            ("network.level_embedding", self.level_embedding),
            ("network.observation_embedding", self.observation_embedding),
        ] {
            let fits = width >= 4 && width % 2 == 0 && width <= 1 << 14;
            check_option(fits, key, width, "an even number from 4 to 16384")?;
        }
        let kernel = self.kernel_size;
        let fits = kernel >= 1 && kernel % 2 == 1 && kernel <= 31;
        check_option(
            fits,
            "network.kernel_size",
            kernel,
            "an odd number from 1 to 31",
        )?;
        let stages = self.channels.len();
        let multiple = 1_i64 << (stages - 1);
        let horizon = dimensions.horizon;
        if check_horizon(horizon).is_err() || horizon % multiple != 0 {
            let lower = (horizon / multiple * multiple).max(multiple);
            return Err(Error::Horizon {
                horizon,
                stages,
                multiple,
                lower,
                upper: lower + multiple,
            });
        }
        Ok(())
    }
}

/// The architecture of one kind of U-Net.
macro_rules! architecture {
    ($(#[$doc:meta])* $name:ident, $kind:expr, per_position: $per_position:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub UNetConfig);

        impl From<UNetConfig> for $name {
            fn from(config: UNetConfig) -> Self {
                Self(config)
            }
        }

        impl Architecture for $name {
            fn small(_dimensions: Dimensions) -> Option<Self> {
                Some(Self(UNetConfig::small()))
            }

            fn check(&self, dimensions: Dimensions) -> Result<()> {
                self.0.check($kind, dimensions)
            }

            fn build(
                &self,
                root: &Path<'_>,
                dimensions: Dimensions,
            ) -> Result<Box<dyn NetworkModule>> {
                Ok(Box::new(UNet::new(root, $kind, &self.0, dimensions)))
            }

            fn takes_levels_per_position(&self) -> bool {
                $per_position
            }

            fn summary(&self) -> String {
                format!("channels {:?}", self.0.channels)
            }
        }
    };
}

architecture! {
    /// [`UNetKind::DiffusionPolicy`].
    DiffusionPolicyUNet, UNetKind::DiffusionPolicy, per_position: false
}
architecture! {
    /// [`UNetKind::StreamingDiffusionPolicy`].
    StreamingUNet, UNetKind::StreamingDiffusionPolicy, per_position: true
}
architecture! {
    /// [`UNetKind::PerPosition`].
    PerPositionUNet, UNetKind::PerPosition, per_position: true
}

/// A conditional U-Net over the positions of a plan.
#[derive(Debug)]
pub struct UNet {
    kind: UNetKind,
    config: UNetConfig,
    activation: Activation,
    level_width: i64,
    level_encoder: [Affine; 2],
    observation_encoder: Option<[Affine; 2]>,
    /// Features of all timesteps from -1 on, after their activation; see [`UNet::cache_levels`].
    level_cache: Option<Tensor>,
    local: Option<LocalCondition>,
    down: Vec<DownStage>,
    middle: [ResidualBlock; 2],
    up: Vec<UpStage>,
    final_block: ConvolutionBlock,
    final_projection: Affine,
}

/// Observations as features of the positions that they belong to.
#[derive(Debug)]
struct LocalCondition {
    /// Observations, To: those of the first To positions.
    steps: i64,
    horizon: i64,
    block: ResidualBlock,
    /// For the way up, where the published code never adds it; here so that its weights load.
    _unused: ResidualBlock,
}

impl LocalCondition {
    /// From [B, To Do] to [B, C, Tp].
    fn forward(&self, condition: &Tensor, modulation: &Modulation) -> Tensor {
        let rows = condition.view([condition.size()[0], self.steps, -1]);
        let rows = rows.transpose(1, 2);
        let rows = rows.constant_pad_nd([0, self.horizon - self.steps]);
        self.block.forward(&rows, modulation, 0)
    }
}

#[derive(Debug)]
struct DownStage {
    blocks: [ResidualBlock; 2],
    halve: Option<Affine>,
}

#[derive(Debug)]
struct UpStage {
    blocks: [ResidualBlock; 2],
    double: Affine,
}

impl UNet {
    fn new(root: &Path<'_>, kind: UNetKind, config: &UNetConfig, dimensions: Dimensions) -> Self {
        let width = config.level_embedding;
        let modulation = match kind {
            UNetKind::PerPosition => ModulationSizes::PerPosition {
                level: width,
                observation: config.observation_embedding,
            },
            _ if config.local_observation_steps.is_some() => ModulationSizes::Global(width),
            _ => ModulationSizes::Global(width + dimensions.condition),
        };
        let block = BlockConfig {
            kernel: config.kernel_size,
            groups: config.groups,
            scale: config.modulation_scale,
            activation: config.activation,
            modulation,
        };
        let encoder = root / "diffusion_step_encoder";
        let level_encoder = match kind {
            UNetKind::StreamingDiffusionPolicy => [
                Affine::linear(&(&encoder / 3), dimensions.horizon * width, 4 * width),
                Affine::linear(&(&encoder / 5), 4 * width, width),
            ],
            _ => [
                Affine::linear(&(&encoder / 1), width, 4 * width),
                Affine::linear(&(&encoder / 3), 4 * width, width),
            ],
        };
        let observation_encoder = (kind == UNetKind::PerPosition).then(|| {
            let path = root / "observation_encoder";
            let hidden = 2 * config.observation_embedding;
            [
                Affine::linear(&(&path / 0), dimensions.condition, hidden),
                Affine::linear(&(&path / 2), hidden, config.observation_embedding),
            ]
        });
        let channels = &config.channels;
        let stages = channels.len();
        let widest = channels[stages - 1];
        let inputs = |stage: usize| {
            if stage == 0 {
                dimensions.action
            } else {
                channels[stage - 1]
            }
        };
        let down = (0..stages)
            .map(|stage| {
                let path = root / "down_modules" / stage as i64;
                let outputs = channels[stage];
                DownStage {
                    blocks: [
                        ResidualBlock::new(&(&path / 0), inputs(stage), outputs, block),
                        ResidualBlock::new(&(&path / 1), outputs, outputs, block),
                    ],
                    halve: (stage + 1 < stages)
                        .then(|| Affine::convolution(&(&path / 2 / "conv"), outputs, outputs, 3)),
                }
            })
            .collect();
        let middle = [0, 1].map(|index| {
            ResidualBlock::new(
                &(root / "mid_modules" / index as i64),
                widest,
                widest,
                block,
            )
        });
        let up = (1..stages)
            .rev()
            .enumerate()
            .map(|(index, stage)| {
                let path = root / "up_modules" / index as i64;
                let outputs = channels[stage - 1];
                UpStage {
                    blocks: [
                        ResidualBlock::new(&(&path / 0), 2 * channels[stage], outputs, block),
                        ResidualBlock::new(&(&path / 1), outputs, outputs, block),
                    ],
                    double: Affine::transposed(&(&path / 2 / "conv"), outputs, 4),
                }
            })
            .collect();
        let local = config.local_observation_steps.map(|steps| {
            let block = |index: i64| {
                let (path, inputs) = (
                    root / "local_cond_encoder" / index,
                    dimensions.condition / steps,
                );
                ResidualBlock::new(&path, inputs, channels[0], block)
            };
            LocalCondition {
                steps,
                horizon: dimensions.horizon,
                block: block(0),
                _unused: block(1),
            }
        });
        let last = root / "final_conv";
        Self {
            kind,
            config: config.clone(),
            activation: config.activation,
            level_width: width,
            level_encoder,
            observation_encoder,
            level_cache: None,
            local,
            down,
            middle,
            up,
            final_block: ConvolutionBlock::new(&(&last / 0), channels[0], channels[0], block),
            final_projection: Affine::convolution(&(&last / 1), channels[0], dimensions.action, 1),
        }
    }

    /// How noise levels and observations enter.
    pub fn kind(&self) -> UNetKind {
        self.kind
    }

    /// The sizes.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Computes the features of all noise levels once. Call it when the parameters are final.
    fn cache_levels(&mut self, train_timesteps: i64) {
        if self.kind == UNetKind::PerPosition {
            let device = self.final_projection.device();
            let all = Tensor::arange_start(-1, train_timesteps, (tch::Kind::Int64, device));
            self.level_cache = Some(tch::no_grad(|| self.level_features(&all)));
        }
    }

    /// Prediction [B, Tp, Da] for `sample` [B, Tp, Da], `timesteps` [B, Tp] and `condition` [B, C].
    pub fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        self.forward_observed(sample, timesteps, condition, &mut |_, _| {})
    }

    /// As [`UNet::forward`], showing the output of every stage to `observe` under the name of the
    /// module in the published implementations, in [B, C, T] layout.
    pub fn forward_observed(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        condition: &Tensor,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Tensor {
        let modulation = self.modulation(timesteps, condition, observe);
        let mut hidden = sample.transpose(1, 2);
        let mut skips = Vec::with_capacity(self.down.len());
        for (stage, down) in self.down.iter().enumerate() {
            for (index, block) in down.blocks.iter().enumerate() {
                hidden = block.forward(&hidden, &modulation, stage);
                observe(&format!("down_modules.{stage}.{index}"), &hidden);
                if let (0, 0, Some(local)) = (stage, index, &self.local) {
                    hidden += local.forward(condition, &modulation);
                }
            }
            skips.push(hidden.shallow_clone());
            if let Some(halve) = &down.halve {
                hidden = halve.apply_convolution(&hidden, 2, 1);
            }
            observe(&format!("down_modules.{stage}.2"), &hidden);
        }
        let deepest = self.down.len() - 1;
        for (index, block) in self.middle.iter().enumerate() {
            hidden = block.forward(&hidden, &modulation, deepest);
            observe(&format!("mid_modules.{index}"), &hidden);
        }
        for (stage, up) in self.up.iter().enumerate() {
            let resolution = deepest - stage;
            hidden = Tensor::cat(&[&hidden, &skips[resolution]], 1);
            for (index, block) in up.blocks.iter().enumerate() {
                hidden = block.forward(&hidden, &modulation, resolution);
                observe(&format!("up_modules.{stage}.{index}"), &hidden);
            }
            hidden = up.double.apply_transposed(&hidden);
            observe(&format!("up_modules.{stage}.2"), &hidden);
        }
        hidden = self.final_block.forward(&hidden);
        observe("final_conv.0", &hidden);
        self.final_projection
            .apply_convolution(&hidden, 1, 0)
            .transpose(1, 2)
    }

    fn modulation(
        &self,
        timesteps: &Tensor,
        condition: &Tensor,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Modulation {
        let global = |levels: Tensor, observe: &mut dyn FnMut(&str, &Tensor)| {
            observe("diffusion_step_encoder", &levels);
            let features = match &self.local {
                Some(_) => levels,
                None => Tensor::cat(&[&levels, condition], -1),
            };
            Modulation::Global(self.activation.apply(&features))
        };
        match (self.kind, &self.observation_encoder) {
            (UNetKind::PerPosition, Some([first, second])) => {
                let mut features = match &self.level_cache {
                    Some(cache) => {
                        let index = (timesteps + 1).flatten(0, 1);
                        let size = timesteps.size();
                        cache
                            .index_select(0, &index)
                            .view([size[0], size[1], self.level_width])
                    }
                    None => self.level_features(timesteps),
                };
                features = features.transpose(1, 2).contiguous();
                let mut levels = vec![features.shallow_clone()];
                for _ in 1..self.down.len() {
                    features = features.avg_pool1d(2, 2, 0, false, true);
                    levels.push(features.shallow_clone());
                }
                let hidden = self.activation.apply(&first.apply_linear(condition));
                let observation = self.activation.apply(&second.apply_linear(&hidden));
                Modulation::PerPosition {
                    levels,
                    observation,
                }
            }
            (UNetKind::StreamingDiffusionPolicy, _) => {
                let sinusoids = sinusoid(timesteps, self.level_width).flatten(1, 2);
                global(self.encode_levels(&sinusoids), observe)
            }
            _ => {
                let sinusoids = sinusoid(&timesteps.select(1, 0), self.level_width);
                global(self.encode_levels(&sinusoids), observe)
            }
        }
    }

    /// Features of noise levels after their activation: [..] int64 to [.., level embedding].
    fn level_features(&self, timesteps: &Tensor) -> Tensor {
        self.activation
            .apply(&self.encode_levels(&sinusoid(timesteps, self.level_width)))
    }

    fn encode_levels(&self, sinusoids: &Tensor) -> Tensor {
        let [first, second] = &self.level_encoder;
        second.apply_linear(&self.activation.apply(&first.apply_linear(sinusoids)))
    }
}

impl NetworkModule for UNet {
    fn forward(&self, sample: &Tensor, timesteps: &Tensor, condition: &Tensor) -> Tensor {
        Self::forward(self, sample, timesteps, condition)
    }

    fn freeze(&mut self, dimensions: Dimensions) {
        self.cache_levels(dimensions.train_timesteps);
    }

    fn as_unet(&self) -> Option<&UNet> {
        Some(self)
    }
}
