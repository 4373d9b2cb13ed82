//! Building blocks of the U-Nets: convolution, group normalisation and Mish; modulation (FiLM);
//! residual blocks; the sinusoidal embedding of a timestep.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

use super::Activation;

/// An affine map or a one-dimensional convolution with PyTorch's default initialisation:
/// uniform within 1 / sqrt(fan in).
#[derive(Debug)]
pub(crate) struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Affine {
    /// A linear layer.
    pub(crate) fn linear(path: &Path<'_>, inputs: i64, outputs: i64) -> Self {
        Self::new(path, &[outputs, inputs], outputs, inputs)
    }

    /// A linear layer whose weights and biases begin as `value`.
    pub(crate) fn constant(path: &Path<'_>, inputs: i64, outputs: i64, value: f64) -> Self {
        let init = Init::Const(value);
        Self {
            weight: path.var("weight", &[outputs, inputs], init),
            bias: path.var("bias", &[outputs], init),
        }
    }

    /// A convolution over positions.
    pub(crate) fn convolution(path: &Path<'_>, inputs: i64, outputs: i64, kernel: i64) -> Self {
        Self::new(path, &[outputs, inputs, kernel], outputs, inputs * kernel)
    }

    /// A transposed convolution over positions; its fan in counts the outputs, as in PyTorch.
    pub(crate) fn transposed(path: &Path<'_>, channels: i64, kernel: i64) -> Self {
        Self::new(
            path,
            &[channels, channels, kernel],
            channels,
            channels * kernel,
        )
    }

    fn new(path: &Path<'_>, shape: &[i64], outputs: i64, fan_in: i64) -> Self {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Self {
            weight: path.var("weight", shape, init),
            bias: path.var("bias", &[outputs], init),
        }
    }

    pub(crate) fn device(&self) -> tch::Device {
        self.weight.device()
    }

    pub(crate) fn apply_linear(&self, input: &Tensor) -> Tensor {
        input.linear(&self.weight, Some(&self.bias))
    }

    /// A linear layer along the channels of [B, C, T].
    pub(crate) fn apply_per_position(&self, input: &Tensor) -> Tensor {
        input.conv1d(&self.weight.unsqueeze(-1), Some(&self.bias), 1, 0, 1, 1)
    }

    pub(crate) fn apply_convolution(&self, input: &Tensor, stride: i64, padding: i64) -> Tensor {
        input.conv1d(&self.weight, Some(&self.bias), stride, padding, 1, 1)
    }

    pub(crate) fn apply_transposed(&self, input: &Tensor) -> Tensor {
        input.conv_transpose1d(&self.weight, Some(&self.bias), 2, 1, 0, 1, 1)
    }
}

/// Convolution, group normalisation, activation.
#[derive(Debug)]
pub(crate) struct ConvolutionBlock {
    convolution: Affine,
    norm_weight: Tensor,
    norm_bias: Tensor,
    config: BlockConfig,
}

impl ConvolutionBlock {
    pub(crate) fn new(path: &Path<'_>, inputs: i64, outputs: i64, config: BlockConfig) -> Self {
        let block = path / "block";
        let norm = &block / 1;
        Self {
            convolution: Affine::convolution(&(&block / 0), inputs, outputs, config.kernel),
            norm_weight: norm.var("weight", &[outputs], Init::Const(1.0)),
            norm_bias: norm.var("bias", &[outputs], Init::Const(0.0)),
            config,
        }
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Tensor {
        let BlockConfig {
            kernel,
            groups,
            activation,
            ..
        } = self.config;
        let normalised = self
            .convolution
            .apply_convolution(input, 1, kernel / 2)
            .group_norm(
                groups,
                Some(&self.norm_weight),
                Some(&self.norm_bias),
                1e-5,
                true,
            );
        activation.apply(&normalised)
    }
}

/// What modulates the residual blocks of one network evaluation.
#[derive(Debug)]
pub(crate) enum Modulation {
    /// One vector for all positions, after its activation: [B, C].
    Global(Tensor),
    /// Features of every position's noise level, one tensor for each resolution [B, E, T / 2^r],
    /// and of the observation [B, O], all after their activation.
    PerPosition {
        levels: Vec<Tensor>,
        observation: Tensor,
    },
}

/// Sizes of the modulation's inputs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ModulationSizes {
    Global(i64),
    PerPosition { level: i64, observation: i64 },
}

