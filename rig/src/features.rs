//! Motion features: what the models see of a frame.
//!
//! A frame is described as its own root sees it (see [`crate::trajectory`]), so that a motion is the
//! same wherever it happens. The first [`Layout::HAND_MADE`] numbers are the hand-made part x of the
//! embedded space; what steering and foot contact need can be read and guided there directly. All of
//! it goes into the encoder.
//!
//! | Numbers | Meaning | Unit |
//! |---|---|---|
//! | 2 | displacement of the root since the last frame, as the last frame's root sees it | m/s |
//! | 1 | turn since the last frame | rad/s |
//! | 3 | place of the hips | m |
//! | 6 | places of both ankles | m |
//! | 6 | velocities of both ankles in the world, as the root sees them | m/s |
//! | 4 | contact of left heel, left toe, right heel, right toe, 0 or 1 | |
//! | 6 J | rotations against the parent as six numbers, of the hips against the root | |
//! | 3 (J - 1) | places of the other joints | m |
//! | 3 J | velocities of all joints | m/s |

use nalgebra::{Vector2, Vector3};

use crate::rotation::{to_six, wrapped, yaw};
use crate::skeleton::GlobalPose;
use crate::trajectory::{HeadingJoints, Root};
use crate::{Clip, Error, Result, Skeleton};

/// Contact of left heel, left toe, right heel, right toe.
pub type Contacts = [bool; 4];

/// Standard deviation of the window that smooths the root's place, in seconds.
pub const POSITION_WINDOW: f64 = 0.1;
/// Standard deviation of the window that smooths the root's heading, in seconds.
pub const HEADING_WINDOW: f64 = 0.15;

/// Where the numbers of a frame stand, for a skeleton of `joints` joints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    joints: usize,
}

impl Layout {
    /// Displacement (left, ahead) and turn of the root.
    pub const ROOT: usize = 0;
    /// Place of the hips.
    pub const HIPS: usize = 3;
    /// Places of the ankles.
    pub const FEET: usize = 6;
    /// Velocities of the ankles.
    pub const FEET_VELOCITY: usize = 12;
    /// Contacts.
    pub const CONTACTS: usize = 18;
    /// Numbers of the hand-made part.
    pub const HAND_MADE: usize = 22;
    /// Rotations.
    pub const ROTATIONS: usize = Self::HAND_MADE;

    /// The layout for a number of joints.
    pub fn new(joints: usize) -> Self {
        Self { joints }
    }

    /// Number of joints J.
    pub fn joints(self) -> usize {
        self.joints
    }

    /// Where the places of the joints begin.
    pub fn positions(self) -> usize {
        Self::ROTATIONS + 6 * self.joints
    }

    /// Where the velocities of the joints begin.
    pub fn velocities(self) -> usize {
        self.positions() + 3 * (self.joints - 1)
    }

    /// Numbers of a frame F.
    pub fn size(self) -> usize {
        self.velocities() + 3 * self.joints
    }
}

/// The features of a clip, and the path that its root takes.
#[derive(Debug, Clone)]
pub struct Features {
    /// Where the numbers of a row stand.
    pub layout: Layout,
    /// Rows `[T - 1, F]` of the frames 1 and later: the first frame has no last one.
    pub rows: Vec<f32>,
    /// The root at the same frames `[T - 1]`.
    pub roots: Vec<Root>,
}

/// Computes the features of a clip of the common skeleton; `contacts` has one entry per frame.
///
/// # Errors
/// Joints that the features need are not there, fewer than two frames, or a number that is not
/// finite.
pub fn extract(clip: &Clip, contacts: &[Contacts]) -> Result<Features> {
    let frames = clip.frames.len();
    if frames < 2 || contacts.len() != frames {
        return Err(Error::Clip(format!(
            "{frames} frames with {} contacts, expected two frames or more and a contact for each",
            contacts.len()
        )));
    }
    let skeleton = &clip.skeleton;
    let landmarks = HeadingJoints::of(skeleton)?;
    let feet = ankles(skeleton)?;
    let poses: Vec<GlobalPose> = clip
        .frames
        .iter()
        .map(|pose| skeleton.forward(pose))
        .collect();
    let roots = landmarks.trajectory(&poses, clip.frame_rate, POSITION_WINDOW, HEADING_WINDOW);
    let layout = Layout::new(skeleton.len());
    let mut rows = Vec::with_capacity((frames - 1) * layout.size());
    for frame in 1..frames {
        let (before, root) = (&roots[frame - 1], &roots[frame]);
        let pose = &poses[frame];
        let velocity = |joint: usize| -> Vector3<f64> {
            let moved = pose.positions[joint] - poses[frame - 1].positions[joint];
            root.localise_vector(&(moved * clip.frame_rate))
        };
        let step: Vector2<f64> = before.inwards(root.position - before.position) * clip.frame_rate;
        let turn = wrapped(root.heading - before.heading) * clip.frame_rate;
        let mut push = |value: f64| rows.push(value as f32);
        [step.x, step.y, turn].into_iter().for_each(&mut push);
        root.localise(&pose.positions[0])
            .iter()
            .copied()
            .for_each(&mut push);
        for joint in feet {
            root.localise(&pose.positions[joint])
                .iter()
                .copied()
                .for_each(&mut push);
        }
        for joint in feet {
            velocity(joint).iter().copied().for_each(&mut push);
        }
        for contact in contacts[frame] {
            push(f64::from(u8::from(contact)));
        }
        for (joint, rotation) in clip.frames[frame].rotations.iter().enumerate() {
            let seen = if joint == 0 {
                yaw(-root.heading) * rotation
            } else {
                *rotation
            };
            to_six(&seen).into_iter().for_each(&mut push);
        }
        for position in &pose.positions[1..] {
            root.localise(position).iter().copied().for_each(&mut push);
        }
        for joint in 0..skeleton.len() {
            velocity(joint).iter().copied().for_each(&mut push);
        }
    }
    if let Some(place) = rows.iter().position(|value| !value.is_finite()) {
        return Err(Error::Clip(format!(
            "frame {} has a number that is not finite",
            1 + place / layout.size()
        )));
    }
    Ok(Features {
        layout,
        rows,
        roots: roots[1..].to_vec(),
    })
}

/// The joints of both ankles, left first.
///
/// # Errors
/// A skeleton that lacks one.
pub fn ankles(skeleton: &Skeleton) -> Result<[usize; 2]> {
    let find = |name: &str| {
        skeleton
            .index(name)
            .ok_or_else(|| Error::Skeleton(format!("no joint `{name}`; retarget the clip first")))
    };
    Ok([find("LeftFoot")?, find("RightFoot")?])
}
