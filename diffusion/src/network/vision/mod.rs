//! Image encoders: from the images of cameras to the features that a denoiser is conditioned on.
//!
//! An encoder scales and crops, runs a residual network and pools its map to keypoints, to one mean
//! or by attention. It runs once per observation, not once per network evaluation. Parameter names are those
//! of LeRobot's diffusion policy, whose backbones are torchvision's.

mod pooling;
mod resnet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::{Path, VarStore};
use tch::{Device, Tensor};

pub use resnet::{Backbone, BackboneNorm};

use super::blocks::Affine;
use super::seeded;
use crate::{Error, Result};
use pooling::{AttentionPool, SpatialSoftmax};
use resnet::ResNet;

/// Configuration of the image encoders of a policy, as written in TOML and JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// The residual network.
    pub backbone: Backbone,
    /// Channels of its first stage, a multiple of 16; every further one has twice as many. 64 in the
    /// published networks.
    #[serde(
        default = "published_width",
        skip_serializing_if = "is_published_width"
    )]
    pub width: i64,
    /// Stages, 1 to 4. A map of fewer is finer: one pixel in 4 after the first, 8, 16, and 32.
    #[serde(default = "all_stages", skip_serializing_if = "is_all_stages")]
    pub stages: usize,
    /// Its normalisation.
    pub norm: BackboneNorm,
    /// Height and width that images are scaled to; absent: they are taken as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<[usize; 2]>,
    /// Whether scaling looks at all pixels that one comes from, as torchvision does since 0.17.
    #[serde(default = "antialiased", skip_serializing_if = "is_antialiased")]
    pub antialias: bool,
    /// Height and width that are cut out of the middle, after scaling; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<[usize; 2]>,
    /// From the map of features to a vector.
    pub pool: Pool,
    /// Width of a linear layer with rectifier behind the pooling; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<i64>,
    /// Whether every camera has an encoder of its own.
    #[serde(default)]
    pub separate: bool,
}

/// From the map of features [B, C, h, w] to a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Pool {
    /// Expected image coordinates of `keypoints` attention maps (Finn et al. 2016), 2 numbers each.
    SpatialSoftmax {
        /// Number of keypoints.
        keypoints: i64,
    },
    /// The mean of every channel.
    Average,
    /// What `heads` heads of attention see that asks with the mean (Radford et al. 2021, "Learning
    /// transferable visual models from natural language supervision", section 2.4): as many numbers as
    /// the map has channels. Ties the weights to the size of the map.
    Attention {
        /// Heads; the channels are a multiple.
        heads: i64,
    },
}

fn published_width() -> i64 {
    64
}
fn is_published_width(width: &i64) -> bool {
    *width == published_width()
}
fn antialiased() -> bool {
    true
}
fn is_antialiased(antialias: &bool) -> bool {
    *antialias == antialiased()
}
fn all_stages() -> usize {
    4
}
fn is_all_stages(stages: &usize) -> bool {
    *stages == all_stages()
}

impl VisionConfig {
    /// Features of one camera.
    pub fn features(&self) -> usize {
        self.projection.unwrap_or_else(|| self.pooled()) as usize
    }

    /// Channels of the map.
    fn channels(&self) -> i64 {
        self.width << self.stages.saturating_sub(1)
    }

    /// Height and width of what the backbone is shown, where the configuration alone says it.
    fn seen(&self) -> Option<[usize; 2]> {
        self.crop.or(self.resize)
    }

    /// Pixels of the map. Every halving rounds up: that of the stem, of its pooling, and of every stage
    /// but the first.
    fn map_pixels(&self) -> i64 {
        let halved = |side: usize| (0..=self.stages).fold(side, |side, _| side.div_ceil(2));
        let [height, width] = self.seen().unwrap_or_default().map(halved);
        (height * width) as i64
    }

    /// Numbers that the pooling yields.
    fn pooled(&self) -> i64 {
        match self.pool {
            Pool::SpatialSoftmax { keypoints } => 2 * keypoints,
            Pool::Average | Pool::Attention { .. } => self.channels(),
        }
    }

