//! Messages of recordings that no other program reads.

use kinestream_control::{TickInputs, TickOutput};
use serde::{Deserialize, Serialize};

/// One thing that the policy thread took, in the order in which it took them: with the seeds and
/// the observations' own bytes, all that its plans depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyInput {
    /// The policy began afresh.
    Reset {
        /// The stream that begins.
        stream: u32,
        /// Seed of the policy's noise.
        seed: u64,
    },
    /// An observation arrived; its bytes are the last ones before on `obs/state`.
    Observation {
        /// When it arrived, nanoseconds of the monotonic clock.
        arrived_ns: u64,
    },
    /// A plan was asked for, in answer to the newest valid observation.
    Answer {
        /// When that observation arrived.
        arrived_ns: u64,
    },
    /// A picture was taken; its bytes are the last ones before on the camera's `obs/<name>`.
    Picture {
        /// Its camera, in the order of the policy's.
        camera: u32,
    },
    /// The plan that was asked for is handed on, the first of its stream: the motion begins. Recordings without it are of a
    /// time when it began with the observation.
    Begin {
        /// When, nanoseconds of the monotonic clock.
        now_ns: u64,
    },
}

/// One period of the control thread: what it was told and what it did. Encoded from a slice, without
/// allocation; decoded into a vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickRecord<C = Vec<f64>> {
    /// What the tick was told.
    pub inputs: TickInputs,
    /// Chunk of the newest plan then; none without one.
    pub plan: Option<u64>,
    /// What it did.
    pub output: TickOutput,
    /// The command `[Da]` after it.
    pub command: C,
}

/// The bundled simulator after one physics step of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SimStep {
    /// Seed of the episode.
    pub seed: u32,
    /// Stream of the episode.
    pub stream: u32,
    /// Physics steps since the reset, this one included: from 1.
    pub step: u64,
    /// Where the agent was told to go, pixels.
    pub target: [f64; 2],
    /// Where the agent is, pixels.
    pub agent: [f64; 2],
    /// Where the T is: x, y in pixels, angle in radians.
    pub block: [f64; 3],
    /// Covered share of the goal, 0 to 1.
    pub coverage: f64,
    /// Reward, 0 to 1.
    pub reward: f64,
}

/// What changed the simulator's world before its next physics step, other than targets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum SimInput {
    /// An episode began.
    Reset {
        /// Its seed.
        seed: u32,
        /// Its stream.
        stream: u32,
    },
    /// A person put the T somewhere: `PushT::move_block`.
    MoveBlock {
        /// Origin of the T, pixels.
        position: [f64; 2],
        /// Its angle, radians.
        angle: f64,
    },
    /// A person pushed the agent: `PushT::push_agent`.
    PushAgent {
        /// Added velocity, pixels per second.
        velocity: [f64; 2],
    },
}
