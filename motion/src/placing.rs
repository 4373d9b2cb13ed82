//! From the numbers of frames to poses in the world.

use nalgebra::{UnitQuaternion, Vector2, Vector3};
use tch::{Kind, Tensor};

use crate::data::FRAME_RATE;
use crate::embedding::Embedding;
use crate::features::Layout;
use crate::rotation::{from_six, wrapped, yaw};
use crate::take::Take;
use crate::trajectory::Root;
use crate::{Pose, Result, character};

/// Numbers of the rotations of a frame.
const SIX: usize = 6 * character::JOINTS;

/// Decoded frames in host memory.
#[derive(Debug, Default)]
pub struct DecodedFrames {
    /// Hand-made numbers in their own units `[N, 22]`.
    pub hand_made: Vec<f32>,
    /// Rotations as six numbers `[N, J, 6]`.
    pub six: Vec<f32>,
}

impl DecodedFrames {
    /// Decodes embedded frames `[N, E]`.
    ///
    /// # Errors
    /// LibTorch refused.
    pub fn of(embedding: &Embedding, frames: &Tensor) -> Result<Self> {
        let (hand_made, six) = tch::no_grad(|| {
            (
                embedding.hand_made(frames),
                embedding.decode_rotations(frames),
            )
        });
        let flat =
            |tensor: Tensor| Vec::<f32>::try_from(tensor.to_kind(Kind::Float).flatten(0, -1));
        Ok(Self {
            hand_made: flat(hand_made)?,
            six: flat(six)?,
        })
    }

    fn hand_made(&self, frame: usize) -> &[f32] {
        &self.hand_made[frame * Layout::HAND_MADE..][..Layout::HAND_MADE]
    }

    /// Moves the root of the frame before to that of a frame.
    pub fn step(&self, frame: usize, root: &mut Root) {
        let moved = self.hand_made(frame);
        let step = Vector2::new(f64::from(moved[0]), f64::from(moved[1])) / FRAME_RATE;
        let turn = f64::from(moved[2]) / FRAME_RATE;
        root.position += root.outwards(step);
        root.heading = wrapped(root.heading + turn);
    }

    /// Contact of left heel, left toe, right heel, right toe, 0 to 1.
    pub fn contacts(&self, frame: usize) -> [f64; 4] {
        let row = &self.hand_made(frame)[Layout::CONTACTS..][..4];
        [row[0], row[1], row[2], row[3]].map(|value| f64::from(value).clamp(0.0, 1.0))
    }

    /// The pose of a frame whose root is there.
    pub fn pose(&self, frame: usize, root: &Root) -> Pose {
        let hips = &self.hand_made(frame)[Layout::HIPS..Layout::HIPS + 3];
        let hips = Vector3::new(hips[0], hips[1], hips[2]).map(f64::from);
        let rotations = self.six[frame * SIX..][..SIX]
            .chunks_exact(6)
            .enumerate()
            .map(|(joint, six)| {
                let six = [six[0], six[1], six[2], six[3], six[4], six[5]].map(f64::from);
                let rotation = from_six(&six).unwrap_or_else(UnitQuaternion::identity);
                if joint == 0 {
                    yaw(root.heading) * rotation
                } else {
                    rotation
                }
            })
            .collect();
        Pose {
            root: root.globalise(&hips),
            rotations,
        }
    }

    /// The frames `from` to `to` one after the other, the first of which follows a root.
    pub fn take(&self, frames: std::ops::Range<usize>, mut root: Root) -> Take {
        let mut take = Take::default();
        for frame in frames {
            self.step(frame, &mut root);
            take.poses.push(self.pose(frame, &root));
            take.roots.push(root);
            take.contacts.push(self.contacts(frame));
        }
        take
    }
}
