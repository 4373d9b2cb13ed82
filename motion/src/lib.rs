//! Motion of characters: skeletons and motion capture files, one common skeleton with retargeting,
//! motion features, and the models that generate motion from them.
//!
//! Nothing here knows a clock, a thread or a network. Lengths are metres, angles radians, times
//! seconds; the world is right-handed with Y up, and a character at rest faces +Z. Every random
//! number comes from a seeded stream, so equal seeds give equal motion.
//!
//! Vocabulary: a *joint* is a node of a [`Skeleton`]; a *pose* is the place of the root and the
//! rotation of every joint against its parent; a *clip* is a series of poses at a fixed rate.

pub mod controller;
pub mod crowd;
pub mod embedding;
pub mod emdm;
pub mod error;
pub mod extractor;
pub mod frame;
pub mod kinematics;
mod learner;
pub mod model;
pub mod motion_vae;
pub mod performer;
pub mod placing;
mod plan;
pub mod predictor;
pub mod recogniser;
pub mod synthesis;
mod take;
pub mod toy;
pub mod training;

pub use error::{Error, Result};
pub use kinestream_rig::{
    Clip, GlobalPose, Joint, Pose, Skeleton, bend, character, clip, course, data, features, foot,
    formats, inertial, metrics, picture, retarget, rotation, skeleton, steering, stick, trajectory,
};
