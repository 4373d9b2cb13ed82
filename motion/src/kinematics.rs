//! Forward kinematics on tensors, for losses that need its gradient; on poses it is done by [`crate::Skeleton`].

use tch::{Kind, Tensor};

use crate::Skeleton;
use crate::rotation::SMALLEST;

/// Matrices `[..., 3, 3]` of rotations given by six numbers `[..., 6]`.
pub fn matrices(six: &Tensor) -> Tensor {
    let unit = |column: &Tensor| {
        let length = column
            .square()
            .sum_dim_intlist([-1].as_slice(), true, Kind::Float)
            .clamp_min(SMALLEST * SMALLEST)
            .sqrt();
        column / length
    };
    let first = unit(&six.narrow(-1, 0, 3));
    let second = six.narrow(-1, 3, 3);
    let along = (&first * &second).sum_dim_intlist([-1].as_slice(), true, Kind::Float);
    let second = unit(&(second - &first * along));
    let third = first.linalg_cross(&second, -1);
    Tensor::stack(&[first, second, third], -1)
}

/// Forward kinematics of a skeleton on tensors, one batched product for each depth of the tree.
#[derive(Debug)]
pub struct Kinematics {
    levels: Vec<Level>,
    /// Where joint j of the skeleton stands among the joints ordered by depth `[J]`.
    order: Tensor,
}

#[derive(Debug)]
struct Level {
    /// Joints of this depth.
    joints: Tensor,
    /// Place of their parents within the level above.
    parents: Tensor,
    /// Rest offsets `[1, joints, 3, 1]`.
    offsets: Tensor,
}

impl Kinematics {
    /// For a skeleton; its tensors live on `device`.
    pub fn new(skeleton: &Skeleton, device: tch::Device) -> Self {
        let joints = skeleton.joints();
        let mut depths = vec![0_usize; joints.len()];
        for (index, joint) in joints.iter().enumerate() {
            depths[index] = joint.parent.map_or(0, |parent| depths[parent] + 1);
        }
        let deepest = depths.iter().copied().max().unwrap_or(0);
        let mut order: Vec<usize> = Vec::new();
        let mut above: Vec<usize> = Vec::new();
        let mut levels = Vec::new();
        for depth in 0..=deepest {
            let here: Vec<usize> = (0..joints.len())
                .filter(|joint| depths[*joint] == depth)
                .collect();
            let parents: Vec<i64> = here
                .iter()
                .map(|joint| {
                    let parent = joints[*joint].parent;
                    above
                        .iter()
                        .position(|other| Some(*other) == parent)
                        .unwrap_or(0) as i64
                })
                .collect();
            let offsets: Vec<f32> = here
                .iter()
                .flat_map(|joint| {
                    joints[*joint]
                        .offset
                        .iter()
                        .map(|x| *x as f32)
                        .collect::<Vec<_>>()
                })
                .collect();
            let rows: Vec<i64> = here.iter().map(|joint| *joint as i64).collect();
            levels.push(Level {
                joints: Tensor::from_slice(&rows).to_device(device),
                parents: Tensor::from_slice(&parents).to_device(device),
                offsets: Tensor::from_slice(&offsets)
                    .view([1, here.len() as i64, 3, 1])
                    .to_device(device),
            });
            order.extend(&here);
            above = here;
        }
        let places: Vec<i64> = (0..joints.len())
            .map(|joint| order.iter().position(|other| *other == joint).unwrap_or(0) as i64)
            .collect();
        Self {
            levels,
            order: Tensor::from_slice(&places).to_device(device),
        }
    }

    /// Positions `[N, J, 3]` of all joints from local rotations `[N, J, 3, 3]` and the place of the
    /// root `[N, 3]`.
    pub fn positions(&self, rotations: &Tensor, root: &Tensor) -> Tensor {
        let mut all = Vec::with_capacity(self.levels.len());
        let mut turned = Tensor::new();
        let mut placed = Tensor::new();
        for (depth, level) in self.levels.iter().enumerate() {
            let local = rotations.index_select(1, &level.joints);
            if depth == 0 {
                turned = local;
                placed = root.unsqueeze(1);
            } else {
                let parents = turned.index_select(1, &level.parents);
                placed = placed.index_select(1, &level.parents)
                    + parents.matmul(&level.offsets).squeeze_dim(-1);
                turned = parents.matmul(&local);
            }
            all.push(placed.shallow_clone());
        }
        Tensor::cat(&all, 1).index_select(1, &self.order)
    }
}

#[cfg(test)]
mod tests {
    use kinestream_diffusion::noise::NoiseStream;

    use kinestream_rig::rotation::to_six;
    use nalgebra::{UnitQuaternion, Vector3};

    use super::*;
    use crate::{Joint, Pose};

    fn random_rotation(random: &mut NoiseStream) -> UnitQuaternion<f64> {
        let [x, y, z] = [0; 3].map(|_| 2.0 * f64::from(random.normal()));
        UnitQuaternion::from_scaled_axis(Vector3::new(x, y, z))
    }

    #[test]
    fn tensors_place_joints_as_skeletons_do() {
        let mut random = NoiseStream::new(2);
        // Out of the order of depths on purpose.
        let parents = [None, Some(0), Some(1), Some(0), Some(3), Some(2), Some(1)];
        let joints = parents
            .iter()
            .enumerate()
            .map(|(index, parent)| Joint {
                name: index.to_string(),
                parent: *parent,
                offset: Vector3::from_fn(|_, _| f64::from(random.normal())),
            })
            .collect();
        let skeleton = Skeleton::new(joints, vec![]).unwrap();
        let poses: Vec<Pose> = (0..5)
            .map(|_| Pose {
                root: Vector3::from_fn(|_, _| f64::from(random.normal())),
                rotations: (0..7).map(|_| random_rotation(&mut random)).collect(),
            })
            .collect();
        let six: Vec<f32> = poses
            .iter()
            .flat_map(|pose| pose.rotations.iter().flat_map(to_six))
            .map(|x| x as f32)
            .collect();
        let root: Vec<f32> = poses
            .iter()
            .flat_map(|pose| pose.root.iter().map(|x| *x as f32).collect::<Vec<_>>())
            .collect();
        let kinematics = Kinematics::new(&skeleton, tch::Device::Cpu);
        let positions = kinematics.positions(
            &matrices(&Tensor::from_slice(&six).view([5, 7, 6])),
            &Tensor::from_slice(&root).view([5, 3]),
        );
        let found = Vec::<f32>::try_from(positions.flatten(0, -1)).unwrap();
        let expected = poses.iter().flat_map(|pose| {
            let global = skeleton.forward(pose).positions;
            global.into_iter().flat_map(|p| [p.x, p.y, p.z])
        });
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5);
        }
    }
}
