//! `kinestream bench`: what this machine does, as ratios within one run.

use anyhow::{Result, ensure};
use kinestream_diffusion::Execution;
use kinestream_runtime::device;
use tch::Device;

use kinestream_command_line::bench::{Bench, BenchExecutionArguments};

mod bridge;
mod clips;
mod control;
mod fleet;
mod motion;
mod policy;
mod stop;

pub use motion::{Group, frames_per_second, prepared};

/// Measures what the arguments ask for and prints it.
///
/// # Errors
/// An argument out of its range, or what is measured failed.
pub fn run(what: &Bench) -> Result<()> {
    match what {
        Bench::Bridge(arguments) => bridge::run(arguments),
        Bench::Policy(arguments) => policy::run(arguments),
        Bench::Fleet(arguments) => fleet::run(arguments),
        Bench::Motion(arguments) => motion::run(arguments),
        Bench::Clips(arguments) => clips::run(arguments),
        Bench::Control(arguments) => control::run(arguments),
        Bench::Stop(arguments) => stop::run(arguments),
    }
}

/// Refuses a time to measure that nobody means.
fn check_seconds(seconds: f64) -> Result<()> {
    ensure!(
        seconds > 0.0 && seconds <= 3600.0,
        "--seconds is {seconds}, expected above 0, at most 3600"
    );
    Ok(())
}

/// Where and how a benchmark evaluates; sets LibTorch's threads.
fn execution(arguments: &BenchExecutionArguments) -> Result<(Device, Execution)> {
    let device = device::parse(&arguments.device)?;
    let execution = Execution {
        executor: arguments.executor,
        precision: arguments.precision,
        threads: device::set_threads(Some(arguments.threads))?,
    };
    Ok((device, execution))
}
