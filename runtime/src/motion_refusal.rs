//! Motions that do not begin: when that is to be told.

use std::time::{Duration, Instant};

use kinestream_control::{SafetyReason, SafetyState};

/// How long a motion has to be refused for one cause before that is told, and before it is told again.
const REFUSED_FOR: Duration = Duration::from_millis(200);
const REFUSED_AGAIN: Duration = Duration::from_secs(30);

/// A motion that does not begin, which the rung, staying what it was, does not show.
#[derive(Debug, Default)]
pub(crate) struct MotionRefusal {
    cause: Option<SafetyReason>,
    since: Option<Instant>,
    told: Option<Instant>,
}

impl MotionRefusal {
    /// Takes what holds at `now`; whether it is time to say so.
    pub(crate) fn is_to_be_told(
        &mut self,
        rung: SafetyState,
        cause: SafetyReason,
        now: Instant,
    ) -> bool {
        let is_refused =
            matches!(rung, SafetyState::Waiting | SafetyState::Holding) && refuses_motion(cause);
        if matches!(rung, SafetyState::Running | SafetyState::Continuing) {
            *self = Self::default();
        }
        if !is_refused {
            return false;
        }
        if self.cause != Some(cause) {
            *self = Self {
                cause: Some(cause),
                since: Some(now),
                told: None,
            };
        }
        let lasts = |from: Option<Instant>, span: Duration| {
            from.is_none_or(|from| now.saturating_duration_since(from) >= span)
        };
        let is_due = lasts(self.since, REFUSED_FOR) && lasts(self.told, REFUSED_AGAIN);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

/// Whether a cause keeps a motion from beginning until somebody does something about it; the others pass by themselves.
fn refuses_motion(cause: SafetyReason) -> bool {
    matches!(
        cause,
        SafetyReason::FarStart
            | SafetyReason::NotMeasured
            | SafetyReason::OutsideLimits
            | SafetyReason::NoStopKeeper
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_it_lasts_and_again_after_half_a_minute() {
        let begun = Instant::now();
        let mut refusal = MotionRefusal::default();
        let mut told = |rung: SafetyState, cause: SafetyReason, after_ms: u64| {
            refusal.is_to_be_told(rung, cause, begun + Duration::from_millis(after_ms))
        };
        let (waiting, far) = (SafetyState::Waiting, SafetyReason::FarStart);
        assert!(!told(waiting, SafetyReason::NoObservation, 0));
        assert!(!told(waiting, far, 10));
        assert!(!told(waiting, far, 150));
        assert!(told(waiting, far, 250));
        assert!(!told(waiting, far, 20_000));
        // What comes between does not make it another.
        assert!(!told(waiting, SafetyReason::NoPlan, 21_000));
        assert!(!told(waiting, far, 22_000));
        assert!(told(waiting, far, 31_000));
        assert!(!told(waiting, SafetyReason::NotMeasured, 31_010));
        assert!(told(waiting, SafetyReason::NotMeasured, 31_300));
        // A motion that began meanwhile makes it news.
        assert!(!told(SafetyState::Running, SafetyReason::None, 31_400));
        assert!(!told(SafetyState::Holding, far, 31_500));
        assert!(told(SafetyState::Holding, far, 31_800));
    }
}
