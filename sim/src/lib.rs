//! Bundled simulator: environments such as Push-T as the field scores it, and evaluation in them.
//!
//! Nothing here knows LibTorch, zenoh or a socket: physics and scoring are plain arithmetic that can
//! be re-run bit for bit. Pages that show it are in `kinestream-viewer`.

pub mod delay;
pub mod environment;
pub mod evaluation;
pub mod pusht;
pub mod registry;
pub mod routes;
pub mod statistics;
pub mod two_ways;
