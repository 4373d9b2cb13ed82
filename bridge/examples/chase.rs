//! The smallest runtime: answers every observation of a Push-T simulator with a plan that drives the agent at the T.
//!
//! It shows how a node is made, and lets the Python client be tried without a policy:
//!     cargo run -p kinestream-bridge --example chase -- tcp/127.0.0.1:7447
//!     python3 clients/python/pusht_pymunk.py --seeds 0..2 --steps 50
//! It ends when the simulator has come and gone.

use std::error::Error;
use std::time::Duration;

use kinestream_bridge::node::Channel;
use kinestream_bridge::wire::{PlanSlice, Stamp};
use kinestream_bridge::{Command, Node, Observation, SessionOptions};

const HORIZON: usize = 16;
const PERIOD_NS: u64 = 100_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "tcp/127.0.0.1:7447".to_owned());
    let options = SessionOptions {
        listen: vec![address],
        ..SessionOptions::default()
    };
    let node = Node::open(&options, "pusht", "chase")?;
    let observations = node.inbox::<Observation>(&node.keys().observation("state")?, 16)?;
    let resets = node.inbox::<Command>(&node.keys().command("reset")?, 16)?;
    let mut plans = node.lossless_publisher(Channel::Plan)?;
    let presence = node.presence()?;
    eprintln!("waiting for a simulator at {:?}", options.listen);

    let mut simulator_seen = false;
    let mut chunk = 0;
    let mut answered = 0_u64;
    loop {
        let Some(observation) = observations.next(Duration::from_millis(200)) else {
            let here = presence.is_alive("simulator");
            if simulator_seen && !here {
                break;
            }
            simulator_seen |= here;
            continue;
        };
        simulator_seen = true;
        while let Some(reset) = resets.try_next() {
            eprintln!("stream {}: {:?}", reset.stamp.stream, reset.request);
            chunk = 0;
        }
        chunk += 1;
        // The middle of the nine keypoints, which come before the agent's own place.
        let values = observation.values.to_f64();
        let count = values.len().min(18) / 2;
        let middle = |axis: usize| {
            values.iter().skip(axis).step_by(2).take(count).sum::<f64>() / count.max(1) as f64
        };
        let target = [middle(0) as f32, middle(1) as f32];
        plans.publish(&PlanSlice {
            stamp: Stamp {
                sequence: answered + 1,
                ..observation.stamp
            },
            chunk,
            observation_sequence: observation.stamp.sequence,
            first_action_ns: observation.stamp.monotonic_ns,
            period_ns: PERIOD_NS,
            dims: 2,
            committed: HORIZON as u32,
            levels: 1,
            noise: &[0.0; HORIZON],
            level: &[0; HORIZON],
            actions: &target.repeat(HORIZON),
        })?;
        answered += 1;
    }
    eprintln!(
        "{answered} observations answered, {:?}",
        observations.counts()
    );
    Ok(())
}
