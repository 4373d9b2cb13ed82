//! Where observations arrive: on the receiving thread, whatever the policy computes meanwhile.
//!
//! They get their time of arrival here, and the watchdog hears of those that are good. Nothing in here waits, logs or takes
//! a lock that anybody else holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kinestream_bridge::Observation;
use kinestream_bridge::wire::{Decode, ObservationView, Stamp};
use kinestream_control::{Clock, Monotonic};
use kinestream_policy::arrivals::{Arrival, ObservationOrder};

use crate::signals::ControlInputs;

/// An observation with the time at which it arrived, in nanoseconds of the monotonic clock.
pub(super) struct Arrived {
    pub(super) observation: Observation,
    pub(super) arrived_ns: u64,
}

/// Receives a robot's observations.
pub(super) struct Reception {
    /// Numbers that the policy observes.
    size: usize,
    signals: Arc<ControlInputs>,
    /// Whether the newest observation that the policy thread took had its pictures; one without them is no valid one.
    pub(super) has_pictures: Arc<AtomicBool>,
    /// For receiving threads alone.
    order: Mutex<Order>,
}

/// What of a stream has arrived.
struct Order {
    stream: u32,
    arrivals: ObservationOrder,
}

impl Reception {
    /// For a policy that observes `size` numbers, and pictures with them or none, and has `period_ns` nanoseconds an action.
    pub(super) fn new(
        size: usize,
        with_pictures: bool,
        period_ns: u64,
        signals: Arc<ControlInputs>,
    ) -> Self {
        Self {
            size,
            signals,
            has_pictures: Arc::new(AtomicBool::new(!with_pictures)),
            order: Mutex::new(Order {
                stream: 0,
                arrivals: ObservationOrder::new(period_ns),
            }),
        }
    }

    /// Stamps an observation, and tells the watchdog where it is news and can be planned from.
    pub(super) fn take(&self, view: &ObservationView<'_>) -> Arrived {
        Arrived {
            arrived_ns: self.hear(&view.stamp, || self.is_whole(view)),
            observation: Observation::from_view(view),
        }
    }

    /// As [`Reception::take`], for an observation that never was a message.
    pub(super) fn take_owned(&self, observation: Observation) -> Arrived {
        let is_whole = || {
            let numbers = numbers(&observation);
            numbers.len() == self.size && numbers.iter().all(|it| it.is_finite())
        };
        Arrived {
            arrived_ns: self.hear(&observation.stamp, is_whole),
            observation,
        }
    }

    /// The time of arrival, of which the watchdog hears where the observation can be planned from.
    fn hear(&self, stamp: &Stamp, is_whole: impl FnOnce() -> bool) -> u64 {
        let arrived_ns = Monotonic.now_ns();
        if is_whole() && self.is_news(stamp) && self.has_pictures.load(Ordering::Relaxed) {
            self.signals.observed(arrived_ns);
        }
        arrived_ns
    }

    /// Whether there are as many numbers as the policy observes, all of them finite as it takes them.
    fn is_whole(&self, view: &ObservationView<'_>) -> bool {
        let number = |at: usize| {
            view.values
                .get(at)
                .is_some_and(|it| (it as f32).is_finite())
        };
        view.dims() == self.size && (0..self.size).all(number)
    }

    fn is_news(&self, stamp: &Stamp) -> bool {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.stream != stamp.stream {
            order.stream = stamp.stream;
            order.arrivals.reset();
        }
        let arrival = order.arrivals.take(stamp.sequence, stamp.monotonic_ns);
        matches!(arrival, Arrival::News { .. } | Arrival::Anew)
    }
}

/// An observation's numbers as the policy takes them.
pub fn numbers(observation: &Observation) -> Vec<f32> {
    let values = observation.values.to_f64();
    values.iter().map(|value| *value as f32).collect()
}

#[cfg(test)]
mod tests {
    use kinestream_bridge::wire::{Encode, Name, Values};

    use super::*;

    const PERIOD_NS: u64 = 100_000_000;

    #[test]
    fn the_watchdog_hears_of_what_can_be_planned_from() {
        for is_message in [true, false] {
            hears_of_what_can_be_planned_from(is_message);
        }
    }

    fn hears_of_what_can_be_planned_from(is_message: bool) {
        let signals = Arc::new(ControlInputs::new(Arc::default(), false));
        let reception = Reception::new(2, true, PERIOD_NS, Arc::clone(&signals));
        let is_heard = |sequence: u64, values: Values| {
            let observation = Observation {
                stamp: Stamp {
                    sequence,
                    monotonic_ns: sequence * PERIOD_NS,
                    stream: 1,
                    ..Stamp::default()
                },
                name: Name::new("state").unwrap(),
                values,
            };
            let before = signals.facts(false).observation_ns;
            let arrived = if is_message {
                let mut bytes = Vec::new();
                observation.encode_into(&mut bytes).unwrap();
                reception.take(&Observation::<Values>::view(&bytes).unwrap())
            } else {
                reception.take_owned(observation.clone())
            };
            assert_eq!(arrived.observation.stamp, observation.stamp);
            let heard = signals.facts(false).observation_ns;
            assert!(heard == before || heard == arrived.arrived_ns);
            heard != before
        };
        let good = || Values::F64(vec![1.0, 2.0]);
        assert!(!is_heard(1, good()), "without its pictures");
        reception.has_pictures.store(true, Ordering::Relaxed);
        assert!(is_heard(2, good()));
        assert!(!is_heard(2, good()), "the same once more");
        assert!(!is_heard(1, good()), "an older one");
        assert!(!is_heard(3, Values::F32(vec![1.0])), "too short");
        assert!(!is_heard(3, Values::F32(vec![1.0; 3])), "too long");
        for bad in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(!is_heard(3, Values::F64(vec![1.0, bad])), "{bad}");
        }
        assert!(is_heard(3, good()));
    }
}
