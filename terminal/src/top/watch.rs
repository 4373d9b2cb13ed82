//! What `top` knows: the newest health, the last minute of rates, when each node and each limit was
//! last heard of.
//!
//! Clock-free: every call is told the time since `top` began. Everything is bounded, whatever is
//! sent.

use std::collections::VecDeque;
use std::time::Duration;

use kinestream_bridge::Health;
use kinestream_bridge::health::LimitHealth;

/// Health that is older than this is stale: it is sent twice a second.
pub const STALE: Duration = Duration::from_secs(2);
/// How far back the rates go.
pub const SPAN: Duration = Duration::from_secs(60);
/// Rates that are kept at most.
const MOST_RATES: usize = 600;
/// Nodes that are kept at most; those that have gone are forgotten first.
const MOST_NODES: usize = 32;

/// Names of the limits, in the order of [`counts_of`].
pub const LIMITS: [&str; 5] = ["position", "velocity", "acceleration", "jerk", "not finite"];

/// All that is known about one robot.
#[derive(Debug)]
pub struct Watch {
    /// The key that is listened to.
    pub key: String,
    /// Where to, as a person would write it.
    pub address: String,
    /// Whether there is a connection.
    pub link: Link,
    /// Payloads on the key that were refused.
    pub malformed: u64,
    latest: Option<(Health, Duration)>,
    rates: VecDeque<(Duration, Rates)>,
    nodes: Vec<Seen>,
    limits_rose: [Option<Duration>; LIMITS.len()],
    missed_rose: Option<Duration>,
}

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not yet; with what went wrong at the last attempt.
    Trying(Option<String>),
    /// There was one; whether it still holds, the nodes show.
    Open,
}

/// Rates in hertz.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Observations per second.
    pub observations: f64,
    /// Plans per second.
    pub plans: f64,
    /// Commands per second.
    pub commands: f64,
}

/// A node that was alive at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Whether it is alive.
    pub alive: bool,
    /// When it came, or went.
    pub since: Duration,
    /// Whether it was there when `top` first looked: it came at that time or before.
    pub found: bool,
}

impl Watch {
    /// Nothing heard yet.
    pub fn new(key: String, address: String) -> Self {
        Self {
            key,
            address,
            link: Link::Trying(None),
            malformed: 0,
            latest: None,
            rates: VecDeque::new(),
            nodes: Vec::new(),
            limits_rose: [None; LIMITS.len()],
            missed_rose: None,
        }
    }

    /// Takes what arrived at `now`.
    pub fn hear(&mut self, health: Health, now: Duration) {
        if let Some((before, _)) = &self.latest {
            let (old, new) = (counts_of(&before.limits), counts_of(&health.limits));
            for (rose, (old, new)) in self.limits_rose.iter_mut().zip(old.into_iter().zip(new)) {
                note(rose, old, new, now);
            }
            note(
                &mut self.missed_rose,
                before.control.missed,
                health.control.missed,
                now,
            );
        }
        let rates = Rates {
            observations: health.policy.observations_per_second,
            plans: health.policy.plans_per_second,
            commands: health.control.measured_hz,
        };
        self.rates.push_back((now, rates));
        while self.rates.len() > MOST_RATES
            || self.rates.front().is_some_and(|(at, _)| *at + SPAN < now)
        {
            self.rates.pop_front();
        }
        self.latest = Some((health, now));
    }

    /// Takes the names of the nodes that are alive at `now`; `first` if it is the first look.
    pub fn see(&mut self, alive: &[String], first: bool, now: Duration) {
        for seen in &mut self.nodes {
            let is_alive = alive.contains(&seen.name);
            if is_alive != seen.alive {
                (seen.alive, seen.since, seen.found) = (is_alive, now, false);
            }
        }
        for name in alive {
            if self.nodes.iter().any(|seen| seen.name == *name) {
                continue;
            }
            if self.nodes.len() == MOST_NODES {
                let Some(gone) = self.nodes.iter().position(|seen| !seen.alive) else {
                    continue;
                };
                self.nodes.remove(gone);
            }
            self.nodes.push(Seen {
                name: name.clone(),
                alive: true,
                since: now,
                found: first,
            });
        }
    }

    /// The newest health, if any was heard.
    pub fn health(&self) -> Option<&Health> {
        self.latest.as_ref().map(|(health, _)| health)
    }

    /// How long nothing was heard, if that is too long.
    pub fn stale(&self, now: Duration) -> Option<Duration> {
        let heard = self.latest.as_ref().map_or(Duration::ZERO, |(_, at)| *at);
        let silent = now.saturating_sub(heard);
        (silent > STALE).then_some(silent)
    }

    /// Nodes in the order in which they came.
    pub fn nodes(&self) -> &[Seen] {
        &self.nodes
    }

