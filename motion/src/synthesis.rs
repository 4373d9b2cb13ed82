//! Motion made by a model, kept as clips that can be measured, drawn and written.

use crate::crowd::{CharacterBatch, SteeringTarget};
use crate::data::FRAME_RATE;
use crate::trajectory::Root;
use crate::{Clip, Pose, Result, character};

/// What one character did.
#[derive(Debug, Clone, Default)]
pub struct Take {
    /// Poses in the world, one per frame.
    pub poses: Vec<Pose>,
    /// Roots, one per frame.
    pub roots: Vec<Root>,
    /// Contacts of left heel, left toe, right heel, right toe, 0 to 1, one per frame.
    pub contacts: Vec<[f64; 4]>,
}

impl Take {
    /// The poses as a clip.
    pub fn clip(&self) -> Clip {
        Clip {
            skeleton: character::skeleton(),
            frame_rate: FRAME_RATE,
            frames: self.poses.clone(),
        }
    }

    /// Leaves out the first frames.
    pub fn skip(&mut self, frames: usize) {
        let frames = frames.min(self.poses.len());
        self.poses.drain(..frames);
        self.roots.drain(..frames);
        self.contacts.drain(..frames);
    }

    fn push(&mut self, crowd: &CharacterBatch, character: usize) {
        self.poses.push(crowd.pose(character));
        self.roots.push(crowd.root(character));
        self.contacts.push(crowd.contacts(character));
    }
}

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
            take.push(crowd, character);
        }
        watch(frame + 1);
    }
    Ok(takes)
}
