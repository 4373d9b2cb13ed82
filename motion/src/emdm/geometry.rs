//! Where the joints of embedded clips go, on tensors: for losses on poses, and for paths.

use tch::{Kind, Tensor};

use crate::character::Bone;
use crate::data::FRAME_RATE;
use crate::embedding::Embedding;
use crate::features::Layout;

/// Joints of left heel, left toe, right heel, right toe.
const FEET: [Bone; 4] = [
    Bone::LeftFoot,
    Bone::LeftToe,
    Bone::RightFoot,
    Bone::RightToe,
];

/// Places of the root after every frame, as the root before the first one sees them: left, ahead,
/// metres `[B, L, 2]`. From the hand-made numbers of the frames `[B, L, 22]`.
pub(crate) fn path(hand_made: &Tensor) -> Tensor {
    let turn = hand_made.narrow(2, 2, 1) / FRAME_RATE;
    // A frame's displacement is told in the heading of the frame before it.
    let heading = turn.cumsum(1, Kind::Float) - &turn;
    let step = hand_made.narrow(2, Layout::ROOT as i64, 2) / FRAME_RATE;
    turned(&step, &heading).cumsum(1, Kind::Float)
}

/// Vectors of the plane `[..., 2]` (left, ahead) turned left by angles `[..., 1]`.
fn turned(vector: &Tensor, angle: &Tensor) -> Tensor {
    let (sine, cosine) = (angle.sin(), angle.cos());
    let (left, ahead) = (vector.narrow(-1, 0, 1), vector.narrow(-1, 1, 1));
    Tensor::cat(
        &[
            &left * &cosine + &ahead * &sine,
            &ahead * &cosine - &left * &sine,
        ],
        -1,
    )
}

/// Joints of stretches of frames.
pub(crate) struct Bodies {
    /// Places as the root sees them, metres `[B, L, J, 3]`.
    pub(crate) positions: Tensor,
    /// How they move over the floor to the next frame, metres, as the first of both roots sees it
    /// `[B, L - 1, J, 3]`.
    pub(crate) steps: Tensor,
    /// Contacts of heels and toes `[B, L, 4]`.
    pub(crate) contacts: Tensor,
}

impl Bodies {
    /// Decodes stretches of embedded frames `[B, L, E]`.
    pub(crate) fn of(embedding: &Embedding, frames: &Tensor) -> Self {
        let (count, length, size) = frames.size3().unwrap_or_default();
        let flat = frames.reshape([-1, size]);
        let hand_made = embedding.hand_made(frames);
        let positions = embedding.decode(&flat).positions;
        let positions = positions.view([count, length, -1, 3]);
        let next = positions.narrow(1, 1, length - 1);
        let turn = hand_made.narrow(2, 2, 1).narrow(1, 1, length - 1) / FRAME_RATE;
        let step = hand_made
            .narrow(2, Layout::ROOT as i64, 2)
            .narrow(1, 1, length - 1)
            / FRAME_RATE;
        let plane = Tensor::cat(&[next.narrow(3, 0, 1), next.narrow(3, 2, 1)], 3);
        let plane = turned(&plane, &turn.unsqueeze(2)) + step.unsqueeze(2);
        let placed = Tensor::cat(
            &[
                plane.narrow(3, 0, 1),
                next.narrow(3, 1, 1),
                plane.narrow(3, 1, 1),
            ],
            3,
        );
        Self {
            steps: placed - positions.narrow(1, 0, length - 1),
            contacts: hand_made.narrow(2, Layout::CONTACTS as i64, 4),
            positions,
        }
    }

    /// How heels and toes move over the floor, metres `[B, L - 1, 4, 3]`.
    pub(crate) fn feet(&self) -> Tensor {
        let joints = FEET.map(|bone| bone.index() as i64);
        let joints = Tensor::from_slice(&joints).to_device(self.steps.device());
        self.steps.index_select(2, &joints)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn a_path_goes_where_roots_go() {
        use crate::trajectory::Root;
        use nalgebra::Vector2;
        let frames: Vec<[f64; 3]> = (0..40)
            .map(|frame| {
                let frame = f64::from(frame);
                [0.3 * (0.2 * frame).sin(), 1.4, 0.8 * (0.1 * frame).cos()]
            })
            .collect();
        let mut numbers = vec![0.0_f32; frames.len() * Layout::HAND_MADE];
        for (row, moved) in numbers.chunks_exact_mut(Layout::HAND_MADE).zip(&frames) {
            for (number, value) in row.iter_mut().zip(moved) {
                *number = *value as f32;
            }
        }
        let hand_made = Tensor::from_slice(&numbers)
            .view([1, 40, Layout::HAND_MADE as i64])
            .to_device(Device::Cpu);
        let found = Vec::<f32>::try_from(path(&hand_made).flatten(0, -1)).unwrap();
        let mut root = Root::default();
        for ([left, ahead, turn], place) in frames.iter().zip(found.chunks_exact(2)) {
            root.position += root.outwards(Vector2::new(*left, *ahead) / FRAME_RATE);
            root.heading += turn / FRAME_RATE;
            // A root at the origin that faces +Z sees +X on its left.
            assert!((root.position.x - f64::from(place[0])).abs() < 1e-4);
            assert!((root.position.y - f64::from(place[1])).abs() < 1e-4);
        }
    }
}
