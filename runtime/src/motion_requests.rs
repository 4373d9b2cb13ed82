//! What may be asked of a running robot: stops, re-arming, pause, resume and home, passed on to its control thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kinestream_bridge::node::{KeeperState, MotionRequest, RequestHandler, StopSource};
use kinestream_control::{Activity, SafetyReason, SafetyState};
use serde_json::{Value, json};

use super::signals::{ControlInputs, ControlMetrics};

/// How long a request waits for the control thread to have seen it, for the answer's sake.
const SEEN_WITHIN: Duration = Duration::from_millis(200);

/// Passes requests on to the control thread.
pub(crate) struct Requests {
    pub(crate) robot: String,
    pub(crate) signals: Arc<ControlInputs>,
    pub(crate) gauges: Arc<ControlMetrics>,
    pub(crate) has_home: bool,
    pub(crate) needs_keeper: bool,
    /// What keepers said last, so that changes are told.
    pub(crate) keepers: Mutex<KeeperState>,
}

impl RequestHandler for Requests {
    fn stop(&self, source: StopSource) {
        self.signals.stop(source);
    }

    fn request(&self, request: MotionRequest) -> Result<(), String> {
        match request {
            MotionRequest::Stop => self.signals.stop(StopSource::Query),
            MotionRequest::Rearm => self.signals.latch().rearm(),
            MotionRequest::Pause => self.signals.set_activity(Activity::Pause),
            MotionRequest::Resume => self.signals.set_activity(Activity::Policy),
            MotionRequest::Home if !self.has_home => {
                return Err("the runtime's configuration has no control.home".to_owned());
            }
            MotionRequest::Home => self.signals.set_activity(Activity::Home),
        }
        tracing::info!("{}: {} requested", self.robot, request.name());
        Ok(())
    }

    fn state(&self, request: MotionRequest) -> Value {
        let begun = Instant::now();
        let seen = || match request {
            MotionRequest::Stop => self.gauges.rung() == SafetyState::EmergencyStop,
            MotionRequest::Rearm => self.gauges.rung() < SafetyState::SafeStop,
            MotionRequest::Pause => self.gauges.cause() == SafetyReason::Pause,
            MotionRequest::Resume => self.gauges.rung() == SafetyState::Running,
            MotionRequest::Home => matches!(
                self.gauges.cause(),
                SafetyReason::Homing | SafetyReason::Home
            ),
        };
        while begun.elapsed() < SEEN_WITHIN && !seen() {
            std::thread::sleep(Duration::from_millis(1));
        }
        json!({
            "rung": self.gauges.rung(),
            "reason": self.gauges.reason(),
            "at_rest": self.gauges.is_at_rest(),
        })
    }

    fn watch(&self, keepers: KeeperState, twin: bool) {
        self.signals
            .set_stop_keeper_missing(self.needs_keeper && keepers == KeeperState::Absent);
        self.signals.set_twin_runtime(twin);
        let mut last = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != keepers {
            match keepers {
                KeeperState::Held => {
                    tracing::warn!("{}: a keeper on cmd/estop holds a stop", self.robot);
                }
                KeeperState::Released => {
                    tracing::info!("{}: a keeper of stops is there", self.robot);
                }
                KeeperState::Absent => {
                    tracing::info!("{}: no keeper of stops answers any more", self.robot);
                }
            }
            *last = keepers;
        }
    }
}
