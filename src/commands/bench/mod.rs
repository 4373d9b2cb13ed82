//! `kinestream bench`: what this machine does, as ratios within one run.

use anyhow::{Result, ensure};
use kinestream_diffusion::Execution;
use kinestream_runtime::device;
use tch::Device;

use crate::cli::BenchExecutionArguments;

pub(crate) mod bridge;
pub(crate) mod clips;
pub(crate) mod control;
pub(crate) mod fleet;
pub(crate) mod motion;
pub(crate) mod policy;
pub(crate) mod stop;

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