    /// The last minute of a rate in `places` equal parts, the newest last; none where nothing was
    /// heard.
    pub fn history(
        &self,
        rate: impl Fn(&Rates) -> f64,
        places: usize,
        now: Duration,
    ) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0_u32); places];
        for (at, rates) in &self.rates {
            let left = SPAN.saturating_sub(now.saturating_sub(*at)).as_millis() as usize;
            let place = (left * places).div_ceil(SPAN.as_millis() as usize);
            if let Some((sum, number)) = place.checked_sub(1).and_then(|at| sums.get_mut(at)) {
                *sum += rate(rates);
                *number += 1;
            }
        }
        sums.into_iter()
            .map(|(sum, number)| (number > 0).then(|| sum / f64::from(number)))
            .collect()
    }

    /// When each of the [`LIMITS`] last intervened, as far as it was watched.
    pub fn limits_rose(&self) -> [Option<Duration>; LIMITS.len()] {
        self.limits_rose
    }

    /// When a period was last missed, as far as it was watched.
    pub fn missed_rose(&self) -> Option<Duration> {
        self.missed_rose
    }
}

/// Interventions, in the order of [`LIMITS`].
pub fn counts_of(limits: &LimitHealth) -> [u64; LIMITS.len()] {
    [
        limits.position,
        limits.velocity,
        limits.acceleration,
        limits.jerk,
        limits.not_finite,
    ]
}

/// Notes when a counter rose. One that fell belongs to a runtime that was started anew.
fn note(rose: &mut Option<Duration>, old: u64, new: u64, now: Duration) {
    match new.cmp(&old) {
        std::cmp::Ordering::Greater => *rose = Some(now),
        std::cmp::Ordering::Less => *rose = (new > 0).then_some(now),
        std::cmp::Ordering::Equal => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watch() -> Watch {
        Watch::new("ns/arm/health".into(), "tcp/127.0.0.1:7447".into())
    }

    fn jerks(number: u64) -> Health {
        let mut health = Health::default();
        health.limits.jerk = number;
        health.control.measured_hz = number as f64;
        health
    }

    #[test]
    fn a_limit_s_last_intervention_is_when_its_count_rose() {
        let mut watch = watch();
        watch.hear(jerks(5), s(1));
        assert_eq!(
            watch.limits_rose(),
            [None; 5],
            "before top was there, nobody knows when"
        );
        watch.hear(jerks(6), s(2));
        watch.hear(jerks(6), s(3));
        assert_eq!(watch.limits_rose()[3], Some(s(2)));
        // The runtime was started anew.
        watch.hear(jerks(0), s(4));
        assert_eq!(watch.limits_rose()[3], None);
        watch.hear(jerks(1), s(5));
        assert_eq!(watch.limits_rose()[3], Some(s(5)));
    }

    #[test]
    fn silence_is_stale() {
        let mut watch = watch();
        assert_eq!(watch.stale(s(1)), None);
        assert_eq!(watch.stale(s(3)), Some(s(3)));
        watch.hear(jerks(0), s(4));
        assert_eq!(watch.stale(s(6)), None);
        assert_eq!(watch.stale(s(9)), Some(s(5)));
    }

    #[test]
    fn nodes_come_and_go() {
        let mut watch = watch();
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        watch.see(&names(&["runtime"]), true, s(1));
        watch.see(&names(&["runtime", "simulator"]), false, s(2));
        watch.see(&names(&["simulator"]), false, s(3));
        let found: Vec<_> = watch
            .nodes()
            .iter()
            .map(|seen| (seen.name.as_str(), seen.alive, seen.since, seen.found))
            .collect();
        assert_eq!(
            found,
            [
                ("runtime", false, s(3), false),
                ("simulator", true, s(2), false)
            ]
        );
        // However many there are, the list is bounded and prefers the living.
        let many: Vec<String> = (0..100).map(|index| format!("n{index}")).collect();
        watch.see(&many, false, s(4));
        assert_eq!(watch.nodes().len(), MOST_NODES);
        assert!(watch.nodes().iter().all(|seen| seen.alive));
    }

    #[test]
    fn the_history_is_the_last_minute_in_equal_parts() {
        let mut watch = watch();
        for second in 0..=100 {
            watch.hear(jerks(second), s(second));
        }
        let rate = |rates: &Rates| rates.commands;
        let thirds = watch.history(rate, 3, s(100));
        // 41 to 60, 61 to 80, 81 to 100.
        assert_eq!(thirds, [Some(50.5), Some(70.5), Some(90.5)]);
        let later = watch.history(rate, 3, s(145));
        assert_eq!(later, [Some(93.0), None, None]);
        assert_eq!(watch.history(rate, 0, s(145)), []);
        for step in 0..10_000 {
            watch.hear(jerks(1), s(150) + Duration::from_millis(step));
        }
        assert!(watch.rates.len() <= MOST_RATES);
    }
}
