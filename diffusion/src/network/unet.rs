//! The one-dimensional conditional U-Net in three variants of conditioning.
//!
//! Stages as in Diffusion Policy (Chi et al. 2023): two residual blocks a stage, strided
//! convolutions down, transposed convolutions up, skip connections from the second block of every
//! stage but the first. The three variants differ in how noise levels enter:
//! [`super::NetworkKind`]. Observations may also be told to the positions that they belong to
//! ("local conditioning").

use tch::Tensor;
use tch::nn::Path;

use super::blocks::{
    Affine, BlockConfig, ConvolutionBlock, Modulation, ModulationSizes, ResidualBlock, sinusoid,
};
use super::{Activation, Dimensions, NetworkConfig, NetworkKind};

/// A conditional U-Net over the positions of a plan.
#[derive(Debug)]
pub struct UNet {
    kind: NetworkKind,
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
    pub(super) fn new(root: &Path<'_>, config: &NetworkConfig, dimensions: Dimensions) -> Self {
        let width = config.level_embedding;
        let modulation = match config.kind {
            NetworkKind::PerPosition => ModulationSizes::PerPosition {
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
        let level_encoder = match config.kind {
            NetworkKind::StreamingDiffusionPolicy => [
                Affine::linear(&(&encoder / 3), dimensions.horizon * width, 4 * width),
                Affine::linear(&(&encoder / 5), 4 * width, width),
            ],
            _ => [
                Affine::linear(&(&encoder / 1), width, 4 * width),
                Affine::linear(&(&encoder / 3), 4 * width, width),
            ],
        };
        let observation_encoder = (config.kind == NetworkKind::PerPosition).then(|| {
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
            kind: config.kind,
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

    /// Computes the features of all noise levels once. Call it when the parameters are final.
    pub(super) fn cache_levels(&mut self, train_timesteps: i64) {
        if self.kind == NetworkKind::PerPosition {
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
            (NetworkKind::PerPosition, Some([first, second])) => {
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
            (NetworkKind::StreamingDiffusionPolicy, _) => {
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
