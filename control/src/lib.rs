//! From the latest plan to a command at a fixed rate.
//!
//! The policy thread builds a [`Plan`] and publishes it through a [`PlanWriter`]. The control thread, woken by
//! [`fixed_rate::spawn`], takes the newest one from its [`PlanReader`] and asks the [`CommandEngine`] for the command due
//! now. Neither thread waits for the other, and the control thread's side neither allocates nor frees memory.
//!
//! [`timeline`], [`command`], [`latest`] and [`fixed_rate::Schedule`] read no clock: they take `now_ns`, nanoseconds of any
//! clock that does not go backwards. [`clock`] and the loop of [`fixed_rate`] are the thin shell with the real one. This
//! crate knows neither LibTorch nor the network.

mod blend;
pub mod clock;
pub mod command;
mod curve;
pub mod fixed_rate;
pub mod latencies;
pub mod latest;
pub mod limiter;
pub mod limits;
pub mod orientation;
mod quaternion;
pub mod timeline;

pub use clock::{Clock, Monotonic};
pub use command::{CommandCounts, CommandEngine, CommandStatus};
pub use curve::Interpolation;
pub use fixed_rate::{ControlLoop, LoopError, Schedule, Tick, TimingReport};
pub use latencies::{Latencies, Percentiles};
pub use latest::{PlanReader, PlanWriter, latest_plan};
pub use limiter::{Interventions, LimitCounts, Limiter, StartError};
pub use limits::{LimitsConfig, LimitsError, PerJoint};
pub use orientation::{OrientationError, Orientations};
pub use timeline::{Place, Plan, PlanError, PlanHeader};
