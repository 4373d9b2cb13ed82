//! How the feet move over the floor from one frame to the next, as a loss.
//!
//! Root and feet of a frame are numbers of their own, each told with an error of its own, and what
//! is seen is the sum: a foot that stands slides by the error of both. Compared here is that sum.

use tch::{Kind, Reduction, Tensor};

use crate::data::FRAME_RATE;
use crate::features::Layout;
use crate::model::MotionModel;

/// How much more a foot in contact counts.
const CONTACT: f64 = 4.0;
/// Difference in metres that counts 1.
const UNIT: f64 = 0.01;

/// Difference between where two next states `[B, 2 E]` have the ankles over the floor, as the same
/// last root sees them. `truth` says which feet are in contact.
pub(super) fn feet(model: &MotionModel, made: &Tensor, truth: &Tensor) -> Tensor {
    let off = off(model, made, truth);
    off.smooth_l1_loss(&off.zeros_like(), Reduction::Mean, 1.0)
        .to_kind(Kind::Float)
}

/// The same in centimetres, those of a foot in contact times more `[B, 4]`.
pub(super) fn off(model: &MotionModel, made: &Tensor, truth: &Tensor) -> Tensor {
    let hand_made = |state: &Tensor| model.embedding.hand_made(&model.frames(state));
    let (made, truth) = (hand_made(made), hand_made(truth));
    let contacts = truth
        .narrow(1, Layout::CONTACTS as i64, 4)
        .view([-1, 2, 2])
        .amax([2].as_slice(), true)
        .clamp(0.0, 1.0);
    let off = (places(&made) - places(&truth)) / UNIT * (contacts * CONTACT + 1.0);
    off.flatten(1, -1)
}

/// Where the ankles come to over the floor as the last root sees them, metres `[B, 2, 2]`, from
/// hand-made numbers `[B, 22]`.
fn places(hand_made: &Tensor) -> Tensor {
    let step = hand_made.narrow(1, Layout::ROOT as i64, 2) / FRAME_RATE;
    let turn = hand_made.narrow(1, Layout::ROOT as i64 + 2, 1) / FRAME_RATE;
    let (sine, cosine) = (turn.sin(), turn.cos());
    let ankles = hand_made.narrow(1, Layout::FEET as i64, 6).view([-1, 2, 3]);
    let (left, ahead) = (ankles.select(2, 0), ankles.select(2, 2));
    let turned = Tensor::stack(
        &[
            &left * &cosine + &ahead * &sine,
            &ahead * &cosine - &left * &sine,
        ],
        2,
    );
    turned + step.unsqueeze(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foot_that_stands_stays_while_the_root_moves_and_turns() {
        // The root moves by (0.02, 0.05) m and turns by 0.1; the left ankle was 0.1 m left and 0.2 m
        // ahead of it, and stands.
        let (left, ahead) = (0.1 - 0.02, 0.2 - 0.05);
        let turn = 0.1_f64;
        let seen = [
            left * turn.cos() - ahead * turn.sin(),
            ahead * turn.cos() + left * turn.sin(),
        ];
        let mut numbers = [0.0_f32; Layout::HAND_MADE];
        numbers[0] = (0.02 * FRAME_RATE) as f32;
        numbers[1] = (0.05 * FRAME_RATE) as f32;
        numbers[2] = (turn * FRAME_RATE) as f32;
        numbers[Layout::FEET] = seen[0] as f32;
        numbers[Layout::FEET + 2] = seen[1] as f32;
        let row = Tensor::from_slice(&numbers).view([1, -1]);
        let found = Vec::<f32>::try_from(places(&row).select(1, 0).flatten(0, -1)).unwrap();
        assert!(
            (found[0] - 0.1).abs() < 1e-6 && (found[1] - 0.2).abs() < 1e-6,
            "{found:?}"
        );
    }
}
