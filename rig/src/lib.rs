//! Motion of characters without networks: skeletons and motion capture files, one common skeleton with retargeting, foot lock,
//! inertialization, features and metrics. LibTorch is not needed for any of it.
//!
//! Nothing here knows a clock, a thread or a network. Lengths are meters, angles radians, times seconds; the world is
//! right-handed with Y up, and a character at rest faces +Z.
//!
//! Vocabulary: a *joint* is a node of a [`Skeleton`]; a *pose* is the place of the root and the rotation of every joint against
//! its parent; a *clip* is a series of poses at a fixed rate.

pub mod bend;
pub mod character;
pub mod clip;
pub mod course;
pub mod data;
pub mod error;
pub mod features;
pub mod foot;
pub mod formats;
pub mod inertial;
pub mod metrics;
pub mod picture;
pub mod retarget;
pub mod rotation;
pub mod skeleton;
pub mod steering;
pub mod stick;
pub mod trajectory;

pub use clip::{Clip, Pose};
pub use error::{Error, Result};
pub use skeleton::{GlobalPose, Joint, Skeleton};