    /// Checks every value for images of `height` x `width`.
    ///
    /// # Errors
    /// The first value out of its range, or a crop that is larger than the image.
    pub fn check(&self, height: usize, width: usize) -> Result<()> {
        let refuse = |key, found: String, expected: String| {
            Err(Error::Config {
                key,
                found,
                expected,
            })
        };
        if !(16..=512).contains(&self.width) || self.width % 16 != 0 {
            let expected = "a multiple of 16 from 16 to 512".into();
            return refuse("vision.width", self.width.to_string(), expected);
        }
        if !(1..=4).contains(&self.stages) {
            return refuse("vision.stages", self.stages.to_string(), "1 to 4".into());
        }
        if let Pool::SpatialSoftmax { keypoints } = self.pool
            && !(1..=4096).contains(&keypoints)
        {
            return refuse(
                "vision.pool.keypoints",
                keypoints.to_string(),
                "1 to 4096".into(),
            );
        }
        if let Some(projection) = self.projection
            && !(1..=1 << 14).contains(&projection)
        {
            return refuse(
                "vision.projection",
                projection.to_string(),
                "1 to 16384".into(),
            );
        }
        let [height, width] = match self.resize {
            Some(sides) if !sides.iter().all(|side| (1..=4096).contains(side)) => {
                return refuse(
                    "vision.resize",
                    format!("{sides:?}"),
                    "a height and a width from 1 to 4096".into(),
                );
            }
            Some(sides) => sides,
            None => [height, width],
        };
        if let Pool::Attention { heads } = self.pool {
            if heads < 1 || self.channels() % heads != 0 {
                let expected = format!("a divisor of the map's {} channels", self.channels());
                return refuse("vision.pool.heads", heads.to_string(), expected);
            }
            if self.seen().is_none() {
                return refuse(
                    "vision.crop",
                    "absent".into(),
                    "crop or resize: pooling by attention belongs to a size of the map".into(),
                );
            }
        }
        match self.crop {
            Some([high, wide]) if !(1..=height).contains(&high) || !(1..=width).contains(&wide) => {
                refuse(
                    "vision.crop",
                    format!("[{high}, {wide}]"),
                    format!("at most the image, [{height}, {width}]"),
                )
            }
            _ => Ok(()),
        }
    }
}

/// The image encoders of a policy together with their parameters.
pub struct VisionEncoder {
    store: VarStore,
    config: VisionConfig,
    cameras: usize,
    encoders: Vec<ImageEncoder>,
}

impl VisionEncoder {
    /// Encoders for `cameras` cameras with fresh random parameters, which depend on `seed` alone.
    pub fn new(config: &VisionConfig, cameras: usize, device: Device, seed: u64) -> Self {
        let store = VarStore::new(device);
        let count = if config.separate { cameras } else { 1 };
        let encoders = seeded(seed, || {
            (0..count)
                .map(|index| ImageEncoder::new(&(store.root() / index), config))
                .collect()
        });
        Self {
            store,
            config: config.clone(),
            cameras,
            encoders,
        }
    }

    /// The parameters; those of encoder i are named `i.…`.
    pub fn store(&self) -> &VarStore {
        &self.store
    }

    /// The encoders with their present parameters, frozen.
    ///
    /// # Errors
    /// LibTorch could not copy them.
    pub fn frozen_copy(&self) -> Result<Self> {
        let mut copy = Self::new(&self.config, self.cameras, self.store.device(), 0);
        copy.store.copy(&self.store)?;
        copy.freeze();
        Ok(copy)
    }

    /// The configuration that the encoders were built from.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// Number of cameras.
    pub fn cameras(&self) -> usize {
        self.cameras
    }

    /// Number of parameters, statistics of batch normalisation included.
    pub fn parameters(&self) -> usize {
        self.store.variables().values().map(Tensor::numel).sum()
    }

    /// Declares the parameters final: gradients are switched off.
    pub fn freeze(&mut self) {
        self.store.freeze();
    }

