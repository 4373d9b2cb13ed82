//! A policy in a program of your own: your sensors, your actuators, no network.
//!
//!     cargo run --release -p kinestream-runtime --example embed_policy -- 20
//!
//! The robot here is the bundled Push-T; put your own in its place. The argument is how many seconds it runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use kinestream_policy::Policy;
use kinestream_runtime::embedded::{EmbeddedOptions, EmbeddedRobot, RobotCommand};
use kinestream_runtime::{checkpoint, shutdown, tch::Device};
use kinestream_sim::pusht::PushT;

fn main() -> Result<()> {
    let seconds: f64 = std::env::args()
        .nth(1)
        .map_or(Ok(30.0), |text| text.parse())?;
    let checkpoint = checkpoint::open("models/pusht-state".as_ref(), Device::Cpu)?;
    let policy = Policy::new(checkpoint, Device::Cpu, 1)?;
    let mut world = PushT::new();
    let setpoint = Arc::new(Mutex::new(world.reset(100_000).agent_position));

    // The actuator: 100 setpoints a second, at most 600 pixels a second apart. Ctrl-C brings them to rest.
    let latest = Arc::clone(&setpoint);
    let actuator = move |command: RobotCommand<'_>| {
        let values = [command.values[0].into(), command.values[1].into()];
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = values;
    };
    let mut options = EmbeddedOptions {
        shutdown: shutdown::flag()?,
        ..EmbeddedOptions::default()
    };
    options.control.limits.velocity = Some(600.0.into());
    let robot = EmbeddedRobot::start(policy, options, actuator)?;

    // The sensor, and the world that it looks at: ten observations a second.
    for _ in 0..(10.0 * seconds) as u64 {
        robot.observe(&world.observation())?;
        std::thread::sleep(Duration::from_millis(100));
        let target = *setpoint.lock().unwrap_or_else(PoisonError::into_inner);
        world.step(target)?;
    }
    let report = robot.finish()?;
    println!(
        "coverage {:.3}; {} plans, {} commands",
        world.outcome().coverage,
        report.statistics.plans,
        report.commands
    );
    Ok(())
}