#[derive(Debug)]
enum ModulationLayer {
    Global(Affine),
    PerPosition { level: Affine, observation: Affine },
}

/// Two convolution blocks with a modulation (FiLM, Perez et al. 2018) between them and a shortcut.
#[derive(Debug)]
pub(crate) struct ResidualBlock {
    first: ConvolutionBlock,
    second: ConvolutionBlock,
    modulation: ModulationLayer,
    shortcut: Option<Affine>,
    outputs: i64,
    scale: bool,
}

/// What all residual blocks of a network have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockConfig {
    pub(crate) kernel: i64,
    pub(crate) groups: i64,
    pub(crate) scale: bool,
    pub(crate) activation: Activation,
    pub(crate) modulation: ModulationSizes,
}

impl ResidualBlock {
    pub(crate) fn new(path: &Path<'_>, inputs: i64, outputs: i64, config: BlockConfig) -> Self {
        let BlockConfig {
            scale, modulation, ..
        } = config;
        let blocks = path / "blocks";
        let width = if scale { 2 * outputs } else { outputs };
        let modulation = match modulation {
            ModulationSizes::Global(size) => {
                ModulationLayer::Global(Affine::linear(&(path / "cond_encoder" / 1), size, width))
            }
            ModulationSizes::PerPosition { level, observation } => ModulationLayer::PerPosition {
                level: Affine::linear(&(path / "level_encoder"), level, width),
                observation: Affine::linear(&(path / "observation_encoder"), observation, width),
            },
        };
        Self {
            first: ConvolutionBlock::new(&(&blocks / 0), inputs, outputs, config),
            second: ConvolutionBlock::new(&(&blocks / 1), outputs, outputs, config),
            modulation,
            shortcut: (inputs != outputs)
                .then(|| Affine::convolution(&(path / "residual_conv"), inputs, outputs, 1)),
            outputs,
            scale,
        }
    }

    /// `input` is [B, C, T / 2^resolution].
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        modulation: &Modulation,
        resolution: usize,
    ) -> Tensor {
        let hidden = self.first.forward(input);
        let terms = self.modulation_terms(modulation, resolution);
        let hidden = if self.scale {
            let (scale, shift) = (
                terms.narrow(1, 0, self.outputs),
                terms.narrow(1, self.outputs, self.outputs),
            );
            scale * hidden + shift
        } else {
            hidden + terms
        };
        let hidden = self.second.forward(&hidden);
        match &self.shortcut {
            Some(shortcut) => hidden + shortcut.apply_convolution(input, 1, 0),
            None => hidden + input,
        }
    }

    /// Scale and shift, [B, width, 1] or [B, width, T / 2^resolution].
    fn modulation_terms(&self, modulation: &Modulation, resolution: usize) -> Tensor {
        match (&self.modulation, modulation) {
            (ModulationLayer::Global(layer), Modulation::Global(vector)) => {
                layer.apply_linear(vector).unsqueeze(-1)
            }
            (
                ModulationLayer::PerPosition { level, observation },
                Modulation::PerPosition {
                    levels,
                    observation: observed,
                },
            ) => {
                level.apply_per_position(&levels[resolution])
                    + observation.apply_linear(observed).unsqueeze(-1)
            }
            _ => unreachable!("a network builds its layers and its modulation from one kind"),
        }
    }
}

/// Sinusoids of timesteps of any shape: [..] int64 to [.., width].
///
/// Frequencies fall from 1 to 1 / 10000 geometrically; sines first, then cosines (Vaswani et al.
/// 2017, in the arrangement that Diffusion Policy uses).
pub(crate) fn sinusoid(timesteps: &Tensor, width: i64) -> Tensor {
    let half = width / 2;
    let step = 10_000_f64.ln() / (half - 1) as f64;
    let frequencies = (Tensor::arange(half, (Kind::Float, timesteps.device())) * -step).exp();
    let phases = timesteps.to_kind(Kind::Float).unsqueeze(-1) * frequencies;
    Tensor::cat(&[phases.sin(), phases.cos()], -1)
}
