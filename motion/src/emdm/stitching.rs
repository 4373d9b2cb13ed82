//! Motion of any length: clips one after the other, each from the last pose of the one before.

use super::{Emdm, Guidance, Request};
use crate::data::FRAME_RATE;
use crate::inertial::Inertialization;
use crate::synthesis::Take;
use crate::{Clip, Pose, Result, character};

/// Time in seconds after which half of a difference at a seam is left.
pub const HALF_LIFE: f64 = 0.1;
/// Frames that the pose to go on from is told by: what smooths its root reaches so far.
const TOLD: usize = 16;

impl Emdm {
    /// Makes clips for requests one after the other; from the second on each goes on from where the
    /// one before ended. `watch` hears of every clip done.
    ///
    /// # Errors
    /// As [`Emdm::generate`].
    pub fn stitched(
        &self,
        requests: &[Request],
        guidance: Guidance,
        evaluations: usize,
        mut watch: impl FnMut(usize),
    ) -> Result<Take> {
        let mut whole = Take::default();
        for (number, request) in requests.iter().enumerate() {
            let mut request = request.clone();
            if !whole.poses.is_empty() {
                request.start = Some(self.pose(&ending(&whole.poses))?);
            }
            let take = self
                .generate(std::slice::from_ref(&request), guidance, evaluations)?
                .remove(0);
            append(&mut whole, take);
            watch(number + 1);
        }
        Ok(whole)
    }
}

/// The last frames of a motion, as [`Emdm::pose`] takes them.
pub fn ending(poses: &[Pose]) -> Clip {
    Clip {
        skeleton: character::skeleton(),
        frame_rate: FRAME_RATE,
        frames: poses[poses.len().saturating_sub(TOLD)..].to_vec(),
    }
}

/// Sets a take behind another, blended at the seam.
pub(super) fn append(whole: &mut Take, mut take: Take) {
    if let ([.., before, last], [first, second, ..]) = (&*whole.poses, &*take.poses) {
        let frame = 1.0 / FRAME_RATE;
        let seam = Inertialization::between([before, last], [first, second], frame, HALF_LIFE);
        for (number, pose) in take.poses.iter_mut().enumerate() {
            seam.apply(pose, (number + 1) as f64 * frame);
        }
    }
    whole.poses.append(&mut take.poses);
    whole.roots.append(&mut take.roots);
    whole.contacts.append(&mut take.contacts);
}
