//! Motion made by a model, kept as clips that can be measured, drawn and written.

use crate::Result;
use crate::crowd::{CharacterBatch, SteeringTarget};
use crate::trajectory::Root;

pub use crate::take::Take;

/// Moves all characters for a number of frames. `wish` is asked for every character and frame, with
/// the root that the character has; `watch` hears of every frame done.
///
/// # Errors
/// LibTorch refused.
pub fn perform(
    crowd: &mut CharacterBatch,
    frames: usize,
    mut wish: impl FnMut(usize, usize, &Root) -> SteeringTarget,
    mut watch: impl FnMut(usize),
) -> Result<Vec<Take>> {
    let mut takes = vec![Take::default(); crowd.len()];
    for frame in 0..frames {
        let wishes: Vec<SteeringTarget> = (0..crowd.len())
            .map(|character| wish(character, frame, &crowd.root(character)))
            .collect();
        crowd.advance(&wishes)?;
        for (character, take) in takes.iter_mut().enumerate() {
            take.poses.push(crowd.pose(character));
            take.roots.push(crowd.root(character));
            take.contacts.push(crowd.contacts(character));
        }
        watch(frame + 1);
    }
    Ok(takes)
}
