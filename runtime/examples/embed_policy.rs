//! A policy in a program of your own: your sensors, your actuators, no network.
//!
//!     cargo run --release -p kinestream-runtime --example embed_policy -- 20
//!
//! The robot here is the bundled Push-T; put your own in place of `Table`. The argument is how many seconds it runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use kinestream_policy::Policy;
use kinestream_runtime::commands::ControlConfig;
use kinestream_runtime::embedded::{EmbeddedOptions, EmbeddedRobot, RobotCommand};
use kinestream_runtime::tch::Device;
use kinestream_runtime::{checkpoint, shutdown};
use kinestream_sim::pusht::PushT;

fn main() -> Result<()> {
    let seconds: f64 = std::env::args()
        .nth(1)
        .map_or(Ok(30.0), |text| text.parse())?;
    let checkpoint = checkpoint::open("models/pusht-state".as_ref(), Device::Cpu)?;
    let policy = Policy::new(checkpoint, Device::Cpu, 1)?;

    // The actuator: 100 setpoints a second, at most 600 pixels a second apart.
    let setpoint = Arc::new(Mutex::new(None::<[f64; 2]>));
    let latest = Arc::clone(&setpoint);
    let actuator = move |command: RobotCommand<'_>| {
        let values = [command.values[0].into(), command.values[1].into()];
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
    };
    let mut control = ControlConfig::default();
    control.limits.velocity = Some(600.0.into());
    let shutdown = shutdown::flag()?;
    let options = EmbeddedOptions {
        control,
        shutdown: Arc::clone(&shutdown),
    };
    let robot = EmbeddedRobot::start(policy, options, actuator)?;

    // The sensor, and the world that it looks at: ten observations a second.
    let mut world = PushT::new();
    let mut agent = world.reset(100_000).agent_position;
    for _ in 0..(10.0 * seconds) as u64 {
        robot.observe(&world.observation())?;
        std::thread::sleep(Duration::from_millis(100));
        agent = setpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or(agent);
        let outcome = world.step(agent)?;
        if outcome.success || shutdown.load(std::sync::atomic::Ordering::SeqCst) {
            break;
        }
    }
    let report = robot.finish()?;
    println!(
        "coverage {:.3}; {} observations, {} plans, {} commands",
        world.outcome().coverage,
        report.statistics.observations,
        report.statistics.plans,
        report.commands
    );
    Ok(())
}
