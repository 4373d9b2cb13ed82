//! What the page shows of each robot.
//!
//! Promises a stable JSON form (field names as below, numbers that are not finite as `null`), as served on `/frame.json`,
//! `/introduction.json` and `/ws`.

use serde::Serialize;
use serde_json::Value;

/// What does not change while the runtime runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Introduction {
    /// Version of the program.
    pub version: String,
    /// All robots of the runtime, at least one.
    pub robots: Vec<RobotIntroduction>,
}

/// What does not change of one robot.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RobotIntroduction {
    /// Its name in all keys.
    pub name: String,
    /// What its keys begin with, `<namespace>/<robot>`.
    pub prefix: String,
    /// Numbers of an action.
    pub action_size: usize,
    /// Actions per second of its plans, Hz.
    pub rate_hz: f64,
    /// Commands per second, Hz.
    pub control_rate_hz: f64,
    /// Smallest command of every number of the action, in its units; `None` where nothing limits it.
    pub lower: Vec<Option<f64>>,
    /// Largest command likewise.
    pub upper: Vec<Option<f64>>,
    /// Largest velocity likewise, units per second.
    pub velocity: Vec<Option<f64>>,
    /// Whether there is a `control.home` to go to.
    pub has_home: bool,
    /// Its cameras.
    pub cameras: Vec<String>,
}

/// One snapshot of all robots, in the order of the introduction.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Frame {
    /// One for each robot.
    pub robots: Vec<RobotFrame>,
}

/// One robot now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RobotFrame {
    /// What it gets at this moment, and why.
    pub safety: SafetyFrame,
    /// The newest plan; none before the first.
    pub plan: Option<Plan>,
    /// The newest command; none before the first.
    pub command: Option<Command>,
    /// Limits that changed a command since the last frame: `position`, `velocity`, `acceleration`, `jerk`, `not_finite`.
    pub limiting: Vec<&'static str>,
    /// The newest health message as it is published, twice a second; the page skips what it does not know.
    pub health: Option<Value>,
    /// Cameras of which something is to be shown anew.
    pub pictures: Vec<Picture>,
    /// Names of the nodes that are alive.
    pub nodes: Vec<String>,
    /// What became of the last request of a page; none before the first.
    pub answer: Option<String>,
}

/// The safety state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SafetyFrame {
    /// Its name, as in `health.rung`.
    pub rung: String,
    /// Why it is not `running`, in words.
    pub reason: Option<String>,
    /// Through which way the last emergency stop came, in words, while it holds.
    pub stopped_by: Option<String>,
    /// Time in this state, s.
    pub since_s: f64,
    /// Whether commands have come to rest.
    pub at_rest: bool,
    /// Whether a person has paused the robot or sent it home, and it waits for being resumed.
    pub is_paused: bool,
}

/// A partially denoised plan of `Tp` positions and `Da` numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// Number of the plan, rising by one with every new one.
    pub chunk: u64,
    /// From the moment at which its first action was due until now, s; below 0 before it.
    pub age_s: f64,
    /// Time between two actions, s.
    pub period_s: f64,
    /// How many positions from the front will not change any more.
    pub committed: usize,
    /// Noise of every position `[Tp]`, 0 clean to 1 pure noise.
    pub noise: Vec<f32>,
    /// Planned actions `[Tp][Da]` in their units.
    pub actions: Vec<Vec<f32>>,
}

/// A command as it left.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Command {
    /// One setpoint for every number of the action `[Da]`, in its units.
    pub values: Vec<f32>,
    /// Mean velocity between this command and the one of the last frame `[Da]`, units per second.
    pub velocity: Vec<f32>,
    /// Since it was due, s.
    pub age_s: f64,
    /// Whether a limit changed it.
    pub is_limited: bool,
    /// Whether it leads to rest or rests.
    pub is_holding: bool,
}

/// The last picture of a camera, made small.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Picture {
    /// Number of the camera in the introduction.
    pub camera: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of every pixel, row by row from the top left, in Base64; empty where nothing has changed.
    pub rgb: String,
    /// Since it arrived, s.
    pub age_s: f64,
    /// Why it cannot be shown; none where it can.
    pub fault: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_names_that_the_page_reads() {
        let frame = RobotFrame {
            safety: SafetyFrame {
                rung: "emergency_stop".into(),
                stopped_by: Some("this page".into()),
                ..SafetyFrame::default()
            },
            plan: Some(Plan {
                chunk: 3,
                period_s: 0.1,
                committed: 1,
                noise: vec![0.25],
                actions: vec![vec![1.5, f32::NAN]],
                ..Plan::default()
            }),
            limiting: vec!["velocity"],
            ..RobotFrame::default()
        };
        let json = serde_json::to_value(Frame {
            robots: vec![frame],
        })
        .unwrap();
        let robot = &json["robots"][0];
        assert_eq!(robot["safety"]["rung"], "emergency_stop");
        assert_eq!(robot["safety"]["stopped_by"], "this page");
        assert_eq!(robot["plan"]["actions"], serde_json::json!([[1.5, null]]));
        assert_eq!(robot["limiting"], serde_json::json!(["velocity"]));
        for name in ["command", "health", "pictures", "nodes", "answer"] {
            assert!(robot.get(name).is_some(), "{name} is missing in {robot}");
        }
    }
}
