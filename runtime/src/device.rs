//! Choice of device and threads.

use anyhow::{Result, bail, ensure};
use tch::{Cuda, Device};

/// The device that a command line names.
pub fn parse(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => match name
            .strip_prefix("cuda:")
            .and_then(|index| index.parse::<usize>().ok())
        {
            Some(index) => index,
            None => bail!("device `{name}` is unknown; write cpu, cuda or cuda:N"),
        },
    };
    let count = Cuda::device_count().max(0) as usize;
    ensure!(
        index < count,
        "device `{name}` is not there: LibTorch sees {count} CUDA devices; use --device cpu, or set \
         up with `cargo xtask setup --cuda` on a machine with a GPU",
    );
    Ok(Device::Cuda(index))
}

/// Sets LibTorch's threads, all cores if not said otherwise.
pub fn set_threads(threads: Option<usize>) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or(cores);
    ensure!(
        (1..=1024).contains(&threads),
        "--threads (or runtime.threads) is {threads}, expected 1 to 1024"
    );
    tch::set_num_threads(threads as i32);
    Ok(threads)
}
