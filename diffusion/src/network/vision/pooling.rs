//! Spatial softmax: from a map of features to the coordinates of keypoints.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

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
}
