//! Bundled simulator: environments such as Push-T as the field scores it, the viewer page, and evaluation.
//!
//! Nothing here knows LibTorch or zenoh: physics and scoring are plain arithmetic that can be
//! re-run bit for bit, and the viewer only shows what it is handed.

pub mod delay;
pub mod environment;
pub mod evaluation;
pub mod pusht;
pub mod registry;
pub mod routes;
pub mod statistics;
pub mod two_ways;
pub mod viewer;