    /// Features [B, F] of normalised images [B, 3, H, W] of one camera.
    pub fn encode(&self, camera: usize, images: &Tensor) -> Tensor {
        // A shared encoder is the only one.
        let encoder = &self.encoders[camera.min(self.encoders.len() - 1)];
        encoder.forward(&self.cut(images))
    }

    /// Scales and crops [B, 3, H, W].
    fn cut(&self, images: &Tensor) -> Tensor {
        let mut images = images.shallow_clone();
        let sides = |images: &Tensor| {
            let size = images.size();
            [size[2], size[3]]
        };
        if let Some(target) = self
            .config
            .resize
            .map(|sides| sides.map(|side| side as i64))
            && sides(&images) != target
        {
            images = if self.config.antialias {
                images.internal_upsample_bilinear2d_aa(target, false, None, None)
            } else {
                images.upsample_bilinear2d(target, false, None, None)
            };
        }
        if let Some(crop) = self.config.crop {
            let size = sides(&images);
            for (axis, side) in crop.into_iter().enumerate() {
                let side = side as i64;
                // Halves go to the even number, as torchvision rounds.
                let start = ((size[axis] - side) as f64 / 2.0).round_ties_even() as i64;
                images = images.narrow(axis as i64 + 2, start, side);
            }
        }
        images
    }
}

/// Backbone, pooling and projection of one encoder.
#[derive(Debug)]
struct ImageEncoder {
    backbone: ResNet,
    pooling: Pooling,
    projection: Option<Affine>,
}

/// A [`Pool`] with its parameters.
#[derive(Debug)]
enum Pooling {
    Keypoints(SpatialSoftmax),
    Average,
    Attention(AttentionPool),
}

impl ImageEncoder {
    fn new(path: &Path<'_>, config: &VisionConfig) -> Self {
        let (pool, channels) = (path / "pool", config.channels());
        let pooling = match config.pool {
            Pool::SpatialSoftmax { keypoints } => {
                Pooling::Keypoints(SpatialSoftmax::new(&(pool / "nets"), channels, keypoints))
            }
            Pool::Average => Pooling::Average,
            Pool::Attention { heads } => Pooling::Attention(AttentionPool::new(
                &pool,
                channels,
                heads,
                config.map_pixels(),
            )),
        };
        Self {
            backbone: ResNet::new(&(path / "backbone"), config),
            pooling,
            projection: config
                .projection
                .map(|width| Affine::linear(&(path / "out"), config.pooled(), width)),
        }
    }

