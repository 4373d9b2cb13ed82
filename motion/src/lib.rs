//! Motion of characters: skeletons and motion capture files, one common skeleton with retargeting,
//! motion features, and the models that generate motion from them.
//!
//! Nothing here knows a clock, a thread or a network. Lengths are metres, angles radians, times
//! seconds; the world is right-handed with Y up, and a character at rest faces +Z. Every random
//! number comes from a seeded stream, so equal seeds give equal motion.
//!
//! Vocabulary: a *joint* is a node of a [`Skeleton`]; a *pose* is the place of the root and the
//! rotation of every joint against its parent; a *clip* is a series of poses at a fixed rate.

pub mod bend;
pub mod character;
pub mod clip;
pub mod controller;
pub mod course;
pub mod crowd;
pub mod data;
pub mod embedding;
pub mod emdm;
pub mod error;
pub mod evaluation;
pub mod extractor;
pub mod features;
pub mod foot;
pub mod formats;
pub mod frame;
pub mod inertial;
mod learner;
pub mod long_run;
pub mod metrics;
pub mod model;
pub mod motion_vae;
pub mod performer;
pub mod picture;
mod placing;
mod plan;
pub mod predictor;
pub mod recogniser;
pub mod retarget;
pub mod rotation;
pub mod skeleton;
pub mod steering;
pub mod stick;
pub mod synthesis;
pub mod toy;
pub mod training;
pub mod trajectory;
pub mod transitions;

pub use clip::{Clip, Pose};
pub use error::{Error, Result};
pub use skeleton::{GlobalPose, Joint, Skeleton};
