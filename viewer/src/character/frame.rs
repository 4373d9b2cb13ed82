//! What the page shows: one pose, what was asked for, and measurements.
//!
//! Promises a stable and compact JSON form, as served on `/frame.json` and `/ws`: places in whole
//! millimetres without nesting (`[x, y, z, x, y, z, ...]`), other numbers to three decimals,
//! numbers that are not finite as `null`, everything else under the names below.

use serde::{Serialize, Serializer};

/// One snapshot of the demo. Places are metres in the world, Y up; see the module's page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Frame {
    /// Time since the last reset, s, as the character lives it.
    #[serde(serialize_with = "thousandths")]
    pub time: f64,
    /// Number of the pose since the last reset.
    pub frame: u64,
    /// Seed of the motion's noise.
    pub seed: u32,
    /// Where every point of the [`Body`](super::Body) is. As `points_mm`.
    #[serde(rename = "points_mm", serialize_with = "millimetres")]
    pub points: Vec<[f64; 3]>,
    /// Which contacts of the body bear: left heel, left toes, right heel, right toes.
    pub contacts: [bool; 4],
    /// Angle at which the character faces, rad.
    #[serde(serialize_with = "thousandths")]
    pub facing: f64,
    /// Where the root is predicted to go `[x, z]`, from now on and evenly in time. As
    /// `prediction_mm`.
    #[serde(rename = "prediction_mm", serialize_with = "millimetres")]
    pub prediction: Vec<[f64; 2]>,
    /// Time from one place of the prediction to the next, s.
    #[serde(serialize_with = "thousandths")]
    pub prediction_period: f64,
    /// What is left of the path that was asked for `[x, z]`, the next point first. As `path_mm`.
    #[serde(rename = "path_mm", serialize_with = "millimetres")]
    pub path: Vec<[f64; 2]>,
    /// What the character understands that it is to do.
    pub control: Control,
    /// What it performs, by name; steering waits until it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acting: Option<String>,
    /// How it does.
    pub motion: Motion,
    /// Measured rates.
    pub rates: Rates,
    /// Measured time from control to pose.
    pub latency: Latency,
    /// Seconds of the character per second of the clock: 1 real time, below it slow motion.
    #[serde(serialize_with = "thousandths")]
    pub pace: f64,
    /// What the demo is doing.
    pub state: RunState,
    /// What went wrong, for the person watching; `None` when nothing did.
    pub fault: Option<String>,
    /// Names of the nodes that are alive. The page remembers those that have gone.
    pub nodes: Vec<String>,
}

/// What a character is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Control {
    /// How it is steered.
    pub mode: Mode,
    /// Velocity `[x, z]` asked for, after clamping, m/s.
    #[serde(serialize_with = "each_to_thousandths")]
    pub velocity: [f64; 2],
    /// Direction `[x, z]` to look in; zero where that is left to the motion.
    #[serde(serialize_with = "each_to_thousandths")]
    pub facing: [f64; 2],
    /// How freely the motion varies: 0 the likeliest, 1 as tuned.
    #[serde(serialize_with = "thousandths")]
    pub diversity: f64,
    /// How strongly the control bends the motion: 0 not at all, 1 as tuned.
    #[serde(serialize_with = "thousandths")]
    pub strength: f64,
    /// Whether more was asked for than the motion holds.
    pub clamped: bool,
}

/// How a character is steered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By a velocity and a direction to look in.
    #[default]
    Stick,
    /// Along points on the floor.
    Path,
}

/// How a character moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Motion {
    /// Speed of the root over the floor, m/s.
    #[serde(serialize_with = "thousandths")]
    pub speed: f64,
    /// Angle between the direction it faces and the one it is to face, degrees, 0 to 180.
    #[serde(serialize_with = "thousandths")]
    pub heading_error_deg: f64,
    /// How far feet in contact slide, mean over the last seconds, cm per generated frame.
    #[serde(serialize_with = "thousandths")]
    pub foot_sliding_cm: f64,
    /// Frames whose control was clamped, since the start.
    pub clamped: u64,
    /// Generated frames that were refused, since the start; the last good one was held.
    pub refused: u64,
}

/// Measured rates, Hz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Frames that the model generates per second.
    #[serde(serialize_with = "thousandths")]
    pub generated_per_second: f64,
    /// Poses that are published per second.
    #[serde(serialize_with = "thousandths")]
    pub published_per_second: f64,
}

/// Time that one generated frame takes, from the control to the pose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The newest measurement, ms.
    #[serde(serialize_with = "thousandths")]
    pub last_ms: f64,
    /// Median, ms.
    #[serde(serialize_with = "thousandths")]
    pub p50_ms: f64,
    /// 99th percentile, ms.
    #[serde(serialize_with = "thousandths")]
    pub p99_ms: f64,
}

/// What the demo is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No pose yet.
    #[default]
    Starting,
    /// The character moves as it is told.
    Running,
    /// Nothing is asked of it: it stands.
    Idle,
    /// Stopped by a person.
    Paused,
    /// The last pose has been shown.
    Finished,
}

/// Places as whole millimetres, one after the other; `null` where one is not finite.
fn millimetres<const N: usize, S: Serializer>(
    places: &[[f64; N]],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(places.as_flattened().iter().map(|metres| {
        let millimetres = (metres * 1000.0).round();
        millimetres.is_finite().then_some(millimetres as i64)
    }))
}

fn thousandths<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*value))
}

fn each_to_thousandths<S: Serializer>(values: &[f64; 2], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.map(rounded))
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_names_that_the_page_reads() {
        let frame = Frame {
            points: vec![[0.0, 0.97, -0.0126], [1234.56789, 0.0004, 1.0]],
            contacts: [true, false, false, true],
            prediction: vec![[0.0, 0.1], [0.0, 0.25]],
            path: vec![[-1.5, 2.0]],
            control: Control {
                mode: Mode::Path,
                velocity: [0.0, 1.0 / 3.0],
                ..Control::default()
            },
            state: RunState::Idle,
            ..Frame::default()
        };
        let json = serde_json::to_value(&frame).unwrap();
        let expected = serde_json::json!({
            "time": 0.0,
            "frame": 0,
            "seed": 0,
            "points_mm": [0, 970, -13, 1_234_568, 0, 1000],
            "contacts": [true, false, false, true],
            "facing": 0.0,
            "prediction_mm": [0, 100, 0, 250],
            "prediction_period": 0.0,
            "path_mm": [-1500, 2000],
            "control": {
                "mode": "path", "velocity": [0.0, 0.333], "facing": [0.0, 0.0],
                "diversity": 0.0, "strength": 0.0, "clamped": false,
            },
            "motion": {
                "speed": 0.0, "heading_error_deg": 0.0, "foot_sliding_cm": 0.0,
                "clamped": 0, "refused": 0,
            },
            "rates": {"generated_per_second": 0.0, "published_per_second": 0.0},
            "latency": {"last_ms": 0.0, "p50_ms": 0.0, "p99_ms": 0.0},
            "pace": 0.0,
            "state": "idle",
            "fault": null,
            "nodes": [],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn numbers_that_are_not_finite_become_null() {
        let frame = Frame {
            points: vec![[0.0, f64::NAN, f64::INFINITY]],
            facing: f64::NAN,
            control: Control {
                velocity: [f64::NEG_INFINITY, 0.5],
                ..Control::default()
            },
            ..Frame::default()
        };
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&frame).unwrap()).unwrap();
        assert_eq!(json["points_mm"], serde_json::json!([0, null, null]));
        assert!(json["facing"].is_null());
        assert_eq!(json["control"]["velocity"], serde_json::json!([null, 0.5]));
    }
}
