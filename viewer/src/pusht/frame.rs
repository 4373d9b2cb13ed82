//! What the page shows: one snapshot of simulator, plan and measurements.
//!
//! Promises a stable JSON form (field names as below, numbers that are not finite as `null`), as
//! served on `/frame.json` and `/ws`.

use serde::Serialize;
use serde_json::Value;

/// One snapshot of the demo. Positions are in pixels of the 512 x 512 table, y pointing down.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Frame {
    /// Simulator time since the start of the episode, s.
    pub time: f64,
    /// Episode number, from 1.
    pub episode: u64,
    /// Seed of the episode's start.
    pub seed: u32,
    /// Control steps taken in this episode.
    pub step: u64,
    /// The agent's centre `[x, y]`.
    pub agent: [f64; 2],
    /// The T: the body's position `[x, y]` (origin of its local frame, the middle of the bar's
    /// outer edge) and angle in rad.
    pub block: [f64; 3],
    /// The goal pose, as `block`.
    pub goal: [f64; 3],
    /// The command in force: the position the agent is told to go to, `[x, y]`.
    pub target: [f64; 2],
    /// Share of the goal that the T covers, 0 to 1.
    pub coverage: f64,
    /// Reward now, `clip(coverage / 0.95, 0, 1)`.
    pub reward: f64,
    /// Highest reward of this episode, its score.
    pub best_reward: f64,
    /// Whether coverage went above 0.95 in this episode.
    pub success: bool,
    /// The latest plan; its arrays are empty before the first one.
    pub plan: Plan,
    /// Measured rates.
    pub rates: Rates,
    /// Measured latency.
    pub latency: Latency,
    /// Periods of the command loop that passed without a command, since the start.
    pub missed: u64,
    /// Scores of the last finished episodes, 0 to 1, oldest first.
    pub history: Vec<f32>,
    /// What the demo is doing.
    pub state: RunState,
    /// What went wrong, for the person watching; `None` when nothing did.
    pub fault: Option<String>,
    /// How the runtime fares, in the JSON form that it publishes; the page skips what it does not
    /// know. `None` hides that part of the page.
    pub health: Option<Value>,
    /// Whether the page may stop and re-arm the runtime.
    pub has_stop: bool,
    /// Names of the nodes that are alive. The page remembers those that have gone.
    pub nodes: Vec<String>,
}

/// A partially denoised plan of `Tp` positions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// Number of the plan, rising by one with every new one.
    pub chunk: u64,
    /// Planned targets `[Tp][x, y]` in pixels, the one due first at the front.
    pub actions: Vec<[f32; 2]>,
    /// Noise of every position `[Tp]`, 0 clean to 1 pure noise.
    pub noise: Vec<f32>,
    /// How many positions from the front will not change any more.
    pub committed: usize,
    /// Index of the position being executed.
    pub current: usize,
}

/// Measured rates, Hz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// New plans per second.
    pub plans_per_second: f64,
    /// Commands per second.
    pub commands_per_second: f64,
}

/// Time from an observation to the action it leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The newest measurement, ms.
    pub last_ms: f64,
    /// Median, ms.
    pub p50_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
    /// Network evaluations per executed action.
    pub evaluations_per_action: f64,
}

/// What the demo is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No plan yet.
    #[default]
    Starting,
    /// The policy drives the agent.
    Running,
    /// A person holds the T.
    Held,
    /// Stopped by a person.
    Paused,
    /// The last episode is over.
    Finished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_names_that_the_page_reads() {
        let frame = Frame {
            plan: Plan {
                chunk: 3,
                actions: vec![[1.5, 2.0]],
                noise: vec![0.25],
                committed: 1,
                current: 0,
            },
            state: RunState::Paused,
            ..Frame::default()
        };
        let json = serde_json::to_value(&frame).unwrap();
        assert_eq!(
            json["plan"],
            serde_json::json!({"chunk": 3, "actions": [[1.5, 2.0]], "noise": [0.25], "committed": 1, "current": 0})
        );
        assert_eq!(json["state"], "paused");
        assert_eq!(json["fault"], serde_json::Value::Null);
        let names: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for name in [
            "time",
            "episode",
            "seed",
            "step",
            "agent",
            "block",
            "goal",
            "target",
            "coverage",
            "reward",
            "best_reward",
            "success",
            "plan",
            "rates",
            "latency",
            "missed",
            "history",
            "state",
            "fault",
            "health",
            "nodes",
        ] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_become_null() {
        let frame = Frame {
            reward: f64::NAN,
            agent: [f64::INFINITY, 1.0],
            ..Frame::default()
        };
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&frame).unwrap()).unwrap();
        assert!(json["reward"].is_null());
        assert_eq!(json["agent"], serde_json::json!([null, 1.0]));
    }
}
