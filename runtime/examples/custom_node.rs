//! A policy behind zenoh keys of your own: a robot that already speaks another protocol needs no bridge program.
//!
//!     cargo run --release -p kinestream-runtime --example custom_node -- tcp/127.0.0.1:7450
//!
//! Sensors publish 20 little-endian f32 on `lab/encoders`, motors read 2 on `lab/setpoints`; any message on `lab/stop` stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, anyhow};
use kinestream_policy::Policy;
use kinestream_runtime::control_config::ControlConfig;
use kinestream_runtime::embedded::{EmbeddedOptions, EmbeddedRobot, RobotCommand};
use kinestream_runtime::tch::Device;
use kinestream_runtime::{checkpoint, shutdown};
use zenoh::Wait;

fn main() -> Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or("tcp/127.0.0.1:7450".into());
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("listen/endpoints", format!("[{address:?}]")),
        ("scouting/multicast/enabled", "false".into()),
    ] {
        config
            .insert_json5(key, &value)
            .map_err(|error| anyhow!(error))?;
    }
    let session = zenoh::open(config).wait().map_err(|error| anyhow!(error))?;

    let checkpoint = checkpoint::open("models/pusht-state".as_ref(), Device::Cpu)?;
    let policy = Policy::new(checkpoint, Device::Cpu, 1)?;
    let setpoints = session
        .declare_publisher("lab/setpoints")
        .wait()
        .map_err(|error| anyhow!(error))?;
    let actuator = move |command: RobotCommand<'_>| {
        let bytes: Vec<u8> = command
            .values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        // A setpoint that is not sent is followed by the next one.
        let _ = setpoints.put(bytes).wait();
    };
    let mut control = ControlConfig::default();
    control.limits.velocity = Some(600.0.into());
    let shutdown = shutdown::flag()?;
    let options = EmbeddedOptions {
        control,
        shutdown: Arc::clone(&shutdown),
    };
    let robot = Arc::new(EmbeddedRobot::start(policy, options, actuator)?);

    let (observed, stopped) = (Arc::clone(&robot), Arc::clone(&robot));
    let encoders = session
        .declare_subscriber("lab/encoders")
        .callback(move |sample| {
            let bytes = sample.payload().to_bytes();
            let numbers = bytes
                .chunks_exact(4)
                .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]).into());
            if let Err(error) = observed.observe(&numbers.collect::<Vec<f64>>()) {
                eprintln!("lab/encoders: {error}");
            }
        });
    let encoders = encoders.wait().map_err(|error| anyhow!(error))?;
    let stops = session
        .declare_subscriber("lab/stop")
        .callback(move |_| stopped.stop());
    let stops = stops.wait().map_err(|error| anyhow!(error))?;
    eprintln!("lab/encoders in, lab/setpoints out, on {address}; Ctrl-C ends it");
    while !shutdown.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop((encoders, stops));
    let robot = Arc::into_inner(robot).ok_or_else(|| anyhow!("a callback still runs"))?;
    println!("{} commands", robot.finish()?.commands);
    Ok(())
}
