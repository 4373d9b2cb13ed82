//! How often each of several equally right ways to solve a task was taken: the measure of a lost mode.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::environment::{EnvironmentSpec, EpisodeEnd};
use crate::evaluation::Episode;
use crate::statistics::{self, Estimate};

/// What episodes that came to no end count as.
const UNFINISHED: &str = "unfinished";

/// Routes and failures of episodes in an environment that tells routes apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteSummary {
    /// Episodes by route, by reason of failure, and `unfinished`; every route is there.
    pub counts: BTreeMap<&'static str, u64>,
    /// Share of all episodes, by the same names.
    pub shares: BTreeMap<&'static str, f64>,
    /// Share of the rarest route among the successes; 0 where a route is lost. None without a success.
    pub rarest_share: Option<f64>,
    /// Its 95 % interval (Wilson).
    pub rarest_share_interval: Option<[f64; 2]>,
    /// Entropy of the routes of the successes over that of equal shares: 1 for equal shares, 0 for one route alone. None
    /// without a success.
    pub relative_entropy: Option<f64>,
}

impl RouteSummary {
    /// The routes of episodes; none where the environment tells none apart.
    #[must_use]
    pub fn of(environment: &EnvironmentSpec, episodes: &[Episode]) -> Option<Self> {
        let routes = environment.routes;
        if routes.len() < 2 {
            return None;
        }
        let mut counts: BTreeMap<&'static str, u64> =
            routes.iter().map(|route| (*route, 0)).collect();
        for episode in episodes {
            let name = match (episode.route, episode.end) {
                (Some(route), _) => route,
                (None, Some(EpisodeEnd::Failure(reason))) => reason,
                _ => UNFINISHED,
            };
            *counts.entry(name).or_default() += 1;
        }
        let taken = routes.iter().map(|route| counts[route]);
        let successes: u64 = taken.clone().sum();
        let rarest = taken.clone().min().unwrap_or(0);
        let estimate = statistics::proportion(rarest, successes);
        let entropy: f64 = taken
            .filter(|count| *count > 0)
            .map(|count| count as f64 / successes as f64)
            .map(|share| -share * share.ln())
            .sum();
        let all = episodes.len().max(1) as f64;
        Some(Self {
            shares: counts
                .iter()
                .map(|(name, count)| (*name, *count as f64 / all))
                .collect(),
            counts,
            rarest_share: estimate.map(|rarest| rarest.value),
            rarest_share_interval: estimate.map(|Estimate { low, high, .. }| [low, high]),
            // Adding 0 turns the -0 of a single route into 0.
            relative_entropy: (successes > 0).then(|| entropy / (routes.len() as f64).ln() + 0.0),
        })
    }
}

impl std::fmt::Display for RouteSummary {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.counts.iter();
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        write!(out, "{}", counts.join(", "))?;
        if let (Some(share), Some([low, high]), Some(entropy)) = (
            self.rarest_share,
            self.rarest_share_interval,
            self.relative_entropy,
        ) {
            write!(
                out,
                "; rarest {share:.3} [{low:.3}, {high:.3}], entropy {entropy:.3}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusht;

    fn episodes(left: usize, right: usize, hits: usize, unfinished: usize) -> Vec<Episode> {
        let success = |route| (Some(EpisodeEnd::Success), Some(route));
        let all = [
            (left, success("left")),
            (right, success("right")),
            (hits, (Some(EpisodeEnd::Failure("obstacle")), None)),
            (unfinished, (Some(EpisodeEnd::TimeLimit), None)),
        ];
        let of = |(count, (end, route))| {
            let episode = Episode {
                end,
                route,
                ..Episode::begun(0)
            };
            std::iter::repeat_n(episode, count)
        };
        all.into_iter().flat_map(of).collect()
    }

    fn summary(left: usize, right: usize, hits: usize, unfinished: usize) -> RouteSummary {
        let spec = EnvironmentSpec {
            routes: &["left", "right"],
            ..pusht::SPEC
        };
        RouteSummary::of(&spec, &episodes(left, right, hits, unfinished)).unwrap()
    }

    #[test]
    fn routes_failures_and_unfinished_episodes_are_counted() {
        let found = summary(4, 4, 1, 1);
        let counts: Vec<_> = found.counts.into_iter().collect();
        let expected = [
            ("left", 4),
            ("obstacle", 1),
            ("right", 4),
            ("unfinished", 1),
        ];
        assert_eq!(counts, expected);
        assert_eq!(found.shares["obstacle"], 0.1);
        assert_eq!(found.rarest_share, Some(0.5));
        assert!((found.relative_entropy.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_lost_route_shows() {
        let found = summary(0, 20, 0, 0);
        assert_eq!(found.counts["left"], 0);
        assert_eq!(found.rarest_share, Some(0.0));
        let entropy = found.relative_entropy.unwrap();
        assert_eq!((entropy, entropy.is_sign_positive()), (0.0, true));
        assert!(
            found
                .to_string()
                .contains("left 0, right 20; rarest 0.000 [")
        );
        // Entropy of 1 to 3 in bits.
        let uneven = summary(5, 15, 3, 0).relative_entropy.unwrap();
        assert!((uneven - 0.811_278).abs() < 1e-6, "{uneven}");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(summary(0, 0, 2, 0).rarest_share, None);
        assert_eq!(summary(0, 0, 2, 0).relative_entropy, None);
        assert_eq!(RouteSummary::of(&pusht::SPEC, &episodes(1, 0, 0, 0)), None);
    }
}
