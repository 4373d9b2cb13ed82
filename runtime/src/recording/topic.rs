//! Names and formats of the topics.

use kinestream_bridge::recording::{Format, Schema};

use super::codec::ENCODING;

/// What was recorded, on what, when: the first message. JSON.
pub const CONFIG: &str = "config";
/// Observations that the policy reads.
pub const STATE: &str = "obs/state";
/// Plans.
pub const PLAN: &str = "plan";
/// Commands to the robot.
pub const ACTION: &str = "act";
/// Poses of a character.
pub const POSE: &str = "pose";
/// What a character is asked to do.
pub const CONTROL: &str = "control";
/// What a character performs, JSON.
pub const ACT: &str = "srv/act";
/// Joints of a character, JSON.
pub const SKELETON: &str = "info/skeleton";
/// Counters and state.
pub const STATUS: &str = "status";
/// Health of the control loop, JSON.
pub const HEALTH: &str = "health";
/// What the policy thread took, in its order.
pub const POLICY_INPUT: &str = "policy/input";
/// Every tick of the control thread.
pub const TICK: &str = "control/tick";
/// Every physics step of the bundled simulator.
pub const SIM_STEP: &str = "sim/step";
/// What else changed the simulator's world.
pub const SIM_INPUT: &str = "sim/input";

/// Pictures of a camera.
pub fn of_camera(name: &str) -> String {
    format!("obs/{name}")
}

/// Whether the messages of a topic travel over zenoh under the same name.
pub fn is_on_zenoh(topic: &str) -> bool {
    matches!(topic, PLAN | ACTION | STATUS | HEALTH | POSE | CONTROL)
        || topic.starts_with("obs/")
        || topic.starts_with("cmd/")
}

/// How the messages of a topic are encoded.
pub fn format(topic: &str) -> Format<'static> {
    let own = |name, text| Format {
        message_encoding: ENCODING,
        schema: Some(Schema {
            name,
            encoding: "rust",
            text,
        }),
    };
    match topic {
        CONFIG => Format::json("kinestream.Opening"),
        HEALTH => Format::json("kinestream.Health"),
        SKELETON => Format::json("kinestream.SkeletonInfo"),
        POLICY_INPUT => own(
            "kinestream.PolicyInput",
            "enum (u32): 0 Reset { stream: u32, seed: u64 }, 1 Observation { arrived_ns: u64 }, \
             2 Answer { arrived_ns: u64 }, 3 Picture { camera: u32 }, 4 Begin { now_ns: u64 }",
        ),
        SIM_STEP => own(
            "kinestream.SimStep",
            "seed: u32, stream: u32, step: u64, target: [f64; 2], agent: [f64; 2], \
             block: [f64; 3], coverage: f64, reward: f64",
        ),
        SIM_INPUT => own(
            "kinestream.SimInput",
            "enum (u32): 0 Reset { seed: u32, stream: u32 }, \
             1 MoveBlock { position: [f64; 2], angle: f64 }, 2 PushAgent { velocity: [f64; 2] }",
        ),
        TICK => own("kinestream.TickRecord", "runtime/src/commands.rs"),
        _ => Format::WIRE,
    }
}
