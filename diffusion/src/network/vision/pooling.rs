//! From a map of features to a vector: the coordinates of keypoints, or what attention sees.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

use crate::network::blocks::Affine;

/// Expected coordinates under a softmax over every attention map (Finn et al. 2016, "Deep spatial
/// autoencoders for visuomotor learning").
#[derive(Debug)]
pub(super) struct SpatialSoftmax {
    weight: Tensor,
    bias: Tensor,
}

impl SpatialSoftmax {
    pub(super) fn new(path: &Path<'_>, channels: i64, keypoints: i64) -> Self {
        let bound = 1.0 / (channels as f64).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Self {
            weight: path.var("weight", &[keypoints, channels, 1, 1], init),
            bias: path.var("bias", &[keypoints], init),
        }
    }

    /// From a map [B, C, h, w] to [B, 2 K]: x and y of every keypoint, -1 at the left and upper edge
    /// to 1 at the right and lower one.
    pub(super) fn forward(&self, map: &Tensor) -> Tensor {
        let maps = map.conv2d(&self.weight, Some(&self.bias), 1, 0, 1, 1);
        let size = maps.size();
        let attention = maps.flatten(2, 3).softmax(-1, Kind::Float);
        let axis = |count: i64| {
            Tensor::linspace(-1.0, 1.0, count, (Kind::Double, map.device())).to_kind(Kind::Float)
        };
        let (rows, columns) = (size[2], size[3]);
        let x = axis(columns).unsqueeze(0).expand([rows, columns], false);
        let y = axis(rows).unsqueeze(1).expand([rows, columns], false);
        let grid = Tensor::stack(&[x.flatten(0, 1), y.flatten(0, 1)], 1);
        attention.matmul(&grid).flatten(1, 2)
    }
}

/// Multi-head attention of the map's mean to its pixels and itself, each with an embedding of its
/// place (Radford et al. 2021, section 2.4). Parameters are named as in CLIP's `AttentionPool2d`.
#[derive(Debug)]
pub(super) struct AttentionPool {
    /// [1 + h w, C]: of the mean, and of every pixel.
    places: Tensor,
    query: Affine,
    key: Affine,
    value: Affine,
    output: Affine,
    heads: i64,
}

impl AttentionPool {
    pub(super) fn new(path: &Path<'_>, channels: i64, heads: i64, pixels: i64) -> Self {
        let deviation = 1.0 / (channels as f64).sqrt();
        let init = Init::Randn {
            mean: 0.0,
            stdev: deviation,
        };
        let linear = |name: &str| Affine::linear(&(path / name), channels, channels);
        Self {
            places: path.var("positional_embedding", &[1 + pixels, channels], init),
            query: linear("q_proj"),
            key: linear("k_proj"),
            value: linear("v_proj"),
            output: linear("c_proj"),
            heads,
        }
    }

    /// From a map [B, C, h, w] to [B, C].
    pub(super) fn forward(&self, map: &Tensor) -> Tensor {
        let pixels = map.flatten(2, 3).transpose(1, 2);
        let mean = pixels.mean_dim([1_i64].as_slice(), true, Kind::Float);
        let tokens = Tensor::cat(&[&mean, &pixels], 1) + &self.places;
        let (batch, channels) = (tokens.size()[0], tokens.size()[2]);
        let split = |rows: Tensor| {
            rows.view([batch, -1, self.heads, channels / self.heads])
                .transpose(1, 2)
        };
        let query = split(self.query.apply_linear(&tokens.narrow(1, 0, 1)));
        let key = split(self.key.apply_linear(&tokens));
        let value = split(self.value.apply_linear(&tokens));
        let none = None::<Tensor>;
        let seen = Tensor::scaled_dot_product_attention(
            &query, &key, &value, none, 0.0, false, None, false,
        );
        self.output
            .apply_linear(&seen.transpose(1, 2).reshape([batch, channels]))
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;

    #[test]
    fn a_peak_is_found_where_it_is() {
        let store = VarStore::new(Device::Cpu);
        let pool = SpatialSoftmax::new(&store.root(), 1, 1);
        tch::no_grad(|| {
            let _ = pool.weight.shallow_clone().fill_(1.0);
            let _ = pool.bias.shallow_clone().fill_(0.0);
        });
        let map = Tensor::zeros([1, 1, 3, 5], (Kind::Float, Device::Cpu));
        let _ = map.get(0).get(0).get(2).get(1).fill_(100.0);
        let found = Vec::<f32>::try_from(pool.forward(&map).detach().flatten(0, 1)).unwrap();
        assert!(
            (found[0] + 0.5).abs() < 1e-5 && (found[1] - 1.0).abs() < 1e-5,
            "{found:?}"
        );
        let even = pool.forward(&Tensor::zeros([1, 1, 3, 5], (Kind::Float, Device::Cpu)));
        assert!(f64::try_from(even.abs().max()).unwrap() < 1e-6);
    }

    /// The formula written out for one image, head by head, in double precision.
    #[test]
    fn attention_is_that_of_the_formula() {
        let store = VarStore::new(Device::Cpu);
        let pool = AttentionPool::new(&store.root(), 6, 2, 4);
        let map = Tensor::randn([3, 6, 2, 2], (Kind::Float, Device::Cpu));
        let found = tch::no_grad(|| pool.forward(&map));
        let variables = store.variables();
        let of = |name: &str| variables[name].detach().to_kind(Kind::Double);
        let linear = |rows: &Tensor, name: &str| {
            rows.matmul(&of(&format!("{name}.weight")).transpose(0, 1))
                + of(&format!("{name}.bias"))
        };
        for image in 0..3 {
            let pixels = map
                .get(image)
                .view([6, 4])
                .transpose(0, 1)
                .to_kind(Kind::Double);
            let mean = pixels.mean_dim([0_i64].as_slice(), true, Kind::Double);
            let tokens = Tensor::cat(&[mean, pixels], 0) + of("positional_embedding");
            let (query, key, value) = (
                linear(&tokens.narrow(0, 0, 1), "q_proj"),
                linear(&tokens, "k_proj"),
                linear(&tokens, "v_proj"),
            );
            let heads: Vec<Tensor> = [0, 3]
                .map(|at| {
                    let [query, key, value] =
                        [&query, &key, &value].map(|all| all.narrow(1, at, 3));
                    let scores = query.matmul(&key.transpose(0, 1)) / 3.0_f64.sqrt();
                    scores.softmax(-1, Kind::Double).matmul(&value)
                })
                .into();
            let expected = linear(&Tensor::cat(&heads, 1), "c_proj").view([6]);
            let error = (found.get(image).to_kind(Kind::Double) - expected)
                .abs()
                .max();
            assert!(f64::try_from(error).unwrap() < 1e-5);
        }
    }
}
