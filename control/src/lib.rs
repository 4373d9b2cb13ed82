//! From the latest plan to a command at a fixed rate.
//!
//! The policy thread builds a [`Plan`] and publishes it through a [`PlanWriter`]. The control thread, woken by
//! [`fixed_rate::spawn`], takes the newest one from its [`PlanReader`] and asks the [`CommandEngine`] for the command due
//! now. Neither thread waits for the other, and the control thread's side neither allocates nor frees memory.
//!
//! The control thread asks the operating system for what [`realtime`] is told, and says what it was given; [`timing_gauge`]
//! shows how well it keeps its rate while it runs.
//!
//! [`timeline`], [`command`], [`latest`] and [`schedule`] read no clock: they take `now_ns`, nanoseconds of any
//! clock that does not go backwards. [`clock`], [`realtime`] and the loop of [`fixed_rate`] are the thin shell with the real
//! one. This crate knows neither LibTorch nor the network.

pub mod allocations;
mod blend;
pub mod clock;
pub mod command;
pub mod controller;
mod curve;
mod descriptors;
pub mod fixed_rate;
pub mod interpolation;
pub mod latencies;
pub mod latest;
pub mod limiter;
pub mod limits;
pub mod machine;
pub mod orientation;
mod quaternion;
pub mod realtime;
pub mod rotation;
pub mod schedule;
mod silent_connections;
pub mod start;
pub mod stop_latch;
pub mod supervisor;
#[cfg(target_os = "linux")]
pub mod thread_freezer;
pub mod timeline;
pub mod timing;
pub mod timing_gauge;
pub mod watchdog;

pub use clock::{Clock, Monotonic};
pub use command::{CommandCounts, CommandEngine, CommandStatus};
pub use controller::{
    Controller, ControllerConfig, ControllerError, FarStart, TickInputs, TickOutput,
};
pub use curve::Interpolation;
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub use fixed_rate::{ControlLoop, LoopError, LoopOptions, Tick};
pub use interpolation::{InterpolationConfig, InterpolationError, Interpolations};
pub use latencies::{Latencies, Percentiles};
pub use latest::{PlanReader, PlanWriter, latest_plan};
pub use limiter::{LimitCounts, LimitFlags, Limiter, StartError};
pub use limits::{LimitsConfig, LimitsError, PerJoint};
pub use machine::Machine;
pub use orientation::{OrientationError, Orientations};
pub use realtime::{RealtimeConfig, RealtimeError, RealtimeStatus, pin_current_thread};
pub use rotation::OrientationColumns;
pub use schedule::{MissPolicy, Schedule};
pub use silent_connections::keep_back_silent_connections;
pub use start::{StartConfig, StartConfigError, StartFrom};
pub use stop_latch::{StopLatch, StopRequests};
pub use supervisor::{Activity, HealthInputs, SafetyReason, SafetyState, Situation, Supervisor};
pub use timeline::{Plan, PlanError, PlanHeader, PlanPhase};
pub use timing::{Timing, TimingReport};
pub use timing_gauge::{Distribution, TimingGauge, TimingSnapshot};
pub use watchdog::{LatePlan, Rearm, WatchdogConfig, WatchdogError};