    fn forward(&self, images: &Tensor) -> Tensor {
        let map = self.backbone.forward(images);
        let pooled = match &self.pooling {
            Pooling::Keypoints(keypoints) => keypoints.forward(&map),
            Pooling::Average => map.adaptive_avg_pool2d([1, 1]).flatten(1, -1),
            Pooling::Attention(attention) => attention.forward(&map),
        };
        match &self.projection {
            Some(projection) => projection.apply_linear(&pooled).relu(),
            None => pooled,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn config() -> VisionConfig {
        VisionConfig {
            backbone: Backbone::Resnet18,
            width: 64,
            stages: 4,
            norm: BackboneNorm::Group,
            resize: None,
            antialias: true,
            crop: None,
            pool: Pool::SpatialSoftmax { keypoints: 4 },
            projection: Some(6),
            separate: false,
        }
    }

    fn images(height: i64, width: i64) -> Tensor {
        Tensor::linspace(0.0, 1.0, 3 * height * width, (Kind::Float, Device::Cpu))
            .view([1, 3, height, width])
    }

    #[test]
    fn sizes_follow_the_configuration() {
        let variants = [
            (config(), 6),
            (
                VisionConfig {
                    projection: None,
                    ..config()
                },
                8,
            ),
            (
                VisionConfig {
                    pool: Pool::Average,
                    projection: None,
                    norm: BackboneNorm::Batch,
                    ..config()
                },
                512,
            ),
            (
                VisionConfig {
                    width: 16,
                    stages: 3,
                    crop: Some([37, 41]),
                    pool: Pool::Attention { heads: 4 },
                    projection: None,
                    ..config()
                },
                64,
            ),
            (
                VisionConfig {
                    width: 16,
                    stages: 2,
                    pool: Pool::Average,
                    projection: None,
                    ..config()
                },
                32,
            ),
        ];
        for (config, features) in variants {
            assert_eq!(config.features(), features as usize);
            let mut vision = VisionEncoder::new(&config, 1, Device::Cpu, 1);
            vision.freeze();
            assert_eq!(vision.encode(0, &images(40, 48)).size(), [1, features]);
        }
    }

    #[test]
    fn separate_encoders_differ_and_shared_ones_do_not() {
        for separate in [false, true] {
            let config = VisionConfig {
                separate,
                ..config()
            };
            let mut vision = VisionEncoder::new(&config, 2, Device::Cpu, 1);
            vision.freeze();
            let [first, second] = [0, 1].map(|camera| vision.encode(camera, &images(32, 32)));
            assert_eq!(first.allclose(&second, 1e-6, 1e-6, false), !separate);
        }
    }

    #[test]
    fn the_middle_is_cut_out_and_halves_go_to_the_even_number() {
        let config = VisionConfig {
            crop: Some([3, 4]),
            ..config()
        };
        let vision = VisionEncoder::new(&config, 1, Device::Cpu, 1);
        let all = images(8, 9);
        // (8 - 3) / 2 = 2.5 goes to 2, (9 - 4) / 2 = 2.5 as well.
        let cut = vision.cut(&all);
        assert!(cut.equal(&all.narrow(2, 2, 3).narrow(3, 2, 4)));
        // (10 - 3) / 2 = 3.5 goes to 4.
        let all = images(10, 4);
        assert!(vision.cut(&all).equal(&all.narrow(2, 4, 3)));
    }

    #[test]
    fn images_are_scaled_before_they_are_cut() {
        let config = VisionConfig {
            resize: Some([20, 30]),
            crop: Some([18, 24]),
            ..config()
        };
        let vision = VisionEncoder::new(&config, 1, Device::Cpu, 1);
        assert_eq!(vision.cut(&images(40, 60)).size(), [1, 3, 18, 24]);
        // Without antialiasing one pixel lies between four at most.
        let config = VisionConfig {
            resize: Some([1, 1]),
            antialias: false,
            ..self::config()
        };
        let vision = VisionEncoder::new(&config, 1, Device::Cpu, 1);
        let all = images(6, 6);
        let middle =
            all.narrow(2, 2, 2)
                .narrow(3, 2, 2)
                .mean_dim([2_i64, 3].as_slice(), true, Kind::Float);
        assert!(vision.cut(&all).allclose(&middle, 1e-6, 1e-6, false));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let crop = VisionConfig {
            crop: Some([84, 84]),
            ..config()
        };
        let message = crop.check(96, 80).unwrap_err().to_string();
        assert_eq!(
            message,
            "vision.crop is [84, 84], expected at most the image, [96, 80]"
        );
        assert!(crop.check(96, 96).is_ok());
        let none = VisionConfig {
            pool: Pool::SpatialSoftmax { keypoints: 0 },
            ..config()
        };
        let message = none.check(96, 96).unwrap_err().to_string();
        assert!(message.contains("vision.pool.keypoints is 0"), "{message}");
        let odd = VisionConfig {
            width: 24,
            ..config()
        };
        let message = odd.check(96, 96).unwrap_err().to_string();
        assert!(message.contains("vision.width is 24"), "{message}");
        let anywhere = VisionConfig {
            pool: Pool::Attention { heads: 8 },
            ..config()
        };
        let message = anywhere.check(96, 96).unwrap_err().to_string();
        assert!(message.contains("vision.crop is absent"), "{message}");
        let uneven = VisionConfig {
            pool: Pool::Attention { heads: 7 },
            ..crop.clone()
        };
        let message = uneven.check(96, 96).unwrap_err().to_string();
        assert!(message.contains("vision.pool.heads is 7"), "{message}");
        let long = VisionConfig {
            stages: 5,
            ..config()
        };
        let message = long.check(96, 96).unwrap_err().to_string();
        assert!(message.contains("vision.stages is 5"), "{message}");
    }
}
