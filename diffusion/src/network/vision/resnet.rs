//! Residual networks of basic blocks (He et al. 2016), up to the map before their pooling.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::Path;
use tch::nn::init::{DEFAULT_KAIMING_NORMAL, Init};

use super::VisionConfig;

/// Which residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// Two blocks in each of four stages.
    Resnet18,
    /// 3, 4, 6 and 3 blocks.
    Resnet34,
}

/// Normalisation after every convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackboneNorm {
    /// Groups of 16 channels, whose statistics are those of the image (Wu and He 2018).
    Group,
    /// The statistics of the training data, kept beside the weights.
    Batch,
}

/// A residual network without its pooling and classifier: [B, 3, H, W] to a map of as many channels
/// and as coarse as its stages make it; four of width 64: [B, 512, H / 32, W / 32].
#[derive(Debug)]
pub(super) struct ResNet {
    stem: Convolution,
    stem_norm: Norm,
    blocks: Vec<BasicBlock>,
}

impl ResNet {
    /// Parameters are named as in `torch.nn.Sequential(*children[:-2])` of torchvision's networks.
    pub(super) fn new(path: &Path<'_>, config: &VisionConfig) -> Self {
        let (width, norm) = (config.width, config.norm);
        let counts = match config.backbone {
            Backbone::Resnet18 => [2, 2, 2, 2],
            Backbone::Resnet34 => [3, 4, 6, 3],
        };
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (stage, count) in counts.into_iter().take(config.stages).enumerate() {
            let outputs = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let path = path / (4 + stage) / index;
                blocks.push(BasicBlock::new(&path, inputs, outputs, stride, norm));
                inputs = outputs;
            }
        }
        Self {
            stem: Convolution::new(&(path / 0), [3, width], 7, 2),
            stem_norm: Norm::new(&(path / 1), width, norm),
            blocks,
        }
    }

    pub(super) fn forward(&self, images: &Tensor) -> Tensor {
        let stem = self.stem_norm.apply(&self.stem.apply(images)).relu();
        let mut map = stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        for block in &self.blocks {
            map = block.forward(&map);
        }
        map
    }
}

/// Two convolutions with a shortcut.
#[derive(Debug)]
struct BasicBlock {
    first: (Convolution, Norm),
    second: (Convolution, Norm),
    shortcut: Option<(Convolution, Norm)>,
}

impl BasicBlock {
    fn new(path: &Path<'_>, inputs: i64, outputs: i64, stride: i64, norm: BackboneNorm) -> Self {
        let layer = |convolution: &Path<'_>, normalisation: &Path<'_>, inputs, kernel, stride| {
            (
                Convolution::new(convolution, [inputs, outputs], kernel, stride),
                Norm::new(normalisation, outputs, norm),
            )
        };
        Self {
            first: layer(&(path / "conv1"), &(path / "bn1"), inputs, 3, stride),
            second: layer(&(path / "conv2"), &(path / "bn2"), outputs, 3, 1),
            shortcut: (stride != 1 || inputs != outputs).then(|| {
                let path = path / "downsample";
                layer(&(&path / 0), &(&path / 1), inputs, 1, stride)
            }),
        }
    }

    fn forward(&self, map: &Tensor) -> Tensor {
        let apply = |(convolution, norm): &(Convolution, Norm), map: &Tensor| {
            norm.apply(&convolution.apply(map))
        };
        let hidden = apply(&self.first, map).relu();
        let change = apply(&self.second, &hidden);
        let kept = match &self.shortcut {
            Some(shortcut) => apply(shortcut, map),
            None => map.shallow_clone(),
        };
        (change + kept).relu()
    }
}

/// A convolution over pixels without bias, padded so that stride 1 keeps the size.
#[derive(Debug)]
struct Convolution {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

impl Convolution {
    fn new(path: &Path<'_>, [inputs, outputs]: [i64; 2], kernel: i64, stride: i64) -> Self {
        let shape = [outputs, inputs, kernel, kernel];
        Self {
            weight: path.var("weight", &shape, DEFAULT_KAIMING_NORMAL),
            stride,
            padding: kernel / 2,
        }
    }

    fn apply(&self, map: &Tensor) -> Tensor {
        let none = None::<Tensor>;
        map.conv2d(&self.weight, none, self.stride, self.padding, 1, 1)
    }
}

#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    /// Mean and variance of batch normalisation.
    statistics: Option<(Tensor, Tensor)>,
}

/// Added to variances, as in PyTorch.
const EPSILON: f64 = 1e-5;

impl Norm {
    fn new(path: &Path<'_>, channels: i64, norm: BackboneNorm) -> Self {
        Self {
            weight: path.var("weight", &[channels], Init::Const(1.0)),
            bias: path.var("bias", &[channels], Init::Const(0.0)),
            statistics: (norm == BackboneNorm::Batch).then(|| {
                (
                    path.zeros_no_train("running_mean", &[channels]),
                    path.ones_no_train("running_var", &[channels]),
                )
            }),
        }
    }

    fn apply(&self, map: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        match &self.statistics {
            Some((mean, variance)) => map.batch_norm(
                weight,
                bias,
                Some(mean),
                Some(variance),
                false,
                0.1,
                EPSILON,
                true,
            ),
            None => {
                let groups = self.weight.size()[0] / 16;
                map.group_norm(groups, weight, bias, EPSILON, true)
            }
        }
    }
}
