//! What the watchdog watches, as configured: table `[control.watchdog]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a late plan does, table `[control.watchdog]`, key `late_plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LatePlan {
    /// Its committed positions are followed to their end, then it is held.
    #[default]
    Continue,
    /// It is held at once.
    Hold,
    /// A safe stop.
    Stop,
}

/// How a safe stop is left, table `[control.watchdog]`, key `rearm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rearm {
    /// By an explicit request, as an emergency stop.
    #[default]
    Request,
    /// By itself, once everything is well again: for simulators and characters.
    Automatic,
}

/// Table `[control.watchdog]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WatchdogConfig {
    /// Longest time without a valid observation, in milliseconds; 0 for no watch.
    pub observation_timeout_ms: f64,
    /// Greatest age of the newest plan, from the observation that it answers, in milliseconds; 0 for no watch.
    pub plan_timeout_ms: f64,
    /// What a plan beyond that age does: continue, hold or stop.
    pub late_plan: LatePlan,
    /// Holding for longer than this many milliseconds becomes a safe stop; 0 for never.
    pub safe_stop_after_ms: f64,
    /// How a safe stop is left: request or automatic.
    pub rearm: Rearm,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        Self {
            observation_timeout_ms: 500.0,
            plan_timeout_ms: 500.0,
            late_plan: LatePlan::Continue,
            safe_stop_after_ms: 2000.0,
            rearm: Rearm::Request,
        }
    }
}

/// A time in the watchdog's table that is none.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("control.watchdog.{key} is {found}, expected 0 (no watch) to 3600000 milliseconds")]
pub struct WatchdogError {
    /// The key.
    pub key: &'static str,
    /// What stands there.
    pub found: f64,
}

impl WatchdogConfig {
    /// Checks the times.
    ///
    /// # Errors
    /// A time that is negative, longer than an hour, or no number.
    pub fn check(&self) -> Result<(), WatchdogError> {
        let times = [
            ("observation_timeout_ms", self.observation_timeout_ms),
            ("plan_timeout_ms", self.plan_timeout_ms),
            ("safe_stop_after_ms", self.safe_stop_after_ms),
        ];
        match times
            .into_iter()
            .find(|(_, found)| !(0.0..=3.6e6).contains(found))
        {
            Some((key, found)) => Err(WatchdogError { key, found }),
            None => Ok(()),
        }
    }
}
