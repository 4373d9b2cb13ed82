//! Motion of one character, frame after frame.

use crate::data::FRAME_RATE;
use crate::trajectory::Root;
use crate::{Clip, Pose, character};

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
}
