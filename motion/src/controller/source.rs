//! Where the frames of a live character come from.

use crate::crowd::{CharacterBatch, SteeringTarget};
use crate::trajectory::Root;
use crate::{Error, Pose, Result};

/// Where the frames of one character come from.
pub trait FrameSource: Sized {
    /// The same source at its beginning: standing at the origin, facing +Z.
    ///
    /// # Errors
    /// Nothing to begin with, or the model refused.
    fn restart(self, seed: u64) -> Result<Self>;

    /// Makes the next frame. `diversity` is the factor of all random numbers.
    ///
    /// # Errors
    /// The model refused.
    fn advance(&mut self, wish: &SteeringTarget, diversity: f64) -> Result<()>;

    /// Where the character is.
    fn root(&self) -> Root;

    /// Puts it elsewhere.
    fn place(&mut self, root: Root);

    /// The last frame in the world.
    fn pose(&self) -> Pose;

    /// Contact of left heel, left toe, right heel, right toe in the last frame, 0 to 1.
    fn contacts(&self) -> [f64; 4];

    /// Frames that the source itself has refused.
    fn refused(&self) -> u64;

    /// Whether the frame lies where two motions meet.
    fn is_at_seam(&self) -> bool {
        false
    }

    /// Whether the last frame is of something that steering does not change.
    fn is_acting(&self) -> bool {
        false
    }

    /// Ends whatever steering does not change.
    fn let_go(&mut self) {}
}

/// A crowd of one.
impl FrameSource for CharacterBatch {
    fn restart(self, seed: u64) -> Result<Self> {
        let starts = self.model().starts();
        if starts.size()[0] == 0 {
            return Err(Error::Weights(
                "the motion model has no frame to begin with; train it again".into(),
            ));
        }
        Self::new(self.into_model(), &starts.narrow(0, 0, 1), &[seed])
    }

    fn advance(&mut self, wish: &SteeringTarget, diversity: f64) -> Result<()> {
        self.set_diversity(diversity);
        Self::advance(self, std::slice::from_ref(wish))
    }

    fn root(&self) -> Root {
        Self::root(self, 0)
    }

    fn place(&mut self, root: Root) {
        Self::place(self, 0, root);
    }

    fn pose(&self) -> Pose {
        Self::pose(self, 0)
    }

    fn contacts(&self) -> [f64; 4] {
        Self::contacts(self, 0)
    }

    fn refused(&self) -> u64 {
        Self::refused(self, 0)
    }
}
